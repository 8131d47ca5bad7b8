"""The problems: real input, and a loss that every route differentiates.

Each loss is written once, against an array namespace `xp` (NumPy, jax.numpy, PyTorch,
autograd.numpy or mpmath) and a `Linalg` (loewner or the namespace's own). It is a smooth
function of its parameters that does not depend on phases or on bases inside clusters, and
it uses every cluster of equal values as a whole, so that its derivative is determined by
what the decomposition returns.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import networkx as nx
import numpy as np
from ase.build import molecule
from sklearn.datasets import load_diabetes, load_digits, load_iris

Array = Any


class Linalg(Protocol):
    """What a loss may call; loewner's own functions have these signatures."""

    def svd(self, a: Array, full_matrices: bool = True) -> Any: ...
    def eigh(self, a: Array, b: Array | None = None) -> Any: ...
    def eigvalsh(self, a: Array) -> Array: ...
    def eig(self, a: Array) -> Any: ...
    def eigvals(self, a: Array) -> Array: ...


@dataclass(frozen=True)
class Problem:
    """A loss at one point: `loss(xp, la, x)` is a real scalar, x a real array.

    `order` is 1 for a gradient and 2 for a Hessian. The error is measured over the whole
    of it, or along `directions` fixed random directions where there are many parameters.
    """

    name: str
    operation: str
    story: str
    x: np.ndarray
    loss: Callable[[Any, Linalg, Array], Array]
    order: int = 1
    directions: int | None = None


# --- molecules -----------------------------------------------------------------------------


def carbons(name: str) -> np.ndarray:
    atoms = molecule(name)
    return atoms.positions[atoms.numbers == 6]


def bonds(positions: np.ndarray) -> np.ndarray:
    """Pairs i < j of carbon atoms closer than 1.6 Å."""
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    return np.argwhere(np.triu(distance < 1.6, 1))


def bond_matrices(pairs: np.ndarray, n: int) -> np.ndarray:
    """(n*n, bonds): times one value per bond it gives the symmetric matrix, flattened."""
    out = np.zeros((n, n, len(pairs)))
    for k, (i, j) in enumerate(pairs):
        out[i, j, k] = out[j, i, k] = 1.0
    return out.reshape(n * n, -1)


