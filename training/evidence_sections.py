"""Tables of the evidence page, each rendered from one table of the evidence; shares are shown in percent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from features.contracts import EVENTS, HORIZONS
from training.compare_heads import HEADS
from training.evidence import ROTATION_WEEKS, Evidence
from training.score_tables import POOLED

_HEAD = ("event", "horizon_weeks")
HEADS_KEYS = [(event, horizon) for horizon in HORIZONS for event in EVENTS]


def _heads(evidence: Evidence) -> str:
    pooled = _records(evidence.heads[evidence.heads["pair"] == POOLED], *_HEAD)
    auc = evidence.noise[(evidence.noise["figure"] == "auc_rebuilt") & (evidence.noise["pair"] == POOLED)]
    ranked = _records(auc, *_HEAD)
    rows = []
    for key, row in pooled.items():
        known = ranked.get(key, {})
        rows.append(
            [
                _name(*key), f"{row['n']:.0f}", _percent(row["base_rate"], False),
                f"{_percent(row['skill_log_loss'])} {_range(row['skill_low'], row['skill_high'])}",
                _percent(row["skill_brier"]), _percent(row["noise_floor"], False), _number(row["sharpness"]),
                f"{_number(row['slope_vs_base'])} ({_number(row['slope_vs_base_error'])})",
                f"{_number(known.get('value'))} [{_number(known.get('null_low'))}, {_number(known.get('null_high'))}]",
            ]
        )  # fmt: skip
    head = ["head", "rows", "base rate", "log-loss skill", "Brier skill", "noise", "sharpness", "slope (error)", "AUC"]
    return table(head, rows)


def _pairs(evidence: Evidence) -> str:
    alone = evidence.heads[evidence.heads["pair"] != POOLED]
    pairs = list(dict.fromkeys(alone["pair"].astype(str)))
    found = _records(alone, *_HEAD, "pair")
    rows = []
    for key in HEADS_KEYS:
        told = [found.get((*key, pair), {}) for pair in pairs]
        cells = [f"{_percent(r.get('skill_log_loss'))} {_range(r.get('skill_low'), r.get('skill_high'))}" for r in told]
        rows.append([_name(*key), *cells])
    return table(["head", *pairs], rows)


def _models(evidence: Evidence) -> str:
    pooled = _records(evidence.scores[evidence.scores["pair"] == POOLED], "model", *_HEAD)
    compared = _records(evidence.comparisons, "model", *_HEAD)
    rows = []
    for model in evidence.run.models:
        cells = []
        for key in HEADS_KEYS:
            inside = compared.get((model, *key), {}).get("mcs_included")
            cells.append(f"{_percent(pooled.get((model, *key), {}).get('skill_log_loss'))}{' *' if inside else ''}")
        rows.append([model, *cells])
    return table(["model", *(_name(*key) for key in HEADS_KEYS)], rows)


def _tests(evidence: Evidence) -> str:
    found = _records(evidence.comparisons, "model", *_HEAD)
    rows = []
    for model in evidence.run.models:
        if model == HEADS:
            continue
        cells = []
        for key in HEADS_KEYS:
            row = found.get((model, *key), {})
            sign = "+" if row.get("difference", 0.0) < 0 else "-"
            cells.append(f"{sign} {_number(row.get('dm_p_value'))}")
        rows.append([model, *cells])
    beaten = [found.get((HEADS, *key), {}).get("spa_p_value") for key in HEADS_KEYS]
    rows.append(["nobody beats the heads", *(_number(p) for p in beaten)])
    return table(["model", *(_name(*key) for key in HEADS_KEYS)], rows)


def _corp(evidence: Evidence) -> str:
    mine = evidence.corp[(evidence.corp["pair"] == POOLED) & (evidence.corp["score"] == "log_loss")]
    chance = _records(evidence.noise[evidence.noise["pair"] == POOLED], *_HEAD, "figure")
    rows = []
    for key, row in _records(mine, *_HEAD).items():
        parts = []
        for part in ("miscalibration", "discrimination"):
            by_luck = chance.get((*key, f"{part}_log_loss"), {}).get("null_mean")
            parts.append(f"{_number(row[part], 4)} ({_number(by_luck, 4)})")
        others = ("uncertainty", "miscalibration_base", "discrimination_base")
        rows.append([_name(*key), _number(row["loss"], 4), *parts, *(_number(row[name], 4) for name in others)])
    head = ["head", "loss", "miscalibration", "discrimination", "uncertainty", "base rate: misc.", "base rate: discr."]
    return table(head, rows)


def _years(evidence: Evidence) -> str:
    pooled = evidence.yearly[evidence.yearly["pair"] == POOLED]
    years = sorted(pooled["year"].unique())
    found = _records(pooled, *_HEAD, "year")
    rows = []
    for key in HEADS_KEYS:
        skills = [found.get((*key, year), {}).get("skill_log_loss") for year in years]
        rows.append([_name(*key), *(_percent(skill) for skill in skills)])
    return table(["head", *(str(year) for year in years)], rows)


def _rotation(evidence: Evidence) -> str:
    rows = []
    for row in evidence.rotation.to_dict("records"):
        rows.append(
            [
                row["model"], _percent(row["excess"]), _percent(row["cost"], False),
                f"{_number(row['ratio'])} ({_number(row['error'])})", _percent(row["drawdown"]),
                _number(row["turnover"], 1), f"{_percent(row['large'], False)} / {_percent(row['small'], False)}",
                _number(row["deflated_sharpe"]),
            ]
        )  # fmt: skip
    head = [
        "model", "excess %", "costs %", "information ratio (error)", "drawdown %", "turnover", "in large / small %",
        "deflated Sharpe",
    ]  # fmt: skip
    found = evidence.overfitting
    text = (
        f"Deflated Sharpe ratio: probability that the ratio beats the best of {evidence.trials} configurations and "
        f"{len(rows)} models by luck. Probability of overfitting when the best of these models is chosen: "
        f"{_number(found.pbo)} over {found.splits:,} splits."
    )
    return f"{table(head, rows)}\n{text}\n"


def _alarms(evidence: Evidence) -> str:
    rows = []
    for row in evidence.alarms.to_dict("records"):
        rows.append(
            [
                f"{row['horizon_weeks']}w", row["pair"], _number(row["alarms_a_year"], 1),
                f"{row['caught']} of {row['falls']}", _percent(row["recall_shifted"], False), _number(row["p_value"]),
                _number(row["lead_weeks"], 1), _number(row["false_a_year"], 1), _percent(row["crash_share"], False),
            ]
        )  # fmt: skip
    head = ["horizon", "pair", "alarms a year", "falls caught", "shifted alarms catch %", "p-value", "lead weeks",
            "false a year", "crash followed %"]  # fmt: skip
    return table(head, rows) if rows else "Too few weeks for a threshold.\n"


def _stability(evidence: Evidence) -> str:
    rows = []
    for row in evidence.run.explained.table.to_dict("records"):
        orders = [f"{_number(row[name])} / {_number(row[f'{name}_lowest'])}" for name in ("seeds", "refits")]
        name = _name(row["event"], row["horizon_weeks"])
        rows.append([name, _percent(row["sign_agreement"], False), *orders])
    return table(["head", "declared sign %", "seeds: mean / lowest", "refits: mean / lowest"], rows)


def _families(evidence: Evidence) -> str:
    families = evidence.run.explained.families
    names = [str(name) for name in families.columns if name not in (*_HEAD, "year")]
    mean = _records(families.groupby(list(_HEAD), sort=False)[names].mean().reset_index(), *_HEAD)
    rows = [[_name(*key), *(_percent(row[name], False) for name in names)] for key, row in mean.items()]
    return table(["head", *names], rows)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a markdown table."""
    lines = [list(head), ["---"] * len(head), *([str(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _records(frame: pd.DataFrame, *keys: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return the rows by their keys."""
    return {tuple(row[key] for key in keys): row for row in cast(list[dict[str, Any]], frame.to_dict("records"))}


def _name(event: Any, horizon: Any) -> str:
    return f"{event} {horizon}w"


def _percent(share: Any, signed: bool = True) -> str:
    value = float("nan") if share is None else 100 * float(share)
    return "-" if np.isnan(value) else f"{value:+.1f}" if signed else f"{value:.1f}"


def _range(low: Any, high: Any) -> str:
    return f"[{_percent(low)}, {_percent(high)}]"


def _number(value: Any, digits: int = 2) -> str:
    return "-" if value is None or np.isnan(value) else f"{float(value):.{digits}f}"


SECTIONS: tuple[tuple[str, str, Callable[[Evidence], str]], ...] = (
    (
        "Heads, all pairs",
        "Skill against the base rate, percent. Noise: what chance alone writes. Sharpness: how far the log-odds spread "
        "around the base rate; a head that says nothing has none. AUC beside the central 90% of what a head that knows "
        "nothing would show.",
        _heads,
    ),
    ("Heads, each pair", "Log-loss skill, percent.", _pairs),
    (
        "Every model, all pairs",
        "Log-loss skill, percent; `*` in the 90% model confidence set of its column.",
        _models,
    ),
    (
        "Heads against each model",
        "P-value of equal loss (Diebold and Mariano, small samples), `+` where the heads lose less, `-` where they "
        "lose more; last row: p-value of no model beating the heads (Hansen).",
        _tests,
    ),
    (
        "Reliability (CORP)",
        "Log loss = miscalibration - discrimination + uncertainty; in brackets the mean that chance alone gives to a "
        "calibrated forecast (miscalibration) and to one that knows nothing (discrimination).",
        _corp,
    ),
    ("By calendar year", "Log-loss skill of the heads, all pairs, percent.", _years),
    (
        "Rotation rule",
        f"Prices the {ROTATION_WEEKS}-week direction head: all large, half and half, or all small, by what it says "
        "beyond the base rate; excess over half and half net of costs, a year.",
        _rotation,
    ),
    (
        "Crash alarms",
        "At most two a year by a threshold of the past; falls are the ten largest of small against large.",
        _alarms,
    ),
    (
        "Stability of the explanation",
        "Signs: share of contributions with the declared sign, by size. Orders: rank correlation of importances "
        "between seeds and between refits, mean and lowest.",
        _stability,
    ),
    ("Families", "Shares in what moved the log-odds, percent, mean over the years.", _families),
)
"""Title, what it shows, and its table, in the order of the page."""
