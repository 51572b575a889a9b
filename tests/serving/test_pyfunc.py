"""The registered model on a machine that has no capshift: the shipped code scores the same numbers."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.errors import BundleError
from models.pyfunc import REJECTED, RowModel, output_columns
from models.row_contract import RowContract
from models.row_scores import DRIVER_COLUMNS, NUMBER_COLUMNS, RowScorer
from models.shipping import bundle_of, requirements, shipped, shipped_modules, signature
from serving.registry import save_model
from tests.models import row_toy

# Runs without the repository and without the editable install: only libraries and what the model ships are found.
_LOAD = """
import importlib.abc, json, sys
from pathlib import Path
site, model, rows, out, without = sys.argv[1:6]
sys.path = [entry for entry in sys.path if "__editable__" not in entry] + [site]
sys.meta_path = [finder for finder in sys.meta_path if "__editable__" not in getattr(finder, "__module__", "")]

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in without.split(","):
            raise ModuleNotFoundError(f"test: there is no {name} here", name=name)

sys.meta_path.insert(0, Absent())
for name in ("features", "models", "training", "serving"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    sys.exit(f"{name} is installed here: the test proves nothing")
import pandas as pd
import mlflow.pyfunc
loaded = mlflow.pyfunc.load_model(model)
loaded.predict(pd.read_parquet(rows)).to_parquet(out)
ours = {name: sys.modules[name].__file__ for name in sys.modules if name.split(".")[0] in ("features", "models")}
print(json.dumps(ours))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    return save_model(row_toy.bundle().save(folder / "2010-07-23-abc"), folder / "model")


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    frame = row_toy.many(2500, seed=9)
    frame.loc[[3, 40], "pair"] = "no-such"
    return frame


def environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "OMP_NUM_THREADS": "1"}
    return {**kept, **quiet, "PYTHONDONTWRITEBYTECODE": "1"}


def alone(model: Path, rows: pd.DataFrame, folder: Path, without: str) -> tuple[pd.DataFrame, dict[str, str]]:
    """Score in a process that has the libraries but not this project."""
    rows.to_parquet(folder / "rows.parquet")
    site = str(Path(np.__file__).parents[1])
    # -S: without the environment's own hooks, the editable install among them.
    command = [sys.executable, "-S", "-W", "ignore", "-c", _LOAD]
    arguments = [site, str(model), str(folder / "rows.parquet"), str(folder / "out.parquet"), without]
    done = subprocess.run(
        [*command, *arguments], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return pd.read_parquet(folder / "out.parquet"), json.loads(done.stdout.splitlines()[-1])


def assert_same(found: pd.DataFrame, wanted: pd.DataFrame) -> None:
    assert list(found.columns) == list(wanted.columns) == list(output_columns())
    np.testing.assert_allclose(found[list(NUMBER_COLUMNS)], wanted[list(NUMBER_COLUMNS)], rtol=0, atol=1e-12)
    for column in ("validity", "reasons", REJECTED, *DRIVER_COLUMNS):
        assert list(found[column].fillna("")) == list(wanted[column].fillna(""))


@pytest.mark.parametrize(
    "without", [pytest.param("arch,training,serving", marks=pytest.mark.deep), "arch,numba,statsmodels,shap,duckdb"]
)
def test_without_capshift_and_without_numba_the_numbers_are_the_same(
    model: Path, rows: pd.DataFrame, tmp_path: Path, without: str
) -> None:
    found, modules = alone(model, rows, tmp_path, without)
    wanted = RowModel(RowScorer(row_toy.bundle(), "reference")).predict(rows)
    assert_same(found, wanted)
    assert list(found.index[found[REJECTED] != ""]) == [3, 40]
    home = str(model / "code")
    assert all(file.startswith(home) for file in modules.values())
    assert ("models.row_kernel" in modules) == ("numba" not in without)
    assert set(modules) - {"features", "models"} <= set(shipped_modules())


def test_requirements_name_what_the_code_imports(model: Path) -> None:
    text = (model / "requirements.txt").read_text()
    assert text.split() == requirements()
    libraries = set()
    for file in (model / "code").rglob("*.py"):
        libraries |= set(re.findall(r"^\s*(?:import|from) (\w+)", file.read_text(), re.MULTILINE))
    foreign = libraries - set(sys.stdlib_module_names) - {"features", "models"}
    assert foreign <= {pin.partition("==")[0] for pin in requirements()}
    assert not {"features/store.py", "models/garch.py", "models/books.py"} & {
        file.relative_to(model / "code").as_posix() for file in (model / "code").rglob("*.py")
    }


def test_signature_is_the_contract(model: Path, rows: pd.DataFrame) -> None:
    import mlflow.pyfunc

    loaded = mlflow.pyfunc.load_model(str(model))
    contract = RowContract.of(row_toy.bundle())
    names = signature(contract)
    assert [column["name"] for column in names["inputs"]] == list(rows.columns)
    assert loaded.metadata.signature.outputs.input_names() == list(output_columns())
    assert_same(
        loaded.predict(rows.head(20)), RowModel(RowScorer(row_toy.bundle(), "reference")).predict(rows.head(20))
    )
    assert len(loaded.predict(rows.head(20).drop(columns="stale"))) == 20
    with pytest.raises(Exception, match="missing"):
        loaded.predict(rows.drop(columns="style_momentum_4w"))


def test_the_bundle_lies_inside(model: Path) -> None:
    assert (bundle_of(model) / "manifest.json").is_file()
    assert bundle_of(model.parent) == model.parent


def test_a_damaged_bundle_is_not_shipped(tmp_path: Path) -> None:
    folder = row_toy.bundle().save(tmp_path / "bundle")
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(BundleError), shipped(folder):
        pass


@pytest.mark.deep
def test_mlflow_serves_it(model: Path, rows: pd.DataFrame, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(model), "--env-manager", "local"]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            [*command, "--port", str(port), "--host", "127.0.0.1"],
            cwd=tmp_path, env={**environment(), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        few = rows.head(5)
        body = few.to_json(orient="split", index=False, date_format="iso")
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            data=json.dumps({"dataframe_split": json.loads(body)}).encode(),
            headers={"Content-Type": "application/json"},
        )
        answer = _ask(request, server, tmp_path / "log")
    finally:
        os.killpg(server.pid, 15)
        server.wait(20)
    found = pd.DataFrame(answer["predictions"])
    wanted = RowModel(RowScorer(row_toy.bundle(), "reference")).predict(few)
    # JSON keeps ten digits of what goes in.
    np.testing.assert_allclose(found["p_switch_1w"].astype(float), wanted["p_switch_1w"], atol=1e-8)
    assert list(found[REJECTED] != "") == [False, False, False, True, False]


def _ask(request: urllib.request.Request, server: subprocess.Popen[bytes], log: Path) -> dict[str, list[object]]:
    until = time.monotonic() + 120
    while True:
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                found: dict[str, list[object]] = json.loads(answer.read())
                return found
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error
        except OSError:
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.3)
