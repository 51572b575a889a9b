"""Shapes of the frames that cross the border of the store; an error carries the failing rows."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from features.errors import DataContractError

if TYPE_CHECKING:
    import pandera.pandas as pa

OBSERVATION_COLUMNS = ("series", "period", "known_at", "value", "estimated", "revision")
"""Columns of a batch to append: `estimated` marks a guessed `known_at`, `revision` a dated later vintage."""

_WANTED = {
    "series": "text",
    "period": "a time without a zone",
    "known_at": "a UTC time without a zone",
    "value": "a finite number",
    "estimated": "true or false",
    "revision": "true or false",
}


def check_observations(batch: pd.DataFrame) -> pd.DataFrame:
    """Return the columns `OBSERVATION_COLUMNS` of a batch that has the declared types and no missing cell.

    Raises
    ------
    DataContractError
        Naming the first wrong column; carries its failing rows.
    """
    from pandera.errors import SchemaError

    missing = [column for column in OBSERVATION_COLUMNS if column not in batch.columns]
    if missing:
        raise DataContractError(f"a batch of observations lacks the column(s) {', '.join(missing)}")
    batch = batch.loc[:, list(OBSERVATION_COLUMNS)].reset_index(drop=True)
    for name, schema in _schemas().items():
        try:
            schema.validate(batch)
        except SchemaError as error:
            cases = error.failure_cases
            index = cases["index"].dropna().astype(int).tolist() if isinstance(cases, pd.DataFrame) else []
            rows = batch.iloc[index] if index else batch
            raise DataContractError(
                f"column {name!r} of a batch of observations must be {_WANTED[name]}; got {rows[name].iloc[0]!r} "
                f"(type {batch[name].dtype}) for series {rows['series'].iloc[0]!r}",
                rows,
            ) from error
    return batch


@lru_cache(maxsize=1)
def _schemas() -> dict[str, pa.DataFrameSchema]:
    """Return one schema a column, so that the first failure names its column; pandera loads only when one is asked."""
    import pandera.pandas as pa

    columns = {
        "series": pa.Column(str),
        "period": pa.Column("datetime64[us]"),
        "known_at": pa.Column("datetime64[us]"),
        "value": pa.Column(float, pa.Check(np.isfinite)),
        "estimated": pa.Column(bool),
        "revision": pa.Column(bool),
    }
    return {name: pa.DataFrameSchema({name: column}) for name, column in columns.items()}
