"""A file next to the records that holds what a listing shows of each, so that a large store lists in a second.

`<store>/index.jsonl` has a line per run, appended when the run is written. A line states the time and size of the run's
marker. If they differ, the run itself is read, so the file may be missing, torn or stale at any time. It holds no
numbers: what figures, answers and trainings use is read from records and compared with its hash.
"""

import json
import os
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from repro.base.files import read_bytes, replace_file, stamp
from repro.records.folder import RESULT
from repro.records.record import EVALUATION, Record

NAME = "index.jsonl"
ROOMS = ("runs", "evaluations")
MARKER = f"/{RESULT}"


class Head(NamedTuple):
    """What a listing shows of one run."""

    run_id: str
    kind: str
    status: str
    schema: int
    study: str
    finished: str
    source: str = "runs"


class IndexLine(NamedTuple):
    """A line of the index: the room, whether a listing shows the run, its marker's time and size, and its head."""

    room: str
    listed: bool
    stamp: list[int]
    head: Sequence[Any]  # the fields of a `Head`


def head_of(record: Record) -> Head:
    """Return what a listing shows of a record."""
    study, finished = (str(record.provenance.get(name, "")) for name in ("study", "finished"))
    return Head(record.run_id, record.kind, record.status, record.schema, study, finished, record.source)


def line_of(root: Path, room: str, record: Record) -> IndexLine | None:
    """Return the line of a record that was just written or read; None if the record is gone again."""
    written = _when(f"{root}/{room}/{record.run_id}/{RESULT}")
    if written is None:
        return None
    listed = room == "runs" or (record.kind == EVALUATION and bool(record.config.get("pooled")))
    return IndexLine(room, listed, written, head_of(record))


def append(root: Path, room: str, record: Record) -> None:
    """Add the line of a run that was just written; if this fails, `list_heads` reads the run instead."""
    line = line_of(root, room, record)
    with suppress(OSError):
        descriptor = os.open(root / NAME, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0), 0o644)
        try:
            os.write(descriptor, _text(line) if line else b"")
        finally:
            os.close(descriptor)


def list_heads(root: Path, read: Callable[[str], Record | None]) -> list[Head]:
    """Return what a listing shows of every finished run, ordered by room and run id.

    Args:
        root: the store.
        read: returns the record of a folder that the index does not know; None leaves it out.
    """
    (known, there), lines = _read(root / NAME), []
    fresh = 0
    for room in ROOMS:
        place = f"{root}/{room}/"
        for name in sorted(os.listdir(place)) if os.path.isdir(place) else ():
            written = _when(place + name + MARKER)
            if written is None:
                continue
            line = known.get((room, name))
            if line is None or line.stamp != written:
                fresh += 1
                record = read(f"{room}/{name}")
                line = line_of(root, room, record) if record else None
            if line is not None:
                lines.append(line)
    if fresh or len(lines) != there:
        with suppress(OSError):
            replace_file(root / NAME, b"".join(map(_text, lines)))
    return [Head._make(line.head) for line in lines if line.listed]


def _read(path: Path) -> tuple[dict[tuple[str, str], IndexLine], int]:
    """Return the last whole line of each run by room and id, and the number of all lines in the file."""
    try:
        raw = read_bytes(str(path))
    except OSError:
        return {}, 0
    pairs = [text.partition(b" ") for text in raw.splitlines()]
    whole = [body for check, _, body in pairs if check == b"%08x" % zlib.crc32(body)]
    try:
        lines = [IndexLine._make(one) for one in json.loads(b"[" + b",".join(whole) + b"]")]
        return {(one.room, Head._make(one.head).run_id): one for one in lines}, len(pairs)
    except (ValueError, TypeError):  # of another version: every run is read
        return {}, len(pairs)


def _text(line: IndexLine) -> bytes:
    body = json.dumps(line).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _when(path: str) -> list[int] | None:
    """Return time of change and size of a file, as a line of the index states them."""
    found = stamp(path)
    return found and [found[2], found[1]]
