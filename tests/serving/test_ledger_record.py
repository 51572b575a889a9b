"""Bytes and hashes of records: golden by hand, the same for equal records only."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.contracts import FORECAST_COLUMNS
from features.errors import DataContractError
from serving.ledger_record import (
    FIELDS,
    FORECAST_FIELDS,
    canonical_bytes,
    date_text,
    genesis_hash,
    record_hash,
    stored_number,
    time_text,
)

VALUES = st.one_of(
    st.none(), st.text(), st.integers(), st.booleans(), st.binary(), st.floats(allow_nan=False).map(lambda x: x + 0.0)
)


def test_fields_are_the_published_columns_without_outcomes() -> None:
    assert set(FORECAST_COLUMNS) - set(FORECAST_FIELDS) == {"y_switch", "y_large", "y_crash", "spread_realised"}
    assert set(FORECAST_FIELDS) < set(FIELDS["forecast"])
    assert FIELDS["forecast"][-1] == FIELDS["outcome"][-1] == "previous_hash"


def test_hash_is_that_of_bytes_written_by_hand() -> None:
    record = {
        "sequence": 2, "forecast_hash": "ab", "exit_date": "2023-01-16", "matured_at": "2023-01-16T07:30:00.000000Z",
        "spread_realised": -0.5, "y_switch": 1.0, "y_large": 0.0, "y_crash": None, "snapshot_id": "中",
        "code_version": "1", "recorded_at": "2023-01-17T00:00:00.000000Z", "previous_hash": "cd",
    }  # fmt: skip
    by_hand = (
        '[["sequence","int","2"],["forecast_hash","text","ab"],["exit_date","text","2023-01-16"],'
        '["matured_at","text","2023-01-16T07:30:00.000000Z"],["spread_realised","float","-0x1.0000000000000p-1"],'
        '["y_switch","float","0x1.0000000000000p+0"],["y_large","float","0x0.0p+0"],["y_crash","none",""],'
        '["snapshot_id","text","\\u4e2d"],["code_version","text","1"],'
        '["recorded_at","text","2023-01-17T00:00:00.000000Z"],["previous_hash","text","cd"]]'
    )
    assert record_hash("outcome", record) == hashlib.sha256(by_hand.encode()).hexdigest()
    shuffled = dict(reversed(record.items())) | {"hash": "of no account"}
    assert record_hash("outcome", shuffled) == record_hash("outcome", record)


@given(VALUES, VALUES)
def test_values_share_bytes_only_if_they_are_the_same(one: object, other: object) -> None:
    same = type(one) is type(other) and one == other
    assert (canonical_bytes({"x": one}) == canonical_bytes({"x": other})) == same


@given(st.lists(st.text(), min_size=2, max_size=2), st.lists(st.text(), min_size=2, max_size=2))
def test_text_never_flows_from_one_field_into_the_next(one: list[str], other: list[str]) -> None:
    names = ("pair", "market")
    equal = canonical_bytes(dict(zip(names, one, strict=True))) == canonical_bytes(dict(zip(names, other, strict=True)))
    assert equal == (one == other)


def test_genesis_tells_chains_versions_and_ledgers_apart() -> None:
    hashes = {
        genesis_hash(chain, version, name, time)
        for chain in ("forecast", "outcome")
        for version in (1, 2)
        for name in ("a", "b")
        for time in ("2023-01-01T00:00:00.000000Z", "2023-01-02T00:00:00.000000Z")
    }
    assert len(hashes) == 16


@given(st.datetimes(), st.datetimes())
def test_texts_of_times_sort_like_times(one, other) -> None:
    texts = time_text(np.datetime64(one, "us")), time_text(np.datetime64(other, "us"))
    assert (texts[0] < texts[1]) == (one < other)


def test_numbers_as_stored() -> None:
    assert stored_number("sigma", float("nan")) is None
    zero = stored_number("spread_realised", -0.0)
    assert zero is not None
    assert math.copysign(1, zero) == 1
    with pytest.raises(DataContractError, match="`sigma` must be finite"):
        stored_number("sigma", float("inf"))


def test_days_and_times_must_be_there() -> None:
    assert date_text(np.datetime64("2023-01-06", "us")) == "2023-01-06"
    for bad in ("NaT", "2023-01-06T12"):
        with pytest.raises(DataContractError, match="at midnight"):
            date_text(np.datetime64(bad, "us"))
    with pytest.raises(DataContractError, match="missing"):
        time_text(np.datetime64("NaT", "us"))
