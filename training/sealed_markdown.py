"""The sealed exam as one page: which look it was, what was frozen, verdicts, skill, rivals, tail."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from training.compare_heads import HEADS
from training.frozen import FrozenEntry
from training.score_tables import POOLED
from training.sealed_run import SealedRun
from training.sealed_scores import SealedScores
from training.tail_markdown import tail_markdown


@dataclass(frozen=True)
class Exam:
    """What the page says of the exam itself.

    Parameters
    ----------
    entry : FrozenEntry
        The configuration in force.
    number : int
        1 for the first look at these decisions.
    opened_at, register_hash : str
        Time (UTC) and hash of the register's record.
    data_hash, snapshot_id, git_commit : str
        Digest of the data files, of the observations known at the last decision, and the commit that ran.
    absent : tuple of str
        Series of the definition for which the root has no file.
    empty : tuple of str
        Families of drivers of which no feature has a value.
    """

    entry: FrozenEntry
    number: int
    opened_at: str
    register_hash: str
    data_hash: str
    snapshot_id: str
    git_commit: str
    absent: tuple[str, ...] = field(default=())
    empty: tuple[str, ...] = field(default=())

    @property
    def banner(self) -> str:
        """What heads every output of a look that is not the first; empty for the first."""
        return "" if self.number == 1 else f"SECOND LOOK (run {self.number})"


def sealed_markdown(exam: Exam, run: SealedRun, result: SealedScores) -> str:
    """Render the page; skill in percent of the base rate's loss, intervals cover 90%."""
    parts = [_head(exam, run), "## Verdicts by the frozen rules\n", _verdicts(result.verdicts)]
    parts += ["## Heads\n", _heads(result.scores), "## Rivals on the same weeks, all pairs\n", _rivals(result)]
    parts += ["## What the forecasts say of themselves\n", _validity(result.validity)]
    if result.tail is not None:
        parts += ["## Tail against the yardstick `fhs_gjr`\n", tail_markdown(result.tail, simulated=False)]
    return "\n".join(parts)


def _head(exam: Exam, run: SealedRun) -> str:
    entry, heads = exam.entry, run.heads
    first, last = (f"{day:%Y-%m-%d}" for day in (heads["decision_date"].min(), heads["decision_date"].max()))
    title = f"# Sealed exam of market {entry.market}\n"
    lines = [f"# {exam.banner}\n\n{title}" if exam.banner else title]
    lines += [
        f"- Look {exam.number} at {entry.window}; registered {exam.opened_at} as `{exam.register_hash}`.",
        f"- Frozen {entry.frozen_on}, entry {entry.number}, `{entry.hash}`; the present code and configuration are the "
        f"same (commit `{exam.git_commit[:12]}`).",
        f"- Chosen on: {entry.design}. Looks beyond: {entry.confirmation}.",
        f"- Data `{exam.data_hash}`, snapshot `{exam.snapshot_id}`.",
        f"- Decisions {first} to {last}: {heads['decision_date'].nunique()} weeks, {heads['pair'].nunique()} pair(s), "
        f"{run.refits} refit(s), nothing selected anew.",
        f"- Families of drivers: {', '.join(run.families)}."
        + (f" Without any data, so they abstain: {', '.join(exam.empty)}." if exam.empty else ""),
    ]
    if exam.absent:
        lines.append(f"- No file for: {', '.join(exam.absent)}.")
    return "\n".join(lines) + "\n"


def _verdicts(table: pd.DataFrame) -> str:
    words = {True: "reached", False: "**missed**"}
    rows = [
        [row["head"], row["claim"], row["figure"], words.get(row["reached"], "-")] for row in table.to_dict("records")
    ]
    by_head = table.groupby("head", sort=False)["reached"].agg(lambda found: all(value is not False for value in found))
    passed = [str(head) for head, whole in by_head.items() if whole]
    count = f"{sum(row[3] == 'reached' for row in rows)} of {len(rows)} claims reached; "
    count += f"every claim of: {', '.join(passed)}." if passed else "no head reaches all of its claims."
    return f"{count}\n\n{_lines(['head', 'claim', 'figure', ''], rows)}"


def _heads(scores: pd.DataFrame) -> str:
    own = scores[scores["model"] == HEADS]
    rows = [
        [
            f"{row['event']} {row['horizon_weeks']}w", str(row["pair"]), f"{row['n']:.0f}", f"{row['n_abstained']:.0f}",
            _percent(row["base_rate"], sign=False), _skill(row), _percent(row["noise_floor"], sign=False),
            f"{_number(row['slope_vs_base'])} ({_number(row['slope_vs_base_error'])})", _number(row["sharpness"]),
        ]
        for row in own[(own["pair"] == POOLED) | (own["pair"].nunique() > 2)].to_dict("records")
    ]  # fmt: skip
    head = ["head", "pair", "n", "abstained", "base rate", "skill [90%]", "noise floor", "slope (error)", "sharpness"]
    return _lines(head, rows)


def _rivals(result: SealedScores) -> str:
    """Skill of every model, and the p-value of the heads' difference to it."""
    pooled = result.scores[result.scores["pair"] == POOLED]
    tests = {_key(row): row["dm_p_value"] for row in result.comparisons.to_dict("records")}
    models = list(dict.fromkeys(pooled["model"].astype(str)))
    rows: dict[str, list[str]] = {}
    for row in pooled.to_dict("records"):
        head = f"{row['event']} {row['horizon_weeks']}w"
        p = "" if row["model"] == HEADS else f" p {_number(tests[_key(row)])}"
        rows.setdefault(head, [head]).append(_skill(row) + p)
    return _lines(["head", *models], list(rows.values()))


def _key(row: Mapping[Hashable, Any]) -> tuple[str, int, str]:
    return str(row["event"]), int(row["horizon_weeks"]), str(row["model"])


def _validity(table: pd.DataFrame) -> str:
    rows = [[str(row["validity"]), str(row["reasons"]) or "-", str(row["rows"])] for row in table.to_dict("records")]
    return _lines(["validity", "reasons", "rows"], rows)


def _lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _skill(row: Mapping[Hashable, Any]) -> str:
    return f"{_percent(row['skill_log_loss'])} [{_percent(row['skill_low'])}, {_percent(row['skill_high'])}]"


def _percent(share: float, *, sign: bool = True) -> str:
    return "-" if not np.isfinite(share) else f"{100 * share:{'+' if sign else ''}.1f}%"


def _number(value: float) -> str:
    return "-" if not np.isfinite(value) else f"{value:.2f}"
