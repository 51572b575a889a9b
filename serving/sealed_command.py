"""`capshift evaluate sealed`: the frozen configuration on data never seen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from features.errors import DataContractError, FrozenError
from serving.options import DEFAULT_ARTIFACTS, Artifacts, FrozenFile, Jobs, TrackingUri
from serving.steps import market_spec, progress_bars, training_plan

if TYPE_CHECKING:
    import numpy as np

    from features.market import MarketSpec
    from models.schedule import Plan
    from serving.sealed_data import SealedData
    from serving.sealed_register import LookRecord, Register
    from training.frozen import FrozenEntry


def sealed(
    root: Annotated[Path, typer.Option(help="Data root with later data or other markets, see docs/sealed.md.")],
    market: Annotated[
        list[str] | None, typer.Option(help="May be repeated; every frozen market that ROOT holds by default.")
    ] = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    history: Annotated[
        Path | None, typer.Option(help="Data root of the earlier years, where ROOT holds the later ones only.")
    ] = None,
    frozen: FrozenFile = None,
    tail: Annotated[bool, typer.Option("--tail", help="Backtest the tail of the scenario set, too.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Look once more, and say so on every output.")] = False,
    jobs: Jobs = 2,
    tracking_uri: TrackingUri = None,
) -> None:
    """Examine the frozen configuration on data never seen; every look is registered before its first number.

    Reads ROOT, HISTORY and FROZEN; writes ARTIFACTS/sealed and one MLflow run for each market.
    """
    from serving.registry import tracking_uri as place
    from serving.sealed_register import Register
    from training.frozen import FROZEN, in_force, load_frozen

    now = _now()
    for folder in (root, *([history] if history else [])):
        if not folder.is_dir():
            raise DataContractError(f"{folder}: no such folder; name a data root")
    path = frozen or FROZEN
    entries = in_force(load_frozen(path))
    if not entries:
        raise DataContractError(f"{path}: no frozen configuration; run `capshift evaluate freeze --market ...` first")
    desk = _Desk(
        artifacts, (root,) if history is None else (history, root), now, jobs, tracking_uri or place(artifacts)
    )
    register = Register(artifacts / "sealed" / "register.jsonl")
    exams = [_prepared(name, entries, desk, register, again=again) for name in _wanted(market, entries, root)]
    opened, skipped = [], []
    for exam in exams:
        try:
            opened.append((exam, _read(exam, desk)))
        except DataContractError as error:
            # A market that was named must be there; of the others some may be.
            if market:
                raise
            skipped.append(str(error))
    if not opened:
        raise DataContractError("; ".join(skipped))
    for reason in skipped:
        typer.echo(f"left out: {reason}", err=True)
    for exam, data in opened:
        _examine(exam, data, desk, register, tail=tail)


@dataclass(frozen=True)
class _Desk:
    """What all exams of one command share."""

    artifacts: Path
    roots: tuple[Path, ...]
    now: np.datetime64
    jobs: int
    uri: str


@dataclass(frozen=True, eq=False)
class _Exam:
    """One market, its frozen entry, its plan, the digest of its data and the look to come."""

    spec: MarketSpec
    entry: FrozenEntry
    plan: Plan
    data_hash: str
    number: int
    unfinished: LookRecord | None

    def folder(self, artifacts: Path) -> Path:
        """Where store, bundles and parts of this data and configuration lie."""
        return artifacts / "sealed" / self.spec.name / f"{self.data_hash}-{self.entry.hash}"


def _now() -> np.datetime64:
    from datetime import UTC, datetime

    import numpy as np

    return np.datetime64(datetime.now(UTC).replace(tzinfo=None), "us")


def _moment(now: np.datetime64) -> str:
    return f"{now.astype('datetime64[s]')}Z"


def _wanted(market: list[str] | None, entries: dict[str, FrozenEntry], root: Path) -> list[str]:
    """Return the markets to examine: those named, else the frozen ones that the root holds."""
    from features.market import builtin_markets
    from serving.sealed_data import holds_market

    if market:
        for name in market:
            spec = market_spec(name)
            if spec.name not in entries:
                raise DataContractError(
                    f"market {spec.name!r} has no frozen configuration; run `capshift evaluate freeze --market {name}`"
                )
            if not holds_market(spec, root):
                raise DataContractError(f"{root}: no prices of market {spec.name!r} here; {_places(spec)}")
        return market
    # A definition of one's own has no place where it could be found: it must be named.
    found = [name for name in entries if name in builtin_markets() and holds_market(market_spec(name), root)]
    if not found:
        raise DataContractError(
            f"{root}: prices of no frozen market ({', '.join(entries)}) are here; docs/sealed.md names the files"
        )
    return found


def _places(spec: MarketSpec) -> str:
    pair = spec.pairs[spec.headline]
    files = dict.fromkeys(spec.series[spec.segments[name].price].file for name in (pair.large, pair.small))
    return f"they are read from {' and '.join(str(file) for file in files)}"


def _prepared(name: str, entries: dict[str, FrozenEntry], desk: _Desk, register: Register, *, again: bool) -> _Exam:
    """Compare the present configuration with the frozen one, and this look with earlier ones."""
    from serving.sealed_data import data_hash
    from training.freeze import differences
    from training.tracking_sealed import earlier_exams
    from training.tracking_server import TrackingError

    spec = market_spec(name)
    plan, entry = training_plan(spec), entries[spec.name]
    if found := differences(entry, spec, plan):
        raise FrozenError(
            f"market {spec.name!r} is not what was frozen on {entry.frozen_on} (entry {entry.number}): "
            f"{'; '.join(found)}; check out {entry.git_commit[:12]}, or freeze again before anybody looks"
        )
    digest = data_hash(spec, desk.roots)
    looks, last = register.looks(spec.name, entry.window), register.unfinished(spec.name, entry.window)
    if last is not None and (last.data_hash, last.frozen_hash) == (digest, entry.hash):
        # An exam that was cut off before it showed a number goes on; it is the same look.
        return _Exam(spec, entry, plan, digest, last.number, last)
    number, first = len(looks) + 1, f"run 1, registered {looks[0].at} as {looks[0].hash}" if looks else ""
    if not looks:
        try:
            if logged := earlier_exams(spec.name, entry.window, desk.uri):
                number, first = len(logged) + 1, f"{logged[0]}, which MLflow knows and the register does not"
        except TrackingError as error:
            typer.echo(f"warning: {error}", err=True)
    if first and not again:
        raise DataContractError(
            f"the sealed rows of market {spec.name!r} ({entry.window}) were looked at before: {first}; a second look "
            "proves less, `--again` takes it and says so on every output"
        )
    return _Exam(spec, entry, plan, digest, number, None)


def _read(exam: _Exam, desk: _Desk) -> SealedData:
    """Read the data and make sure that some sealed row can be scored."""
    from serving.sealed_data import sealed_data
    from training.sealed_run import sealed_weeks

    data = sealed_data(exam.spec, exam.plan, desk.roots, exam.folder(desk.artifacts), desk.now)
    sealed_weeks(data.dataset, exam.plan, exam.entry.sealed_after)
    return data


def _examine(exam: _Exam, data: SealedData, desk: _Desk, register: Register, *, tail: bool) -> None:
    """Register the look, forecast, score, write and show."""
    from serving.output import write_atomic, write_text
    from serving.sealed_register import LookRecord
    from training.experiment import git_commit
    from training.sealed_markdown import Exam, sealed_markdown
    from training.sealed_run import sealed_run
    from training.sealed_scores import score_sealed, sealed_tail
    from training.tracking_sealed import close_exam, open_exam
    from training.tracking_server import TrackingError

    spec, entry, plan = exam.spec, exam.entry, exam.plan
    record = LookRecord(event="opened", at=_moment(desk.now), market=spec.name, window=entry.window, number=exam.number,
                        data_hash=exam.data_hash, frozen_hash=entry.hash)  # fmt: skip
    opened = exam.unfinished or register.append(record)
    page = Exam(entry, exam.number, opened.at, opened.hash, exam.data_hash,
                str(data.dataset.clock["snapshot_id"].iloc[-1]), git_commit(), data.absent, data.empty)  # fmt: skip
    run_id = None
    try:
        tags = {"market": spec.name, "frozen_hash": entry.hash, "data_hash": exam.data_hash, "register": opened.hash}
        tags |= {"config_hash": plan.config_hash, "snapshot_id": page.snapshot_id, "git_commit": page.git_commit}
        run_id = open_exam(spec.name, entry.window, exam.number, desk.uri, tags)
    except TrackingError as error:
        typer.echo(f"warning: {error}; the register holds the look", err=True)
    folder, scope = exam.folder(desk.artifacts), (entry.rivals, entry.sealed_after)
    with progress_bars() as progress:
        priced = None
        if tail:
            priced = sealed_tail(data.dataset, plan, entry, folder, jobs=desk.jobs, progress=progress)
        run = sealed_run(data.dataset, plan, scope, folder, jobs=desk.jobs, progress=progress)
    result = score_sealed(run, entry, priced)
    text = sealed_markdown(page, run, result)
    # From here on the numbers may be read.
    register.append(record.model_copy(update={"event": "shown", "at": _moment(_now())}))
    out = desk.artifacts / "sealed" / spec.name / f"look-{exam.number}"
    for name, table in result.tables.items():
        named = table.assign(look=page.banner or "first look")
        write_atomic(out / f"{name}.csv", lambda path, named=named: named.to_csv(path, index=False))  # type: ignore[misc]
    write_text(out / "sealed.md", text)
    typer.echo(text)
    typer.echo(f"{f'{page.banner}: ' if page.banner else ''}page and tables in {out}; register {register.path}")
    if run_id is not None:
        try:
            close_exam(run_id, out, desk.uri, result.metrics)
        except TrackingError as error:
            typer.echo(f"warning: {error}", err=True)
