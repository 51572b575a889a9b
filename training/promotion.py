"""The gate before a model is published: a challenger against the champion and every baseline on the same weeks.

The loss of a row is the mean of the log losses of the three events at four weeks, which is primary and fixed in advance
(METHODS 4). Pairs of a date enter as one observation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from features.contracts import EVENTS, Event, FloatArray, TimeArray
from features.errors import DataContractError
from training.compare import DieboldMariano, confidence_set, diebold_mariano, losses_by_date, superior_ability
from training.noise import auc
from training.score_tables import POOLED, SEED, matured_sample, scored_groups
from training.scores import brier, log_loss, skill, skill_interval

CHALLENGER, CHAMPION = "challenger", "champion"
PRIMARY_WEEKS = 4
"""Horizon of the loss that decides."""
NEEDED_DATES = 104
"""Fewer common weeks than this decide nothing."""
LEVEL, P_VALUE, YEARS = 0.9, 0.1, 2 / 3
"""Of the confidence set; largest p-value against the best baseline; least share of years with positive Brier skill."""
LEAK_SKILL, LEAK_AUC = 0.08, 0.65
"""Log-loss skill, and AUC of the direction over one week, above which a result means: look for the leak (METHODS 1)."""
_KEYS = ["pair", "decision_date", "horizon_weeks"]
_YEAR = "datetime64[Y]"


class Check(NamedTuple):
    """A finding that is made outside: whether it is as it must be, and what was found, in words."""

    passed: bool
    found: str


@dataclass(frozen=True)
class Rule:
    """One rule of the gate: its name, whether it is met, and the numbers in a line."""

    name: str
    passed: bool
    found: str

    def line(self) -> str:
        """Return the rule as a line of text."""
        return f"{'pass' if self.passed else 'FAIL'}  {self.name}: {self.found}"


@dataclass(frozen=True, eq=False)
class Verdict:
    """What the gate says.

    Parameters
    ----------
    rules : tuple of Rule
        All of them, met or not.
    losses : pandas.DataFrame, indexed by model, best first
        `loss` (mean joint log loss on the common rows), `p_value` and `included` of the model confidence set.
    against_champion : DieboldMariano, optional
        Challenger minus champion; told, not judged: the confidence set decides.
    """

    rules: tuple[Rule, ...]
    losses: pd.DataFrame
    against_champion: DieboldMariano | None

    @property
    def passed(self) -> bool:
        """Whether every rule is met."""
        return all(rule.passed for rule in self.rules)

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the rules that are not met."""
        return tuple(rule.name for rule in self.rules if not rule.passed)

    def text(self) -> str:
        """Return one line per rule, and the comparison with the champion."""
        lines = [rule.line() for rule in self.rules]
        if self.against_champion is not None:
            dm = self.against_champion
            lines.append(
                f"      challenger minus champion: {dm.mean:+.4f} [{dm.low:+.4f}, {dm.high:+.4f}] log loss, "
                f"Diebold-Mariano p = {dm.p_value:.3f}"
            )
        return "\n".join(lines)


def judge(
    challenger: pd.DataFrame,
    champion: pd.DataFrame | None,
    baselines: Mapping[str, pd.DataFrame],
    *,
    replay: Check,
    data: Check,
    searched: str = "",
) -> Verdict:
    """Judge a challenger by the rules of METHODS 4.

    In the 90% model confidence set of challenger, champion and baselines; SPA p < 0.10 against the best baseline; Brier
    skill positive in two thirds of the calendar years; replay exact; data checks clean; and not too good to be true.

    Parameters
    ----------
    challenger : pandas.DataFrame
        Rows of its walk-forward: `pair, decision_date, horizon_weeks` and `p_X, p_X_base, y_X` of every event.
    champion : pandas.DataFrame, optional
        The same of the champion; None where there is none.
    baselines : mapping of name to pandas.DataFrame
        As `training.baselines.baseline_forecasts` returns them.
    replay, data : Check
        Whether a forecast rebuilt from the store equals the stored one, and whether the audit is clean.
    searched : str
        What the search for a leak found, where the skill is so high that one was needed.

    Returns
    -------
    Verdict
        Models are compared on the rows on which each has a probability of every event.

    Raises
    ------
    DataContractError
        If there is no baseline, a column is missing or a key is there twice.

    Information set: matured outcomes.
    """
    if not baselines:
        raise DataContractError("`baselines` must hold one model at least; got none")
    groups = list(scored_groups(challenger))
    rows = challenger[challenger["horizon_weeks"] == PRIMARY_WEEKS].reset_index(drop=True)
    dates = rows["decision_date"].to_numpy("datetime64[us]")
    index = pd.MultiIndex.from_frame(rows[_KEYS])
    losses = {CHALLENGER: _joint_loss(rows, rows)}
    if champion is not None:
        losses[CHAMPION] = _joint_loss(rows, champion.set_index(_KEYS).reindex(index))
    losses |= {name: _joint_loss(rows, frame.reindex(index)) for name, frame in baselines.items()}
    by_date = losses_by_date(losses, dates)
    table = confidence_set(by_date, level=LEVEL)
    best = str(by_date[list(baselines)].mean().idxmin()) if len(by_date) else next(iter(baselines))
    rules = (
        Rule("common weeks", len(by_date) >= NEEDED_DATES, f"{len(by_date)}, needs {NEEDED_DATES}"),
        _confidence_rule(table),
        _ability_rule(by_date, best),
        _yearly_rule(rows),
        _leak_rule(groups, searched),
        Rule("replay", *replay),
        Rule("data checks", *data),
    )
    against = None if champion is None else _against(losses, dates)
    return Verdict(rules, table, against)


