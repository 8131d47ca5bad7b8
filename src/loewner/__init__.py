"""Differentiable spectral decompositions for NumPy, JAX, PyTorch and autograd arrays.

    import loewner as lw

    U, S, Vh = lw.svd(a)
    w, V = lw.eigh(a)

The type of the array decides the framework. Derivatives are right at repeated and
vanishing singular and eigenvalues, at every scale, in both modes and to every order,
wherever they exist and are determined by the outputs.
"""

from ._differentiate import jvp, vjp
from ._eig import eig, eigvals
from ._eigh import eigh, eigvalsh
from ._phase import fix_phase
from ._results import EighResult, EigResult, LeftEigResult, SVDResult
from ._svd import svd, svdvals

__version__ = "0.1.0"

__all__ = [
    "EigResult",
    "EighResult",
    "LeftEigResult",
    "SVDResult",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "fix_phase",
    "jvp",
    "svd",
    "svdvals",
    "vjp",
]
