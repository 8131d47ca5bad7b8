"""PyTorch learns a rule as one `autograd.Function` whose derivatives are differentiable.

torch.compile cannot trace a Function that defines `jvp` or `vmap`, so that a compiling
call goes through a second class that defines only the backward.
"""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import inspect
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from array_api_compat import torch as compat
from torch._C._functorch import (
    TransformType,
    _unwrap_for_grad,
    _wrap_for_grad,
    is_functorch_wrapped_tensor,
    is_legacy_batchedtensor,
    peek_interpreter_stack,
)
from torch._functorch.pyfunctorch import retrieve_current_functorch_interpreter
from torch._functorch.utils import unwrap_dead_wrappers
from torch.autograd import forward_ad
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from ..kernels import Decomposition, Team, Threads, transposed
from ..kernels.choice import has_numba
from ..rules.pieces import width
from ..rules.rule import Array, Arrays, HostRule, Rule
from .base import Framework
from .numpy import apart, filled_in_blocks, has_scipy, scipy_eig, scipy_schur, while_loop
from .plain import Unfollowed


class _Namespace:
    """array-api-compat's namespace, with functions that every kind of vmap knows.

    And with short ways to the answers that every reverse pass asks for.
    """

    conj = staticmethod(torch.conj)
    abs = staticmethod(torch.abs)
    finfo = torch.finfo

    def __init__(self) -> None:
        # as attributes, which are found faster than by asking the module for each
        for name, function in vars(compat).items():
            if not hasattr(type(self), name):
                setattr(self, name, function)

    @staticmethod
    def any(x, axis=None):
        return torch.any(x) if axis is None else torch.any(x, dim=axis)

    @staticmethod
    def sum(x, axis=None, keepdims=False):
        if axis is None and not keepdims:
            return torch.sum(x)
        return torch.sum(x, dim=axis, keepdim=keepdims)

    @staticmethod
    def max(x, axis=None, keepdims=False):
        return torch.amax(x, dim=() if axis is None else axis, keepdim=keepdims)

    @staticmethod
    def isdtype(dtype, kind):
        return dtype.is_complex if kind == "complex floating" else compat.isdtype(dtype, kind)

    @staticmethod
    def cumulative_sum(x, axis, include_initial=False):
        found = torch.cumsum(x, dim=axis)
        if not include_initial:
            return found
        first = torch.zeros_like(found.sum(dim=axis, keepdim=True))
        return torch.cat((first, found), dim=axis)

    @staticmethod
    def concat(xs, axis=0):
        return torch.cat(tuple(xs), dim=axis)

    @staticmethod
    def matrix_transpose(x):
        return x.mT

    @staticmethod
    def hermitian_product(x, y):
        large = x.ndim == 2 and x.is_cpu and x.shape[0] >= _LEAST_IN_PARTS[x.is_complex()]
        # under autocast x may be a product of less precision
        if not large or x.dtype != y.dtype or not FRAMEWORK.plain(x, y):
            return x @ y.mH
        n = x.shape[0]
        edges = [n * i // _PARTS for i in range(_PARTS + 1)]
        found = x.new_empty((n, n))
        for i, j in itertools.pairwise(edges):
            torch.mm(x[i:], y[i:j].mH, out=found[i:, i:j])
            found[i:j, j:] = found[j:, i:j].mH
        return found


_PARTS = 4
"""In which the triangle of a Hermitian product is computed: five eighths of the whole product."""

_LEAST_IN_PARTS = {False: 384, True: 256}
"""The least order from which that is faster, of real and of complex matrices."""

_LEAST_BY_ROWS = 128
"""The least order from which one of U and Vh is laid out by rows: MKL's product of two matrices
that both lie by columns, as LAPACK leaves these, takes up to twice the time of others."""


class _Values(_Namespace):
    """The same for tensors that nothing follows: temporary ones are overwritten."""

    @staticmethod
    def quotient(x, d, masked):
        if masked is not None and masked is _diagonal(d.shape[-1], d.device):
            d.diagonal(dim1=-2, dim2=-1).fill_(math.inf)
        elif masked is not None:
            d.masked_fill_(masked, math.inf)
        fits = isinstance(x, torch.Tensor) and x.shape == d.shape and x.dtype == d.dtype
        return torch.div(x, d, out=d) if fits else x / d

    @staticmethod
    def with_diagonal(x, w, same):
        x.diagonal(dim1=-2, dim2=-1).add_(w)
        return x


class OpenMP:
    """The threads of OpenMP that PyTorch's own operations are shared out to.

    They keep their cores busy for milliseconds after an operation, waiting for the next one:
    other threads would have to fight them for these. Operations within work on one thread.
    """

    least = 2.5e4  # some 30 microseconds, as for PyTorch's own operations

    def __init__(self, library: Any):
        parallel = library.GOMP_parallel
        parallel.argtypes = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint
        parallel.restype = None
        self._parallel = parallel

    def size(self) -> int:
        return torch.get_num_threads()

    def run(self, kernel: Any, job: int, count: int) -> None:
        self._parallel(kernel.address, job, 0, 0)  # fewer than all would end the others

    def map(self, function: Callable[[Any], Any], parts: Sequence[Any]) -> list[Any]:
        """function(part) of each part, in any order."""
        found: list[Any] = [None] * len(parts)
        failures: list[BaseException] = []
        left = list(enumerate(parts))

        def work(_: Any) -> None:
            while True:
                try:
                    i, part = left.pop()
                except IndexError:
                    return  # another thread took the last one
                try:
                    found[i] = function(part)
                except BaseException as error:  # noqa: BLE001  the caller, in C, would lose it
                    failures.append(error)

        callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(work)
        self._parallel(ctypes.cast(callback, ctypes.c_void_p), None, 0, 0)
        if failures:
            raise failures[0]
        return found


def _team() -> Team:
    """That of OpenMP where PyTorch is built with GNU's, or with one that stands in for it."""
    try:
        return OpenMP(ctypes.CDLL(torch._C.__file__))
    except (OSError, AttributeError):
        return Threads(torch.get_num_threads)


TEAM = _team()


class _Host:
    """Of tensors on the CPU."""

    team: Team = TEAM

    def dense(self, a):
        return a.detach().resolve_neg().contiguous()

    def address(self, x):
        return x.data_ptr()

    def empty(self, shape, like):
        return like.new_empty(shape)


HOST = _Host()


@torch.compiler.assume_constant_result
def _numba() -> bool:
    return has_numba()


class TorchSolvers:
    """`torch.linalg`, with left eigenvectors from SciPy on the CPU if it is installed."""

    name = "PyTorch"
    compiles = True
    xp = _Namespace()

    def decompose(self, decomposition, a):
        if not torch.compiler.is_compiling():
            return decomposition.evaluate(self, a)
        plan = decomposition.plan(self, a, _numba())
        if plan.method == "lapack" and not plan.reduced:
            return decomposition.mark(self, a, decomposition.lapack(self, a))
        return tuple(_decomposed(a.detach(), *dataclasses.astuple(decomposition)))

    def platform(self, a):
        # a tensor that only stands for others has no values that a kernel could read
        opaque = not torch.compiler.is_compiling() and (
            type(a) not in (torch.Tensor, torch.nn.Parameter)
            or is_functorch_wrapped_tensor(a)
            or is_legacy_batchedtensor(a)
            or torch._C._get_tracing_state() is not None  # by torch.jit.trace
            or bool(_get_current_dispatch_mode_stack())
        )
        return "unknown" if opaque else a.device.type

    def diagonal_matrix(self, w, dtype):
        return torch.diag_embed(w if w.dtype == dtype else w.to(dtype))

    def core(self, w, dtype):
        if torch.compiler.is_compiling() or _transforms():
            return self.diagonal_matrix(w, dtype)
        # all rows are w, in memory of one
        row = w.clone() if w.dtype == dtype else w.to(dtype)
        return (row if w.ndim == 1 else row.unsqueeze(-2)).expand(*w.shape, w.shape[-1])

    def combine(self, c, x, z, y):
        return (c * x).addcmul_(z, y)  # no derivative passes through a kernel

    def in_blocks(self, kernel, a, block):
        def empty(shape, like):
            return like.new_empty(shape)

        with torch.no_grad():
            return filled_in_blocks(kernel, a.detach().resolve_conj(), block, empty)

    def on_all_cores(self, kernel, a):
        if not isinstance(TEAM, OpenMP) or TEAM.size() < 2 or _observed(a):
            return kernel(a)
        b, m, n = a.shape
        if b < TEAM.size() and min(m, n) > 64:
            return kernel(a)  # whose own threads share out each matrix

        def quiet(part):
            with torch.no_grad():  # which each thread has for itself
                return kernel(part)

        try:
            found = TEAM.map(quiet, a.detach().tensor_split(min(b, TEAM.size())))
        except RuntimeError:
            return kernel(a)  # which says once more what is wrong, and counts in the whole stack
        return tuple(torch.cat(x) for x in zip(*found, strict=True))

    def compiled(self, decomposition, a):
        return decomposition.compiled(a, HOST)

    def eigh(self, a, lower):
        w, v = torch.linalg.eigh(a, "L" if lower else "U")
        return w, v

    def eigvalsh(self, a, lower):
        return torch.linalg.eigvalsh(a, "L" if lower else "U")

    def svd(self, a, full):
        m, n = a.shape[-2:]
        by_rows = min(m, n) >= _LEAST_BY_ROWS
        if by_rows and m == n:
            return transposed(torch.linalg.svd(a.mT, full_matrices=full))
        u, s, vh = torch.linalg.svd(a, full_matrices=full)
        if not by_rows:
            return u, s, vh
        return (u, s, vh.contiguous()) if m > n else (u.contiguous(), s, vh)

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

    def qr(self, a):
        h, tau = torch.geqrf(a)
        top, below = h.tensor_split([a.shape[-1]], -2)

        def times_q(x):
            return torch.ormqr(h, tau, torch.cat((x, torch.zeros_like(below)), -2))

        return top.triu(), times_q

    def schur(self, a):
        if torch.compiler.is_compiling():
            torch._dynamo.graph_break()
        t, q = scipy_schur(a.detach().resolve_conj().cpu().numpy())
        return torch.from_numpy(t).to(a.device), torch.from_numpy(q).to(a.device)

    def while_loop(self, condition, body, state):
        return while_loop(condition, body, state)

    def when(self, condition, then, otherwise):
        return then() if bool(condition.any()) else otherwise

    def seldom(self, function, *arrays):
        return function(*arrays)

    def tell(self, listener, returned, *arrays):
        listener(*(x.cpu().numpy() for x in arrays))
        return returned


@torch.library.custom_op("loewner::decomposed", mutates_args=())
def _decomposed(
    a: torch.Tensor, operation: str, method: str, lower: bool, full: bool, marked: bool
) -> list[torch.Tensor]:
    """Compilers do not look into the loop over blocks."""
    how = Decomposition(operation, method, lower, full, marked)
    return [x.contiguous() for x in how.evaluate(FRAMEWORK.solvers, a)]


@_decomposed.register_fake
def _(a, operation, method, lower, full, marked):
    *batch, m, n = a.shape
    shapes = Decomposition(operation, method, lower, full).shapes(m, n)
    kinds = (a.dtype if len(x) == 2 else a.real.dtype for x in shapes)
    return [a.new_empty((*batch, *x), dtype=d) for x, d in zip(shapes, kinds, strict=True)]


def _eig_with_left(a):
    if torch.compiler.is_compiling():
        torch._dynamo.graph_break()
    w, v, y = scipy_eig(a.detach().resolve_conj().numpy())
    return torch.from_numpy(w), torch.from_numpy(v), torch.from_numpy(y)


class Torch(Framework):
    name = "PyTorch"
    solvers = TorchSolvers()
    xp = TorchSolvers.xp
    host = HOST
    precisions = torch.float64, torch.float32, torch.complex128, torch.complex64

    def call(self, rule: Rule, *inputs: Array, outputs: int | None = None) -> Arrays:
        if isinstance(rule, HostRule):
            return (_on_host(rule, inputs),)
        if not _differentiates(inputs):
            return tuple(self.evaluate(rule, inputs, outputs))[:outputs]
        if torch.compiler.is_compiling():
            return Reverse.apply(rule, *inputs)[:outputs]
        if peek_interpreter_stack() is not None:
            return Both.apply(rule, *inputs)[:outputs]
        apply = _apply_reverse if forward_ad._current_level < 0 else _apply_both
        return apply(rule, *unwrap_dead_wrappers(inputs))[:outputs]

    def solve(self, equation, masks, coefficients, rhs, adjoint=False):
        if _differentiates((*coefficients, *rhs)):
            return super().solve(equation, masks, coefficients, rhs, adjoint)
        return equation.solution(self.xp, masks, coefficients, rhs, adjoint)

    def plain(self, *arrays):
        if torch.compiler.is_compiling() or _transforms():
            return False
        followed = torch.is_grad_enabled()
        for x in arrays:
            if x is not None and (_opaque(x) or (followed and x.requires_grad)):
                return False
        return True

    def ops(self, rule, *arrays):
        return VALUES if self.plain(*arrays) else self

    def hidden(self, x: torch.Tensor) -> bool:
        """Whether the values of x cannot be read."""
        return torch.compiler.is_compiling() or _transforms() or _opaque(x)

    def kinds(self, arrays):
        if torch.compiler.is_compiling() or _transforms():
            return None
        followed = torch.is_grad_enabled()
        found = []
        for x in arrays:  # as in `plain`, in one pass
            if x is None:
                found.append(None)
            elif _opaque(x) or not x.is_cpu or x.is_neg() or (followed and x.requires_grad):
                return None
            else:
                found.append((x.shape, x.stride(), x.dtype))
        return tuple(found)

    def constant(self, x):
        if not torch.compiler.is_compiling() and is_legacy_batchedtensor(x):
            return x  # which cannot be detached
        return x.detach()

    def peek(self, x):
        # NumPy starts its operations faster, and is slower on what is large
        small = x.is_cpu and x.numel() <= 2**14 and not self.hidden(x)
        return x.numpy(force=True) if small else None

    def rules_out_unseen(self, test, *arrays):
        if any(self.hidden(x) for x in arrays if x is not None):
            return False
        held = test(self.xp, *arrays)
        return held is False or not held.any()

    def listed(self, x):
        if x.ndim > 2 or not x.is_cpu or self.hidden(x):
            return None
        return (x.diagonal() if x.ndim == 2 else x).tolist()

    def number(self, x):
        return None if self.hidden(x) else x.item()

    def apart(self, w, size, origin=False):
        if not w.is_cpu or self.hidden(w):
            return False  # another device would have to be waited for
        if w.ndim == 1:
            return apart(w.tolist(), _width(w.dtype, size), origin)
        return super().apart(w, size, origin)

    def diagonal(self, w):
        return _diagonal(w.shape[-1], w.device)

    def asarray(self, x):
        return x if isinstance(x, torch.Tensor) else torch.as_tensor(x)

    def push(self, function, x, direction):
        if forward_ad._current_level < 0 or peek_interpreter_stack() is not None:
            return torch.func.jvp(function, (x,), (direction,))[1]
        # dual tensors do not nest: the derivative of the linear map of reverse mode
        with torch.enable_grad():
            x = x if x.requires_grad else x.detach().requires_grad_()
            y = function(x)
            weights = torch.zeros_like(y, requires_grad=True)
            options: Any = {"create_graph": True, "allow_unused": True}
            (back,) = torch.autograd.grad(y, x, weights, **options) if y.requires_grad else (None,)
            if back is None or not back.requires_grad:
                return torch.zeros_like(y)
            (moved,) = torch.autograd.grad(back, weights, direction, **options)
        return torch.zeros_like(y) if moved is None else moved

    def value_and_gradient(self, function, x):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            value = function(x)
            (gradient,) = torch.autograd.grad(value, x)
        return value.detach(), gradient

    @property
    def default_float(self):
        return torch.get_default_dtype()


class _Plain(Unfollowed, Torch):
    """The same for tensors that nothing follows, for as long as they are worked on."""

    xp = _Values()

    def hidden(self, x):
        return False


FRAMEWORK = Torch()
VALUES = _Plain()


def owns(x: Any) -> bool:
    return isinstance(x, torch.Tensor)


def _differentiates(inputs: Arrays) -> bool:
    """Whether a derivative, or a transform of torch.func, may be watching."""
    if torch.is_grad_enabled():
        for x in inputs:
            if x.requires_grad:
                return True
    return not torch.compiler.is_compiling() and _transforms()


@functools.cache
def _width(dtype: torch.dtype, size: int) -> float:
    return width(torch, torch.empty(0, dtype=dtype), size)


@functools.cache
def _diagonal(n: int, device: torch.device) -> torch.Tensor:
    with torch.inference_mode(False):  # it is kept for calls that are differentiated
        return torch.eye(n, dtype=torch.bool, device=device)


def _opaque(x: torch.Tensor) -> bool:
    """Whether a tensor, by itself, does not show its values."""
    if type(x) is not torch.Tensor or x.is_meta or is_legacy_batchedtensor(x):
        return True
    return x._is_zerotensor()  # of which no number is kept


def _observed(x: torch.Tensor) -> bool:
    """Whether something that other threads do not know of may watch what is done to a tensor."""
    plain = type(x) in (torch.Tensor, torch.nn.Parameter)
    traced = torch._C._get_tracing_state() is not None  # by torch.jit.trace
    return not plain or traced or _transforms() or bool(_get_current_dispatch_mode_stack())


def _transforms() -> bool:
    """Whether a transform of torch.func, or forward mode, is under way."""
    return peek_interpreter_stack() is not None or forward_ad._current_level >= 0


def _on_host(rule: HostRule, inputs: Arrays) -> torch.Tensor:
    """The output of a rule that speaks to the host."""
    if torch.compiler.is_compiling():
        return _spoken([x.detach() for x in inputs], rule.spelled())
    if inputs[-1].is_meta or any(is_legacy_batchedtensor(x) for x in inputs):
        # no values, or a batch of autograd.grad(is_grads_batched=True), which hides them
        return _silence(inputs)
    if _transforms():
        return Both.apply(rule, *inputs)[0]
    return rule.evaluate(FRAMEWORK.solvers, tuple(x.detach() for x in inputs))[0]


def _silence(inputs: Sequence[torch.Tensor]) -> torch.Tensor:
    return inputs[0].new_zeros(inputs[0].shape[:-1], dtype=inputs[0].real.dtype)


@torch.library.custom_op("loewner::spoken", mutates_args=())
def _spoken(inputs: Sequence[torch.Tensor], rule: str) -> torch.Tensor:
    kind, text = rule.split(":", 1)
    (found,) = HostRule.kinds[kind].read(text).evaluate(FRAMEWORK.solvers, tuple(inputs))
    return found.clone()


@_spoken.register_fake
def _(inputs, rule):
    return _silence(inputs)


class Reverse(torch.autograd.Function):
    """A rule, the first argument, with a backward only."""

    @staticmethod
    def forward(ctx: Any, rule: Rule, *inputs: torch.Tensor) -> Arrays:
        outputs = tuple(map(_dense, FRAMEWORK.evaluate(rule, inputs)))
        _keep(ctx, rule, inputs, outputs)
        return outputs

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        wanted = ctx.needs_input_grad[1:]
        if all(g is None for g in cotangents):
            return (None,) * (1 + len(wanted))
        kept = ctx.saved_tensors  # once: activation checkpointing unpacks no more
        inputs, outputs = kept[: ctx.count], kept[ctx.count :]
        cotangents = tuple(g if g is None else g.resolve_conj() for g in cotangents)
        found = FRAMEWORK.pull(ctx.rule, inputs, outputs, cotangents, wanted)
        return (None, *(g if w else None for g, w in zip(found, wanted, strict=True)))


def _keep(ctx: Any, rule: Rule, inputs: Arrays, outputs: Arrays) -> Arrays:
    """What the derivatives of a rule read; returned as well."""
    ctx.set_materialize_grads(False)
    ctx.rule = rule
    ctx.count = len(inputs) if rule.needs_inputs else 0
    kept = (*inputs[: ctx.count], *outputs)
    ctx.save_for_backward(*kept)
    return kept


class Both(Reverse):
    """A rule, the first argument, with every transform."""

    @staticmethod
    def forward(rule: Rule, *inputs: torch.Tensor) -> Arrays:  # pyright: ignore[reportIncompatibleMethodOverride]
        return tuple(map(_own, FRAMEWORK.evaluate(rule, inputs)))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        rule, *arrays = inputs
        ctx.save_for_forward(*_keep(ctx, rule, tuple(arrays), output))

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        _, *tangents = grad_inputs

        def push(inputs, outputs, tangents):
            moved = ctx.rule.jvp(FRAMEWORK, inputs, outputs, tangents)
            return tuple(t.resolve_conj() for t in moved)

        kept = ctx.saved_tensors
        return _below(push, kept[: ctx.count], kept[ctx.count :], tuple(tangents))

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        rule, *inputs = args
        moved = (
            x.expand((info.batch_size, *x.shape)) if axis is None else x.movedim(axis, 0)
            for x, axis in zip(inputs, in_dims[1:], strict=True)
        )
        out = tuple(Both.apply(rule, *moved))
        return out, (0,) * len(out)


# Both.apply would work this out for each call
for _function in (Both.forward, Both.setup_context):
    _function.__signature__ = inspect.signature(_function)


def _apply(function: Any) -> Any:
    """Its `apply`, without what torch.func has to do first."""
    return super(torch.autograd.Function, function).apply  # pyright: ignore[reportAttributeAccessIssue]


_apply_reverse, _apply_both = _apply(Reverse), _apply(Both)


def _dense(x: torch.Tensor) -> torch.Tensor:
    """x without gaps, pending conjugation, or more memory than it has numbers."""
    x = x.resolve_conj()
    part_of_another = x._base is not None and x._base.numel() > x.numel()
    return x.clone(memory_format=torch.contiguous_format) if part_of_another else x


def _own(x: torch.Tensor) -> torch.Tensor:
    """x as no view: forward mode wants those of an output and those of its tangent to be alike."""
    x = x.resolve_conj()
    return x if x._base is None else x.clone(memory_format=torch.contiguous_format)


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
