"""Findings about cells of a stock panel; a check that fails almost everywhere still makes a short list."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.checks import FINDING_COLUMNS, Severity
from features.contracts import FloatArray, TimeArray

_LISTED_SINGLY = 1000


def no_findings() -> pd.DataFrame:
    """Return an empty frame of findings."""
    return pd.DataFrame(columns=list(FINDING_COLUMNS))


def cell_findings(
    code: npt.NDArray[np.str_], day: TimeArray, value: FloatArray, check: str, severity: Severity, message: str
) -> pd.DataFrame:
    """Return cells that fail one check as findings.

    Parameters
    ----------
    code : array of str, shape (n,)
        Becomes `series`.
    day : array of datetime64[us], shape (n,)
        Becomes `period`.
    value : array, shape (n,)
        What the cell holds, in its own unit.
    check, severity, message : str
        As `features.checks.Finding`; cells of severity ``error`` are in quarantine.

    Returns
    -------
    pandas.DataFrame
        Columns `FINDING_COLUMNS`, one row a cell; beyond 1,000 cells one row a code, with the first cell and how many
        days there are.
    """
    cells = pd.DataFrame({"series": code, "period": pd.DatetimeIndex(day), "value": value, "message": message})
    if len(cells) > _LISTED_SINGLY:
        groups = cells.sort_values(["series", "period"], kind="stable").groupby("series", sort=True)
        days = groups.size().tolist()
        cells = groups.head(1).reset_index(drop=True)
        cells["message"] = [f"{message}; {number} day(s), this is the first" for number in days]
    cells = cells.assign(check=check, severity=severity, quarantined=severity == "error")
    return cells.loc[:, list(FINDING_COLUMNS)]


def join_findings(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return several frames of findings as one; empty ones do not touch the types of its columns."""
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else no_findings()
