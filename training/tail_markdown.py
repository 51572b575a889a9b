"""The table of tail scores as markdown: coverage, losses and timing, each number beside what chance would give."""

from __future__ import annotations

import numpy as np
import pandas as pd

from training.tail_backtests import PHASED
from training.tail_tests import TESTS

_KEYS = ("model", "pair", "horizon_weeks", "level", "side")
_SHORT = {
    "kupiec": "UC", "independence": "Ind", "conditional_coverage": "CC", "dynamic_quantile": "DQ",
    "acerbi_szekely": "Z2", "es_intercept": "ES",
}  # fmt: skip


def tail_markdown(table: pd.DataFrame, *, simulated: bool) -> str:
    """Render the table of `tail_table` in parts.

    P-values stand beside the power of the test: its chance of noticing a doubled breach rate (`independence`: breaches
    in spells; shortfall tests: a tail 25% too small). A high p-value with a power of one half clears nobody.

    Parameters
    ----------
    table : pandas.DataFrame
    simulated : bool
        Whether the data are simulated; then the text says SIMULATED on top.
    """
    parts = ["SIMULATED\n"] if simulated else []
    parts += ["### Coverage: p-value (power) at 5%\n", _coverage(table)]
    parts += ["### Losses; FZ0 difference against the yardstick, below zero is better, 90% interval\n", _losses(table)]
    if "crps" in table and len(whole := table[table["crps"].notna()]):
        head = "### Whole distribution, and its part below minus one sigma; differences in percent of the yardstick\n"
        parts += [head, _distribution(whole)]
    timed = table[table["auc"].notna()] if "auc" in table else table.iloc[:0]
    if len(timed):
        parts += ["### Timing of the four-week expected shortfall, 5%, lower side\n", _timing(timed)]
    return "\n".join(parts)


def _coverage(table: pd.DataFrame) -> str:
    phased = [name for name in PHASED if f"p_{name}_phases" in table]
    head = ["n", "breach rate", *(_SHORT[name] for name in TESTS), *(f"{_SHORT[name]} phases" for name in phased)]
    rows = []
    for row in table.to_dict("records"):
        cells = [str(row["n"]), _percent(row["breach_rate"])]
        cells += [f"{_number(row.get(f'p_{t}'), 3)} ({_number(row.get(f'power_{t}'), 2)})" for t in TESTS]
        rows.append([*cells, *(_number(row[f"p_{name}_phases"], 3) for name in phased)])
    return _lines(table, head, rows)


def _losses(table: pd.DataFrame) -> str:
    rows = [
        [
            _number(row["pinball"], 5),
            _number(row["fz0"], 3),
            _number(row["fz0_difference"], 3),
            f"[{_number(row['fz0_low'], 3)}, {_number(row['fz0_high'], 3)}]",
        ]
        for row in table.to_dict("records")
    ]
    return _lines(table, ["pinball", "FZ0", "difference", "90% interval"], rows)


def _distribution(table: pd.DataFrame) -> str:
    """CRPS in percent of a log return, differences in percent of the yardstick's."""
    rows = []
    for row in table.to_dict("records"):
        cells = []
        for name in ("crps", "crps_tail"):
            base = row[name] - row[f"{name}_difference"]
            low, high = (_percent(row[f"{name}_{end}"] / base) for end in ("low", "high"))
            cells += [_percent(row[name], 3), _percent(row[f"{name}_difference"] / base), f"[{low}, {high}]"]
        rows.append(cells)
    head = ["CRPS", "difference", "90% interval", "tail CRPS", "difference", "90% interval"]
    return _lines(table, head, rows)


def _timing(table: pd.DataFrame) -> str:
    head = ["bad weeks (spells)", "AUC", "AUC by chance, 90%", "bad weeks after 104", "caught", "alert weeks",
            "alerts a year", "overshoot"]  # fmt: skip
    rows = [
        [
            f"{row['n_bad']:.0f} ({row['bad_spells']:.0f})",
            _number(row["auc"], 2),
            f"[{_number(row['auc_low'], 2)}, {_number(row['auc_high'], 2)}]",
            f"{row['n_bad_alertable']:.0f}",
            _percent(row["caught"]),
            _percent(row["alert_share"]),
            _number(row["alerts_a_year"], 1),
            _number(row["overshoot"], 2),
        ]
        for row in table.to_dict("records")
    ]
    return _lines(table, head, rows)


def _lines(table: pd.DataFrame, head: list[str], rows: list[list[str]]) -> str:
    keys = [[f"{row[k]:g}" if isinstance(row[k], float) else str(row[k]) for k in _KEYS] for row in _records(table)]
    lines = [["model", "pair", "h", "level", "side", *head]]
    lines += [["---"] * len(lines[0]), *(key + row for key, row in zip(keys, rows, strict=True))]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _records(table: pd.DataFrame) -> list[dict[str, object]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None or not np.isfinite(value) else f"{value:.{digits}f}"


def _percent(value: float, digits: int = 1) -> str:
    return "-" if not np.isfinite(value) else f"{value:.{digits}%}"
