from typing import Any

from . import linalg as linalg

def __getattr__(name: str) -> Any: ...
