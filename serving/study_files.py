"""Tables of a study as the registry hands them out: damage on the way is one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from features.contracts import FORECAST_COLUMNS
from features.errors import DataContractError

if TYPE_CHECKING:
    import pandas as pd


def study_table(path: Path, run_id: str) -> pd.DataFrame:
    """Read a table of a study, parquet or CSV.

    Raises
    ------
    DataContractError
        If it is damaged.
    """
    import pandas as pd

    try:
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (OSError, ValueError) as error:
        # The errors of pyarrow and of the CSV reader are among them.
        reason = " ".join(str(error).split())[:120]
        raise DataContractError(
            f"{path.name} of run {run_id} is damaged ({reason}); log the study again with `capshift backtest`"
        ) from error


def study_forecasts(path: Path, run_id: str, needed: Sequence[str] = FORECAST_COLUMNS) -> pd.DataFrame:
    """Read the forecasts of a study, of which some columns are needed.

    Raises
    ------
    DataContractError
        If the file is damaged or lacks a column that is needed.
    """
    table = study_table(path, run_id)
    if missing := [name for name in needed if name not in table.columns]:
        raise DataContractError(
            f"{path.name} of run {run_id} lacks {missing[0]} and {len(missing) - 1} more column(s) of forecasts; log "
            "the study again with `capshift backtest`"
        )
    return table