def pi_energy() -> Problem:
    positions = carbons("C6H6")
    pairs = bonds(positions)
    n = len(positions)
    scatter = bond_matrices(pairs, n)
    difference = np.eye(n)[pairs[:, 0]] - np.eye(n)[pairs[:, 1]]

    def loss(xp, la, x):
        r = xp.asarray(difference) @ x
        d = xp.sqrt(xp.sum(r * r, -1))
        h = (xp.asarray(scatter) @ -xp.exp(1.395 - d)).reshape(n, n)
        return 2 * xp.sum(la.eigvalsh(h)[: n // 2])

    return Problem(
        "Benzene: forces",
        "eigvalsh",
        "Hückel π energy of C6H6 (ase), hopping -exp(1.395 - d); by atom positions",
        positions,
        loss,
    )


def _bond_order(molecule: str, name: str, story: str, directions: int | None = None) -> Problem:
    positions = carbons(molecule)
    n = len(positions)
    pairs = bonds(positions)
    scatter = bond_matrices(pairs, n)
    i, j = pairs[0]

    def loss(xp, la, x):
        _, c = la.eigh((xp.asarray(scatter) @ x).reshape(n, n))
        occupied = c[:, : n // 2]
        return 2 * (occupied @ occupied.T)[i, j]

    return Problem(name, "eigh", story, -np.ones(len(pairs)), loss, directions=directions)


def bond_order() -> Problem:
    return _bond_order(
        "C6H6",
        "Benzene: bond order",
        "density-matrix element of a C-C bond, two degenerate pairs; by the six hoppings",
    )


def ring_current() -> Problem:
    positions = carbons("C6H6")
    n = len(positions)
    pairs = bonds(positions)
    angle = np.arctan2(positions[:, 1], positions[:, 0])
    around = np.argsort(angle)
    steps = np.stack([around, np.roll(around, -1)], axis=1)
    assert {frozenset(p) for p in pairs.tolist()} == {frozenset(p) for p in steps.tolist()}
    forward = np.zeros((n * n, n))
    backward = np.zeros((n * n, n))
    for k, (i, j) in enumerate(steps):
        forward[i * n + j, k] = 1.0
        backward[j * n + i, k] = 1.0
    i, j = steps[0]

    def loss(xp, la, x):
        turn = xp.exp(1j * x)
        complex_ = xp.asarray(forward + 0j), xp.asarray(backward + 0j)
        h = -(complex_[0] @ turn + complex_[1] @ xp.conj(turn)).reshape(n, n)
        _, c = la.eigh(h)
        occupied = c[:, : n // 2]
        density = 2 * (occupied @ xp.conj(occupied).T)
        return 2 * xp.imag(density[j, i] * h[i, j])

    return Problem(
        "Benzene: ring current",
        "eigh, complex",
        "London's current through one bond; by the Peierls phases of the six bonds, at no field",
        np.zeros(n),
        loss,
    )


def polarizability() -> Problem:
    positions = carbons("C6H6")
    n = len(positions)
    pairs = bonds(positions)
    h0 = -(bond_matrices(pairs, n) @ np.ones(len(pairs))).reshape(n, n)
    dipole = np.zeros((n, n, 2))
    dipole[np.arange(n), np.arange(n)] = positions[:, :2]
    dipole = dipole.reshape(n * n, 2)

    def loss(xp, la, x):
        h = xp.asarray(h0) + (xp.asarray(dipole) @ x).reshape(n, n)
        return 2 * xp.sum(la.eigvalsh(h)[: n // 2])

    return Problem(
        "Benzene: polarizability",
        "eigvalsh, Hessian",
        "second derivative of the π energy by the electric field, at no field",
        np.zeros(2),
        loss,
        order=2,
    )


def exceptional_point() -> Problem:
    positions = carbons("C6H6")
    n = len(positions)
    pairs = bonds(positions)
    scatter = bond_matrices(pairs, n)
    around = np.argsort(np.argsort(np.arctan2(positions[:, 1], positions[:, 0])))
    gain = np.diag(1j * (-1.0) ** around)

    def loss(xp, la, x):
        h = (xp.asarray(scatter) @ x).reshape(n, n) + xp.asarray(gain)
        return xp.max(xp.real(la.eigvals(h)))

    return Problem(
        "Benzene: exceptional point",
        "eigvals",
        "simple top level of a ring with gain and loss, where others coalesce; by the hoppings",
        np.ones(len(pairs)),
        loss,
    )


def fullerene() -> Problem:
    return _bond_order(
        "C60",
        "C60: bond order",
        "the same for buckminsterfullerene, levels up to nine-fold; by its 90 hoppings",
        directions=2,
    )


def methane() -> Problem:
    atoms = molecule("CH4")
    per_bohr2 = 0.529177**-2
    # C 2s, C 2p (x, y, z) and four H 1s as single Gaussians (STO-1G), in 1/Å²
    alpha = per_bohr2 * np.array(
        [0.1012 * 1.625**2] + [0.1760 * 1.625**2] * 3 + [0.2710 * 1.3**2] * 4
    )
    level = np.array([-21.4] + [-11.4] * 3 + [-13.6] * 4)  # eV, Hoffmann (1963)
    centre = np.array([0, 0, 0, 0, 1, 2, 3, 4])
    axis = np.zeros((8, 3))
    axis[1:4] = np.eye(3)
    n = len(alpha)
    mu = alpha[:, None] * alpha / (alpha[:, None] + alpha)
    scale = (2 * mu / np.sqrt(alpha[:, None] * alpha)) ** 1.5
    is_s = 1.0 - axis.sum(1)
    left, right = -2 * mu / np.sqrt(alpha)[:, None], 2 * mu / np.sqrt(alpha)
    same_axis = 2 * mu / np.sqrt(alpha[:, None] * alpha) * (axis @ axis.T)
    wolfsberg = 1.75 * (level[:, None] + level) / 2
    np.fill_diagonal(wolfsberg, level)
    gather = np.eye(5)[centre]
    bond = 2.0 * np.outer(centre == 0, centre == 1)

    def loss(xp, la, x):
        r = xp.asarray(gather) @ x
        e = xp.asarray(axis)
        between = r[:, None, :] - r[None, :, :]
        gauss = xp.asarray(scale) * xp.exp(-xp.asarray(mu) * xp.sum(between * between, -1))
        along = r @ e.T
        own = xp.sum(r * e, -1)
        # a p function is the derivative of an s function by its centre
        of_left = xp.asarray(is_s)[:, None] + xp.asarray(left) * (own[:, None] - along.T)
        of_right = xp.asarray(is_s)[None, :] + xp.asarray(right) * (along - own[None, :])
        s = gauss * (of_left * of_right + xp.asarray(same_axis))
        _, c = la.eigh(xp.asarray(wolfsberg) * s, s)
        occupied = c[:, : n // 2]
        return 2 * xp.sum(xp.asarray(bond) * (occupied @ occupied.T) * s)

    return Problem(
        "Methane: overlap population",
        "eigh(a, b)",
        "extended Hückel, C-H bond of CH4 (ase), triply degenerate; by atom positions",
        atoms.positions,
        loss,
    )


# --- graphs --------------------------------------------------------------------------------


def karate() -> Problem:
    graph = nx.karate_club_graph()
    n = graph.number_of_nodes()
    edges = np.array(graph.edges)
    incidence = np.eye(n)[edges[:, 0]] - np.eye(n)[edges[:, 1]]
    laplacians = (incidence[:, :, None] * incidence[:, None, :]).reshape(len(edges), -1).T
    club = np.array([1.0 if graph.nodes[v]["club"] == "Mr. Hi" else -1.0 for v in graph])

    def loss(xp, la, x):
        _, v = la.eigh((xp.asarray(laplacians) @ x).reshape(n, n))
        coefficients = v[:, :14].T @ xp.asarray(club)
        return xp.sum(coefficients * coefficients) / n

    return Problem(
        "Karate club: low-pass filter",
        "eigh",
        "share of the factions in the graph frequencies <= 2 (2 is five-fold); by tie strengths",
        np.ones(len(edges)),
        loss,
        directions=3,
    )


def pagerank() -> Problem:
    graph = nx.florentine_families_graph()
    nodes = list(graph)
    n = len(nodes)
    pairs = np.array([(nodes.index(a), nodes.index(b)) for a, b in graph.edges])
    scatter = bond_matrices(pairs, n)
    medici = nodes.index("Medici")

    def loss(xp, la, x):
        ties = (xp.asarray(scatter) @ x).reshape(n, n)
        w, v = la.eig(0.85 * ties / xp.sum(ties, 0) + 0.15 / n)
        rank = v[:, xp.argmax(xp.real(w))]
        return xp.real(rank[medici] / xp.sum(rank))

    return Problem(
        "Florence: PageRank",
        "eig",
        "PageRank of the Medici among the Florentine families; by the marriage ties",
        np.ones(len(pairs)),
        loss,
        directions=3,
    )


# --- measurements --------------------------------------------------------------------------


def iris() -> Problem:
    x = load_iris(return_X_y=True)[0]

    def loss(xp, la, x):
        _, _, vh = la.svd(x - xp.sum(x, 0) / len(x), full_matrices=False)
        return vh[0, 2] ** 2

    return Problem(
        "Iris: principal axis",
        "svd",
        "weight of petal length in the first principal component; by the 150 x 4 measurements",
        x,
        loss,
        directions=3,
    )


def digits() -> Problem:
    images = load_digits(return_X_y=True)[0].reshape(-1, 8, 8) / 16
    model, other = images[2], images[12]

    def loss(xp, la, x):
        u, _, vh = la.svd(x, full_matrices=False)
        coded = u[:, :3].T @ xp.asarray(other) @ vh[:3].T
        return xp.sum(coded * coded)

    return Problem(
        "Digits: singular basis",
        "svd",
        "energy of one 2 in three singular pairs of another, of rank 6; by its 8 x 8 pixels",
        model,
        loss,
    )


def residual() -> Problem:
    x, y = (np.asarray(part)[:30] for part in load_diabetes(return_X_y=True))
    k = x.shape[1]

    def loss(xp, la, x):
        u, _, _ = la.svd(x, full_matrices=True)
        rest = u[:, k:].T @ xp.asarray(y)
        return xp.sum(rest * rest)

    return Problem(
        "Diabetes: residual",
        "svd, full_matrices",
        "least-squares residual in the null-space frame; by the measurements of 30 patients",
        x,
        loss,
        directions=3,
    )


def ring_normal() -> Problem:
    atoms = molecule("C5H5N")
    kilograms = atoms.get_masses() * 1.66053907e-27
    x = np.sqrt(kilograms)[:, None] * (atoms.positions * 1e-10)
    field = np.array([2.0, 3.0, 6.0], dtype=np.float32) / 7

    def loss(xp, la, x):
        _, _, vh = la.svd(x, full_matrices=False)
        cosine = vh[2] @ xp.asarray(field)
        return (3 * cosine * cosine - 1) / 2

    return Problem(
        "Pyridine: ring normal in SI",
        "svd, float32",
        "dipolar factor (3 cos² t - 1)/2 of the normal; by coordinates in √kg m, of size 1e-23",
        x.astype(np.float32),
        loss,
    )


@functools.cache
def problems() -> dict[str, Problem]:
    makers = (
        pi_energy,
        iris,
        pagerank,
        bond_order,
        ring_current,
        fullerene,
        methane,
        karate,
        polarizability,
        digits,
        residual,
        ring_normal,
        exceptional_point,
    )
    return {p.name: p for p in (make() for make in makers)}
