"""One part of a scoring job: rows as they were read, checked against the contract, and scored."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.bundle import Bundle
from models.row_contract import KEYS, Rows
from models.row_scores import DRIVER_COLUMNS, NUMBER_COLUMNS, RowScorer, RowScores
from models.schedule import day_text
from serving.parquet_rows import Part
from serving.row_cells import safe_rows, shown

REJECT_COLUMNS = ("source", "row", "reason", *KEYS)


@dataclass(frozen=True, eq=False)
class CheckedPart:
    """A part whose rows were held against the contract.

    Parameters
    ----------
    number : int
    keys : pyarrow.Table
        Of the rows that keep it.
    rows : Rows
        These rows.
    rejected : pyarrow.Table
        The others, with `REJECT_COLUMNS`.
    """

    number: int
    keys: pa.Table
    rows: Rows
    rejected: pa.Table


def check_part(part: Part, source: Path, scorer: RowScorer) -> CheckedPart:
    """Part the rows that keep the contract from those that break it; `source` is the file or folder of the job."""
    table = safe_rows(part.table)
    frame = table.to_pandas(date_as_object=False, strings_to_categorical=True)
    rows, reasons = scorer.contract.read(frame)
    good = reasons == ""
    keys = table.select(list(KEYS))
    bad = np.flatnonzero(~good)
    name = part.file.relative_to(source).as_posix() if source.is_dir() else part.file.name
    held = [
        pa.array([name] * len(bad), pa.string()),
        pa.array(part.first + bad, pa.int64()),
        pa.array(list(reasons[bad]), pa.string()),
        *(pa.array(shown(part.table[key].take(bad)), pa.string()) for key in KEYS),
    ]
    rejected = pa.Table.from_arrays(held, names=list(REJECT_COLUMNS))
    return CheckedPart(part.number, keys.filter(pa.array(good)) if len(bad) else keys, rows, rejected)


def scored_table(keys: pa.Table, scores: RowScores, bundle: Bundle) -> pa.Table:
    """Return scores beside their keys, names as dictionaries; the metadata say which bundle made them."""
    types = dict(zip(KEYS, (pa.string(), pa.timestamp("us"), pa.string()), strict=True))
    # Of a column of another type no row is left, and not every type can be cast.
    arrays = {name: keys[name].cast(kind) if keys.num_rows else pa.array([], kind) for name, kind in types.items()}
    for name in ("validity", "reasons"):
        texts = [one.validity if name == "validity" else one.text for one in scores.judgements]
        kinds = list(dict.fromkeys(texts))
        of = np.array([kinds.index(text) for text in texts], dtype=np.int64)
        arrays[name] = _named(of[scores.which], kinds)
    for place, name in enumerate(NUMBER_COLUMNS):
        arrays[name] = pa.array(scores.numbers[place])
    for place, name in enumerate(DRIVER_COLUMNS):
        arrays[name] = _named(scores.drivers[place], list(scores.names))
    made_by = {
        "market": bundle.market, "simulated": bundle.simulated, "bundle_cut": day_text(bundle.cut),
        "snapshot_id": bundle.snapshot_id, "config_hash": bundle.config_hash, "code_version": bundle.code_version,
    }  # fmt: skip
    return pa.table(arrays).replace_schema_metadata({b"capshift": json.dumps(made_by).encode()})


def _named(places: npt.NDArray[np.int64], names: list[str]) -> pa.DictionaryArray:
    """Return names by their places; below zero there is none."""
    mask = places < 0
    held = pa.array(np.where(mask, 0, places).astype(np.int32), mask=mask)
    return pa.DictionaryArray.from_arrays(held, pa.array(names or [""], pa.string()))
