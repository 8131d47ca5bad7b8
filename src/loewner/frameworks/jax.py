"""JAX learns the JVP of a rule and transposes it itself.

A rule that is linear in some of its inputs is a primitive with a transpose of its own, the
rule's VJP. As a `custom_jvp` it would lose its rule there: JAX transposes the body, in which
the dependence on the other inputs is that of the value alone.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from ..kernels import Kinds, Tape, dtype_name, evaluated, folded, recorded, replayable
from ..rules.pieces import diagonal_matrix
from ..rules.rule import Array, Arrays, HostRule, Rule, Solvers
from . import foreign
from .base import Framework
from .products import products_replaced


class JaxSolvers:
    """`jax.numpy.linalg` and `jax.lax.linalg`."""

    name = "JAX"
    xp = jnp

    @property
    def compiles(self):
        return foreign.known()

    def compiled(self, decomposition, a):
        return foreign.decomposed(decomposition, a)

    def decompose(self, decomposition, a):
        return tuple(_decompose_p.bind(a, decomposition=decomposition))

    def platform(self, a):
        return jax.default_backend()

    def diagonal_matrix(self, w, dtype):
        return diagonal_matrix(jnp, w, dtype)

    core = diagonal_matrix

    def combine(self, c, x, z, y):
        return c * x + z * y

    def in_blocks(self, kernel, a, block):
        return _in_blocks(kernel, block, a)

    def on_all_cores(self, kernel, a):
        return kernel(a)

    def eigh(self, a, lower):
        w, v = jnp.linalg.eigh(a, UPLO="L" if lower else "U", symmetrize_input=False)
        return w, v

    def eigvalsh(self, a, lower):
        v, w = lax.linalg.eigh(a, lower=lower, symmetrize_input=False)
        return w

    def svd(self, a, full):
        # gesdd of OpenBLAS does not return from infinite entries; NaN it reports
        a = jnp.where(jnp.isfinite(a), a, jnp.nan)
        u, s, vh = jnp.linalg.svd(a, full_matrices=full)
        return u, s, vh

    def svdvals(self, a):
        return jnp.linalg.svd(a, compute_uv=False)

    def eig(self, a, left):
        w, *vectors = lax.linalg.eig(
            a, compute_left_eigenvectors=left, compute_right_eigenvectors=True
        )
        return w, vectors[-1], vectors[0] if left else None

    def eigvals(self, a):
        return jnp.linalg.eigvals(a)

    def cholesky(self, a):
        return jnp.linalg.cholesky(a, symmetrize_input=False)

    def solve(self, a, b):
        return jnp.linalg.solve(a, b)

    def solve_triangular(self, a, b, lower):
        return lax.linalg.triangular_solve(
            jnp.broadcast_to(a, b.shape[:-2] + a.shape[-2:]), b, left_side=True, lower=lower
        )

    def qr(self, a):
        packed, tau = jnp.linalg.qr(a, mode="raw")
        h = packed.mT
        top, below = jnp.split(h, [a.shape[-1]], axis=-2)

        def times_q(x):
            if not hasattr(lax.linalg, "ormqr"):  # before JAX 0.10
                return lax.linalg.householder_product(h, tau) @ x
            return lax.linalg.ormqr(h, tau, jnp.concat([x, jnp.zeros_like(below)], axis=-2))

        return jnp.triu(top), times_q

    def schur(self, a):
        t, q = jax.scipy.linalg.schur(a.astype(jnp.result_type(a, jnp.complex64)))
        return t, q

    def while_loop(self, condition, body, state):
        return lax.while_loop(condition, body, state)

    def when(self, condition, then, otherwise):
        return lax.cond(jnp.any(condition), then, lambda: otherwise)

    def seldom(self, function, *arrays):
        # the memory that a branch may need is taken whether it is run or not
        each = sum(math.prod(x.shape[1:]) for x in arrays)
        return _in_blocks(function, max(64, 2**15 // max(1, each)), *arrays)

    def tell(self, listener, returned, *arrays):
        def told(nothing, *arrays):
            listener(*(np.asarray(x) for x in arrays))
            return np.asarray(nothing)

        nothing = jnp.zeros_like(returned)
        shape = jax.ShapeDtypeStruct(returned.shape, returned.dtype)
        return returned + jax.pure_callback(told, shape, nothing, *arrays)


class _ArrayOperations(JaxSolvers):
    """For programs that are run elsewhere: no foreign functions."""

    @property
    def compiles(self):
        return False

    def qr(self, a):
        q, r = jnp.linalg.qr(a)
        return r, lambda x: q @ x


class _WholeStacks(_ArrayOperations):
    """For stacks that are sharded: blocks would gather them on every device."""

    def in_blocks(self, kernel, a, block):
        return kernel(a)

    def seldom(self, function, *arrays):
        return function(*arrays)


def _in_blocks(kernel, block, *stacks):
    """kernel(*stacks), of so many of the matrices of each stack at a time."""
    count = stacks[0].shape[0]
    if count <= block:
        return kernel(*stacks)
    kernel = jax.jit(kernel)  # traced once for the shapes and the loop
    steps = -(-count // block)
    block = -(-count // steps)

    def fill(i, whole):
        start = lax.min(i * block, count - block)  # the last block overlaps the one before
        found = kernel(*(lax.dynamic_slice_in_dim(x, start, block) for x in stacks))
        return [
            lax.dynamic_update_slice_in_dim(out, x, start, 0)
            for out, x in zip(whole, found, strict=True)
        ]

    shapes = jax.eval_shape(kernel, *(x[:block] for x in stacks))
    whole = [_varying(jnp.zeros((count, *x.shape[1:]), x.dtype), stacks) for x in shapes]
    return tuple(lax.fori_loop(0, steps, fill, whole))


def _varying(x: Array, arrays: Sequence[Array]) -> Array:
    """x, which varies over the devices of shard_map as arrays do; nothing is computed."""
    some = sum(jnp.real(y).reshape(-1)[0].astype(jnp.real(x).dtype) for y in arrays)
    return jnp.where(False, jnp.asarray(some, x.dtype), x)


def _solvers_for(ctx: Any) -> Solvers:
    module = ctx.module_context
    if getattr(module.axis_context, "num_devices", 1) > 1:
        return _WholeStacks()
    if module.lowering_parameters.for_export or tuple(module.platforms) != ("cpu",):
        return _ArrayOperations()
    return FRAMEWORK.solvers


class Jax(Framework):
    name = "JAX"
    solvers = JaxSolvers()
    xp = jnp
    precisions = jnp.float64, jnp.float32, jnp.complex128, jnp.complex64

    def call(self, rule: Rule, *inputs: Array, outputs: int | None = None) -> Arrays:
        if rule.linear or isinstance(rule, HostRule):
            return tuple(_linear_p.bind(*inputs, rule=rule)[:outputs])
        return _learnt(rule, outputs)(*inputs)

    def constant(self, x):
        return lax.stop_gradient(x)

    def accepts(self, other):
        return other is self or other.name == "NumPy"

    def push(self, function, x, direction):
        return jax.jvp(function, (x,), (direction,))[1]

    def value_and_gradient(self, function, x):
        return jax.block_until_ready(jax.value_and_grad(function)(x))

    @property
    def default_float(self):
        return jnp.result_type(float)


FRAMEWORK = Jax()


def owns(x: Any) -> bool:
    return isinstance(x, jax.Array)


def _evaluate(rule: Rule, solvers: Solvers, inputs: Arrays, outputs: int | None = None) -> Any:
    evaluate = functools.partial(rule.evaluate, solvers, outputs=outputs)
    return products_replaced(lambda inputs: list(evaluate(inputs)[:outputs]))(inputs)


def _moved(rule: Rule, inputs: Arrays, outputs: Arrays, tangents: Arrays) -> Arrays:
    if "vjp" in rule.recorded and _replayable(outputs):
        kept = inputs if rule.needs_inputs else ()
        given = tuple(t for t in tangents if t is not None)
        present = tuple(t is not None for t in tangents)
        derivative = _Derivative(rule, len(kept), len(outputs), present)
        return tuple(_derivative_p.bind(*kept, *outputs, *given, derivative=derivative))
    jvp = functools.partial(rule.jvp, FRAMEWORK)
    return tuple(products_replaced(jvp)(inputs, outputs, tangents))


@functools.cache
def _learnt(rule: Rule, outputs: int | None) -> Any:
    """The rule as a function that JAX differentiates; `outputs` may leave the last ones out."""

    @jax.custom_jvp
    def call(*inputs):
        if "evaluate" in rule.recorded and _replayable(inputs):
            return tuple(_evaluation_p.bind(*inputs, rule=rule, outputs=outputs))
        return tuple(_evaluate(rule, FRAMEWORK.solvers, inputs, outputs))

    def call_jvp(primals, tangents):
        whole = _learnt(rule, None)(*primals)
        given = tuple(None if isinstance(t, SymbolicZero) else t for t in tangents)
        if all(t is None for t in given):
            moved = tuple(jnp.zeros_like(x) for x in whole)
        else:
            moved = _moved(rule, primals, whole, given)
        return whole[:outputs], tuple(moved[:outputs])

    call.defjvp(call_jvp, symbolic_zeros=True)
    return jax.jit(call)


_linear_p = Primitive("loewner")
_linear_p.multiple_results = True


@functools.cache
def _evaluated(rule: Rule) -> Any:
    return jax.jit(lambda *inputs: list(rule.evaluate(FRAMEWORK.solvers, inputs)))


@_linear_p.def_impl
def _impl(*inputs, rule):
    return _evaluated(rule)(*inputs)


@_linear_p.def_abstract_eval
def _abstract_eval(*inputs, rule):
    # traced with the abstract inputs themselves, which know what varies over which devices
    return jax.make_jaxpr(_evaluated(rule))(*inputs).out_avals


def _linear_lowering(ctx, *inputs, rule):
    solvers = _solvers_for(ctx)
    return mlir.lower_fun(lambda *inputs: _evaluate(rule, solvers, inputs))(ctx, *inputs)


mlir.register_lowering(_linear_p, _linear_lowering)


def _push(primals, tangents, *, rule):
    outputs = tuple(_linear_p.bind(*primals, rule=rule))
    given = tuple(
        None if type(t) is ad.Zero or t.dtype == jax.dtypes.float0 else t for t in tangents
    )
    if all(t is None for t in given):
        return outputs, tuple(jnp.zeros_like(x) for x in outputs)
    return outputs, _moved(rule, tuple(primals), outputs, given)


def _transpose(cotangents, *inputs, rule):
    unknown = tuple(ad.is_undefined_primal(x) for x in inputs)
    if all(type(g) is ad.Zero for g in cotangents):
        return [None] * len(inputs)
    # the cotangents of JAX are the conjugates of those in the rules
    g = tuple(
        None if rule.separate and type(g) is ad.Zero else jnp.conj(ad.instantiate_zeros(g))
        for g in cotangents
    )
    known = tuple(
        jnp.zeros(x.aval.shape, x.aval.dtype) if u else x
        for u, x in zip(unknown, inputs, strict=True)
    )
    found = products_replaced(
        lambda known, g: rule.vjp(FRAMEWORK, known, None, g, unknown),
    )(known, g)
    return [
        jnp.conj(x) if u and x is not None else None for u, x in zip(unknown, found, strict=True)
    ]


def _batch(inputs, axes, *, rule):
    found = _linear_p.bind(*_batched(inputs, axes), rule=rule)
    return found, (0,) * len(found)


def _batched(inputs: Arrays, axes: tuple[int | None, ...]) -> Iterator[Array]:
    """Arrays with the axis of vmap in front, whether they have it or not."""
    size = next(x.shape[i] for x, i in zip(inputs, axes, strict=True) if i is not None)
    for x, i in zip(inputs, axes, strict=True):
        yield jnp.broadcast_to(x, (size, *x.shape)) if i is None else jnp.moveaxis(x, i, 0)


@dataclasses.dataclass(frozen=True)
class _Derivative:
    """The JVP of a rule, a linear map of tangents, or its VJP, the transposed map of cotangents.

    As a primitive it meets the stack that vmap makes of matrices, so that the VJP may follow a
    tape. Its arrays are so many inputs (none if the rule does not need them) and outputs of the
    rule, and what is `present` of the tangents, or of the cotangents. It returns all tangents,
    or the `wanted` cotangents.
    """

    rule: Rule
    inputs: int
    outputs: int
    present: tuple[bool, ...]
    wanted: tuple[bool, ...] | None = None

    @property
    def known(self) -> int:
        """How many arrays it is not linear in."""
        return self.inputs + self.outputs

    def _named(self, arrays: Arrays) -> tuple[Arrays, Arrays, Arrays]:
        given = iter(arrays[self.known :])
        moved = tuple(next(given) if present else None for present in self.present)
        return arrays[: self.inputs], arrays[self.inputs : self.known], moved

    def words(self, *arrays: Array) -> list[Array]:
        """As the rule says it."""
        return products_replaced(lambda *arrays: self._said(*self._named(arrays)))(*arrays)

    def _said(self, inputs: Arrays, outputs: Arrays, moved: Arrays) -> list[Array]:
        if self.wanted is None:
            return list(self.rule.jvp(FRAMEWORK, inputs, outputs, moved))
        found = self.rule.vjp(FRAMEWORK, inputs, outputs, moved, self.wanted)
        return [x for x, wanted in zip(found, self.wanted, strict=True) if wanted]

    def evaluate(self, solvers: Solvers, *arrays: Array) -> list[Array]:
        """By a tape if that is faster, and no matrix is in doubt."""
        if self.wanted is None:
            return self.words(*arrays)
        inputs, outputs, moved = self._named(arrays)
        found = recorded(solvers, self.rule, inputs, outputs, moved, self.wanted)
        if found is None:
            return self.words(*arrays)
        tape, stacks, batch = found
        diagonals = self.rule.diagonals(self.outputs).items()
        diagonals = {self.inputs + i: self.inputs + j for i, j in diagonals}
        for i, line in enumerate(tape.lines):
            if line and i in diagonals:
                stacks[i] = stacks[diagonals[i]]  # the matrix need not be made
            elif line:
                b, m, n = stacks[i].shape
                entries = stacks[i].reshape(b, m * n)
                stacks[i] = entries[:, : min(m, n) * (n + 1) : n + 1]

        def words() -> list[Array]:
            known = list(arrays)
            for i, j in diagonals.items():
                known[i] = diagonal_matrix(jnp, known[j], known[i].dtype)
            return self.words(*known)

        results, doubt = foreign.replayed(tape, stacks)
        results = [x for x in folded(solvers, batch, results) if x is not None]
        results = [_varying(x, arrays) for x in results]  # as foreign functions do not say
        return lax.cond(jnp.any(doubt), words, lambda: results)

    def transposed(self, given: tuple[bool, ...]) -> _Derivative:
        """The transposed map of what is given of what this one returns."""
        if self.wanted is None:
            return dataclasses.replace(self, present=given, wanted=self.present)
        some = iter(given)
        present = tuple(wanted and next(some) for wanted in self.wanted)
        return dataclasses.replace(self, present=present, wanted=None)


_derivative_p = Primitive("loewner_derivative")
_derivative_p.multiple_results = True


def _replayable(outputs: Arrays) -> bool:
    """Whether a tape may be followed for a stack of such matrices."""
    *_, m, n = max((x.shape for x in outputs), key=len)
    return replayable((m, n), {dtype_name(x.dtype) for x in outputs})


class _Program:
    """What a tape needs of a framework, while a program for XLA is made."""

    def __init__(self, solvers: Solvers):
        self.solvers = solvers

    def kinds(self, arrays: Sequence[Array]) -> Kinds:
        return tuple((x.shape, (), x.dtype) for x in arrays)  # XLA says where they lie

    def replayed(self, tape: Tape, arrays: Sequence[Array]) -> Arrays:
        found, _ = foreign.replayed(tape, arrays)  # no evaluation is in doubt
        return tuple(found)


_evaluation_p = Primitive("loewner_evaluation")
_evaluation_p.multiple_results = True


@functools.partial(jax.jit, static_argnames=("rule", "outputs"))
def _evaluation(*inputs, rule, outputs):
    return _evaluated_in(FRAMEWORK.solvers, inputs, rule, outputs)


def _evaluated_in(solvers: Solvers, inputs: Arrays, rule: Rule, outputs: int | None) -> list[Array]:
    found = evaluated(_Program(solvers), rule, inputs, outputs)
    return list(_evaluate(rule, solvers, inputs, outputs) if found is None else found[:outputs])


@_evaluation_p.def_abstract_eval
def _evaluation_avals(*inputs, rule, outputs):
    words = functools.partial(_evaluate, rule, FRAMEWORK.solvers, outputs=outputs)
    return jax.make_jaxpr(lambda *inputs: words(inputs))(*inputs).out_avals


def _evaluation_lowering(ctx, *inputs, rule, outputs):
    solvers = _solvers_for(ctx)

    def evaluate(*inputs):
        return _evaluated_in(solvers, inputs, rule, outputs)

    return mlir.lower_fun(evaluate)(ctx, *inputs)


def _evaluation_batch(inputs, axes, **parameters):
    found = _evaluation_p.bind(*_batched(inputs, axes), **parameters)
    return found, (0,) * len(found)


@functools.partial(jax.jit, static_argnames="derivative")
def _derivative(*arrays, derivative):
    return derivative.evaluate(FRAMEWORK.solvers, *arrays)


@_derivative_p.def_abstract_eval
def _derivative_avals(*arrays, derivative):
    return jax.make_jaxpr(derivative.words)(*arrays).out_avals


def _derivative_lowering(ctx, *arrays, derivative):
    evaluate = functools.partial(derivative.evaluate, _solvers_for(ctx))
    return mlir.lower_fun(evaluate)(ctx, *arrays)


def _derivative_moved(primals, tangents, *, derivative):
    outputs = _derivative_p.bind(*primals, derivative=derivative)
    moving = [type(t) is not ad.Zero for t in tangents]
    rest = [x for x, moves in zip(primals, moving, strict=True) if not moves]

    def function(*arrays):
        some, others = iter(arrays), iter(rest)
        return derivative.words(*(next(some if moves else others) for moves in moving))

    at = [x for x, moves in zip(primals, moving, strict=True) if moves]
    along = [t for t in tangents if type(t) is not ad.Zero]
    return outputs, jax.jvp(function, at, along)[1]


def _derivative_transposed(cotangents, *arrays, derivative):
    given = tuple(type(g) is not ad.Zero for g in cotangents)
    nothing = [None] * len(arrays)
    if not any(given):
        return nothing
    back = derivative.transposed(given)
    known = arrays[: derivative.known]
    seen = [g for g in cotangents if type(g) is not ad.Zero]
    found = _derivative_p.bind(*known, *seen, derivative=back)
    if back.wanted is None:
        found = [x for x, present in zip(found, derivative.present, strict=True) if present]
    linear = arrays[derivative.known :]
    found = [x if ad.is_undefined_primal(y) else None for x, y in zip(found, linear, strict=True)]
    return nothing[: derivative.known] + found


def _derivative_batch(arrays, axes, *, derivative):
    found = _derivative_p.bind(*_batched(arrays, axes), derivative=derivative)
    return found, (0,) * len(found)


# a primitive of its own, so that vmap hands the kernel the whole stack
_decompose_p = Primitive("loewner_decompose")
_decompose_p.multiple_results = True


def _decompose(a, *, decomposition, solvers=FRAMEWORK.solvers):
    return list(decomposition.evaluate(solvers, a))


@_decompose_p.def_abstract_eval
def _decompose_avals(a, *, decomposition):
    by_lapack = dataclasses.replace(decomposition, method="lapack")
    return jax.make_jaxpr(functools.partial(_decompose, decomposition=by_lapack))(a).out_avals


def _decompose_batch(inputs, axes, *, decomposition):
    (a,), (axis,) = inputs, axes
    found = _decompose_p.bind(jnp.moveaxis(a, axis, 0), decomposition=decomposition)
    return found, (0,) * len(found)


def _decompose_lowering(ctx, a, *, decomposition):
    evaluated = functools.partial(_decompose, solvers=_solvers_for(ctx))
    return mlir.lower_fun(evaluated)(ctx, a, decomposition=decomposition)


_decompose_p.def_impl(jax.jit(_decompose, static_argnames="decomposition"))
mlir.register_lowering(_decompose_p, _decompose_lowering)
batching.primitive_batchers[_decompose_p] = _decompose_batch
ad.primitive_jvps[_linear_p] = _push
ad.primitive_transposes[_linear_p] = _transpose
batching.primitive_batchers[_linear_p] = _batch
_evaluation_p.def_impl(_evaluation)
mlir.register_lowering(_evaluation_p, _evaluation_lowering)
batching.primitive_batchers[_evaluation_p] = _evaluation_batch
_derivative_p.def_impl(_derivative)
mlir.register_lowering(_derivative_p, _derivative_lowering)
ad.primitive_jvps[_derivative_p] = _derivative_moved
ad.primitive_transposes[_derivative_p] = _derivative_transposed
batching.primitive_batchers[_derivative_p] = _derivative_batch
