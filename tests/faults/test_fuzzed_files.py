"""Every reader on damaged files: what it makes of them, or one sentence; never a traceback of another kind."""

from __future__ import annotations

import random
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from features.calendar import TradingCalendar
from features.errors import CapshiftError
from features.ingest import ingest
from features.market import load_market
from features.sources.folder import read_folder
from features.stock_panel import read_stocks
from features.store import Store
from models.scenarios import ScenarioSet
from serving.book_table import open_table
from serving.fund_returns import read_fund_returns
from serving.ledger import Ledger
from serving.ledger_read import recorded_forecasts
from serving.ledger_verify import verify
from serving.stress_table import load_stress
from tests.features.crowding.toy_stocks import save, stock_rows, toy_panel
from tests.features.test_folder import FILES, MARKET, NOW
from tests.models.test_scenarios import make_set
from tests.serving.ledger_toy import on_time, toy_entries

SEED = 20240205
CASES = [12, pytest.param(40, id="40", marks=pytest.mark.deep), pytest.param(1000, id="1000", marks=pytest.mark.fault)]
Reader = Callable[[Path], object]


def damaged(whole: bytes, chance: random.Random) -> bytes:
    """Cut, flip, overwrite, repeat, move or insert bytes of a file, in one to four places."""
    data = bytearray(whole)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        length = min(chance.choice((1, 1, 2, 8, 64, 1024)), len(data) - at)
        kind = chance.randrange(7)
        if kind == 0:
            del data[at:]
        elif kind == 1:
            del data[at : at + length]
        elif kind == 2:
            data[at : at + length] = chance.randbytes(length)
        elif kind == 3:
            data[at:at] = chance.randbytes(length)
        elif kind == 4:
            data[at:at] = data[at : at + length]
        elif kind == 5 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        else:
            words = (b"nan", b"inf", b"-1e999", b"\x00", b"9999-99-99", b"\xff\xfe", b'"', b",", b"\n", b"[[", b"=")
            data[at:at] = chance.choice(words)
    return bytes(data)


def survives(read: Reader, path: Path, cases: int) -> None:
    """Read damaged copies of a file; a sentence of ours is an answer, anything else is not."""
    whole = path.read_bytes()
    read(path)
    chance = random.Random(f"{SEED} {path.name}")
    said = []
    for number in range(cases):
        bad = damaged(whole, chance)
        path.write_bytes(bad)
        try:
            read(path)
        except CapshiftError as error:
            said.append(str(error).strip())
        except Exception as error:
            kept = path.with_name(f"case-{number}{path.suffix}")
            kept.write_bytes(bad)
            raise AssertionError(f"case {number} ({kept}): {type(error).__name__}: {error}") from error
    assert said, "nothing was refused: the damage does not reach the reader"
    assert all(said)


@pytest.mark.parametrize("cases", CASES)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("name", FILES)
def test_source_folder(tmp_path: Path, name: str, suffix: str, cases: int) -> None:
    for other, text in FILES.items():
        (tmp_path / other).write_text(text, encoding="utf-8")
    path = (tmp_path / name).with_suffix(suffix)
    if suffix == ".parquet":
        pd.read_csv(tmp_path / name).to_parquet(path)
        (tmp_path / name).unlink()
    survives(lambda path: read_folder(MARKET, path.parent, NOW), path, cases)


@pytest.mark.parametrize("cases", CASES)
def test_stocks(tmp_path: Path, cases: int) -> None:
    path = save(stock_rows(toy_panel(days=12, codes=10)), tmp_path / "stocks.parquet")
    survives(read_stocks, path, cases)


@pytest.mark.parametrize("cases", CASES)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_books(tmp_path: Path, suffix: str, cases: int) -> None:
    books = pd.DataFrame(
        {
            "book_id": ["a", "b", "c"], "as_of": pd.to_datetime(["2023-11-24"] * 3), "gross_leverage": [1.0, 4.0, 2.0],
            "financing_rate": [0.0, 0.045, 0.0], "basis": [0.0, -0.08, 0.0], "long_small": [1.0, 1.0, 1.0],
            "hedge_large": [0.0, -1.0, 0.0],
        }
    )  # fmt: skip
    path = tmp_path / f"books{suffix}"
    books.to_csv(path, index=False) if suffix == ".csv" else books.to_parquet(path, index=False)
    survives(lambda path: list(open_table(path, ("large", "small")).chunks(2)), path, cases)


@pytest.mark.parametrize("cases", CASES)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_fund_returns(tmp_path: Path, suffix: str, cases: int) -> None:
    sessions = TradingCalendar.build("XSHG", "2023-01-03", "2023-06-30").sessions[:80]
    rows = pd.DataFrame({"date": sessions, "return": np.linspace(-0.01, 0.01, 80)})
    path = tmp_path / f"fund{suffix}"
    rows.to_csv(path, index=False) if suffix == ".csv" else rows.to_parquet(path, index=False)
    survives(lambda path: read_fund_returns(path, "XSHG"), path, cases)


@pytest.mark.parametrize("cases", CASES)
def test_market_definition(tmp_path: Path, cases: int) -> None:
    path = tmp_path / "market.toml"
    path.write_bytes((resources.files("features") / "markets" / "sample.toml").read_bytes())
    survives(lambda path: load_market(str(path)), path, cases)


@pytest.mark.parametrize("cases", CASES)
def test_stress(tmp_path: Path, cases: int) -> None:
    path = tmp_path / "stress.toml"
    path.write_text('what = "A bad week"\n[shocks]\nlarge = -0.02\nsmall = -0.2\n', encoding="utf-8")
    survives(lambda path: load_stress(str(path), "cn"), path, cases)


@pytest.mark.parametrize("cases", CASES)
def test_scenario_set(tmp_path: Path, cases: int) -> None:
    path = tmp_path / "2023-11-24.npz"
    make_set(paths=30).save(path)
    survives(ScenarioSet.load, path, cases)


@pytest.mark.parametrize("cases", [10, pytest.param(300, marks=pytest.mark.fault)])
def test_store(tmp_path: Path, cases: int) -> None:
    root = tmp_path / "data"
    root.mkdir()
    for name, text in FILES.items():
        (root / name).write_text(text, encoding="utf-8")
    store = Store(tmp_path / "store.duckdb")
    ingest(store, MARKET, read_folder(MARKET, root, NOW).observations, NOW)
    with duckdb.connect(str(store.path)) as connection:
        connection.execute("CHECKPOINT")
    survives(lambda path: Store(path).observations("tiny"), store.path, cases)


@pytest.mark.parametrize("cases", [10, pytest.param(300, marks=pytest.mark.fault)])
def test_ledger(tmp_path: Path, cases: int) -> None:
    ledger = Ledger(None, tmp_path)
    ledger.append(toy_entries(0), on_time(0))

    def read(path: Path) -> None:
        opened = Ledger(str(path), tmp_path)
        verify(opened)
        recorded_forecasts(opened)

    survives(read, tmp_path / "ledger.db", cases)