def _joint_loss(rows: pd.DataFrame, model: pd.DataFrame) -> FloatArray:
    """Mean log loss over the events, row by row; missing where an outcome or a probability is."""
    parts = [log_loss(_numbers(model, f"p_{event}"), _numbers(rows, f"y_{event}")) for event in EVENTS]
    loss: FloatArray = np.mean(parts, axis=0)
    return loss


def _confidence_rule(table: pd.DataFrame) -> Rule:
    place = list(table.index).index(CHALLENGER) + 1
    p, inside = table["p_value"].to_numpy(np.float64)[place - 1], bool(table["included"].iloc[place - 1])
    first = str(table.index[0])
    found = f"p = {p:.3f}, needs more than {1 - LEVEL:.2f}; {place} of {len(table)} by loss, the best is {first}"
    return Rule("model confidence set", bool(inside and np.isfinite(p)), found)


def _ability_rule(by_date: pd.DataFrame, best: str) -> Rule:
    p = superior_ability(by_date[[best, CHALLENGER]], best).consistent
    gain = skill(by_date[CHALLENGER].to_numpy(np.float64), by_date[best].to_numpy(np.float64))
    found = f"SPA p = {p:.3f}, needs less than {P_VALUE:.2f}; {gain:+.2%} of the log loss of {best}"
    return Rule("beats the best baseline", p < P_VALUE, found)


def _yearly_rule(rows: pd.DataFrame) -> Rule:
    """Years in which the Brier score, mean over the events, is below that of the base rate."""
    own, base = (
        np.mean([brier(_numbers(rows, f"p_{e}{end}"), _numbers(rows, f"y_{e}")) for e in EVENTS], axis=0)
        for end in ("", "_base")
    )
    kept = np.isfinite(own) & np.isfinite(base)
    year = rows["decision_date"].to_numpy(_YEAR).astype(np.int64)[kept] + 1970
    skills = {int(one): skill(own[kept][year == one], base[kept][year == one]) for one in np.unique(year)}
    good = sum(value > 0 for value in skills.values())
    bad = ", ".join(str(one) for one, value in skills.items() if not value > 0)
    found = f"{good} of {len(skills)} years, needs {int(np.ceil(YEARS * len(skills)))}"
    enough = len(skills) > 0 and good >= YEARS * len(skills)
    return Rule("Brier skill by year", enough, f"{found}; not in {bad}" if bad else found)


def _leak_rule(groups: list[tuple[Event, int, str, pd.DataFrame]], searched: str) -> Rule:
    """No pair, and not all pooled, is forecast better than anybody honestly can.

    What chance can have lifted over the limit needs a search for the leak, written down. What is over it for good (the
    whole 90% interval of a skill, or the AUC of the direction) is refused.
    """
    doubtful: list[str] = []
    impossible: list[str] = []
    top = -np.inf
    for event, horizon, pair, group in groups:
        p, base, y, dates, _ = matured_sample(group, event)
        if len(y) == 0:
            continue
        own, other = log_loss(p, y), log_loss(base, y)
        gain, where = skill(own, other), f"{event} {horizon}w {pair}"
        top = max(top, gain)
        if gain > LEAK_SKILL:
            low = skill_interval(own, other, dates, seed=SEED)[0]
            (impossible if low > LEAK_SKILL else doubtful).append(f"skill {gain:+.1%} of {where}")
        if event == "large" and horizon == 1 and (area := auc(p, y)) > LEAK_AUC:
            impossible.append(f"AUC {area:.2f} of {where}")
    name, told = "not too good to be true", "; ".join([*impossible, *doubtful][:3])
    if impossible:
        return Rule(name, False, f"{told}: look for the leak")
    if doubtful and not searched:
        return Rule(name, False, f"{told}: look for the leak and write down the search")
    if doubtful:
        return Rule(name, True, f"{told}; searched: {searched}")
    return Rule(name, True, f"highest skill {top:+.1%} of {POOLED} and single pairs, may be {LEAK_SKILL:.0%}")


def _against(losses: Mapping[str, FloatArray], dates: TimeArray) -> DieboldMariano:
    kept = np.isfinite(np.column_stack(list(losses.values()))).all(axis=1)
    own = np.where(kept, losses[CHALLENGER], np.nan)
    return diebold_mariano(own, losses[CHAMPION], dates, PRIMARY_WEEKS)


def _numbers(frame: pd.DataFrame, name: str) -> FloatArray:
    return frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
