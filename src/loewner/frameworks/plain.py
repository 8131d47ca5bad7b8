"""The words of `Ops` that look at values, and `Ops` of arrays that are values and nothing more."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from ..rules.pieces import crowded, width
from ..rules.rule import Array, Arrays, LinearEquation, Rule
from .numpy import COMPAT, QUICK, NumpySolvers, apart


class Words(ABC):
    """What can be said of values wherever they can be had, and of no others."""

    xp: Any
    """The array namespace, differentiable by the framework."""

    @abstractmethod
    def constant(self, x: Array) -> Array:
        """The value of x, as something that no derivative passes through."""

    def peek(self, x: Array) -> Any:
        """The value of x as a NumPy array, if that can be had at once and is all there is to x."""
        return None

    def rules_out(self, test: Callable[..., Array], *arrays: Array) -> bool:
        """Whether test(xp, *arrays) is known to hold nowhere; arrays may be None."""
        lent: list[Any] = []
        for x in arrays:
            y = None if x is None else self.peek(x)
            if y is None and x is not None:
                return self.rules_out_unseen(test, *arrays)
            if y is not None and 0 in y.shape:
                return True
            lent.append(y)
        held = test(QUICK, *lent)
        return held is False or not held.any()

    def rules_out_unseen(self, test: Callable[..., Array], *arrays: Array) -> bool:
        """The same, of arrays at which `peek` does not look."""
        return False

    def listed(self, x: Array) -> list[Any] | None:
        """The numbers of a vector, or on the diagonal of a matrix, if `peek` can be had.

        Of a few numbers lists know more sooner than arrays.
        """
        y = self.peek(x)
        if y is None or y.ndim > 2:
            return None
        return (y.diagonal() if y.ndim == 2 else y).tolist()

    def number(self, x: Array) -> Any:
        """The number x, an array without axes, if it can be had at once; else None."""
        y = self.peek(x)
        return None if y is None else y.item()

    def norm(self, x: Array) -> float | None:
        """The Frobenius norm of x as a number, if `peek` can be had; squares may overflow."""
        y = self.peek(x)
        if y is None:
            return None
        y = y.ravel("K")  # no copy, in whatever order
        return float(np.vdot(y, y).real) ** 0.5

    def apart(self, w: Array, size: int, origin: bool = False) -> bool:
        """Whether the sorted real values w (..., n) are known to be more than a width apart.

        The width is that of `pieces.tolerance`; with `origin`, zero follows values that descend.
        """
        w = self.constant(w)
        if w.ndim > 1:
            return self.rules_out(functools.partial(crowded, size=size, origin=origin), w)
        values = self.listed(w)
        return values is not None and apart(values, width(self.xp, w, size), origin)

    def diagonal(self, w: Array) -> Array:
        """True on the diagonal of matrices (n, n), for w (..., n) known to be `apart`."""
        return np.eye(w.shape[-1], dtype=bool)


class Unfollowed:
    """What `Ops` is where nothing follows what becomes of its arrays."""

    solvers: Any
    xp: Any

    def constant(self, x: Array) -> Array:
        return x

    def call(self, rule: Rule, *inputs: Array, outputs: int | None = None) -> Arrays:
        return tuple(rule.evaluate(self.solvers, inputs, outputs))[:outputs]

    def solve(
        self,
        equation: LinearEquation,
        masks: Arrays,
        coefficients: Arrays,
        rhs: Arrays,
        adjoint: bool = False,
    ) -> Arrays:
        return equation.solution(self.xp, masks, coefficients, rhs, adjoint)


class _Plain(Unfollowed, Words):
    """`Ops` of NumPy arrays of which nothing follows what becomes of them."""

    xp = QUICK
    solvers = NumpySolvers(COMPAT)

    def peek(self, x):
        return x


PLAIN = _Plain()


def numbers(*arrays: Array) -> bool:
    """Whether all of the arrays, those that are None aside, are NumPy's."""
    return all(x is None or isinstance(x, np.ndarray) for x in arrays)
