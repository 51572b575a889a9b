"""The SIMULATED market: what it promises of its data, and what is known to be true of it.

Seeds 0 to 7 served to set the process; tests use seeds from 100 on.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest

from features.calendar import TradingCalendar, local_to_utc
from features.checks import check_batch, check_stored, in_current_unit
from features.contracts import EVENTS, FAMILIES, HORIZONS, STYLE_SMALL, FloatArray, read_events
from features.dataset import build_dataset
from features.errors import DefinitionError
from features.frames import OBSERVATION_COLUMNS, check_observations
from features.market import MarketSpec, load_market
from features.simulation import REGIMES, SIMULATED, TRUE_FEATURES, generate, spans
from features.sources.simulated import HISTORY_END, SimulatedMarket, simulate
from features.states import style_in_force, weekly_sigma

SEED = 100
UNSEEN = range(100, 108)


@pytest.fixture(scope="module")
def market() -> MarketSpec:
    return load_market("sample")


@pytest.fixture(scope="module")
def simulated(market: MarketSpec) -> SimulatedMarket:
    return simulate(market, SEED, truth=True)


@cache
def calendar() -> TradingCalendar:
    first = np.datetime64(load_market("sample").schedule.history_start)
    return TradingCalendar.build("XSHG", first, HISTORY_END + np.timedelta64(120, "D"))


def prices(market: MarketSpec, sample: SimulatedMarket) -> pd.DataFrame:
    rows = sample.observations
    rows = rows[rows["series"].isin([spec.price for spec in market.segments.values()])]
    return rows.pivot_table(index="period", columns="series", values="value")


def judged(market: MarketSpec, sample: SimulatedMarket) -> pd.DataFrame:
    """Truth beside what happened and beside expanding climatology, from the first decision on.

    Indexed like the truth, with `style`, `y_X` and `b_X`: the mean of the outcomes matured at the decision, of the same
    pair and horizon and, for switch, of the same style.
    """
    decisions = calendar().decisions()
    entry = calendar().position(calendar().entries(decisions))
    closes = prices(market, sample)
    count = int(np.searchsorted(entry, len(closes)))
    frames = []
    for name, pair in market.pairs.items():
        line = np.log(closes[f"{pair.small}.close"] / closes[f"{pair.large}.close"]).to_numpy()
        x = line[calendar().position(decisions[:count])]
        sigma = weekly_sigma(x)
        style = style_in_force(x, sigma)[0]
        for horizon in HORIZONS:
            weeks = np.arange(count - horizon)
            path = line[entry[weeks[:, None] + np.arange(horizon + 1)]]
            outcomes = read_events(path[:, 1:] - path[:, :1], sigma[weeks], style[weeks], horizon)
            frame = pd.DataFrame({"style": style[weeks]}, index=pd.DatetimeIndex(decisions[weeks]))
            for event, outcome in zip(EVENTS, outcomes, strict=True):
                frame[f"y_{event}"] = outcome.astype(float)
                groups = frame["style"] if event == "switch" else (frame["style"] != 0).astype(int)
                for group in set(groups) - {0}:
                    member = (groups == group).to_numpy()
                    # The outcome of week i matures at the entry of week i + h, before decision i + h + 1.
                    y = np.concatenate([np.zeros(horizon + 1), np.where(member, outcome, 0)])[: len(weeks)]
                    seen = np.concatenate([np.zeros(horizon + 1), member])[: len(weeks)]
                    frame.loc[member, f"b_{event}"] = ((y.cumsum() + 0.3) / (seen.cumsum() + 1.0))[member]
            frame.index = pd.MultiIndex.from_product(
                [[name], frame.index, [horizon]], names=["pair", "decision_date", "horizon_weeks"]
            )
            frames.append(frame[frame["style"] != 0])
    assert sample.truth is not None
    joined = sample.truth.join(pd.concat(frames), how="inner")
    return joined[joined.index.get_level_values("decision_date") >= pd.Timestamp(market.schedule.first_decision)]


def log_loss(outcome: FloatArray, probability: FloatArray) -> float:
    p = np.clip(probability, 1e-3, 1.0 - 1e-3)
    return float(-(outcome * np.log(p) + (1.0 - outcome) * np.log(1.0 - p)).sum())


def test_it_says_that_it_is_simulated(market: MarketSpec, simulated: SimulatedMarket) -> None:
    assert simulated.label == SIMULATED == "SIMULATED"
    assert market.simulated
    assert SIMULATED in market.title
    assert SIMULATED in market.title_zh


def test_same_seed_same_rows_and_no_global_state(market: MarketSpec) -> None:
    np.random.seed(1)  # noqa: NPY002  (the global generator must not matter)
    first = simulate(market, SEED).observations
    np.random.seed(2)  # noqa: NPY002
    pd.testing.assert_frame_equal(first, simulate(market, SEED).observations, check_exact=True)
    assert not simulate(market, SEED + 1).observations["value"].equals(first["value"])


def test_truth_is_deterministic_and_does_not_touch_the_observations(
    market: MarketSpec, simulated: SimulatedMarket
) -> None:
    again = simulate(market, SEED, truth=True)
    assert simulated.truth is not None
    assert again.truth is not None
    pd.testing.assert_frame_equal(again.truth, simulated.truth, check_exact=True)
    pd.testing.assert_frame_equal(simulate(market, SEED).observations, simulated.observations, check_exact=True)


def test_a_series_does_not_depend_on_which_others_exist(market: MarketSpec, simulated: SimulatedMarket) -> None:
    series = {name: spec for name, spec in market.series.items() if spec.family not in ("macro", "rates")}
    fewer = simulate(market.model_copy(update={"series": series}), SEED).observations
    kept = simulated.observations[simulated.observations["series"].isin(set(series))]
    pd.testing.assert_frame_equal(fewer, kept.reset_index(drop=True), check_exact=True)


def test_rows_have_the_shape_of_a_batch(market: MarketSpec, simulated: SimulatedMarket) -> None:
    rows = simulated.observations
    assert tuple(rows.columns) == OBSERVATION_COLUMNS
    check_observations(rows)
    assert not rows.duplicated(["series", "period", "known_at"]).any()
    findings, bad = check_batch(rows, market)
    assert findings == []
    assert not bad.any()
    last = np.datetime64("2023-12-29T07:30", "us")
    assert {found.check for found in check_stored(rows, market, last)} == {"dead", "definition_break"}
    assert rows["known_at"].max() < pd.Timestamp("2023-12-30")


def test_five_segments_and_more_than_sixteen_years(market: MarketSpec, simulated: SimulatedMarket) -> None:
    assert len(market.segments) == 5
    assert market.headline == "s300-s1000"
    rows = simulated.observations.set_index("series")
    for segment in market.segments.values():
        period = rows.loc[segment.price, "period"]
        assert period.nunique() == len(period) > 16 * 240
        assert period.max() == pd.Timestamp(HISTORY_END)


def test_segments_look_like_a_shares(market: MarketSpec, simulated: SimulatedMarket) -> None:
    returns = np.log(prices(market, simulated)).diff().dropna()
    correlation = returns.corr().to_numpy()[np.triu_indices(5, 1)]
    assert correlation.min() > 0.75
    assert correlation.max() < 0.95
    assert returns.std().between(0.010, 0.025).all()
    # Fat tails and clustering, as far as they are there in each series.
    assert (returns.kurt() > 1.0).all()
    assert (returns.abs().apply(lambda column: column.autocorr(1)) > 0.03).all()


def test_times_follow_the_rules(market: MarketSpec, simulated: SimulatedMarket) -> None:
    rows = simulated.observations.set_index("series")

    def delay(name: str) -> pd.Series:
        part = rows.loc[name]
        return part["known_at"] - pd.Series(
            local_to_utc(part["period"].to_numpy("datetime64[us]"), pd.Timedelta(0), "Asia/Shanghai"), part.index
        )

    assert (delay("s300.close") == pd.Timedelta("15h30min")).all()
    assert (delay("gov_10y") == pd.Timedelta("18h")).all()
    assert (delay("us_gov_10y") == pd.Timedelta("31h")).all()
    assert (delay("margin_ratio") >= pd.Timedelta("33h")).all()
    assert delay("industrial_yoy").min() > pd.Timedelta("17D")
    assert rows.loc["industrial_yoy", "estimated"].all()
    assert not rows.loc["pmi", "estimated"].any()


def test_revisions_come_later_and_differ(simulated: SimulatedMarket) -> None:
    rows = simulated.observations
    for name in ("pmi", "industrial_yoy"):
        part = rows[rows["series"] == name]
        both = part[~part["revision"]].merge(part[part["revision"]], on="period")
        assert len(both) > 200
        assert (both["known_at_y"] > both["known_at_x"]).all()
        assert (both["value_y"] != both["value_x"]).all()
    assert set(rows.loc[rows["revision"], "series"]) == {"pmi", "industrial_yoy"}


def test_a_series_dies_and_optional_ones_do_not_exist(market: MarketSpec, simulated: SimulatedMarket) -> None:
    rows = simulated.observations
    northbound = rows.loc[rows["series"] == "northbound_flow", "period"]
    assert northbound.max().date() == market.series["northbound_flow"].died
    assert northbound.min().date() >= market.series["northbound_flow"].born
    optional = {name for name, spec in market.series.items() if spec.optional}
    assert optional
    assert set(rows["series"]) == set(market.series) - optional


def test_a_definition_breaks_once(market: MarketSpec, simulated: SimulatedMarket) -> None:
    rows = simulated.observations[simulated.observations["series"] == "turnover_rate"]
    spec = market.series["turnover_rate"]
    period, value = rows["period"].to_numpy("datetime64[us]"), rows["value"].to_numpy()
    jump = np.abs(np.diff(np.log(value)))
    assert period[1:][jump.argmax()] == np.datetime64(spec.breaks[0].date, "us")
    assert jump.max() > 3.0
    assert np.abs(np.diff(np.log(in_current_unit(spec, period, value)))).max() < 2.0


def test_noise_outnumbers_what_is_true_in_living_families(market: MarketSpec) -> None:
    assert set(TRUE_FEATURES) < set(market.features)
    assert len(market.features) > 2 * len(TRUE_FEATURES)
    dead = {name for name, spec in market.series.items() if spec.died is not None or spec.optional}
    assert not [name for name, spec in market.features.items() if spec.family == "scenario"]
    for family in set(FAMILIES) - {"calendar", "scenario"}:
        members = {name: spec for name, spec in market.features.items() if spec.family == family}
        alive = [name for name, spec in members.items() if not dead & set(spec.inputs)]
        assert len(alive) >= 5, family
        assert set(TRUE_FEATURES) & set(members), family
        assert set(members) - set(TRUE_FEATURES), family


def test_weeks_cut_short_carry_a_full_weeks_news() -> None:
    sessions = calendar().sessions
    week = pd.Series(spans(sessions)).groupby((sessions.astype("datetime64[D]").astype(int) + 3) // 7)
    np.testing.assert_allclose(week.sum()[week.size() > 1], 5.0)


def test_truth_respects_nesting_and_names_regimes(market: MarketSpec, simulated: SimulatedMarket) -> None:
    rows = judged(market, simulated)
    small = rows["style"] == STYLE_SMALL
    week = rows.index.get_level_values("horizon_weeks") == 1
    assert rows[["p_switch", "p_large", "p_crash"]].melt()["value"].between(0.0, 1.0).all()
    assert (rows["p_crash"] <= rows["p_switch"])[small].all()
    assert (rows["p_switch"] <= rows["p_large"])[small & week].all()
    assert (rows["p_crash"] <= rows["p_large"])[~small & week].all()
    assert (rows["p_switch"] <= 1.0 - rows["p_large"])[~small & week].all()


def test_regimes_are_known_and_mean_what_they_say(simulated: SimulatedMarket) -> None:
    assert simulated.truth is not None
    rows = simulated.truth.xs(4, level="horizon_weeks")
    assert set(rows["regime"]) == set(REGIMES)
    dated = rows.reset_index()
    assert not dated.drop_duplicates(["decision_date", "regime"]).duplicated("decision_date").any()
    mean = rows.groupby("regime")[["p_large", "p_crash"]].mean()
    assert mean.loc["large-led", "p_large"] > mean.loc["calm", "p_large"] + 0.05
    assert mean["p_crash"].idxmin() == "calm"


def test_a_crowd_breaks_only_small_caps() -> None:
    path = generate(calendar().sessions[calendar().sessions <= HISTORY_END], SEED)
    change = np.diff(path.line("s300", "micro"), prepend=0.0)
    unwinding = path.latent.unwinding
    assert 0.002 < unwinding.mean() < 0.03
    assert change[unwinding].mean() < -0.01
    assert abs(change[~unwinding].mean()) < 0.001


@pytest.mark.parametrize(
    ("change", "seed", "message"),
    [
        ({"simulated": False}, 1, "is not simulated"),
        ({}, -1, "`seed` must not be negative"),
        ({"rename": "pmi"}, 1, "neither simulated nor optional"),
    ],
)
def test_what_cannot_be_simulated_is_refused(
    market: MarketSpec, change: dict[str, object], seed: int, message: str
) -> None:
    if "rename" in change:
        spec = market.series["pmi"].model_copy(update={"name": "weather"})
        change = {"series": {**market.series, "weather": spec}}
    with pytest.raises(DefinitionError, match=message):
        simulate(market.model_copy(update=change), seed)


@pytest.mark.slow
def test_true_skill_is_two_to_six_percent_and_the_truth_is_calibrated(market: MarketSpec) -> None:
    """Skill in expectation under the truth itself (sharp), and as realised (eight seeds scatter by about a point)."""
    samples = [judged(market, simulate(market, seed, truth=True)) for seed in UNSEEN]
    for event in EVENTS:
        expected = {}
        for horizon in HORIZONS:
            parts = [rows.xs(horizon, level="horizon_weeks") for rows in samples]
            skill = []
            for target in (f"p_{event}", f"y_{event}"):
                skill.append(
                    np.mean(
                        [
                            1.0
                            - log_loss(part[target].to_numpy(), part[f"p_{event}"].to_numpy())
                            / log_loss(part[target].to_numpy(), part[f"b_{event}"].to_numpy())
                            for part in parts
                        ]
                    )
                )
            expected[horizon] = skill[0]
            assert abs(skill[1] - skill[0]) < 0.025
            every = pd.concat(parts)
            assert every[f"y_{event}"].mean() == pytest.approx(every[f"p_{event}"].mean(), abs=0.02)
        assert 0.02 < expected[4] < 0.06, event
        assert expected[1] < expected[4], event


@pytest.mark.slow
def test_features_are_distinct_and_alive(market: MarketSpec, simulated: SimulatedMarket) -> None:
    values = build_dataset(simulated.observations, market, HISTORY_END).values
    correlation = values.corr().abs().to_numpy(copy=True)
    np.fill_diagonal(correlation, 0.0)
    assert np.nanmax(correlation) < 0.95
    recent = values[values.index.get_level_values("decision_date") >= pd.Timestamp(market.schedule.first_decision)]
    absent = recent.isna().mean()
    assert list(absent[absent > 0].index) == ["northbound_buying"]
