"""The picture: all errors on one scale, two gradients on their molecules, and the loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from ase.build import molecule

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.collections import LineCollection
from matplotlib.colors import TwoSlopeNorm

import loewner as lw

from .loops import LOOPS, WAYS
from .problems import bonds, carbons, copies, on_carbons, problems
from .routes import ROUTES

# Okabe and Ito's colours, which do not rely on telling red from green
BLUE, ORANGE, VERMILION, PURPLE, GREY = "#0072B2", "#E69F00", "#D55E00", "#CC79A7", "#666666"
GREEN = "#009E73"
STYLES = {
    "jnp.linalg": dict(color=ORANGE, marker="s"),
    "torch.linalg": dict(color=VERMILION, marker="^"),
    "autograd.numpy.linalg": dict(color=PURPLE, marker="D"),
}
LOEWNER = dict(color=BLUE, marker="o")
# for the ways through a loop, in their order
COURSES = (
    dict(color=BLUE, lw=3.5),
    dict(color=BLUE, marker="o", ms=6, mfc="white", ls="", markevery=0.1),
    dict(color=VERMILION, lw=1.5, marker="x", ms=10, mew=2.5, zorder=4),
    dict(color=ORANGE, lw=1.5, marker="+", ms=13, mew=2.5, zorder=4),
    dict(color=GREEN, lw=1.8, ls="-."),
    dict(color=PURPLE, lw=1.5, ls="--"),
    dict(color="black", lw=1.2, ls=":"),
)
NAN, RAISES = 3e2, 3e5  # abscissae of the two columns beyond the scale


def draw(
    results: Mapping[str, Sequence[Any]], courses: Mapping[str, Sequence[Any]], path: Path
) -> None:
    plt.rcParams.update({"font.size": 9, "axes.titlesize": 10, "axes.titlelocation": "left"})
    figure = plt.figure(figsize=(13, 12.5), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=[2.3, 1])
    above, below = parts
    left, right = above.subfigures(1, 2, width_ratios=[2.1, 1])
    errors(left.subplots(), results)
    top, bottom = right.subplots(2, 1, height_ratios=[1.5, 1])
    fullerene(top, results["C60: bond order"])
    methane(bottom, results["Methane: overlap population"])
    descents(below, courses)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def errors(ax: Any, results: Mapping[str, Sequence[Any]]) -> None:
    lanes = [-0.36, -0.28, -0.20, -0.12, 0.04, 0.2, 0.36]
    for row, (name, outcomes) in enumerate(results.items()):
        eps = float(np.finfo(problems()[name].x.dtype).eps)
        if row % 2 == 0:
            ax.axhspan(row - 0.5, row + 0.5, color="#f4f4f4", lw=0, zorder=0)
        ax.plot([eps, eps], [row - 0.5, row + 0.5], color="#bbbbbb", lw=1.2, zorder=1)
        for lane, route, found in zip(lanes, ROUTES, outcomes, strict=True):
            x = RAISES if found.raised else NAN if np.isnan(found.error) else found.error
            style = LOEWNER if route.loewner else STYLES[route.name]
            ax.plot(max(x, 3e-17), row + lane, ls="", ms=5, mec="white", mew=0.4, zorder=3, **style)
    count = len(results)
    ax.set_xscale("log")
    ax.set_xlim(2e-17, 1e7)
    ax.set_ylim(count - 0.5, -0.5)
    ax.axvspan(1e1, 1e7, color="#fbe9e0", lw=0, zorder=0.5)
    ax.axvline(1e4, color="white", lw=2, zorder=0.6)
    ticks = [1e-16, 1e-13, 1e-10, 1e-7, 1e-4, 1e-1]
    labels = [f"$10^{{{round(np.log10(t))}}}$" for t in ticks]
    ax.set_xticks([*ticks, NAN, RAISES], [*labels, "NaN", "raises"])
    ax.xaxis.minorticks_off()
    ax.set_yticks(range(count), [f"{p.name}\n{p.operation}" for p in problems().values()])
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", color="#dddddd", lw=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.set_xlabel("relative error of the gradient (of the Hessian), against mpmath")
    for label, style in {
        "loewner in NumPy, JAX, PyTorch, autograd": LOEWNER,
        **STYLES,
        "machine epsilon": dict(color="#bbbbbb", marker="|"),
    }.items():
        ax.plot([], [], ls="", ms=8 if label.startswith("machine") else 5, label=label, **style)
    ax.legend(
        loc="lower left",
        bbox_to_anchor=(-0.05, 1.0),
        ncols=3,
        frameon=False,
        handletextpad=0.1,
        columnspacing=1.2,
    )


def verdicts(outcomes: Sequence[Any]) -> str:
    """What the frameworks' own linalg made of it, in one line."""
    said = [
        "raises" if found.raised else "NaN" if np.isnan(found.error) else f"{found.error:.1g}"
        for found in outcomes
    ]
    return "errors: " + ", ".join(
        f"{route.name.split('.')[0]} {what}"
        for route, what in zip(ROUTES, said, strict=True)
        if not route.loewner
    )


