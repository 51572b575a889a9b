"""The table of tail scores: every cell against its own function, rows left out, information set, markdown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from features.contracts import HORIZONS, TAIL_COLUMNS, Dataset
from features.errors import DataContractError
from models.curve import GRID, QUANTILE_COLUMNS
from tests.training import tail_toy as toy
from training.tail_backtests import TailPanel, backtests, powers
from training.tail_es_tests import acerbi_szekely, es_intercept
from training.tail_markdown import tail_markdown
from training.tail_null import null_pits
from training.tail_scores import crps, fz0, pinball
from training.tail_table import tail_table
from training.tail_tests import TESTS, breaches, kupiec
from training.tail_timing import PAST_WEEKS

UNIT = dict(zip(TAIL_COLUMNS, [-1.64, -2.06, -1.96, -2.34, 1.64, 2.06, 1.96, 2.34], strict=True))


def frame(data: Dataset, seed: int, scale: float = 0.03, first: int = 20) -> pd.DataFrame:
    """A tail that wanders around a normal one."""
    index = data.outcomes.index
    rng = np.random.default_rng(seed)
    horizon = index.get_level_values("horizon_weeks").to_numpy(np.float64)
    size = scale * np.sqrt(horizon) * np.exp(0.3 * rng.standard_normal(len(index)))
    columns = {name: unit * size for name, unit in UNIT.items()}
    late = index.get_level_values("decision_date").to_numpy("datetime64[us]") >= toy.DECISIONS[first]
    return pd.DataFrame(columns, index=index)[late]


@pytest.fixture(scope="module")
def data() -> Dataset:
    return toy.dataset()


@pytest.fixture(scope="module")
def tails(data: Dataset) -> dict[str, pd.DataFrame]:
    return {"fhs_gjr": frame(data, 1), "other": frame(data, 2, 0.04, first=25)}


@pytest.fixture(scope="module")
def table(data: Dataset, tails: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return tail_table(data, tails)


def row_of(table: pd.DataFrame, **keys: object) -> pd.Series:
    chosen = np.logical_and.reduce([table[name] == value for name, value in keys.items()])
    assert chosen.sum() == 1
    return table[chosen].iloc[0]


def test_one_row_per_cell(table: pd.DataFrame) -> None:
    keys = ["model", "pair", "horizon_weeks", "level", "side"]
    assert len(table) == 2 * 3 * 2 * 2 * 2
    assert not table.duplicated(keys).any()
    assert list(table["model"].unique()) == ["fhs_gjr", "other"]
    for test in TESTS:
        assert table[f"p_{test}"].between(0, 1).all()
        assert table[f"power_{test}"].between(0, 1).all()
    late = table[table["model"] == "other"]
    assert (late["n_missing"] == np.where(late["pair"] == "pooled", 10, 5)).all()


@pytest.mark.parametrize("side", ["lower", "upper"])
def test_a_row_by_hand(data: Dataset, tails: dict[str, pd.DataFrame], table: pd.DataFrame, side: str) -> None:
    at = tails["other"].join(data.outcomes["spread_realised"]).xs(1, level="horizon_weeks").xs("a-b")
    sign, end = (1, "") if side == "lower" else (-1, "_up")
    y, var, es = (sign * at[name].to_numpy() for name in ("spread_realised", f"var_975{end}", f"es_975{end}"))
    row = row_of(table, model="other", pair="a-b", horizon_weeks=1, level=0.025, side=side)
    known = np.isfinite(y)
    assert row["n"] == known.sum()
    assert row["breaches"] == (y < var).sum()
    assert row["breach_rate"] == pytest.approx((y < var).sum() / known.sum())
    assert row["pinball"] == pytest.approx(np.nanmean(pinball(var, y, 0.025)))
    assert row["fz0"] == pytest.approx(np.nanmean(fz0(var, es, y, 0.025)))
    base = tails["fhs_gjr"].xs(1, level="horizon_weeks").xs("a-b").reindex(at.index)
    other = fz0(sign * base[f"var_975{end}"].to_numpy(), sign * base[f"es_975{end}"].to_numpy(), y, 0.025)
    assert row["fz0_difference"] == pytest.approx(np.nanmean(fz0(var, es, y, 0.025) - other))
    assert row["fz0_low"] < row["fz0_difference"] < row["fz0_high"]
    # the panel starts with the first forecast of any model
    pad = lambda values: np.concatenate([np.full(5, np.nan), values])  # noqa: E731
    null = null_pits(len(at) + 5)
    assert row["p_kupiec"] == kupiec(breaches(pad(y), pad(var)), 0.025, null=null).p_value
    assert row["p_acerbi_szekely"] == acerbi_szekely(pad(y), pad(var), pad(es), 0.025, null=null).p_value
    assert row["p_es_intercept"] == es_intercept(pad(y), pad(var), pad(es), 0.025).p_value


def test_pooled_holds_all_pairs_and_the_yardstick_is_zero(table: pd.DataFrame) -> None:
    for horizon in HORIZONS:
        keys = {"model": "other", "horizon_weeks": horizon, "level": 0.05, "side": "lower"}
        one, two, both = (row_of(table, pair=pair, **keys) for pair in ("a-b", "a-c", "pooled"))
        assert both["n"] == one["n"] + two["n"]
        assert both["breaches"] == one["breaches"] + two["breaches"]
        assert both["power_kupiec"] > max(one["power_kupiec"], 0.5)
    own = table[table["model"] == "fhs_gjr"]
    assert (own[["fz0_difference", "fz0_low", "fz0_high"]] == 0).all(axis=None)


def test_phases_only_where_horizons_overlap(data: Dataset) -> None:
    rng = np.random.default_rng(5)
    y = np.convolve(rng.normal(size=263), np.ones(4), "valid")[:, None] / 2
    var, es = np.full(y.shape, norm.ppf(0.05)), np.full(y.shape, -norm.pdf(norm.ppf(0.05)) / 0.05)
    weekly, monthly = (backtests(TailPanel(y, var, es, 0.05, h, np.eye(1))) for h in (1, 4))
    assert set(monthly) - set(weekly) == {
        f"{n}_phases" for n in ("kupiec", "independence", "conditional_coverage", "dynamic_quantile")
    }
    assert monthly["kupiec_phases"].n == monthly["kupiec"].n == 260
    assert monthly["conditional_coverage"].p_value > 0.05 > weekly["conditional_coverage"].p_value
    short = TailPanel(y[:40], var[:40], es[:40], 0.05, 4, np.eye(1))
    assert backtests(short) == powers(short) == {}


def test_timing_stands_on_the_lower_side_of_four_weeks(
    data: Dataset, tails: dict[str, pd.DataFrame], table: pd.DataFrame
) -> None:
    timed = table[table["auc"].notna()]
    assert (timed[["horizon_weeks", "level"]].to_numpy() == [4, 0.05]).all()
    assert (timed["side"] == "lower").all()
    row = row_of(timed, model="fhs_gjr", pair="a-b")
    at = tails["fhs_gjr"].join(data.outcomes).xs(4, level="horizon_weeks").xs("a-b")
    y, es = at["spread_realised"].to_numpy(), at["es_95"].to_numpy()
    bad = y < -0.05
    assert row["n_bad"] == bad.sum()
    alert = np.array([e < np.quantile(es[:k], 0.2) if k >= PAST_WEEKS else False for k, e in enumerate(es)])
    ready = np.arange(len(es)) >= PAST_WEEKS
    assert row["n_bad_alertable"] == (bad & ready).sum()
    assert row["caught"] == pytest.approx((bad & alert).sum() / (bad & ready).sum())
    assert row["alert_share"] == pytest.approx(alert.sum() / ready.sum())
    every = data.outcomes.xs(4, level="horizon_weeks").xs("a-b")
    ratios = []
    for date, value in zip(at.index, es, strict=True):
        matured = every["matured_at"] <= date + pd.Timedelta(hours=7)
        if matured.sum() >= PAST_WEEKS:
            ratios.append(value / every.loc[matured, "spread_realised"].min())
    assert row["overshoot"] == pytest.approx(max(ratios))


def test_later_outcomes_do_not_reach_an_earlier_table(data: Dataset, tails: dict[str, pd.DataFrame]) -> None:
    until = toy.DECISIONS[150]
    mine = {name: some.xs("a-b", drop_level=False) for name, some in tails.items()}
    late = data.outcomes.index.get_level_values("decision_date").to_numpy("datetime64[us]") > until
    other = data.outcomes.copy()
    other.loc[late, "spread_realised"] -= 0.3
    honest, moved = (tail_table(replace(data, outcomes=each), mine, until=until) for each in (data.outcomes, other))
    pd.testing.assert_frame_equal(honest, moved)
    # positive control: an outcome of the last scored decision is seen
    at = data.outcomes.index.get_level_values("decision_date").to_numpy("datetime64[us]") == until
    other.loc[at, "spread_realised"] -= 0.3
    assert not honest.equals(tail_table(replace(data, outcomes=other), mine, until=until))


def test_instrument_enters_the_dynamic_quantile_only(data: Dataset) -> None:
    mine = {"fhs_gjr": frame(data, 1, 0.015).xs("a-b", drop_level=False)}
    crowding = (data.outcomes["spread_realised"].xs(1, level="horizon_weeks") < -0.02).astype(float)  # the outcome
    since, until = toy.DECISIONS[30], toy.DECISIONS[170]
    plain = tail_table(data, mine, since=since, until=until)
    told = tail_table(data, mine, since=since, until=until, instrument=crowding)
    weekly = (plain["horizon_weeks"] == 1) & (plain["level"] == 0.05) & (plain["side"] == "lower")
    assert plain.loc[weekly, "p_dynamic_quantile"].item() > 0.05 > 5 * told.loc[weekly, "p_dynamic_quantile"].item()
    rest = [name for name in plain.columns if not name.startswith("p_dynamic")]
    pd.testing.assert_frame_equal(plain[rest], told[rest])
    assert (plain.loc[plain["horizon_weeks"] == 1, "n"] == 141).all()


def test_bad_frames(data: Dataset, tails: dict[str, pd.DataFrame]) -> None:
    with pytest.raises(DataContractError, match="`yardstick` must be one of"):
        tail_table(data, {"other": tails["other"]})
    whole = tails["fhs_gjr"]
    for broken, said in (
        (whole.drop(columns="es_95"), "lacks es_95"),
        (whole.reset_index(), "must be indexed by"),
        (pd.concat([whole, whole.iloc[:1]]), "share their key"),
    ):
        with pytest.raises(DataContractError, match=said):
            tail_table(data, {"fhs_gjr": broken})


def test_the_whole_distribution_is_scored_where_a_model_gives_it(
    data: Dataset, tails: dict[str, pd.DataFrame], table: pd.DataFrame
) -> None:
    assert "crps" not in table
    whole = {}
    for name, held in tails.items():
        width = held["var_95_up"] / 1.64
        grid = pd.DataFrame(np.outer(width, norm.ppf(GRID)), held.index, list(QUANTILE_COLUMNS))
        whole[name] = pd.concat([held, grid], axis=1)
    scored = tail_table(data, whole)
    assert scored["crps"].notna().sum() == scored["crps_tail"].notna().sum() == 2 * 3 * 2
    at = whole["other"].join(data.outcomes["spread_realised"]).xs(4, level="horizon_weeks").xs("a-b")
    sigma = data.rows.loc["a-b", "sigma"].reindex(at.index).to_numpy()
    y, sample = at["spread_realised"].to_numpy(), at[list(QUANTILE_COLUMNS)].to_numpy()
    row = row_of(scored, model="other", pair="a-b", horizon_weeks=4, level=0.05, side="lower")
    even = np.full(len(GRID), 0.01)
    assert row["crps"] == pytest.approx(np.nanmean(crps(sample, even, y)))
    assert row["crps_tail"] == pytest.approx(np.nanmean(crps(sample, even, y, -2 * sigma)))
    assert row["crps_low"] < row["crps_difference"] < row["crps_high"]
    own = row_of(scored, model="fhs_gjr", pair="a-b", horizon_weeks=4, level=0.05, side="lower")
    assert own["crps_tail_difference"] == 0.0
    text = tail_markdown(scored, simulated=False)
    assert len([line for line in text.splitlines() if line.startswith("| other")]) == 24 + 24 + 6 + 3
    assert f"{row['crps']:.3%}" in text


def test_markdown(table: pd.DataFrame) -> None:
    text = tail_markdown(table, simulated=True)
    assert text.startswith("SIMULATED")
    assert not tail_markdown(table, simulated=False).startswith("SIMULATED")
    lines = [line for line in text.splitlines() if line.startswith("| other")]
    assert len(lines) == 24 + 24 + 3
    row = row_of(table, model="other", pair="a-b", horizon_weeks=4, level=0.05, side="lower")
    assert any(f"{row['p_kupiec']:.3f} ({row['power_kupiec']:.2f})" in line for line in lines)
    assert "nan" not in text
