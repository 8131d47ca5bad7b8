"""A decomposition, and the ways it is computed.

Rules import this file, so that it imports none of theirs until a kernel is asked for.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Any

from .._optional import needed
from .choice import LEAST_TURNED, Plan, choose, dtype_name, usual

if TYPE_CHECKING:
    from ..rules.rule import Array, Arrays, Solvers
    from .team import Host


@dataclasses.dataclass(frozen=True)
class Decomposition:
    """A decomposition of a stack a (..., m, n), and by which method.

    "eigh" gives (w, V), "eigvalsh" (w,), "svd" (U, s, Vh) and "svdvals" (s,).
    """

    operation: str
    method: str = "auto"
    lower: bool = True
    """The triangle that eigh and eigvalsh read."""
    full: bool = False
    """Whether the U and Vh of svd are square."""
    marked: bool = False
    """Whether the factors of a matrix that is not finite are to be NaN; LAPACK may return finite
    numbers."""

    @property
    def hermitian(self) -> bool:
        """Whether it is one of the Hermitian matrix in a triangle."""
        return self.operation in ("eigh", "eigvalsh")

    @property
    def vectors(self) -> bool:
        """Whether there is more than values."""
        return self.operation in ("eigh", "svd")

    def shapes(self, m: int, n: int) -> list[tuple[int, ...]]:
        """Of its factors, for one matrix (m, n)."""
        k = min(m, n)
        u, vh = ((m, m), (n, n)) if self.full else ((m, k), (k, n))
        return {
            "eigh": [(n,), (n, n)],
            "eigvalsh": [(n,)],
            "svd": [u, (k,), vh],
            "svdvals": [(k,)],
        }[self.operation]

    def plan(self, solvers: Solvers, a: Array, numba: bool | None = None) -> Plan:
        """The kernel for this stack, as remembered unless `numba` is given, by a compiler."""
        *batch, m, n = a.shape
        count = math.prod(batch)
        if 0 in (count, m, n):
            return Plan("lapack")
        find = _remembered if numba is None else _plan
        where, dtype = solvers.platform(a), str(a.dtype)
        framework = solvers.name, solvers.compiles
        how = self.method, numba, self.full
        return find(self.operation, (m, n), dtype, count, where, *framework, *how)

    def evaluate(self, solvers: Solvers, a: Array) -> Arrays:
        """The factors; a kernel of our own is handed one block of the stack at a time."""
        if a.ndim == 2 and self.method == "auto" and usual(self.operation, a.shape, solvers.name):
            return self.mark(solvers, a, self.lapack(solvers, a))  # in no need of a plan
        plan = self.plan(solvers, a)
        lapack = self.reduced if plan.reduced else self.lapack
        if plan.method == "lapack" and not plan.shared:
            return self.mark(solvers, a, lapack(solvers, a))
        if plan.method == "compiled":
            found = solvers.compiled(self, a)  # which marks itself what it meets that is not finite
            return self.mark(solvers, a, self.lapack(solvers, a)) if found is None else found
        batch = tuple(a.shape[:-2])
        flat = solvers.xp.reshape(a, (-1, *a.shape[-2:]))
        if plan.shared:
            found = solvers.on_all_cores(functools.partial(lapack, solvers), flat)
        else:
            kernel = functools.partial(self.jacobi, solvers)
            found = solvers.in_blocks(kernel, flat, plan.block or flat.shape[0])
        found = tuple(solvers.xp.reshape(x, (*batch, *x.shape[1:])) for x in found)
        return self.mark(solvers, a, found)

    def mark(self, solvers: Solvers, a: Array, found: Arrays) -> Arrays:
        """The factors, NaN where they are to be."""
        if not self.marked:
            return found
        from ..rules.pieces import poison

        xp = solvers.xp
        if self.hermitian:
            a = xp.tril(a) if self.lower else xp.triu(a)  # the other triangle is not read
        lost = poison(xp, a)
        return tuple(x + (lost if x.ndim == lost.ndim else lost[..., None]) for x in found)

    def lapack(self, solvers: Solvers, a: Array) -> Arrays:
        """By the framework's own solver."""
        if self.operation == "svd":
            return solvers.svd(a, self.full)
        xp, lower = solvers.xp, self.lower
        m, n = a.shape[-2:]
        small = isinstance(n, int) and n < LEAST_TURNED  # it may be a symbol
        turns = m == n and not small
        if self.operation == "svdvals":
            return (solvers.svdvals(xp.matrix_transpose(a) if turns else a),)
        if turns and lower and not xp.isdtype(a.dtype, "complex floating"):
            a, lower = xp.matrix_transpose(a), False
        if self.operation == "eigh":
            return solvers.eigh(a, lower)
        return (solvers.eigvalsh(a, lower),)

    def reduced(self, solvers: Solvers, a: Array) -> Arrays:
        """By the framework's own solver, of R in A = Q R, or of that of the transpose.

        gesdd does so as well, but makes Q to multiply by it. Chan, An improved algorithm for
        computing the singular value decomposition, ACM TOMS 8 (1982).
        """
        xp, (m, n) = solvers.xp, a.shape[-2:]
        if m < n:
            return transposed(self.reduced(solvers, xp.matrix_transpose(a)))
        r, times_q = solvers.qr(a)
        try:
            found = self.evaluate(solvers, r)
        except (RuntimeError, ValueError):
            return self.lapack(solvers, a)  # what is wrong concerns some of the matrices, or all
        s = found[0]
        if self.operation == "svd":
            u, s, vh = found
            found = times_q(u), s, vh
        # gesdd brings what is not in this range into it, so that nothing over- or underflows
        limits = xp.finfo(a.dtype)
        least = float(limits.smallest_normal) ** 0.5 / float(limits.eps)
        within = (s[..., 0] > least) & (s[..., 0] < 1 / least)
        return solvers.when(~within, lambda: self.lapack(solvers, a), found)

    def jacobi(self, solvers: Solvers, a: Array) -> Arrays:
        """By Jacobi's method, of a block (b, m, n)."""
        from . import jacobi

        if self.hermitian:
            return jacobi.eigh(solvers, a, self.lower, self.vectors)
        return jacobi.svd(solvers, a, self.full, self.vectors)

    def compiled(self, a: Array, host: Host) -> Arrays | None:
        """By a kernel that Numba compiles, of real matrices (..., m, n).

        None of a single one for which that finds nothing: the framework may want to say so.
        """
        needed("numba", "method='compiled'")
        from . import compiled  # half a second, for Numba

        return compiled.decomposed(self, a, host)


def transposed(factors: Arrays) -> Arrays:
    """The factors of "svd" or "svdvals" of A^T from those of A: A^T = conj(V) s U^T."""
    if len(factors) == 1:
        return factors
    u, s, vh = factors
    return vh.mT, s, u.mT


def _plan(operation: str, shape: tuple[int, int], dtype: str, batch: int, *where: Any) -> Plan:
    return choose(operation, shape, dtype_name(dtype), batch, *where)


_remembered = functools.lru_cache(1024)(_plan)
