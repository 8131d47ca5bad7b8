"""The matrix products of rules in JAX, in the form in which XLA is fast.

On the CPU, XLA's product of a transposed real matrix takes up to twice the time of the product
of a matrix, into which it may be copied first; and its products of stacks of small matrices
take 2 to 13 times that of a sum of outer products, which is one loop with what is done before
and after. Elsewhere the products are left as they are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Literal, Primitive
from jax.interpreters import ad, batching, mlir

from ..rules.rule import Array

_SUMMED = range(4, 8)
"""The orders of matrices in stacks whose product is a sum. Those of order 2 and 3 are one
loop as they are."""

_LEAST_KEPT = 6
"""The least order at which the factors of a sum are computed before it, not at each use."""

_FEW = 12
"""The most products of a program that become sums, which take longer to compile."""

_LEAST_COPIED = 16
"""The least order at which a transposed matrix is copied."""

_matmul_p = Primitive("loewner_matmul")


def products_replaced(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of arrays, its matrix products being the primitive of this file."""

    def call(*arrays: Any) -> Any:
        program, shapes = jax.make_jaxpr(function, return_shape=True)(*arrays)
        found = _followed(program, jax.tree.leaves(arrays))
        return jax.tree.unflatten(jax.tree.structure(shapes), found)

    return call


def _followed(program: Any, arrays: list[Array]) -> list[Array]:
    jaxpr = program.jaxpr
    known = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*program.consts, *arrays), strict=True))

    def value(x: Any) -> Array:
        return x.val if isinstance(x, Literal) else known[x]

    few = sum(map(_is_matmul, jaxpr.eqns)) <= _FEW
    for equation in jaxpr.eqns:
        primitive, inputs = equation.primitive, [value(x) for x in equation.invars]
        if _is_matmul(equation):
            found = [_matmul_p.bind(*inputs, few=few)]
        else:
            params = primitive.get_bind_params(equation.params)
            functions, params = params if isinstance(params, tuple) else ((), params)  # jax < 0.10
            found = primitive.bind(*functions, *inputs, **params)
            found = found if primitive.multiple_results else [found]
        known.update(zip(equation.outvars, found, strict=True))
    return [value(x) for x in jaxpr.outvars]


def _is_matmul(equation: Any) -> bool:
    """Whether an equation is the product of two stacks of matrices of the same batch."""
    if equation.primitive is not lax.dot_general_p:
        return False
    x, y = (v.aval for v in equation.invars)
    batch = (*range(x.ndim - 2),)
    contracted = ((x.ndim - 1,), (x.ndim - 2,))
    alike = x.ndim == y.ndim >= 2 and x.dtype == y.dtype
    return alike and equation.params["dimension_numbers"] == (contracted, (batch, batch))


def _matmul(x: Array, y: Array, few: bool) -> Array:
    return jnp.matmul(x, y)


def _matmul_on_cpu(x: Array, y: Array, few: bool) -> Array:
    (m, k), n = x.shape[-2:], y.shape[-1]
    if few and x.ndim > 2 and max(m, k, n) in _SUMMED:
        if max(m, k, n) >= _LEAST_KEPT:
            x, y = lax.optimization_barrier((x, y))
        outer = [x[..., :, i, None] * y[..., None, i, :] for i in range(k)]
        return functools.reduce(jnp.add, outer)
    if min(m, k) >= _LEAST_COPIED and not jnp.iscomplexobj(x):
        x = lax.optimization_barrier(x)  # past which no transpose is moved into the product
    return jnp.matmul(x, y)


def _batch(inputs: Any, axes: Any, few: bool) -> tuple[Array, int]:
    size = next(x.shape[i] for x, i in zip(inputs, axes, strict=True) if i is not None)
    x, y = (
        jnp.broadcast_to(x, (size, *x.shape)) if i is None else jnp.moveaxis(x, i, 0)
        for x, i in zip(inputs, axes, strict=True)
    )
    return _matmul_p.bind(x, y, few=few), 0


@_matmul_p.def_abstract_eval
def _aval(x: Any, y: Any, few: bool) -> Any:
    return jax.make_jaxpr(jnp.matmul)(x, y).out_avals[0]


_matmul_p.def_impl(jax.jit(_matmul_p.bind, static_argnames="few"))
ad.defbilinear(
    _matmul_p,
    lambda g, x, y, few: _matmul_p.bind(g, y.mT, few=few),
    lambda g, x, y, few: _matmul_p.bind(x.mT, g, few=few),
)
batching.primitive_batchers[_matmul_p] = _batch
for _function, _platform in ((_matmul, None), (_matmul_on_cpu, "cpu")):
    _lowering = mlir.lower_fun(_function, multiple_results=False)
    mlir.register_lowering(_matmul_p, _lowering, platform=_platform)
