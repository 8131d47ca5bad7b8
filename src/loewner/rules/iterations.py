"""Values of functions of general matrices, and of their derivatives, by products and solutions.

Every function is computed over an algebra that extends the matrices by nilpotent directions,

    f(A + e_1 E_1 + ... + e_k E_k),      e_i e_j = e_j e_i,  e_i^2 = 0,                  (1)

whose coefficient of e_1 ... e_k is the k-th derivative of f at A along E_1, ..., E_k
(Mathias, SIMAX 17 (1996), writes it as one block triangular matrix; Higham, Functions of
Matrices (2008), theorem 3.6). An element is a `HyperDual` of 2^k matrices, and a product of two
costs 3^k products of matrices, where the block matrix would cost 8^k. Steering (scalings,
numbers of steps, stopping) reads the value alone, so that derivatives converge with it.

* exp: scaling and squaring with the [13/13] Pade approximant (Higham, SIMAX 26 (2005)). The
  scaling follows |A^4|^(1/4) and |A^6|^(1/6) in place of |A|, which does not scale nonnormal
  matrices more than they need (Al-Mohy and Higham, SIMAX 31 (2009), 970).
* sign: Newton's iteration X <- (X + X^-1)/2, scaled (Higham 2008, section 5.3).
* square root: the product form of the iteration of Denman and Beavers (Cheng, Higham, Kenney
  and Laub, SIMAX 22 (2001)) for the value, whose error grows like the condition number of
  the root; then, for the value and the derivatives alike, Newton's method for X^2 = A, whose
  step is Sylvester's equation X Z + Z X = A - X^2. That one is again solved by the sign
  iteration (Roberts, Int. J. Control 32 (1980)).
* log: square roots until A is near I, then Gauss-Legendre quadrature of
  log(I + X) = int_0^1 X (I + t X)^-1 dt, which is the [12/12] Pade approximant
  (Dieci, Morini and Papini, SIMAX 17 (1996); Higham 2008, section 11.4).
* powers: whole powers by products, the rest by roots or exp(p log A).

Functions with a cut along the negative real axis take the side arg = pi. A complex matrix
is turned so that the cut falls into the widest gap around it, which needs its eigenvalues;
for a real one the principal value is not real there, and the result is NaN. Where an
iteration does not converge, or its result has no correct digit, the result is NaN too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .pieces import adjoint, diagonal_matrix, powers_of_two, tolerance, total
from .rule import Array, Solvers


class HyperDual:
    """An element of the algebra (1): parts[S] belongs to the product of the e_i in S.

    Hyper-dual numbers (Fike and Alonso, AIAA 2011-886) with matrices for numbers.
    S is a number whose bits are the elements of the set. A part that is zero may be None;
    the value, parts[0], is not. Parts other than the value may have more leading axes.
    """

    __slots__ = ("parts",)

    def __init__(self, parts: list[Array]):
        self.parts = parts

    @property
    def value(self) -> Array:
        return self.parts[0]

    @property
    def order(self) -> int:
        return len(self.parts).bit_length() - 1

    def map(self, function: Callable[[Array], Array]) -> HyperDual:
        """A linear function applied to every part."""
        return HyperDual([None if x is None else function(x) for x in self.parts])

    def __add__(self, other: HyperDual) -> HyperDual:
        return HyperDual([total(x, y) for x, y in zip(self.parts, other.parts, strict=True)])

    def __sub__(self, other: HyperDual) -> HyperDual:
        return self + -1.0 * other

    def __rmul__(self, factor: Any) -> HyperDual:
        return self.map(lambda x: factor * x)

    def __matmul__(self, other: HyperDual) -> HyperDual:
        return HyperDual([self._product(other, s, 0) for s in range(len(self.parts))])

    def _product(self, other: HyperDual, whole: int, least: int) -> Array:
        """Part `whole` of the product; with least = 1, less what the value of self adds."""
        x, y = self.parts, other.parts
        return total(
            *(
                x[s] @ y[whole ^ s]
                for s in range(least, len(x))
                if s | whole == whole and x[s] is not None and y[whole ^ s] is not None
            )
        )

    def solve(self, solvers: Solvers, other: HyperDual) -> HyperDual:
        """self^-1 other."""
        if self.order == 0:
            return HyperDual([solvers.solve(self.value, other.value)])
        return self.divide(solvers.solve(self.value, identity(solvers.xp, self.value)), other)

    def inverse(self, solvers: Solvers) -> HyperDual:
        one = constant(identity(solvers.xp, self.value), self.order)
        return self.divide(solvers.solve(self.value, one.value), one)

    def divide(self, inverse: Array, other: HyperDual) -> HyperDual:
        """self^-1 other, given the inverse of the value of self."""
        # (x^-1 y)_S = x_0^-1 (y_S - sum over nonempty T in S of x_T (x^-1 y)_{S - T})
        quotient = HyperDual([None] * len(self.parts))
        for s in range(len(self.parts)):
            known = self._product(quotient, s, 1)
            rest = total(other.parts[s], None if known is None else -known)
            quotient.parts[s] = None if rest is None else inverse @ rest
        return quotient


def constant(x: Array, order: int) -> HyperDual:
    """x without nilpotent parts."""
    return HyperDual([x] + [None] * (2**order - 1))


def filled(xp: Any, x: HyperDual, like: HyperDual) -> HyperDual:
    """x with arrays of zeros for None, to be the state of a loop; like has parts 0 and 1."""
    zero = None if x.order == 0 else xp.zeros_like(like.parts[1] + x.value)
    return HyperDual([zero if p is None else p for p in x.parts])


def choose(xp: Any, mask: Array, x: HyperDual, y: HyperDual) -> HyperDual:
    """x for the matrices of the stack where the mask (...) holds, and y elsewhere."""
    parts = zip(x.parts, y.parts, strict=True)
    return HyperDual([xp.where(mask[..., None, None], p, q) for p, q in parts])


def identity(xp: Any, a: Array) -> Array:
    """The identity matrices of the shape of a."""
    return diagonal_matrix(xp, xp.zeros_like(a[..., 0]) + 1, a.dtype)


def norm(xp: Any, a: Array) -> Array:
    """The largest sum of a column, (...)."""
    return xp.max(xp.sum(xp.abs(a), axis=-2), axis=-1)


def frobenius(xp: Any, a: Array) -> Array:
    return xp.sqrt(xp.sum(xp.sum(xp.abs(a) ** 2, axis=-1), axis=-1))


def largest(xp: Any, a: Array) -> Array:
    """The largest entry, (...)."""
    return xp.max(xp.max(xp.abs(a), axis=-1), axis=-1)


def times(xp: Any, c: Array, a: Array) -> Array:
    """The matrices a (..., n, n), each times its own number c (...)."""
    return xp.astype(c, a.dtype)[..., None, None] * a


def single(xp: Any, a: Array) -> bool:
    return xp.finfo(a.dtype).bits == 32


def exponential(solvers: Solvers, a: HyperDual) -> HyperDual:
    """exp(A)."""
    xp = solvers.xp
    down, up = powers_of_two(xp, largest(xp, a.value))
    one = xp.zeros_like(up) + 1
    down, up = xp.where(up > 1, down, one), xp.where(up > 1, up, one)
    b = a.map(lambda x: times(xp, down, x))  # entries below 2: powers do not overflow
    b2 = b @ b
    b4 = b2 @ b2
    b6 = b4 @ b2
    squarings = _squarings(solvers, a.order, up, b.value, b4.value, b6.value)
    scale = xp.pow(2 * one, xp.round(xp.log2(up)) - squarings)

    def scaled(x: HyperDual, power: int) -> HyperDual:
        factor = scale
        for _ in range(power - 1):
            factor = factor * scale
        return x.map(lambda y: times(xp, factor, y))

    c = _PADE
    x2, x4, x6 = scaled(b2, 2), scaled(b4, 4), scaled(b6, 6)
    eye = constant(identity(xp, a.value), a.order)
    odd = x6 @ (c[13] * x6 + c[11] * x4 + c[9] * x2) + c[7] * x6 + c[5] * x4 + c[3] * x2
    odd = scaled(b, 1) @ (odd + c[1] * eye)
    even = x6 @ (c[12] * x6 + c[10] * x4 + c[8] * x2) + c[6] * x6 + c[4] * x4 + c[2] * x2
    even = even + c[0] * eye
    x = filled(xp, (even - odd).solve(solvers, even + odd), a)

    def unfinished(state):
        return xp.any(state[0] > 0)

    def square(state):
        left, *parts = state
        x = HyperDual(parts)
        held = choose(xp, left > 0, x, x.map(xp.zeros_like))  # squares of others might overflow
        x = choose(xp, left > 0, held @ held, x)
        return (left - 1, *x.parts)

    _, *parts = solvers.while_loop(unfinished, square, (squarings, *x.parts))
    return HyperDual(parts)


def _squarings(solvers: Solvers, order: int, up: Array, b: Array, b4: Array, b6: Array) -> Array:
    """How many times A = up B is halved, (...)."""
    xp = solvers.xp
    one = xp.zeros_like(up) + 1
    size = xp.round(xp.log2(up))
    first, radius = norm(xp, b), _larger(xp, norm(xp, b4) ** 0.25, norm(xp, b6) ** (1 / 6))
    first = xp.where(first > 0, first, one)
    radius = _larger(xp, radius, first * 2.0**-200 if not single(xp, b) else first * 2.0**-60)
    # |B^j| <= radius^j from j = 4 on; a derivative of B^j meets k powers that may be lower
    theta = _THETA[min(order, len(_THETA) - 1)]
    excess = xp.log2(_larger(xp, first / radius, one)) * (order / 26)
    count = _larger(xp, xp.ceil(size + xp.log2(radius / theta) + excess), 0 * one)
    most = 9.0 if single(xp, b) else 75.0  # (2^most)^13 does not overflow
    count = _larger(xp, count, size - most)
    # As Al-Mohy and Higham: what rounding makes of the first neglected term, which may
    # exceed its value by far where |B^j| is far less than |B|^j
    over = size + xp.log2(first) - count > 2.4
    row = xp.zeros_like(xp.abs(b[..., :1, :])) + 1

    def going(loop):
        return xp.any(over & (loop[0] < 27))

    _, row = solvers.while_loop(
        going, lambda loop: (loop[0] + 1, loop[1] @ xp.abs(b)), (0 * one, row)
    )
    term = xp.max(row[..., 0, :], axis=-1) / first
    over = over & (term > 0)
    digits = 24 if single(xp, b) else 53
    neglected = xp.log2(xp.where(over, term, one)) + digits - 116.446
    more = _larger(xp, xp.ceil(neglected / 26 + size - count), 0 * one)
    return count + xp.where(over, more, 0 * one)


def _larger(xp: Any, x: Array, y: Array) -> Array:
    return xp.where(x < y, y, x)


_THETA = (5.3719, 4.7403, 4.1877, 3.7042, 3.2810)
"""Up to which radius r13 has a backward error below 2^-53, and its k-th derivative."""

_PADE = tuple(
    c / 64764752532480000
    for c in (
        64764752532480000,
        32382376266240000,
        7771770303897600,
        1187353796428800,
        129060195264000,
        10559470521600,
        670442572800,
        33522128640,
        1323241920,
        40840800,
        960960,
        16380,
        182,
        1,
    )
)
"""Coefficients of the numerator of r13, the first one 1."""


def converge(
    solvers: Solvers,
    state: tuple[Array, ...],
    step: Callable[..., tuple[Array, ...]],
    skip: Array | None = None,
) -> tuple[tuple[Array, ...], Array, Array]:
    """Newton's iteration for the sign of W = state[0], and what goes along with it.

    step(state, inverse, mu) makes the next state with mu W in place of W, where mu brings
    the norms of W and its inverse together (Higham 2008, section 5.5). Also returns for which
    matrices (...) the iteration has converged and after how many steps; those to skip are
    left as they are, converged. Parts of the state but W may have more leading axes.
    """
    xp = solvers.xp
    w = state[0]
    eye, zero = identity(xp, w), xp.zeros_like(norm(xp, w))
    left = zero + 3 if skip is None else xp.where(skip, zero, zero + 3)
    most = 20 if single(xp, w) else 40
    noise = 64 * w.shape[-1] * float(xp.finfo(w.dtype).eps)

    def both(x):
        return xp.sqrt(norm(xp, x)) * xp.sqrt(norm(xp, xp.matrix_transpose(x)))

    def going(loop):
        left, lost, count = loop[:3]
        return xp.any((left > 0) & ~lost & (count < most))

    def advance(loop):
        left, lost, count, *old = loop
        active = left > 0
        inverse = solvers.solve(old[0], eye)
        size = norm(xp, inverse)
        # once near, three steps without scaling square the distance, 1e-2, three times
        near = (left < 3) | (norm(xp, old[0] - inverse) * size < 1e-2)
        mu = xp.where(near, zero + 1, xp.sqrt(both(inverse) / both(old[0])))
        new = step(tuple(old), inverse, mu)
        # all eigenvalues on the imaginary axis: what is left are rounding errors
        vanished = norm(xp, new[0]) < noise * mu * norm(xp, old[0])
        lost = lost | (active & (~xp.isfinite(size) | vanished))
        new = tuple(xp.where(active[..., None, None], y, x) for x, y in zip(old, new, strict=True))
        count = xp.where(active, count + 1, count)
        left = xp.where(near & active, left - 1, left)
        return (left, lost, count, *new)

    found = solvers.while_loop(going, advance, (left, left < 0, zero, *state))
    left, lost, count, *last = found
    return tuple(last), (left == 0) & ~lost, count


def _newton_step(xp: Any, w: Array, inverse: Array, mu: Array) -> Array:
    return times(xp, mu / 2, w) + times(xp, 0.5 / mu, inverse)


def or_nan(xp: Any, good: Array, x: HyperDual, right: Array = None) -> HyperDual:
    """x where good (...) holds and, but for the value, right (...); NaN elsewhere."""

    def kept(part, mask):
        return xp.where(mask[..., None, None], part, float("nan") * xp.zeros_like(part))

    value, *parts = x.parts
    whole = good if right is None else good & right
    return HyperDual([kept(value, good), *(None if p is None else kept(p, whole) for p in parts)])


def sign(solvers: Solvers, a: HyperDual) -> HyperDual:
    """The sign of A without eigenvalues on the imaginary axis."""
    xp = solvers.xp
    one = constant(identity(xp, a.value), a.order)

    def step(parts, inverse, mu):
        x = HyperDual(list(parts))
        y = x.divide(inverse, one)
        return tuple(_newton_step(xp, p, q, mu) for p, q in zip(x.parts, y.parts, strict=True))

    parts, good, count = converge(solvers, tuple(filled(xp, a, a).parts), step)
    n = a.value @ parts[0]
    good = good & off_the_axis(solvers, n, xp.zeros_like(count), good & (count > 10))
    return or_nan(xp, good, HyperDual(list(parts)))


def off_the_axis(solvers: Solvers, x: Array, error: Array, asked: Array) -> Array:
    """Whether the error of X leaves its spectrum in the right half-plane (...).

    With X^H H + H X = I, no matrix within 1/(2 |H|) of X has eigenvalues on the imaginary
    axis. The iteration for H adds positive semidefinite matrices, so that H becomes large
    even where rounding errors decide how the iteration ends. An eigenvalue 2^-j |X| from the
    axis takes j steps: only matrices that took many steps are asked.
    """
    xp = solvers.xp

    def step(state, inverse, mu):
        w, h = state
        squared = adjoint(xp, inverse) @ h @ inverse
        return _newton_step(xp, w, inverse, mu), _newton_step(xp, h, squared, mu)

    eye = identity(xp, x)
    x = xp.where(asked[..., None, None], x, eye)
    (w, h), good, _ = converge(solvers, (x, eye), step, ~asked)
    error = error + x.shape[-1] ** 0.5 * float(xp.finfo(x.dtype).eps) * norm(xp, x)
    return good & (norm(xp, w - eye) < 0.1) & (error * norm(xp, h) < 0.25)


def _small(xp: Any, z: Array, r: Array, terms: Array, size: Array) -> Array:
    """Whether Z, the error of a result of this size, is small (...).

    Z belongs to the residual R, the difference of terms of the given size: an R that is by
    chance less than their rounding errors does not count.
    """
    noise = r.shape[-1] * float(xp.finfo(r.dtype).eps) * terms
    residual = norm(xp, r)
    more = xp.where(residual > 0, noise / xp.where(residual > 0, residual, noise), 0 * noise)
    return norm(xp, z) * _larger(xp, more, 0 * noise + 1) <= 0.1 * size


def sylvester(
    solvers: Solvers, x: Array, rhs: tuple[Array, ...]
) -> tuple[tuple[Array, ...], Array]:
    """Z with X Z + Z X = R for each R, and for which X (...) it was found.

    sign [X R; 0 -X] = [I 2Z; 0 -I]; Roberts (1980). The spectrum of X lies in the right
    half-plane.
    """
    xp = solvers.xp

    def step(state, inverse, mu):
        w, *rs = state
        rs = (_newton_step(xp, r, inverse @ r @ inverse, mu) for r in rs)
        return _newton_step(xp, w, inverse, mu), *rs

    (w, *found), good, _ = converge(solvers, (x, *rhs), step)
    good = good & (norm(xp, w - identity(xp, w)) < 0.1)
    return tuple(z / 2 for z in found), good


def square_root(solvers: Solvers, a: HyperDual) -> HyperDual:
    """The principal square root of A without eigenvalues on the negative real axis."""
    xp = solvers.xp
    eye = identity(xp, a.value)

    def step(state, inverse, mu):
        # m tends to I and x to the root, with x m^-1 x = A; mu is the square of the usual scaling
        m, x = state
        x = times(xp, xp.sqrt(mu) / 2, x @ (eye + times(xp, 1 / mu, inverse)))
        return (eye + _newton_step(xp, m, inverse, mu)) / 2, x

    (_, value), good, count = converge(solvers, (a.value, a.value), step)
    many = count > 10
    x = filled(xp, constant(value, a.order), a)
    right = good[None, ...] if a.order == 0 else norm(xp, xp.stack(x.parts[1:])) >= 0

    def unfinished(loop):
        return xp.any((loop[0] <= a.order) | (loop[1] & (loop[0] < a.order + 3)))

    def improve(loop):
        """Newton's method; the j-th time, parts of order j become right, later polished."""
        count, _, good, right, *parts = loop
        x = HyperDual(parts)
        r = a - x @ x
        rs = (r.value,) if a.order == 0 else (r.value, xp.stack(r.parts[1:]))
        (z, *zs), solved = sylvester(solvers, x.value, rs)
        value = x.value + z
        before, after = norm(xp, r.value), norm(xp, a.value - value @ value)
        value = xp.where((after <= before)[..., None, None], value, x.value)
        size = norm(xp, value)
        again = (after < before / 2) & (after > eps * size**2)
        good = good & solved & _small(xp, z, r.value, size**2, size)
        if a.order == 0:
            return count + 1, again, good, right, value
        rest = xp.stack(parts[1:]) + zs[0]
        # the last correction is the error, against what terms of the same order amount to
        sizes = norm(xp, rest)
        whole = range(1, len(parts))
        usual = [size + 0 * sizes[0, ...]]
        for s in whole:
            lowest = s & -s
            usual.append(usual[s ^ lowest] * (sizes[lowest - 1, ...] / size))
        right = norm(xp, zs[0]) <= 0.1 * _larger(xp, sizes, xp.stack(usual[1:]))
        return count + 1, again, good, right, value, *(rest[s - 1, ...] for s in whole)

    eps = a.value.shape[-1] * float(xp.finfo(a.value.dtype).eps)
    count, again = xp.zeros_like(norm(xp, value)), good & ~good
    found = solvers.while_loop(unfinished, improve, (count, again, good, right, *x.parts))
    _, _, good, right, *parts = found
    x = parts[0]
    error = norm(xp, a.value - x @ x) / norm(xp, x)
    good = good & off_the_axis(solvers, x, error, good & many)
    return or_nan(xp, good, HyperDual(parts), xp.all(right, axis=0))


