"""What a matrix allows: clusters, gaps, and the digits to expect in derivatives.

A matrix A stored in rounded numbers, or the solver's backward error, is A + E with |E| about
eps |A|. Derivatives at A + E and at A differ by a second derivative, which is larger than
the first by 1/gap. Hence the relative error, for values, vectors and projectors alike,

    c eps |A| / gap            for Hermitian A and for singular values,
    c eps |A| / (s sep)        for general A, s = 1/|P|,                                  (1)

with the gap of the cluster to the other values, its spectral projector P, and the separation
sep of the two blocks of the Schur form. It is relative to the largest derivative over all
directions dA. For a simple eigenvalue 1/s is Wilkinson's condition number |y| |v| / |y^H v|.
The constant c = min(4, 8/sqrt(n)) was found by trial: one element of a dense E in the frame is
about |E|/sqrt(n). No result has more digits than 4 eps leaves.

The vectors of a general A lose more beside ill-conditioned eigenvalues: the rule of `eig` adds up
v_i P_ij / (w_j - w_i), whose parts may cancel, and the i-th carries an error of kappa_i^2:

    c eps max_i kappa_i^2 sep_j / |w_j - w_i|.                                            (2)

Stewart and Sun, Matrix Perturbation Theory (1990), V.2 to V.4; LAPACK Users' Guide, sections
4.7 to 4.9, and trsen for s and sep.
"""

from __future__ import annotations

import dataclasses
import html
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np

from ._arguments import matrices
from ._eigh import eigvalsh
from ._svd import svdvals
from .frameworks.numpy import has_scipy, scipy_eig, scipy_schur
from .rules.eig import _same, _scaled
from .rules.pieces import same_cluster, tolerance

Kind = Literal["auto", "eigh", "svd", "eig"]
Cluster = tuple[int, ...]
Track = Callable[[Sequence[Cluster]], Iterable[Cluster]]

