"""The model card of a study: what the model is for, what it was made of, how good it is and what it cannot do.

After Mitchell et al. (2019). Every number comes from the study; bad ones stand beside good ones.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from features.contracts import EVENTS, HORIZONS
from training.score_tables import POOLED
from training.study import Study

_EVENT_WORDS = {
    "switch": "adverse move of one sigma against the style in force",
    "large": "large beats small",
    "crash": "small minus large at -1.25 sigma or worse",
}


def model_card(study: Study, *, champion: str | None = None, studies: int = 0, configurations: int = 1) -> str:
    """Return the card as markdown.

    Parameters
    ----------
    study : Study
    champion : str, optional
        The champion when the study was logged, in words; None: there was none.
    studies : int
        Studies registered before this one.
    configurations : int
        Different configurations among them and this one: how often somebody tried.

    Information set: matured outcomes up to the study's `scored_until`.
    """
    label = "SIMULATED: " if study.simulated else ""
    return "\n\n".join([
        f"# {label}{study.market}, cut {study.cut}",
        "\n".join(_made_of(study, champion, studies, configurations)),
        _section("Intended use", _use(study.market)),
        _section("Skill", _skill_words(study) + "\n\n" + _skill_table(study)),
        _section("By year", _yearly(study)),
        _section("Calibration", _calibration(study)),
        _section("Baselines", _baselines(study)),
        _section("Limits", _limits(study)),
    ]) + "\n"  # fmt: skip


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n{text}"


def _made_of(study: Study, champion: str | None, studies: int, configurations: int) -> Iterator[str]:
    days = study.forecasts["decision_date"]
    pairs = ", ".join(sorted(study.forecasts["pair"].astype(str).unique()))
    until = study.scored_until or "the last matured outcome"
    yield f"- data: snapshot `{study.snapshot_id}`" + (", SIMULATED" if study.simulated else "")
    yield f"- pairs: {pairs}"
    yield f"- forecasts: {days.min():%Y-%m-%d} to {days.max():%Y-%m-%d}, walk-forward; scored until {until}"
    yield f"- refits: {len(study.folds)} shown; the last cut is {study.cut}, trained on outcomes matured before it"
    yield f"- configuration `{study.config_hash}`, code `{study.git_commit}`"
    yield f"- champion at the time: {champion or 'none'}"
    yield f"- trial count: {configurations} configuration(s) tried, this one included; {studies} earlier study(ies)"


def _use(market: str) -> str:
    words = "; ".join(f"`{event}`: {_EVENT_WORDS[event]}" for event in EVENTS)
    return (
        f"Once a week, for a decision day of market {market}: probabilities of {words}, over one and four weeks, and "
        "the tail of small minus large off paths re-weighted to them. For judging the risk of a book that carries the "
        "size factor, read by a person. Not for single stocks, not within the week, not for weeks before the cut."
    )


def _skill_words(study: Study) -> str:
    pooled = study.scores[study.scores["pair"] == POOLED]
    told = {"above": [], "not told from": [], "below": []}  # type: dict[str, list[str]]
    for row in pooled.to_dict("records"):
        low, high = float(row["skill_low"]), float(row["skill_high"])
        side = "above" if low > 0 else "below" if high < 0 else "not told from"
        told[side].append(f"{row['event']} {row['horizon_weeks']}w")
    lines = [f"{side} zero: {', '.join(heads)}" for side, heads in told.items() if heads]
    return f"Log-loss skill against the weekly base rate, pooled and told by its 90% interval: {'; '.join(lines)}."


def _skill_table(study: Study) -> str:
    lines = [["event", "weeks", "pair", "rows", "base rate", "skill %", "90% interval", "Brier skill %", "noise %"]]
    for row in study.scores.to_dict("records"):
        lines.append([
            str(row["event"]), str(row["horizon_weeks"]), str(row["pair"]), str(row["n"]), _percent(row["base_rate"]),
            _signed(row["skill_log_loss"]), f"[{_signed(row['skill_low'])}, {_signed(row['skill_high'])}]",
            _signed(row["skill_brier"]), _percent(row["noise_floor"]),
        ])  # fmt: skip
    return _table(lines)


def _yearly(study: Study) -> str:
    pooled = study.yearly[study.yearly["pair"] == POOLED]
    lines = []
    for horizon in HORIZONS:
        for event in EVENTS:
            rows = pooled[(pooled["event"] == event) & (pooled["horizon_weeks"] == horizon)]
            skill = rows["skill_log_loss"].to_numpy(np.float64)
            if len(rows) == 0:
                continue
            worst, best = int(np.nanargmin(skill)), int(np.nanargmax(skill))
            years = rows["year"].to_numpy(np.int64)
            lines.append(
                f"- {event} {horizon}w: above zero in {int((skill > 0).sum())} of {len(skill)} years; worst "
                f"{years[worst]} ({_signed(skill[worst])}%), best {years[best]} ({_signed(skill[best])}%)"
            )
    return "\n".join(lines) if lines else "No year is scored yet."


def _calibration(study: Study) -> str:
    pooled = study.scores[study.scores["pair"] == POOLED]
    lines = [["event", "weeks", "slope", "slope off the base rate", "sharpness"]]
    for row in pooled.to_dict("records"):
        slopes = [f"{row[name]:.2f} ± {row[f'{name}_error']:.2f}" for name in ("slope", "slope_vs_base")]
        lines.append([str(row["event"]), str(row["horizon_weeks"]), *slopes, f"{row['sharpness']:.2f}"])
    return f"Slope 1 is calibrated, below 1 too bold. Sharpness in log-odds.\n\n{_table(lines)}"


def _baselines(study: Study) -> str:
    if study.baselines is None:
        return (
            "Skill is against climatology. Other baselines were not run in this study: `capshift backtest` runs them."
        )
    pooled = study.baselines[study.baselines["pair"] == POOLED]
    heads = list(dict.fromkeys(zip(pooled["event"].astype(str), pooled["horizon_weeks"].astype(int), strict=True)))
    lines = [["model", *(f"{event} {weeks}w" for event, weeks in heads)]]
    for model, rows in pooled.groupby("model", sort=False):
        skill = rows.set_index(["event", "horizon_weeks"])["skill_log_loss"]
        lines.append([str(model), *(_signed(skill.get(head, np.nan)) for head in heads)])
    return f"Log-loss skill against climatology in percent, pooled, same rows.\n\n{_table(lines)}"


def _limits(study: Study) -> str:
    weeks = int(study.scores["n_dates"].max()) if len(study.scores) else 0
    lines = [
        f"- {weeks} scored weeks hold about {weeks // 4} independent four-week outcomes; a skill within two noise "
        "floors of zero says little",
        "- direction is close to unpredictable at the close after the decision, where one can trade",
        "- beyond the range of its training rows a forecast says `out_of_support`; without live inputs it abstains",
        "- pairs of one market move together: several that agree are not several witnesses",
    ]
    if study.scored_until is not None:
        lines.append(f"- decisions after {study.scored_until} are forecast but not scored here")
    if study.simulated:
        lines.append("- SIMULATED data: nothing here says anything about a real market")
    return "\n".join(lines)


def _percent(value: object) -> str:
    return "" if pd.isna(value) else f"{100 * float(value):.1f}"  # type: ignore[arg-type,call-overload]


def _signed(value: object) -> str:
    return "" if pd.isna(value) else f"{100 * float(value):+.1f}"  # type: ignore[arg-type,call-overload]


def _table(lines: list[list[str]]) -> str:
    rows = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
