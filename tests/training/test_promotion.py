"""The gate on simulated forecasts: who knows something passes, who does not, or cannot know it, does not."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd
import pytest

from features.contracts import EVENTS
from features.errors import DataContractError
from tests.training.gate_toy import BASE, KEYS, baselines, told, world
from training.promotion import CHALLENGER, LEAK_SKILL, NEEDED_DATES, Check, Verdict, judge
from training.score_tables import matured_sample
from training.scores import brier, log_loss, skill

FINE = Check(True, "as it must be")
SKILL, BEST, YEARS = "model confidence set", "beats the best baseline", "Brier skill by year"
LEAK = "not too good to be true"


@lru_cache(maxsize=4)
def truth(seed: int = 0) -> pd.DataFrame:
    return world(seed, 0.4)


def good(seed: int = 0) -> pd.DataFrame:
    return told(truth(seed), 0.8, 0.02)


def verdict(challenger: pd.DataFrame, champion: pd.DataFrame | None = None, **changes: object) -> Verdict:
    arguments = {"replay": FINE, "data": FINE} | changes
    return judge(challenger, champion, baselines(truth()), **arguments)  # type: ignore[arg-type]


class TestKnownGood:
    @pytest.mark.parametrize("seed", [0, 2, 4])
    def test_true_skill_passes(self, seed: int) -> None:
        found = judge(good(seed), None, baselines(truth(seed)), replay=FINE, data=FINE)
        assert found.passed, found.text()
        assert found.failed == ()
        assert found.losses.index[0] == CHALLENGER
        assert "FAIL" not in found.text()

    def test_better_than_a_champion_that_knows_less(self) -> None:
        found = verdict(good(), told(truth(), 0.4, 0.02))
        assert found.passed
        assert found.against_champion is not None
        assert found.against_champion.mean < 0
        assert "challenger minus champion: -" in found.text()


class TestKnownBad:
    def test_no_skill(self) -> None:
        assert set(verdict(told(truth(), 0.0, 0.15)).failed) >= {SKILL, BEST, YEARS}

    def test_the_base_rate_itself_beats_nobody(self) -> None:
        assert BEST in verdict(told(truth(), 0.0)).failed

    def test_skill_in_one_year_only(self) -> None:
        year = truth()["decision_date"].dt.year.to_numpy()
        assert {BEST, YEARS} <= set(verdict(told(truth(), np.where(year == 2010, 1.0, 0.0), 0.03)).failed)

    def test_years_alone_are_enough_to_fail(self) -> None:
        """Knows in every second year, is noise in the others; beats climatology over all years together."""
        year = truth()["decision_date"].dt.year.to_numpy()
        rows = told(truth(), np.where(year % 2, 1.0, -0.05))
        only = {"climatology": baselines(truth())["climatology"]}
        assert judge(rows, None, only, replay=FINE, data=FINE).failed == (YEARS,)

    def test_too_bold(self) -> None:
        """Knows as much as the good one, and says it three and a half times too loud."""
        assert set(verdict(told(truth(), 3.5)).failed) >= {SKILL, BEST, YEARS}

    def test_worse_than_the_champion(self) -> None:
        """Would pass without one: the confidence set is of all models."""
        less = told(truth(), 0.3, seed=3)
        assert verdict(less).passed
        assert verdict(less, told(truth(), 1.0)).failed == (SKILL,)

    def test_a_leak_is_too_good(self) -> None:
        leaked = good()
        for event in EVENTS:
            leaked[f"p_{event}"] = 0.7 * leaked[f"p_{event}"] + 0.3 * leaked[f"y_{event}"]
        found = verdict(leaked, searched="we looked everywhere")
        assert found.failed == (LEAK,)
        assert "look for the leak" in found.text()

    def test_direction_that_nobody_can_know(self) -> None:
        rows = good()
        week = rows["horizon_weeks"] == 1
        shifted = rows["p_large"] + np.where(rows["y_large"] > 0, 0.03, -0.03)
        rows["p_large"] = rows["p_large"].where(~week, shifted)
        assert verdict(rows).failed == (LEAK,)
        assert "AUC" in verdict(rows).text()

    def test_high_skill_that_may_be_luck_needs_a_search(self) -> None:
        """One year of one pair that goes well lifts its skill over the limit, and leaves its interval wide."""
        lucky = good()
        here = (lucky["pair"] == "a-b") & (lucky["horizon_weeks"] == 4) & (lucky["decision_date"].dt.year == 2011)
        lucky["p_switch"] = lucky["p_switch"].where(~here, np.where(lucky["y_switch"] > 0, 0.95, 0.05))
        sample = matured_sample(lucky[(lucky["pair"] == "a-b") & (lucky["horizon_weeks"] == 4)], "switch")
        assert skill(log_loss(sample.p, sample.y), log_loss(sample.base, sample.y)) > LEAK_SKILL
        found = verdict(lucky)
        assert found.failed == (LEAK,)
        assert "write down the search" in found.text()
        again = verdict(lucky, searched="shifted the labels: nothing left")
        assert again.passed
        assert "searched: shifted the labels" in again.text()

    def test_too_few_weeks(self) -> None:
        few = good()
        days = np.sort(few["decision_date"].unique())[: NEEDED_DATES - 1]
        assert "common weeks" in verdict(few[few["decision_date"].isin(days)]).failed

    @pytest.mark.parametrize("name", ["replay", "data"])
    def test_what_was_found_outside_counts(self, name: str) -> None:
        found = verdict(good(), **{name: Check(False, "p_large comes out otherwise")})
        assert len(found.failed) == 1
        assert "p_large comes out otherwise" in found.text()


class TestSameWeeks:
    def test_only_rows_of_every_model_count(self) -> None:
        """A champion that is there in the second half only halves the weeks for all."""
        champion = good().copy()
        early = champion["decision_date"] < pd.Timestamp("2013-01-01")
        champion.loc[early, [f"p_{event}" for event in EVENTS]] = np.nan
        found = verdict(good(), champion)
        weeks = champion.loc[~early, "decision_date"].nunique()
        assert found.rules[0].found.startswith(f"{weeks},")
        rows = good()
        kept = rows[~early & (rows["horizon_weeks"] == 4)]
        losses = np.mean([log_loss(kept[f"p_{e}"].to_numpy(), kept[f"y_{e}"].to_numpy()) for e in EVENTS], axis=0)
        assert found.losses["loss"][CHALLENGER] == pytest.approx(losses.mean())

    def test_order_of_rows_changes_nothing(self) -> None:
        shuffled = good().sample(frac=1, random_state=0)
        assert verdict(shuffled, good()).text() == verdict(good(), good()).text()

    def test_years_by_hand(self) -> None:
        rows = good()
        rows = rows[rows["horizon_weeks"] == 4]
        year = rows["decision_date"].dt.year
        gain = {
            one: sum(
                brier(np.full(len(part), BASE[e]), part[f"y_{e}"].to_numpy()).sum()
                - brier(part[f"p_{e}"].to_numpy(), part[f"y_{e}"].to_numpy()).sum()
                for e in EVENTS
            )
            for one, part in rows.groupby(year)
        }
        found = next(rule for rule in verdict(good()).rules if rule.name == YEARS)
        assert found.found.startswith(f"{sum(value > 0 for value in gain.values())} of {len(gain)} years")

    def test_no_baseline(self) -> None:
        with pytest.raises(DataContractError, match="`baselines` must hold one model"):
            judge(good(), None, {}, replay=FINE, data=FINE)

    def test_unmatured_rows_count_for_nothing(self) -> None:
        rows = good()
        late = rows["decision_date"] > pd.Timestamp("2018-01-01")
        rows.loc[late, [f"y_{event}" for event in EVENTS]] = np.nan
        cut = good()[~late]
        assert verdict(rows).text() == verdict(cut).text()
        assert set(KEYS) <= set(rows.columns)
