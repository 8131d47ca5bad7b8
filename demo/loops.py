"""Three of the losses minimised: alignment and matrix root as layers in an optimisation loop.

Every way takes the same steps of Adam on the same data, in float32 as models are trained.
Besides loewner and the frameworks' own linalg there are three remedies in use with PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

import loewner as lw

from .problems import Array, Linalg, Problem, problems
from .routes import JaxLinalg, TorchLinalg, torch_gradient
from .textbook import by_eigh, by_svd, transposed

# the matrices are small, and other processes compute the references meanwhile
torch.set_num_threads(1)


def inverse_gaps(x: torch.Tensor) -> torch.Tensor:
    """1 / (x_j - x_i), and 0 where float32 does not tell the two apart."""
    gap = x[..., None, :] - x[..., :, None]
    near = gap.abs() <= 1e-5 * x.abs().amax(-1)[..., None, None]
    return torch.where(near, 0, 1 / torch.where(near, 1, gap))


class MaskedSVD(torch.autograd.Function):
    """The rule of torch.linalg.svd for square real matrices, without small gaps."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Any:
        u, s, vh = torch.linalg.svd(*inputs)
        ctx.save_for_backward(u, s, vh)
        return u, s, vh

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        u, s, vh = ctx.saved_tensors
        gu, gs, gvh = grad_outputs
        over = inverse_gaps(s * s)
        left, right = transposed(u) @ gu, vh @ transposed(gvh)
        inner = over * (left - transposed(left)) * s[..., None, :]
        inner = inner + s[..., :, None] * over * (right - transposed(right))
        return u @ (inner + torch.diag_embed(gs)) @ vh


class MaskedEigh(torch.autograd.Function):
    """The rule of torch.linalg.eigh for real matrices, without small gaps."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Any:
        w, v = torch.linalg.eigh(*inputs)
        ctx.save_for_backward(w, v)
        return w, v

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        w, v = ctx.saved_tensors
        gw, gv = grad_outputs
        inner = torch.diag_embed(gw) + inverse_gaps(w) * (transposed(v) @ gv)
        return v @ inner @ transposed(v)


class Masked(TorchLinalg):
    det = staticmethod(torch.linalg.det)

    def svd(self, a: Array, full_matrices: bool = True) -> Any:
        return MaskedSVD.apply(a)

    def eigh(self, a: Array, b: Array | None = None) -> Any:
        return MaskedEigh.apply(a)

    def align(self, p: Array, q: Array, weights: Array) -> Any:
        return by_svd(torch, self, p, q, weights)

    def sqrtm(self, a: Array, hermitian: bool = True) -> Array:
        return by_eigh(torch, self, a)


class Jittered(TorchLinalg):
    """Repeated values are parted by noise."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)

    def noise(self, shape: tuple[int, ...]) -> Array:
        return torch.rand(shape, generator=self.generator)

    def align(self, p: Array, q: Array, weights: Array) -> Any:
        return super().align(p, q + 1e-3 * self.noise(q.shape), weights)

    def sqrtm(self, a: Array, hermitian: bool = True) -> Array:
        return super().sqrtm(a + 1e-4 * torch.diag_embed(self.noise(a.shape[:-1])))


class Detached(TorchLinalg):
    """The rotation, or the root, counts as constant."""

    def align(self, p: Array, q: Array, weights: Array) -> Any:
        r, t = super().align(p.detach(), q, weights)
        # the translation still follows the centre
        return r, t - r @ (weights @ (p - p.detach())) / weights.sum()

    def sqrtm(self, a: Array, hermitian: bool = True) -> Array:
        return super().sqrtm(a.detach())


Loss = Callable[..., Array]
Descent = Callable[..., tuple[float, np.ndarray]]


def torch_descent(loss: Loss) -> Descent:
    def value_and_gradient(x: np.ndarray, *data: Any) -> tuple[float, np.ndarray]:
        leaf = torch.from_numpy(x).requires_grad_()
        value = loss(leaf, *data)
        (gradient,) = torch.autograd.grad(value, leaf)
        return value.item(), gradient.numpy()

    return value_and_gradient


