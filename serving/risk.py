"""Risk of a table of books in bounded memory: checked, scored in chunks, resumed after a kill, written in one move.

One row a book and horizon, in the order of the table: `book_id, as_of, horizon_weeks`; `var_95, es_95, var_975, es_975`
(return per unit of equity, losses negative) at the corrected level of the worst pair the book holds; `level`, what
stands for 5%, and `raw_` before the same names at the nominal levels; `carry` and for each segment `es_95_SEGMENT,
es_975_SEGMENT`, which with `carry` add up to `es_95` and `es_975`; `stress` where one is named, without carry and the
same for every horizon; `p_margin_call, forced_share` where asked for. What was read and how is in the file's metadata
under `capshift`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from features.contracts import HORIZONS, FloatArray
from features.dataset import market_calendar
from features.errors import DataContractError
from features.market import MarketSpec
from models.book_margin import margin_calls
from models.books import Books, BookSettings
from models.reading import corrected_risk
from models.scenarios import ScenarioSet
from models.stress import Stress
from serving.book_checks import Report, check_rows
from serving.book_table import BookTable, open_table
from serving.lock import output_lock
from serving.output import write_atomic

_DAY_COUNT_YEARS = 10


class RiskDone(NamedTuple):
    """What a job did: books, chunks, and how many chunks an earlier, killed job had left finished."""

    books: int
    chunks: int
    resumed: int


@dataclass(frozen=True)
class RiskJob:
    """What to score and where to put it.

    Parameters
    ----------
    market : str
    simulated : bool
    day : datetime64
        The decision day of the scenario set.
    books, scenarios, out : Path
        Table of books, scenario set, and product.
    horizons : tuple of int
        Weeks.
    stress : Stress, optional
    margin : bool
        Also follow the equity of every book day by day; about a millisecond a book and core.
    chunk_rows : int
        Books held in memory at a time.
    settings : BookSettings
    """

    market: str
    simulated: bool
    day: np.datetime64
    books: Path
    scenarios: Path
    out: Path
    horizons: tuple[int, ...] = HORIZONS
    stress: Stress | None = None
    margin: bool = False
    chunk_rows: int = 20_000
    settings: BookSettings = field(default_factory=BookSettings)

    @cached_property
    def description(self) -> dict[str, object]:
        """What decides the product, byte by byte; also its metadata."""
        settings = {key: value for key, value in asdict(self.settings).items() if key != "threads"}
        return {
            "market": self.market,
            "simulated": "SIMULATED" if self.simulated else "",
            "as_of": _text(self.day),
            "books_sha256": _digest(self.books),
            "scenarios_sha256": _digest(self.scenarios),
            "horizons": list(self.horizons),
            "stress": None if self.stress is None else {"name": self.stress.name, "shocks": dict(self.stress.shocks)},
            "margin": self.margin,
            "chunk_rows": self.chunk_rows,
            "settings": settings,
            "code_version": version("capshift"),
        }


def sessions_per_year(market: MarketSpec, day: np.datetime64) -> float:
    """Return the mean number of the market's sessions in a year, over the ten years up to a day.

    Information set: sessions <= `day`.
    """
    sessions = market_calendar(market, day).sessions
    span = np.timedelta64(round(365.25 * _DAY_COUNT_YEARS), "D")
    first = max(day - span, sessions[0])
    return float(((sessions > first) & (sessions <= day)).sum() / ((day - first) / np.timedelta64(1, "D")) * 365.25)


def run_risk(job: RiskJob, report: Report = lambda stage, done, total: None) -> RiskDone:
    """Score a table of books; the product appears complete or not at all.

    Finished chunks wait in ``.NAME.work`` beside the product, under a digest of everything that decides it; a job that
    was killed goes on from them, and one with other inputs throws them away. Memory is bounded by `chunk_rows`, the
    scenario set, and nine bytes a book for the check of identifiers.

    Raises
    ------
    DataContractError
        If the table, one of its rows, the scenario set or the place of the product is wrong; nothing is written then.
    LockedError
        If another job is writing the product.

    Information set: that of the scenario set, rows with known_at <= its decision.
    """
    if job.chunk_rows < 1:
        raise DataContractError(f"`chunk_rows` must be at least 1; got {job.chunk_rows}")
    if job.out.is_dir() or job.out.resolve() in (job.books.resolve(), job.scenarios.resolve()):
        raise DataContractError(f"{job.out}: must be a file that is neither a folder nor an input; name another output")
    held = ScenarioSet.load(job.scenarios)
    if held.sessions[0] <= job.day:
        raise DataContractError(
            f"{job.scenarios}: not a scenario set of {_text(job.day)}, its first session is {_text(held.sessions[0])}; "
            "forecast the day again"
        )
    table = open_table(job.books, held.segments)
    with output_lock(job.out):
        before = _stamp(job.books)
        count = check_rows(table, job.day, job.stress, job.chunk_rows, report)
        described = json.dumps(job.description, sort_keys=True)
        root = job.out.parent / f".{job.out.name}.work"
        folder = root / hashlib.sha256(described.encode()).hexdigest()[:16]
        if root.exists():
            for other in root.iterdir():
                if other != folder:
                    shutil.rmtree(other)
        paths, resumed = [], 0
        for number, chunk in enumerate(table.chunks(job.chunk_rows)):
            path = folder / f"{number:06d}.parquet"
            if _finished(path, len(chunk) * len(job.horizons)):
                resumed += 1
            else:
                scored = score_chunk(job, held, table, chunk)
                write_atomic(path, partial(pyarrow.parquet.write_table, scored))
            paths.append(path)
            report("score books", min((number + 1) * job.chunk_rows, count), count)
        if _stamp(job.books) != before:
            raise DataContractError(f"{job.books}: changed while it was read; run the command again")
        complete = write_atomic(folder / "complete.parquet", lambda place: _assemble(paths, place, described, report))
        os.replace(complete, job.out)
        shutil.rmtree(root)
    return RiskDone(count, len(paths), resumed)


def score_chunk(job: RiskJob, held: ScenarioSet, table: BookTable, chunk: pa.Table) -> pa.Table:
    """Score the books of one chunk; one row a book and horizon."""
    books = table.books(chunk)
    by_horizon = [_risk_columns(books, held, horizon, job.settings) for horizon in job.horizons]
    if job.margin:
        calls = margin_calls(books, held, job.horizons, job.settings)
        for horizon, columns in zip(job.horizons, by_horizon, strict=True):
            columns["p_margin_call"], columns["forced_share"] = calls[horizon]
    if job.stress is not None:
        lost = job.stress.returns(books)
        for columns in by_horizon:
            columns["stress"] = lost
    each = len(job.horizons)
    rows = pa.array(np.repeat(np.arange(len(books)), each))
    arrays = {
        "book_id": chunk["book_id"].take(rows).combine_chunks(),
        "as_of": chunk["as_of"].take(rows).combine_chunks(),
        "horizon_weeks": pa.array(np.tile(np.array(job.horizons, dtype=np.int64), len(books))),
    }
    for name in by_horizon[0]:
        arrays[name] = pa.array(np.column_stack([columns[name] for columns in by_horizon]).ravel())
    return pa.table(arrays)


def _risk_columns(books: Books, held: ScenarioSet, horizon: int, settings: BookSettings) -> dict[str, FloatArray]:
    found = corrected_risk(books, held, horizon, settings)
    risk, raw = found.corrected, found.raw
    names = [f"{100 * (1 - level):g}".replace(".", "") for level in settings.levels]
    columns: dict[str, FloatArray] = {}
    for place, name in enumerate(names):
        columns[f"var_{name}"], columns[f"es_{name}"] = risk.var[:, place], risk.es[:, place]
    columns["level"] = found.level
    for place, name in enumerate(names):
        columns[f"raw_var_{name}"], columns[f"raw_es_{name}"] = raw.var[:, place], raw.es[:, place]
    columns["carry"] = risk.carry
    for place, name in enumerate(names):
        for k, segment in enumerate(books.segments):
            columns[f"es_{name}_{segment}"] = risk.contributions[:, place, k]
    return columns


def _assemble(paths: Sequence[Path], place: Path, described: str, report: Report) -> None:
    """Write the chunks into one file, one at a time."""
    schema = pyarrow.parquet.read_schema(paths[0]).with_metadata({"capshift": described})
    with pyarrow.parquet.ParquetWriter(place, schema) as writer:
        for number, path in enumerate(paths):
            writer.write_table(pyarrow.parquet.read_table(path, partitioning=None).cast(schema))
            report("write", number + 1, len(paths))


def _finished(path: Path, rows: int) -> bool:
    """Return whether a chunk is there whole; a power cut may leave an empty file."""
    try:
        return path.exists() and pyarrow.parquet.read_metadata(path).num_rows == rows
    except (pa.ArrowException, OSError):
        return False


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stamp(path: Path) -> tuple[int, int]:
    held = path.stat()
    return held.st_mtime_ns, held.st_size


def _text(day: np.datetime64) -> str:
    return str(day.astype("datetime64[D]"))
