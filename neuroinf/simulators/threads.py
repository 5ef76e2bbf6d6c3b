"""Rows of a batch shared among threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numba
import numpy as np

T = TypeVar("T")


def in_threads(rows: Callable[[int, int], T], n: int, most: int) -> list[T]:
    """Apply ``rows(first, last)`` to ranges that cover 0 to n, in order, in up to NUMBA_NUM_THREADS threads.

    Threads of our own rather than numba's parallel loop: its thread pools must not be entered from two threads at once,
    nor used on both sides of a fork, and callers do both.

    Args:
        rows: Must let go of the interpreter's lock (``nogil``) to gain anything.
        n: Number of rows.
        most: No more threads than these: how often the work is worth waking one for.
    """
    # numba.get_num_threads() would start numba's own threads, and with them change torch's number of threads
    available = int(numba.config.NUMBA_NUM_THREADS)  # pyright: ignore[reportPrivateImportUsage, reportAttributeAccessIssue]
    threads = max(1, min(available, n, most))
    if threads == 1:
        return [rows(0, n)] if n else []
    edges = np.linspace(0, n, min(n, 4 * threads) + 1).astype(int)  # four pieces each, as rows differ in cost
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(rows, edges[:-1].tolist(), edges[1:].tolist()))
