"""The age of a bundle: silent in its time, told past one missed refit, refused past the limit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import features.markets
from features.errors import BundleError, DefinitionError
from features.market import MarketSpec, load_market
from models.schedule import bundle_age
from serving.model_age import age_warning
from tests import small


def weeks() -> np.ndarray:
    return small.dataset().clock.index.to_numpy("datetime64[us]")


@pytest.mark.parametrize(("age", "words"), [(0, ""), (25, ""), (30, ""), (31, "is 31 weeks old"), (52, "is 52 weeks")])
def test_silent_then_told(age: int, words: str) -> None:
    found = age_warning(small.market(), small.dataset(), weeks()[-1 - age], weeks()[-1])
    assert (words in found) if words else found == ""
    assert bundle_age(small.dataset(), weeks()[-1 - age], weeks()[-1]) == age


def test_refused_at_last() -> None:
    with pytest.raises(BundleError, match=r"is 53 weeks old .* `refuse_after_weeks` of market 'sample' is 52"):
        age_warning(small.market(), small.dataset(), weeks()[-54], weeks()[-1])


def with_limits(**limits: int) -> MarketSpec:
    spec = small.market()
    schedule = spec.schedule.model_validate(spec.schedule.model_dump() | limits)
    return spec.model_copy(update={"schedule": schedule})


def test_a_definition_may_say_otherwise() -> None:
    strict = with_limits(warn_after_weeks=26, refuse_after_weeks=27)
    assert strict.schedule.age_limits == (26, 27)
    with pytest.raises(BundleError):
        age_warning(strict, small.dataset(), weeks()[-29], weeks()[-1])
    assert with_limits(refit_weeks=52).schedule.age_limits == (56, 104)
    assert with_limits(warn_after_weeks=60).schedule.age_limits == (60, 60)


@pytest.mark.parametrize("limits", [{"warn_after_weeks": 20}, {"refuse_after_weeks": 29}])
def test_limits_that_make_no_sense(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must not fall"):
        with_limits(**limits)


def test_limits_stay_out_of_the_digest(tmp_path: Path) -> None:
    """They change no number: a bundle trained before them stays the bundle of its configuration."""
    plain = (Path(features.markets.__path__[0]) / "sample.toml").read_text(encoding="utf-8")
    path = tmp_path / "limits.toml"
    path.write_text(plain.replace("refit_weeks = 26", "refit_weeks = 26\nrefuse_after_weeks = 40"), encoding="utf-8")
    limited = load_market(str(path))
    assert limited.schedule.age_limits == (30, 40)
    assert limited.config_hash == load_market("sample").config_hash
    path.write_text(plain.replace("refit_weeks = 26", "refit_weeks = 26\nwarn_after_weeks = 20"), encoding="utf-8")
    with pytest.raises(DefinitionError, match="must not fall"):
        load_market(str(path))
