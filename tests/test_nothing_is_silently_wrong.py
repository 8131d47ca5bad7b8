"""A search for losses whose gradient through a decomposition is finite, unreported and wrong."""

import os

import mpmath as mp
import numpy as np
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

import loewner as lw

N = 4
REFLECTIONS = {
    "axes": np.eye(N),
    "dyadic": np.eye(N) - 0.5 * np.ones((N, N)),
    "blocks": np.kron(np.eye(2), np.array([[0.6, 0.8], [0.8, -0.6]])),
}

small = st.integers(-2, 2).map(float)
values = st.lists(
    st.sampled_from([0.0, 1.0, 1.0, 2.0, 2.0, 1.0 + 2.0**-10, 1.0 + 2.0**-20, -3.0]),
    min_size=N,
    max_size=N,
)
weights = st.lists(small, min_size=N * N, max_size=N * N).map(lambda x: np.reshape(x, (N, N)))
term = st.tuples(
    st.sampled_from(["values", "squares", "projector", "entries", "by hand", "mixed", "one"]),
    st.integers(1, N),
    weights,
)
problems = st.tuples(
    st.sampled_from(sorted(REFLECTIONS)),
    values,
    st.lists(term, min_size=1, max_size=3),
    weights.filter(lambda e: np.abs(e + e.T).max() > 0),
    st.sampled_from(["eigh", "svd"]),
)


def loss(terms, w, u, v, sin):
    """A sum of terms of values w and frames u and v, lists of lists or arrays alike."""
    total = 0
    n = range(N)
    for kind, k, c in terms:
        c = c.tolist()
        if kind == "values":
            total = total + sum(c[0][0] * w[i] for i in n)
        elif kind == "squares":
            total = total + sum(w[i] * w[i] for i in n[:k]) * c[0][0]
        elif kind == "projector":
            total = total + sum(
                c[i][j] * sum(u[i][m] * u[j][m] for m in n[:k]) for i in n for j in n
            )
        elif kind == "entries":
            total = total + sum(c[i][j] * u[i][j] * u[i][j] for i in n for j in n[:k])
        elif kind == "by hand":
            total = total + sum(
                c[i][j] * sum(u[i][m] * sin(w[m]) * v[j][m] for m in n) for i in n for j in n
            )
        elif kind == "mixed":
            total = total + sum(c[0][m] * w[m] * u[0][m] * u[0][m] for m in n[:k])
        else:
            total = total + c[0][0] * w[k - 1]
    return total


def factors(kind, a):
    if kind == "eigh":
        w, v = lw.eigh(a)
        return w, v, v
    u, s, vh = lw.svd(a)
    return s, u, vh.T


def factors_50_digits(kind, a):
    if kind == "eigh":
        w, v = mp.eigsy(a)
        return list(w), v.tolist(), v.tolist()
    u, s, vh = mp.svd_r(a)
    return list(s), u.tolist(), vh.T.tolist()


def derivative_50_digits(kind, terms, a, e):
    step = mp.mpf(10) ** -20

    def at(t):
        w, u, v = factors_50_digits(kind, reference.matrix(a) + t * step * reference.matrix(e))
        return loss(terms, w, u, v, mp.sin)

    return float((at(1) - at(-1)) / (2 * step))


# LOEWNER_EXAMPLES=50000 searches longer, and elsewhere each time
EXAMPLES = os.environ.get("LOEWNER_EXAMPLES")


@settings(max_examples=int(EXAMPLES or 150), derandomize=not EXAMPLES)
@given(problems)
def test_a_gradient_that_is_finite_and_certified_is_right(problem):
    frame, spectrum, terms, e, kind = problem
    q = REFLECTIONS[frame]
    if kind == "eigh":
        a, e = q @ np.diag(spectrum) @ q.T, e + e.T
        a = (a + a.T) / 2
    else:
        a = q @ np.diag(np.abs(spectrum)) @ REFLECTIONS["dyadic"]
    found = lw.certify(lambda a: loss(terms, *factors(kind, a), np.sin) + 0 * a[0, 0], a)
    g = found.gradient
    if not found.determined or not np.isfinite(g).all():
        return
    with mp.workdps(reference.DIGITS):
        true = derivative_50_digits(kind, terms, a, e)
    size = max(np.linalg.norm(g), sum(np.abs(c).max() for *_, c in terms)) * np.linalg.norm(e)
    # vectors are known to eps/gap, and what is divided by a gap moves with them
    values = np.unique(np.append(spectrum, [0.0] if kind == "svd" else []))
    gap = np.diff(np.unique(np.abs(values) if kind == "svd" else values)).min(initial=1.0)
    assert abs(float((g * e).sum()) - true) <= (1e-12 + 2e-14 / gap**2) * size
