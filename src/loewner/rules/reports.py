"""What a derivative leans on that the matrix does not determine, and how that is told.

A decomposition fixes its outputs up to a *gauge*: phases, bases of clusters, frames of null
spaces. Its derivative exists for losses that the gauge does not change. The cotangent of the
turn of the frame, G = V^H gV, is the derivative of the loss along the gauge where that turn
is held at zero: its skew part on the clusters vanishes for an invariant loss (*gauge part*).

Inside a cluster the gradient of an invariant loss is a whole block M_c, of which the
cotangents of the values show the diagonal alone. In a frame in general position a constant
diagonal means M_c = scalar, and the derivative is right; a diagonal that varies means that
it is not determined by the outputs (*unresolved part*).

Both parts are measured against the cotangent itself, matrix by matrix, so that scaling the
loss changes nothing. Reverse mode sees the loss and judges it; forward mode does not.
"""

from __future__ import annotations

import bisect
import dataclasses
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from .pieces import filled, positions, real, skew, tolerance, total, width
from .rule import Array, Arrays, HostRule, Ops, Rule, Solvers

POLICIES = ("off", "warn", "raise", "nan", "record")
"""What happens when a derivative is not determined; "record" is for `certify`."""


class DerivativeWarning(RuntimeWarning):
    """A derivative was taken that the decomposition does not determine."""


class DerivativeError(ArithmeticError):
    """A derivative was asked for that the decomposition does not determine."""


class Checks(NamedTuple):
    """What to do about derivatives of one function of the library, and its name."""

    policy: str
    function: str
    strict: int = 0
    """Which pseudo-random matrix turns the bases of clusters; 0 for none."""
    reason: str = ""
    """Why the derivative of the function may not exist."""


def recording(checks: Checks | None) -> bool:
    """Whether everything is to be looked at."""
    return checks is not None and checks.policy == "record"


@dataclasses.dataclass(frozen=True)
class Finding:
    """One kind of trouble in a stack of matrices."""

    function: str
    kind: str
    size: float
    """The largest part found, relative to the cotangent, or the bound of the error."""
    excess: bool = False
    """Whether it is more than rounding explains."""
    message: str = ""


VECTORS = {
    "phase": "the loss depends on the phase of eigenvector {i} ({size} of the cotangent), "
    "which the matrix leaves open: fix it with lw.fix_phase, or use a loss without it",
    "basis": "eigenvalues {i} and {j} coincide, and the loss depends on the basis of "
    "their space ({size} of the cotangent): use its projector, lw.spectral_projector",
}
"""What to say of eigenvectors."""

RECORD: list[Finding] = []
"""What was found under the policy "record"."""


class Report(ABC):
    """What to look for in the cotangents of one decomposition; subclasses are dataclasses."""

    name: ClassVar[str]
    kinds: ClassVar[dict[str, type[Report]]] = {}
    texts: ClassVar[dict[str, str]]
    """Sentences by kind, with {i}, {j} for the pair of values and {size} for the part."""

    def __init_subclass__(cls) -> None:
        Report.kinds[cls.name] = cls

    @property
    def shape(self) -> tuple[int, ...]:
        """The arguments that make it."""
        return ()

    @abstractmethod
    def needed(self, xp: Any, known: Arrays, cotangents: Arrays) -> Array:
        """Where something may be found, (...): a necessary condition that costs little."""

    def ruled_out(self, ops: Ops, known: Arrays, cotangents: Sequence[Array]) -> bool:
        """Whether it is known at once that nothing will be found."""
        count = len(known)

        def needed(xp: Any, *arrays: Array) -> Array:
            return self.needed(xp, arrays[:count], arrays[count:])

        return ops.rules_out(needed, *known, *cotangents)

    @abstractmethod
    def findings(
        self, xp: Any, known: Arrays, cotangents: Arrays
    ) -> dict[str, tuple[Array, Array]]:
        """By kind, parts (..., p, q) relative to the cotangent, and what rounding explains."""

    def error(self, xp: Any, known: Arrays, cotangents: Arrays) -> Array | None:
        """A bound of the rounding error of the gradient, (...) in the Frobenius norm, if any."""
        return None