_CLOSE = 1e4  # values that amplify more than this are called close
_ROWS = 40  # of more clusters only the worst are printed
_NOTES = 8
_LABELS = 6  # at most so many in a plot
# of Okabe and Ito
_BLUE, _RED, _GREY = "#0072B2", "#D55E00", "#999999"


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Inspection:
    """What `inspect` found; prints as a table, in notebooks too, and draws itself.

    Attributes
    ----------
    kind : {"eigh", "svd", "eig"}
    shape : tuple of int
        (m, n) of the matrix.
    dtype : numpy.dtype
        The precision that the digits refer to.
    norm : float
        |A|: the largest absolute eigenvalue or singular value; for "eig" the Frobenius norm.
    tau : float
        Values nearer than this count as equal, for "eig" times the mean condition number of
        the pair.
    values : array, shape (k,)
        In the order of `eigh`, `svd` and `eig`.
    clusters : tuple of tuples of int
        The indices of values that count as equal; simple values are clusters of one.
    gaps : array, shape (c,)
        Distance from each cluster to the nearest value outside of it, infinite if there is
        none. For "svd" also to zero and to -s, where vectors turn at that rate: to zero
        for m != n, to -s for complex matrices and clusters.
    condition : array, shape (k,)
        Condition numbers of the values: 1 for "eigh" and "svd"; for "eig" |P|, or infinity in
        a defective cluster.
    amplification : array, shape (k, k)
        At most so far does vector j turn towards vector i, per |dA|/|A|: |A|/|w_i - w_j|, for
        "eig" times |P_i|; infinite inside clusters, and NaN on the diagonal. For "svd" this is
        below the diagonal, where U and V turn together; above it |A|/(s_i + s_j), where they
        turn against each other; on it |A|/(2 s_i), or |A|/s_i for m != n, where they turn out
        of their span.
    digits_values, digits_vectors, digits_projectors : array, shape (c,)
        Decimal digits to expect in first derivatives, for each cluster: of the value (the
        mean of a cluster), the single vectors, and the projector on all of them. NaN where
        there is no derivative.
    digits_functions : float
        The same for a function of the matrix that is smooth on the scale of |A|: `funm`, odd
        ones by `singular_value_map`, and `expm` and its kind for "eig".
    notes : tuple of str
        What is not defined or lost, and what to use instead.
    """

    kind: str
    shape: tuple[int, int]
    dtype: np.dtype
    norm: float
    tau: float
    values: np.ndarray
    clusters: tuple[Cluster, ...]
    gaps: np.ndarray
    condition: np.ndarray
    amplification: np.ndarray
    digits_values: np.ndarray
    digits_vectors: np.ndarray
    digits_projectors: np.ndarray
    digits_functions: float
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        below = [textwrap.fill(x, 79, subsequent_indent="  ") for x in self._remarks()]
        return "\n".join([*self._heading(), "", plain_table(self._table()), "", *below]).rstrip()

    def _repr_html_(self) -> str:
        def row(cells: Sequence[str], tag: str) -> str:
            filled = [f'<{tag} style="text-align:right">{html.escape(x)}</{tag}>' for x in cells]
            return f"<tr>{''.join(filled)}</tr>"

        head, *rows = self._table()
        head = [*head[:-3], *(f"digits of {x}" for x in head[-3:])]
        return (
            f"<p>{'<br>'.join(map(html.escape, self._heading()))}</p>"
            f"<table><thead>{row(head, 'th')}</thead>"
            f"<tbody>{''.join(row(r, 'td') for r in rows)}</tbody></table>"
            f"<ul>{''.join(f'<li>{html.escape(x)}</li>' for x in self._remarks())}</ul>"
        )

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        first, *others = self._heading()
        return Group(
            Text(first, style="bold"),
            *map(Text, others),
            "",
            rich_table(self._table()),
            "",
            *(Text(x) for x in self._remarks()),
        )

    def plot(self, figure: Any = None) -> Any:
        """Draw the spectrum, with clusters and small gaps, beside the amplification.

        Parameters
        ----------
        figure : matplotlib.figure.Figure or SubFigure, optional
            An empty one to draw into; by default a new one of pyplot.

        Returns
        -------
        matplotlib.figure.Figure or SubFigure

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        try:
            import matplotlib.pyplot as plt
        except ImportError:
            raise ImportError("plot needs matplotlib: pip install matplotlib") from None
        if figure is None:
            figure = plt.figure(figsize=(11, 5), layout="constrained")
        m, n = self.shape
        figure.suptitle(f"{self.kind} of a {m} x {n} matrix, {self.dtype}, |A| = {self.norm:.3g}")
        left, right = figure.subplots(1, 2)
        if self.kind == "eig":
            self._draw_plane(left)
        else:
            self._draw_line(left)
        self._draw_amplification(right)
        return figure

    def _draw_line(self, axes: Any) -> None:
        """Real values against their index, a staircase whose steps are the gaps."""
        k = len(self.values)
        edges = np.column_stack([np.arange(k) - 0.5, np.arange(k) + 0.5])
        axes.plot(np.repeat(self.values, 2), edges.ravel(), color=_GREY, lw=0.8, zorder=1)
        for c, digits in zip(self.clusters, self.digits_values, strict=True):
            x = self.values[list(c)]
            if len(c) == 1 and not np.isnan(digits):
                axes.plot(x, c, "o", color=_BLUE, ms=4)
                continue
            axes.plot(x, c, "o-", color=_RED, ms=4, lw=3, solid_capstyle="round")
            if k <= _ROWS:
                text = "zero" if np.isnan(digits) else f"{len(c)} equal"
                self._write(axes, text, x[0], np.mean(c), _RED)
        ends = [c[-1] for c in self.clusters[:-1]]
        steps = _ratio(np.abs(np.diff(self.values)), self.norm)
        for i in sorted((i for i in ends if steps[i] < 1e-2), key=lambda i: steps[i])[:_LABELS]:
            self._write(axes, f"gap {steps[i]:.0e} |A|", self.values[i], i + 0.5)
        axes.set(xlabel="value", ylabel="index", ylim=(k - 0.5, -0.5))
        axes.set_title("spectrum", loc="left")
        axes.margins(x=0.08)
        axes.yaxis.get_major_locator().set_params(integer=True)

    def _draw_plane(self, axes: Any) -> None:
        """Eigenvalues in the complex plane; those that lie together share a label."""
        x, y = np.real(self.values), np.imag(self.values)
        axes.axhline(0, color="#dddddd", lw=0.8, zorder=0)
        axes.axvline(0, color="#dddddd", lw=0.8, zorder=0)
        gaps = np.empty(x.size)
        for c, gap in zip(self.clusters, self.gaps, strict=True):
            axes.plot(x[list(c)], y[list(c)], "o", ms=5, color=_BLUE if len(c) == 1 else _RED)
            gaps[list(c)] = _ratio(gap, self.norm)
        distance = np.abs(self.values[:, None] - self.values[None, :])
        labels = []
        for group in _components(distance <= 0.02 * np.max(distance)):
            i = list(group)
            texts = [
                f"{len(c)} {'equal' if np.isfinite(self.condition[c[0]]) else 'defective'}"
                for c in self.clusters
                if len(c) > 1 and c[0] in group
            ]
            if np.min(gaps[i]) < 1e-2:
                texts.append(f"gap {np.min(gaps[i]):.0e} |A|")
            condition = np.max(self.condition[i])
            if 100 < condition < np.inf:
                texts.append(f"condition {condition:.0e}")
            if texts:
                labels.append((condition / np.min(gaps[i]), ", ".join(texts), i))
        for _, text, i in sorted(labels, reverse=True)[:_LABELS]:
            self._write(axes, text, np.mean(x[i]), np.mean(y[i]), lift=8)
        axes.set(xlabel="real part", ylabel="imaginary part")
        axes.set_title("spectrum", loc="left")
        axes.margins(0.15)

    def _write(
        self, axes: Any, text: str, x: Any, y: Any, color: str = "black", lift: int = 0
    ) -> None:
        """A label beside a point, on the side where there is room."""
        values = np.real(self.values)
        right = x <= (np.min(values) + np.max(values)) / 2
        axes.annotate(
            text,
            (x, y),
            xytext=(8 if right else -8, lift),
            textcoords="offset points",
            ha="left" if right else "right",
            va="center",
            fontsize=8,
            color=color,
        )

    def _draw_amplification(self, axes: Any) -> None:
        from matplotlib.colors import ListedColormap, LogNorm
        from matplotlib.patches import Patch

        shown = np.ma.masked_invalid(self.amplification)
        lost = np.ma.masked_equal(np.isposinf(self.amplification), False)
        scale = LogNorm(0.5, max(10.0, float(np.max(shown.filled(0.0)))))
        axes.set_facecolor("#eeeeee")
        image = axes.imshow(shown, cmap="viridis_r", norm=scale)
        if lost.count():
            axes.imshow(lost, cmap=ListedColormap([_RED]))
            patch = Patch(color=_RED, label="not defined")
            axes.legend(handles=[patch], loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
        label = {
            "eigh": "$|A| \\,/\\, |w_i - w_j|$",
            "eig": "$|A| \\, |P_i| \\,/\\, |w_i - w_j|$",
            "svd": "below the diagonal $|A| / |s_i - s_j|$, above $|A| / (s_i + s_j)$",
        }
        axes.figure.colorbar(image, ax=axes, label=label[self.kind], shrink=0.9)
        axes.set(xlabel="vector j", ylabel="towards vector i")
        axes.set_title("amplification", loc="left")
        for axis in (axes.xaxis, axes.yaxis):
            axis.get_major_locator().set_params(integer=True)

    def _heading(self) -> list[str]:
        m, n = self.shape
        times = " times their condition number" if self.kind == "eig" else ""
        functions = "U f(S) V^H, f odd," if self.kind == "svd" else "f(A)"
        return [
            f"{self.kind} of a {m} x {n} matrix, {self.dtype}, |A| = {self.norm:.3g}",
            f"values within {self.tau:.1e}{times} count as equal",
            f"derivatives of functions {functions} have {_digits(self.digits_functions)} digits",
        ]

    def _table(self) -> list[list[str]]:
        """The names of the columns, and a row for each cluster, of many the worst."""
        digits = (self.digits_values, self.digits_vectors, self.digits_projectors)
        worst = np.min(np.nan_to_num(np.stack(digits), nan=-1.0), axis=0)
        general = self.kind == "eig"
        condition = ["condition"] if general else []
        table = [["index", "value", "gap/|A|", *condition, "values", "vectors", "projectors"]]
        for c in np.sort(np.argsort(worst, kind="stable")[:_ROWS]):
            cluster = self.clusters[c]
            times = f" ({len(cluster)}x)" if len(cluster) > 1 else ""
            table.append(
                [
                    _indices(cluster),
                    _number(np.mean(self.values[list(cluster)])) + times,
                    f"{_ratio(self.gaps[c], self.norm):.1e}",
                    *(f"{self.condition[cluster[0]]:.1e}" for _ in condition),
                    *(_digits(float(d[c])) for d in digits),
                ]
            )
        return table

    def _remarks(self) -> list[str]:
        rows, notes = len(self.clusters) - _ROWS, len(self.notes) - _NOTES
        return [
            *([f"{rows} more, which lose less, are not shown."] if rows > 0 else []),
            *self.notes[:_NOTES],
            *([f"{notes} more such notes are in .notes."] if notes > 0 else []),
        ]


def inspect(a: Any, kind: Kind = "auto") -> Inspection:
    """Report what can be differentiated at a matrix, and to how many digits.

    Parameters
    ----------
    a : array, shape (m, n)
        One matrix of any framework, float32, float64, complex64 or complex128; integers and
        booleans are promoted.
    kind : {"auto", "eigh", "svd", "eig"}
        The decomposition. "auto" takes "eigh" for a matrix that is Hermitian to rounding, "eig"
        for another square one, and "svd" for a rectangular one.

    Returns
    -------
    Inspection
        Clusters and gaps, condition numbers, the digits to expect in derivatives of values,
        vectors, projectors and functions, and what is not defined, in arrays of NumPy.

    Raises
    ------
    ValueError
        If kind is none of these, for a stack of matrices, an empty matrix, and entries that
        are NaN or infinite.
    TypeError
        For object, half or extended precision dtypes, or what is not an array.
    numpy.linalg.LinAlgError
        If a is not a matrix, or not square for "eigh" and "eig".
    ImportError
        If SciPy is not installed, for "eig".

    Notes
    -----
    Values count as equal exactly where the derivatives of `eigh`, `svd` and `eig` treat them
    so: within the backward error of the solver.

    The digits are an estimate for generic directions and functions, (1) of
    ``loewner/_inspect.py``, relative to the largest derivative over all directions. What
    cancels in a loss, or a function that varies on a shorter scale than |A|, costs digits
    that are not counted here; for "eig", entire functions such as `expm` may keep more.

    Values that are close but not equal are named in the notes, with the digits of their mean
    and common projector, which may be many more.

    For "eigh" the lower triangle is read. For "eig" each eigenvalue costs n^2 operations
    besides the decomposition.

    References
    ----------
    Stewart and Sun, Matrix Perturbation Theory (1990), V.2 to V.4; LAPACK Users' Guide,
    sections 4.7 to 4.9.

    Examples
    --------
    >>> import numpy as np
    >>> import loewner as lw
    >>> report = lw.inspect(np.diag([1.0, 1.0, 3.0]))
    >>> report.clusters
    ((0, 1), (2,))
    >>> print(report)
    eigh of a 3 x 3 matrix, float64, |A| = 3
    values within 1.3e-14 count as equal
    derivatives of functions f(A) have 15 digits
    <BLANKLINE>
                               digits in derivatives of
    index   value  gap/|A|  values  vectors  projectors
    ---------------------------------------------------
      0-1  1 (2x)  6.7e-01      14        -          14
        2       3  6.7e-01      14       14          14
    <BLANKLINE>
    Eigenvalues 0-1: equal within rounding. Alone they have no derivative, nor have
      their vectors; their mean, their projector and lw.funm(a, f) have.
    """
    return inspect_matrix(a, kind, iter)


def inspect_matrix(a: Any, kind: Kind, track: Track) -> Inspection:
    """`inspect` with `track` around the loop that takes long, for a progress bar."""
    if kind not in ("auto", "eigh", "svd", "eig"):
        raise ValueError(f"inspect: kind must be 'auto', 'eigh', 'svd' or 'eig', not {kind!r}")
    a = _one_matrix(a, square=kind in ("eigh", "eig"))
    if kind == "auto":
        kind = "svd" if a.shape[0] != a.shape[1] else "eigh" if _is_hermitian(a) else "eig"
    if kind == "eig":
        return _eig(a, track)
    return _eigh(a) if kind == "eigh" else _svd(a)


def plain_table(table: list[list[str]]) -> str:
    """Text for a table whose first row has the names, and whose last three columns digits."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    head, *lines = ["  ".join(map(str.rjust, row, widths)) for row in table]
    above = "digits in derivatives of".rjust(len(head))
    return "\n".join([above, head, "-" * len(head), *lines])


