"""Finished parts of a job, kept beside the output until all are done, so that a job that was killed goes on."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from models.row_contract import KEYS

_PLAN = "plan.json"
_COUNTS = b"counts"


class PartFolder:
    """The folder ``.NAME.parts`` beside an output.

    Parameters
    ----------
    out : Path
        The output.
    plan : dict
        All that the parts depend on; parts of another plan are thrown away.

    Attributes
    ----------
    started_over : bool
        Whether parts of another plan were found.
    """

    def __init__(self, out: Path, plan: dict[str, Any]) -> None:
        self.folder = out.parent / f".{out.name}.parts"
        text = json.dumps(plan, sort_keys=True)
        held = self.folder / _PLAN
        known = held.read_text(encoding="utf-8") if held.is_file() else None
        self.started_over = known is not None and known != text
        if known != text:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            work = self.folder / f".{_PLAN}"
            work.write_text(text, encoding="utf-8")
            os.replace(work, held)

    def done(self) -> dict[int, dict[str, int]]:
        """Return what the finished parts count, by number; a part that cannot be read does not count."""
        found = {}
        for path in self.folder.glob("*.scored.arrow"):
            try:
                with pa.OSFile(str(path)) as source, pa.ipc.open_file(source) as held:
                    found[int(path.name.partition(".")[0])] = json.loads(held.schema.metadata[_COUNTS])
            except (pa.ArrowException, OSError, ValueError, KeyError, TypeError):
                path.unlink(missing_ok=True)
        return found

    def write(self, number: int, scored: pa.Table, rejected: pa.Table) -> dict[str, int]:
        """Keep a finished part; what it scored appears last and in one step."""
        counts = {"scored": scored.num_rows, "rejected": rejected.num_rows}
        if rejected.num_rows:
            self._write(self._path(number, "rejected"), rejected)
        metadata = {**(scored.schema.metadata or {}), _COUNTS: json.dumps(counts).encode()}
        self._write(self._path(number, "scored"), scored.replace_schema_metadata(metadata))
        return counts

    def tables(self, kind: str, numbers: Iterable[int]) -> Iterator[pa.Table]:
        """Read the parts of one kind with some numbers, in their order, one at a time; not each has a rejected one."""
        for path in (self._path(number, kind) for number in numbers):
            if path.is_file():
                with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as held:
                    table = held.read_all()
                    metadata = {key: value for key, value in (table.schema.metadata or {}).items() if key != _COUNTS}
                    yield table.replace_schema_metadata(metadata)

    def remove(self) -> None:
        """Throw the folder away."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int, kind: str) -> Path:
        return self.folder / f"{number:08d}.{kind}.arrow"

    @staticmethod
    def _write(path: Path, table: pa.Table) -> None:
        work = path.with_name(f".{path.name}")
        with pa.OSFile(str(work), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        os.replace(work, path)


class JoinedFile:
    """A parquet file that grows by one part after the other; a row group each.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    parts : int
        How many it holds.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.parts = path, 0
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> JoinedFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._writer is None:
            return
        try:
            self._writer.close()
        except OSError:
            # The end of a file that failed before is of no use, and cannot always be written.
            if kind is None:
                raise

    def add(self, tables: Iterable[pa.Table]) -> None:
        """Write parts behind those that are there."""
        for table in tables:
            if self._writer is None:
                # Numbers hardly repeat: dictionaries, statistics and compression of them cost more than they save.
                texts = [field.name for field in table.schema if not pa.types.is_floating(field.type)]
                self._writer = pq.ParquetWriter(
                    self.path, table.schema, use_dictionary=texts, write_statistics=list(KEYS), compression="none"
                )
            self._writer.write_table(table)
            self.parts += 1
