"""autograd (HIPS) learns a rule as a primitive with a VJP and a JVP.

Its cotangents are the conjugates of those in the rules.
"""

from __future__ import annotations

import functools
from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd import make_jvp, value_and_grad
from autograd.builtins import tuple as boxed_tuple
from autograd.core import defjvp_argnums
from autograd.extend import defvjp_argnums, primitive
from autograd.tracer import isbox

from ..rules.rule import Array, Arrays, Rule
from .base import Framework
from .numpy import NumpySolvers


class _Namespace:
    """The words of the rules in `autograd.numpy`; what is not differentiated, in NumPy."""

    __name__ = "autograd.numpy"

    sqrt = staticmethod(anp.sqrt)
    sum = staticmethod(anp.sum)
    matmul = staticmethod(anp.matmul)
    permute_dims = staticmethod(anp.transpose)
    asarray = staticmethod(anp.array)

    class linalg:
        @staticmethod
        def diagonal(x):
            # the adjoint of autograd's own diagonal drops imaginary parts
            eye = np.eye(*x.shape[-2:], dtype=bool)
            return anp.sum(_Namespace.where(eye, x, np.zeros((1, 1), x.dtype)), axis=-1)

    @staticmethod
    def broadcast_to(x, shape):
        return x + np.zeros(shape, x.dtype)  # whose adjoint sums, over new axes too

    @staticmethod
    def where(mask, x, y):
        # autograd does not sum the cotangents of arguments that were broadcast
        shape = np.broadcast_shapes(mask.shape, x.shape, y.shape)
        return anp.where(
            mask, *(z if z.shape == shape else _Namespace.broadcast_to(z, shape) for z in (x, y))
        )

    @staticmethod
    def astype(x, dtype):
        if x.dtype == dtype:
            return x
        if np.isdtype(dtype, "complex floating") and np.isdtype(x.dtype, "real floating"):
            return x + np.zeros((), dtype)  # whose adjoint takes the real part
        return x.astype(dtype)

    @staticmethod
    def concat(xs, axis=0):
        return anp.concatenate(xs, axis=axis)

    @staticmethod
    def matrix_transpose(x):
        return anp.swapaxes(x, -1, -2)

    def __getattr__(self, name):
        plain = getattr(np, name)
        return plain if isinstance(plain, type) else getattr(anp, name)


class Autograd(Framework):
    name = "autograd"
    solvers = NumpySolvers(np)
    xp = _Namespace()
    precisions = np.float64, np.float32, np.complex128, np.complex64

    def call(self, rule: Rule, *inputs: Array, outputs: int | None = None) -> Arrays:
        if not any(isbox(x) for x in inputs):
            return tuple(self.evaluate(rule, inputs, outputs))[:outputs]
        found = _learnt(rule)(*inputs)
        return tuple(found[i] for i in range(len(found)))[:outputs]

    def constant(self, x):
        while isbox(x):
            x = x._value
        return x

    def plain(self, *arrays):
        return not any(map(isbox, arrays))

    def peek(self, x):
        return None if isbox(x) else x

    def asarray(self, x):
        return x if isbox(x) else np.asarray(x)

    def accepts(self, other):
        return other is self or other.name == "NumPy"

    def push(self, function, x, direction):
        return make_jvp(function)(x)(direction)[1]

    def value_and_gradient(self, function, x):
        return value_and_grad(function)(x)

    @property
    def default_float(self):
        return np.float64


FRAMEWORK = Autograd()


def owns(x: Any) -> bool:
    return isbox(x)


@functools.cache
def _learnt(rule: Rule) -> Any:
    def evaluate(*inputs):
        return tuple(FRAMEWORK.evaluate(rule, inputs))

    call = primitive(evaluate)

    def vjp(argnums, outputs, inputs, kwargs):
        outputs = tuple(outputs[i] for i in range(len(outputs)))
        wanted = tuple(i in argnums for i in range(len(inputs)))

        def pullback(g):
            # an absent cotangent comes as an array of zeros
            g = tuple(g[i] for i in range(len(outputs)))
            g = tuple(None if not isbox(gi) and not np.any(gi) else anp.conj(gi) for gi in g)
            found: Any = (None,) * len(inputs)
            if any(gi is not None for gi in g):
                found = FRAMEWORK.pull(rule, inputs, outputs, g, wanted)
            return tuple(
                np.zeros(inputs[i].shape, inputs[i].dtype)
                if found[i] is None
                else anp.conj(found[i])
                for i in argnums
            )

        return pullback

    def jvp(argnums, tangents, outputs, inputs, kwargs):
        outputs = tuple(outputs[i] for i in range(len(outputs)))
        given: list[Any] = [None] * len(inputs)
        for i, t in zip(argnums, tangents, strict=True):
            given[i] = t
        ops = FRAMEWORK.ops(rule, *inputs, *outputs, *given)
        return boxed_tuple(tuple(rule.jvp(ops, inputs, outputs, tuple(given))))

    defvjp_argnums(call, vjp)
    defjvp_argnums(call, jvp)
    return call