def rich_table(table: list[list[str]]) -> Any:
    """The same for rich."""
    from rich.table import Table

    head, *rows = table
    drawn = Table(box=None, header_style="bold", padding=(0, 1), pad_edge=False)
    for name in [*head[:-3], *(f"digits of\n{x}" for x in head[-3:])]:
        drawn.add_column(name, justify="right", vertical="bottom", overflow="fold")
    for row in rows:
        drawn.add_row(*row)
    return drawn


def _one_matrix(a: Any, square: bool) -> np.ndarray:
    _, (a,) = matrices("inspect", square=square, a=a)
    if a.ndim > 2:
        raise ValueError(
            f"inspect: a must be one matrix, but has shape {tuple(a.shape)}; "
            "inspect the matrices of a stack one by one"
        )
    if hasattr(a, "detach"):  # PyTorch: NumPy refuses what requires gradients or is conjugated
        a = a.detach().cpu().resolve_conj().resolve_neg()
    a = np.asarray(a)
    if a.dtype == object:
        raise TypeError("inspect: a is being differentiated; inspect its value outside")
    if a.size == 0:
        raise ValueError(f"inspect: a is empty, its shape is {a.shape}")
    if not np.isfinite(a).all():
        raise ValueError("inspect: a has entries that are NaN or infinite")
    return a