def logarithm(solvers: Solvers, a: HyperDual) -> HyperDual:
    """The principal logarithm of A without eigenvalues on the negative real axis."""
    xp = solvers.xp
    eye = constant(identity(xp, a.value), a.order)
    x = filled(xp, a, a)
    zero = xp.zeros_like(norm(xp, a.value))

    def far(value):
        return norm(xp, value - eye.value) > 0.5

    def going(loop):
        return xp.any(far(loop[1]) & (loop[0] < 64))

    def advance(loop):
        roots, *parts = loop
        x = HyperDual(parts)
        more = far(x.value)
        x = choose(xp, more, square_root(solvers, x), x)
        return (roots + xp.astype(more, roots.dtype), *x.parts)

    roots, *parts = solvers.while_loop(going, advance, (zero, *x.parts))
    x = HyperDual(parts) - eye
    # x (I + t x)^-1 at all nodes t at once, along a first axis
    axes = (None,) * (parts[-1].ndim - a.value.ndim)
    x.parts[0] = x.value[(*axes, ...)]
    t = xp.stack([node + xp.zeros_like(x.value[..., :1, :1]) for node in _NODES])
    weight = xp.stack([w + xp.zeros_like(x.value[..., :1, :1]) for w in _WEIGHTS])
    terms = (eye + x.map(lambda y: t * y)).solve(solvers, x.map(lambda y: 0 * t + y))
    out = terms.map(lambda y: xp.sum(weight * y, axis=0))
    out.parts[0] = xp.reshape(out.value, a.value.shape)
    scale = xp.pow(zero + 2, roots)
    return or_nan(xp, roots < 64, out.map(lambda p: times(xp, scale, p)))


