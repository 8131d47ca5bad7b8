"""How a decomposition is computed, without derivatives: by LAPACK or by kernels of our own.

A rule asks its solvers for a `Decomposition`, `choose` says which kernel computes it, and the
framework hands the kernel a stack in blocks. Derivatives of stacks of small matrices follow
the `Tape` of their rule.
"""

from .choice import METHODS, Plan, choose, dtype_name, replayable
from .decomposition import Decomposition, transposed
from .tape import Place, Tape, evaluated, folded, pulled_back, recorded, replayed
from .team import Team, Threads

__all__ = [
    "METHODS",
    "Decomposition",
    "Place",
    "Plan",
    "Tape",
    "Team",
    "Threads",
    "choose",
    "dtype_name",
    "evaluated",
    "folded",
    "pulled_back",
    "recorded",
    "replayable",
    "replayed",
    "transposed",
]