def _is_hermitian(a: np.ndarray) -> bool:
    return bool(np.max(np.abs(a - a.conj().T)) <= tolerance(np, a.ravel(), a.shape[0])[0])


def _eigh(a: np.ndarray) -> Inspection:
    w = np.asarray(eigvalsh(a))
    tau = tolerance(np, w, w.size)
    same = same_cluster(np, w, tau)
    norm = float(np.max(np.abs(w)))
    amplification = _amplification(norm, np.abs(w[:, None] - w[None, :]), same)
    np.fill_diagonal(amplification, np.nan)
    clusters = _components(same)
    gaps = np.array([_distance(w, c) for c in clusters])
    digits = _expected(a, _ratio(norm, gaps))
    single = np.array([len(c) == 1 for c in clusters])
    notes = [] if _is_hermitian(a) else ["The upper triangle differs and is not read."]
    notes += [
        f"{_named('Eigenvalue', c)}: equal within rounding. Alone they have no derivative, nor "
        "have their vectors; their mean, their projector and lw.funm(a, f) have."
        for c in clusters
        if len(c) > 1
    ]
    return _with_close_ones(
        Inspection(
            kind="eigh",
            shape=a.shape,
            dtype=a.dtype,
            norm=norm,
            tau=float(tau[0]),
            values=w,
            clusters=clusters,
            gaps=gaps,
            condition=np.ones_like(w),
            amplification=amplification,
            digits_values=digits,
            digits_vectors=np.where(single, digits, np.nan),
            digits_projectors=digits,
            digits_functions=float(_expected(a, 1.0)),
            notes=tuple(notes),
        ),
        amplification,
        lambda group: _ratio(norm, _distance(w, group)),
    )


