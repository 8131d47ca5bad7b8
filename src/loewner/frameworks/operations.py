"""The operations that `jvp` and `vjp` can follow on NumPy arrays, each with its derivative.

Each entry of `OPERATIONS` is stated in the array API's own words, which are followed in
turn, so that derivatives of derivatives need nothing more. Cotangents follow
``dL = Re tr(g^H dx)``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from ..rules.rule import Array, Arrays, Rule


@dataclasses.dataclass(frozen=True)
class Definition:
    """How an operation is computed and differentiated.

    `evaluate(xp, *arrays, **options)`; `jvp(xp, out, arrays, tangents, **options)` with
    None for an absent tangent; `vjp(xp, out, arrays, g, **options)`, one cotangent per
    array, whose shape and dtype are fitted to the array afterwards (`fit`).
    """

    evaluate: Callable[..., Array]
    jvp: Callable[..., Array]
    vjp: Callable[..., Arrays]
    arrays: int = 1
    options: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    variadic: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Operation(Rule):
    """An entry of `OPERATIONS` with its options, as a rule with one output."""

    name: str
    options: tuple[tuple[str, Any], ...]
    needs_inputs = True

    def evaluate(self, solvers, inputs, outputs=None):
        return (OPERATIONS[self.name].evaluate(solvers.xp, *inputs, **dict(self.options)),)

    def jvp(self, ops, inputs, outputs, tangents):
        definition = OPERATIONS[self.name]
        return (definition.jvp(ops.xp, outputs[0], inputs, tangents, **dict(self.options)),)

    def vjp(self, ops, inputs, outputs, cotangents, wanted):
        definition = OPERATIONS[self.name]
        return definition.vjp(ops.xp, outputs[0], inputs, cotangents[0], **dict(self.options))


def is_complex(xp: Any, x: Array) -> bool:
    return hasattr(x, "dtype") and xp.isdtype(x.dtype, "complex floating")


def conj(xp: Any, x: Any) -> Any:
    """The conjugate of an array or a Python number."""
    if hasattr(x, "dtype"):
        return xp.conj(x) if is_complex(xp, x) else x
    return x.conjugate()


def fit(xp: Any, g: Array, x: Array) -> Array:
    """The cotangent of x from one of x broadcast or promoted: sums, and a real part."""
    if is_complex(xp, g) and not is_complex(xp, x):
        g = xp.real(g)
    if g.ndim > x.ndim:
        g = xp.sum(g, axis=tuple(range(g.ndim - x.ndim)))
    narrow = tuple(i for i in range(x.ndim) if x.shape[i] == 1 and g.shape[i] != 1)
    if narrow:
        g = xp.sum(g, axis=narrow, keepdims=True)
    if g.shape != x.shape:
        g = xp.broadcast_to(g, x.shape)
    return g if g.dtype == x.dtype else xp.astype(g, x.dtype)


def _linear(
    evaluate: Callable, adjoint: Callable, *options: str, keywords: tuple[str, ...] = ()
) -> Definition:
    """A linear operation on one array: its derivative is itself."""
    return Definition(
        evaluate,
        lambda xp, out, xs, ts, **o: evaluate(xp, ts[0], **o),
        lambda xp, out, xs, g, **o: (adjoint(xp, xs[0], g, **o),),
        options=options,
        keywords=keywords,
    )


def _elementwise(name: str, derivative: Callable[[Any, Array, Array], Array]) -> Definition:
    """A holomorphic function entry by entry: derivative(xp, out, x)."""
    return Definition(
        lambda xp, x: getattr(xp, name)(x),
        lambda xp, out, xs, ts: derivative(xp, out, xs[0]) * ts[0],
        lambda xp, out, xs, g: (conj(xp, derivative(xp, out, xs[0])) * g,),
    )


def _sum_of(terms: list[Array]) -> Array:
    out = terms[0]
    for t in terms[1:]:
        out = out + t
    return out


def _two(evaluate, along_x, along_y, back_x, back_y) -> Definition:
    """An operation on two arrays: partial derivatives along each, and back to each."""

    def jvp(xp, out, xs, ts):
        parts = [
            along(xp, out, *xs, t)
            for along, t in zip((along_x, along_y), ts, strict=True)
            if t is not None
        ]
        moved = _sum_of(parts)
        return moved if moved.shape == out.shape else xp.broadcast_to(moved, out.shape)

    def vjp(xp, out, xs, g):
        return tuple(
            back(xp, out, *xs, g) if hasattr(x, "dtype") else None
            for back, x in zip((back_x, back_y), xs, strict=True)
        )

    return Definition(evaluate, jvp, vjp, arrays=2)


def _adjoint(xp, x):
    return conj(xp, xp.matrix_transpose(x))


def _sum_adjoint(xp, x, g, axis=None, keepdims=False):
    if axis is not None and not keepdims:
        axes = axis if isinstance(axis, tuple) else (axis,)
        kept = list(x.shape)
        for a in axes:
            kept[a] = 1
        g = xp.reshape(g, tuple(kept))
    return xp.broadcast_to(g, x.shape)


def _diagonal_adjoint(xp, x, g):
    m, n = x.shape[-2:]
    eye = xp.eye(m, n, dtype=g.dtype, device=g.device)
    return eye * (g[..., None, :] if m >= n else g[..., :, None])


def _inverse_permutation(axes):
    axes = [axis % len(axes) for axis in axes]
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


def _put(xp, x, index, shape):
    out = xp.zeros(shape, dtype=x.dtype, device=x.device)
    parts = index if isinstance(index, tuple) else (index,)
    if all(_selects_once(i) for i in parts):
        parts = tuple(i for i in parts if i is not None)
        out[parts] = xp.reshape(x, out[parts].shape)
        return out
    import numpy as np

    if not isinstance(out, np.ndarray):
        raise TypeError("integer array indices can be differentiated in NumPy only")
    np.add.at(out, index, x)
    return out


def _selects_once(i: Any) -> bool:
    """Whether part of an index cannot select an element twice."""
    if i is None or i is Ellipsis or isinstance(i, (int, slice)):
        return True
    return hasattr(i, "dtype") and (i.ndim == 0 or str(i.dtype).endswith("bool"))


def _concat_jvp(xp, out, xs, ts, **options):
    ts = [xp.zeros_like(x) if t is None else t for x, t in zip(xs, ts, strict=True)]
    return xp.concat(ts, **options)


def _concat_vjp(xp, out, xs, g, axis=0):
    back, start = [], 0
    axis = axis % out.ndim
    for x in xs:
        window = [slice(None)] * out.ndim
        window[axis] = slice(start, start + x.shape[axis])
        back.append(g[tuple(window)])
        start += x.shape[axis]
    return tuple(back)


def _stack_jvp(xp, out, xs, ts, **options):
    ts = [xp.zeros_like(x) if t is None else t for x, t in zip(xs, ts, strict=True)]
    return xp.stack(ts, **options)


def _stack_vjp(xp, out, xs, g, axis=0):
    window: list[Any] = [slice(None)] * out.ndim
    back = []
    for i in range(len(xs)):
        window[axis % out.ndim] = i
        back.append(g[tuple(window)])
    return tuple(back)


def _where_jvp(xp, out, xs, ts):
    mask, x, y = xs
    zero = xp.zeros_like(out)
    return xp.where(mask, zero if ts[1] is None else ts[1], zero if ts[2] is None else ts[2])


def _where_vjp(xp, out, xs, g):
    zero = xp.zeros_like(g)
    return None, xp.where(xs[0], g, zero), xp.where(xs[0], zero, g)


def _unit(xp, x):
    """x/|x|, and 0 at 0."""
    size = xp.abs(x)
    return x / xp.where(size == 0, xp.zeros_like(size) + 1, size)


def _abs_jvp(xp, out, xs, ts):
    turned = conj(xp, _unit(xp, xs[0])) * ts[0]
    return xp.real(turned) if is_complex(xp, turned) else turned


def _extreme(name: str) -> Definition:
    """max or min; attained more than once, the derivative is shared equally."""

    def weights(xp, out, x, axis, keepdims):
        if axis is not None and not keepdims:
            out = _sum_adjoint(xp, x, out, axis=axis)
        hit = xp.where(x == out, xp.zeros_like(x) + 1, xp.zeros_like(x))
        return hit / xp.sum(hit, axis=axis, keepdims=True)

    def jvp(xp, out, xs, ts, axis=None, keepdims=False):
        w = weights(xp, out, xs[0], axis, keepdims)
        return xp.sum(w * ts[0], axis=axis, keepdims=keepdims)

    def vjp(xp, out, xs, g, axis=None, keepdims=False):
        w = weights(xp, out, xs[0], axis, keepdims)
        return (w * _sum_adjoint(xp, xs[0], g, axis=axis, keepdims=keepdims),)

    return Definition(
        lambda xp, x, **o: getattr(xp, name)(x, **o),
        jvp,
        vjp,
        options=("axis",),
        keywords=("keepdims",),
    )


OPERATIONS: dict[str, Definition] = {
    "negative": _linear(lambda xp, x: -x, lambda xp, x, g: -g),
    "conj": _linear(conj, lambda xp, x, g: conj(xp, g)),
    "real": _linear(lambda xp, x: xp.real(x) if is_complex(xp, x) else x, lambda xp, x, g: g),
    "imag": _linear(
        lambda xp, x: xp.imag(x) if is_complex(xp, x) else xp.zeros_like(x),
        lambda xp, x, g: g * 1j if is_complex(xp, x) else xp.zeros_like(g),
    ),
    "astype": _linear(lambda xp, x, dtype: xp.astype(x, dtype), lambda xp, x, g, dtype: g, "dtype"),
    "sum": _linear(lambda xp, x, **o: xp.sum(x, **o), _sum_adjoint, "axis", keywords=("keepdims",)),
    "mean": _linear(
        lambda xp, x, **o: xp.mean(x, **o),
        lambda xp, x, g, **o: _sum_adjoint(xp, x, g, **o) * (g.size / x.size),
        "axis",
        keywords=("keepdims",),
    ),
    "matrix_transpose": _linear(
        lambda xp, x: xp.matrix_transpose(x), lambda xp, x, g: xp.matrix_transpose(g)
    ),
    "permute_dims": _linear(
        lambda xp, x, axes: xp.permute_dims(x, axes),
        lambda xp, x, g, axes: xp.permute_dims(g, _inverse_permutation(axes)),
        "axes",
    ),
    "reshape": _linear(
        lambda xp, x, shape: xp.reshape(x, shape),
        lambda xp, x, g, shape: xp.reshape(g, x.shape),
        "shape",
    ),
    "broadcast_to": _linear(
        lambda xp, x, shape: xp.broadcast_to(x, shape), lambda xp, x, g, shape: g, "shape"
    ),
    "linalg.diagonal": _linear(lambda xp, x: xp.linalg.diagonal(x), _diagonal_adjoint),
    "getitem": _linear(
        lambda xp, x, index: x[index],
        lambda xp, x, g, index: xp.put(g, index=index, shape=x.shape),
        "index",
    ),
    "put": _linear(_put, lambda xp, x, g, index, shape: g[index], "index", "shape"),
    "add": _two(
        lambda xp, x, y: x + y,
        lambda xp, out, x, y, t: t,
        lambda xp, out, x, y, t: t,
        lambda xp, out, x, y, g: g,
        lambda xp, out, x, y, g: g,
    ),
    "subtract": _two(
        lambda xp, x, y: x - y,
        lambda xp, out, x, y, t: t,
        lambda xp, out, x, y, t: -t,
        lambda xp, out, x, y, g: g,
        lambda xp, out, x, y, g: -g,
    ),
    "multiply": _two(
        lambda xp, x, y: x * y,
        lambda xp, out, x, y, t: t * y,
        lambda xp, out, x, y, t: x * t,
        lambda xp, out, x, y, g: g * conj(xp, y),
        lambda xp, out, x, y, g: conj(xp, x) * g,
    ),
    "divide": _two(
        lambda xp, x, y: x / y,
        lambda xp, out, x, y, t: t / y,
        lambda xp, out, x, y, t: -out * (t / y),
        lambda xp, out, x, y, g: g / conj(xp, y),
        lambda xp, out, x, y, g: -conj(xp, out / y) * g,
    ),
    "matmul": _two(
        lambda xp, x, y: xp.matmul(x, y),
        lambda xp, out, x, y, t: t @ y,
        lambda xp, out, x, y, t: x @ t,
        lambda xp, out, x, y, g: _matmul_back_x(xp, x, y, g),
        lambda xp, out, x, y, g: _matmul_back_y(xp, x, y, g),
    ),
    "pow": _two(
        lambda xp, x, y: x**y,
        lambda xp, out, x, y, t: _power_derivative(xp, x, y) * t,
        lambda xp, out, x, y, t: xp.log(x) * out * t,
        lambda xp, out, x, y, g: conj(xp, _power_derivative(xp, x, y)) * g,
        lambda xp, out, x, y, g: conj(xp, xp.log(x) * out) * g,
    ),
    "where": Definition(
        lambda xp, mask, x, y: xp.where(mask, x, y), _where_jvp, _where_vjp, arrays=3
    ),
    "concat": Definition(
        lambda xp, *xs, **o: xp.concat(list(xs), **o),
        _concat_jvp,
        _concat_vjp,
        options=("axis",),
        variadic=True,
    ),
    "stack": Definition(
        lambda xp, *xs, **o: xp.stack(list(xs), **o),
        _stack_jvp,
        _stack_vjp,
        options=("axis",),
        variadic=True,
    ),
    "abs": Definition(
        lambda xp, x: xp.abs(x),
        _abs_jvp,
        lambda xp, out, xs, g: (_unit(xp, xs[0]) * g,),
    ),
    "sign": Definition(
        lambda xp, x: xp.sign(x),
        lambda xp, out, xs, ts: xp.zeros_like(out) if not is_complex(xp, out) else _no_sign(),
        lambda xp, out, xs, g: (xp.zeros_like(out) if not is_complex(xp, out) else _no_sign(),),
    ),
    "max": _extreme("max"),
    "min": _extreme("min"),
    "sqrt": _elementwise("sqrt", lambda xp, out, x: 1 / (2 * out)),
    "exp": _elementwise("exp", lambda xp, out, x: out),
    "log": _elementwise("log", lambda xp, out, x: 1 / x),
    "sin": _elementwise("sin", lambda xp, out, x: xp.cos(x)),
    "cos": _elementwise("cos", lambda xp, out, x: -xp.sin(x)),
    "tan": _elementwise("tan", lambda xp, out, x: 1 + out * out),
    "sinh": _elementwise("sinh", lambda xp, out, x: xp.cosh(x)),
    "cosh": _elementwise("cosh", lambda xp, out, x: xp.sinh(x)),
    "tanh": _elementwise("tanh", lambda xp, out, x: 1 - out * out),
    "expm1": _elementwise("expm1", lambda xp, out, x: out + 1),
    "log1p": _elementwise("log1p", lambda xp, out, x: 1 / (1 + x)),
    "asin": _elementwise("asin", lambda xp, out, x: 1 / xp.sqrt(1 - x * x)),
    "acos": _elementwise("acos", lambda xp, out, x: -1 / xp.sqrt(1 - x * x)),
    "atan": _elementwise("atan", lambda xp, out, x: 1 / (1 + x * x)),
    "square": _elementwise("square", lambda xp, out, x: 2 * x),
}


def _no_sign() -> Array:
    raise TypeError("loewner cannot follow sign of a complex array; write x / abs(x)")


def _power_derivative(xp, x, y):
    if not hasattr(y, "dtype") and y == 0:
        return xp.zeros_like(x)  # also at x = 0
    return y * x ** (y - 1)


def _matmul_back_x(xp, x, y, g):
    if y.ndim == 1:
        g = g[..., None] * conj(xp, y)
        return g if x.ndim > 1 else xp.reshape(g, x.shape)
    if x.ndim == 1:
        return xp.matmul(g[..., None, :], _adjoint(xp, y))[..., 0, :]
    return xp.matmul(g, _adjoint(xp, y))


def _matmul_back_y(xp, x, y, g):
    if x.ndim == 1:
        return conj(xp, x)[:, None] * g[..., None, :] if y.ndim > 1 else conj(xp, x) * g
    if y.ndim == 1:
        return xp.matmul(_adjoint(xp, x), g[..., None])[..., 0]
    return xp.matmul(_adjoint(xp, x), g)


CONSTANT = frozenset(
    "argmax argmin argsort ceil floor isdtype isfinite isinf isnan ones_like result_type "
    "round shape size zeros_like ndim iscomplexobj isrealobj".split()
)
"""Functions whose results do not vary with their arguments, or not differentiably."""

COMPARISONS = frozenset("less less_equal greater greater_equal equal not_equal".split())

NUMPY_NAMES = {
    "absolute": "abs",
    "conjugate": "conj",
    "power": "pow",
    "true_divide": "divide",
    "concatenate": "concat",
    "amax": "max",
    "amin": "min",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
}
"""Names of NumPy functions that the array API spells otherwise."""
