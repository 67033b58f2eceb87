"""Records that were read and compared with their hashes, kept in one file, so that many are read again in seconds.

`<store>/records.sealed` is a Parquet table under its own hash, a row a folder: its record, written as what differs from
another record of the same shape, and when each of its files was last changed. A file that was changed since, by
whatever it was, has another time, and its folder is read and compared anew; arrays are compared on use, as always.
Nothing is kept of a file that was changed within the last second: it may change again within a tick of its clock. The
table may be missing, damaged or stale at any time.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from repro.records.folder import RESULT, read_checked, read_sealed, write_sealed
from repro.records.record import Record

NAME = "records.sealed"
FILES = (RESULT, "config.json", "provenance.json")
SETTLED = 1.0  # seconds after which a further change of a file gives it another time
FEWEST, SHARE = 200, 0.02  # folders that are worth a table, and that must be new before it is written again, or a share
SHAPES, GROUP = b"repro.shapes", 4096  # the first record of each shape; rows that are read at once


Reading = Callable[[str], Record | None]  # of the folder of a room, such as `runs/<id>`


class Row(NamedTuple):
    """What is kept of a folder: the stamp of its files, the number of its shape, and what differs from the first."""

    stamp: str
    shape: int
    own: str


@contextmanager
def reading(root: Path, count: int, read: Reading) -> Iterator[Reading]:
    """Give a way to read `count` folders of a store that takes what is kept of them, and keep what was read anew.

    Args:
        root: the store.
        count: how many will be read; of few nothing is kept.
        read: returns the record of a folder, such as `runs/<id>`, every file compared with its hash; None without one.
    """
    if count < FEWEST:
        yield read
        return
    kept = Kept(root)
    yield partial(kept.record, read=read)
    kept.write()


class Kept:
    """The kept records of one store, for as long as one reading of it takes.

    Args:
        root: the store.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._firsts: list[dict[str, Any]] = []
        self._rows = dict(_read(root / NAME, self._firsts))
        self._known = len(self._rows)
        self._fresh: dict[str, Row] = {}
        self._numbers = {_shape(first): number for number, first in enumerate(self._firsts)}

    def record(self, place: str, read: Reading) -> Record | None:
        """Return the record of a folder, as it was kept or as `read` reads it."""
        stamp, youngest = _stamp(f"{self.root}/{place}")
        row = self._rows.pop(place, None)  # of many runs the rows would be a fifth of what the records take
        if row is not None and row.stamp == stamp:
            return self._unfolded(place, row)
        found = read(place)
        if found is None:
            return None
        row = self._folded(found, stamp)
        if stamp and time.time() - youngest > SETTLED:
            self._fresh[place] = row
        return self._unfolded(place, row)  # it shares with others what is the same in them: a third of what it was

    def write(self) -> None:
        """Write the table again where much of it is new; one that cannot be written is not needed."""
        if len(self._fresh) < max(FEWEST, SHARE * self._known):
            return
        import pyarrow as pa
        import pyarrow.parquet as pq

        firsts: list[dict[str, Any]] = []
        rows = dict(_read(self.root / NAME, firsts)) | self._fresh
        if firsts != self._firsts[: len(firsts)]:
            return  # another process has written it meanwhile: shapes have other numbers there
        table = pa.Table.from_pylist([{"place": place, **row._asdict()} for place, row in rows.items()])
        table = table.replace_schema_metadata({SHAPES: json.dumps(self._firsts).encode()})
        buffer = pa.BufferOutputStream()
        pq.write_table(table, buffer, compression="zstd", use_dictionary=False, row_group_size=GROUP)
        with suppress(OSError):
            write_sealed(self.root / NAME, buffer.getvalue().to_pybytes())

    def _folded(self, record: Record, stamp: str) -> Row:
        held = {name: getattr(record, name) for name in ("kind", "status", "schema", "config", "result", "provenance")}
        hashes = {name: file.args[1] for name, file in record.files.items() if isinstance(file, partial)}
        held |= {"identity": record.identity, "hashes": hashes}
        shape = _shape(held)
        if shape not in self._numbers:
            self._numbers[shape] = len(self._firsts)
            self._firsts.append(held)
        number = self._numbers[shape]
        return Row(stamp, number, json.dumps(difference(held, self._firsts[number]), separators=(",", ":")))

    def _unfolded(self, place: str, row: Row) -> Record:
        held = applied(json.loads(row.own), self._firsts[row.shape])
        hashes = held.pop("hashes")
        files = {name: partial(read_checked, f"{self.root}/{place}/{name}", sha) for name, sha in hashes.items()}
        return Record(place.rpartition("/")[2], files=files, **held)


def difference(held: dict[str, Any], first: dict[str, Any]) -> dict[str, Any]:
    """Return the values of nested dicts that are not those of others with the same keys throughout."""
    found: dict[str, Any] = {}
    for key, value in held.items():
        if isinstance(value, dict):
            if inner := difference(value, first[key]):
                found[key] = inner
        elif not _same(value, first[key]):
            found[key] = value
    return found


def _same(value: Any, other: Any) -> bool:
    """Return whether JSON writes two values alike: 1, 1.0 and True are three, and so are 0.0 and -0.0 two."""
    if type(value) is not type(other) or value != other:
        return False
    return type(value) not in (float, list) or repr(value) == repr(other)


def applied(own: dict[str, Any], first: dict[str, Any]) -> dict[str, Any]:
    """Return what `difference` was taken of; dicts that do not differ are the very ones of `first`."""
    found = dict(first)
    for key, value in own.items():
        inner = first[key]
        found[key] = applied(value, inner) if type(inner) is dict else value
    return found


def _shape(held: dict[str, Any]) -> Any:
    """Return the keys of nested dicts, as a key of a dict."""
    return tuple(held), tuple((key, _shape(value)) for key, value in held.items() if type(value) is dict)


def _stamp(folder: str) -> tuple[str, float]:
    """Return a digest of place, size and times of a folder's files, and the last of the times; "" without the files."""
    try:
        found = [os.stat(f"{folder}/{name}") for name in FILES]
    except OSError:
        return "", 0.0
    times = [(one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns) for one in found]
    return sha256(repr(times).encode()).hexdigest()[:16], max(max(one.st_mtime, one.st_ctime) for one in found)


def _read(path: Path, firsts: list[dict[str, Any]]) -> Iterator[tuple[str, Row]]:
    """Yield the rows by place and add the first record of each shape; none where nothing or another version is kept."""
    data = read_sealed(path)
    if data is None:
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        firsts += json.loads(file.schema_arrow.metadata[SHAPES])
        for batch in file.iter_batches(batch_size=GROUP, columns=["place", *Row._fields]):
            for place, *values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield place, Row(*values)
    except (pa.ArrowException, KeyError, OSError, TypeError, ValueError):
        return
