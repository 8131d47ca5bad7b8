"""The mathematics, written once.

Nothing here knows a framework. A rule takes and returns arrays with any number of
leading batch dimensions, never branches on their values, and states derivatives in the
words of `loewner.rules.rule.VOCABULARY` alone. The formula numbers in the comments of this
folder refer to the derivations in each module's docstring.
"""

from .cholesky import Cholesky
from .eig import Eig
from .eigh import Eigh
from .frechet import Frechet, GeneralFunction
from .geigh import GeneralizedEigh
from .hermitian import HermitianFrame, HermitianFunction
from .polar import Polar
from .singular import SingularFrame, SingularFunction
from .sums import Broken, SpectralSum, WeightedSum
from .svd import Svd

__all__ = [
    "Broken",
    "Cholesky",
    "Eig",
    "Eigh",
    "Frechet",
    "GeneralFunction",
    "GeneralizedEigh",
    "HermitianFrame",
    "HermitianFunction",
    "Polar",
    "SingularFrame",
    "SingularFunction",
    "SpectralSum",
    "Svd",
    "WeightedSum",
]
