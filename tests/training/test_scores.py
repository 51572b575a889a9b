"""Scores against values by hand, against other libraries, and against what they must not depend on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from arch.bootstrap import StationaryBootstrap
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from features.contracts import EVENTS, FloatArray, TimeArray
from features.errors import DataContractError
from training.score_tables import POOLED, matured_sample, score_table, yearly_table
from training.scores import (
    Sample,
    brier,
    log_loss,
    log_odds,
    noise_floor,
    reliability_slope,
    reliability_slope_vs_base,
    sharpness,
    skill,
    skill_interval,
)

Drawn = tuple[FloatArray, FloatArray, FloatArray, TimeArray]


def weeks(n: int) -> TimeArray:
    return np.datetime64("2012-01-06", "us") + np.timedelta64(7, "D") * np.arange(n)


def draw(seed: int, n: int = 400, pairs: int = 1, sd: float = 0.5) -> Drawn:
    """Calibrated forecasts around a moving base rate: p, y, base, dates."""
    rng = np.random.default_rng(seed)
    base = np.tile(np.linspace(0.2, 0.4, n), pairs)
    p = expit(logit(base) + sd * rng.normal(size=n * pairs))
    return p, (rng.random(n * pairs) < p).astype(np.float64), base, np.tile(weeks(n), pairs)


class TestLosses:
    def test_by_hand(self) -> None:
        p, y = np.array([0.8, 0.8, 0.5]), np.array([1.0, 0.0, 1.0])
        # -ln 0.8, -ln 0.2, ln 2
        np.testing.assert_allclose(log_loss(p, y), [0.22314355, 1.60943791, 0.69314718], atol=1e-8)
        np.testing.assert_allclose(brier(p, y), [0.04, 0.64, 0.25])

    def test_certainty_that_fails_costs_a_finite_fortune(self) -> None:
        assert log_loss(np.array([0.0]), np.array([1.0]))[0] == pytest.approx(-np.log(1e-12))
        assert log_loss(np.array([1.0]), np.array([1.0]))[0] == pytest.approx(0, abs=1e-11)

    @given(st.floats(0.01, 0.99), st.floats(0.01, 0.99))
    def test_both_are_proper(self, truth: float, said: float) -> None:
        for loss in (log_loss, brier):
            one, none = (lambda p, loss=loss, y=y: loss(np.array([p]), np.array([y]))[0] for y in (1.0, 0.0))
            assert (
                truth * one(truth) + (1 - truth) * none(truth) <= truth * one(said) + (1 - truth) * none(said) + 1e-12
            )

    def test_inputs_stay(self) -> None:
        p = np.array([0.0, 1.0])
        log_loss(p, np.array([0.0, 1.0]))
        np.testing.assert_array_equal(p, [0.0, 1.0])


class TestSkill:
    def test_by_hand(self) -> None:
        assert skill(np.array([1.0, 2.0]), np.array([2.0, 2.0])) == pytest.approx(0.25)
        assert skill(np.array([3.0]), np.array([2.0])) == pytest.approx(-0.5)
        assert np.isnan(skill(np.array([]), np.array([])))

    def test_lengths_must_agree(self) -> None:
        with pytest.raises(DataContractError, match="pair up"):
            skill(np.ones(2), np.ones(3))


class TestInterval:
    def losses(self, seed: int = 0, **shape: int) -> tuple[FloatArray, FloatArray, TimeArray]:
        p, y, base, dates = draw(seed, **shape)
        return log_loss(p, y), log_loss(base, y), dates

    def test_agrees_with_arch(self) -> None:
        model, base, dates = self.losses()
        ours = skill_interval(model, base, dates, mean_block=10, draws=4000, seed=1)
        bootstrap = StationaryBootstrap(10, np.column_stack([model, base]), seed=2)
        drawn = bootstrap.apply(lambda x: np.array([skill(x[:, 0], x[:, 1])]), 4000)
        theirs = np.quantile(drawn, [0.05, 0.95])
        np.testing.assert_allclose(ours, theirs, atol=0.06 * np.ptp(theirs))

    def test_same_seed_same_interval_in_any_order(self) -> None:
        model, base, dates = self.losses(pairs=2)
        shuffled = np.random.default_rng(3).permutation(len(dates))
        first = skill_interval(model, base, dates, seed=1)
        assert first == pytest.approx(skill_interval(model[shuffled], base[shuffled], dates[shuffled], seed=1))
        assert first == pytest.approx(skill_interval(3 * model, 3 * base, dates, seed=1))
        assert first != skill_interval(model, base, dates, seed=2)

    def test_contains_the_skill_and_widens_with_the_level(self) -> None:
        model, base, dates = self.losses()
        (low, high), (lower, higher) = (skill_interval(model, base, dates, level=level, seed=1) for level in (0.5, 0.9))
        assert lower < low < skill(model, base) < high < higher

    def test_copies_of_a_pair_add_no_certainty(self) -> None:
        model, base, dates = self.losses()
        once = skill_interval(model, base, dates, seed=1)
        copied = np.tile(model, 4), np.tile(base, 4)
        assert skill_interval(*copied, np.tile(dates, 4), seed=1) == pytest.approx(once)
        # Positive control: the same rows, taken for separate dates, look twice as certain.
        apart = skill_interval(*copied, weeks(4 * len(dates)), seed=1)
        assert np.ptp(apart) == pytest.approx(np.ptp(once) / 2, rel=0.15)

    def test_blocks_widen_what_persists(self) -> None:
        good = np.repeat(np.random.default_rng(0).normal(size=40), 10)
        model, base, dates = 1 + 0.1 * good, np.ones(400), weeks(400)
        single, blocks = (skill_interval(model, base, dates, mean_block=block, seed=1) for block in (1, 10))
        assert np.ptp(blocks) > 2 * np.ptp(single)

    @pytest.mark.parametrize("bad", [{"level": 1.0}, {"level": 0.0}, {"mean_block": 0.5}])
    def test_refuses(self, bad: dict[str, float]) -> None:
        with pytest.raises(DataContractError, match=next(iter(bad))):
            skill_interval(np.ones(2), np.ones(2), weeks(2), seed=1, **bad)  # type: ignore[arg-type]

    def test_no_rows(self) -> None:
        assert np.isnan(skill_interval(np.array([]), np.array([]), weeks(0), seed=1)).all()


class TestSlope:
    def test_agrees_with_scikit_learn(self) -> None:
        p, y, _, dates = draw(0)
        oracle = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logit(p)[:, None], y)
        assert reliability_slope(p, y, dates).value == pytest.approx(oracle.coef_[0, 0], rel=1e-5)

    def test_offset_agrees_with_scikit_learn_on_a_constant_base(self) -> None:
        p, y, _, dates = draw(1)
        oracle = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logit(p)[:, None], y)
        against = reliability_slope_vs_base(p, y, np.full(len(p), 0.3), dates)
        assert against.value == pytest.approx(oracle.coef_[0, 0], rel=1e-5)

    def test_calibrated_is_one_and_noise_is_zero(self) -> None:
        p, y, base, dates = draw(2, n=3000)
        noise = expit(logit(base) + np.random.default_rng(3).normal(size=len(p)))
        for found, truth in (
            (reliability_slope(p, y, dates), 1),
            (reliability_slope_vs_base(p, y, base, dates), 1),
            (reliability_slope_vs_base(noise, y, base, dates), 0),
        ):
            assert abs(found.value - truth) < 3 * found.error

    def test_twice_as_bold_is_half_the_slope(self) -> None:
        p, y, base, dates = draw(4)
        bold = expit(logit(base) + 2 * (logit(p) - logit(base)))
        once, twice = (reliability_slope_vs_base(forecast, y, base, dates) for forecast in (p, bold))
        assert (twice.value, twice.error) == pytest.approx((once.value / 2, once.error / 2))

    def test_copies_of_a_pair_leave_the_error(self) -> None:
        p, y, _, dates = draw(5)
        once = reliability_slope(p, y, dates)
        copied = reliability_slope(np.tile(p, 3), np.tile(y, 3), np.tile(dates, 3))
        assert (copied.value, copied.error) == pytest.approx((once.value, once.error))
        # Positive control: taken for separate dates they shrink it.
        apart = reliability_slope(np.tile(p, 3), np.tile(y, 3), weeks(3 * len(p)))
        assert apart.error < 0.8 * once.error

    def test_error_is_the_spread_over_samples(self) -> None:
        slopes = [reliability_slope(p, y, dates) for p, y, _, dates in (draw(seed, n=800) for seed in range(100, 160))]
        spread = np.std([slope.value for slope in slopes])
        assert np.mean([slope.error for slope in slopes]) == pytest.approx(spread, rel=0.25)

    def test_missing_where_none_exists(self) -> None:
        p, y, base, dates = draw(6, n=60)
        assert np.isnan(reliability_slope_vs_base(base, y, base, dates)).all()
        assert np.isnan(reliability_slope(p, np.zeros(60), dates)).all()
        assert np.isnan(reliability_slope(p, (p > 0.3).astype(float), dates)).all()
        assert np.isnan(reliability_slope(p[:0], y[:0], dates[:0])).all()


class TestSharpness:
    def test_by_hand(self) -> None:
        base = np.array([0.2, 0.5, 0.7, 0.4])
        assert sharpness(expit(logit(base) + np.array([0.3, -0.3, 0.3, -0.3])), base) == pytest.approx(0.3)
        assert sharpness(base, base) == 0
        assert np.isnan(sharpness(base[:0], base[:0]))

    def test_log_odds_stay_finite(self) -> None:
        assert np.isfinite(log_odds(np.array([0.0, 1.0]))).all()


class TestNoiseFloor:
    def spread(self, sample: Sample, outcomes: list[FloatArray]) -> float:
        """Standard deviation of the skill over outcomes drawn from the forecast itself."""
        return float(np.std([skill(log_loss(sample.p, y), log_loss(sample.base, y)) for y in outcomes]))

    def test_equals_simulation_for_independent_outcomes(self) -> None:
        p, y, base, dates = draw(0)
        rng = np.random.default_rng(1)
        sample = Sample(p, base, y, dates, np.zeros(len(p), np.int64))
        outcomes = [(rng.random(len(p)) < p).astype(np.float64) for _ in range(4000)]
        assert noise_floor(sample, 1) == pytest.approx(self.spread(sample, outcomes), rel=0.06)

    def test_copies_of_a_pair_leave_it(self) -> None:
        p, y, base, dates = draw(0)
        one = Sample(p, base, y, dates, np.zeros(len(p), np.int64))
        three = Sample(*(np.tile(column, 3) for column in one[:4]), np.repeat(np.arange(3), len(p)))
        assert noise_floor(three, 1) == pytest.approx(noise_floor(one, 1), rel=1e-6)

    def test_covers_overlapping_outcomes(self) -> None:
        # A slow signal and outcomes that are the sign of sums over four weeks. The triangle is their correlation as
        # sums; as signs they correlate a little less, so the formula is somewhat too wide, never too narrow.
        rng = np.random.default_rng(2)
        signal = np.convolve(rng.normal(size=430), np.ones(30) / np.sqrt(30), "valid")[:400]
        base, p = np.full(400, 0.5), expit(0.4 * signal)
        outcomes = []
        for _ in range(3000):
            shock = np.convolve(rng.normal(size=403), np.ones(4) / 2, "valid")
            outcomes.append((shock < norm.ppf(p)).astype(np.float64))
        sample = Sample(p, base, outcomes[0], weeks(400), np.zeros(400, np.int64))
        spread = self.spread(sample, outcomes)
        assert spread < noise_floor(sample, 4) < 1.4 * spread
        # Positive control: overlap ignored, it is far too narrow.
        assert noise_floor(sample, 1) < 0.75 * spread

    def test_a_forecast_that_is_the_base_has_none(self) -> None:
        _, y, base, dates = draw(0)
        assert noise_floor(Sample(base, base, y, dates, np.zeros(len(y), np.int64)), 4) == 0


def forecasts(n: int = 120, pairs: tuple[str, ...] = ("a-b", "a-c")) -> pd.DataFrame:
    """Forecast rows of every event and horizon; the last two weeks have not matured."""
    frames = []
    for number, pair in enumerate(pairs):
        for horizon in (1, 4):
            frame = pd.DataFrame({"pair": pair, "decision_date": weeks(n), "horizon_weeks": horizon})
            for step, event in enumerate(EVENTS):
                p, y, base, _ = draw(100 * number + 10 * step + horizon, n=n)
                frame[f"p_{event}"], frame[f"p_{event}_base"], frame[f"y_{event}"] = p, base, y
                frame.loc[n - 2 :, f"y_{event}"] = np.nan
            frames.append(frame)
    return pd.concat(frames, ignore_index=True)


class TestTables:
    def test_rows_and_counts(self) -> None:
        frame = forecasts()
        frame.loc[[3, 7], "p_switch"] = np.nan
        table = score_table(frame).set_index(["event", "horizon_weeks", "pair"])
        assert len(table) == len(EVENTS) * 2 * 3
        row = table.loc[("switch", 1, "a-b")]
        assert (row["n"], row["n_dates"], row["n_unmatured"], row["n_abstained"]) == (116, 116, 2, 2)
        pooled = table.loc[("switch", 1, POOLED)]
        assert (pooled["n"], pooled["n_dates"], pooled["n_unmatured"], pooled["n_abstained"]) == (234, 118, 4, 2)
        assert table.loc[("large", 4, "a-c"), "n"] == 118

    def test_numbers_are_those_of_the_scores(self) -> None:
        frame = forecasts()
        row = score_table(frame).set_index(["event", "horizon_weeks", "pair"]).loc[("crash", 4, "a-c")]
        chosen = frame[(frame["pair"] == "a-c") & (frame["horizon_weeks"] == 4)].iloc[:118]
        p, base, y = (chosen[name].to_numpy() for name in ("p_crash", "p_crash_base", "y_crash"))
        assert row["skill_log_loss"] == pytest.approx(skill(log_loss(p, y), log_loss(base, y)))
        assert row["skill_brier"] == pytest.approx(skill(brier(p, y), brier(base, y)))
        assert row["base_rate"] == pytest.approx(y.mean())
        assert row["skill_low"] < row["skill_log_loss"] < row["skill_high"]
        assert row["sharpness"] == pytest.approx(sharpness(p, base))

    def test_row_order_and_input_stay(self) -> None:
        frame = forecasts()
        before = frame.copy()
        table = score_table(frame)
        pd.testing.assert_frame_equal(frame, before)
        pd.testing.assert_frame_equal(score_table(frame.sample(frac=1, random_state=0)), table)

    def test_nothing_matured(self) -> None:
        frame = forecasts().assign(**{f"y_{event}": np.nan for event in EVENTS})
        table = score_table(frame)
        assert (table["n"] == 0).all()
        assert table[["skill_log_loss", "skill_low", "slope", "noise_floor"]].isna().all(axis=None)
        assert yearly_table(frame).empty

    def test_years_add_up(self) -> None:
        frame = forecasts()
        yearly, table = yearly_table(frame), score_table(frame)
        keys = ["event", "horizon_weeks", "pair"]
        counts = yearly.groupby(keys)["n"].sum()
        pd.testing.assert_series_equal(counts, table.set_index(keys)["n"].sort_index())
        assert set(yearly["year"]) == {2012, 2013, 2014}
        one = yearly[(yearly["event"] == "large") & (yearly["pair"] == POOLED) & (yearly["year"] == 2013)].iloc[0]
        sample = matured_sample(
            frame[(frame["decision_date"].dt.year == 2013) & (frame["horizon_weeks"] == 1)], "large"
        )
        assert one["skill_brier"] == pytest.approx(skill(brier(sample.p, sample.y), brier(sample.base, sample.y)))

    def test_missing_column(self) -> None:
        with pytest.raises(DataContractError, match="lack p_crash_base"):
            score_table(forecasts().drop(columns="p_crash_base"))

    def test_two_models_in_one_frame(self) -> None:
        frame = forecasts()
        with pytest.raises(DataContractError, match="2 forecasts share") as error:
            score_table(pd.concat([frame, frame.iloc[[5]]]))
        assert error.value.rows is not None
        assert len(error.value.rows) == 2


@pytest.mark.slow
def test_interval_covers_the_true_skill() -> None:
    """Two pairs with the same outcomes that overlap over four weeks: a 90% interval holds the truth 9 times in 10."""
    rng = np.random.default_rng(0)
    n, rounds, hits = 400, 400, 0
    signal = np.convolve(rng.normal(size=n + 9), np.ones(10) / np.sqrt(10), "valid")
    p, base = expit(0.5 * signal), np.full(n, 0.5)
    truth = 1 - np.mean(p * log_loss(p, np.ones(n)) + (1 - p) * log_loss(p, np.zeros(n))) / np.log(2)
    for number in range(rounds):
        shock = np.convolve(rng.normal(size=n + 3), np.ones(4) / 2, "valid")
        # P(N < Phi^-1(p)) = p exactly, so that the forecast is calibrated.
        y = (shock < norm.ppf(p)).astype(np.float64)
        losses = np.tile(log_loss(p, y), 2), np.tile(log_loss(base, y), 2)
        low, high = skill_interval(*losses, np.tile(weeks(n), 2), draws=500, seed=number)
        hits += low <= truth <= high
    # The percentile interval of a stationary bootstrap is a few points too narrow on samples like this.
    assert 0.82 <= hits / rounds <= 0.95
