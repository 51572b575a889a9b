"""Crash alarms of the heads beside those of rivals that know less, and what all of them were worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit

from features.contracts import HORIZONS, Dataset
from training.alarm_table import AlarmRecord, alarm_records, alarm_table
from training.compare_heads import HEADS
from training.evidence_sections import table as markdown_table
from training.score_tables import POOLED

VOLATILITY = "volatility alone"
RIVALS = ("climatology", "momentum", "scenario_set")
_EPISODES = ["horizon_weeks", "pair", "peak_date", "trough_date", "depth", "caught", "lead_weeks", "saved"]


@dataclass(frozen=True, eq=False)
class AlarmStudy:
    """What `alarm_study` returns.

    Parameters
    ----------
    table : pandas.DataFrame
        `model, horizon_weeks` and the columns of `training.alarm_table.alarm_table`.
    episodes : pandas.DataFrame
        The heads' falls: `horizon_weeks, pair, peak_date, trough_date, depth, caught, lead_weeks, saved`.
    records : mapping of int to list of AlarmRecord
        Of the heads, by horizon.
    markdown : str
    """

    table: pd.DataFrame
    episodes: pd.DataFrame
    records: Mapping[int, list[AlarmRecord]]
    markdown: str


def alarm_study(models: Mapping[str, pd.DataFrame], dataset: Dataset, span: str) -> AlarmStudy:
    """Raise alarms with every model's crash probability by the same rule, and with volatility alone.

    Parameters
    ----------
    models : mapping of str to pandas.DataFrame
        Walk-forward rows of the heads and of baselines, see `training.evidence_run.EvidenceRun.models`.
    dataset : Dataset
        Whose state `vol_ratio` is the rival that only looks at volatility.
    span : str
        Decisions scored, in words.

    Information set: of each alarm, scores up to its decision; falls are found on the whole sample.
    """
    heads = models[HEADS]
    keys = pd.MultiIndex.from_frame(heads[["pair", "decision_date"]])
    burst = expit(dataset.rows["vol_ratio"].reindex(keys).to_numpy(np.float64))
    known = {name: models[name] for name in (HEADS, *RIVALS) if name in models}
    known[VOLATILITY] = heads.assign(p_crash=np.where(heads["p_crash"].isna(), np.nan, burst))
    records = {weeks: alarm_records(heads, weeks) for weeks in HORIZONS}
    tables = [
        alarm_table(alarm_records(frame, weeks)).assign(model=name, horizon_weeks=weeks)
        for weeks in HORIZONS
        for name, frame in known.items()
    ]
    table = pd.concat(tables, ignore_index=True)
    falls = [
        record.falls.assign(pair=record.pair, horizon_weeks=weeks) for weeks, held in records.items() for record in held
    ]
    episodes = pd.concat(falls, ignore_index=True)[_EPISODES] if falls else pd.DataFrame(columns=_EPISODES)
    return AlarmStudy(table, episodes, records, _page(table, episodes, dataset, span))


def _page(table: pd.DataFrame, episodes: pd.DataFrame, dataset: Dataset, span: str) -> str:
    label = "SIMULATED. " if dataset.simulated else ""
    title = (
        f"# {label}Crash alarms of market {dataset.market}\n\nDecisions {span}. At most two alarms a year by a "
        "threshold of the past; falls are the ten largest of small against large on each pair. The p-value compares "
        "with the same alarms turned round the circle of weeks.\n"
    )
    if not len(table):
        return f"{title}\nToo few weeks for a threshold.\n"
    whole = table[table["pair"] == POOLED] if (table["pair"] == POOLED).any() else table
    rows = [
        [
            row["model"], f"{row['horizon_weeks']}w", f"{row['alarms_a_year']:.1f}", f"{100 * row['share']:.0f}",
            f"{row['caught']} of {row['falls']}", f"{100 * row['recall']:.0f}", f"{100 * row['recall_shifted']:.0f}",
            f"{row['p_value']:.2f}", f"{row['lead_weeks']:.1f}", f"{100 * row['saved']:.0f}",
            f"{row['false_a_year']:.1f}", f"{100 * row['crash_share']:.0f}",
        ]
        for row in whole.to_dict("records")
    ]  # fmt: skip
    head = ["model", "horizon", "alarms a year", "weeks under alarm %", "falls caught", "recall %", "by chance %",
            "p-value", "lead weeks", "fall still to come %", "false a year", "crash followed %"]  # fmt: skip
    told = [
        [
            f"{row['horizon_weeks']}w", row["pair"], str(row["peak_date"].date()), str(row["trough_date"].date()),
            f"{100 * row['depth']:.1f}", "yes" if row["caught"] else "no",
            "-" if np.isnan(row["lead_weeks"]) else f"{row['lead_weeks']:.0f}", f"{100 * row['saved']:.0f}",
        ]
        for row in episodes.to_dict("records")
    ]  # fmt: skip
    parts = ["horizon", "pair", "peak", "trough", "depth %", "caught", "lead weeks", "still to come %"]
    return f"{title}\n{markdown_table(head, rows)}\n## Falls\n\n{markdown_table(parts, told)}"