@dataclasses.dataclass(frozen=True)
class Watch(Rule):
    """The identity of some tangents, given so many known arrays; the VJP reports.

    Where a framework transposes the derivative itself, cotangents are met nowhere else.
    """

    report: Report
    checks: Checks
    known: int
    needs_inputs = True
    linear = True
    separate = True

    def evaluate(self, solvers, inputs, outputs=None):
        return tuple(x + 0 for x in inputs[self.known :])

    def jvp(self, ops, inputs, outputs, tangents):
        moved = filled(ops.xp, tangents[self.known :], inputs[self.known :])
        return ops.call(self, *inputs[: self.known], *moved)

    def vjp(self, ops, inputs, outputs, cotangents, wanted):
        seen = self.seen(ops, inputs[: self.known], cotangents)
        return (*(None for _ in range(self.known)), *seen)

    def seen(self, ops: Ops, known: Arrays, cotangents: Sequence[Array]) -> Arrays:
        """The cotangents, reported on; NaN if that is the policy."""
        if not recording(self.checks) and self.report.ruled_out(ops, known, cotangents):
            return tuple(cotangents)
        present = [i for i, g in enumerate(cotangents) if g is not None]
        if not present or 0 in known[0].shape or 0 in cotangents[present[0]].shape:
            return tuple(cotangents)
        alarm = Alarm(self.report, self.checks, self.known, tuple(present), len(cotangents))
        (signal,) = ops.call(alarm, *map(ops.constant, known), *(cotangents[i] for i in present))
        first, xp = cotangents[present[0]], ops.xp
        for _ in range(first.ndim - signal.ndim):
            signal = signal[..., None]
        marked = first + xp.astype(signal, first.dtype)
        return tuple(marked if i == present[0] else g for i, g in enumerate(cotangents))


def watch(report: Report, checks: Checks | None, known: int) -> Watch | None:
    """The rule that reports, unless the checks are off."""
    return Watch(report, checks, known) if checks else None


