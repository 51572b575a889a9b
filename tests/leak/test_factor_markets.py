"""The leak audit on the markets of factors: SIMULATED factors alone, and the US factors as if they were Europe's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.contracts import Dataset
from features.dataset import build_dataset
from features.market import MarketSpec, load_market
from features.sources.folder import read_folder
from tests.features.french import simulated_factors, write_french, write_plain
from tests.leak.audit import Pipeline, audit, spread_cuts
from tests.leak.test_truncation import assert_clean

NOW = np.datetime64("2026-11-28", "us")


@pytest.mark.parametrize(
    ("name", "file", "last"),
    [
        pytest.param("europe", "Europe_3_Factors_Daily.csv", "1995-03-24", marks=pytest.mark.deep),
        pytest.param("japan", "Japan_5_Factors_Daily.csv", "2001-03-30", marks=pytest.mark.slow),
    ],
)
def test_factors_alone(tmp_path: Path, name: str, file: str, last: str) -> None:
    write_french(simulated_factors(name, last), tmp_path / name / "returns" / file)
    market = load_market(name)
    observations = read_folder(market, tmp_path, NOW).observations
    # Neither US drivers nor momentum have a file here: fourteen features of the factors are live.
    assert_clean(market, observations, np.datetime64(last, "us"), live=14 / len(market.features))


def test_a_level_that_knows_the_future_is_caught(tmp_path: Path) -> None:
    """Positive control: an index that is scaled by its last value differs at every cut."""
    write_french(simulated_factors("europe", "1995-03-24"), tmp_path / "europe" / "Europe_3_Factors_Daily.csv")
    market = load_market("europe")
    observations = read_folder(market, tmp_path, NOW).observations

    def build(known: pd.DataFrame, spec: MarketSpec, last: np.datetime64) -> Dataset:
        small = known["series"] == "small.index"
        value = known["value"].where(~small, known["value"] ** (1 + 1e-6 * known.loc[small, "value"].iloc[-1]))
        return build_dataset(known.assign(value=value), spec, last)

    cuts = spread_cuts(build(observations, market, np.datetime64("1995-03-24", "us")), 3)
    assert audit(market, observations, cuts, Pipeline(build=build))


@pytest.mark.real
def test_us_factors_as_if_they_were_europes(tmp_path: Path, real_data: Path) -> None:
    """The real shape, and the real drivers of the US beside it.

    On the calendar of New York: where a market's own calendar does not know a holiday that the file passes over, entry
    and exit days around it move with hindsight, the documented exception for sessions as realised.
    """
    factors = pd.read_csv(real_data / "us" / "returns" / "ff3_daily.csv", parse_dates=["date"]).set_index("date")
    write_plain(factors["2008-01-02":"2018-12-28"], tmp_path / "europe" / "returns" / "ff3_daily.csv")
    momentum = pd.read_csv(real_data / "us" / "returns" / "ff_mom_daily.csv", parse_dates=["date"]).set_index("date")
    write_plain(momentum["2008-01-02":"2018-12-28"], tmp_path / "europe" / "returns" / "ff_mom_daily.csv")
    (tmp_path / "us").symlink_to(real_data / "us")
    market = load_market("europe")
    market = market.model_copy(update={"schedule": market.schedule.model_copy(update={"calendar": "XNYS"})})
    observations = read_folder(market, tmp_path, NOW).observations
    observations = observations[observations["period"] >= pd.Timestamp("2005-01-01")]
    assert_clean(market, observations, np.datetime64("2018-12-21", "us"), live=1.0)
