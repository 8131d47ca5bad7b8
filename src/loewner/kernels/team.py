"""Threads that share out a stack among them.

What they share is a compiled kernel and a job (see `native`): each thread calls the kernel on
the job and works until nothing is left of it, so that it does not matter how many of them come.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol


class Team(Protocol):
    """Threads that can be called together."""

    least: float
    """The work, in turned pairs of numbers, that is worth a thread."""

    def size(self) -> int:
        """How many threads there are, the caller's among them."""
        ...

    def run(self, kernel: Any, job: int, count: int) -> None:
        """kernel(job) in so many threads, from which it returns when all have."""
        ...


class Host(Protocol):
    """Where compiled kernels work: the memory and the threads of a framework's arrays."""

    team: Team
    """The threads that they are shared out to."""

    def dense(self, a: Any) -> Any:
        """An array of the numbers of another, without gaps between them."""
        ...

    def address(self, x: Any) -> int:
        """That of the first number of an array."""
        ...

    def empty(self, shape: tuple[int, ...], like: Any) -> Any:
        """An array of a shape, whose numbers are still to be written."""
        ...


class Threads:
    """Threads that are started for each job.

    Those that are kept would disturb the teams that linear algebra libraries keep.
    """

    least = 1e6  # some hundreds of microseconds

    def __init__(self, size: Callable[[], int]):
        self.size = size

    def run(self, kernel: Any, job: int, count: int) -> None:
        with ThreadPoolExecutor(count - 1) as pool:
            others = [pool.submit(kernel.call, job) for _ in range(count - 1)]
            kernel.call(job)
        for other in others:
            other.result()
