"""Batch scoring on Spark: the same model through MLflow's Spark UDF, for rows that one machine does not hold.

pyspark is an extra; without it, or without Java, one sentence says what to install.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from features.errors import DataContractError
from models.bundle import Bundle
from models.pyfunc import REJECTED
from models.row_contract import KEYS, STALE, RowContract
from models.row_scores import DRIVER_COLUMNS, NUMBER_COLUMNS
from serving.job_log import JobLog
from serving.registry import save_model, spark_udf
from serving.score_rows import ScoreCounts, rejects_path

_FLAG = "is_rejected"
_KINDS = {"double": "double", "float": "double", "int": "double", "bigint": "double", "smallint": "double"}
_REMEDY = "install the extra with `pip install 'capshift[spark]'` (requirements-spark.lock) and a Java runtime"


def score_on_spark(source: str, out: str, bundle: Path, master: str, log: JobLog) -> ScoreCounts:
    """Score rows of parquet on Spark.

    Parameters
    ----------
    source, out : str
        Paths as Spark reads them: of this machine, ``hdfs://`` and so on. `out` becomes a folder of parquet files and
        appears in one step; rows that break the contract go to a folder beside it.
    bundle : Path
    master : str
        ``local[2]``, ``spark://HOST:PORT``, ``yarn``.
    log : JobLog

    Raises
    ------
    DataContractError
        If pyspark or Java is not there, a column is missing or of another type, or Spark fails.
    BundleError
        If the bundle is damaged.

    Information set: the rows themselves; of the bundle, what matured before its cut.
    """
    loaded = Bundle.load(bundle)
    if out.endswith("/"):
        out = out.rstrip("/")
    with _session(master) as spark, tempfile.TemporaryDirectory(prefix="capshift-") as work:
        model = save_model(bundle, Path(work) / "model")
        try:
            return _score(spark, (source, out), loaded, model, log)
        except DataContractError:
            raise
        except Exception as error:
            # Whatever Java throws: its first line says what happened.
            reason = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
            raise DataContractError(f"Spark could not score {source}: {reason}") from error


def _score(spark: Any, places: tuple[str, str], bundle: Bundle, model: Path, log: JobLog) -> ScoreCounts:
    from pyspark.sql import functions

    (source, out), contract = places, RowContract.of(bundle)
    files, work = _Files(spark), f"{out}.work"
    bad = str(rejects_path(Path(out))) if "://" not in out else f"{out}.rejects.parquet"
    for path in (out, work, bad):
        files.require_ours(path, source)
    rows = spark.read.parquet(source)
    contract.check_columns(list(rows.columns))
    kinds = dict(rows.dtypes)
    numbers = (*contract.features, *contract.starts)
    if wrong := [name for name in numbers if kinds[name] not in _KINDS]:
        raise DataContractError(f"{source}: column {wrong[0]} must hold numbers; got {kinds[wrong[0]]}")
    used = [*KEYS, *([STALE] if STALE in rows.columns else []), *numbers]
    pair, day, style = KEYS
    rows = rows.select(
        *(functions.col(name).cast("string").alias(name) for name in (pair, style)),
        functions.col(day).cast("timestamp_ntz").alias(day),
        *(functions.col(name).cast("string").alias(name) for name in used if name == STALE),
        *(functions.col(name).cast("double").alias(name) for name in numbers),
    )
    texts = ("validity", "reasons", *DRIVER_COLUMNS, REJECTED)
    fields = [*(f"`{name}` double" for name in NUMBER_COLUMNS), *(f"`{name}` string" for name in texts)]
    scorer = spark_udf(spark, model, ", ".join(fields))
    scored = rows.withColumn("scored", scorer(functions.struct(*used)))
    named = [
        functions.nullif(functions.col(f"scored.{name}"), functions.lit("")).alias(name) for name in DRIVER_COLUMNS
    ]
    numbers = tuple(f"scored.{name}" for name in NUMBER_COLUMNS)
    rejection = functions.col(f"scored.{REJECTED}")
    reasons = functions.concat(functions.col("scored.reasons"), rejection).alias("reasons")
    scored = scored.select(*KEYS, "scored.validity", reasons, *numbers, *named, (rejection != "").alias(_FLAG))
    log.emit("started", engine="spark", source=source)
    files.remove(work)
    scored.write.partitionBy(_FLAG).parquet(work)
    rejected = f"{work}/{_FLAG}=true"
    counts = [
        spark.read.parquet(path).count() if files.there(path) else 0 for path in (f"{work}/{_FLAG}=false", rejected)
    ]
    files.remove(bad)
    if counts[1]:
        spark.read.parquet(rejected).select(*KEYS, functions.col("reasons").alias("reason")).write.parquet(bad)
    if counts[0]:
        files.move(f"{work}/{_FLAG}=false", out)
    else:
        files.remove(out)
    files.remove(work)
    done = ScoreCounts(sum(counts), counts[0], counts[1], bundle.simulated)
    log.emit("finished", rows=done.rows, scored=done.scored, rejected=done.rejected, out=out)
    return done


class _Files:
    """Paths of any file system that Spark knows."""

    def __init__(self, spark: Any) -> None:
        self._java = spark._jvm.org.apache.hadoop.fs.Path
        self._configuration = spark._jsc.hadoopConfiguration()

    def _at(self, path: str) -> tuple[Any, Any]:
        place = self._java(path)
        return place.getFileSystem(self._configuration), place

    def require_ours(self, path: str, source: str) -> None:
        """Refuse a place to write to that holds what this job has not written: it is replaced as a whole."""
        system, place = self._at(path)
        read_system, read = self._at(source)
        target, rows = (str(of.makeQualified(at).toString()) for of, at in ((system, place), (read_system, read)))
        if rows == target or rows.startswith(f"{target}/"):
            raise DataContractError(f"{path}: holds the rows that are read; name another place to write to")
        if not system.exists(place):
            return
        names = [str(status.getPath().getName()) for status in system.listStatus(place)]
        if system.getFileStatus(place).isFile() or not all(
            name.startswith(("part-", "_", ".", f"{_FLAG}=")) for name in names
        ):
            raise DataContractError(f"{path}: is there already and no result of Spark; name a place of its own")

    def there(self, path: str) -> bool:
        system, place = self._at(path)
        return bool(system.exists(place))

    def remove(self, path: str) -> None:
        system, place = self._at(path)
        system.delete(place, True)

    def move(self, path: str, target: str) -> None:
        """Put a folder in the place of another."""
        self.remove(target)
        system, place = self._at(path)
        if not system.rename(place, self._java(target)):
            raise DataContractError(f"{target}: cannot be written; choose another place")


@contextmanager
def _session(master: str) -> Iterator[Any]:
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise DataContractError(f"`--engine spark` needs pyspark, which is not installed; {_REMEDY}") from error
    if shutil.which("java") is None and not os.environ.get("JAVA_HOME"):
        raise DataContractError(f"`--engine spark` needs Java, which is not installed; {_REMEDY}")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    build = SparkSession.builder.appName("capshift").master(master)
    for name, value in {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "16384",
    }.items():
        build = build.config(name, value)
    try:
        spark = build.getOrCreate()
    except Exception as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise DataContractError(f"Spark did not start at {master!r}: {reason}; {_REMEDY}") from error
    spark.sparkContext.setLogLevel("ERROR")
    try:
        yield spark
    finally:
        spark.stop()
