"""How each framework learns a rule. Nothing here knows linear algebra.

A framework is recognised by the type of an array, and imported only if its own package
has been imported already: an array of it cannot exist otherwise. To add one, write its
module and name it in `_MODULES`.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from .base import Framework

_MODULES = {"torch": ".torch", "jax": ".jax", "autograd": ".autograd"}
"""Package of the framework -> module here that defines `owns(x)` and `FRAMEWORK`."""


def framework_of(x: Any) -> Framework | None:
    """The framework whose array x is; None for lists, numbers and other plain values."""
    for package, module in _MODULES.items():
        if sys.modules.get(package) is not None:
            found = importlib.import_module(module, __name__)
            if found.owns(x):
                return found.FRAMEWORK
    from . import arrays

    return arrays.framework_of(x)


__all__ = ["Framework", "framework_of"]