@dataclasses.dataclass(frozen=True)
class Alarm(HostRule):
    """0 for each matrix of a stack, NaN or an exception where the report finds something.

    The inputs are the known arrays, constants, and the cotangents present. The tangents of
    cotangents, in forward over reverse mode, are judged likewise: no reverse pass sees them.
    """

    report: Report
    checks: Checks
    known: int
    present: tuple[int, ...]
    count: int

    def evaluate(self, solvers, inputs, outputs=None):
        xp, known = solvers.xp, tuple(inputs[: self.known])
        needed = self.report.needed(xp, known, self._placed(inputs[self.known :]))
        quiet = xp.astype(needed, real(xp, inputs[-1]).dtype) * 0
        if recording(self.checks):
            needed = needed | True
        return (solvers.when(needed, lambda: self._loud(solvers, inputs, quiet), quiet),)

    def _placed(self, present: Sequence[Array]) -> Arrays:
        """All cotangents, None where they are absent."""
        given: list[Array] = [None] * self.count
        for i, x in zip(self.present, present, strict=True):
            given[i] = x
        return tuple(given)

    def jvp(self, ops, inputs, outputs, tangents):
        given = tangents[self.known :]
        if all(t is None for t in given):
            return (ops.xp.zeros_like(outputs[0]),)
        return ops.call(self, *inputs[: self.known], *filled(ops.xp, given, inputs[self.known :]))

    def vjp(self, ops, inputs, outputs, cotangents, wanted):
        return (None,) * len(inputs)

    def spelled(self):
        report, checks = self.report, self.checks
        words = [checks.policy, checks.function, f"{checks.strict}", checks.reason]
        words.append(f"{self.known}")
        words += [f"{self.count}", " ".join([f"{i}" for i in self.present]), report.name]
        return "Alarm:" + ";".join([*words, *[f"{x}" for x in report.shape]])

    @classmethod
    def read(cls, text):
        policy, function, strict, reason, known, count, present, name, *shape = text.split(";")
        report = Report.kinds[name](*(int(x) for x in shape))
        checks = Checks(policy, function, int(strict), reason)
        return cls(report, checks, int(known), tuple(map(int, present.split())), int(count))

    def _loud(self, solvers: Solvers, inputs: Arrays, quiet: Array) -> Array:
        xp = solvers.xp
        if recording(self.checks):
            return self._record(solvers, inputs, quiet)
        columns: dict[str, int] = {}

        def look(*inputs: Array) -> Arrays:
            """By kind, the largest excess (b,), and where it is."""
            known, present = inputs[: self.known], inputs[self.known :]
            found = self.report.findings(xp, known, self._placed(present))
            worst = []
            for kind, (part, allowed) in found.items():
                columns[kind] = part.shape[-1]
                excess = xp.where(part > allowed, part, xp.zeros_like(part))
                flat = xp.reshape(excess, (*excess.shape[:-2], -1))
                worst.append(xp.max(flat, axis=-1))
                worst.append(xp.astype(xp.argmax(flat, axis=-1), flat.dtype))
            return tuple(worst)

        batch = quiet.ndim
        flat = (xp.reshape(x, (-1, *x.shape[batch:])) for x in inputs)
        worst = tuple(xp.reshape(x, quiet.shape) for x in solvers.seldom(look, *flat))
        if not worst:
            return quiet
        bad = total(*(xp.astype(x > 0, quiet.dtype) for x in worst[::2])) > 0
        lost = xp.where(bad, quiet + xp.nan, quiet)
        if self.checks.policy == "nan":
            return lost

        def tell(*arrays: Any) -> None:
            self._tell(columns, arrays[::2], arrays[1::2])

        kept = lost if self.checks.policy == "raise" else quiet
        return solvers.when(bad, lambda: solvers.tell(tell, kept, *worst), quiet)

    def _tell(self, columns: dict[str, int], worst: Sequence[Any], place: Sequence[Any]) -> None:
        """On the host, with NumPy arrays."""
        messages = []
        for (kind, count), size, where in zip(columns.items(), worst, place, strict=True):
            hit = size > 0
            if hit.any():
                at = int(size.argmax())
                message = self._message(kind, count, float(size.flat[at]), int(where.flat[at]))
                many = f" ({int(hit.sum())} of {hit.size} matrices)" if hit.size > 1 else ""
                messages.append(message + many)
        if messages and self.checks.policy == "raise":
            raise DerivativeError("; ".join(messages))
        for message in messages:
            warnings.warn(message, DerivativeWarning, stacklevel=2)

    def _message(self, kind: str, width: int, size: float, place: int) -> str:
        i, j = divmod(place, width)
        words = {"i": i, "j": j, "size": f"{size:.1e}", "reason": self.checks.reason}
        return f"{self.checks.function}: {self.report.texts[kind].format(**words)}"

    def _record(self, solvers: Solvers, inputs: Arrays, quiet: Array) -> Array:
        """Everything that was looked at goes to `RECORD`."""
        known, cotangents = inputs[: self.known], self._placed(inputs[self.known :])
        found = self.report.findings(solvers.xp, known, cotangents)
        error = self.report.error(solvers.xp, known, cotangents)

        def write(*arrays: Any) -> None:
            *pairs, bound = arrays
            for kind, part, allowed in zip(found, pairs[::2], pairs[1::2], strict=True):
                excess = part > allowed
                size = float(part.max(initial=0.0))
                message = ""
                if excess.any():
                    flat = (part * excess).reshape(-1, *part.shape[-2:])
                    at = int(flat.max(axis=(-1, -2)).argmax())
                    place = int(flat[at].argmax())
                    message = self._message(kind, part.shape[-1], size, place)
                RECORD.append(
                    Finding(self.checks.function, kind, size, bool(excess.any()), message)
                )
            size = float((bound * bound).sum() ** 0.5)
            RECORD.append(Finding(self.checks.function, "rounding", size))

        pairs = []
        for part, allowed in found.values():
            pairs += [part, allowed + solvers.xp.zeros_like(part)]
        return solvers.tell(write, quiet, *pairs, quiet if error is None else error + quiet)


@dataclasses.dataclass(frozen=True)
class FiniteReport(Report):
    """Whether the gradient of a function is finite; known: numbers (..., n), finite if A is."""

    name = "finite"
    texts: ClassVar = {"undefined": "the derivative does not exist at this matrix: {reason}"}

    def needed(self, xp, known, cotangents):
        (g,) = cotangents
        whole = xp.sum(g, axis=(-2, -1))
        return whole - whole != 0  # NaN if it is not finite; one that overflows is looked into

    def ruled_out(self, ops, known, cotangents):
        whole = ops.number(ops.xp.sum(*cotangents))
        if whole is None:
            return super().ruled_out(ops, known, cotangents)
        return math.isfinite(abs(whole))

    def findings(self, xp, known, cotangents):
        (g,) = cotangents
        finite = xp.isfinite(xp.sum(known[0], axis=-1))[..., None, None]
        lost = xp.astype(finite & ~xp.isfinite(xp.abs(g)), known[0].dtype)
        return {"undefined": (lost, xp.zeros_like(lost))}


