"""Validity of the evidence: sizes of the tests, coverage of bands and sets, luck seen through. Overlap throughout."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from features.contracts import FloatArray
from training.alarms import AlarmRule, largest_falls, raise_alarms, shifted_catches
from training.compare import confidence_set, diebold_mariano, superior_ability
from training.corp import consistency_band
from training.noise import noise_floors
from training.null_outcomes import draw_outcomes
from training.scores import Sample, log_loss

Record = Callable[[str, object], None]
N = 400
DATES = np.datetime64("2012-01-06", "us") + np.timedelta64(7, "D") * np.arange(N)

pytestmark = pytest.mark.slow


def moving_sum(shocks: FloatArray, horizon: int) -> FloatArray:
    total = np.cumsum(np.concatenate([np.zeros((1, *shocks.shape[1:])), shocks]), axis=0)
    return total[horizon:] - total[:-horizon]


def rivals(rng: np.random.Generator, horizon: int, persistence: float) -> tuple[FloatArray, FloatArray]:
    """Log losses of two forecasts that err as much on two sides of the truth, on two pairs that move together."""

    def noise() -> FloatArray:
        out, shock = np.zeros(N), rng.normal(size=N) * np.sqrt(1 - persistence**2)
        for week in range(1, N):
            out[week] = persistence * out[week - 1] + shock[week]
        return 0.5 * np.tile(out, 2)

    truth = np.full(2 * N, 0.3)
    latent = moving_sum(rng.normal(size=(N + horizon - 1, 1)) + 0.5 * rng.normal(size=(N + horizon - 1, 2)), horizon)
    y = (latent.T.ravel() < np.quantile(latent, 0.3)).astype(float)
    one, other = (expit(logit(truth) + noise()) for _ in range(2))
    return log_loss(one, y), log_loss(other, y)


@pytest.mark.parametrize(("horizon", "persistence", "most"), [(1, 0.0, 0.07), (4, 0.0, 0.08), (4, 0.8, 0.13)])
def test_size_of_diebold_mariano(horizon: int, persistence: float, most: float, record_property: Record) -> None:
    """At 5%. Forecasts that persist make differences that outlast the overlap: there the interval is to be read."""
    rng = np.random.default_rng(50)
    dates = np.tile(DATES, 2)
    found = [diebold_mariano(*rivals(rng, horizon, persistence), dates, horizon) for _ in range(1000)]
    size = float(np.mean([one.p_value < 0.05 for one in found]))
    outside = float(np.mean([one.low > 0 or one.high < 0 for one in found]))
    record_property(f"size_dm_{horizon}w_{persistence}", size)
    record_property(f"size_interval_{horizon}w_{persistence}", outside)
    assert 0.03 <= size <= most
    assert 0.06 <= outside <= 0.15


def test_taking_rows_for_weeks_is_fooled(record_property: Record) -> None:
    rng = np.random.default_rng(51)
    apart = np.datetime64("1990-01-05", "us") + np.timedelta64(7, "D") * np.arange(2 * N)
    size = np.mean([diebold_mariano(*rivals(rng, 4, 0.8), apart, 1).p_value < 0.05 for _ in range(500)])
    record_property("size_dm_rows_as_weeks", float(size))
    assert size > 0.15


def panel(rng: np.random.Generator, gains: FloatArray, horizon: int = 4) -> pd.DataFrame:
    common = moving_sum(rng.normal(size=(N + horizon - 1, 1)), horizon)
    own = moving_sum(rng.normal(size=(N + horizon - 1, len(gains))), horizon) * np.geomspace(0.2, 1.0, len(gains))
    frame = pd.DataFrame(common + own - gains, index=pd.DatetimeIndex(DATES))
    return frame.set_axis([f"m{place}" for place in range(len(gains))], axis=1)


@pytest.mark.parametrize("horizon", [1, 4])
def test_size_of_superior_ability(horizon: int, record_property: Record) -> None:
    """Six models, none better than the benchmark; at 10%: 12% of the time at 1 week, 16% at 4 (500 samples)."""
    rng = np.random.default_rng(52)
    p = [superior_ability(panel(rng, np.zeros(6), horizon), "m0", draws=300).consistent for _ in range(300)]
    size = float(np.mean(np.array(p) < 0.10))
    record_property(f"size_spa_{horizon}w", size)
    assert 0.06 <= size <= 0.20


def test_confidence_set_holds_the_best(record_property: Record) -> None:
    rng = np.random.default_rng(53)
    gains = np.array([0.0, 0.0, -0.1, -0.5, -1.0])
    tables = [confidence_set(panel(rng, gains), draws=300) for _ in range(200)]
    share = float(np.mean([table.loc["m0", "included"] for table in tables]))
    dropped = float(np.mean([not table.loc["m4", "included"] for table in tables]))
    record_property("mcs_holds_best", share)
    record_property("mcs_drops_worst", dropped)
    assert share >= 0.87
    assert dropped > 0.5


def calibrated(rng: np.random.Generator, horizon: int) -> Sample:
    """Two pairs of persistent forecasts with outcomes drawn from them."""
    wave = np.zeros(N)
    for week in range(1, N):
        wave[week] = 0.9 * wave[week - 1] + rng.normal(0, 0.2)
    p = expit(logit(0.3) + np.concatenate([wave, wave + rng.normal(0, 0.1, N)]))
    dates, pair = np.tile(DATES, 2), np.repeat([0, 1], N)
    latent = moving_sum(rng.normal(size=(N + horizon - 1, 1)) + 0.5 * rng.normal(size=(N + horizon - 1, 2)), horizon)
    rank = latent.argsort(axis=0).argsort(axis=0).T.ravel() / N
    return Sample(p, np.full(2 * N, 0.3), (rank < p).astype(float), dates, pair)


@pytest.mark.parametrize("horizon", [1, 4])
def test_coverage_of_the_consistency_band(horizon: int, record_property: Record) -> None:
    rng = np.random.default_rng(54)
    shares = []
    for _ in range(100):
        band = consistency_band(calibrated(rng, horizon), horizon, draws=199)
        inside = (band["recalibrated"] >= band["low"]) & (band["recalibrated"] <= band["high"])
        shares.append(np.average(inside, weights=band["n"]))
    record_property(f"coverage_band_{horizon}w", float(np.mean(shares)))
    assert 0.84 <= np.mean(shares) <= 0.96


@pytest.mark.parametrize("horizon", [1, 4])
def test_size_of_the_noise_floors(horizon: int, record_property: Record) -> None:
    """A calibrated forecast looks miscalibrated, and one that knows nothing skilled, 10% of the time at 10%."""
    rng = np.random.default_rng(55)
    found = []
    for _ in range(200):
        sample = calibrated(rng, horizon)
        table = noise_floors(sample, horizon, draws=99).set_index("figure")["p_value"]
        blind = draw_outcomes(sample, sample.base, horizon, draws=1, seed=int(rng.integers(2**31)))[0].astype(float)
        idle = noise_floors(sample._replace(y=blind), horizon, draws=99).set_index("figure")["p_value"]
        kept = ["miscalibration_log_loss", "ece"]
        found.append({**table[kept].to_dict(), **idle[["skill_log_loss", "auc", "precision_top"]].to_dict()})
    sizes = (pd.DataFrame(found) < 0.10).mean()
    for name, size in sizes.items():
        record_property(f"size_{name}_{horizon}w", float(size))
    assert sizes.between(0.04, 0.17).all(), sizes.to_dict()


@pytest.mark.parametrize("hold", [1, 4])
def test_size_of_shifted_alarms(hold: int, record_property: Record) -> None:
    """Alarms that have nothing to do with the line; counts are coarse, so the test is on the safe side."""
    rng = np.random.default_rng(56)
    found = []
    for _ in range(300):
        score = np.zeros(N)
        for week in range(1, N):
            score[week] = 0.9 * score[week - 1] + rng.normal()
        alarms = raise_alarms(score, hold, AlarmRule()).iloc[104:]
        line = np.cumsum(rng.standard_t(4, N - 104 + 1))
        null = shifted_catches(largest_falls(line), alarms["alarm"].to_numpy())
        found.append(np.mean(null >= null[0]))
    size = float(np.mean(np.array(found) < 0.10))
    record_property(f"size_shifts_{hold}w", size)
    assert 0.02 <= size <= 0.14