def _svd(a: np.ndarray) -> Inspection:
    s = np.asarray(svdvals(a))
    m, n = a.shape
    tau = tolerance(np, s, max(m, n))
    with_zero = same_cluster(np, np.append(s, np.zeros_like(s[:1])), tau)
    same, zero = with_zero[:-1, :-1], with_zero[-1, :-1]
    norm = float(s[0])
    turning = _amplification(norm, np.abs(s[:, None] - s[None, :]), same)
    against = _amplification(norm, s[:, None] + s[None, :], zero[:, None] & zero[None, :])
    if m != n:
        np.fill_diagonal(against, 2 * np.diag(against))

    def gap(group: Cluster) -> float:
        least = float(s[group[-1]])
        if zero[group[-1]]:
            turn = np.inf
        elif m != n:
            turn = least
        else:
            turn = 2 * least if len(group) > 1 or np.iscomplexobj(a) else np.inf
        return min(_distance(s, group), turn)

    clusters = _components(same)
    gaps = np.array([gap(c) for c in clusters])
    digits = _expected(a, _ratio(norm, gaps))
    null = np.array([zero[c[0]] for c in clusters])
    single = np.array([len(c) == 1 for c in clusters])
    notes = [
        f"{_named('Singular value', c)}: equal within rounding. Alone they have no derivative, "
        "nor have their vectors; their mean, their projectors and lw.singular_value_map(a, f) "
        "have."
        for c in clusters
        if len(c) > 1 and not zero[c[0]]
    ]
    rank = int(np.sum(~zero))
    if rank < s.size:
        notes.append(
            f"{_named('Singular value', range(rank, s.size))}: zero within rounding, a kink "
            f"without derivative. What depends on the others alone, as lw.low_rank(a, {rank}), "
            "has one."
        )
    elif s[-1] * _CLOSE < norm:
        left = float(_expected(a, _ratio(norm, float(s[-1]))))
        notes.append(f"The smallest singular value leaves lw.pinv(a) {_digits(left)} digits.")
    return _with_close_ones(
        Inspection(
            kind="svd",
            shape=a.shape,
            dtype=a.dtype,
            norm=norm,
            tau=float(tau[0]),
            values=s,
            clusters=clusters,
            gaps=gaps,
            condition=np.ones_like(s),
            amplification=np.where(np.tri(s.size, k=-1, dtype=bool), turning, against),
            digits_values=np.where(null, np.nan, digits),
            digits_vectors=np.where(single & ~(null & (m != n)), digits, np.nan),
            digits_projectors=digits,
            digits_functions=float(_expected(a, 1.0)),
            notes=tuple(notes),
        ),
        np.where(np.eye(s.size, dtype=bool), np.nan, turning),
        lambda group: _ratio(norm, gap(group)),
    )


