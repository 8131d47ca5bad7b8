"""Packages that are asked for where they are needed."""

from __future__ import annotations

import importlib
from typing import Any


def needed(name: str, by: str) -> Any:
    """The module of that name; ImportError that says by what it is needed and how to get it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.split(".")[0]
        raise ImportError(f"{by} needs {package}: pip install {package}") from None
