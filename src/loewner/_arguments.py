"""Checks of arguments, shared by all public functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from .frameworks import Framework, framework_of
from .frameworks.arrays import NUMPY
from .kernels import METHODS
from .rules.rule import Array


def matrices(
    function: str, square: bool = False, **arguments: Any
) -> tuple[Framework, list[Array]]:
    """The arguments as stacks of matrices of one framework and one floating dtype.

    Lists and numbers become arrays of the framework of the others, NumPy if there is
    none. Integers and booleans are promoted as the framework promotes them. TypeError
    and `numpy.linalg.LinAlgError` (a ValueError) name the argument, its dtype and shape.
    """
    if len(arguments) == 1:  # as most calls are, and nothing is to be done
        (x,) = arguments.values()
        framework = framework_of(x)
        if framework is not None:
            x = framework.asarray(x)
            matrix = len(shape := x.shape) >= 2 and (not square or shape[-1] == shape[-2])
            if matrix and x.dtype in framework.precisions:
                return framework, [x]
    found = {name: framework_of(x) for name, x in arguments.items()}
    framework = _common_framework(function, found)
    arrays = {}
    for name, x in arguments.items():
        if found[name] is None:
            try:
                x = np.asarray(x)
            except (TypeError, ValueError, RuntimeError):
                raise TypeError(
                    f"{function}: {name} is not an array of numbers; stack a list of arrays first"
                ) from None
            if x.dtype == object:
                raise TypeError(f"{function}: {name} has dtype object; pass an array of numbers")
        try:
            x = framework.asarray(x)
        except TypeError:
            raise TypeError(
                f"{function}: {name} of type {type(x).__name__} is not an array of numbers"
            ) from None
        arrays[name] = _floating(function, name, x, framework)
    for name, x in arrays.items():
        if x.ndim < 2:
            raise np.linalg.LinAlgError(
                f"{function}: {name} must be a matrix or a stack of matrices, "
                f"but has shape {tuple(x.shape)}"
            )
        if square and x.shape[-1] != x.shape[-2]:
            raise np.linalg.LinAlgError(
                f"{function}: {name} must be square in its last two axes, "
                f"but has shape {tuple(x.shape)}"
            )
    if len(arrays) > 1:
        common = framework.xp.result_type(*(x.dtype for x in arrays.values()))
        arrays = {n: _cast(framework.xp, x, common) for n, x in arrays.items()}
    return framework, list(arrays.values())


def same_batch(function: str, **arguments: Array) -> tuple[int, ...]:
    """The common leading dimensions of stacks of matrices; ValueError if there are none."""
    try:
        return np.broadcast_shapes(*(tuple(x.shape[:-2]) for x in arguments.values()))
    except ValueError:
        shapes = " and ".join(f"{n} has shape {tuple(x.shape)}" for n, x in arguments.items())
        names = " and ".join(arguments)
        raise ValueError(
            f"{function}: the leading dimensions of {names} do not broadcast: {shapes}"
        ) from None


def _common_framework(function: str, found: dict[str, Framework | None]) -> Framework:
    chosen = None
    for f in filter(None, found.values()):
        if chosen is None or f.accepts(chosen):
            chosen = f
        elif not chosen.accepts(f):
            kinds = " and ".join(f"{n} is a {g.name} array" for n, g in found.items() if g)
            raise TypeError(f"{function}: {kinds}; convert them to one framework first")
    return chosen or NUMPY


def _floating(function: str, name: str, x: Array, framework: Framework) -> Array:
    if x.dtype in framework.precisions:
        return x
    xp = framework.xp
    try:
        promotable = xp.isdtype(x.dtype, ("integral", "bool"))
    except TypeError:
        promotable = False
    if promotable:
        return xp.astype(x, framework.default_float)
    raise TypeError(
        f"{function}: {name} has dtype {x.dtype}; decompositions are computed in float32, "
        "float64, complex64 and complex128"
    )


def _cast(xp: Any, x: Array, dtype: Any) -> Array:
    return x if x.dtype == dtype else xp.astype(x, dtype)


def triangle(function: str, UPLO: str) -> bool:
    """Whether UPLO names the lower triangle; ValueError if it names none."""
    if not isinstance(UPLO, str) or UPLO.upper() not in ("L", "U"):
        raise ValueError(f"{function}: UPLO must be 'L' or 'U', not {UPLO!r}")
    return UPLO.upper() == "L"


def kernel(function: str, method: str) -> str:
    """The method; ValueError if there is none of that name."""
    if method not in METHODS:
        names = ", ".join(repr(x) for x in METHODS)
        raise ValueError(f"{function}: method must be one of {names}, not {method!r}")
    return method
