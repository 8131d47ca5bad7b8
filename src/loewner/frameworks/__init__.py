"""How each framework learns a rule. Nothing here knows linear algebra.

A framework is recognised by the type of an array, and imported only if its own package
has been imported already: an array of it cannot exist otherwise. To add one, write its
module and name it in `_module`.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from . import arrays
from .base import Framework

_PACKAGES = ("torch", "jax", "autograd")

_MODULES: dict[str, Any] = {}


def _module(package: str) -> Any:
    """The module here that defines `owns(x)` and `FRAMEWORK` for arrays of a package."""
    if package not in _MODULES:
        _MODULES[package] = _imported(package)
    return _MODULES[package]


def _imported(package: str) -> Any:
    # import statements, not importlib: torch.compile can trace them
    if package == "torch":
        from . import torch as module
    elif package == "jax":
        from . import jax as module
    else:
        from . import autograd as module
    return module


def framework_of(x: Any) -> Framework | None:
    """The framework whose array x is; None for lists, numbers and other plain values."""
    if type(x) is np.ndarray:
        return arrays.NUMPY
    for package in _PACKAGES:
        if sys.modules.get(package) is not None:
            module = _module(package)
            if module.owns(x):
                return module.FRAMEWORK
    return arrays.framework_of(x)


__all__ = ["Framework", "framework_of"]
