"""PyTorch learns a rule as one `autograd.Function` whose derivatives are differentiable.

torch.compile cannot trace a Function that defines `jvp` or `vmap`, so that a compiling
call goes through a second class that defines only the backward.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from array_api_compat import torch as compat
from torch._C._functorch import (
    TransformType,
    _unwrap_for_grad,
    _wrap_for_grad,
    peek_interpreter_stack,
)
from torch._functorch.pyfunctorch import retrieve_current_functorch_interpreter
from torch.autograd import forward_ad

from ..rules.rule import Array, Arrays, Rule
from .base import Framework
from .numpy import has_scipy, scipy_eig


class _Namespace:
    """array-api-compat's namespace, with functions that every kind of vmap knows."""

    conj = staticmethod(torch.conj)

    @staticmethod
    def matrix_transpose(x):
        return x.mT

    def __getattr__(self, name: str) -> Any:
        return getattr(compat, name)


class TorchSolvers:
    """`torch.linalg`, with left eigenvectors from SciPy on the CPU if it is installed."""

    xp = _Namespace()

    def eigh(self, a, lower):
        w, v = torch.linalg.eigh(a, UPLO="L" if lower else "U")
        return w, v

    def eigvalsh(self, a, lower):
        return torch.linalg.eigvalsh(a, UPLO="L" if lower else "U")

    def svd(self, a, full):
        u, s, vh = torch.linalg.svd(a, full_matrices=full)
        return u, s, vh

    def svdvals(self, a):
        return torch.linalg.svdvals(a)

    def eig(self, a, left):
        if left and a.device.type == "cpu" and has_scipy():
            return _eig_with_left(a)
        w, v = torch.linalg.eig(a)
        return w, v, None

    def eigvals(self, a):
        return torch.linalg.eigvals(a)

    def cholesky(self, a):
        return torch.linalg.cholesky(a)

    def solve(self, a, b):
        x, _ = torch.linalg.solve_ex(a, b)  # not finite where singular, instead of an exception
        return x

    def solve_triangular(self, a, b, lower):
        return torch.linalg.solve_triangular(a, b, upper=not lower)


def _numpy_eig_with_left(a):
    w, v, y = scipy_eig(a.detach().resolve_conj().numpy())
    return torch.from_numpy(w), torch.from_numpy(v), torch.from_numpy(y)


_eig_with_left: Any = torch.compiler.disable(_numpy_eig_with_left)


class Torch(Framework):
    name = "PyTorch"
    solvers = TorchSolvers()
    xp = TorchSolvers.xp

    def call(self, rule: Rule, *inputs: Array, outputs: int | None = None) -> Arrays:
        if not _differentiates(inputs):
            return tuple(rule.evaluate(self.solvers, inputs, outputs))[:outputs]
        reverse, both = _learnt(rule)
        function = reverse if torch.compiler.is_compiling() else both
        return tuple(function.apply(*inputs))[:outputs]

    def asarray(self, x):
        return x if isinstance(x, torch.Tensor) else torch.as_tensor(x)

    @property
    def default_float(self):
        return torch.get_default_dtype()


FRAMEWORK = Torch()


def owns(x: Any) -> bool:
    return isinstance(x, torch.Tensor)


def _differentiates(inputs: Arrays) -> bool:
    """Whether a derivative, or a transform of torch.func, may be watching."""
    if torch.is_grad_enabled() and any(x.requires_grad for x in inputs):
        return True
    if torch.compiler.is_compiling():
        return False
    return peek_interpreter_stack() is not None or forward_ad._current_level >= 0


@functools.cache
def _learnt(rule: Rule) -> tuple[Any, Any]:
    """The rule as two Functions: with a backward only, and with every transform."""

    class Reverse(torch.autograd.Function):
        @staticmethod
        def forward(*inputs):
            return tuple(_dense(x) for x in rule.evaluate(FRAMEWORK.solvers, inputs))

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.set_materialize_grads(False)
            kept = (*(inputs if rule.needs_inputs else ()), *output)
            ctx.count = len(kept) - len(output)
            ctx.inputs = len(inputs)
            ctx.save_for_backward(*kept)
            ctx.save_for_forward(*kept)

        @staticmethod
        def backward(ctx, *cotangents):
            if all(g is None for g in cotangents):
                return (None,) * ctx.inputs
            inputs, outputs = ctx.saved_tensors[: ctx.count], ctx.saved_tensors[ctx.count :]
            found = rule.vjp(FRAMEWORK, inputs, outputs, cotangents, ctx.needs_input_grad)
            return tuple(
                g if needed else None for g, needed in zip(found, ctx.needs_input_grad, strict=True)
            )

    class Both(Reverse):
        @staticmethod
        def jvp(ctx, *tangents):
            def push(inputs, outputs, tangents):
                moved = rule.jvp(FRAMEWORK, inputs, outputs, tangents)
                return tuple(t.resolve_conj() for t in moved)

            kept = ctx.saved_tensors
            return _below(push, kept[: ctx.count], kept[ctx.count :], tangents)

        @staticmethod
        def vmap(info, in_dims, *inputs):
            moved = []
            for x, axis in zip(inputs, in_dims, strict=True):
                if axis is None:
                    x = x.expand((info.batch_size, *x.shape))
                else:
                    x = x.movedim(axis, 0)
                moved.append(x)
            out = tuple(Both.apply(*moved))
            return out, (0,) * len(out)

    Reverse.__name__ = Both.__name__ = type(rule).__name__
    return Reverse, Both


def _dense(x: torch.Tensor) -> torch.Tensor:
    """x in memory of its own, without gaps or pending conjugation.

    Forward mode wants the views of an output and those of its tangent to be alike.
    """
    x = x.resolve_conj()
    part_of_another = x._base is not None and x._base.numel() != x.numel()
    return x.clone(memory_format=torch.contiguous_format) if part_of_another else x


def _below(push: Any, *arguments: Arrays) -> Arrays:
    """Evaluate a JVP one level of torch.func below the one that asks for it.

    PyTorch evaluates the `jvp` of a Function with forward mode switched off at every
    level, which makes the derivative of a forward derivative silently zero. The level
    that asks has what it needs; those below it are switched on again.
    """
    if peek_interpreter_stack() is None:
        return push(*arguments)
    interpreter = retrieve_current_functorch_interpreter()
    if interpreter.key() != TransformType.Jvp:
        return push(*arguments)
    level = interpreter.level()
    lowered = (
        tuple(_unwrap_for_grad(x, level) if isinstance(x, torch.Tensor) else x for x in group)
        for group in arguments
    )
    with torch.enable_grad(), forward_ad._set_fwd_grad_enabled(True), interpreter.lower():
        moved = push(*lowered)
    return tuple(_wrap_for_grad(x, level) for x in moved)
