"""Two runs side by side: what, on which data, against which champion, and which one is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from features.errors import DataContractError
from serving.registry import Registry, RunRecord, tracking_uri
from serving.report.run_page import Section, render_markdown, render_page

if TYPE_CHECKING:
    import pandas as pd

_KEYS = ["event", "horizon_weeks", "pair"]
_CONTEXT = (
    ("configuration", "config_hash"), ("data snapshot", "snapshot_id"), ("last cut", "cut"), ("commit", "git_commit"),
    ("champion at the time", "champion_then"), ("trial count", "trials"), ("look beyond the design years", "look"),
)  # fmt: skip
_NEEDED = ("pair", "decision_date", "horizon_weeks")
_P_VALUE = 0.1
POOLED = "pooled"


@dataclass(frozen=True, eq=False)
class LoadedRun:
    """A run and its files: forecasts, tables and the paths of its figures by name."""

    record: RunRecord
    forecasts: pd.DataFrame
    scores: pd.DataFrame
    folds: pd.DataFrame
    figures: Mapping[str, Path]

    @property
    def scored_until(self) -> date | None:
        """Last decision that the study showed."""
        text = self.record.params.get("scored_until", "None")
        return None if text == "None" else date.fromisoformat(text)

    @property
    def simulated(self) -> bool:
        """Whether its data are simulated."""
        return self.record.tags.get("simulated") == "true"


def compare_runs(a: str, b: str, artifacts: Path) -> str:
    """Compare two MLflow runs; returns markdown and writes ARTIFACTS/compare-A-B.html with the runs' figures in it.

    Parameters
    ----------
    a, b : str
        A run's id or four or more letters of its beginning, ``MARKET@ALIAS`` or ``MARKET@VERSION``; ``run:`` before it
        is allowed.
    artifacts : Path
        Folder whose registry is asked where MLFLOW_TRACKING_URI names no other, and in which the page is written.

    Returns
    -------
    str
        Context, verdict, parameters that differ, skill of each head side by side, the difference of log loss on common
        rows with its 90% interval and Diebold-Mariano p-value, folds; the path of the page last.

    Raises
    ------
    DataContractError
        If a run is not there, is no study, or the two are of different markets.

    Information set: matured outcomes up to the earlier `scored_until` of the two.
    """
    registry = Registry(tracking_uri(artifacts))
    first, second = (_load(registry, one.removeprefix("run:")) for one in (a, b))
    markets = [run.record.tags.get("market", "") for run in (first, second)]
    if markets[0] != markets[1]:
        raise DataContractError(f"runs of one market can be compared; got {markets[0]!r} and {markets[1]!r}")
    differences = _differences(first, second)
    sections = [
        _context(first, second), _parameters(first, second), _skills(first, second), _losses(differences),
        _folds(first, second),
    ]  # fmt: skip
    names = tuple(run.record.run_id[:8] for run in (first, second))
    simulated = first.simulated or second.simulated
    title = f"{markets[0]}: run {names[0]} (A) and run {names[1]} (B)"
    verdict = _verdict(differences)
    page = artifacts / f"compare-{names[0]}-{names[1]}.html"
    figures = _figures(first, second)
    from serving.output import write_text

    write_text(page, render_page(title, verdict, sections, figures, simulated=simulated))
    return f"{render_markdown(title, verdict, sections, simulated=simulated)}\npage: {page}\n"


def _load(registry: Registry, reference: str) -> LoadedRun:
    from serving.study_files import study_forecasts, study_table

    record = registry.run(reference)
    files = registry.files(record.run_id, (".parquet", ".csv", ".png"))
    needed = ("forecasts.parquet", "scores.csv", "folds.csv")
    if missing := [name for name in needed if name not in files]:
        raise DataContractError(
            f"run {record.run_id} ({record.status.lower()}) is no whole study: it lacks {', '.join(missing)}"
        )
    return LoadedRun(
        record=record,
        forecasts=study_forecasts(files["forecasts.parquet"], record.run_id, _NEEDED),
        scores=study_table(files["scores.csv"], record.run_id),
        folds=study_table(files["folds.csv"], record.run_id),
        figures={name: path for name, path in files.items() if name.endswith(".png")},
    )


def _differences(first: LoadedRun, second: LoadedRun) -> pd.DataFrame:
    from training.run_differences import loss_differences

    limits = [run.scored_until for run in (first, second) if run.scored_until is not None]
    return loss_differences(first.forecasts, second.forecasts, min(limits) if limits else None)


def _verdict(differences: pd.DataFrame) -> str:
    """Say of which pooled heads B's log loss is told from A's."""
    sides: dict[str, list[str]] = {"better": [], "worse": [], "same": []}
    for row in differences[differences["pair"] == POOLED].to_dict("records"):
        side = "same" if not row["p_value"] < _P_VALUE else "better" if row["difference"] < 0 else "worse"
        sides[side].append(f"{row['event']} {row['horizon_weeks']}w")
    parts = [f"B is {side} than A at {', '.join(heads)}" for side, heads in sides.items() if heads and side != "same"]
    if sides["same"]:
        parts.append(f"the two are not told apart at {', '.join(sides['same'])}")
    rows = int(differences["n"].max()) if len(differences) else 0
    return f"On common rows (pooled, up to {rows}; Diebold-Mariano p below {_P_VALUE:.2f}): {'; '.join(parts)}."


def _context(first: LoadedRun, second: LoadedRun) -> Section:
    def both(name: str, told: Callable[[LoadedRun], str]) -> list[str]:
        values = [told(first), told(second)]
        return [name, *values, "" if values[0] == values[1] else "differs"]

    rows = [
        both("run", lambda run: run.record.run_id),
        both("name", lambda run: run.record.name),
        both("logged (UTC)", lambda run: f"{run.record.started:%Y-%m-%d %H:%M}"),
        *(both(name, lambda run, tag=tag: run.record.tags.get(tag, "")) for name, tag in _CONTEXT),  # type: ignore[misc]
        both("scored until", lambda run: str(run.scored_until or "the last matured outcome")),
        both("weeks", lambda run: _span(run.forecasts)),
    ]
    return Section("What, on which data, against which champion", ("", "A", "B", ""), rows)


def _span(forecasts: pd.DataFrame) -> str:
    days = forecasts["decision_date"]
    return f"{days.min():%Y-%m-%d} to {days.max():%Y-%m-%d}, {days.nunique()}"


def _parameters(first: LoadedRun, second: LoadedRun) -> Section:
    ours, theirs = first.record.params, second.record.params
    names = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
    rows = [[name, _short(ours.get(name, "(none)")), _short(theirs.get(name, "(none)"))] for name in names]
    note = "" if rows else f"All {len(ours)} parameters are equal."
    return Section("Parameters that differ", ("parameter", "A", "B"), rows, note)


def _skills(first: LoadedRun, second: LoadedRun) -> Section:
    joined = first.scores.merge(second.scores, on=_KEYS, how="outer", suffixes=("_a", "_b"))
    # Pooled first, as in the tables of the runs.
    first_pooled = joined["pair"].replace(POOLED, "")
    joined = joined.assign(order=first_pooled).sort_values(["horizon_weeks", "order"], kind="stable")
    rows = [
        [
            f"{row['event']} {row['horizon_weeks']}w", str(row["pair"]),
            *(text for end in ("a", "b") for text in (
                _skill(row, end), _percent(row[f"skill_brier_{end}"]), _number(row[f"slope_vs_base_{end}"], 2),
                _number(row[f"n_{end}"], 0),
            )),
        ]
        for row in cast(list[dict[str, Any]], joined.to_dict("records"))
    ]  # fmt: skip
    columns = ("log-loss skill %", "Brier skill %", "slope", "rows")
    heads = ("head", "pair", *(f"{end}: {name}" for end in "AB" for name in columns))
    note = "Each against its own climatology on its own rows, 90% interval; slope off the base rate, 1 is calibrated."
    return Section("Skill", heads, rows, note)


def _losses(differences: pd.DataFrame) -> Section:
    rows = [
        [
            f"{row['event']} {row['horizon_weeks']}w", str(row["pair"]), str(row["n"]), str(row["n_dates"]),
            *(_number(1000 * row[name], 2) for name in ("difference", "low", "high")), _number(row["p_value"], 3),
        ]
        for row in differences.to_dict("records")
    ]  # fmt: skip
    heads = ("head", "pair", "rows", "weeks", "B minus A, 1/1000", "90% low", "90% high", "DM p")
    revised = int(differences["n_revised"].max()) if len(differences) else 0
    note = "Mean log loss on the rows that both forecast; below zero B is better."
    if revised:
        note += f" Up to {revised} row(s) are left out because the two runs do not agree on the outcome."
    return Section("Difference of log loss on common rows", heads, rows, note)


def _folds(first: LoadedRun, second: LoadedRun) -> Section:
    events = [name for name in first.folds.columns if name.startswith("log_loss_") and name.endswith("_model")]
    events = [name for name in events if name in second.folds.columns]
    if not events or "cut" not in first.folds.columns or "cut" not in second.folds.columns:
        return Section("Folds", (), [], "The runs hold no folds that can be compared.")
    left, right = (run.folds[["cut", *events]].astype({"cut": str}) for run in (first, second))
    joined = left.merge(right, on="cut", how="outer", suffixes=("_a", "_b"), sort=True)
    rows = [
        [row["cut"][:10], *(_number(row[f"{name}_{end}"], 4) for name in events for end in "ab")]
        for row in cast(list[dict[str, Any]], joined.to_dict("records"))
    ]
    words = [name.removeprefix("log_loss_").removesuffix("_model") for name in events]
    heads = ("cut", *(f"{end}: {word}" for word in words for end in "AB"))
    return Section("Folds", heads, rows, "Log loss at four weeks in the weeks that each refit forecast.")


def _figures(first: LoadedRun, second: LoadedRun) -> list[tuple[str, Path | None, Path | None]]:
    names = sorted({*first.figures, *second.figures})
    return [(name.removesuffix(".png"), first.figures.get(name), second.figures.get(name)) for name in names]


def _skill(row: Mapping[str, Any], end: str) -> str:
    low, high = _percent(row[f"skill_low_{end}"]), _percent(row[f"skill_high_{end}"])
    return f"{_percent(row[f'skill_log_loss_{end}'])} [{low}, {high}]"


def _percent(value: float) -> str:
    return "" if value != value else f"{100 * value:+.1f}"


def _number(value: float, digits: int) -> str:
    return "" if value != value else f"{value:.{digits}f}"


def _short(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:117]}..."
