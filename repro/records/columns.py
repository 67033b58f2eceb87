"""Records as Parquet columns: nested values as plain columns and back, and the arrays of a sweep as a table.

A column is named by the path of its values: `config.method`, `result.tow`, `provenance.versions.torch`. Values without
a plain Parquet type (lists of tables, values of several types) are JSON text, in a column whose name ends in `.json`.

The arrays of a sweep also stand in `<store>/sweeps/<run id>.parquet`, for other programs. The record is what counts: a
table that is missing or differs is written again.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from repro.base.files import read_bytes, replace_file
from repro.records.record import Record

JSON = ".json"
NULLS = "nulls"  # names the values of a row that are null; elsewhere null means that the row has no such value
LONG, AS_ZEROS = b"0" * 309, bytes.maketrans(b"123456789", b"0" * 9)  # digits beyond every float, all made zeros
TABLES = "sweeps"  # of a store, where tables of arrays are
Row = dict[str, Any]


def flat(values: Mapping[str, Any]) -> Row:
    """Return the values of nested tables by path; `NULLS` names those that are null.

    An empty table stays one value. So does one with a name that could not be read back: empty, `json`, or with a dot.
    """
    every = dict(_leaves(values, ""))
    nulls = sorted(path for path, value in every.items() if value is None)
    return {path: value for path, value in every.items() if value is not None} | ({NULLS: nulls} if nulls else {})


def _leaves(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict) and value and all(key and "." not in key and key != JSON[1:] for key in value):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def nested(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested tables from the values of a row by path: the inverse of `flat`.

    Raises:
        ValueError, AttributeError: if a JSON column is no JSON, or a path leads through something that is no table.
    """
    if NULLS in row:
        row = dict(sorted([*row.items(), *((path, None) for path in row[NULLS])]))
    found: dict[str, Any] = {}
    for path, value in row.items():
        tables, name, is_json = _parts(path)
        table = found
        for one in tables:
            table = table.setdefault(one, {})
        table[name] = read_json(value) if is_json else value
    found.pop(NULLS, None)
    return found


@lru_cache(maxsize=8192)
def _parts(path: str) -> tuple[tuple[str, ...], str, bool]:
    """Return the tables on a path, the name of its value, and whether the value is JSON text."""
    *tables, name = map(sys.intern, path.removesuffix(JSON).split("."))
    return tuple(tables), name, path.endswith(JSON)


def read_json(raw: str | bytes) -> Any:
    """Return the value of a JSON text; NaN, infinity, half surrogate pairs and numbers beyond floats are refused.

    Raises:
        ValueError: if it is not such a text.
    """
    raw = raw.encode() if isinstance(raw, str) else raw
    if LONG in raw.translate(AS_ZEROS):  # a regular expression would take longer than decoding
        raise ValueError("a number of more than 308 digits")
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)[:80]) from error


def to_arrow(rows: Sequence[Row]) -> Any:
    """Return rows as a pyarrow table with columns ordered by name."""
    import pyarrow as pa

    columns: dict[str, Any] = {}
    for name in sorted({name for row in rows for name in row}):
        values = [row.get(name) for row in rows]
        column = _plain_column(values)
        if column is None:
            texts = (None if one is None else json.dumps(one, sort_keys=True, allow_nan=False) for one in values)
            columns[name + JSON] = pa.array(texts, pa.string())
        else:
            columns[name] = column
    return pa.table(columns)


def _plain_column(values: Sequence[Any]) -> Any:
    """Return values as an arrow array; None if arrow has no plain type for them or would change one."""
    import pyarrow as pa

    if any(isinstance(one, dict) for one in values):
        return None
    try:
        found = pa.array(values)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        return None
    if pa.types.is_list(found.type):
        if pa.types.is_null(found.type.value_type):  # lists that are empty, or of nulls alone
            found = found.cast(pa.list_(pa.float64()))
        if pa.types.is_nested(found.type.value_type):
            return None
    return found if found.to_pylist() == list(values) else None


def from_arrow(table: Any) -> list[Row]:
    """Return a pyarrow table as rows without nulls; equal texts are one object."""
    rows: list[Row] = [{} for _ in range(table.num_rows)]
    for name, column in zip(table.column_names, table.columns, strict=True):
        for row, value in zip(rows, _values(column), strict=True):
            if value is not None:
                row[name] = value
    return rows


def _values(column: Any) -> Iterable[Any]:
    import pyarrow as pa

    if not pa.types.is_string(column.type):
        return column.to_pylist()
    found = column.combine_chunks().dictionary_encode()
    texts = found.dictionary.to_pylist()
    return [None if place is None else texts[place] for place in found.indices.to_pylist()]


def write_table(record: Record, root: Path) -> Path:
    """Write the arrays of a record, columns of one length, to its table in a store, unless it holds them already."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = root / TABLES / f"{record.run_id}.parquet"
    if table_fault(path, record):
        path.parent.mkdir(parents=True, exist_ok=True)
        buffer = pa.BufferOutputStream()
        pq.write_table(_arrays_table(record), buffer)
        replace_file(path, buffer.getvalue().to_pybytes())
    return path


def table_faults(root: Path, find: Callable[[str], Record | None]) -> list[str]:
    """Return one line for every table of a store that is damaged, or differs from its record.

    Args:
        root: the store.
        find: returns the record of a run, or None.
    """
    paths = sorted(root.glob(f"{TABLES}/*.parquet"))
    known = [(path, record) for path in paths if (record := find(path.stem))]
    return [f"{TABLES}/{path.name}: {fault}" for path, record in known if (fault := table_fault(path, record))]


def table_fault(path: Path, record: Record) -> str:
    """Return what is wrong with the table of a record; empty if nothing is."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with suppress(OSError, ValueError, pa.ArrowException):
        there = pq.read_table(pa.BufferReader(read_bytes(str(path))))
        texts = {repr(table.to_pydict()) for table in (there, _arrays_table(record))}  # because a NaN equals no NaN
        return "" if len(texts) == 1 else "differs from its record"
    return "unreadable"


def _arrays_table(record: Record) -> Any:
    import pyarrow as pa

    return pa.table({name: pa.array(column) for name, column in record.arrays().items()})
