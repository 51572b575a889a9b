"""Batch scoring of rows of features: parquet in, parquet out, in bounded memory; after a kill it goes on."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from features.errors import DataContractError
from models.bundle import Bundle
from models.bundle_files import MANIFEST
from models.row_contract import STALE
from models.row_scores import DRIVER_COLUMNS, FEW, NUMBER_COLUMNS, Method, RowScorer
from models.schedule import day_text
from serving.job_log import JobLog
from serving.lock import output_lock
from serving.overlap import read_ahead, write_behind
from serving.parquet_rows import PART_ROWS, RowFiles, open_rows
from serving.row_part import CheckedPart, check_part, scored_table
from serving.score_parts import JoinedFile, PartFolder


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
    kept = PartFolder(job.out, _plan(job, files, scorer))
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

    def score(part: CheckedPart) -> tuple[int, pa.Table, pa.Table]:
        return part.number, scored_table(part.keys, scorer.score(part.rows, job.jobs), bundle), part.rejected

    checked = (check_part(part, job.source, scorer) for part in files.read(columns, set(counted)))
    with (
        JoinedFile(kept.folder / "scored.parquet") as whole,
        ThreadPoolExecutor(1) as reader,
        ThreadPoolExecutor(1) as writer,
    ):

        def keep(part: tuple[int, pa.Table, pa.Table]) -> tuple[int, dict[str, int]]:
            counts = kept.write(*part)
            whole.add(kept.tables("scored", range(whole.parts, part[0] + 1)))
            return part[0], counts

        for number, counts in write_behind(keep, map(score, read_ahead(checked, reader)), writer):
            counted[number] = counts
            log.emit("score", done=len(counted), of=files.parts, **_totals(counted))
        whole.add(kept.tables("scored", range(whole.parts, files.parts)))
    result = ScoreCounts(files.rows, **_totals(counted), simulated=bundle.simulated)
    if result.scored + result.rejected != result.rows:
        kept.remove()
        raise DataContractError(f"{job.source}: the files changed while they were read; run the command again")
    _publish(job, kept, whole, result)
    log.emit("finished", rows=result.rows, scored=result.scored, rejected=result.rejected, out=job.out)
    return result


def _plan(job: ScoreJob, files: RowFiles, scorer: RowScorer) -> dict[str, object]:
    """Return all that the parts depend on."""
    return {
        "bundle": hashlib.sha256((job.bundle / MANIFEST).read_bytes()).hexdigest(),
        "files": files.stamps,
        "method": scorer.method,
        "part_rows": job.part_rows,
        "columns": hashlib.sha256("/".join((*NUMBER_COLUMNS, *DRIVER_COLUMNS)).encode()).hexdigest(),
    }


def _totals(counted: dict[int, dict[str, int]]) -> dict[str, int]:
    return {kind: sum(count[kind] for count in counted.values()) for kind in ("scored", "rejected")}


def _publish(job: ScoreJob, kept: PartFolder, whole: JoinedFile, counts: ScoreCounts) -> None:
    """Let each file appear in one step, that of the scores last."""
    if counts.rejected:
        with JoinedFile(kept.folder / "rejected.parquet") as rejected:
            rejected.add(kept.tables("rejected", range(whole.parts)))
        os.replace(rejected.path, job.rejects)
    else:
        job.rejects.unlink(missing_ok=True)
    os.replace(whole.path, job.out)
    kept.remove()
