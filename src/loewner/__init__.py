"""Differentiable spectral decompositions for NumPy, JAX, PyTorch and autograd arrays.

    import loewner as lw

    U, S, Vh = lw.svd(a)
    w, V = lw.eigh(a)
    x = lw.sqrtm(a, hermitian=True)

The type of the array decides the framework. Derivatives are right at repeated and
vanishing singular and eigenvalues, at every scale, in both modes and to every order,
wherever they exist and are determined by the outputs.
"""

from ._certify import Certificate, assert_gauge_invariant, certify
from ._checks import checks, set_checks
from ._differentiate import jvp, vjp
from ._directional import (
    EighDirectionalResult,
    SVDDirectionalResult,
    eigh_directional,
    svd_directional,
)
from ._eig import eig, eigvals
from ._eigh import eigh, eigvalsh
from ._functions import (
    expm,
    fractional_matrix_power,
    funm,
    invsqrtm,
    logm,
    signm,
    spectral_mean,
    spectral_projector,
    spectral_sum,
    sqrtm,
)
from ._inspect import Inspection, inspect
from ._norms import ky_fan_norm, matrix_norm, schatten_norm, subspace_distance, sum_largest
from ._phase import fix_phase
from ._points import AlignResult, align, whiten
from ._results import EighResult, EigResult, LeftEigResult, SVDResult
from ._singular import (
    PolarResult,
    low_rank,
    nearest_orthogonal,
    nearest_rotation,
    null_projector,
    pinv,
    polar,
    range_projector,
    singular_value_map,
)
from ._spectral_map import spectral_map
from ._svd import svd, svdvals
from .rules.reports import DerivativeError, DerivativeWarning

__version__ = "0.1.0"

__all__ = [
    "AlignResult",
    "Certificate",
    "DerivativeError",
    "DerivativeWarning",
    "EigResult",
    "EighDirectionalResult",
    "EighResult",
    "Inspection",
    "LeftEigResult",
    "PolarResult",
    "SVDDirectionalResult",
    "SVDResult",
    "align",
    "assert_gauge_invariant",
    "certify",
    "checks",
    "eig",
    "eigh",
    "eigh_directional",
    "eigvals",
    "eigvalsh",
    "expm",
    "fix_phase",
    "fractional_matrix_power",
    "funm",
    "inspect",
    "invsqrtm",
    "jvp",
    "ky_fan_norm",
    "logm",
    "low_rank",
    "matrix_norm",
    "nearest_orthogonal",
    "nearest_rotation",
    "null_projector",
    "pinv",
    "polar",
    "range_projector",
    "schatten_norm",
    "set_checks",
    "signm",
    "singular_value_map",
    "spectral_map",
    "spectral_mean",
    "spectral_projector",
    "spectral_sum",
    "sqrtm",
    "subspace_distance",
    "sum_largest",
    "svd",
    "svd_directional",
    "svdvals",
    "vjp",
    "whiten",
]
