"""On the SIMULATED market, where the truth is known, the heads recover skill; seeds not used in development."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest

from features.contracts import EVENTS
from features.dataset import build_dataset
from features.market import load_market
from features.sources.simulated import simulate
from models.schedule import Plan
from models.settings import HeadSettings, TreeSettings
from models.volatility import ScenarioSettings
from serving.forecast import latest_decision
from training.scores import log_loss, reliability_slope_vs_base
from training.walkforward import walk_forward

SEEDS = range(400, 420)
"""Development used 0 to 7, earlier looks 200 to 219 and 300 to 319; the source's own tests use 100 to 107."""
KEYS = ["pair", "decision_date", "horizon_weeks"]

pytestmark = pytest.mark.slow


def study(seed: int) -> pd.DataFrame:
    """Walk-forward of one simulated market beside its true probabilities; fewer seeds of trees, fewer paths."""
    market = load_market("sample")
    simulated = simulate(market, seed, truth=True)
    dataset = build_dataset(simulated.observations, market, latest_decision(market, simulated.observations))
    schedule = market.schedule
    settings = HeadSettings(trees=TreeSettings(seeds=3), scenarios=ScenarioSettings(paths=2000))
    first = np.datetime64(schedule.first_decision, "us")
    plan = Plan(settings, first, schedule.refit_weeks, schedule.min_weeks, market.config_hash, "test")
    forecasts = walk_forward(dataset, plan, None).forecasts
    truth = simulated.truth
    assert truth is not None
    aligned = truth.reindex(pd.MultiIndex.from_frame(forecasts[KEYS]))
    return forecasts.assign(**{f"true_{event}": aligned[f"p_{event}"].to_numpy() for event in EVENTS}, seed=seed)


@pytest.fixture(scope="module")
def forecasts() -> pd.DataFrame:
    frames: Iterator[pd.DataFrame] = (study(seed) for seed in SEEDS)
    return pd.concat(frames, ignore_index=True)


def rows_of(forecasts: pd.DataFrame, event: str, horizon: int) -> pd.DataFrame:
    usable = forecasts[f"y_{event}"].notna() & forecasts[f"p_{event}"].notna() & forecasts[f"true_{event}"].notna()
    return forecasts[usable & (forecasts["horizon_weeks"] == horizon)]


def losses(rows: pd.DataFrame, event: str) -> dict[str, np.ndarray]:
    """Log loss expected under the true probability, which has far less noise than the realised one."""
    q = np.clip(rows[f"true_{event}"].to_numpy(), 1e-6, 1 - 1e-6)
    columns = {"base": f"p_{event}_base", "heads": f"p_{event}", "truth": f"true_{event}"}
    p = {name: np.clip(rows[column].to_numpy(), 1e-6, 1 - 1e-6) for name, column in columns.items()}
    return {name: -(q * np.log(value) + (1 - q) * np.log1p(-value)) for name, value in p.items()}


@pytest.mark.parametrize("event", EVENTS)
def test_four_week_skill_is_positive_and_half_of_the_truth(
    forecasts: pd.DataFrame, event: str, record_property: Callable[[str, object], None]
) -> None:
    rows = rows_of(forecasts, event, 4)
    loss = losses(rows, event)
    share = (loss["base"].mean() - loss["heads"].mean()) / (loss["base"].mean() - loss["truth"].mean())
    y = rows[f"y_{event}"].to_numpy()
    realised = {
        name: log_loss(rows[column].to_numpy(), y).mean()
        for name, column in (("base", f"p_{event}_base"), ("heads", f"p_{event}"), ("truth", f"true_{event}"))
    }
    gained = (realised["base"] - realised["heads"]) / (realised["base"] - realised["truth"])
    skill, best = (1 - realised[name] / realised["base"] for name in ("heads", "truth"))
    record_property(
        "share", f"{event} 4 weeks: share {share:.2f} expected, {gained:.2f} realised; skill {skill:.2%} of {best:.2%}"
    )
    assert share >= 0.5
    assert gained >= 0.5


@pytest.mark.parametrize("horizon", [1, 4])
@pytest.mark.parametrize("event", EVENTS)
def test_skill_is_positive(forecasts: pd.DataFrame, event: str, horizon: int) -> None:
    rows = rows_of(forecasts, event, horizon)
    loss = losses(rows, event)
    y = rows[f"y_{event}"].to_numpy()
    assert loss["heads"].mean() < loss["base"].mean()
    assert log_loss(rows[f"p_{event}"].to_numpy(), y).mean() < log_loss(rows[f"p_{event}_base"].to_numpy(), y).mean()


@pytest.mark.parametrize("horizon", [1, 4])
@pytest.mark.parametrize("event", EVENTS)
def test_the_reliability_slope_is_near_one(
    forecasts: pd.DataFrame, event: str, horizon: int, record_property: Callable[[str, object], None]
) -> None:
    rows = rows_of(forecasts, event, horizon)
    # Markets of different seeds are independent: their dates are kept apart in the clusters.
    apart = (
        rows["decision_date"]
        + pd.to_timedelta(rows["seed"] * 20_000, unit="D")
        - pd.Timedelta(days=SEEDS.start * 20_000)
    )
    slope = reliability_slope_vs_base(
        rows[f"p_{event}"].to_numpy(),
        rows[f"y_{event}"].to_numpy(),
        rows[f"p_{event}_base"].to_numpy(),
        apart.to_numpy("datetime64[us]"),
    )
    record_property("slope", f"{event} {horizon} week(s): slope {slope.value:.2f} +- {slope.error:.2f}")
    assert 0.7 <= slope.value <= 1.3


def test_no_row_breaks_the_nesting_of_events(forecasts: pd.DataFrame) -> None:
    small = forecasts[forecasts["style_in_force"] == "small"]
    assert (small["p_crash"] <= small["p_switch"]).all()
    week = small[small["horizon_weeks"] == 1]
    assert (week["p_switch"] <= week["p_large"]).all()
    other = forecasts[(forecasts["style_in_force"] == "large") & (forecasts["horizon_weeks"] == 1)]
    assert (other["p_crash"] <= other["p_large"]).all()
    assert (other["p_switch"] <= 1 - other["p_large"]).all()
