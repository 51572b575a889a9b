"""Overfitting: against a loop over splits, and where the answer is known."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import linregress, rankdata

from features.errors import DataContractError
from training.overfitting import backtest_overfitting


def by_loop(returns: np.ndarray, blocks: int) -> tuple[float, float, float, int]:
    parts = np.array_split(np.arange(len(returns)), blocks)
    below, loss, pairs = [], [], []
    for chosen in combinations(range(blocks), blocks // 2):
        inside = np.concatenate([parts[i] for i in chosen])
        outside = np.concatenate([parts[i] for i in range(blocks) if i not in chosen])
        ratio = returns[inside].mean(axis=0) / returns[inside].std(axis=0)
        other = returns[outside].mean(axis=0) / returns[outside].std(axis=0)
        best = int(np.argmax(ratio))
        w = rankdata(other)[best] / (returns.shape[1] + 1)
        below.append(np.log(w / (1 - w)) <= 0)
        loss.append(returns[outside, best].mean() < 0)
        pairs.append((ratio[best], other[best]))
    slope = linregress(*np.array(pairs).T).slope
    return float(np.mean(below)), float(np.mean(loss)), float(slope), len(pairs)


@pytest.mark.parametrize("shape", [(60, 3), (61, 4), (50, 7)])
def test_equals_a_loop(shape: tuple[int, int]) -> None:
    returns = np.random.default_rng(sum(shape)).normal(0.001, 0.02, shape)
    assert backtest_overfitting(returns, blocks=6) == pytest.approx(by_loop(returns, 6))


def test_a_trial_that_is_truly_better_is_no_overfit() -> None:
    returns = np.random.default_rng(0).normal(0, 0.01, (320, 10))
    returns[:, 3] += 0.01
    found = backtest_overfitting(returns)
    assert found.pbo == 0.0
    assert found.loss == 0.0
    assert found.splits == 12870


def test_noise_overfits_half_the_time_and_a_reversal_always() -> None:
    rng = np.random.default_rng(1)
    noise = [backtest_overfitting(rng.normal(size=(200, 8)), blocks=8).pbo for _ in range(60)]
    assert np.mean(noise) == pytest.approx(0.5, abs=0.08)
    # Each trial's sum over all weeks is the same: what is good inside is bad outside (Bailey et al. 2017).
    returns = rng.normal(size=(200, 8))
    reversed_ = backtest_overfitting(returns - returns.mean(axis=0), blocks=8)
    assert reversed_.pbo > 0.9
    assert reversed_.slope < -0.5


def test_trials_that_do_not_move() -> None:
    flat = np.zeros((64, 3))
    assert np.isnan(backtest_overfitting(flat).pbo)
    flat[:, 0] = np.random.default_rng(2).normal(0.02, 0.01, 64)
    assert backtest_overfitting(flat).pbo == 0.0


@pytest.mark.parametrize(
    ("returns", "blocks", "match"),
    [
        (np.zeros((100, 1)), 4, "2 trials"),
        (np.zeros(100), 4, "shape"),
        (np.full((100, 2), np.nan), 4, "finite"),
        (np.zeros((100, 2)), 5, "even"),
        (np.zeros((20, 2)), 16, "at most half"),
    ],
)
def test_refuses(returns: np.ndarray, blocks: int, match: str) -> None:
    with pytest.raises(DataContractError, match=match):
        backtest_overfitting(returns, blocks=blocks)
