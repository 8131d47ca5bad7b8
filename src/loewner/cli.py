"""The command line: ``loewner inspect FILE``, or ``python -m loewner inspect FILE``."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import benchmark, census
from ._inspect import Inspection, inspect_matrix, plain_table, rich_table

_WORST = 10  # matrices of a stack that are listed
_LONG = 200  # clusters that take long enough for a progress bar


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments, by default those of the process.

    Returns
    -------
    int
        0; 1 if the census finds a silently wrong result of loewner; 2 if the input cannot be
        used, for a reason that is on stderr.

    Raises
    ------
    SystemExit
        For ``--help``, and with code 2 for arguments that are not understood.

    Examples
    --------
    >>> from loewner.cli import main
    >>> main(["inspect", "nowhere.npy"])
    2
    """
    parser = argparse.ArgumentParser(
        prog="loewner", description="Differentiable spectral decompositions."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_inspect(commands)
    census.add_arguments(commands.add_parser("census", help=census.HELP, description=census.HELP))
    benchmark.add_arguments(
        commands.add_parser("bench", help=benchmark.HELP, description=benchmark.HELP)
    )
    arguments = parser.parse_args(argv)
    try:
        return arguments.run(arguments) or 0
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}")
    except (ValueError, TypeError, ImportError) as error:
        return _fail(error)


def _fail(reason: object) -> int:
    print(f"loewner: error: {reason}", file=sys.stderr)
    return 2


def _add_inspect(commands: Any) -> None:
    text = "Report clusters, gaps and the digits to expect in derivatives of a matrix."
    parser = commands.add_parser("inspect", help=text, description=text)
    parser.add_argument("file", metavar="FILE", type=Path, help=".npy, .npz, .mtx or .csv")
    parser.add_argument(
        "--kind",
        choices=("auto", "eigh", "svd", "eig"),
        default="auto",
        help="the decomposition; by default the one that suits the matrix",
    )
    parser.add_argument("--name", help="which array of an .npz file")
    parser.add_argument(
        "--plot", metavar="OUT", type=Path, help="a file for a drawing, of a stack of its worst"
    )
    parser.set_defaults(run=_inspect)


def _inspect(arguments: argparse.Namespace) -> None:
    a = _read(arguments.file, arguments.name)
    if a.ndim < 2:
        raise ValueError(f"{arguments.file}: a matrix is needed, not an array of shape {a.shape}")
    if a.ndim == 2:
        report = inspect_matrix(a, arguments.kind, _progress)
        _show(report)
    else:
        report = _inspect_stack(a, arguments.kind)
    if arguments.plot:
        _save(report, arguments.plot)


def _inspect_stack(a: np.ndarray, kind: Any) -> Inspection:
    """Show the worst matrices of a stack, and return the report of the very worst."""
    places = list(np.ndindex(a.shape[:-2]))
    if not places:
        raise ValueError(f"the stack is empty, its shape is {a.shape}")
    found = [(inspect_matrix(a[i], kind, iter), i) for i in _progress(places, least=2)]
    found.sort(key=lambda pair: sorted(map(_least, _digits(pair[0]))))
    head = ["matrix", "kind", "equal", "gap/|A|", "values", "vectors", "projectors"]
    rows = [
        [
            ", ".join(map(str, place)),
            report.kind,
            str(sum(len(c) for c in report.clusters if len(c) > 1)),
            f"{np.min(report.gaps) / (report.norm or 1.0):.1e}",
            *("-" if np.isnan(d).any() else str(int(np.min(d))) for d in _digits(report)),
        ]
        for report, place in found[:_WORST]
    ]
    count = f"the worst {len(rows)} of" if len(rows) < len(places) else "all"
    m, n = a.shape[-2:]
    print(f"{count} {len(places)} matrices, {m} x {n}, {found[0][0].dtype}")
    print("equal: how many values coincide with others; digits: the least in each matrix")
    print()
    _show(rich_table([head, *rows]) if _has_rich() else plain_table([head, *rows]))
    return found[0][0]


def _digits(report: Inspection) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return report.digits_values, report.digits_vectors, report.digits_projectors


def _least(digits: np.ndarray) -> float:
    return float(np.min(np.nan_to_num(digits, nan=-1.0)))


def _save(report: Inspection, path: Path) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("--plot needs matplotlib: pip install matplotlib") from None
    figure = Figure(figsize=(11, 5), layout="constrained")
    report.plot(figure)
    figure.savefig(path, dpi=150)


def _has_rich() -> bool:
    return importlib.util.find_spec("rich") is not None


def _show(report: Any) -> None:
    if _has_rich():
        from rich.console import Console

        Console(highlight=False).print(report)
    else:
        print(report)


def _progress(items: Sequence[Any], least: int = _LONG) -> Iterable[Any]:
    """The items, with a progress bar on a terminal if they are many."""
    if len(items) < least or not _has_rich() or not sys.stderr.isatty():
        return items
    from rich.console import Console
    from rich.progress import track

    return track(items, "inspecting", console=Console(stderr=True), transient=True)


def _read(path: Path, name: str | None) -> np.ndarray:
    """The array in a file; ValueError or OSError if there is none."""
    path.open("rb").close()  # before the readers, each of which has its own words for no file
    suffix = path.suffix.lower()
    try:
        if suffix in (".npy", ".npz"):
            return _read_numpy(path, name)
        if suffix == ".mtx":
            return _read_mtx(path)
        if suffix == ".csv":
            return _read_csv(path)
        raise ValueError("only .npy, .npz, .mtx and .csv can be read")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _read_numpy(path: Path, name: str | None) -> np.ndarray:
    try:
        found = np.load(path)
        arrays = dict(found) if isinstance(found, Mapping) else {name: found}
    except (ValueError, EOFError, zipfile.BadZipFile):
        raise ValueError("there are no arrays of numbers in NumPy's format in it") from None
    names = ", ".join(str(x) for x in arrays)
    if name is None and len(arrays) == 1:
        (name,) = arrays
    if name is None and None not in arrays:
        raise ValueError(f"choose one of its arrays with --name: {names}")
    if name not in arrays:
        raise ValueError(f"it has no array {name!r}, but {names}")
    return arrays[name]


def _read_mtx(path: Path) -> np.ndarray:
    try:
        from scipy.io import mmread
    except ImportError:
        raise ImportError("reading .mtx needs SciPy: pip install scipy") from None
    found: Any = mmread(path)
    return found.toarray() if hasattr(found, "toarray") else found


def _read_csv(path: Path) -> np.ndarray:
    """Numbers between commas, semicolons or white space; # begins a comment."""
    text = path.read_text()
    rows = [line for line in text.splitlines() if line.split("#")[0].strip()]
    if not rows:
        raise ValueError("there are no numbers in it")
    delimiter = next((x for x in ",;" if x in rows[0]), None)
    try:
        return np.loadtxt(rows, delimiter=delimiter, ndmin=2)
    except ValueError:
        return np.loadtxt(rows, delimiter=delimiter, ndmin=2, dtype=complex)
