"""The mathematics, written once.

Nothing here knows a framework. A rule takes and returns arrays with any number of
leading batch dimensions, never branches on their values, and states derivatives in the
words of `loewner.rules.rule.VOCABULARY` alone. The formula numbers in the comments of this
folder refer to the derivations in each module's docstring.
"""

from .eig import Eig
from .eigh import Eigh
from .geigh import GeneralizedEigh
from .svd import Svd

__all__ = ["Eig", "Eigh", "GeneralizedEigh", "Svd"]
