"""The arrays of a record as a Parquet table for other programs: `<store>/sweeps/<run id>.parquet`.

The record is what counts: a table that is missing or differs is written again.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from repro.records.folder import read_bytes, replace_file
from repro.records.record import Record

ROOM = "sweeps"


def write_table(record: Record, root: Path) -> Path:
    """Write the arrays of a record, columns of one length, to its table in a store, unless it holds them already."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = root / ROOM / f"{record.run_id}.parquet"
    if table_fault(path, record):
        path.parent.mkdir(parents=True, exist_ok=True)
        buffer = pa.BufferOutputStream()
        pq.write_table(_table(record), buffer)
        replace_file(path, buffer.getvalue().to_pybytes())
    return path


def table_faults(root: Path, find: Callable[[str], Record | None]) -> list[str]:
    """Return one line for every table of a store that is damaged, or differs from its record.

    Args:
        root: the store.
        find: returns the record of a run, or None.
    """
    paths = sorted(root.glob(f"{ROOM}/*.parquet"))
    known = [(path, record) for path in paths if (record := find(path.stem))]
    return [f"{ROOM}/{path.name}: {fault}" for path, record in known if (fault := table_fault(path, record))]


def table_fault(path: Path, record: Record) -> str:
    """Return what is wrong with the table of a record; empty if nothing is."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with suppress(OSError, ValueError, pa.ArrowException):
        there = pq.read_table(pa.BufferReader(read_bytes(str(path))))
        same = repr(there.to_pydict()) == repr(_table(record).to_pydict())  # as texts, because a NaN equals no NaN
        return "" if same else "differs from its record"
    return "unreadable"


def _table(record: Record) -> Any:
    import pyarrow as pa

    return pa.table({name: pa.array(column) for name, column in record.arrays().items()})
