"""What crash alarms were worth, pair by pair and together: recall, lead, false alarms, and the same by chance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from features.contracts import BoolArray, FloatArray, IntArray
from features.errors import DataContractError
from training.alarms import WEEKS_A_YEAR, AlarmRule, caught_falls, largest_falls, raise_alarms, shifted_catches
from training.score_tables import POOLED

FALLS = 10
"""Drawdowns of small against large that alarms should see."""
_NEEDED = ("pair", "decision_date", "horizon_weeks", "p_crash", "y_crash", "spread_realised")


class AlarmRecord(NamedTuple):
    """Alarms of one pair after the burn-in, with the falls of the same weeks.

    `weeks` has `decision_date`, the columns of `raise_alarms`, `y_crash` and the line `x` at each entry; `falls` those
    of `caught_falls` with the decision dates `peak_date, trough_date`.
    """

    pair: str
    weeks: pd.DataFrame
    falls: pd.DataFrame


def alarm_records(
    forecasts: pd.DataFrame, horizon_weeks: int, rule: AlarmRule | None = None, *, falls: int = FALLS
) -> list[AlarmRecord]:
    """Raise alarms on every pair's walk-forward and find the falls they should have seen.

    Parameters
    ----------
    forecasts : pandas.DataFrame
        `pair, decision_date, horizon_weeks, p_crash, y_crash, spread_realised` of both horizons; the line is cumulated
        from the one-week spreads.
    horizon_weeks : int
        Of the probability that raises the alarm.
    rule : AlarmRule, optional
    falls : int

    Returns
    -------
    list of AlarmRecord
        One per pair that has more weeks than the burn-in. Weeks whose spread has not matured are left out.

        Information set: of each alarm, scores up to its decision; falls are found on the whole sample.

    Raises
    ------
    DataContractError
        If a column is missing.
    """
    if missing := [name for name in _NEEDED if name not in forecasts.columns]:
        raise DataContractError(f"the forecasts lack {', '.join(missing)}; give the frame of a walk-forward")
    rule = rule or AlarmRule()
    records = []
    for pair, rows in forecasts.groupby("pair", sort=True):
        own = rows[rows["horizon_weeks"] == horizon_weeks].set_index("decision_date").sort_index()
        week = rows[rows["horizon_weeks"] == 1].set_index("decision_date")["spread_realised"].reindex(own.index)
        kept = week.notna().to_numpy()
        own, spread = own[kept], week[kept].to_numpy(np.float64)
        if len(own) <= rule.burn_in:
            continue
        alarms = raise_alarms(own["p_crash"].to_numpy(dtype=np.float64, na_value=np.nan), horizon_weeks, rule)
        alarms = alarms.iloc[rule.burn_in :].reset_index(drop=True)
        line = np.concatenate([[0.0], np.cumsum(spread[rule.burn_in :])])
        dates = own.index.to_numpy()[rule.burn_in :]
        found = caught_falls(largest_falls(line, falls), alarms, line)
        last = len(dates) - 1
        for name in ("peak", "trough"):
            found[f"{name}_date"] = dates[np.minimum(found[name].to_numpy(np.int64), last)]
        alarms.insert(0, "decision_date", dates)
        alarms["y_crash"] = own["y_crash"].to_numpy(dtype=np.float64, na_value=np.nan)[rule.burn_in :]
        alarms["x"] = line[:-1]
        records.append(AlarmRecord(str(pair), alarms, found))
    return records


def alarm_table(records: list[AlarmRecord]) -> pd.DataFrame:
    """Summarise alarms per pair and over all pairs.

    The null keeps the alarms and turns them round the circle of the sample's weeks, all pairs by as many weeks: what
    would alarms as frequent and as clustered have caught, had they nothing to do with the market?

    Parameters
    ----------
    records : list of AlarmRecord

    Returns
    -------
    pandas.DataFrame
        `pair` ("pooled" last), `weeks`, `alarms` (spells), `alarms_a_year`, `share` of weeks under alarm, `withheld`,
        `falls`, `caught`, `recall`, `recall_shifted` (mean of the null), `p_value` (share of shifts that catch as many,
        the alarms themselves among them), `lead_weeks` (median over caught falls), `saved` (mean share of a fall after
        the alarm, 0 for those missed), `false_a_year` (alarms in none of the falls) and `crash_share` (alarms in which
        a crash of the head's own definition followed).

        Information set: matured outcomes.
    """
    shifts = [shifted_catches(each.falls, each.weeks["alarm"].to_numpy(np.bool_)) for each in records]
    rows = [_row(each, null) for each, null in zip(records, shifts, strict=True)]
    if len(records) > 1:
        rows.append(_pooled(rows, records, shifts))
    columns = ["pair", "weeks", "alarms", "alarms_a_year", "share", "withheld", "falls", "caught", "recall",
               "recall_shifted", "p_value", "lead_weeks", "saved", "false_a_year", "crash_share"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _row(record: AlarmRecord, null: IntArray) -> dict[str, object]:
    weeks, falls = record.weeks, record.falls
    standing = weeks["alarm"].to_numpy(np.bool_)
    in_fall: BoolArray = np.zeros(len(weeks), dtype=np.bool_)
    for peak, trough in falls[["peak", "trough"]].itertuples(index=False):
        in_fall[peak:trough] = True
    by_spell = pd.DataFrame(
        {"spell": weeks["spell"], "right": in_fall, "crash": weeks["y_crash"].to_numpy(np.float64) == 1}
    )[standing]
    spells = by_spell.groupby("spell").any()
    years = len(weeks) / WEEKS_A_YEAR
    return {
        "pair": record.pair,
        "weeks": len(weeks),
        "alarms": len(spells),
        "alarms_a_year": len(spells) / years,
        "share": float(standing.mean()),
        "withheld": int(weeks["withheld"].sum()),
        "falls": len(falls),
        "caught": int(falls["caught"].sum()),
        "lead_weeks": float(falls["lead_weeks"].median()),
        "saved": float(falls["saved"].mean()),
        "false_a_year": float((~spells["right"].astype(bool)).sum() / years),
        "crash_share": float(spells["crash"].mean()) if len(spells) else float("nan"),
        **_significance(int(falls["caught"].sum()), null, len(falls)),
    }


def _pooled(rows: list[dict[str, object]], records: list[AlarmRecord], shifts: list[IntArray]) -> dict[str, object]:
    table = pd.DataFrame(rows)
    longest = max(len(null) for null in shifts)
    # A pair with fewer weeks comes round sooner.
    null = np.sum([np.resize(each, longest) for each in shifts], axis=0)
    falls = pd.concat([each.falls for each in records])
    weights = {name: table[name].to_numpy(np.float64) for name in ("weeks", "alarms")}
    result: dict[str, object] = {"pair": POOLED}
    result |= {name: int(table[name].sum()) for name in ("weeks", "alarms", "withheld", "falls", "caught")}
    for name in ("alarms_a_year", "share", "false_a_year"):
        result[name] = float(np.average(table[name].to_numpy(np.float64), weights=weights["weeks"]))
    raised = table[table["alarms"] > 0]
    share = float(np.average(raised["crash_share"], weights=raised["alarms"])) if len(raised) else float("nan")
    result |= {"lead_weeks": float(falls["lead_weeks"].median()), "saved": float(falls["saved"].mean())}
    return result | {"crash_share": share} | _significance(int(falls["caught"].sum()), null, len(falls))


def _significance(caught: int, null: IntArray | FloatArray, falls: int) -> dict[str, float]:
    if falls == 0:
        return {"recall": float("nan"), "recall_shifted": float("nan"), "p_value": float("nan")}
    return {
        "recall": caught / falls,
        "recall_shifted": float(np.mean(null) / falls),
        "p_value": float(np.mean(null >= caught)),
    }
