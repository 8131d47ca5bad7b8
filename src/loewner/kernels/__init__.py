"""How a decomposition is computed, without derivatives: by LAPACK or by kernels of our own.

A rule asks its solvers for a `Decomposition`, `choose` says which kernel computes it, and the
framework hands the kernel a stack in blocks. Derivatives of stacks of small matrices follow
the `Tape` of their rule.
"""

from .choice import METHODS, Plan, choose
from .decomposition import Decomposition
from .tape import Tape, evaluated, pulled_back, replayed
from .team import Team, Threads

__all__ = [
    "METHODS",
    "Decomposition",
    "Plan",
    "Tape",
    "Team",
    "Threads",
    "choose",
    "evaluated",
    "pulled_back",
    "replayed",
]
