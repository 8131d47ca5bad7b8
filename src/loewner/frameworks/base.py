"""What a framework has to offer."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..kernels import Tape, evaluated, pulled_back, replayed
from ..rules.pieces import crowded, width
from ..rules.rule import Array, Arrays, LinearEquation, Rule, Solve, Solvers
from .numpy import QUICK, apart, threads


class Framework(ABC):
    """One automatic differentiation system; also the `Ops` that rules are stated in."""

    name: str
    solvers: Solvers

    xp: Any
    """The array namespace, differentiable by the framework."""

    precisions: tuple[Any, ...]
    """The dtypes that are computed in."""

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

    def evaluate(self, rule: Rule, inputs: Arrays, outputs: int | None = None) -> Arrays:
        """`rule.evaluate`, of a stack perhaps by a tape."""
        found = evaluated(self, rule, inputs)
        return rule.evaluate(self.solvers, inputs, outputs) if found is None else found

    def pull(
        self,
        rule: Rule,
        inputs: Arrays,
        outputs: Arrays,
        cotangents: Arrays,
        wanted: Sequence[bool],
    ) -> Arrays:
        """`rule.vjp`, of a stack perhaps by a tape."""
        found = pulled_back(self, rule, inputs, outputs, cotangents, wanted)
        return rule.vjp(self, inputs, outputs, cotangents, wanted) if found is None else found

    def replayed(self, tape: Tape, arrays: Sequence[Array]) -> tuple[Arrays, bool]:
        """What a tape makes of `plain` stacks (b, ...), and whether a matrix is in doubt."""
        return replayed(tape, arrays, threads())

    def plain(self, *arrays: Array) -> bool:
        """Whether arrays are known to be numbers, of which nothing follows what becomes of them."""
        return False

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

    @property
    @abstractmethod
    def default_float(self) -> Any:
        """The dtype that integers and booleans are promoted to."""
