"""Batch scoring of rows of features: parquet in, parquet out, in bounded memory; after a kill it goes on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import DataContractError
from models.bundle import Bundle
from models.bundle_files import MANIFEST
from models.row_contract import KEYS, STALE
from models.row_scores import DRIVER_COLUMNS, FEW, NUMBER_COLUMNS, Method, RowScorer, RowScores
from models.schedule import day_text
from serving.job_log import JobLog
from serving.lock import output_lock
from serving.parquet_rows import PART_ROWS, Part, RowFiles, open_rows
from serving.row_cells import safe_rows, shown
from serving.score_parts import PartFolder

REJECT_COLUMNS = ("source", "row", "reason", *KEYS)


@dataclass(frozen=True)
class ScoreJob:
    """What to score with which bundle, and where the result goes.

    Parameters
    ----------
    source : Path
        Parquet file, or a folder of them.
    out : Path
        Parquet.
    bundle : Path
    reference : bool
        Whether LightGBM itself scores; the numbers are the same to 1e-12.
    part_rows : int
        Rows of a part.
    jobs : int
        Threads; the result is the same to the byte with any number.
    """

    source: Path
    out: Path
    bundle: Path
    reference: bool = False
    part_rows: int = PART_ROWS
    jobs: int = 1

    @property
    def rejects(self) -> Path:
        """Where rejected rows go: source, row (from 0), reason and keys."""
        return rejects_path(self.out)


def rejects_path(out: Path) -> Path:
    """Return the file of the rows that were rejected."""
    return out.with_name(f"{out.name.removesuffix('.parquet')}.rejects.parquet")


@dataclass(frozen=True)
class ScoreCounts:
    """How many rows were read, scored and rejected (these two add up to the first), and whether they are SIMULATED."""

    rows: int
    scored: int
    rejected: int
    simulated: bool


def score_rows(job: ScoreJob, log: JobLog) -> ScoreCounts:
    """Score every row that keeps the contract; put the others aside, each with its reason.

    Raises
    ------
    DataContractError
        If a file is damaged or lacks a column, or the output cannot be written.
    BundleError
        If the bundle is damaged.
    LockedError
        If another job writes the same output.

    Information set: the rows themselves; of the bundle, what matured before its cut.
    """
    inside = job.source.resolve()
    if inside in (job.out.resolve(), job.rejects.resolve()) or (
        job.source.is_dir() and inside in job.out.resolve().parents
    ):
        raise DataContractError(
            f"`out` and the file of its rejected rows must not lie among the rows that are read; got {job.out}"
        )
    if job.out.is_dir():
        raise DataContractError(f"`out` must be a file; {job.out} is a folder")
    with output_lock(job.out):
        bundle = Bundle.load(job.bundle)
        files = open_rows(job.source, job.part_rows)
        method: Method = "reference" if job.reference or files.rows < FEW else "tables"
        scorer = RowScorer(bundle, method)
        if not files.rows:
            raise DataContractError(f"{job.source}: holds no rows")
        for file in files.files:
            try:
                scorer.contract.check_columns(files.columns[file])
            except DataContractError as error:
                raise DataContractError(f"{file}: {error}") from error
        try:
            return _run(job, files, scorer, log)
        except OSError as error:
            reason = error.strerror or str(error)
            raise DataContractError(
                f"{job.out}: cannot be written: {reason}; finished parts are kept, run the command again to go on"
            ) from error


def _run(job: ScoreJob, files: RowFiles, scorer: RowScorer, log: JobLog) -> ScoreCounts:
    manifest = (job.bundle / MANIFEST).read_bytes()
    plan = {
        "bundle": hashlib.sha256(manifest).hexdigest(),
        "files": files.stamps,
        "method": scorer.method,
        "part_rows": job.part_rows,
        "columns": hashlib.sha256("/".join((*NUMBER_COLUMNS, *DRIVER_COLUMNS)).encode()).hexdigest(),
    }
    kept = PartFolder(job.out, plan)
    counted = kept.done()
    bundle = scorer.bundle
    log.emit(
        "started", rows=files.rows, parts=files.parts, resumed_parts=len(counted), started_over=kept.started_over,
        market=bundle.market, simulated=bundle.simulated, bundle_cut=day_text(bundle.cut), method=scorer.method,
    )  # fmt: skip
    log.emit("score", done=len(counted), of=files.parts)
    wanted = {*scorer.contract.required, STALE}

    def columns(file: Path) -> list[str]:
        return [name for name in files.columns[file] if name in wanted]

    for part in files.read(columns, set(counted)):
        counted[part.number] = kept.write(part.number, *_score_part(job, part, scorer))
        sums = {kind: sum(count[kind] for count in counted.values()) for kind in ("scored", "rejected")}
        log.emit("score", done=len(counted), of=files.parts, **sums)
    scored, rejected = (sum(count[kind] for count in counted.values()) for kind in ("scored", "rejected"))
    counts = ScoreCounts(files.rows, scored, rejected, bundle.simulated)
    if counts.scored + counts.rejected != counts.rows:
        kept.remove()
        raise DataContractError(f"{job.source}: the files changed while they were read; run the command again")
    _publish(job, kept, counts)
    log.emit("finished", rows=counts.rows, scored=counts.scored, rejected=counts.rejected, out=job.out)
    return counts


def _score_part(job: ScoreJob, part: Part, scorer: RowScorer) -> tuple[pa.Table, pa.Table]:
    table = safe_rows(part.table)
    frame = table.to_pandas(date_as_object=False, strings_to_categorical=True)
    rows, reasons = scorer.contract.read(frame)
    good = reasons == ""
    keys = table.select(list(KEYS))
    scored = scored_table(
        keys if good.all() else keys.filter(pa.array(good)), scorer.score(rows, job.jobs), scorer.bundle
    )
    bad = np.flatnonzero(~good)
    name = part.file.relative_to(job.source).as_posix() if job.source.is_dir() else part.file.name
    held = [
        pa.array([name] * len(bad), pa.string()),
        pa.array(part.first + bad, pa.int64()),
        pa.array(list(reasons[bad]), pa.string()),
        *(pa.array(shown(part.table[key].take(bad)), pa.string()) for key in KEYS),
    ]
    return scored, pa.Table.from_arrays(held, names=list(REJECT_COLUMNS))


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


def _publish(job: ScoreJob, kept: PartFolder, counts: ScoreCounts) -> None:
    """Put the parts together; each file appears in one step, that of the scores last."""
    if counts.rejected:
        os.replace(_joined(kept.tables("rejected"), kept.folder / "rejected.parquet"), job.rejects)
    else:
        job.rejects.unlink(missing_ok=True)
    os.replace(_joined(kept.tables("scored"), kept.folder / "scored.parquet"), job.out)
    kept.remove()


def _joined(tables: Iterator[pa.Table], path: Path) -> Path:
    writer = None
    for table in tables:
        if writer is None:
            # Numbers hardly repeat: dictionaries and statistics of them cost more than they save.
            texts = [field.name for field in table.schema if not pa.types.is_floating(field.type)]
            metadata = {key: value for key, value in (table.schema.metadata or {}).items() if key != b"counts"}
            schema = table.schema.with_metadata(metadata)
            writer = pq.ParquetWriter(path, schema, use_dictionary=texts, write_statistics=list(KEYS))
        writer.write_table(table.replace_schema_metadata(schema.metadata))
    if writer is not None:
        writer.close()
    return path
