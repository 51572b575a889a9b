"""When a row abstains and why: what is stale, what is missing, and what both are called."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from features.contracts import Dataset
from models.bundle import Bundle
from models.predict import draft
from models.schedule import forecast_rows
from models.validity import Judgement, Reason, judge
from tests import small


def last() -> tuple[Bundle, Dataset, pd.MultiIndex]:
    """Return the last bundle and the rows of its first weeks."""
    bundle, dataset = small.walked().bundles[-1], small.dataset()
    return bundle, dataset, forecast_rows(dataset, small.plan(), bundle.cut, bundle.cut + np.timedelta64(36, "D"))


def names(bundle: Bundle, family: str) -> list[str]:
    return [info.name for info in bundle.features if info.family == family]


def without(dataset: Dataset, row: object, gone: list[str], stale: list[str]) -> Dataset:
    """Return the dataset with features that one row lacks, some of them because they are stale."""
    values, old = dataset.values.copy(), dataset.stale.copy()
    values.loc[row, gone] = np.nan
    old.loc[row, stale] = True
    return replace(dataset, values=values, stale=old)


def test_one_judgement_a_row_in_order() -> None:
    bundle, dataset, rows = last()
    edited = without(dataset, rows[1], names(bundle, "rates"), names(bundle, "rates"))
    judged = judge(bundle, edited, rows)
    assert len(judged) == len(rows)
    assert [row.validity == "abstain_stale" for row in judged] == [place == 1 for place in range(len(rows))]
    assert judge(bundle, edited, rows[::-1]) == judged[::-1]
    assert judge(bundle, edited, rows[:0]) == []


@pytest.mark.parametrize("count", [0, 1, 2])
def test_stale_if_any_feature_of_the_family_is_and_missing_if_none(count: int) -> None:
    bundle, dataset, rows = last()
    gone = names(bundle, "crowding")
    [judgement] = judge(bundle, without(dataset, rows[0], gone, gone[:count]), rows[[0]])
    kind = "stale" if count else "missing"
    assert judgement == Judgement(f"abstain_{kind}", (Reason(kind, ("crowding",)),))


def test_a_stale_family_and_a_missing_one_are_told_apart() -> None:
    bundle, dataset, rows = last()
    stale, missing = names(bundle, "leverage"), names(bundle, "flows")
    [judgement] = judge(bundle, without(dataset, rows[0], stale + missing, stale), rows[[0]])
    assert judgement.validity == "abstain_stale"
    assert judgement.text == "no live feature in leverage: inputs are stale; no live feature in flows"


def test_staleness_of_what_training_never_saw_says_nothing() -> None:
    bundle, dataset, rows = last()
    gone = names(bundle, "leverage")
    unseen = gone[0]
    bounds = ({name: bound for name, bound in part.items() if name != unseen} for part in vars(bundle.support).values())
    known = replace(bundle, support=type(bundle.support)(*bounds))
    assert unseen in bundle.support.low
    [judgement] = judge(known, without(dataset, rows[0], gone, [unseen]), rows[[0]])
    assert judgement.validity == "abstain_missing"


def test_an_abstention_outweighs_the_distance_from_training() -> None:
    bundle, dataset, rows = last()
    far = replace(dataset, values=dataset.values + 1e6)
    assert judge(bundle, far, rows[[0]])[0].validity == "out_of_support"
    gone = names(bundle, "rates")
    assert judge(bundle, without(far, rows[0], gone, gone), rows[[0]])[0].validity == "abstain_stale"


def test_a_pair_without_a_tail_says_so_whatever_the_validity() -> None:
    bundle, dataset, rows = last()
    pair = next(each for each in dataset.pairs if each.name == rows[0][0])
    bare = replace(bundle, volatility={**bundle.volatility, pair.small: None})
    gone = names(bundle, "rates")
    for edited in (dataset, without(dataset, rows[0], gone, gone)):
        plain, judged = (draft(each, edited, rows, small.base()).judgements for each in (bundle, bare))
        features = dict(zip(rows, judge(bundle, edited, rows), strict=True))
        for (name, day, horizon), other in judged.items():
            one = features[name, day]
            if name == pair.name:
                assert other == Judgement(one.validity, (*one.reasons, Reason("no_tail")))
            else:
                assert other == plain[name, day, horizon]
                assert other.reasons[: len(one.reasons)] == one.reasons


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (Reason("missing", ("macro", "flows")), "no live feature in macro, flows"),
        (Reason("stale", ("macro",)), "no live feature in macro: inputs are stale"),
        (Reason("unseen", ("pmi_level", "age")), "beyond everything seen in training: pmi_level, age"),
        (Reason("unusual", count=9, of=44), "9 of 44 features in their outer 2%"),
        (Reason("no_tail"), "no tail: too few daily closes"),
        (Reason("untilted"), "tail of the untilted scenario set"),
        (Reason("few_paths", ("crash", "switch")), "too few paths show crash, switch"),
        (Reason("stretched", count=312), "scenario set stretched: 312 effective paths"),
    ],
)
def test_every_reason_in_english(reason: Reason, text: str) -> None:
    assert reason.text == text


def test_a_row_without_reasons_has_no_text() -> None:
    assert Judgement("validated", ()).text == ""
