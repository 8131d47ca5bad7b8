"""What a framework has to offer."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from ..rules.pieces import crowded, width
from ..rules.rule import Array, Arrays, LinearEquation, Rule, Solve, Solvers
from .numpy import QUICK, apart


class Framework(ABC):
    """One automatic differentiation system; also the `Ops` that rules are stated in."""

    name: str
    solvers: Solvers

    xp: Any
    """The array namespace, differentiable by the framework."""

    @abstractmethod
    def call(self, rule: Rule, *inputs: Array, outputs: int | None = None) -> Arrays:
        """The first outputs of a rule, differentiable in every mode and to every order."""

    def solve(
        self,
        equation: LinearEquation,
        masks: Arrays,
        coefficients: Arrays,
        rhs: Arrays,
        adjoint: bool = False,
    ) -> Arrays:
        """The differentiable solution of a linear equation."""
        rule = Solve(equation, len(masks), len(coefficients), adjoint)
        return self.call(rule, *masks, *coefficients, *rhs)

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

    def finite(self, x: Array) -> bool:
        """Whether the sum of x is known to be finite."""
        y = self.peek(x)
        return y is not None and bool(np.isfinite(y.sum()))

    def apart(self, w: Array, size: int, origin: bool = False) -> bool:
        """Whether the sorted real values w (..., n) are known to be more than a width apart.

        The width is that of `pieces.tolerance`; with `origin`, zero follows values that descend.
        """
        w = self.peek(self.constant(w))
        if w is None:
            return False
        if w.ndim == 1:
            return apart(w.tolist(), width(QUICK, w, size), origin)
        return not crowded(QUICK, w, size, origin).any()

    def diagonal(self, w: Array) -> Array:
        """True on the diagonal of matrices (n, n), for w (..., n) known to be `apart`."""
        return np.eye(w.shape[-1], dtype=bool)

    @abstractmethod
    def constant(self, x: Array) -> Array:
        """The value of x, as something that no derivative passes through."""

    @abstractmethod
    def push(self, function: Callable[[Array], Array], x: Array, direction: Array) -> Array:
        """The derivative of a function of the caller's at x, along a direction."""

    @abstractmethod
    def value_and_gradient(self, function: Callable[[Array], Array], x: Array) -> Arrays:
        """A real function of the caller's and its gradient, in the framework's convention."""

    def asarray(self, x: Any) -> Array:
        """An array of this framework from one, or from nested lists and numbers."""
        return self.xp.asarray(x)

    def accepts(self, other: Framework) -> bool:
        """Whether the framework's own functions take arrays of `other` beside its own."""
        return other is self

    @functools.cached_property
    def precisions(self) -> tuple[Any, ...]:
        """The dtypes that are computed in."""
        xp = self.xp
        return xp.float64, xp.float32, xp.complex128, xp.complex64

    @property
    @abstractmethod
    def default_float(self) -> Any:
        """The dtype that integers and booleans are promoted to."""