_NODES = (
    0.009219682876640374655,
    0.04794137181476257166,
    0.1150486629028476565,
    0.2063410228566912764,
    0.3160842505009099031,
    0.4373832957442655423,
)
_WEIGHTS = (
    0.0235876681932559136,
    0.05346966299765921548,
    0.08003916427167311317,
    0.1015837133615329609,
    0.1167462682691774044,
    0.1245735229067013925,
)
"""The nodes of Gauss and Legendre on [0, 1], 12 with their images, and their weights."""
_NODES, _WEIGHTS = _NODES + tuple(1 - t for t in _NODES), 2 * _WEIGHTS


def power(solvers: Solvers, a: HyperDual, p: float) -> HyperDual:
    """A^p, as a whole power by products and the rest, of the same sign, by roots."""
    whole = int(p)
    rest = p - whole
    factors = []
    if rest == 0.5:
        factors.append(square_root(solvers, a))
    elif rest == -0.5:
        factors.append(square_root(solvers, a).inverse(solvers))
    elif rest:
        factors.append(exponential(solvers, rest * logarithm(solvers, a)))
    square = a if whole > 0 or not whole else a.inverse(solvers)
    left = abs(whole)
    while left:
        if left % 2:
            factors.append(square)
        left //= 2
        square = square @ square if left else square
    if not factors:
        return constant(identity(solvers.xp, a.value), a.order)
    out = factors[0]
    for factor in factors[1:]:
        out = out @ factor
    return out


