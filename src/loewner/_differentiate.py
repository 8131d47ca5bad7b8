"""Derivatives of functions of NumPy arrays, or of arrays of any array API library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .frameworks import framework_of
from .frameworks.arrays import NUMPY, ArrayLibrary, Step, Traced, new_level, pull_back
from .frameworks.operations import fit, is_complex
from .rules.rule import Array


def jvp(
    fun: Callable[..., Any], primals: Sequence[Array], tangents: Sequence[Array]
) -> tuple[Any, Any]:
    """Value and directional derivative of a function of NumPy arrays (forward mode).

    Parameters
    ----------
    fun : callable
        A function of one or more arrays that returns an array, or tuples, named tuples,
        lists or dicts of arrays: a function of loewner, or any function built from them
        with arithmetic, ``@``, indexing, sums and elementary functions. It may call `jvp`
        or `vjp` itself, which gives higher derivatives.
    primals : sequence of arrays
        Where to differentiate, one array per argument of `fun`.
    tangents : sequence of arrays
        The direction, shaped like `primals`.

    Returns
    -------
    out
        ``fun(*primals)``.
    tangent_out
        The derivative of `out` along `tangents`, of the same structure.

    Raises
    ------
    TypeError
        If `fun` uses an operation that cannot be followed, or if a primal is a JAX,
        PyTorch or autograd array: those have their own transforms, which loewner's
        functions take part in.
    ValueError
        If a tangent does not have the shape of its primal.

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> a = np.diag([1.0, 2.0])
    >>> w, dw = lw.jvp(lw.eigvalsh, (a,), (np.ones((2, 2)),))
    >>> dw
    array([1., 1.])
    """
    primals, library = _arguments("jvp", primals)
    if len(tangents) != len(primals):
        raise ValueError(f"jvp: {len(primals)} primals but {len(tangents)} tangents")
    level, inputs = new_level(), []
    for i, (x, t) in enumerate(zip(primals, tangents, strict=True)):
        t = library.asarray(t)
        if t.shape != x.shape:
            raise ValueError(
                f"jvp: tangent {i} has shape {t.shape}, its primal has shape {x.shape}"
            )
        if is_complex(library.xp, t) and not is_complex(library.xp, x):
            raise TypeError(f"jvp: tangent {i} is complex, its primal is real")
        inputs.append(Traced(library, x, level, tangent=fit(library.xp, t, x)))
    out = fun(*inputs)
    mine = _is_traced_at(level)
    value = _map(lambda x: x.value if mine(x) else x, out)

    def tangent_of(x: Any) -> Any:
        found = x.tangent if mine(x) else None
        return library.xp.zeros_like(x) if found is None else found

    return value, _map(tangent_of, out)


def vjp(fun: Callable[..., Any], *primals: Array) -> tuple[Any, Callable[[Any], tuple[Array, ...]]]:
    """Value and pullback of a function of NumPy arrays (reverse mode).

    Parameters
    ----------
    fun : callable
        As in `jvp`.
    *primals : arrays
        Where to differentiate, one array per argument of `fun`.

    Returns
    -------
    out
        ``fun(*primals)``.
    pullback : callable
        Takes cotangents of the structure of `out`, None for an absent one, and returns a
        tuple with one cotangent per primal. Cotangents follow ``dL = Re tr(g^H dx)``: with
        cotangent 1 of a real loss, the result is its gradient, as in PyTorch (JAX and
        autograd return the conjugate).

    Raises
    ------
    TypeError, ValueError
        As `jvp`.

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> a = np.diag([1.0, 2.0])
    >>> w, pullback = lw.vjp(lw.eigvalsh, a)
    >>> pullback(np.array([0.0, 1.0]))[0]
    array([[0., 0.],
           [0., 1.]])
    """
    inputs, library = _arguments("vjp", primals)
    sources = [Step() for _ in inputs]
    # what the pullback needs must not change with the caller's arrays
    inputs = [library.own(x) for x in inputs]
    level = new_level()
    out = fun(
        *(
            Traced(library, x, level, origin=(step, 0))
            for x, step in zip(inputs, sources, strict=True)
        )
    )
    mine = _is_traced_at(level)
    value = _map(lambda x: library.own(x.value) if mine(x) else x, out)

    def pullback(cotangents: Any) -> tuple[Array, ...]:
        targets = []
        for x, g in _pairs(out, cotangents):
            if g is None or not mine(x) or x.origin is None:
                continue
            g = g if isinstance(g, Traced) else library.asarray(g)
            if g.shape != x.shape:
                raise ValueError(
                    f"vjp: cotangent has shape {g.shape}, the output has shape {x.shape}"
                )
            if is_complex(library.xp, g) and not is_complex(library.xp, x):
                raise TypeError("vjp: the cotangent of a real output is complex")
            targets.append((x, g))
        found = pull_back(sources, targets)
        return tuple(
            library.xp.zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=True)
        )

    return value, pullback


def _arguments(name: str, primals: Sequence[Any]) -> tuple[list[Array], ArrayLibrary]:
    if not isinstance(primals, (tuple, list)):
        raise TypeError(f"{name}: primals must be a tuple of arrays, not {type(primals).__name__}")
    library = NUMPY
    for x in primals:
        found = framework_of(x)
        if found is None:
            continue
        if not isinstance(found, ArrayLibrary):
            own = {"JAX": "jax.jvp and jax.vjp", "PyTorch": "torch.func.jvp and torch.func.vjp"}
            raise TypeError(
                f"{name} is for NumPy arrays and other arrays without derivatives of their "
                f"own; for {found.name} arrays use {own.get(found.name, 'autograd.grad')}"
            )
        library = found
    arrays = [library.asarray(x) for x in primals]
    for i, x in enumerate(primals):
        if isinstance(x, np.matrix):
            raise TypeError(f"{name}: primal {i} is a numpy.matrix; pass an array")
    for i, x in enumerate(arrays):
        if not library.xp.isdtype(x.dtype, ("real floating", "complex floating")):
            raise TypeError(f"{name}: primal {i} has dtype {x.dtype}, which has no derivatives")
    return arrays, library


def _is_traced_at(level: int) -> Callable[[Any], bool]:
    return lambda x: isinstance(x, Traced) and x.level == level


def _map(function: Callable[[Any], Any], tree: Any) -> Any:
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(_map(function, x) for x in tree))
    if isinstance(tree, (tuple, list)):
        return type(tree)(_map(function, x) for x in tree)
    if isinstance(tree, dict):
        return {k: _map(function, x) for k, x in tree.items()}
    if isinstance(tree, np.ndarray) and tree.dtype.kind == "O":
        raise TypeError("the function put differentiated numbers into an array of objects")
    return tree if tree is None else function(tree)


def _pairs(tree: Any, other: Any) -> list[tuple[Any, Any]]:
    if other is None or tree is None:
        return []
    if isinstance(tree, (tuple, list)):
        if not isinstance(other, (tuple, list)) or len(tree) != len(other):
            raise ValueError(f"vjp: cotangents must be a tuple of {len(tree)}, as the outputs")
        return [p for x, y in zip(tree, other, strict=True) for p in _pairs(x, y)]
    if isinstance(tree, dict):
        if not isinstance(other, dict) or tree.keys() != other.keys():
            raise ValueError(f"vjp: cotangents must be a dict with keys {list(tree)}")
        return [p for k, x in tree.items() for p in _pairs(x, other[k])]
    return [(tree, other)]
