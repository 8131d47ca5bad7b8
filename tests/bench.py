"""The four frameworks behind one interface, so that one test covers them all.

Losses are real functions of arrays. Gradients come back as NumPy arrays in the convention
dL = Re tr(g^H dx), whatever the framework's own is.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import Any

import autograd
import autograd.numpy as anp
import jax
import jax.numpy as jnp
import numpy as np
import torch

import loewner as lw

jax.config.update("jax_enable_x64", True)


def on_four_devices(program: str) -> None:
    """Run a program of JAX in a process of its own, whose processor stands for four devices."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def inner(g, e) -> float:
    """Re <g, e> over all arguments."""
    return float(sum(np.sum(np.conj(x) * y).real for x, y in zip(g, e, strict=True)))


class Numpy:
    name = "numpy"
    functions = np
    array = staticmethod(np.asarray)
    numpy = staticmethod(np.asarray)
    real, imag = staticmethod(np.real), staticmethod(np.imag)
    conj, argsort = staticmethod(np.conj), staticmethod(np.argsort)

    @staticmethod
    def adjoint(x):
        return np.conj(x).swapaxes(-1, -2)

    def jvp(self, f, a, e):
        return float(lw.jvp(f, a, e)[1])

    def grad(self, f, a):
        return lw.vjp(f, *a)[1](np.array(1.0))

    def seconds(self, f, a, e, h):
        """d2L[e, h] by every composition of the modes."""

        def grad(*a):
            return self.grad(f, a)

        def forward(*a):
            return lw.jvp(f, a, e)[1]

        def dot(*a):
            return sum(np.sum(np.real(np.conj(x) * g)) for x, g in zip(e, grad(*a), strict=True))

        return {
            "forward over forward": float(lw.jvp(forward, a, h)[1]),
            "forward over reverse": inner(lw.jvp(grad, a, h)[1], e),
            "reverse over forward": inner(lw.vjp(forward, *a)[1](np.array(1.0)), h),
            "reverse over reverse": inner(lw.vjp(dot, *a)[1](np.array(1.0)), h),
        }


class Jax:
    name = "jax"
    functions = jnp
    array = staticmethod(jnp.asarray)
    numpy = staticmethod(np.asarray)
    real, imag = staticmethod(jnp.real), staticmethod(jnp.imag)
    conj, argsort = staticmethod(jnp.conj), staticmethod(jnp.argsort)

    @staticmethod
    def adjoint(x):
        return jnp.conj(x).swapaxes(-1, -2)

    def _in(self, a):
        return tuple(jnp.asarray(x) for x in a)

    def jvp(self, f, a, e):
        return float(jax.jvp(f, self._in(a), self._in(e))[1])

    def _grad(self, f):
        def grad(*a):
            return tuple(jnp.conj(g) for g in jax.grad(f, argnums=tuple(range(len(a))))(*a))

        return grad

    def grad(self, f, a):
        return tuple(np.asarray(g) for g in self._grad(f)(*self._in(a)))

    def seconds(self, f, a, e, h):
        a, e, h = map(self._in, (a, e, h))
        grad = self._grad(f)

        def forward(*a):
            return jax.jvp(f, a, e)[1]

        def dot(*a):
            return sum(jnp.sum(jnp.real(jnp.conj(x) * g)) for x, g in zip(e, grad(*a), strict=True))

        return {
            "forward over forward": float(jax.jvp(forward, a, h)[1]),
            "forward over reverse": inner(jax.jvp(grad, a, h)[1], e),
            "reverse over forward": inner(self._grad(forward)(*a), h),
            "reverse over reverse": inner(self._grad(dot)(*a), h),
        }


class Torch:
    name = "torch"
    functions = torch
    array = staticmethod(torch.as_tensor)
    real, argsort = staticmethod(torch.real), staticmethod(torch.argsort)

    @staticmethod
    def numpy(x):
        return x.detach().resolve_conj().numpy()

    @staticmethod
    def imag(x):
        return torch.imag(x) if x.is_complex() else torch.zeros_like(x)

    @staticmethod
    def conj(x):
        return torch.conj(x).resolve_conj()

    @staticmethod
    def adjoint(x):
        return x.mH

    def _in(self, a):
        return tuple(torch.as_tensor(x) for x in a)

    def _out(self, g):
        return tuple(self.numpy(x) for x in g)

    def jvp(self, f, a, e):
        return float(torch.func.jvp(f, self._in(a), self._in(e))[1])

    def _grad(self, f):
        def grad(*a):
            return torch.func.grad(f, argnums=tuple(range(len(a))))(*a)

        return grad

    def grad(self, f, a):
        a = tuple(x.clone().requires_grad_() for x in self._in(a))
        return self._out(torch.autograd.grad(f(*a), a))

    def seconds(self, f, a, e, h):
        a, e, h = map(self._in, (a, e, h))
        grad = self._grad(f)

        def forward(*a):
            return torch.func.jvp(f, a, e)[1]

        leaves = tuple(x.clone().requires_grad_() for x in a)
        first = torch.autograd.grad(f(*leaves), leaves, create_graph=True)
        dot = [(x.conj() * g).real.sum() for x, g in zip(e, first, strict=True)]
        twice = torch.autograd.grad(torch.stack(dot).sum(), leaves)
        e_, h_ = self._out(e), self._out(h)
        return {
            "forward over forward": float(torch.func.jvp(forward, a, h)[1]),
            "forward over reverse": inner(self._out(torch.func.jvp(grad, a, h)[1]), e_),
            "reverse over forward": inner(self._out(self._grad(forward)(*a)), h_),
            "double backward": inner(self._out(twice), h_),
        }


class Autograd:
    name = "autograd"
    functions = anp
    array = staticmethod(np.asarray)
    numpy = staticmethod(np.asarray)
    real, imag = staticmethod(anp.real), staticmethod(anp.imag)
    conj = staticmethod(anp.conj)

    @staticmethod
    def argsort(x):
        while hasattr(x, "_value"):
            x = x._value
        return np.argsort(x)

    @staticmethod
    def adjoint(x):
        return anp.conj(anp.swapaxes(x, -1, -2))

    def _packed(self, f):
        return lambda a: f(*(a[i] for i in range(len(a))))

    def jvp(self, f, a, e):
        return float(autograd.make_jvp(self._packed(f))(tuple(a))(tuple(e))[1])

    def _grad(self, f):
        return lambda a: tuple(anp.conj(g) for g in autograd.grad(self._packed(f))(tuple(a)))

    def grad(self, f, a):
        return self._grad(f)(a)

    def seconds(self, f, a, e, h):
        gradient = autograd.grad(self._packed(f))
        forward = lambda *x: autograd.make_jvp(self._packed(f))(autograd.builtins.tuple(x))(e)[1]  # noqa: E731

        def dot(*a):
            g = gradient(autograd.builtins.tuple(a))
            return sum(anp.sum(anp.real(e[i] * g[i])) for i in range(len(e)))

        return {
            "forward over forward": float(autograd.make_jvp(self._packed(forward))(a)(h)[1]),
            "reverse over forward": inner(self._grad(forward)(a), h),
            "forward over reverse": float(autograd.make_jvp(self._packed(dot))(a)(h)[1]),
            "reverse over reverse": inner(self._grad(dot)(a), h),
        }


FRAMEWORKS: tuple[Any, ...] = (Numpy(), Jax(), Torch(), Autograd())