def turned(solvers: Solvers, a: HyperDual) -> tuple[HyperDual, Array]:
    """exp(-i phi) A and phi (...), with the cut in the middle of the gap of the arguments.

    Eigenvalues that are on the cut but for rounding errors count as arg = pi. phi is zero
    for a real matrix, and where no eigenvalue is near the cut.
    """
    xp, x = solvers.xp, a.value
    if not xp.isdtype(x.dtype, "complex floating"):
        return a, xp.zeros_like(norm(xp, x))
    w = solvers.eigvals(x)
    size = xp.abs(w)
    there = size > 0
    angle = xp.atan2(xp.imag(w), xp.real(w))
    error = tolerance(xp, w, w.shape[-1]) / xp.where(there, size, 0 * size + 1)
    known = there & (error < 0.1)
    cut = known & (PI - xp.abs(angle) <= error)
    far = 0 * size + PI
    above = xp.min(xp.where(cut, 0 * far, xp.where(known, PI - angle, far)), axis=-1)
    below = xp.min(xp.where(known & ~cut, PI + angle, far), axis=-1)
    near = (above < 0.5) | (below < 0.5)
    phi = xp.where(near, (below - above) / 2, 0 * above)
    return a.map(lambda y: times(xp, phase(xp, -phi, y), y)), phi


PI = 3.141592653589793


def phase(xp: Any, phi: Array, like: Array) -> Array:
    """exp(i phi); 1 if like is real."""
    if not xp.isdtype(like.dtype, "complex floating"):
        return 0 * phi + 1
    return xp.astype(xp.cos(phi), like.dtype) + 1j * xp.astype(xp.sin(phi), like.dtype)