@dataclasses.dataclass(frozen=True)
class ZeroReport(Report):
    """Of a function that is singular at zero; known: w; cotangent: that of the core."""

    name = "zero"
    texts: ClassVar = {"zero": "eigenvalue {i} is zero up to rounding: {reason}"}

    @staticmethod
    def _near(xp: Any, w: Array) -> Array:
        return xp.abs(w) <= tolerance(xp, w, w.shape[-1])

    @classmethod
    def regular(cls, ops: Any, w: Array) -> bool:
        """Whether it is known that none of the ascending values w (..., n) is zero, or rounding."""
        values = ops.listed(w)
        if not values:
            return ops.rules_out(cls._vanishes, w)
        least, largest = values[0], values[-1]
        if not least > 0:
            first = bisect.bisect_left(values, 0.0)
            least = min(map(abs, values[max(first - 1, 0) : first + 1]))
            largest = max(-values[0], largest)
        return least > width(ops.xp, w, len(values)) * largest

    @classmethod
    def _vanishes(cls, xp: Any, w: Array) -> Array:
        return xp.any(cls._near(xp, w), axis=-1)

    def needed(self, xp, known, cotangents):
        return self._vanishes(xp, *known)

    def findings(self, xp, known, cotangents):
        (w,), (g,) = known, cotangents
        near = self._near(xp, w)
        part = relative(xp, xp.abs(g), norm(xp, g))
        part = xp.where(near[..., :, None], part, xp.zeros_like(part))
        return {"zero": (part, xp.zeros_like(part) + rounding(xp, part, w.shape[-1]))}


def norm(xp: Any, x: Array) -> Array:
    """The Frobenius norm, (..., 1, 1); no square leaves the range."""
    size = xp.abs(x)
    largest = xp.max(xp.max(size, axis=-1, keepdims=True), axis=-2, keepdims=True)
    x = relative(xp, size, largest)
    return largest * xp.sqrt(xp.sum(xp.sum(x * x, axis=-1, keepdims=True), axis=-2, keepdims=True))


def relative(xp: Any, part: Array, size: Array) -> Array:
    """part/size, and 0 where size is."""
    one = xp.zeros_like(size) + 1
    return part / xp.where(size > 0, size, one)


def rounding(xp: Any, x: Array, size: int) -> float:
    """What rounding leaves of a part that is zero, relative to a cotangent of that order."""
    return 100 * size * float(xp.finfo(x.dtype).eps)


def spread(xp: Any, w: Array, g: Array, same: Array) -> tuple[Array, Array]:
    """How unequal the cotangents g of values w of one cluster are, relative to the largest g.

    A smooth function of values that differ by rounding has as much: allowed is what a power
    of them would have.
    """
    eps = float(xp.finfo(real(xp, w).dtype).eps)
    largest = xp.max(xp.abs(g), axis=-1, keepdims=True)[..., None]
    difference = xp.abs(g[..., :, None] - g[..., None, :])
    part = xp.where(same, relative(xp, difference, largest), xp.zeros_like(difference))
    apart, size = xp.abs(w[..., :, None] - w[..., None, :]), xp.abs(w)
    size = xp.maximum(size[..., :, None], size[..., None, :])
    natural = 10 * relative(xp, apart, size)
    # not about zero, where the difference of two values is as large as they are
    return part, math.sqrt(eps) + xp.where(natural < 1e-4, natural, xp.zeros_like(natural))


def off_diagonal(xp: Any, x: Array) -> Array:
    """True off the diagonal of matrices (..., n, n) like x."""
    i = positions(xp, xp.sum(real(xp, x), axis=-2))
    return i[..., :, None] != i[..., None, :]


def phased(xp: Any, *turns: Array) -> Array:
    """Where a complex loss may depend on phases, by its turns, taken together, (...).

    False if they are real. Some may be None.
    """
    present = _complex(xp, turns)
    return _phased(xp, *present) if present else False


