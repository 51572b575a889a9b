"""Baselines: aligned, causal by maturity, and able to learn what is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from features.contracts import EVENTS, Dataset, History, TimeArray
from features.errors import DataContractError
from training.baseline_logit import MIN_DATES
from training.baselines import NAMES, REGISTRY, baseline_forecasts, with_probabilities
from training.scores import log_loss, skill

N = 260
STATES = ("age", "distance", "style_momentum_4w", "style_momentum_13w", "vol_ratio")
DAY, WEEK = np.timedelta64(1, "D"), np.timedelta64(7, "D")
DECISIONS = np.datetime64("2010-01-08", "us") + WEEK * np.arange(N)
CUTS: TimeArray = DECISIONS[120::30]
OWN_SCENARIO = ("scenario_set", "scenario_logit")
SLOW = ("markov_switching", "lightgbm_default")
QUICK = tuple(name for name in NAMES if name not in SLOW)
CAUSAL = ("momentum", "valuation_spread", "eight_signal_vote", "hmm_filtered", "scenario_logit")
"""What is refitted dozens of times: one of each kind."""


def market(seed: int = 0, pairs: tuple[str, ...] = ("a-b", "a-c"), strength: float = 1.0) -> Dataset:
    """Two pairs of states and outcomes; "large wins" follows momentum against small caps, the switch volatility."""
    rng = np.random.default_rng(seed)
    rows, outcomes, lines = [], [], {}
    for pair in pairs:
        states = pd.DataFrame(rng.normal(size=(N, len(STATES))), columns=list(STATES))
        states["style"] = np.where(np.arange(N) // 30 % 2 == 0, 1, -1)
        states["sigma"], states["pair"], states["decision_date"] = 0.02, pair, DECISIONS
        states["decision_at"] = DECISIONS + np.timedelta64(10, "h")
        states["valuation_spread"], states["pmi_trend"] = rng.normal(size=(2, N))
        rows.append(states)
        days = np.arange(DECISIONS[0] - 4 * DAY, DECISIONS[-1] + DAY, DAY)
        days = days[np.is_busday(days.astype("datetime64[D]"))]
        x = np.cumsum(0.006 * rng.standard_t(5, len(days)))
        lines[pair] = History.of(days, days + np.timedelta64(8, "h"), x)
        tilt = {
            "switch": -1.5 + strength * states["vol_ratio"],
            "large": -strength * states["style"] * states["style_momentum_4w"],
            "crash": np.full(N, -2.0),
        }
        for horizon in (1, 4):
            frame = pd.DataFrame({"pair": pair, "decision_date": DECISIONS, "horizon_weeks": horizon})
            frame["matured_at"] = DECISIONS + WEEK * horizon + 3 * DAY + np.timedelta64(10, "h")
            for event in EVENTS:
                frame[f"y_{event}"] = (rng.random(N) < expit(np.asarray(tilt[event]))).astype(np.float64)
            outcomes.append(frame)
    index = ["pair", "decision_date"]
    table = pd.concat(rows).set_index(index)
    return Dataset(
        market="test",
        simulated=True,
        pairs=(),
        features=(),
        rows=table,
        values=table[[*STATES, "valuation_spread", "pmi_trend"]],
        known_at=table[[]],
        stale=table[[]],
        outcomes=pd.concat(outcomes).set_index([*index, "horizon_weeks"]).sort_index(),
        segments=(),
        closes={},
        lines=lines,
        clock=pd.DataFrame({"decision_at": DECISIONS}, index=pd.DatetimeIndex(DECISIONS, name="decision_date")),
        sessions=DECISIONS,
    )


def base_rates(dataset: Dataset) -> pd.DataFrame:
    rates = {"p_switch_base": 0.2, "p_large_base": 0.5, "p_crash_base": 0.12}
    return pd.DataFrame(rates, index=dataset.outcomes.index)


def implied_shares(dataset: Dataset) -> pd.DataFrame:
    """A set that knows a little of the switch and is silent on every fifth row."""
    rng = np.random.default_rng(9)
    shares = {f"{event}_implied": rng.uniform(0.1, 0.4, len(dataset.outcomes)) for event in EVENTS}
    frame = pd.DataFrame(shares, index=dataset.outcomes.index)
    keys = frame.index.droplevel("horizon_weeks")
    frame["switch_implied"] = expit(-1.5 + dataset.rows["vol_ratio"].reindex(keys).to_numpy())
    return frame[np.arange(len(frame)) % 5 > 0]


def with_outcomes(dataset: Dataset, outcomes: pd.DataFrame, rows: pd.DataFrame | None = None) -> Dataset:
    return replace(dataset, outcomes=outcomes, rows=dataset.rows if rows is None else rows)


def decisions(frame: pd.DataFrame) -> TimeArray:
    return frame.index.get_level_values("decision_date").to_numpy("datetime64[us]")


def flipped_from(dataset: Dataset, time: np.datetime64) -> pd.DataFrame:
    """Outcomes with every label that matures at `time` or later turned over."""
    late = dataset.outcomes["matured_at"].to_numpy("datetime64[us]") >= time
    outcomes = dataset.outcomes.copy()
    for event in EVENTS:
        outcomes[f"y_{event}"] = np.where(late, 1 - outcomes[f"y_{event}"], outcomes[f"y_{event}"])
    return outcomes


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return market()


@pytest.fixture(scope="module")
def found(dataset: Dataset) -> dict[str, pd.DataFrame]:
    return baseline_forecasts(dataset, base_rates(dataset), CUTS, implied=implied_shares(dataset))


def test_the_registry_says_what_each_baseline_is_and_where_it_comes_from() -> None:
    assert NAMES == (
        "climatology", "persistence", "momentum", "valuation_spread", "eight_signal_vote", "ridge_logit",
        "hmm_filtered", "jump_online", "markov_switching", "scenario_set", "scenario_logit", "lightgbm_default",
    )  # fmt: skip
    for one in REGISTRY:
        assert one.about
        assert one.source
        assert "\n" not in one.about


def test_shape(dataset: Dataset, found: dict[str, pd.DataFrame]) -> None:
    assert tuple(found) == NAMES
    for name, frame in found.items():
        pd.testing.assert_index_equal(frame.index, dataset.outcomes.index)
        assert list(frame.columns) == ["p_switch", "p_large", "p_crash"]
        early = decisions(frame) < CUTS[0]
        assert frame[early].isna().all(axis=None) or name in ("climatology", "scenario_set")
        assert ((frame[~early] > 0) & (frame[~early] < 1)).all(axis=None)


def test_climatology_is_the_base(dataset: Dataset, found: dict[str, pd.DataFrame]) -> None:
    np.testing.assert_array_equal(found["climatology"].to_numpy(), base_rates(dataset).to_numpy())


def test_learns_what_is_there(dataset: Dataset, found: dict[str, pd.DataFrame]) -> None:
    def gain(name: str, event: str) -> float:
        late = decisions(found[name]) >= CUTS[0]
        y = dataset.outcomes.loc[late, f"y_{event}"].to_numpy()
        base = base_rates(dataset).loc[late, f"p_{event}_base"].to_numpy()
        return skill(log_loss(found[name].loc[late, f"p_{event}"].to_numpy(), y), log_loss(base, y))

    assert gain("momentum", "large") > 0.05
    assert gain("ridge_logit", "large") > 0.05
    assert gain("ridge_logit", "switch") > 0.05
    assert gain("scenario_logit", "switch") > 0.05
    nothing = ("valuation_spread", "eight_signal_vote", "hmm_filtered", "jump_online", "markov_switching")
    still = [("persistence", "large"), ("momentum", "switch"), ("ridge_logit", "crash")]
    for name, event in (*still, *((name, event) for name in nothing for event in EVENTS)):
        assert abs(gain(name, event)) < 0.02


def test_noise_stays_near_the_base() -> None:
    noise = market(seed=5, strength=0.0)
    forecasts = baseline_forecasts(noise, base_rates(noise), CUTS[-1:])
    for name in ("ridge_logit", "hmm_filtered", "jump_online", "markov_switching", "eight_signal_vote"):
        assert np.abs(forecasts[name]["p_large"].dropna() - 0.5).max() < 0.15
    # What is not shrunk has no such manners.
    assert np.abs(forecasts["lightgbm_default"]["p_large"].dropna() - 0.5).max() > 0.4


class TestPurge:
    @pytest.mark.parametrize("cut", CUTS[[1, 3]])
    def test_labels_that_mature_at_the_cut_or_later_change_nothing(
        self, dataset: Dataset, found: dict[str, pd.DataFrame], cut: np.datetime64
    ) -> None:
        after = CUTS[cut < CUTS][0]
        planted = with_outcomes(dataset, flipped_from(dataset, cut))
        cuts = CUTS[after > CUTS]
        names = [name for name in NAMES if name != "markov_switching"]  # learns through the same door as the HMM
        again = baseline_forecasts(planted, base_rates(dataset), cuts, implied=implied_shares(dataset), names=names)
        for name, frame in ((name, found[name]) for name in names):
            until = decisions(frame) < after
            np.testing.assert_array_equal(frame[until], again[name][until])

    def test_control_a_twin_that_ignores_maturity_is_caught(self, dataset: Dataset) -> None:
        cut = CUTS[1]
        first, second = (
            baseline_forecasts(hasty(with_outcomes(dataset, outcomes)), base_rates(dataset), CUTS, names=["momentum"])[
                "momentum"
            ]
            for outcomes in (dataset.outcomes, flipped_from(dataset, cut))
        )
        block = (decisions(first) >= cut) & (decisions(first) < CUTS[2])
        assert np.abs(first[block] - second[block]).max(axis=None) > 1e-4

    def test_maturity_at_the_very_cut_is_too_late(self, dataset: Dataset) -> None:
        cut = CUTS[-1]
        touching = dataset.outcomes.copy()
        chosen = touching["matured_at"].to_numpy("datetime64[us]") > cut - 5 * WEEK
        touching["matured_at"] = touching["matured_at"].where(~chosen, pd.Timestamp(cut))
        without = touching.copy()
        without.loc[chosen, [f"y_{event}" for event in EVENTS]] = np.nan
        names = ("momentum", "hmm_filtered", "lightgbm_default")
        first, second = (
            baseline_forecasts(with_outcomes(dataset, outcomes), base_rates(dataset), CUTS[-1:], names=names)
            for outcomes in (touching, without)
        )
        for name in first:
            pd.testing.assert_frame_equal(first[name], second[name])


def assert_causal(dataset: Dataset, names: Sequence[str] = CAUSAL) -> None:
    """Recompute on data cut at 31 dates; every row up to the cut must stay."""
    base = base_rates(dataset)
    implied = implied_shares(dataset)
    full = baseline_forecasts(dataset, base, CUTS[::3], implied=implied, names=names)
    for last in DECISIONS[121:245:4]:
        rows = dataset.rows[decisions(dataset.rows) <= last]
        outcomes = dataset.outcomes[decisions(dataset.outcomes) <= last].copy()
        later = market_maturity(outcomes) > last + np.timedelta64(10, "h")
        outcomes.loc[later, [f"y_{event}" for event in EVENTS]] = np.nan
        kept = decisions(base) <= last
        known = replace(with_outcomes(dataset, outcomes, rows), values=dataset.values.loc[rows.index])
        known = replace(known, lines={pair: until(line, last + DAY) for pair, line in dataset.lines.items()})
        cut = baseline_forecasts(known, base[kept], CUTS[::3], implied=implied, names=names)
        for name, frame in full.items():
            np.testing.assert_allclose(cut[name], frame[kept], rtol=0, atol=1e-12)


def until(line: History, time: np.datetime64) -> History:
    known = line.known_at <= time
    return History(line.period[known], line.known_at[known], line.value[known])


def market_maturity(outcomes: pd.DataFrame) -> TimeArray:
    """When outcomes really mature, whatever the frame claims."""
    horizon = outcomes.index.get_level_values("horizon_weeks").to_numpy(np.int64)
    return decisions(outcomes) + WEEK * horizon + 3 * DAY + np.timedelta64(10, "h")


def hasty(dataset: Dataset) -> Dataset:
    """The leaking twin: as if every label were known at its decision."""
    return with_outcomes(dataset, dataset.outcomes.assign(matured_at=decisions(dataset.outcomes)))


def test_truncation_changes_nothing_before_it() -> None:
    assert_causal(market(seed=1, pairs=("a-b",)))


def test_control_truncation_catches_the_hasty_twin() -> None:
    with pytest.raises(AssertionError, match="Mismatch"):
        assert_causal(hasty(market(seed=1, pairs=("a-b",))), ["momentum"])


def test_a_row_uses_the_newest_cut_not_after_its_decision(dataset: Dataset, found: dict[str, pd.DataFrame]) -> None:
    base = base_rates(dataset)
    for number in (0, 3):
        cut = CUTS[number : number + 1]
        names = ("momentum", "hmm_filtered", "markov_switching", "lightgbm_default")
        block = (decisions(base) >= CUTS[number]) & (decisions(base) < CUTS[number + 1])
        for name, alone in baseline_forecasts(dataset, base, cut, names=names).items():
            pd.testing.assert_frame_equal(alone[block], found[name][block])
            assert alone[decisions(base) < CUTS[number]].isna().all(axis=None)


def test_directional_events_turn_with_the_pair(dataset: Dataset, found: dict[str, pd.DataFrame]) -> None:
    """Calling the small segment large mirrors the probability that large wins."""
    mirrored = with_outcomes(
        dataset,
        dataset.outcomes.assign(y_large=1 - dataset.outcomes["y_large"]),
        dataset.rows.assign(style=-dataset.rows["style"]),
    )
    again = baseline_forecasts(mirrored, base_rates(dataset), CUTS, names=("persistence", "momentum"))
    for name in ("persistence", "momentum"):
        np.testing.assert_allclose(again[name]["p_large"], 1 - found[name]["p_large"], atol=1e-9)


def test_too_few_dates_say_the_base_rate(dataset: Dataset) -> None:
    early = DECISIONS[MIN_DATES // 2 : MIN_DATES // 2 + 1]
    base = base_rates(dataset)
    kept = (decisions(base) >= early[0]) & (decisions(base) < DECISIONS[MIN_DATES])
    for frame in baseline_forecasts(dataset, base, early).values():
        np.testing.assert_allclose(frame[kept], base[kept])


def test_without_its_input_a_baseline_says_the_base_rate(dataset: Dataset) -> None:
    rows = dataset.rows.copy()
    gone = (rows.index.get_level_values("pair") == "a-b") & (decisions(rows) == DECISIONS[200])
    rows.loc[gone, "vol_ratio"] = np.nan
    bare = replace(with_outcomes(dataset, dataset.outcomes, rows), lines={}, values=dataset.values[list(STATES)])
    base, names = base_rates(dataset), [name for name in QUICK if name not in OWN_SCENARIO]
    again = baseline_forecasts(bare, base, CUTS, names=names)
    key, late = ("a-b", pd.Timestamp(DECISIONS[200])), decisions(base) >= CUTS[0]
    np.testing.assert_allclose(again["ridge_logit"].loc[key], base.loc[key])
    assert (again["momentum"].loc[key].to_numpy() != base.loc[key].to_numpy()).all()
    for name in ("valuation_spread", "hmm_filtered", "jump_online"):
        np.testing.assert_allclose(again[name][late], base[late])


def test_where_there_is_no_set_the_scenario_baselines_say_the_base_rate(
    dataset: Dataset, found: dict[str, pd.DataFrame]
) -> None:
    base, implied = base_rates(dataset), implied_shares(dataset)
    there, late = base.index.isin(implied.index), decisions(base) >= CUTS[0]
    np.testing.assert_array_equal(found["scenario_set"][there], implied.reindex(base.index[there]))
    np.testing.assert_allclose(found["scenario_set"][~there], base[~there])
    np.testing.assert_allclose(found["scenario_logit"][~there & late], base[~there & late])
    assert "scenario_set" not in baseline_forecasts(dataset, base, CUTS, names=["scenario_set", "climatology"])


def test_an_unknown_name_is_refused(dataset: Dataset) -> None:
    with pytest.raises(DataContractError, match=r"`names` must be among climatology.*got garch"):
        baseline_forecasts(dataset, base_rates(dataset), CUTS, names=["garch"])


def test_progress_is_told(dataset: Dataset) -> None:
    told: list[tuple[str, int, int]] = []
    baseline_forecasts(
        dataset, base_rates(dataset), CUTS, names=["momentum", "climatology"], progress=lambda *now: told.append(now)
    )
    assert told == [("baselines", done, 2) for done in range(3)]


def test_the_inputs_are_left_as_they_were(dataset: Dataset) -> None:
    before = market()
    names = [name for name in NAMES if name != "markov_switching"]
    baseline_forecasts(dataset, base_rates(dataset), CUTS[-1:], implied=implied_shares(dataset), names=names)
    pd.testing.assert_frame_equal(dataset.rows, before.rows)
    pd.testing.assert_frame_equal(dataset.values, before.values)
    pd.testing.assert_frame_equal(dataset.outcomes, before.outcomes)


def test_forecasts_take_the_place_of_the_model(dataset: Dataset, found: dict[str, pd.DataFrame]) -> None:
    forecasts = base_rates(dataset).assign(**{f"p_{event}": 0.3 for event in EVENTS}).reset_index()
    forecasts = forecasts.sample(frac=0.5, random_state=0)
    forecasts.loc[forecasts.index[:3], "p_switch"] = np.nan
    replaced = with_probabilities(forecasts, found["momentum"])
    pd.testing.assert_index_equal(replaced.index, forecasts.index)
    assert replaced["p_switch"].iloc[:3].isna().all()
    row = replaced[replaced["p_large"].notna()].iloc[10]
    key = (row["pair"], row["decision_date"], row["horizon_weeks"])
    assert row["p_large"] == found["momentum"].loc[key, "p_large"]
    assert row["p_large_base"] == 0.5


def test_refuses_a_base_without_its_columns(dataset: Dataset) -> None:
    with pytest.raises(DataContractError, match="lacks p_large_base"):
        baseline_forecasts(dataset, base_rates(dataset).drop(columns="p_large_base"), CUTS)


def test_refuses_rows_without_states(dataset: Dataset) -> None:
    short = with_outcomes(dataset, dataset.outcomes, dataset.rows.iloc[:-5])
    with pytest.raises(DataContractError, match="10 rows of `base` have no states"):
        baseline_forecasts(short, base_rates(dataset), CUTS)
