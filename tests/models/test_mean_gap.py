"""The gap of means between two states."""

import numpy as np
import pytest
from scipy.stats import ttest_ind

from features.errors import DataContractError
from models.mean_gap import mean_gap


def test_is_the_difference_of_the_means() -> None:
    rng = np.random.default_rng(1)
    values, state = rng.normal(size=2000), rng.uniform(size=2000) < 0.4
    gap = mean_gap(values, state)
    assert gap.value == pytest.approx(values[state].mean() - values[~state].mean())
    # Without dependence the interval is close to that of Welch's test.
    welch = ttest_ind(values[state], values[~state], equal_var=False).confidence_interval(0.90)
    assert gap.high - gap.low == pytest.approx(welch.high - welch.low, rel=0.1)


def test_dependence_widens_the_interval() -> None:
    rng = np.random.default_rng(2)
    noise = np.repeat(rng.normal(size=40), 6)
    state = np.repeat(rng.uniform(size=40) < 0.5, 6)
    order = rng.permutation(240)
    clustered, shuffled = mean_gap(noise, state), mean_gap(noise[order], state[order])
    assert clustered.value == pytest.approx(shuffled.value)
    assert clustered.high - clustered.low > 1.3 * (shuffled.high - shuffled.low)


@pytest.mark.parametrize(
    ("rows", "inside", "message"), [(23, 10, "needs 24 rows"), (40, 2, "3 of each"), (40, 38, "3 of each")]
)
def test_refuses_too_little(rows: int, inside: int, message: str) -> None:
    with pytest.raises(DataContractError, match=message):
        mean_gap(np.arange(rows, dtype=float), np.arange(rows) < inside)


def test_refuses_what_does_not_fit() -> None:
    with pytest.raises(DataContractError, match="same shape"):
        mean_gap(np.zeros(30), np.zeros(29, dtype=bool))
    with pytest.raises(DataContractError, match="finite"):
        mean_gap(np.full(30, np.nan), np.arange(30) < 10)
