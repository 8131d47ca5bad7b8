"""What a rule is, and what it may say.

A `Rule` is one differentiable map: how its outputs are computed, its derivative (JVP)
and the adjoint of its derivative (VJP). Both derivatives are made of the words of
`VOCABULARY` and of `Ops.solve`, each of which every framework can differentiate again;
that is why a rule holds to any order.

Cotangents follow ``dL = Re tr(g^H dx)``: the gradient of a real loss with respect to a
complex array points in the direction of steepest ascent, as in PyTorch.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

Array = Any
"""An array of any framework; shapes are written in the docstrings."""

Arrays = tuple[Array, ...]

VOCABULARY = frozenset(
    {
        # differentiated
        "astype",
        "concat",
        "conj",
        "linalg.diagonal",
        "matrix_transpose",
        "real",
        "sqrt",
        "sum",
        "where",
        # never differentiated: sizes, masks and constants
        "abs",
        "cumulative_sum",
        "finfo",
        "int32",
        "isdtype",
        "max",
        "zeros_like",
    }
)
"""Functions of the array namespace that derivatives may call, besides the operators
``+ - * / @ == <= < & | ~``, unary minus and basic indexing."""

QUICKER = frozenset({"hermitian_product", "quotient", "with_diagonal"})
"""Functions of `pieces` that a namespace may have its own of, the last two in the memory of an
argument if nothing follows its arrays."""


class Solvers(Protocol):
    """The decompositions a framework computes, without derivatives."""

    name: str
    xp: Any

    @property
    def compiles(self) -> bool:
        """Whether there is `compiled`."""
        ...

    def decompose(self, decomposition: Any, a: Array) -> Arrays:
        """A `kernels.Decomposition` of a stack, by the kernel that suits it."""
        ...

    def platform(self, a: Array) -> str:
        """Where the array is: "cpu" or another device."""
        ...

    def diagonal_matrix(self, w: Array, dtype: Any) -> Array:
        """The matrices (..., n, n) with the vectors w (..., n) on their diagonals."""
        ...

    def core(self, w: Array, dtype: Any) -> Array:
        """Matrices (..., n, n) of which derivatives read no more than the diagonal, w (..., n).

        The tangents and cotangents of such an output are matrices as others are.
        """
        ...

    def combine(self, c: Array, x: Array, z: Array, y: Array) -> Array:
        """c x + z y, entry by entry."""
        ...

    def in_blocks(self, kernel: Any, a: Array, block: int) -> Arrays:
        """kernel(a), applied to so many of the matrices of a stack (b, m, n) at a time."""
        ...

    def on_all_cores(self, kernel: Any, a: Array) -> Arrays:
        """kernel(a), of a part of the stack (b, m, n) on each core."""
        ...

    def compiled(self, decomposition: Any, a: Array) -> Arrays | None:
        """A `kernels.Decomposition` of real matrices (..., m, n) by a compiled kernel; None of
        one alone for which that finds nothing."""
        ...

    def eigh(self, a: Array, lower: bool) -> tuple[Array, Array]: ...
    def eigvalsh(self, a: Array, lower: bool) -> Array: ...
    def svd(self, a: Array, full: bool) -> tuple[Array, Array, Array]: ...
    def svdvals(self, a: Array) -> Array: ...
    def eig(self, a: Array, left: bool) -> tuple[Array, Array, Array | None]: ...
    def eigvals(self, a: Array) -> Array: ...
    def cholesky(self, a: Array) -> Array: ...
    def solve(self, a: Array, b: Array) -> Array: ...
    def solve_triangular(self, a: Array, b: Array, lower: bool) -> Array: ...

    def qr(self, a: Array) -> tuple[Array, Any]:
        """R of the thin A = Q R, and the function that multiplies by Q."""
        ...

    def schur(self, a: Array) -> tuple[Array, Array]:
        """(T, Q) with a = Q T Q^H, T upper triangular and complex."""
        ...

    def while_loop(self, condition: Any, body: Any, state: Arrays) -> Arrays:
        """state = body(state) as long as condition(state), as `jax.lax.while_loop`."""
        ...

    def when(self, condition: Array, then: Any, otherwise: Any) -> Any:
        """then() if the condition holds anywhere, else `otherwise`: arrays of the same shapes."""
        ...

    def seldom(self, function: Any, *arrays: Array) -> Arrays:
        """function(*arrays) of stacks (b, ...), inside a branch of `when` that is seldom taken."""
        ...

    def tell(self, listener: Any, returned: Array, *arrays: Array) -> Array:
        """Call listener(*arrays) on the host, with NumPy arrays, and return `returned`."""
        ...


class Ops(Protocol):
    """What a rule may use while it states a derivative.

    `xp` is the array namespace, each word of `VOCABULARY` differentiable; `call` is another
    rule, and `solve` the solution of a `LinearEquation`, differentiable as well.
    """

    @property
    def xp(self) -> Any: ...

    def constant(self, x: Array) -> Array:
        """The value of x, from which masks are made: nothing is differentiated through it."""
        ...

    def call(self, rule: Rule, *inputs: Array) -> Arrays:
        """The outputs of a rule."""
        ...

    def rules_out(self, test: Any, *arrays: Array) -> bool:
        """Whether test(xp, *arrays) is known to hold nowhere; arrays may be None."""
        ...

    def listed(self, x: Array) -> list[Any] | None:
        """The numbers of a vector, or on the diagonal of a matrix, if they can be had at once."""
        ...

    def number(self, x: Array) -> Any:
        """The number x, an array without axes, if it can be had at once; else None."""
        ...

    def norm(self, x: Array) -> float | None:
        """The Frobenius norm of x as a number, if it can be had at once; squares may overflow."""
        ...

    def apart(self, w: Array, size: int, origin: bool = False) -> bool:
        """Whether the sorted real values w (..., n) are known to be more than a width apart.

        The width is that of `pieces.tolerance`; with `origin`, zero follows values that descend.
        """
        ...

    def diagonal(self, w: Array) -> Array:
        """True on the diagonal of matrices (n, n), for w (..., n) known to be `apart`."""
        ...

    def solve(
        self,
        equation: LinearEquation,
        masks: Arrays,
        coefficients: Arrays,
        rhs: Arrays,
        adjoint: bool = False,
    ) -> Arrays: ...


class Rule(ABC):
    """A differentiable map. Subclasses are frozen dataclasses: equal rules are one rule."""

    needs_inputs: bool = False
    """Whether the derivatives read the inputs; if not, they are not kept alive."""

    recorded: tuple[str, ...] = ()
    """What may be kept as a tape (`kernels.tape`), of "evaluate" and "vjp".

    All inputs and outputs are then stacks with the same leading dimensions, the first input is
    one of matrices, and one of the outputs as well.
    """

    def diagonals(self, count: int) -> dict[int, int]:
        """Which of so many outputs, all there are, are in value the diagonal matrix of which."""
        return {}

    linear: bool = False
    """Whether the rule is linear in one or more of its inputs, jointly or each by itself.

    Then `vjp` may be asked for the cotangent of such an input with zeros in its place, and
    without the outputs, which are None: it cannot depend on them.
    """

    separate: bool = False
    """Whether each cotangent of a `linear` rule makes that of one input and no others.

    Then an absent one is not to be taken for zeros.
    """

    @abstractmethod
    def evaluate(self, solvers: Solvers, inputs: Arrays, outputs: int | None = None) -> Arrays:
        """The first `outputs` outputs (all of them by default), at the least cost."""

    @abstractmethod
    def jvp(self, ops: Ops, inputs: Arrays, outputs: Arrays, tangents: Arrays) -> Arrays:
        """Tangents of all outputs; an absent tangent is None."""

    @abstractmethod
    def vjp(
        self,
        ops: Ops,
        inputs: Arrays,
        outputs: Arrays,
        cotangents: Arrays,
        wanted: Sequence[bool],
    ) -> Arrays:
        """Cotangents of the inputs; an absent cotangent is None, an unwanted one may be."""


class HostRule(Rule):
    """A rule whose `evaluate` speaks to the host, so that compilers must not look into it.

    It has one output, whose shape is that of the first input less the last axis, and which
    pulls nothing back.
    """

    kinds: ClassVar[dict[str, type[HostRule]]] = {}

    def __init_subclass__(cls) -> None:
        HostRule.kinds[cls.__name__] = cls

    @abstractmethod
    def spelled(self) -> str:
        """The rule as a text, which compilers take for a constant."""

    @classmethod
    @abstractmethod
    def read(cls, text: str) -> HostRule:
        """The rule that is spelled so."""

    needs_inputs = True


class LinearEquation(ABC):
    """An equation M(c) x = r: linear in the tuple x, real-bilinear in coefficients c and x.

    It is solved in closed form at the value of the coefficients, whose derivatives may
    have more structure than the value: diagonal in value, full in tangent. Masks are
    boolean arrays that say which components are held at zero.
    """

    @abstractmethod
    def apply(self, xp: Any, c: Arrays, x: Arrays) -> Arrays:
        """M(c) x."""

    @abstractmethod
    def apply_adjoint(self, xp: Any, c: Arrays, y: Arrays) -> Arrays:
        """M(c)^H y."""

    @abstractmethod
    def coefficients_gradient(self, xp: Any, x: Arrays, y: Arrays) -> Arrays:
        """The gradient of Re <y, M(c) x> with respect to c."""

    @abstractmethod
    def solve(self, xp: Any, masks: Arrays, c: Arrays, rhs: Arrays) -> Arrays:
        """x with M(c) x = r off the masks and x = 0 on them."""

    @abstractmethod
    def solve_adjoint(self, xp: Any, masks: Arrays, c: Arrays, rhs: Arrays) -> Arrays:
        """y with M(c)^H y = r off the masks and y = 0 on them."""

    def solution(self, xp: Any, masks: Arrays, c: Arrays, rhs: Arrays, adjoint: bool) -> Arrays:
        """That of the equation, or of the adjoint one."""
        return (self.solve_adjoint if adjoint else self.solve)(xp, masks, c, rhs)


@dataclasses.dataclass(frozen=True)
class Solve(Rule):
    """The solution of a linear equation as a rule: its derivatives are solutions again.

    From M x = r:  M dx = dr - dM x, and for a cotangent g of x:  M^H gr = g,
    gc = -d Re<gr, M(c) x>/dc. The inputs are so many masks, so many coefficients, and the
    right-hand sides, in a row.
    """

    equation: LinearEquation
    masks: int
    coefficients: int
    adjoint: bool = False
    needs_inputs = True
    linear = True

    def _split(self, flat: Arrays) -> tuple[Arrays, Arrays, Arrays]:
        i, j = self.masks, self.masks + self.coefficients
        return flat[:i], flat[i:j], flat[j:]

    def evaluate(self, solvers, inputs, outputs=None):
        return self.equation.solution(solvers.xp, *self._split(inputs), self.adjoint)

    def jvp(self, ops, inputs, outputs, tangents):
        eq = self.equation
        masks, c, r = self._split(inputs)
        _, dc, dr = self._split(tangents)
        dr = tuple(ops.xp.zeros_like(ri) if d is None else d for ri, d in zip(r, dr, strict=True))
        if any(d is not None for d in dc):
            dc = tuple(
                ops.xp.zeros_like(ci) if d is None else d for ci, d in zip(c, dc, strict=True)
            )
            turned = (eq.apply_adjoint if self.adjoint else eq.apply)(ops.xp, dc, outputs)
            dr = tuple(d - t for d, t in zip(dr, turned, strict=True))  # dr - dM x
        return ops.solve(eq, masks, c, dr, self.adjoint)

    def vjp(self, ops, inputs, outputs, cotangents, wanted):
        eq = self.equation
        masks, c, _ = self._split(inputs)
        g = tuple(
            ops.xp.zeros_like(x) if gi is None else gi
            for x, gi in zip(outputs or cotangents, cotangents, strict=True)
        )
        gr = ops.solve(eq, masks, c, g, not self.adjoint)  # M^H gr = g
        gc: Arrays = (None,) * self.coefficients
        if any(self._split(tuple(wanted))[1]):
            x, y = (gr, outputs) if self.adjoint else (outputs, gr)
            gc = tuple(-p for p in eq.coefficients_gradient(ops.xp, x, y))
        return (None,) * self.masks + gc + gr