def _phased(xp: Any, *turns: Array) -> Array:
    own = total(*[xp.linalg.diagonal(t) for t in turns])
    size = xp.max(xp.abs(xp.real(own)), axis=-1)  # no more than the norm, and cheap
    phase = xp.max(xp.abs(xp.imag(own)), axis=-1)
    return phase > rounding(xp, size, own.shape[-1]) * size


def phases_fixed(ops: Ops, *turns: Array) -> bool:
    """Whether it is known that no phase matters."""
    present = _complex(ops.xp, turns)
    if not present:
        return True
    lists = [x for x in map(ops.listed, present) if x is not None]
    if len(lists) < len(present):
        return ops.rules_out(_phased, *present)
    own = lists[0] if len(lists) == 1 else [sum(x) for x in zip(*lists, strict=True)]
    size = max([abs(x.real) for x in own], default=0.0)
    phase = max([abs(x.imag) for x in own], default=0.0)
    return phase <= rounding(ops.xp, present[0], len(own)) * size


def _complex(xp: Any, turns: Arrays) -> list[Array]:
    present = [t for t in turns if t is not None]
    return present if present and xp.isdtype(present[0].dtype, "complex floating") else []


def gauge(xp: Any, turn: Array, same: Array, size: Array) -> dict[str, tuple[Array, Array]]:
    """The skew part of the cotangent of a turn on the clusters: phases, and bases."""
    part = relative(xp, xp.abs(skew(xp, turn)), size)
    off, none = off_diagonal(xp, turn), xp.zeros_like(part)
    allowed = none + rounding(xp, part, turn.shape[-1])
    found = {"basis": (xp.where(same & off, part, none), allowed)}
    if xp.isdtype(turn.dtype, "complex floating"):
        found["phase"] = (xp.where(off, none, part), allowed)
    return found


def turned(solvers: Solvers, frame: Array, same: Array, seed: int) -> Array:
    """The columns of a frame, those of each cluster turned by a pseudo-random unitary matrix.

    Complex ones by a phase at least: solvers return some entries real. The Cayley transform
    (1 - S)(1 + S)^-1 of a skew S on the clusters: unitary, and exactly block diagonal.
    """
    xp = solvers.xp
    i = positions(xp, xp.sum(real(xp, frame), axis=-2))
    row, column = i[..., :, None], i[..., None, :]
    s = xp.sin(12.9898 * row * row + 78.233 * column + seed) * 2
    if xp.isdtype(frame.dtype, "complex floating"):
        s = s + 1j * xp.cos(39.346 * row + 11.135 * column * column + seed)
    inside = same
    if not xp.isdtype(frame.dtype, "complex floating"):
        inside = same & (row != column)
    s = xp.where(inside, skew(xp, xp.astype(s, frame.dtype)), xp.zeros_like(s[..., :1, :1]))
    one = xp.astype(xp.astype(row == column, i.dtype), frame.dtype)
    return frame @ solvers.solve(one + s, one - s)


def rounding_unit(xp: Any, w: Array) -> Array:
    """eps |A|, (..., 1, 1)."""
    return float(xp.finfo(real(xp, w).dtype).eps) * xp.max(xp.abs(w), axis=-1)[..., None, None]


def value_error(xp: Any, g: Array) -> Array:
    """sqrt(n) eps |g|: of the part V diag(g) V^H of a gradient."""
    eps = float(xp.finfo(real(xp, g).dtype).eps)
    return g.shape[-1] ** 0.5 * eps * norm(xp, g[..., None])[..., 0, 0]


def turn_error(xp: Any, gap: Array, z: Array, width: Array) -> Array:
    """| G o (dZ + width G o |Z|) | + sqrt(n) eps |G o Z|: of the part V (G o Z) V^H.

    G are the reciprocal gaps, each gap known to the width, and dZ the rounding of Z, a
    product of n terms.
    """
    gap, size = xp.abs(gap), xp.abs(z)
    eps = z.shape[-1] ** 0.5 * float(xp.finfo(size.dtype).eps)
    unit = xp.max(xp.max(size, axis=-1, keepdims=True), axis=-2, keepdims=True)
    size = relative(xp, size, unit)
    column = xp.sqrt(xp.sum(size * size, axis=-2))[..., None, :]
    row = xp.sqrt(xp.sum(size * size, axis=-1))[..., :, None]
    dz = eps * (row + column) / 2
    bound = norm(xp, gap * (dz + width * gap * size)) + eps * norm(xp, gap * size)
    return (unit * bound)[..., 0, 0]
