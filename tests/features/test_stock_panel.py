"""Reading a file of stocks: the same panel whatever the order of the rows, and nothing wrong without a finding."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import DataContractError
from features.stock_panel import LONG_LISTED, StockPanel, read_stocks
from tests.features.stocks_toy import days, rows_of, save

ROWS = rows_of(1)


def same(one: StockPanel, other: StockPanel) -> None:
    for name in ("dates", "codes", "ret", "cap", "st", "traded", "close", "listed"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def found(panel: StockPanel) -> list[tuple[str, str, str, bool]]:
    return [
        (row.check, row.series, f"{row.period:%Y-%m-%d}" if row.series else "", bool(row.quarantined))
        for row in panel.findings.itertuples()
    ]


def test_matrices_are_the_pivoted_rows(tmp_path: Path) -> None:
    panel = read_stocks(save(ROWS, tmp_path))
    wide = ROWS.pivot_table(index="date", columns="code", values="close")
    np.testing.assert_array_equal(panel.dates, wide.index.to_numpy("datetime64[us]"))
    assert panel.codes.tolist() == wide.columns.tolist()
    np.testing.assert_array_equal(panel.close, wide.to_numpy(np.float32))
    np.testing.assert_array_equal(panel.traded, wide.notna())
    value = ROWS.assign(cap=ROWS["close"].astype(np.float32) * ROWS["total_shares_10k"] * 1e4)
    cap = value.pivot_table(index="date", columns="code", values="cap").to_numpy(np.float64)
    np.testing.assert_allclose(panel.cap, cap, rtol=1e-6)
    assert panel.amount is None
    assert panel.findings.empty
    flagged = ROWS.pivot_table(index="date", columns="code", values="is_st").to_numpy(np.float64)
    np.testing.assert_array_equal(panel.st, flagged == 1.0)


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), group=st.integers(1, 400), keep=st.integers(1, 300))
def test_order_of_rows_and_groups_do_not_matter(seed: int, group: int, keep: int) -> None:
    rows = ROWS.sample(keep, random_state=seed)
    with tempfile.TemporaryDirectory() as folder:
        mixed = read_stocks(save(rows, Path(folder), "mixed.parquet", group))
        ordered = read_stocks(save(rows.sort_values(["code", "date"]), Path(folder), "ordered.parquet"))
    same(mixed, ordered)


def test_every_usual_type_of_key_reads_the_same(tmp_path: Path) -> None:
    plain = read_stocks(save(ROWS, tmp_path))
    for date in (ROWS["date"].dt.date, ROWS["date"].dt.strftime("%Y-%m-%d"), ROWS["date"].astype("datetime64[ns]")):
        for code in (ROWS["code"].astype("category"), ROWS["code"].astype(object)):
            same(read_stocks(save(ROWS.assign(date=date, code=code), tmp_path, "other.parquet")), plain)


def test_an_amount_is_kept(tmp_path: Path) -> None:
    panel = read_stocks(save(ROWS.assign(amount=1e6), tmp_path))
    assert panel.amount is not None
    np.testing.assert_array_equal(panel.amount, np.where(panel.traded, 1e6, np.nan))


def test_a_part_of_the_file_knows_what_came_before(tmp_path: Path) -> None:
    path, since, until = save(ROWS.sample(frac=1, random_state=0), tmp_path), days(80)[20], days(80)[60]
    whole, part = read_stocks(path), read_stocks(path, since, until)
    cut = whole.between(since, until)
    kept = np.isin(cut.codes, part.codes)
    assert not cut.traded[:, ~kept].any()
    np.testing.assert_array_equal(part.ret, cut.ret[:, kept])
    np.testing.assert_array_equal(part.listed, whole.listed[kept])
    rows = slice(int(np.searchsorted(whole.dates, since)), int(np.searchsorted(whole.dates, until)) + 1)
    for age in (cut.age(), whole.age()[rows]):
        old = age >= LONG_LISTED
        np.testing.assert_array_equal(np.where(old, 0, age)[:, kept], np.where(old[:, kept], 0, part.age()))


class TestBadInput:
    def test_a_repeated_row_counts_once(self, tmp_path: Path) -> None:
        panel = read_stocks(save(pd.concat([ROWS, ROWS.iloc[[5, 70]]]), tmp_path))
        same(panel, read_stocks(save(ROWS, tmp_path, "plain.parquet")))
        assert [finding[0] for finding in found(panel)] == ["duplicate", "duplicate"]
        assert not panel.findings["quarantined"].any()

    @pytest.mark.parametrize("change", [{"ret": 0.0777}, {"close": 99.0}, {"is_st": True}, {"total_shares_10k": 5.0}])
    @pytest.mark.parametrize("copies", [1, 2])
    def test_rows_that_contradict_each_other_go_into_quarantine(
        self, tmp_path: Path, change: dict[str, object], copies: int
    ) -> None:
        row = ROWS[~ROWS["is_st"] & ROWS["ret"].notna()].iloc[[7]]
        # The original may also agree with the last row: the cell is contradicted all the same.
        rows = pd.concat([ROWS, row.assign(**change), *([row] * (copies - 1))])
        panel = read_stocks(save(rows, tmp_path))
        code, date = str(row["code"].iloc[0]), row["date"].iloc[0]
        assert ("duplicate", code, f"{date:%Y-%m-%d}", True) in found(panel)
        cell = panel.dates == np.datetime64(date, "us"), panel.codes == code
        at = np.ix_(*cell)
        assert np.isnan(panel.ret[at]).all()
        assert np.isnan(panel.cap[at]).all()
        assert panel.traded[at].all()
        plain = read_stocks(save(ROWS, tmp_path, "plain.parquet"))
        assert (np.isnan(panel.ret) != np.isnan(plain.ret)).sum() == 1

    def test_a_price_that_is_not_positive(self, tmp_path: Path) -> None:
        rows = ROWS.copy()
        rows.loc[[3, 9], "close"] = [-2.0, 0.0]
        panel = read_stocks(save(rows, tmp_path))
        assert panel.findings["check"].tolist() == ["price", "price"]
        assert panel.findings["quarantined"].all()
        assert panel.findings["value"].tolist() == [-2.0, 0.0]
        assert np.isnan(panel.cap[panel.traded]).sum() == 2

    def test_missing_cells_are_said(self, tmp_path: Path) -> None:
        rows = ROWS.copy()
        rows["is_st"] = rows["is_st"].astype(object)
        rows.loc[2, "total_shares_10k"] = np.nan
        rows.loc[3, "total_shares_10k"] = -1.0
        rows.loc[4, "close"] = np.inf
        rows.loc[5, "is_st"] = None
        panel = read_stocks(save(rows, tmp_path))
        assert [finding[0] for finding in found(panel)] == [
            "missing_price", "missing_shares", "missing_shares", "missing_st",
        ]  # fmt: skip
        assert np.isnan(panel.cap[panel.traded]).sum() == 3
        day, code = rows.loc[5, ["date", "code"]]
        assert panel.st[panel.dates == np.datetime64(day, "us"), panel.codes == code].all()

    def test_a_file_without_shares_has_no_market_values(self, tmp_path: Path) -> None:
        panel = read_stocks(save(ROWS.drop(columns="total_shares_10k"), tmp_path))
        assert np.isnan(panel.cap).all()
        assert found(panel) == [("missing_shares", "", "", False)]

    def test_thousands_of_findings_are_told_by_code(self, tmp_path: Path) -> None:
        panel = read_stocks(save(ROWS.assign(total_shares_10k=0.0), tmp_path))
        assert len(panel.findings) == ROWS["code"].nunique()
        first = panel.findings.iloc[0]
        assert f"{(ROWS['code'] == first['series']).sum()} day(s)" in first["message"]

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda rows: rows.drop(columns="ret"), "lacks the column"),
            (lambda rows: rows.assign(code=rows["code"].where(rows.index != 6)), "row 7: `code` must not be missing"),
            (lambda rows: rows.assign(date=rows["date"].where(rows.index != 600)), "row 601: `date` must not be"),
            (lambda rows: rows.assign(date=rows["date"] + pd.Timedelta("1h")), "a day without a time"),
            (lambda rows: rows.assign(date=rows["date"].dt.tz_localize("UTC")), "without a time zone"),
            (lambda rows: rows.assign(date=1.5), "`date` must be a day"),
            (lambda rows: rows.assign(date="soon"), "`date` must be a day"),
            (lambda rows: rows.assign(code=rows["code"].astype(int)), "`code` must be text"),
            (lambda rows: rows.assign(close="dear"), "`close` must be numbers"),
            (lambda rows: rows.assign(is_st="yes"), "`is_st` must be true or false"),
            (lambda rows: rows.iloc[:0], "holds no row"),
        ],
    )
    def test_a_file_that_cannot_be_read_names_the_column(self, tmp_path: Path, change, words: str) -> None:
        with pytest.raises(DataContractError, match=words):
            read_stocks(save(change(ROWS), tmp_path))

    def test_no_file_and_no_parquet(self, tmp_path: Path) -> None:
        with pytest.raises(DataContractError, match="no such file"):
            read_stocks(tmp_path / "none.parquet")
        (tmp_path / "bad.parquet").write_text("date,code\n", encoding="utf-8")
        with pytest.raises(DataContractError, match="cannot be read as parquet"):
            read_stocks(tmp_path / "bad.parquet")
        with pytest.raises(DataContractError, match="holds no row"):
            read_stocks(save(ROWS, tmp_path), np.datetime64("2030-01-01", "us"))

    def test_shapes_are_checked(self, tmp_path: Path) -> None:
        panel = read_stocks(save(ROWS, tmp_path))
        with pytest.raises(DataContractError, match="`cap` must have the shape"):
            replace(panel, cap=panel.cap[1:])