def jax_descent(loss: Loss) -> Descent:
    compiled = jax.jit(jax.value_and_grad(loss))

    def value_and_gradient(x: np.ndarray, *data: Any) -> tuple[float, np.ndarray]:
        value, gradient = compiled(x, *data)
        return float(value), np.asarray(gradient)

    return value_and_gradient


@dataclass(frozen=True)
class Way:
    """One way to the gradients of a loop."""

    name: str
    label: str
    loewner: bool
    xp: Any
    la: Linalg
    descent: Callable[[Loss], Descent]


WAYS = (
    Way("loewner, PyTorch", "loewner\nPyTorch", True, torch, lw, torch_descent),
    Way("loewner, JAX", "loewner\nJAX", True, jnp, lw, jax_descent),
    Way("torch.linalg", "torch\n.linalg", False, torch, TorchLinalg(), torch_descent),
    Way("jnp.linalg", "jnp\n.linalg", False, jnp, JaxLinalg(), jax_descent),
    Way("torch, detached", "torch,\ndetached", False, torch, Detached(), torch_descent),
    Way("torch, masked", "torch,\nmasked", False, torch, Masked(), torch_descent),
    Way("torch, jittered", "torch,\njittered", False, torch, Jittered(), torch_descent),
)


@dataclass(frozen=True)
class Loop:
    """A problem minimised from its point on; `below` is a bound on the loss at the end.

    Each step is on `batch` of the first `training` data, and the end on all others.
    """

    problem: str
    quantity: str
    below: float
    batch: int = 0
    training: int = 0
    total: int = 0
    steps: int = 300
    rate: float = 0.01

    def batches(self) -> list[tuple]:
        if not self.batch:
            return [()] * self.steps
        rng = np.random.default_rng(0)
        return [(rng.integers(self.training, size=self.batch),) for _ in range(self.steps)]

    def rest(self) -> tuple:
        return (np.arange(self.training, self.total),) if self.batch else ()


LOOPS = (
    Loop("Benzene: superposition", "misfit and strain, Å²", below=0.8720),
    Loop("Cubane: superposition", "misfit and strain, Å²", below=0.6770),
    Loop(
        "Digits: covariance pooling",
        "cross entropy, mean of ten batches",
        below=0.25,
        batch=64,
        training=1400,
        total=1797,
    ),
)


@dataclass(frozen=True)
class Course:
    """The losses before each step, the error of the first gradient, the last x and its loss.

    A loop breaks at the first gradient that is not finite, and its last loss is NaN then.
    """

    losses: np.ndarray
    error: float
    x: np.ndarray
    end: float


def course(way: Way, loop: Loop) -> Course:
    problem = problems()[loop.problem]
    descent = way.descent(lambda x, *data: problem.loss(way.xp, way.la, x, *data))
    x = problem.x.astype(np.float32)
    first, second = np.zeros_like(x), np.zeros_like(x)
    losses, error = [], np.nan
    for step, data in enumerate(loop.batches(), 1):
        loss, gradient = descent(x, *data)
        losses.append(loss)
        if step == 1:
            error = start_error(problem, gradient, data)
        if not np.isfinite(gradient).all():
            return Course(np.array(losses), error, x, np.nan)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        unbiased = first / (1 - 0.9**step), second / (1 - 0.999**step)
        x = x - loop.rate * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
    end = problem.loss(np, lw, x.astype(float), *loop.rest())
    return Course(np.array(losses), error, x, float(end))


def start_error(problem: Problem, gradient: np.ndarray, data: tuple) -> float:
    """Relative, against loewner in float64, which is itself compared with mpmath."""
    right = torch_gradient(lambda x: problem.loss(torch, lw, x, *data), problem.x)
    return float(np.linalg.norm(gradient - right) / np.linalg.norm(right))
