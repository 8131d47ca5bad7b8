"""The branches of A + tE at t = 0+: the eigenproblem and the SVD along a direction.

Rellich: the eigenvalues of A + tE, and an orthonormal frame of eigenvectors, are analytic
in real t, also through a repeat. Let H(t) = H_0 + t H_1 + t^2 H_2 + ... be Hermitian, at
first A + tE, with H_0 = diag(lambda) in the frame of its own eigenvectors. The columns
U(t) = U_0 + t U_1 + ... that belong to one cluster c of lambda, H U = U B and U^H U = I with
U_0 the columns c of the identity, follow order by order:

    R_k = sum_{j=1..k} H_j U_{k-j} - sum_{j=1..k-1} U_j B_{k-j},       B_k = (R_k)_c,
    U_k = R_k / (lambda_c - lambda) off c,    -1/2 sum_{j=1..k-1} U_j^H U_{k-j} on c.       (1)

(B_1 is E in the cluster, B_2 its second order E (lambda_c - A)^+ E.) What is left is the same
problem for B_1 + t B_2 + ..., one order shorter, with frame X(t) and values mu(t):

    values lambda_c + t mu(t),    frame U(t) X(t),  of derivative U_1 X_0 + U_0 X_1.        (2)

It ends where a cluster is a single vector, or where the orders run out.

Width of a cluster. Let |H_k| <= M rho^k, known to tau rho^k, and let the cluster be g away
from the rest. On the disc |t| <= 1/rho', with rho' below, |H(t) - H_0| <= g/2: the cluster
stays by itself, moves by at most g/2 and is known to tau. Cauchy's estimate of the
coefficients of t mu(t) there gives the three numbers of the next order (g infinite if
there is no rest):

    rho' = rho (1 + 2 M/g),    tau' = tau rho',    M' = min(M, g/2) rho'.                   (3)

They start from M = |A|, rho = |E|/|A| and the tau of the solver, so that the width is
(n + 16) eps |E| (1 + 2 |A|/g) at first order, and grows like (|E|/g)^(k-1) after it.

Singular values are the positive eigenvalues of the dilation [0 A; A^H 0], of vectors
(u; v)/sqrt 2. In its zero cluster the B_k are dilations themselves, [0 C_k; C_k^H 0], because
(1) commutes with the change of sign of all v: zeros that grow are the singular values of
C_1 + t C_2 + ..., and what never grows keeps u and v apart.

Rellich, Math. Ann. 113 (1937); Kato, Perturbation theory, II.2.3 (the reduction process) and
II.6 (analytic frames); van der Aa, ter Morsche and Mattheij, Electron. J. Linear Algebra 16
(2007), for derivatives of eigenvectors at repeats.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import array_api_compat
import numpy as np

from ._arguments import matrices, same_batch
from .frameworks import Framework
from .rules.pieces import (
    adjoint,
    herm,
    hermitian_from_triangle,
    powers_of_two,
    same_cluster,
    tolerance,
    total,
)
from .rules.rule import Array, Rule

Series = Sequence[np.ndarray]
"""The coefficients of a power series in t, from t^0 on."""

ORDERS = 8
"""The last order that may split a cluster; what is together then stays together."""


class EighDirectionalResult(NamedTuple):
    """The branches of the eigenvalues and eigenvectors of A + tE at t = 0+, to first order."""

    eigenvalues: Array
    eigenvectors: Array
    d_eigenvalues: Array
    d_eigenvectors: Array


class SVDDirectionalResult(NamedTuple):
    """The branches of U, S and Vh of A + tE at t = 0+, to first order."""

    U: Array
    S: Array
    Vh: Array
    dU: Array
    dS: Array
    dVh: Array


def eigh_directional(a: Array, e: Array) -> EighDirectionalResult:
    """Eigenvalues and eigenvectors along a direction, one-sided, at repeats as well.

    The eigenvalues w(t) and eigenvectors V(t) of ``a + t e`` are smooth branches (Rellich).
    Their values and derivatives at t = 0, where the branches of a repeated eigenvalue meet:
    ``(a + t e) V(t) = V(t) diag(w(t))`` with ``V(t) = V + t dV + O(t^2)``.

    Parameters
    ----------
    a : array, shape (..., n, n)
        Hermitian, or real symmetric. Only the lower triangle is read.
    e : array, shape (..., n, n)
        The direction, of which the Hermitian part counts; its leading dimensions broadcast
        with those of a.

    Returns
    -------
    EighDirectionalResult
        Named tuple ``(eigenvalues, eigenvectors, d_eigenvalues, d_eigenvectors)`` of shapes
        (..., n), (..., n, n), (..., n), (..., n, n) and the dtype of ``a + e``. Ascending for
        small t > 0: at a repeat d_eigenvalues ascend, where those are equal the second
        derivatives, and so on. Eigenvalues that count as equal are returned as their mean.

    Raises
    ------
    TypeError
        For arrays that are traced or differentiated (``jit``, ``vmap``, ``grad``; within
        ``torch.compile`` PyTorch raises an error of its own), object, half or extended
        precision dtypes, what is not an array, or a and e of different frameworks.
    ValueError
        If the shapes of a and e do not match.
    numpy.linalg.LinAlgError
        If a is not a square matrix, or an entry is not finite.

    Notes
    -----
    *Not differentiable itself*: it chooses the frame by the direction, and the derivatives
    are not linear in e. It is the derivative that functions of single members of a repeated
    set have, one direction at a time; those of `eigh` are linear. It needs the values of the
    arrays, and computes in NumPy in double precision, on one matrix after the other.

    *Splitting.* A repeated eigenvalue is split by e in its space, what is still equal then by
    the second order, and so on up to order 8. What that leaves together is taken to stay
    together for all t; any basis of it is right and dV does not turn it.

    *Phases* do not turn (the horizontal choice): ``V^H dV`` has a zero diagonal, and zero
    blocks where eigenvalues stay together.

    Eigenvalues within ``(n + 16) eps max|w|`` of each other count as equal, derivatives in a
    cluster that is g away from the rest within ``(n + 16) eps |e| (1 + 2 max|w|/g)``, and so
    on by (3) of ``loewner/_directional.py``, with the eps of the dtype: the backward error of
    the solver and what becomes of it. The same widths, over the gaps that they are compared
    with, bound the error of the frame. A split that is real but below its width is missed:
    its vectors could not be told from rounding.

    References
    ----------
    Rellich, Math. Ann. 113 (1937); Kato, *Perturbation theory for linear operators*, II.2.3
    and II.6; van der Aa, ter Morsche and Mattheij, Electron. J. Linear Algebra 16 (2007). The
    formulas are (1) and (2) of ``loewner/_directional.py``.

    Examples
    --------
    Two equal eigenvalues, that the direction splits:

    >>> import numpy as np
    >>> import loewner as lw
    >>> branches = lw.eigh_directional(np.zeros((2, 2)), np.array([[0.0, 1.0], [1.0, 0.0]]))
    >>> branches.d_eigenvalues
    array([-1.,  1.])
    """
    name = "eigh_directional"
    framework, (a, e) = matrices(name, square=True, a=a, e=e)
    xp, n = framework.xp, a.shape[-1]
    a, e = hermitian_from_triangle(xp, a, lower=True), herm(xp, e)
    found = _along(name, framework, a, e, ((n,), (n, n)) * 2, _branches)
    return EighDirectionalResult(*found)


def svd_directional(a: Array, e: Array) -> SVDDirectionalResult:
    """Thin singular value decomposition along a direction, one-sided, at repeats and zeros.

    The singular values S(t) of ``a + t e`` and their vectors are smooth for small t > 0, and
    continue smoothly to t = 0 (Rellich). Their values and derivatives there:
    ``a + t e = U(t) diag(S(t)) Vh(t)`` with ``U(t) = U + t dU + O(t^2)``, and so S and Vh.

    Parameters
    ----------
    a : array, shape (..., m, n)
        float32, float64, complex64 or complex128; integers and booleans are promoted.
    e : array, shape (..., m, n)
        The direction; its leading dimensions broadcast with those of a.

    Returns
    -------
    SVDDirectionalResult
        Named tuple ``(U, S, Vh, dU, dS, dVh)`` of shapes (..., m, k), (..., k), (..., k, n),
        and those again, k = min(m, n). S is non-negative, and descending for small t > 0:
        where singular values are equal dS descend, where those are equal the second
        derivatives, and so on. Where S is zero, dS is non-negative. Singular values that
        count as equal are returned as their mean, those that count as zero as zero.

    Raises
    ------
    TypeError, ValueError
        As `eigh_directional`.
    numpy.linalg.LinAlgError
        If a has fewer than two dimensions, or an entry is not finite.

    Notes
    -----
    *Not differentiable itself*, as `eigh_directional`.

    *Zero singular values* grow like t times the singular values of e between the null
    spaces, and where these vanish with a higher power of t, up to order 8. What does not
    grow until then is taken to stay zero for all t: such u_j lie in the null space of
    ``(a + t e)^H``, and v_j in that of ``a + t e``, without relation to each other; dU and
    dVh do not turn them inside it.

    *Phases* of the pairs do not turn (the horizontal choice): ``u^H du + v^H dv = 0`` for
    every pair, and each term by itself where a is real.

    Singular values within ``(max(m, n) + 16) eps S[0]`` of each other, or of zero, count as
    equal; for their derivatives see `eigh_directional`, of which this is the case of
    ``[0 a; a^H 0]``.

    References
    ----------
    Bunse-Gerstner, Byers, Mehrmann and Nichols, Numer. Math. 60 (1991), for analytic
    singular values; otherwise as `eigh_directional`.

    Examples
    --------
    A zero singular value grows from its kink in either direction:

    >>> import numpy as np
    >>> import loewner as lw
    >>> lw.svd_directional(np.diag([1.0, 0.0]), np.diag([0.0, -2.0])).dS
    array([0., 2.])
    """
    name = "svd_directional"
    framework, (a, e) = matrices(name, a=a, e=e)
    *_, m, n = a.shape
    k = min(m, n)
    found = _along(name, framework, a, e, ((k,), (m, k), (k, n)) * 2, _thin_svd_branches)
    s, u, vh, ds, du, dvh = found
    return SVDDirectionalResult(u, s, vh, du, ds, dvh)


@dataclasses.dataclass(frozen=True)
class _Bound:
    """|H_k| <= size rate^k, known to width rate^k: M, rho and tau of (3)."""

    width: float
    size: float
    rate: float

    def within(self, gap: float) -> _Bound:
        """Of the next order, in a cluster that is so far from the rest: (3)."""
        rate = self.rate * (1 + 2 * self.size / gap)
        return _Bound(self.width * rate, min(self.size, gap / 2) * rate, rate)


def _branches(h: Series, orders: int, bound: _Bound) -> tuple[np.ndarray, ...]:
    """(w, V, dw, dV) of the branches of H_0 + t H_1 + ..., ascending for small t > 0.

    Known to t^orders, of which what h leaves out is zero.
    """
    n = len(h[0])
    if orders == 0:
        return np.full(n, np.trace(h[0]).real / n), np.eye(n), np.zeros(n), np.zeros((n, n))
    w, q = np.linalg.eigh(h[0])
    h = [adjoint(np, q) @ x @ q for x in h[1:]]
    dw, v, dv = np.zeros_like(w), np.zeros_like(q), np.zeros_like(q)
    for c in _clusters(w, bound.width):
        turn, b, left, inner = _reduce(h, orders, w, c, bound)
        dw[c], x, _, dx = _branches(b, left, inner)
        w[c] = w[c].mean()
        v[:, c], dv[:, c] = q[:, c] @ x, q @ turn @ x + q[:, c] @ dx  # (2)
    return w, v, dw, dv


def _svd_branches(c: Series, orders: int, bound: _Bound) -> tuple[np.ndarray, ...]:
    """(s, U, V, ds, dU, dV) of the branches of C_0 + t C_1 + ..., descending for small t > 0.

    U and V are square; s that stay zero come last.
    """
    m, n = c[0].shape
    s, ds = np.zeros(min(m, n)), np.zeros(min(m, n))
    if orders == 0 or not s.size:
        return s, np.eye(m), np.eye(n), ds, np.zeros((m, m)), np.zeros((n, n))
    u, s, vh = np.linalg.svd(c[0])
    v = adjoint(np, vh)
    r = int((~same_cluster(np, np.append(s, 0.0), bound.width)[-1, :-1]).sum())
    s[r:] = 0
    # the frame of the dilation: (u; v)/sqrt 2, (u; -v)/sqrt 2, (u; 0), (0; v)
    upper, lower = u[:, :r] / np.sqrt(2), v[:, :r] / np.sqrt(2)
    q = np.block(
        [
            [upper, upper, u[:, r:], np.zeros((m, n - r))],
            [lower, -lower, np.zeros((n, m - r)), v[:, r:]],
        ]
    )
    values = np.concat([s[:r], -s[:r], np.zeros(m + n - 2 * r)])
    h = [_cross(q, x) for x in c[1:]]
    du, dv = np.zeros_like(u), np.zeros_like(v)
    for j in _clusters(s[:r], bound.width):
        turn, b, left, inner = _reduce(h, orders, values, j, bound)
        ds[j], x, _, dx = (z[..., ::-1] for z in _branches(b, left, inner))
        s[j] = s[j].mean()
        pairs = np.sqrt(2) * q[:, j] @ x
        moved = np.sqrt(2) * (q @ turn @ x + q[:, j] @ dx)  # (2)
        u[:, j], v[:, j] = pairs[:m], pairs[m:]
        du[:, j], dv[:, j] = moved[:m], moved[m:]
    turn, b, left, inner = _reduce(h, orders, values, np.arange(2 * r, m + n), bound)
    ds[r:], x, y, _, dx, dy = _svd_branches([z[: m - r, m - r :] for z in b], left, inner)
    turn = q @ turn
    du[:, r:] = turn[:m, : m - r] @ x + u[:, r:] @ dx  # (2), of u and of v
    dv[:, r:] = turn[m:, m - r :] @ y + v[:, r:] @ dy
    u[:, r:], v[:, r:] = u[:, r:] @ x, v[:, r:] @ y
    return s, u, v, ds, du, dv


def _thin_svd_branches(c: Series, orders: int, bound: _Bound) -> tuple[np.ndarray, ...]:
    """(s, U, V^H, ds, dU, dV^H), with the first min(m, n) columns of U and V."""
    k = min(c[0].shape)
    p, c = _in_common_range(c)
    q, c = _in_common_range([adjoint(np, x) for x in c])
    s, *frames = _svd_branches([adjoint(np, x) for x in c], orders, bound)
    u, v, du, dv = (frames[i][:, :k] for i in (0, 1, 3, 4))
    return s, p @ u, adjoint(np, q @ v), frames[2], p @ du, adjoint(np, q @ dv)


def _in_common_range(c: Series) -> tuple[np.ndarray, Series]:
    """(P, [P^H C_0, P^H C_1]), P of orthonormal columns that span those of C_0 and C_1."""
    n = c[0].shape[1]
    p, r = np.linalg.qr(np.hstack(c))
    return p, (r[:, :n], r[:, n:])


def _cross(q: np.ndarray, c: np.ndarray) -> np.ndarray:
    """q^H [0 c; c^H 0] q."""
    m = len(c)
    x = adjoint(np, q[:m]) @ c @ q[m:]
    return x + adjoint(np, x)


def _clusters(w: np.ndarray, width: float) -> list[np.ndarray]:
    """The positions of each cluster of the sorted values w."""
    apart = ~np.diagonal(same_cluster(np, w, np.full(1, width)), 1)
    return np.split(np.arange(len(w)), np.flatnonzero(apart) + 1) if w.size else []


def _reduce(
    h: Series, orders: int, w: np.ndarray, c: np.ndarray, bound: _Bound
) -> tuple[np.ndarray, list[np.ndarray], int, _Bound]:
    """U_1 of (1), and the problem B_1 + t B_2 + ... that is left, for cluster c of diag(w)."""
    outside = np.ones(len(w), bool)
    outside[c] = False
    distance = w[c].sum() / max(len(c), 1) - w[outside]
    inner = bound.within(float(np.abs(distance).min(initial=np.inf)))
    orders = min(orders, 1) if len(c) == 1 else orders  # one vector is not split further
    u, b = [np.eye(len(w))[:, c]], []
    for k in range(1, orders + 1):
        known = (h[j - 1] @ u[k - j] for j in range(1, min(k, len(h)) + 1))
        r = total(*known, *(-u[j] @ b[k - j - 1] for j in range(1, k)))  # R_k
        b.append(herm(np, r[c]))
        turn = np.zeros_like(r)
        turn[outside] = r[outside] / distance[:, None]
        if k > 1:
            turn[c] = total(*(adjoint(np, u[j]) @ u[k - j] for j in range(1, k))) / -2
        u.append(turn)
    return u[1], b, orders - 1, inner


def _along(
    name: str,
    framework: Framework,
    a: Array,
    e: Array,
    shapes: Sequence[tuple[int, ...]],
    branches: Callable[[Series, int, _Bound], tuple[np.ndarray, ...]],
) -> list[Array]:
    """The branches of each a + t e: values, frames and the derivatives of both, of these shapes.

    In double precision, scaled by powers of two, with the width of clusters of the dtype.
    """
    if tuple(a.shape[-2:]) != tuple(e.shape[-2:]):
        raise ValueError(
            f"{name}: a and e must be matrices of one shape, but a has shape {tuple(a.shape)} "
            f"and e has shape {tuple(e.shape)}"
        )
    batch = same_batch(name, a=a, e=e)
    x, y = (_values(name, framework, z) for z in (a, e))
    dtype, real, double = x.dtype, np.finfo(x.dtype).dtype, np.result_type(x, np.float64)
    x, y = (np.broadcast_to(z, batch + z.shape[-2:]).astype(double) for z in (x, y))
    a_down, a_up = powers_of_two(np, np.abs(x).max(axis=(-2, -1), initial=0.0))
    e_down, e_up = powers_of_two(np, np.abs(y).max(axis=(-2, -1), initial=0.0))
    found = [np.zeros(batch + s, real if len(s) == 1 else dtype) for s in shapes]
    for i in np.ndindex(*batch) if x.size else ():
        h = [x[i] * a_down[i], y[i] * e_down[i]]
        size = float(np.linalg.norm(h[0], 2)) or 1.0
        width = float(tolerance(np, np.array([size], real), max(h[0].shape))[0])
        bound = _Bound(width, size, float(np.linalg.norm(h[1], 2)) / size)
        # the last order that splits needs one more, for the turn of its vectors
        computed = branches(h, ORDERS + 1, bound)
        half = len(shapes) // 2
        units = a_up[i], *(1.0,) * (half - 1), e_up[i], *(e_up[i] * a_down[i],) * (half - 1)
        for out, z, unit in zip(found, computed, units, strict=True):
            out[i] = z * unit
    device = array_api_compat.device(a)
    return [array_api_compat.to_device(framework.asarray(z), device) for z in found]


@dataclasses.dataclass(frozen=True)
class _Undifferentiated(Rule):
    """The array itself, which refuses to be differentiated."""

    name: str

    def evaluate(self, solvers, inputs, outputs=None):
        return (1 * inputs[0],)  # without a conjugation that is still to be done

    def jvp(self, ops, inputs, outputs, tangents):
        raise TypeError(_refusal(self.name))

    def vjp(self, ops, inputs, outputs, cotangents, wanted):
        raise TypeError(_refusal(self.name))


def _refusal(name: str) -> str:
    return (
        f"{name} needs the values of its arrays and has no derivative itself: it cannot be "
        "traced (jit, vmap) or differentiated; hand over constants (stop_gradient, detach)"
    )


def _values(name: str, framework: Framework, x: Array) -> np.ndarray:
    """x as a NumPy array of finite numbers; TypeError if it is traced."""
    (x,) = framework.call(_Undifferentiated(name), x)
    if array_api_compat.is_torch_array(x):
        x = array_api_compat.to_device(x, "cpu")
    try:
        values = np.asarray(x)
    except (TypeError, RuntimeError) as error:  # RuntimeError by PyTorch
        raise TypeError(_refusal(name)) from error
    if values.dtype == object:  # boxes of autograd
        raise TypeError(_refusal(name))
    if not np.isfinite(values).all():
        raise np.linalg.LinAlgError(f"{name}: an entry is not finite")
    return values
