"""JAX learns the JVP of a rule and transposes it itself.

The equation of `Ops.solve` goes through `lax.custom_linear_solve`, which keeps both its
linearity in the right-hand side and its dependence on the coefficients through every
transform; a `custom_jvp` would lose the latter when it is transposed.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero

from ..rules.rule import Array, Arrays, LinearEquation, Rule
from .base import Framework


class JaxSolvers:
    """`jax.numpy.linalg` and `jax.lax.linalg`."""

    xp = jnp

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


class Jax(Framework):
    name = "JAX"
    solvers = JaxSolvers()
    xp = jnp

    def call(self, rule: Rule, *inputs: Array, outputs: int | None = None) -> Arrays:
        return _learnt(rule, outputs)(*inputs)

    def solve(self, equation, masks, coefficients, rhs, adjoint=False):
        return _solve(equation, masks, coefficients, rhs, adjoint)

    def constant(self, x):
        return lax.stop_gradient(x)

    def accepts(self, other):
        return other is self or other.name == "NumPy"

    @property
    def default_float(self):
        return jnp.result_type(float)


FRAMEWORK = Jax()


def owns(x: Any) -> bool:
    return isinstance(x, jax.Array)


@functools.cache
def _learnt(rule: Rule, outputs: int | None) -> Any:
    """The rule as a function that JAX differentiates; `outputs` may leave the last ones out."""

    @jax.custom_jvp
    def call(*inputs):
        return tuple(rule.evaluate(FRAMEWORK.solvers, inputs, outputs)[:outputs])

    def call_jvp(primals, tangents):
        whole = _learnt(rule, None)(*primals)
        given = tuple(None if isinstance(t, SymbolicZero) else t for t in tangents)
        if all(t is None for t in given):
            moved = tuple(jnp.zeros_like(x) for x in whole)
        else:
            moved = rule.jvp(FRAMEWORK, primals, whole, given)
        return whole[:outputs], tuple(moved[:outputs])

    call.defjvp(call_jvp, symbolic_zeros=True)
    return jax.jit(call)


def _solve(
    equation: LinearEquation, masks: Arrays, coefficients: Arrays, rhs: Arrays, adjoint: bool
) -> Arrays:
    def apply(x):
        return (equation.apply_adjoint if adjoint else equation.apply)(jnp, coefficients, x)

    def solve(_, r):
        how = equation.solve_adjoint if adjoint else equation.solve
        return how(jnp, masks, coefficients, r)

    def solve_transpose(_, r):
        # M^T y = r is M^H conj(y) = conj(r)
        how = equation.solve if adjoint else equation.solve_adjoint
        y = how(jnp, masks, coefficients, tuple(jnp.conj(ri) for ri in r))
        return tuple(jnp.conj(yi) for yi in y)

    return lax.custom_linear_solve(apply, tuple(rhs), solve, solve_transpose)
