"""What a row must hold: every breach is found and named, and nothing else is rejected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import BundleError, DataContractError
from models.row_contract import RowContract
from models.row_frame import feature_rows
from tests import small
from tests.models import row_toy


@pytest.fixture(scope="module")
def contract() -> RowContract:
    return RowContract.of(row_toy.bundle())


def test_rows_of_the_dataset_keep_it(contract: RowContract) -> None:
    frame = row_toy.rows()
    rows, reasons = contract.read(frame)
    assert set(reasons) == {""}
    assert list(frame.columns) == [*contract.required[:3], "stale", *contract.required[3:]]
    values = small.dataset().values.loc[row_toy.index()]
    assert np.array_equal(rows.values, values.to_numpy(), equal_nan=True)
    assert np.array_equal(rows.stale, small.dataset().stale.loc[row_toy.index()].to_numpy())


def test_a_row_knows_what_was_known_then() -> None:
    """Rows of a dataset cut earlier are the same."""
    whole = row_toy.rows()
    day = np.sort(whole["decision_date"].unique())[5]
    before = small.dataset(np.datetime64(day, "us"))
    index = row_toy.index()
    kept = index[index.get_level_values("decision_date") <= day]
    cut = feature_rows(before, kept, small.base(before))
    pd.testing.assert_frame_equal(cut, whole[whole["decision_date"] <= day].reset_index(drop=True))


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("pair", "no-such", "pair is not of the bundle's market"),
        ("pair", None, "pair is no text"),
        ("pair", 7, "pair is no text"),
        ("decision_date", None, "decision_date is no day"),
        ("decision_date", "2010-09-17", "decision_date is no day"),
        ("decision_date", datetime(2010, 9, 17, tzinfo=UTC), "decision_date is no day"),
        ("decision_date", datetime(2010, 9, 17, 12), "decision_date is no day"),
        ("decision_date", date(2001, 1, 5), "before the bundle's cut"),
        ("style_in_force", "medium", "style_in_force is neither"),
        ("style_in_force", float("nan"), "style_in_force is neither"),
        ("style_in_force", 1, "style_in_force is neither"),
        ("stale", "no_such_feature", "stale names no_such_feature"),
        ("stale", 3.0, "stale is no text"),
        ("style_momentum_4w", float("inf"), "style_momentum_4w is infinite"),
        ("style_momentum_4w", "0.5", "style_momentum_4w is no number"),
        ("style_momentum_4w", True, "style_momentum_4w is no number"),
        ("style_momentum_4w", Decimal("0.5"), "style_momentum_4w is no number"),
        ("style_momentum_4w", 10**400, "style_momentum_4w is no number"),
        ("style_momentum_4w", [1.0], "style_momentum_4w is no number"),
        ("switch_1w_base", None, "switch_1w_base is missing or no probability"),
        ("switch_1w_base", 0.0, "switch_1w_base is missing or no probability"),
        ("crash_4w_shared", 1.5, "crash_4w_shared is missing or no probability"),
        ("crash_4w_implied", 1.0, "crash_4w_implied is missing or no probability"),
        ("large_4w_n", -1.0, "large_4w_n is missing or below 0"),
        ("large_4w_n", None, "large_4w_n is missing or below 0"),
        ("large_4w_n", float("inf"), "large_4w_n is missing or below 0"),
    ],
)
def test_a_breach_is_named_and_the_rest_kept(contract: RowContract, column: str, value: Any, words: str) -> None:
    frame = row_toy.rows().iloc[:6].copy()
    frame[column] = pd.Series([*frame[column][:2], value, *frame[column][3:]], dtype=object, index=frame.index)
    rows, reasons = contract.read(frame)
    assert words in reasons[2]
    assert [reason == "" for reason in reasons] == [True, True, False, True, True, True]
    assert len(rows) == 5


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.assign(style_momentum_4w=None),
        lambda frame: frame.assign(style_momentum_4w=np.float32(0.5)),
        lambda frame: frame.assign(style_momentum_4w=pd.array([1] * len(frame), dtype="Int64")),
        lambda frame: frame.assign(style_momentum_4w=3),
        lambda frame: frame.assign(crash_4w_implied=None),
        lambda frame: frame.assign(stale=None),
        lambda frame: frame.drop(columns="stale"),
        lambda frame: frame.assign(pair=frame["pair"].astype("category")),
        lambda frame: frame.assign(pair=frame["pair"].astype("string")),
        lambda frame: frame.assign(decision_date=frame["decision_date"].dt.date),
        lambda frame: frame.assign(decision_date=frame["decision_date"].astype("datetime64[ns]")),
        lambda frame: frame.assign(further="column"),
        lambda frame: frame[frame.columns[::-1]],
        lambda frame: frame.set_index(pd.Index(["again"] * len(frame))),
    ],
)
def test_other_forms_of_the_same_are_taken(
    contract: RowContract, change: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    frame = row_toy.rows().iloc[:6]
    rows, reasons = contract.read(change(frame))
    assert set(reasons) == {""}
    assert len(rows) == 6


@given(st.data())
def test_counts_add_up_whatever_the_cells(contract: RowContract, data: st.DataObject) -> None:
    cells = st.one_of(st.none(), st.floats(), st.text(max_size=3), st.integers(), st.booleans(), st.dates())
    frame = row_toy.rows().iloc[:3].astype(object)
    for column in data.draw(st.lists(st.sampled_from(list(frame.columns)), max_size=4, unique=True)):
        frame[column] = pd.Series([data.draw(cells) for _ in range(3)], dtype=object, index=frame.index)
    rows, reasons = contract.read(frame)
    assert len(rows) + np.count_nonzero(reasons != "") == 3


def test_a_missing_column_is_named(contract: RowContract) -> None:
    with pytest.raises(DataContractError, match=r"lack column\(s\) style_momentum_4w; `capshift features`"):
        contract.read(row_toy.rows().drop(columns="style_momentum_4w"))
    twice = pd.concat([row_toy.rows(), row_toy.rows()[["pair"]]], axis=1)
    with pytest.raises(DataContractError, match="'pair' more than once"):
        contract.read(twice)


def test_a_bundle_without_pairs_is_refused() -> None:
    with pytest.raises(BundleError, match="does not name its pairs"):
        RowContract.of(replace(row_toy.bundle(), pairs=()))