def usable(found: Any) -> bool:
    return found.derivative is not None and bool(np.isfinite(found.derivative).all())


def projection(view: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Two rows that map points to the page, and a third that is their height above it."""
    view = view / np.linalg.norm(view)
    up = up - (up @ view) * view
    up = up / np.linalg.norm(up)
    return np.stack([np.cross(up, view), up, view])


def fullerene(ax: Any, outcomes: Sequence[Any]) -> None:
    ax.set_title(f"C60: one bond order by all hoppings, with loewner\n{verdicts(outcomes)}")
    ax.axis("off")
    if not usable(outcomes[0]):
        return
    positions = carbons("C60")
    positions = positions - positions.mean(0)
    pairs = bonds(positions)
    gradient = outcomes[0].derivative
    own = positions[pairs[0]].mean(0)
    x, y, z = projection(own + np.array([0.0, 1.2, 0.9]), own) @ positions.T
    depth = z[pairs].mean(1)
    order = np.argsort(depth)
    segments = np.stack([x[pairs], y[pairs]], axis=-1)[order]
    limit = np.abs(gradient[1:]).max()
    nearness = (depth[order] - depth.min()) / np.ptp(depth)
    widths = 1.0 + 4.0 * nearness**1.5
    ax.add_collection(LineCollection(list(segments), colors="#c8c8c8", linewidths=list(widths + 1)))
    lines = LineCollection(
        list(segments),
        cmap="BrBG",
        norm=TwoSlopeNorm(0, -limit, limit),
        linewidths=list(widths),
        capstyle="round",
    )
    lines.set_array(gradient[order])
    ax.add_collection(lines)
    a, b = segments[np.flatnonzero(order == 0)[0]]
    ax.annotate(
        "this bond",
        (a + b) / 2,
        xytext=(14, 18),
        textcoords="offset points",
        arrowprops=dict(arrowstyle="-", color=GREY),
        color="black",
    )
    ax.set_aspect("equal")
    ax.autoscale_view()
    bar = ax.figure.colorbar(lines, ax=ax, shrink=0.7, pad=0.01)
    bar.outline.set_visible(False)


def methane(ax: Any, outcomes: Sequence[Any]) -> None:
    """The three other bonds must have the same influence on the first."""
    positions = molecule("CH4").positions
    outward = positions[2:] / np.linalg.norm(positions[2:], axis=1, keepdims=True)
    lanes = [-0.15] * 4 + [-0.05, 0.05, 0.15]
    for lane, route, found in zip(lanes, ROUTES, outcomes, strict=True):
        if not usable(found):
            continue
        stretch = (found.derivative[2:] * outward).sum(1)
        style = LOEWNER if route.loewner else STYLES[route.name]
        if route is ROUTES[0]:
            ax.axvline(stretch.mean(), color=BLUE, lw=1, zorder=1)
        ax.plot(stretch, np.arange(3) + lane, ls="", ms=7, mec="white", mew=0.5, zorder=3, **style)
    ax.set_yticks(range(3), ["C-H 2", "C-H 3", "C-H 4"])
    ax.set_ylim(2.5, -0.5)
    ax.margins(x=0.1)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", color="#dddddd", lw=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.set_xlabel("derivative of the overlap population of C-H 1, per Å")
    ax.set_title(f"CH4: stretching another bond, equal by symmetry\n{verdicts(outcomes)}")


def descents(figure: Any, courses: Mapping[str, Sequence[Any]]) -> None:
    """The losses in the loops; a cross where the gradient is NaN."""
    axes = figure.subplots(1, len(LOOPS))
    for ax, loop in zip(axes, LOOPS, strict=True):
        descent(ax, loop, courses[loop.problem])
        if not loop.batch:
            found = courses[loop.problem][0]
            superposed(ax.inset_axes((0.5, 0.42, 0.5, 0.58)), problems()[loop.problem].x, found.x)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=len(WAYS), frameon=False)


def descent(ax: Any, loop: Any, courses: Sequence[Any]) -> None:
    broken = {w.name: c.losses for w, c in zip(WAYS, courses, strict=True) if np.isnan(c.end)}
    for way, style, found in zip(WAYS, COURSES, courses, strict=True):
        if style.get("marker") in ("x", "+"):
            style = style | (dict(markevery=[-1]) if way.name in broken else dict(marker=""))
        block = 10 if loop.batch and way.name not in broken else 1
        losses = found.losses.reshape(-1, block).mean(1)
        steps = block * np.arange(len(losses)) + (block + 1) / 2
        ax.plot(steps, losses, label=way.name, **style)
    for row, (name, losses) in enumerate(broken.items()):
        ax.annotate(
            f"{name}: NaN at step {len(losses)}",
            (len(losses), losses[-1]),
            xytext=(11, 14 - 12 * row),
            textcoords="offset points",
        )
    ends = {w.name: c.end for w, c in zip(WAYS, courses, strict=True)}
    said = f"loewner {ends['loewner, PyTorch']:.3f}, detached {ends['torch, detached']:.3f}"
    where = "on images kept back" if loop.batch else "at the end"
    ax.set_title(f"{loop.problem}\n{where}: {said}")
    ax.set_xscale("linear" if loop.batch else "log")
    bottom, top = ax.get_ylim()
    ax.set_ylim(bottom, top + 0.25 * (top - bottom))
    ax.set_xlabel("step of Adam, in float32")
    ax.set_ylabel(loop.quantity)
    ax.grid(axis="y", color="#dddddd", lw=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def superposed(ax: Any, start: np.ndarray, end: np.ndarray) -> None:
    """The copies on the molecule as it starts, with its hydrogens at the end."""

    def on_start(q):
        r, t = lw.align(start, q, on_carbons(start))
        return (q - t[..., None, :]) @ r

    n = len(start) // 2
    view = projection(np.array([0.5, 0.3, 0.8]), np.array([0.0, 1.0, 0.0]))[:2]
    pairs = bonds(start)
    ax.add_collection(LineCollection(list((start @ view.T)[pairs]), colors="#b0b0b0", linewidths=3))
    for atoms, style in (
        (on_start(copies(start))[:, n:], dict(color=ORANGE, ms=1.5, label="copies")),
        (start[n:], dict(color="white", mec=GREY, ms=5, label="H, start")),
        (on_start(end.astype(float))[n:], dict(color=BLUE, ms=5, label="end")),
    ):
        ax.plot(*(atoms.reshape(-1, 3) @ view.T).T, ls="", marker="o", **style)
    ax.set_aspect("equal")
    ax.axis("off")
    ax.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, 0.06),
        ncols=3,
        frameon=False,
        fontsize=8,
        handletextpad=0,
        columnspacing=0.5,
    )
