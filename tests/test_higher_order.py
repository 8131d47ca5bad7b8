"""Third order, and the examples of second order at exact repeats."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
import reference
import torch
from bench import FRAMEWORKS, inner
from cases import Case, loss

import loewner as lw

THIRD = [
    # the complex fields and the square SVD take their time
    pytest.param(
        case := Case(function, field, shape, kind),
        id=str(case),
        marks=[pytest.mark.slow]
        if field == "complex" or (function, shape) == ("svd", "square")
        else [],
    )
    for function, shape in (
        ("svd", "tall"),
        ("svd", "square"),
        ("eigh", "square"),
        ("eigh-ab", "square"),
        ("eig", "square"),
    )
    for field in ("real", "complex")
    for kind in ("distinct", "repeated", "triple", "deficient")
]


def third_derivative_in_50_digits(case: Case) -> float:
    with mp.workdps(reference.DIGITS):
        a = [reference.matrix(x) for x in case.matrices()]
        e = [reference.matrix(x) for x in case.directions(1)[0]]
        step = mp.mpf(10) ** -20

        def at(t):
            return reference.loss(case, *(x + t * step * y for x, y in zip(a, e, strict=True)))

        return float((at(2) - 2 * at(1) + 2 * at(-1) - at(-2)) / (2 * step**3))


@pytest.mark.parametrize("case", THIRD)
def test_third_derivatives_are_those_of_50_digits_also_at_exact_repeats(case):
    a = case.matrices()
    (e,) = case.directions(1)
    true = third_derivative_in_50_digits(case)
    bound = 100 * case.tolerance * max(abs(true), 1e-2)

    f = loss(case, lw, FRAMEWORKS[0])
    first = lambda *a: lw.jvp(f, a, e)[1]  # noqa: E731
    second = lambda *a: lw.jvp(first, a, e)[1]  # noqa: E731
    assert abs(float(lw.jvp(second, a, e)[1]) - true) <= bound
    (*g,) = lw.vjp(second, *a)[1](np.array(1.0))
    assert abs(inner(g, e) - true) <= bound

    f = loss(case, lw, FRAMEWORKS[1])
    aj, ej = (tuple(jnp.asarray(x) for x in y) for y in (a, e))
    first_j = lambda *a: jax.jvp(f, a, ej)[1]  # noqa: E731
    second_j = lambda *a: jax.jvp(first_j, a, ej)[1]  # noqa: E731
    assert abs(float(jax.jvp(second_j, aj, ej)[1]) - true) <= bound
    everything = tuple(range(len(a)))
    g = jax.grad(second_j, argnums=everything)(*aj)
    assert abs(inner([jnp.conj(x) for x in g], ej) - true) <= bound

    f = loss(case, lw, FRAMEWORKS[2])
    leaves = [torch.as_tensor(x).requires_grad_() for x in a]
    et = [torch.as_tensor(x) for x in e]
    value = f(*leaves)
    for _ in range(3):
        g = torch.autograd.grad(value, leaves, create_graph=True)
        products = [(x.conj() * y).real.sum() for x, y in zip(et, g, strict=True)]
        value = torch.stack(products).sum()
    assert abs(float(value.detach()) - true) <= bound


def test_hessian_of_the_sum_of_the_eigenvalues_is_zero_at_a_repeat():
    a = np.diag([1.0, 1.0, 1.0, 3.0])
    q = np.eye(4) - 0.5 * np.ones((4, 4))
    hessian = jax.hessian(lambda a: lw.eigvalsh(a).sum())(jnp.asarray(q @ a @ q))
    assert np.abs(hessian).max() < 1e-15
    hessian = torch.func.hessian(lambda a: lw.eigvalsh(a).sum())(torch.as_tensor(q @ a @ q))
    assert hessian.abs().max() < 1e-15


def test_a_hessian_at_a_triple_eigenvalue_needs_the_tangent_inside_the_cluster():
    # masking the gaps alone gives the first derivative right and this one wrong
    case = Case("eigh", "real", "square", "triple")
    a = case.matrices()
    e, h = case.directions(2)
    _, _, _, true = reference.derivatives(case)
    fw = FRAMEWORKS[0]
    f = loss(case, lw, fw)

    def masked(a):
        w, v = np.linalg.eigh(a)
        gap = w[None, :] - w[:, None]
        far = np.abs(gap) > 1e-10
        return w, v, np.where(far, 1 / np.where(far, gap, 1), 0)

    def gradient(a):
        w, v, g = masked(a)
        gw, gv = lw.vjp(f_of, w, v)[1](np.array(1.0))
        z = v.T @ gv
        return v @ (g * (z - z.T) / 2 + np.diag(gw)) @ v.T

    c = case.weights(1)[0][:4, :4]

    def f_of(w, v):
        total = 0.0
        for group in case.groups:
            i, j = group[0], group[-1] + 1
            t = (c * (v[:, i:j] @ v[:, i:j].T)).sum()
            s = w[i:j].sum() / case.scale
            total = total + t + 0.3 * t * t + s * s * s + s * t
        return total

    assert np.allclose(gradient(a[0]), fw.grad(f, a)[0], atol=1e-12)
    # the masked rule differentiated by the chain rule through (w, v) with masked tangents
    w, v, g = masked(a[0])
    p = v.T @ h[0] @ v
    step = 1e-5

    def moved(t):
        turned = v + t * v @ (g * p)
        return w + t * np.diag(p), turned

    def rule(w, v):
        gw, gv = lw.vjp(f_of, w, v)[1](np.array(1.0))
        gap = w[None, :] - w[:, None]
        z = v.T @ gv
        safe = np.where(g != 0, 1 / np.where(g != 0, gap, 1), 0)
        return v @ (safe * (z - z.T) / 2 + np.diag(gw)) @ v.T

    wrong = np.sum((rule(*moved(step)) - rule(*moved(-step))) * e[0]) / (2 * step)
    right = fw.seconds(f, a, e, h)["forward over reverse"]
    assert abs(right - true) < 1e-12 * abs(true)
    assert abs(wrong - true) > 1e-2 * abs(true)