def _eig(a: np.ndarray, track: Track) -> Inspection:
    if not has_scipy():
        raise ImportError("inspect: kind='eig' needs SciPy: pip install scipy")
    scaled, scale = _scaled(np, a)
    w, v, y = scipy_eig(scaled)
    norm = np.asarray(np.linalg.norm(scaled))[None]
    tau = tolerance(np, norm, w.size)
    size, unit = float(norm[0]), float(scale[0])
    overlap = np.abs(np.sum(np.conj(np.asarray(y)) * v, axis=0))
    kappa = 1 / np.maximum(overlap.astype(np.float64), 1e-100)
    # an eigenvalue that is defective to the last bit has no condition number; the root of an
    # error is how far it moves
    width = np.where(kappa * tau <= norm, kappa, np.sqrt(_ratio(norm, tau)))
    clusters = _components(_same(np, w, width, norm))
    cluster_of = np.empty(w.size, int)
    for i, c in enumerate(clusters):
        cluster_of[list(c)] = i
    same = cluster_of[:, None] == cluster_of[None, :]
    distance = np.abs(w[:, None] - w[None, :]).astype(np.float64)
    single = np.array([len(c) == 1 for c in clusters])
    first = [c[0] for c in clusters]

    block = _Blocks(scaled, w, size)
    known = {c: block(c) for c in track(clusters)}
    blocks = list(known.values())
    projector = np.array([b.projector for b in blocks])
    turn = np.array([b.turn for b in blocks])
    defective = np.array([b.nilpotent * size > tau[0] * b.projector for b in blocks])
    reach = np.where(same, 0.0, _ratio(size, distance))
    cancelled = np.max(reach * kappa[:, None] ** 2, axis=0)[first] / np.maximum(turn, 0.5)  # (2)
    digits = _expected(a, np.array([b.loss for b in blocks]))
    vectors = np.minimum(digits, _expected(a, cancelled))
    amplification = np.where(same, np.inf, reach * projector[cluster_of][:, None])
    np.fill_diagonal(amplification, np.nan)
    # a function that is smooth on the scale of |A| does not tell near eigenvalues apart
    near = _components(same | (distance < 0.01 * size))
    smooth = max((known.get(c) or block(c)).projector for c in near)

    notes = [
        f"{_named('Eigenvalue', c)}: "
        + ("defective within rounding, moving like a root. " if lost else "equal within rounding. ")
        + "Alone they have no derivative, nor have their vectors; lw.spectral_mean and "
        "lw.spectral_projector with hermitian=False have."
        for c, lost in zip(clusters, defective, strict=True)
        if len(c) > 1
    ]
    if np.any(single & (vectors < digits - 2)):
        notes.append(
            "Vectors lose digits beside ill-conditioned eigenvalues, whose parts cancel in the "
            "derivative of lw.eig; lw.spectral_projector with hermitian=False keeps them."
        )
    return _with_close_ones(
        Inspection(
            kind="eig",
            shape=a.shape,
            dtype=a.dtype,
            norm=size * unit,
            tau=float(tau[0]) * unit,
            values=w * scale,
            clusters=clusters,
            gaps=unit * np.array([np.min(_outside(distance, c)) for c in clusters]),
            condition=np.where(defective, np.inf, projector)[cluster_of],
            amplification=amplification,
            digits_values=digits,
            digits_vectors=np.where(single, vectors, np.nan),
            digits_projectors=digits,
            digits_functions=float(_expected(a, smooth)),
            notes=tuple(notes),
        ),
        amplification,
        lambda group: block(group).loss,
    )


