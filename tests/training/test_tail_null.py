"""The simulated null, combination of phases and power: laws that are known, and figures of METHODS."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, kstest, norm

from features.errors import DataContractError
from training.tail_null import null_pits, simulated_p
from training.tail_phases import by_phase, combine_p_values
from training.tail_power import power
from training.tail_tests import TESTS, TailTest, kupiec


def test_draws_are_uniform_and_depend_as_overlap_says() -> None:
    pits = null_pits(60, 4, np.array([[1.0, 0.6], [0.6, 1.0]]), draws=4000, seed=1)
    assert pits.shape == (4000, 60, 2)
    assert kstest(pits[:, 30, 1], "uniform").pvalue > 0.001
    z = norm.ppf(pits)
    for lag, expected in ((1, 0.75), (2, 0.5), (3, 0.25), (4, 0.0), (9, 0.0)):
        assert np.corrcoef(z[:, 20, 0], z[:, 20 + lag, 0])[0, 1] == pytest.approx(expected, abs=0.06)
    assert np.corrcoef(z[:, 20, 0], z[:, 20, 1])[0, 1] == pytest.approx(0.6, abs=0.06)
    assert np.corrcoef(z[:, 20, 0], z[:, 21, 1])[0, 1] == pytest.approx(0.45, abs=0.06)


def test_same_arguments_same_draws() -> None:
    assert null_pits(30, 4) is null_pits(30, 4)
    assert not null_pits(30, 4).flags.writeable
    assert not np.array_equal(null_pits(30, seed=1), null_pits(30, seed=2))


def test_mid_p() -> None:
    assert simulated_p(3.0, np.array([1.0, 2.0])) == pytest.approx(0.5 / 3)
    assert simulated_p(0.0, np.array([1.0, 2.0])) == pytest.approx(2.5 / 3)
    # breaches are binomial: the mid-p of a count against its exact law
    hits = np.r_[np.ones(9), np.zeros(95)]
    null = null_pits(104, draws=8000)
    counts = np.arange(105)
    pmf = binom.pmf(counts, 104, 0.05)
    ratio = np.array([kupiec(np.r_[np.ones(x), np.zeros(104 - x)], 0.05).statistic for x in counts])
    exact = pmf[ratio > ratio[9] + 1e-9].sum() + 0.5 * pmf[np.abs(ratio - ratio[9]) < 1e-9].sum()
    assert kupiec(hits, 0.05, null=null).p_value == pytest.approx(exact, abs=0.01)


def test_bad_null() -> None:
    with pytest.raises(DataContractError, match="must be 1 or more"):
        null_pits(10, 0)
    for matrix in (np.array([[1.0, 2.0], [2.0, 1.0]]), np.array([[1.0, 0.5], [0.4, 1.0]]), np.array([[2.0]])):
        with pytest.raises(DataContractError, match="`correlation` must be"):
            null_pits(10, 1, matrix)


def test_combination() -> None:
    assert combine_p_values(np.array([0.3])) == pytest.approx(0.3)
    assert combine_p_values(np.array([0.001, 0.9, 0.9, 0.9])) < 0.01
    assert combine_p_values(np.array([0.04, 1.0, np.nan])) < 0.2  # one is not allowed to drown the other
    assert 0 < combine_p_values(np.array([0.0, 0.5])) < 1e-9
    rng = np.random.default_rng(0)
    common = rng.normal(size=(4000, 1))
    for share in (0.0, 0.5, 1.0):
        p = norm.cdf(np.sqrt(share) * common + np.sqrt(1 - share) * rng.normal(size=(4000, 4)))
        assert 0.04 < np.mean([combine_p_values(row) < 0.05 for row in p]) < 0.07
    for bad in ([], [1.2], [-0.1]):
        with pytest.raises(DataContractError, match="p-values in"):
            combine_p_values(np.array(bad))


def test_phases_cover_every_row_once() -> None:
    hits = np.arange(10.0)
    seen: list[float] = []

    def run(rows: slice) -> TailTest:
        seen.extend(hits[rows])
        return TailTest("kupiec", -float(len(seen)), 0.2, len(hits[rows]), 1, "by hand")

    found = by_phase(run, 4)
    assert sorted(seen) == list(range(10))
    assert (found.n, found.breaches, found.statistic) == (10, 4, -10.0)
    assert found.p_value == pytest.approx(0.2)
    with pytest.raises(DataContractError, match="`horizon`"):
        by_phase(run, 0)


def test_power_of_kupiec() -> None:
    # METHODS 1: a doubled breach rate is seen with power 0.47 at 104 weeks, 0.99 at 520
    assert power("kupiec", 104, 0.05) == pytest.approx(0.47, abs=0.05)
    assert power("kupiec", 520, 0.05) == pytest.approx(0.99, abs=0.015)


@pytest.mark.parametrize("test", TESTS)
def test_power_grows_with_weeks_and_shrinks_with_overlap(test: str) -> None:
    short, long, overlapping = (power(test, n, 0.05, horizon=h, draws=250) for n, h in ((104, 1), (520, 1), (520, 4)))  # type: ignore[arg-type]
    assert short < long + (0.05 if test == "independence" else 0.02)  # runs: hardly any power at any size
    assert overlapping < long + 0.02
    assert power(test, 104, 0.05, draws=250) == short  # type: ignore[arg-type]


def test_power_of_pairs_that_move_together_is_that_of_one() -> None:
    one, twins, strangers = (power("kupiec", 104, 0.05, pairs=k, correlation=c) for k, c in ((1, 0), (2, 1), (2, 0)))
    assert twins == pytest.approx(one, abs=0.12)
    assert strangers > one + 0.15
    with pytest.raises(DataContractError, match="`test` must be one of"):
        power("wald", 104, 0.05)  # type: ignore[arg-type]
