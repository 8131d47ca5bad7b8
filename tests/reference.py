"""Ground truth: the losses of `cases.py` and their derivatives with mpmath.

The losses are smooth at every case, so that central differences in 120 digits with a step
of 1e-30 give first and second derivatives to more than 50 digits.
"""

from __future__ import annotations

import functools
from typing import Any

import mpmath as mp
import numpy as np
from cases import Case

DIGITS = 120
STEP = mp.mpf(10) ** -30
Matrix = Any  # what mp.matrix, a method and not a class, returns


def matrix(a: np.ndarray) -> Matrix:
    """The exact value of a stored matrix."""
    z = np.iscomplexobj(a)
    return mp.matrix(
        [[mp.mpc(x.real, x.imag) if z else mp.mpf(float(x)) for x in row] for row in a]
    )


def _dot(w: Matrix, p: Matrix):
    return mp.fsum(mp.re(mp.conj(w[i, j]) * p[i, j]) for i in range(p.rows) for j in range(p.cols))


def _columns(a: Matrix, group) -> Matrix:
    return mp.matrix([[a[i, j] for j in group] for i in range(a.rows)])


def _projector(a: Matrix, group) -> Matrix:
    q = _columns(a, group)
    return q * q.H


def _eigh(a: Matrix):
    real = all(mp.im(x) == 0 for x in a)
    w, v = (mp.eigsy if real else mp.eighe)(a)
    order = sorted(range(len(w)), key=lambda i: w[i])
    return [w[i] for i in order], _columns(v, order)


def _svd_loss(case: Case, a: Matrix):
    c = [matrix(w) for w in case.weights(6)]
    u, s, vh = mp.svd(a) if any(mp.im(x) for x in a) else mp.svd_r(a)
    v = vh.H
    scale = mp.mpf(case.scale)
    total = mp.mpf(0)
    eye_m, eye_n = mp.eye(a.rows), mp.eye(a.cols)
    pu, pv = mp.zeros(a.rows), mp.zeros(a.cols)
    for g in case.groups:
        if case.spectrum[0][g[0]] == 0:
            continue
        p, q = _projector(u, g), _projector(v, g)
        pu, pv = pu + p, pv + q
        t = _dot(c[0], p) + _dot(c[1], q) + _dot(c[2], _columns(u, g) * _columns(v, g).H)
        sigma = mp.fsum(s[i] for i in g) / scale
        total += t + mp.mpf(0.3) * t * t + sigma**3 + sigma * t
    full = case.function == "svd"
    if a.rows == 4 or full:
        t = _dot(c[3], eye_m - pu)
        total += t + mp.mpf(0.3) * t * t
    if a.cols == 4 or full:
        t = _dot(c[4], eye_n - pv)
        total += t + mp.mpf(0.3) * t * t
    return total


def _eigh_loss(case: Case, a: Matrix, b: Matrix | None = None):
    c = matrix(case.weights(6)[0])
    if b is None:
        w, v = _eigh(a)
    else:
        inverse = mp.inverse(mp.cholesky(b))
        w, v = _eigh(inverse * a * inverse.H)
        v = inverse.H * v
    total = mp.mpf(0)
    for g in case.groups:
        t = _dot(c, _projector(v, g))
        sigma = mp.fsum(w[i] for i in g) / mp.mpf(case.scale)
        total += t + mp.mpf(0.3) * t * t + sigma**3 + sigma * t
    return total


def _eig_loss(case: Case, a: Matrix):
    c = [matrix(w) for w in case.weights(6)]
    w, v = mp.eig(a)
    order = sorted(range(len(w)), key=lambda i: mp.re(w[i]) + mp.im(w[i]) / 10)
    v = _columns(v, order)
    inverse = mp.inverse(v)
    total = mp.mpf(0)
    for g in case.groups:
        p = _columns(v, g) * mp.matrix([[inverse[i, j] for j in range(4)] for i in g])
        sigma = mp.fsum(w[order[i]] for i in g) / mp.mpf(case.scale)
        t = _dot(c[0], p)
        if len(g) == 1:
            norm = mp.fsum(abs(v[i, g[0]]) ** 2 for i in range(4))
            t += mp.fsum(mp.re(c[1][i, 0]) * abs(v[i, g[0]]) ** 2 for i in range(4)) / norm
        total += t + mp.mpf(0.3) * t * t + mp.re(sigma**3) + mp.im(sigma) * t
    return total


def loss(case: Case, *arguments: Matrix):
    kind = case.function.split("-thin")[0].split("-ab")[0]
    return {"svd": _svd_loss, "eigh": _eigh_loss, "eig": _eig_loss}[kind](case, *arguments)


@functools.cache
def derivatives(case: Case) -> tuple[float, float, float, float]:
    """dL[e], dL[f], d2L[e, e] and d2L[e, f] for the two directions of the case."""
    with mp.workdps(DIGITS):
        a = [matrix(x) for x in case.matrices()]
        e, f = ([matrix(x) for x in d] for d in case.directions(2))

        def at(s, t):
            moved = [x + s * STEP * y + t * STEP * z for x, y, z in zip(a, e, f, strict=True)]
            return loss(case, *moved)

        le, me, lf, mf = at(1, 0), at(-1, 0), at(0, 1), at(0, -1)
        centre = at(0, 0)
        cross = at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)
        return (
            float((le - me) / (2 * STEP)),
            float((lf - mf) / (2 * STEP)),
            float((le - 2 * centre + me) / STEP**2),
            float(cross / (4 * STEP**2)),
        )