@dataclasses.dataclass(frozen=True)
class _Block:
    """A cluster of a general matrix, in units of |A|: |P|, 1/sep, |T_11 - mean|."""

    projector: float
    turn: float
    nilpotent: float

    @property
    def loss(self) -> float:
        return self.projector * self.turn


class _Blocks:
    """The blocks of the Schur form of a, found by the eigenvalues w that they are to have."""

    def __init__(self, a: np.ndarray, w: np.ndarray, norm: float):
        from scipy.optimize import linear_sum_assignment

        t, _ = scipy_schur(a.astype(np.complex128))
        self.t = t / (norm or 1.0)
        _, self.place = linear_sum_assignment(np.abs(w[:, None] - np.diag(t)[None, :]))

    def __call__(self, group: Cluster) -> _Block:
        from scipy.linalg import get_lapack_funcs

        n, k = self.t.shape[0], len(group)
        select = np.zeros(n, np.int32)
        select[self.place[list(group)]] = 1
        (trsen,) = get_lapack_funcs(("trsen",), (self.t,))
        t, _, _, _, s, sep, _ = trsen(
            select, self.t, self.t, wantq=0, lwork=max(1, 2 * k * (n - k))
        )
        corner = t[:k, :k]
        nilpotent = np.linalg.norm(corner - np.trace(corner) / k * np.eye(k))
        turn = 0.0 if k == n else float(_ratio(1.0, sep))
        return _Block(projector=1 / s, turn=turn, nilpotent=float(nilpotent))


