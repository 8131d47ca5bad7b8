"""How a decomposition is computed, without derivatives: by LAPACK or by kernels of our own.

A rule asks its solvers for a `Decomposition`, `choose` says which kernel computes it, and the
framework hands the kernel a stack in blocks. Derivatives of stacks of small matrices, and in
PyTorch of matrices up to a middling order, follow the `Tape` of their rule.
"""

from .choice import METHODS, Plan, choose, dtype_name, replayable
from .decomposition import Decomposition, transposed
from .tape import Kinds, Tape, evaluated, folded, followed, pulled_back, recorded
from .team import Host, Team, Threads

__all__ = [
    "METHODS",
    "Decomposition",
    "Host",
    "Kinds",
    "Plan",
    "Tape",
    "Team",
    "Threads",
    "choose",
    "dtype_name",
    "evaluated",
    "folded",
    "followed",
    "pulled_back",
    "recorded",
    "replayable",
    "transposed",
]
