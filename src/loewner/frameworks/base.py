"""What a framework has to offer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from ..kernels import Host, Kinds, Tape, evaluated, followed, pulled_back
from ..rules.rule import Array, Arrays, LinearEquation, Ops, Rule, Solve, Solvers
from .numpy import HOST
from .plain import PLAIN, Words, numbers


class Framework(Words):
    """One automatic differentiation system; also the `Ops` that rules are stated in."""

    name: str
    solvers: Solvers

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
        found = evaluated(self, rule, inputs, outputs)
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
        if found is not None:
            return found
        ops = self.ops(rule, *inputs, *outputs, *cotangents)
        return rule.vjp(ops, inputs, outputs, cotangents, wanted)

    def ops(self, rule: Rule, *arrays: Array) -> Ops:
        """What a derivative of a rule is stated in: of NumPy's arrays, quicker words."""
        return PLAIN if numbers(*arrays) else self

    host: Host = HOST
    """Where compiled kernels work."""

    def replayed(self, tape: Tape, arrays: Sequence[Array]) -> Arrays | None:
        """What a tape makes of `plain` stacks (b, ...); None if a matrix is in doubt."""
        kinds = self.kinds(arrays)
        return kinds and followed(tape, kinds)(self, arrays)

    def kinds(self, arrays: Sequence[Array]) -> Kinds | None:
        """Of `plain` arrays, or None, what a compiled kernel has to know; None if it cannot
        read them."""
        if not numbers(*arrays) or not self.plain(*arrays):
            return None
        # fields of records may lie in steps that are no whole numbers of them
        if any(x is not None and any(s % x.itemsize for s in x.strides) for x in arrays):
            return None
        return tuple(
            None if x is None else (x.shape, tuple(s // x.itemsize for s in x.strides), x.dtype)
            for x in arrays
        )

    def plain(self, *arrays: Array) -> bool:
        """Whether arrays are known to be numbers, of which nothing follows what becomes of them."""
        return False

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