def _with_close_ones(
    found: Inspection, coupling: np.ndarray, loss: Callable[[Cluster], Any]
) -> Inspection:
    """The same with a note on each group of values that are close without being equal."""
    close = np.nan_to_num(coupling, nan=0.0, posinf=np.inf) > _CLOSE
    name = "Singular value" if found.kind == "svd" else "Eigenvalue"
    notes = []
    for group in _components(close | close.T):
        alone = [
            d for c, d in zip(found.clusters, found.digits_values, strict=True) if c[0] in group
        ]
        if len(alone) < 2:
            continue
        if len(group) == len(found.values):
            together, digits = "functions of the whole matrix", found.digits_functions
        else:
            mean = "" if found.kind == "svd" else "mean and "
            together, digits = f"their {mean}projector", float(_expected(found, loss(group)))
        if digits > np.nanmin(alone) + 2:
            notes.append(
                f"{_named(name, group)}: close. {_digits(np.nanmin(alone))} digits for each "
                f"alone, {_digits(digits)} for {together}."
            )
    return dataclasses.replace(found, notes=(*found.notes, *notes))


def _outside(distance: np.ndarray, group: Cluster) -> np.ndarray:
    """The distances from the members of a group to all others, and infinity."""
    return np.append(np.delete(distance[list(group)], group, axis=1), np.inf)


def _components(linked: np.ndarray) -> tuple[Cluster, ...]:
    """The connected parts of a symmetric relation, by their first index."""
    label = np.arange(len(linked))
    for i, row in enumerate(linked):
        label[np.isin(label, label[row])] = label[i]
    return tuple(
        tuple(int(j) for j in np.flatnonzero(label == x)) for x in dict.fromkeys(label.tolist())
    )


def _distance(w: np.ndarray, group: Cluster) -> float:
    """From a run of the sorted real values w to the nearest other one."""
    first, last = group[0], group[-1]
    before = np.abs(w[first] - w[first - 1]) if first > 0 else np.inf
    after = np.abs(w[last + 1] - w[last]) if last + 1 < w.size else np.inf
    return float(min(before, after))


def _amplification(norm: float, distance: np.ndarray, masked: np.ndarray) -> np.ndarray:
    """norm / distance, infinite on the mask."""
    distance = distance.astype(np.float64)
    return np.where(masked, np.inf, norm / np.where(masked, 1.0, distance))


def _ratio(x: Any, y: Any) -> Any:
    """x / y, infinite for y = 0."""
    return np.where(y == 0, np.inf, x / np.where(y == 0, 1.0, y))


def _expected(like: Any, loss: Any) -> np.ndarray:
    """The digits that a loss of (1) or (2), without c, leaves in a matrix like this one."""
    eps = float(np.finfo(like.dtype).eps)
    c = min(4.0, 8 / float(np.sqrt(min(like.shape))))
    return np.maximum(0.0, -np.log10(eps * np.maximum(c * loss, 4.0)))


def _digits(x: float) -> str:
    return "-" if np.isnan(x) else f"{int(x)}"


def _number(x: Any) -> str:
    if np.imag(x) == 0:
        return f"{np.real(x):.6g}"
    return f"{np.real(x):.5g}{np.imag(x):+.5g}i"


def _named(name: str, group: Sequence[int]) -> str:
    return f"{name}{'s' if len(group) > 1 else ''} {_indices(group)}"


def _indices(group: Sequence[int]) -> str:
    """0, 2-4 for (0, 2, 3, 4)."""
    runs: list[list[int]] = []
    for i in group:
        if runs and runs[-1][-1] == i - 1:
            runs[-1][1:] = [i]
        else:
            runs.append([i])
    return ", ".join("-".join(map(str, run)) for run in runs)
