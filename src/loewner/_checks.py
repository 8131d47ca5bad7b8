"""What is done about derivatives that a decomposition does not determine."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

from .rules.reports import POLICIES, Checks

_F = TypeVar("_F", bound=Callable[..., Any])
_Setting = tuple[str, int]

_setting: list[_Setting] = [("warn", 0)]
"""The one in force, for all threads. A plain list, through which torch.compile can see."""


def set_checks(policy: str, strict: bool | int = False) -> None:
    """Say what happens, from now on, when a derivative is not determined.

    Parameters
    ----------
    policy : {"off", "warn", "raise", "nan"}
        "warn", the default, issues a `DerivativeWarning`, "raise" raises `DerivativeError`
        in the backward pass, "nan" makes the derivative NaN, for the matrices of a stack
        that are concerned alone, and "off" computes nothing.
    strict : bool or int, default False
        Whether eigenvectors and singular vectors of exactly repeated values are turned by a
        fixed pseudo-random unitary matrix before they are returned. It is as good a basis,
        and one that hides nothing: in the frame that LAPACK returns for a diagonal matrix,
        a loss may look as if it did not depend on the basis of a cluster. Another number
        takes another matrix.

    Notes
    -----
    Reverse mode is judged, since it sees the loss: the derivative of the loss along what
    the matrix leaves open (phases, bases of clusters and of null spaces), and differences
    between the cotangents of values that coincide, both relative to the cotangent, for each
    matrix of a stack. So are higher derivatives. Forward mode is not: one direction does not
    tell whether the loss is smooth, and it must not alarm on projectors; `certify` judges.

    The policy of the moment at which a function of loewner is called holds for its
    derivatives. Under `jax.jit` and `torch.compile` that is the moment of tracing. There
    "raise" raises where the framework lets an exception through, and gives NaN elsewhere.
    In a compiled JAX program "warn" and "raise" are a callback to the host, run only if
    there is something to tell; `jax.export` and JAX's cache of compiled programs take none,
    and there "nan" or "off" is the policy to choose. The batches of
    ``torch.autograd.grad(is_grads_batched=True)`` hide their values and are not judged.

    One reverse pass does not see a loss that is stationary along all bases of a cluster at
    this very matrix while its gradient depends on them; `certify` does.

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> def one_of_a_pair(a):
    ...     return lw.eigvalsh(a)[0]
    >>> with lw.checks("raise"):
    ...     value, pullback = lw.vjp(one_of_a_pair, np.eye(2))
    >>> pullback(np.array(1.0))
    Traceback (most recent call last):
        ...
    loewner.rules.reports.DerivativeError: eigvalsh: eigenvalues 0 and 1 coincide, ...
    """
    _setting[0] = _checked(policy, strict)


@contextlib.contextmanager
def checks(policy: str, strict: bool | int = False) -> Iterator[None]:
    """`set_checks` for the functions called inside a ``with`` block, in all threads.

    Parameters
    ----------
    policy, strict
        As for `set_checks`.

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> with lw.checks("nan"):
    ...     value, pullback = lw.vjp(lambda a: lw.eigvalsh(a)[0], np.eye(2))
    >>> pullback(np.array(1.0))[0]
    array([[nan, nan],
           [nan, nan]])
    """
    before = _setting[0]
    _setting[0] = _checked(policy, strict)
    try:
        yield
    finally:
        _setting[0] = before


_REASONS = {
    "logm": "an eigenvalue is zero, or a general matrix has one on the negative real axis",
    "sqrtm": "the square root of a singular matrix has no derivative",
    "invsqrtm": "the matrix is singular",
    "fractional_matrix_power": "this power of a singular matrix has no derivative",
    "signm": "an eigenvalue is on the imaginary axis",
    "spectral_projector": "the selection cuts through a cluster of eigenvalues",
    "spectral_mean": "the selection cuts through a cluster of eigenvalues",
    "spectral_map": "f or one of the derivatives that are needed at repeats is not finite",
    "polar": "the unitary factor of a rank-deficient matrix has no derivative",
    "nearest_orthogonal": "the nearest orthogonal matrix to a rank-deficient one is not unique",
    "nearest_rotation": "the nearest rotation is not unique",
    "align": "the best rotation is not unique",
    "low_rank": "the cut passes through equal singular values",
    "pinv": "the threshold passes through equal singular values",
    "range_projector": "the threshold passes through equal singular values",
    "null_projector": "the threshold passes through equal singular values",
    "whiten": "the covariance is singular",
}
_NO_REASON = "f, or one of the derivatives that are needed, is not finite at an eigenvalue"


def current(function: str) -> Checks | None:
    """The checks in force for a function that is being called; None if there are none."""
    policy, strict = _setting[0]
    if policy == "off":
        return None
    return Checks(policy, function, strict, _REASONS.get(function, _NO_REASON))


def reported(function: _F) -> _F:
    """A public function with the argument `checks`: the policy for this call."""

    @functools.wraps(function)
    def call(*args: Any, checks: str | None = None, **options: Any) -> Any:
        if checks is None:
            return function(*args, **options)
        with _under(checks):
            return function(*args, **options)

    return cast(_F, call)


_under = checks


def _checked(policy: str, strict: bool | int) -> _Setting:
    if policy not in POLICIES:
        public = ", ".join(repr(p) for p in POLICIES[:-1])
        raise ValueError(f"checks: the policy must be one of {public}, not {policy!r}")
    return policy, int(strict)
