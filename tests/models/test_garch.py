"""The fit is arch's own, to the last bit: only the order in which its constraints are asked differs."""

from __future__ import annotations

import numpy as np
import pytest
from arch import arch_model

from features.contracts import FloatArray
from models.garch import fit_garch


def changes(seed: int, n: int) -> FloatArray:
    """Percent changes whose volatility answers to falls, with fat tails."""
    rng = np.random.default_rng(seed)
    size = 1.0
    drawn = np.empty(n)
    for day, shock in enumerate(rng.standard_t(5, n) * np.sqrt(3 / 5)):
        drawn[day] = size * shock
        size = 0.02 + 0.9 * size + (0.14 if shock < 0 else 0.06) * abs(drawn[day])
    return drawn


@pytest.mark.parametrize(("seed", "n"), [(1, 2400), (2, 750), (3, 250), (4, 150), (5, 150), (6, 400)])
def test_it_equals_the_fit_of_arch(seed: int, n: int) -> None:
    of = changes(seed, n)
    # A walk without volatility clusters ends at the bounds.
    of = np.random.default_rng(seed).standard_normal(n) if seed == 6 else of
    before = of.copy()
    params, converged = fit_garch(of)
    model = arch_model(of, mean="Zero", vol="GARCH", p=1, o=1, q=1, power=1.0, dist="skewt", rescale=False)
    expected = model.fit(disp="off", show_warning=False)
    assert params == expected.params.tolist()
    assert converged == (expected.convergence_flag == 0)
    assert np.array_equal(of, before)
    assert fit_garch(of) == (params, converged)
    assert all(type(value) is float for value in params)
