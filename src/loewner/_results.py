"""What the decompositions return."""

from __future__ import annotations

from typing import NamedTuple

from .rules.rule import Array


class SVDResult(NamedTuple):
    """A = U diag(S) Vh, as `numpy.linalg.svd` returns it."""

    U: Array
    S: Array
    Vh: Array


class EighResult(NamedTuple):
    """A = V diag(w) V^H, as `numpy.linalg.eigh` returns it."""

    eigenvalues: Array
    eigenvectors: Array


class EigResult(NamedTuple):
    """A V = V diag(w), as `numpy.linalg.eig` returns it."""

    eigenvalues: Array
    eigenvectors: Array


class LeftEigResult(NamedTuple):
    """An `EigResult` with the left eigenvectors Y as well: Y^H A = diag(w) Y^H."""

    eigenvalues: Array
    eigenvectors: Array
    left_eigenvectors: Array
