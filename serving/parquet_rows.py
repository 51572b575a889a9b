"""Rows in parquet files, a part at a time: a file or a folder of files, cut into parts that are always the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import DataContractError

PART_ROWS = 65_536


@dataclass(frozen=True)
class Unit:
    """Row groups of one file that are read together, and the rows of its parts.

    `first` is the row of the file at which the unit starts.
    """

    file: Path
    groups: tuple[int, ...]
    first: int
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """Some rows; `number` counts parts, `first` is the row of the file at which it starts."""

    number: int
    file: Path
    first: int
    table: pa.Table


@dataclass(frozen=True)
class RowFiles:
    """Files with rows and how they are cut.

    Parameters
    ----------
    files : tuple of Path
    units : tuple of Unit
    stamps : tuple of (name, bytes, time of change in nanoseconds)
        By which a changed input is found.
    columns : mapping of Path to list of str
    """

    files: tuple[Path, ...]
    units: tuple[Unit, ...]
    stamps: tuple[tuple[str, int, int], ...]
    columns: dict[Path, list[str]]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(size for unit in self.units for size in unit.sizes)

    @property
    def parts(self) -> int:
        """Number of parts."""
        return sum(len(unit.sizes) for unit in self.units)

    def read(self, columns: Callable[[Path], list[str]], done: set[int]) -> Iterator[Part]:
        """Read the parts that are not done, in order.

        Raises
        ------
        DataContractError
            If a file is damaged.
        """
        number = 0
        for unit in self.units:
            numbers = range(number, number + len(unit.sizes))
            number += len(unit.sizes)
            if done.issuperset(numbers):
                continue
            try:
                with pq.ParquetFile(unit.file) as held:
                    row = unit.first
                    for place, table in zip(numbers, _tables(held, unit, columns(unit.file)), strict=True):
                        if place not in done:
                            yield Part(place, unit.file, row, table)
                        row += table.num_rows
            except (pa.ArrowException, OSError, ValueError) as error:
                raise damaged(unit.file, error) from error


def open_rows(source: Path, part_rows: int = PART_ROWS) -> RowFiles:
    """Look at a parquet file, or at every ``*.parquet`` below a folder, and cut its rows into parts.

    Raises
    ------
    DataContractError
        If there is no such file, or one is damaged.
    """
    if source.is_dir():
        found = (path for path in source.rglob("*.parquet") if path.is_file())
        files = sorted(path for path in found if not _hidden(path.relative_to(source)))
    else:
        files = [source] if source.is_file() else []
    if not files:
        raise DataContractError(f"{source}: no parquet file is there; `capshift features` writes one")
    units, stamps, columns = [], [], {}
    for file in files:
        try:
            with pq.ParquetFile(file) as held:
                sizes = [held.metadata.row_group(place).num_rows for place in range(held.metadata.num_row_groups)]
                columns[file] = list(held.schema_arrow.names)
            stat = file.stat()
        except (pa.ArrowException, OSError, ValueError) as error:
            raise damaged(file, error) from error
        units += _cut(file, sizes, part_rows)
        name = file.relative_to(source).as_posix() if source.is_dir() else file.name
        stamps.append((name, stat.st_size, stat.st_mtime_ns))
    return RowFiles(tuple(files), tuple(units), tuple(stamps), columns)


def damaged(file: Path, error: Exception) -> DataContractError:
    """Return the error of a file that cannot be read."""
    reason = " ".join(str(error).split())[:200]
    return DataContractError(f"{file}: no sound parquet file ({reason}); write it again")


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def _cut(file: Path, sizes: list[int], part_rows: int) -> list[Unit]:
    """Put small row groups together and cut large ones."""
    units: list[Unit] = []
    groups: list[int] = []
    first = row = 0
    for place, size in enumerate(sizes):
        if groups and row - first + size > part_rows:
            units.append(Unit(file, tuple(groups), first, (row - first,)))
            groups, first = [], row
        if size > part_rows:
            left = size % part_rows
            units.append(Unit(file, (place,), row, (part_rows,) * (size // part_rows) + ((left,) if left else ())))
            first = row + size
        elif size:
            groups.append(place)
        row += size
    return [*units, Unit(file, tuple(groups), first, (row - first,))] if groups else units


def _tables(held: Any, unit: Unit, columns: list[str]) -> Iterator[pa.Table]:
    groups = list(unit.groups)
    if len(unit.sizes) == 1:
        yield held.read_row_groups(groups, columns=columns)
        return
    for batch in held.iter_batches(unit.sizes[0], row_groups=groups, columns=columns):
        yield pa.Table.from_batches([batch])
