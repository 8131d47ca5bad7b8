"""Gradients with a certificate."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from ._arguments import matrices
from ._checks import checks
from .rules.reports import RECORD, Finding
from .rules.rule import Array

_GAUGE = ("phase", "basis", "null basis", "frame")
_UNRESOLVED = ("unresolved", "zero", "defective", "kink", "undefined")
_FRAME = (
    "certify: the gradient depends on the basis of a cluster, though the loss is stationary "
    "along it at this matrix"
)


@dataclasses.dataclass(frozen=True)
class Certificate:
    """What `certify` found; printed, it is the verdict."""

    value: Array
    """The loss."""
    gradient: Array
    """Its gradient, in the convention of the framework."""
    gauge: float
    """The largest derivative of the loss along what the matrix leaves open (phases, bases),
    relative to the cotangent of the vectors."""
    unresolved: float
    """The largest difference between the cotangents of values that coincide, and what else
    has no derivative, relative to the cotangent."""
    error: float
    """A bound of the rounding error of the gradient with respect to the matrix that was
    decomposed, in the Frobenius norm; the root of the sum of squares of several."""
    findings: tuple[Finding, ...]
    """All that was looked at, by decomposition and kind."""

    @property
    def determined(self) -> bool:
        """Whether the gradient is determined by the outputs of the decompositions."""
        return not any(f.excess for f in self.findings)

    @property
    def verdict(self) -> str:
        """A sentence or more."""
        if not self.findings:
            return "nothing to judge: the loss met no decomposition that reports"
        if not self.determined:
            said = "; ".join(dict.fromkeys(f.message for f in self.findings if f.excess))
            return f"not determined: {said}"
        return (
            f"determined: gauge part {self.gauge:.1e}, unresolved part {self.unresolved:.1e} of "
            f"the cotangent; the rounding error is at most about {self.error:.1e}"
        )

    def __str__(self) -> str:
        return self.verdict


def certify(loss: Callable[[Array], Array], a: Array) -> Certificate:
    """The gradient of a loss through decompositions, and whether it can be trusted.

    Parameters
    ----------
    loss : callable
        A real function of one array, in the framework of the array; not compiled.
    a : array
        Where to differentiate: a matrix, or a stack of them.

    Returns
    -------
    Certificate
        Of value, gradient, the gauge and unresolved parts, a bound of the rounding error,
        and a verdict.

    Raises
    ------
    TypeError, numpy.linalg.LinAlgError
        As `eigh`; and what the loss raises.

    Notes
    -----
    The bases of exactly repeated values are turned by a fixed pseudo-random unitary matrix
    first (`set_checks`, `strict`). In such a frame a gradient without gauge and unresolved
    part is, almost surely, that of the loss: a part that is not determined does not vanish
    by itself. Still, a loss may be stationary along the bases of a cluster at this very
    matrix, and its gradient depend on them: that is seen by a second reverse pass in other
    bases, which no check of a single pass can do. Forward mode gives the same numbers as
    reverse mode, and cannot be judged.

    The bound is of first order: gaps known to 2 sqrt(n) eps |A|, products of n terms,

        | G o (dZ + 2 sqrt(n) eps |A| G o |Z|) | + sqrt(n) eps (|G o Z| + |gw|),

    G the reciprocal gaps and Z the skew part of V^H gV. It leaves out the rounding errors of
    the rest of the loss, and how its cotangents move with the vectors.

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> a = np.diag([1.0, 1.0, 2.0])
    >>> def by_hand(a):
    ...     w, v = lw.eigh(a)
    ...     return ((v * np.exp(w)) @ v.T)[0, 1]
    >>> print(lw.certify(by_hand, a).verdict[:59])
    not determined: eigh: eigenvalues 0 and 1 coincide, and the
    >>> lw.certify(lambda a: lw.expm(a, hermitian=True)[0, 1], a).determined
    True
    """
    framework, (a,) = matrices("certify", a=a)
    before = len(RECORD)
    try:
        with checks("record", strict=1):
            value, gradient = framework.value_and_gradient(loss, a)
        findings = list(RECORD[before:])
        with checks("record", strict=2):
            _, again = framework.value_and_gradient(loss, a)
    finally:
        del RECORD[before:]

    def largest(kinds: tuple[str, ...]) -> float:
        return max((f.size for f in findings if f.kind in kinds), default=0.0)

    error = sum(f.size**2 for f in findings if f.kind == "rounding") ** 0.5
    xp = framework.xp
    size, moved = (float(xp.sqrt(xp.sum(xp.abs(x) ** 2))) for x in (gradient, again - gradient))
    if findings and size > 0 and not any(f.excess for f in findings):
        excess = moved > float(xp.finfo(a.dtype).eps) ** 0.5 * size + 2 * error
        findings.append(Finding("certify", "frame", moved / size, excess, _FRAME if excess else ""))
    return Certificate(
        value, gradient, largest(_GAUGE), largest(_UNRESOLVED), error, tuple(findings)
    )


def assert_gauge_invariant(loss: Callable[[Array], Array], a: Array) -> None:
    """Fail if a loss depends on the phases or bases that a decomposition leaves open.

    Parameters
    ----------
    loss, a
        As for `certify`.

    Raises
    ------
    AssertionError
        With what the loss depends on.

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> a = np.diag([1.0, 1.0, 2.0])
    >>> lw.assert_gauge_invariant(lambda a: (lw.eigh(a)[1][0, :2] ** 2).sum(), a)
    >>> lw.assert_gauge_invariant(lambda a: lw.eigh(a)[1][0, 1] ** 2, a)
    Traceback (most recent call last):
        ...
    AssertionError: eigh: eigenvalues 0 and 1 coincide, and the loss depends on the basis of...
    """
    found = [f.message for f in certify(loss, a).findings if f.kind in _GAUGE and f.excess]
    if found:
        raise AssertionError("; ".join(dict.fromkeys(found)))
