"""Scoring rows of features in bulk: against the trees alone, through MLflow, and what tracking costs.

Made-up bundles of 60 features in one process, compiled before it is timed: heads as they are, and with trees of the
size that the target names, 20 times 100 of five leaves. Trees alone run on as many threads as the job, before and
after it, so that a busy machine slows both. Run alone: ``python tests/bench/rows.py [ROWS]``.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from features.contracts import EVENTS, FAMILIES, HORIZONS, FeatureInfo
from models.bundle import Bundle, Support
from models.design import Scaler, build_layout
from models.heads import Head
from models.linear import RidgeLogit
from models.memory import Memory
from models.pyfunc import RowModel
from models.row_parts import HEADS, TableParts
from models.row_scores import RowScorer
from models.settings import HeadSettings, TreeSettings
from serving.job_log import JobLog
from serving.registry import save_model
from serving.score_rows import ScoreJob, score_rows
from tests.models import row_toy

FEATURES, ROWS, SEED = 60, 1_000_000, 7
_CHUNK = 100_000
TARGET = TreeSettings(rounds=100, num_leaves=5, max_depth=-1)
"""Of the size for which the target was set."""


def seconds(work: Callable[[], object]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def made_up_bundle(size: TreeSettings) -> Bundle:
    """Fit heads to noise."""
    rng = np.random.default_rng(SEED)
    families = FAMILIES[1:]
    infos = tuple(
        FeatureInfo(
            f"f{i}", families[i % len(families)], "market", (1, -1, 0)[i % 3], (1, 0)[i % 2], "z", "real", "bench"
        )
        for i in range(FEATURES)
    )
    names = [info.name for info in infos]
    ones, settings = dict.fromkeys(names, 1.0), HeadSettings(trees=size)
    heads = {}
    for horizon in HORIZONS:
        for event in EVENTS:
            layout = build_layout(event, infos)
            x = rng.normal(size=(2000, len(layout.columns)))
            data = lgb.Dataset(
                x, (rng.random(2000) < 0.3) * 1.0, feature_name=list(layout.columns), params={"verbose": -1}
            )
            trees = asdict(settings.trees)
            fixed = {"objective": "cross_entropy", "verbose": -1, "num_threads": 1, "bagging_freq": 1}
            chosen = {name: trees[name] for name in trees if name not in ("rounds", "seeds")}
            boosters = tuple(
                lgb.train({**fixed, **chosen, "seed": seed}, data, settings.trees.rounds)
                for seed in range(settings.trees.seeds)
            )
            fit = RidgeLogit(0.1 * rng.normal(size=layout.signed), 0.0, 0.01 * np.eye(layout.signed + 1))
            start = RidgeLogit(np.zeros(1), 0.0, 0.01 * np.eye(2))
            heads[event, horizon] = Head(event, horizon, start, 0.75, fit, boosters)
    return Bundle(
        "bench", True, np.datetime64("2020-01-03", "us"), "bench", "bench", "bench", infos, families, settings,
        Scaler(dict.fromkeys(names, 0.0), ones, 3.0),
        Support(*(dict.fromkeys(names, bound) for bound in (-2.3, 2.3, -3.5, 3.5))),
        heads, {}, Memory.empty(), ("a-b", "a-c"),
    )  # fmt: skip


def _write(bundle: Bundle, path: Path, rows: int) -> None:
    writer = None
    for first in range(0, rows, _CHUNK):
        frame = row_toy.many(min(_CHUNK, rows - first), seed=first, of=bundle)
        table = pa.Table.from_pandas(frame, preserve_index=False)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def _trees_alone(bundle: Bundle, threads: int) -> Callable[[], object]:
    """Return what scores and explains a chunk of rows with every tree, and does nothing else."""
    scorer = RowScorer(bundle, "tables")
    rows, _ = scorer.contract.read(row_toy.many(_CHUNK, of=bundle))
    parts = TableParts(bundle)
    designs = parts.designs(rows.values, rows.style)

    def run() -> None:
        for key in HEADS:
            columns = designs[key[0]].columns
            parts._tables[key].scores(columns, threads)
            parts._tables[key].contributions(columns, threads)

    run()
    return run


def bench_rows(rows: int = ROWS) -> None:
    """Print times and ratios of the batch job, the registered model and the tracking of a run."""
    bundle = made_up_bundle(TreeSettings())
    with tempfile.TemporaryDirectory() as work:
        _bench_job(made_up_bundle(TARGET), "100 trees of 5 leaves", rows, Path(work) / "target")
        folder = _bench_job(bundle, "trees as they are", rows, Path(work) / "own")
        _bench_pyfunc(bundle, folder, Path(work))


def _bench_job(bundle: Bundle, trees: str, rows: int, work: Path) -> Path:
    work.mkdir()
    folder, source, out = bundle.save(work / "bundle"), work / "rows.parquet", work / "out.parquet"
    silent = JobLog("bench", lambda *_: None)
    _write(bundle, source, 5000)
    score_rows(ScoreJob(source, out, folder), silent)
    _write(bundle, source, rows)
    for threads in (1, 2):
        job, alone = ScoreJob(source, out, folder, jobs=threads), _trees_alone(bundle, threads)
        before = [seconds(alone) for _ in range(3)]
        took = seconds(lambda job=job: score_rows(job, silent))
        kernel = float(np.median(before + [seconds(alone) for _ in range(3)])) * rows / _CHUNK
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
        name = f"score {rows:,} rows x {FEATURES}, {threads} thread(s)"
        print(
            f"{name:<46}{took:9.3f} s   {took / kernel:8.2f} x the {trees} alone ({kernel:.3f} s); peak {peak:.2f} GiB",
            flush=True,
        )
    source.unlink()
    return folder


def _bench_pyfunc(bundle: Bundle, folder: Path, work: Path) -> None:
    import mlflow.pyfunc

    frame = row_toy.many(100_000, of=bundle)
    direct = RowModel(RowScorer(bundle, "tables"))
    saving = seconds(lambda: save_model(folder, work / "model"))
    loaded = mlflow.pyfunc.load_model(str(work / "model"))
    loaded.predict(frame), direct.predict(frame)
    pairs = [(seconds(lambda: direct.predict(frame)), seconds(lambda: loaded.predict(frame))) for _ in range(5)]
    ratio = float(np.median([through / plain for plain, through in pairs]))
    plain, through = np.median(pairs, axis=0)
    print(f"{'MLflow pyfunc, 100,000 rows':<46}{through:9.3f} s   {ratio:8.2f} x the direct call ({plain:.3f} s)")
    print(f"{'the same model, saved':<46}{saving:9.3f} s", flush=True)


def bench_tracking() -> None:
    """Print what one run costs on a SQLite backend that is there already."""
    from tests.training.test_tracking import study
    from training.study import write_study
    from training.tracking import log_study

    with tempfile.TemporaryDirectory() as work:
        done, uri = study(Path(work) / "bundles"), f"sqlite:///{work}/mlflow.db"
        log_study(done, uri)
        took = float(np.median([seconds(lambda: log_study(done, uri)) for _ in range(3)]))
        drawn = float(np.median([seconds(lambda: write_study(done, Path(work) / "study")) for _ in range(3)]))
        print(f"{'tracking of one run, warm SQLite':<46}{took:9.3f} s   of which {drawn:.3f} s are figures", flush=True)


if __name__ == "__main__":
    bench_rows(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)
    bench_tracking()
