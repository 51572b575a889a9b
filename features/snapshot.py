"""A digest of everything that was known at a time."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from features.contracts import TimeArray


def snapshot_ids(observations: pd.DataFrame, times: TimeArray) -> list[str]:
    """Return, for each time, a digest of all observations with known_at <= that time.

    Parameters
    ----------
    observations : pandas.DataFrame
        `series, period, known_at, value`, in any order.
    times : array of datetime64[us], shape (m,), ascending

    Returns
    -------
    list of str, length m
        Twelve hexadecimal digits each; equal exactly when the visible rows are equal.
    """
    names, codes = np.unique(observations["series"].to_numpy(str), return_inverse=True)
    digests = [hashlib.blake2b(name.encode(), digest_size=8).digest() for name in names]
    series = np.frombuffer(b"".join(digests), dtype="<u8")[codes]
    known = observations["known_at"].to_numpy("datetime64[us]").astype("<i8")
    period = observations["period"].to_numpy("datetime64[us]").astype("<i8")
    value = observations["value"].to_numpy("<f8").view("<u8")
    order = np.lexsort((value, period, series, known))
    packed = np.column_stack([known, period, series.view("<i8"), value.view("<i8")])[order]
    counts = np.searchsorted(known[order], times.astype("datetime64[us]").astype(np.int64), side="right")
    running = hashlib.sha256()
    result, done = [], 0
    for count in counts:
        running.update(np.ascontiguousarray(packed[done:count]).tobytes())
        done = max(done, int(count))
        result.append(running.hexdigest()[:12])
    return result
