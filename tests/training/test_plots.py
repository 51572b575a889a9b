"""Figures: the numbers under them, and that they say SIMULATED where they must."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from features.contracts import EVENTS
from features.errors import DataContractError
from training.plots import (
    Contributions,
    contribution_figure,
    reliability_bins,
    reliability_figure,
    wilson_interval,
    yearly_figure,
)
from training.score_tables import score_table, yearly_table


@pytest.fixture(scope="module")
def forecasts() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    weeks = np.datetime64("2012-01-06", "us") + np.timedelta64(7, "D") * np.arange(160)
    frames = []
    for pair in ("a-b", "a-c"):
        for horizon in (1, 4):
            frame = pd.DataFrame({"pair": pair, "decision_date": weeks, "horizon_weeks": horizon})
            for event in EVENTS:
                frame[f"p_{event}_base"], frame[f"p_{event}"] = 0.3, rng.uniform(0.1, 0.5, len(weeks))
                frame[f"y_{event}"] = (rng.random(len(weeks)) < frame[f"p_{event}"]).astype(np.float64)
            frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def test_wilson_agrees_with_statsmodels() -> None:
    happened, n = np.array([0, 3, 10, 20]), np.array([20, 20, 20, 20])
    np.testing.assert_allclose(
        wilson_interval(happened / n, n.astype(float), 0.9), proportion_confint(happened, n, 0.1, "wilson"), atol=1e-12
    )


def test_bins_hold_every_forecast_once(forecasts: pd.DataFrame) -> None:
    bins = reliability_bins(forecasts, "crash", 4)
    assert len(bins) == 8
    assert (bins["n"] == 40).all()
    assert bins["p"].is_monotonic_increasing
    chosen = forecasts[forecasts["horizon_weeks"] == 4]
    assert np.average(bins["observed"], weights=bins["n"]) == pytest.approx(chosen["y_crash"].mean())
    # Overlapping weeks are no second witness.
    assert (bins["n_independent"] <= bins["n"] / 4).all()
    assert ((bins["low"] <= bins["observed"]) & (bins["observed"] <= bins["high"])).all()


def test_one_probability_is_one_bin(forecasts: pd.DataFrame) -> None:
    assert len(reliability_bins(forecasts.assign(p_crash=0.3), "crash", 4)) == 1


@pytest.mark.parametrize("simulated", [True, False])
def test_titles(forecasts: pd.DataFrame, simulated: bool) -> None:
    scores, yearly = score_table(forecasts), yearly_table(forecasts)
    contributions = Contributions(("a", "b"), np.ones((30, 2)), np.random.default_rng(0).normal(size=(30, 2)))
    for figure in (
        reliability_figure(forecasts, scores, 4, simulated),
        yearly_figure(yearly, 1, simulated),
        contribution_figure("crash", contributions, simulated),
    ):
        assert figure.get_suptitle().startswith("SIMULATED") == simulated


def test_nothing_matured_is_said(forecasts: pd.DataFrame) -> None:
    empty = forecasts.assign(**{f"y_{event}": np.nan for event in EVENTS})
    figure = reliability_figure(empty, score_table(empty), 4, False)
    assert [axis.texts[0].get_text() for axis in figure.axes] == ["no matured forecast"] * 3
    yearly_figure(yearly_table(empty), 4, False)


def test_years_that_are_not_scored_are_not_drawn(forecasts: pd.DataFrame) -> None:
    early = forecasts[forecasts["decision_date"] < "2014-01-01"]
    with pytest.raises(DataContractError, match="rest on 208 rows, the forecasts on 320"):
        reliability_figure(forecasts, score_table(early), 4, False)


@pytest.mark.parametrize("n", [1, 4, 80])
def test_features_without_a_value(n: int) -> None:
    values = np.random.default_rng(0).normal(size=(n, 3))
    values[:, 1], values[: n // 2, 2] = np.nan, np.nan
    figure = contribution_figure("crash", Contributions(("a", "b", "c"), values, np.ones((n, 3))), True)
    assert {label.get_text() for label in figure.axes[0].get_yticklabels()} == {"a", "c"}
    with pytest.raises(DataContractError, match="no feature"):
        contribution_figure("crash", Contributions(("b",), values[:, 1:2], np.ones((n, 1))), True)


def test_figures_leave_nothing_in_pyplot() -> None:
    from matplotlib import pyplot as plt

    before = plt.get_fignums()
    contribution_figure("large", Contributions(("a",), np.ones((9, 1)), np.linspace(-1, 1, 9)[:, None]), True)
    assert plt.get_fignums() == before


def test_contributions_must_fit_their_names() -> None:
    with pytest.raises(DataContractError, match="one column for each of 2 names"):
        contribution_figure("large", Contributions(("a", "b"), np.ones((9, 1)), np.ones((9, 1))), True)
