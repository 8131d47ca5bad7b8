"""The ways a gradient is taken: a framework, and loewner or the framework's own linalg."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import autograd
import autograd.numpy as anp
import jax
import jax.numpy as jnp
import numpy as np
import torch

import loewner as lw

from .problems import Array, Linalg, Problem
from .textbook import by_cholesky, by_eigh, by_svd

jax.config.update("jax_enable_x64", True)


autograd_linalg: Any = anp.linalg


class JaxLinalg:
    eigvalsh = staticmethod(jnp.linalg.eigvalsh)
    eigvals = staticmethod(jnp.linalg.eigvals)

    def svd(self, a: Array, full_matrices: bool = True) -> Any:
        return jnp.linalg.svd(a, full_matrices=full_matrices)

    def eigh(self, a: Array, b: Array | None = None) -> Any:
        return jnp.linalg.eigh(a) if b is None else by_cholesky(jnp.linalg, a, b)

    def eig(self, a: Array) -> Any:
        # jnp.linalg.eig refuses derivatives of the vectors; this is JAX's own way to have them
        return jax.lax.linalg.eig(a, compute_left_eigenvectors=False, enable_eigvec_derivs=True)

    def align(self, p: Array, q: Array, weights: Array) -> Any:
        return by_svd(jnp, jnp.linalg, p, q, weights)

    def sqrtm(self, a: Array, hermitian: bool = True) -> Array:
        return by_eigh(jnp, jnp.linalg, a)


class TorchLinalg:
    svd = staticmethod(torch.linalg.svd)
    eigvalsh = staticmethod(torch.linalg.eigvalsh)
    eig = staticmethod(torch.linalg.eig)
    eigvals = staticmethod(torch.linalg.eigvals)

    def eigh(self, a: Array, b: Array | None = None) -> Any:
        return torch.linalg.eigh(a) if b is None else by_cholesky(torch.linalg, a, b)

    def align(self, p: Array, q: Array, weights: Array) -> Any:
        return by_svd(torch, torch.linalg, p, q, weights)

    def sqrtm(self, a: Array, hermitian: bool = True) -> Array:
        return by_eigh(torch, torch.linalg, a)


class AutogradLinalg:
    svd = staticmethod(autograd_linalg.svd)
    eig = staticmethod(autograd_linalg.eig)

    def eigh(self, a: Array, b: Array | None = None) -> Any:
        return autograd_linalg.eigh(a) if b is None else by_cholesky(autograd_linalg, a, b)

    def eigvalsh(self, a: Array) -> Array:
        return autograd_linalg.eigh(a)[0]

    def eigvals(self, a: Array) -> Array:
        return autograd_linalg.eig(a)[0]

    def align(self, p: Array, q: Array, weights: Array) -> Any:
        return by_svd(anp, autograd_linalg, p, q, weights)

    def sqrtm(self, a: Array, hermitian: bool = True) -> Array:
        return by_eigh(anp, autograd_linalg, a)


Function = Callable[[Array], Array]


def numpy_gradient(f: Function, x: np.ndarray) -> np.ndarray:
    value, pullback = lw.vjp(f, x)
    return pullback(np.ones_like(value))[0]


def numpy_hessian(f: Function, x: np.ndarray) -> np.ndarray:
    def gradient(y):
        value, pullback = lw.vjp(f, y)
        return pullback(np.ones(()))[0]

    return np.stack([lw.jvp(gradient, (x,), (e,))[1] for e in np.eye(x.size)])


def torch_gradient(f: Function, x: np.ndarray) -> np.ndarray:
    return torch.func.grad(f)(torch.from_numpy(x)).numpy()


def torch_hessian(f: Function, x: np.ndarray) -> np.ndarray:
    return torch.func.hessian(f)(torch.from_numpy(x)).numpy()


def jax_gradient(f: Function, x: np.ndarray) -> np.ndarray:
    return np.asarray(jax.jit(jax.grad(f))(jnp.asarray(x)))


def jax_hessian(f: Function, x: np.ndarray) -> np.ndarray:
    return np.asarray(jax.jit(jax.hessian(f))(jnp.asarray(x)))


@dataclass(frozen=True)
class Route:
    """One way to a gradient or Hessian."""

    name: str
    loewner: bool
    xp: Any
    la: Linalg
    gradient: Callable[[Function, np.ndarray], np.ndarray]
    hessian: Callable[[Function, np.ndarray], np.ndarray]

    def derivative(self, problem: Problem) -> np.ndarray:
        take = self.gradient if problem.order == 1 else self.hessian
        return np.asarray(take(lambda x: problem.loss(self.xp, self.la, x), problem.x))


def _autograd(operator: Callable) -> Callable[[Function, np.ndarray], np.ndarray]:
    return lambda f, x: operator(f)(x)


ROUTES = (
    Route("NumPy", True, np, lw, numpy_gradient, numpy_hessian),
    Route("JAX", True, jnp, lw, jax_gradient, jax_hessian),
    Route("PyTorch", True, torch, lw, torch_gradient, torch_hessian),
    Route("autograd", True, anp, lw, _autograd(autograd.grad), _autograd(autograd.hessian)),
    Route("jnp.linalg", False, jnp, JaxLinalg(), jax_gradient, jax_hessian),
    Route("torch.linalg", False, torch, TorchLinalg(), torch_gradient, torch_hessian),
    Route(
        "autograd.numpy.linalg",
        False,
        anp,
        AutogradLinalg(),
        _autograd(autograd.grad),
        _autograd(autograd.hessian),
    ),
)
