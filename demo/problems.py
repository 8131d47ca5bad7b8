"""The problems: real input, and a loss that every route differentiates.

Each loss is written once, against an array namespace `xp` (NumPy, jax.numpy, PyTorch,
autograd.numpy or mpmath) and a `Linalg` (loewner or the namespace's own). It is a smooth
function of its parameters that does not depend on phases or on bases inside clusters, and
it uses every cluster of equal values as a whole, so that its derivative is determined by
what the decomposition returns.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import networkx as nx
import numpy as np
from ase.build import molecule
from sklearn.datasets import load_diabetes, load_digits, load_iris

from .textbook import transposed

Array = Any


class Linalg(Protocol):
    """What a loss may call; loewner's own functions have these signatures."""

    def svd(self, a: Array, full_matrices: bool = True) -> Any: ...
    def eigh(self, a: Array, b: Array | None = None) -> Any: ...
    def eigvalsh(self, a: Array) -> Array: ...
    def eig(self, a: Array) -> Any: ...
    def eigvals(self, a: Array) -> Array: ...
    def align(self, p: Array, q: Array, weights: Array) -> Any: ...
    def sqrtm(self, a: Array, hermitian: bool = True) -> Array: ...


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


# --- parts of optimisation loops -----------------------------------------------------------


def copies(positions: np.ndarray) -> np.ndarray:
    """Sixteen copies of C_n H_n, turned and shifted at random; the first of a planar one mirrored.

    The hydrogens are displaced, by the same in all copies, and by noise. The carbons have the
    frame of the molecule itself, as builders and the refinement of rigid groups leave it.
    """
    rng = np.random.default_rng(0)
    carbons, hydrogens = np.split(positions, 2)
    moved = hydrogens + 0.3 * rng.standard_normal(hydrogens.shape)
    noisy = moved + 0.08 * rng.standard_normal((16, *moved.shape))
    out = np.concatenate([np.tile(carbons, (16, 1, 1)), noisy], axis=1)
    if not carbons[:, 2].any():
        out[0] *= [-1, 1, 1]
    turn = np.linalg.qr(rng.standard_normal((16, 3, 3)))[0]
    turn *= np.linalg.det(turn)[:, None, None]
    return out @ turn + 3 * rng.standard_normal((16, 1, 3))


def on_carbons(positions: np.ndarray) -> np.ndarray:
    """Weights for an alignment by the carbons, the first half of the atoms."""
    return np.repeat([1.0, 0.0], len(positions) // 2)


def superposition(name: str, story: str, positions: np.ndarray) -> Problem:
    """Hydrogens drawn to where they are in copies, once their carbons lie on each other.

    Springs hold the molecule together. What draws a hydrogen turns the frame of carbons
    the other way, through the alignment.
    """
    n = len(positions)
    measured = copies(positions)
    ends = np.argwhere(np.triu(np.linalg.norm(positions[:, None] - positions, axis=-1) < 2.8, 1))
    difference = np.eye(n)[ends[:, 0]] - np.eye(n)[ends[:, 1]]
    lengths = np.linalg.norm(difference @ positions, axis=-1)
    constants = measured, on_carbons(positions), difference, lengths

    def loss(xp, la, x):
        data, weights, springs, rest = (xp.asarray(c, dtype=x.dtype) for c in constants)
        r, t = la.align(x, data, weights)
        miss = x[n // 2 :] @ transposed(r) + t[:, None, :] - data[:, n // 2 :]
        spring = springs @ x
        strain = xp.sqrt(xp.sum(spring * spring, -1)) - rest
        return xp.sum(miss * miss) / len(measured) + xp.sum(strain * strain)

    return Problem(name, "align", story, positions, loss)


def superposed_benzene() -> Problem:
    # a hexagon to all digits, where the positions in ase have six
    radii = np.linalg.norm(molecule("C6H6").positions, axis=1)
    angle = np.arange(6) * np.pi / 3
    hexagon = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    return superposition(
        "Benzene: superposition",
        "misfit of H to 16 noisy copies laid on by C, one of them mirrored; by atom positions",
        np.concatenate([radii[0] * hexagon, radii[6] * hexagon]),
    )


def superposed_cubane() -> Problem:
    cube = np.array(list(itertools.product([-0.5, 0.5], repeat=3)))
    return superposition(
        "Cubane: superposition",
        "the same for C8H8 (C-C 1.57, C-H 1.10 Å), with three equal singular values",
        np.concatenate([1.57 * cube, (1.57 + 2.20 / np.sqrt(3)) * cube]),
    )


def pooling() -> Problem:
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8) / 16
    windows = np.lib.stride_tricks.sliding_window_view(images, (3, 3), axis=(1, 2))
    patches = windows.reshape(len(images), 36, 9)
    one_hot = np.eye(10)[labels]
    channels = 32
    upper = np.triu_indices(channels)
    split = 9 * channels
    rng = np.random.default_rng(0)
    filters = 0.3 * rng.standard_normal(split)
    classifier = 0.1 * rng.standard_normal(len(upper[0]) * 10)

    # some filters are dark on both of these images, which leaves 1e-4 as a repeated eigenvalue
    some = np.array([8, 20])

    def loss(xp, la, x, chosen=some):
        image, label, unit = (
            xp.asarray(c, dtype=x.dtype) for c in (patches, one_hot, 1e-4 * np.eye(channels))
        )
        image, label = image[chosen], label[chosen]
        h = image @ x[:split].reshape(9, channels)
        h = (h + xp.abs(h)) / 2
        h = h - xp.sum(h, -2)[:, None, :] / 36
        root = la.sqrtm(transposed(h) @ h / 36 + unit, hermitian=True)
        score = root[:, upper[0], upper[1]] @ x[split:].reshape(-1, 10)
        score = score - xp.sum(score * label, -1)[:, None]
        return xp.sum(xp.log(xp.sum(xp.exp(score), -1))) / len(label)

    return Problem(
        "Digits: covariance pooling",
        "sqrtm",
        "cross entropy of a classifier of roots of covariances; by 32 filters and its weights",
        np.concatenate([filters, classifier]),
        loss,
        directions=3,
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
        superposed_benzene,
        superposed_cubane,
        pooling,
    )
    return {p.name: p for p in (make() for make in makers)}
