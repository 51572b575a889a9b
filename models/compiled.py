"""Loops that numpy cannot express, compiled by numba at their first use in a process.

That takes some seconds. Nothing compiled is stored: a file that is loaded can never execute code.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
_Function = TypeVar("_Function", bound=Callable[..., object])
_SLICE = 256


def compiled(function: _Function) -> _Function:
    """Compile a function; the interpreter's lock is free while it runs."""
    return cast(_Function, numba.njit(nogil=True, error_model="numpy")(function))


def vectorised(function: _Function) -> _Function:
    """Compile a sum whose order the compiler may choose, once for all calls: the same input gives the same bits."""
    return cast(_Function, numba.njit(nogil=True, error_model="numpy", fastmath={"reassoc"})(function))


def in_slices(work: Callable[[int, int], None], count: int, threads: int) -> None:
    """Call ``work(first, last)`` on slices of `count` rows, on several threads."""
    starts = range(0, count, _SLICE)
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, start, min(start + _SLICE, count)) for start in starts]:
            done.result()
