"""Committed study records: one Parquet file a study, one row a run, so that hundreds of runs are one small file.

A row carries the hash of its content; the file's metadata carry a manifest: the number of rows, their ids and a hash
over the rows' hashes. Whoever reads a pack compares; what does not match is named and skipped, never moved.
"""

import hashlib
import json
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from repro.base.errors import IntegrityError
from repro.base.settings import file_name
from repro.records.damage import name_damage
from repro.records.folder import record_fault, replace_file, shared_words
from repro.records.identity import SCHEMA
from repro.records.index import Head
from repro.records.record import ATTACHED, Content, Reader, Record
from repro.records.shipped import packs
from repro.records.store import Store
from repro.records.weights import known_weights, require_one_set, two_weights

HEAD = ("run_id", "kind", "status", "schema")
TEXTS = ("config", "identity", "result", "provenance")
MANIFEST = b"repro.manifest"
TIMED = ("seconds", "peak_memory")  # numbers of a run that differ each time
NAMED = ("evaluations", "choice_details")  # by ids of what was measured: said of both copies together
LISTED = 16  # digits of a row's hash in the manifest
_CHECKED: dict[Path, tuple[tuple[int, ...], tuple[list[Record], list[str]]]] = {}  # by file, what it held at a stamp


def pack_path(name: str, folder: Path) -> Path:
    """Return the file of a pack.

    Raises:
        ConfigError: for a name that is a path, or that a file system would not take.
    """
    return folder / f"{file_name('pack name', name)}.parquet"


def write_pack(records: Iterable[Record], path: Path) -> Path:
    """Write records to one Parquet file, ordered by run id, so that the same records give the same bytes.

    Args:
        records: the runs of one study.
        path: the file, `results/<study>.parquet`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [_row(record) for record in sorted(records, key=lambda record: record.run_id)]
    schema = _schema().with_metadata({MANIFEST: json.dumps(_manifest(rows)).encode()})
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), buffer, compression="zstd")
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, buffer.getvalue().to_pybytes())
    return path


def packed_with(path: Path, records: Iterable[Record], *, attach: bool = True) -> list[Record]:
    """Return records and those that a pack has beside them, so that a study that goes on in another store loses none.

    Two copies of a run that are of one training have the numbers of both. Of two trainings the one with more
    evaluations is taken, and else the new one: a row never mixes them. Runs of an older schema stay too.
    No pack has two sets of weights of one stage.

    Args:
        path: the pack; without a file there is nothing to keep.
        records: the new ones.
        attach: take their arrays and per-epoch rows; those that the pack has stay in it.

    Raises:
        IntegrityError: when the pack is damaged, or runs of it and new ones stand on two sets of weights of one stage.
    """
    require_one_set(records := list(records), "nothing is packed")
    new = [record if attach else replace(record, files={}) for record in records]
    if not path.exists():
        return new
    whole, faults = PackedStore(path)._checked()
    if faults:
        raise IntegrityError(f"{faults[0]}; restore the pack from version control, or remove it to pack anew")
    found = {record.run_id: record for record in whole}
    for record in new:
        before = found.get(record.run_id, record)
        if before is not record and _one_training(before, record):
            found[record.run_id] = _with_both(before, record)
        elif _measured(record) >= _measured(before):
            found[record.run_id] = record
    require_one_set(found.values(), f"nothing is packed into {path.name}")
    return list(found.values())


def _measured(record: Record) -> int:
    return len(record.result.get("evaluations", ()))


def _one_training(before: Record, new: Record) -> bool:
    """Return whether two copies of a run are of one training: they know the same checksums of its weights.

    Where neither knows any, every number of both is the same but for what was timed: a few accuracies agree by chance.
    """
    settings = [{**record.config, "metrics": ()} for record in (before, new)]
    weights = [dict(known_weights(record.result.get("parents") or {})) for record in (before, new)]
    if before.status != new.status or settings[0] != settings[1] or weights[0] != weights[1]:
        return False
    shared = (name for name in before.result.keys() & new.result.keys() if not name.startswith(TIMED))
    alike = (before.result[name] == new.result[name] for name in shared if name not in NAMED)
    return bool(weights[0]) or all(alike)


def _with_both(before: Record, new: Record) -> Record:
    """Return a run with the evaluations and files of two copies, the new ones where both have some."""
    result = before.result | new.result
    measured = before.result.get("evaluations", {}) | new.result.get("evaluations", {})
    arrays = {"before.npz": before.attached()["arrays.npz"]} if before.has_arrays() else {}
    epochs = {"epochs.jsonl": before.attached()["epochs.jsonl"]}
    files: dict[str, Content] = {**epochs, **arrays, **new.files}
    return replace(new, result=result | ({"evaluations": measured} if measured else {}), files=files)


class PackedStore:
    """The runs of one committed study, read like a store.

    Args:
        path: the Parquet file; its stem names the study.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._bytes: dict[str, dict[str, bytes]] = {}

    def records(self, *kinds: str) -> list[Record]:
        """Return the study's runs of this schema, of some kinds if named; arrays and epochs are read when asked for.

        A row that does not match its hash, its identity or the manifest is named and left out; a pack without a run of
        these kinds is not read.
        """
        if kinds and not self._may_hold(kinds):
            return []
        found, faults = self._checked()
        for fault in faults:
            name_damage(fault)
        return [record for record in found if (not kinds or record.kind in kinds) and record.schema == SCHEMA]

    def heads(self) -> list[Head]:
        """Return what a listing shows of every row, its hash not compared; nothing of a file that is no pack."""
        try:
            rows = self._open().read(columns=[*HEAD, "provenance"]).to_pylist()
            return [_head(row, f"results/{self.path.stem}") for row in rows]
        except (IntegrityError, OSError, ValueError, TypeError, AttributeError):
            self.records()  # names what is wrong
            return []

    def starting(self, prefix: str) -> list[Record]:
        """Return the rows whose ids start with `prefix`."""
        if not any(head.run_id.startswith(prefix) for head in self.heads()):
            return []
        return [record for record in self.records() if record.run_id.startswith(prefix)]

    def _may_hold(self, kinds: Collection[str]) -> bool:
        """Return whether a row says that it is of one of these kinds; True of a file that cannot tell."""
        try:
            said = self._open().read(columns=["kind"]).column("kind").unique().to_pylist()
        except (IntegrityError, OSError, ValueError):
            return True
        return any(kind in kinds for kind in said)

    def outdated(self) -> list[str]:
        """Return the ids of runs of an older schema: their configs may mean another computation today."""
        return [record.run_id for record in self._checked()[0] if record.schema != SCHEMA]

    def verify(self) -> list[str]:
        """Return one line for every row that is edited, doubled, missing or of another run, and for a foreign file.

        A stage with two sets of weights has a line too.
        """
        found, faults = self._checked()
        return faults + [f"{self.path.name}: {line}" for line, _ in two_weights(found).values()]

    def _checked(self) -> tuple[list[Record], list[str]]:
        """Return the records whose rows are whole, and a line for everything else.

        A file is checked again when it changed. One written less than a second ago may change again within a tick of
        its clock, so it is not remembered.
        """
        try:
            status = self.path.stat()
        except OSError:
            return self._check()
        stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
        known = _CHECKED.get(self.path)
        if known is None or known[0] != stamp:
            known = stamp, self._check()
            if time.time() - status.st_mtime > 1:
                _CHECKED[self.path] = known
        return known[1]

    def _check(self) -> tuple[list[Record], list[str]]:
        found: dict[str, Record] = {}
        faults: list[str] = []
        seen: list[str] = []
        try:
            manifest = self._manifest()
            for place, row in enumerate(self._rows()):
                fault = row_fault(row) or ("stands in it twice" if row["run_id"] in found else _unlisted(row, manifest))
                seen.append(str(row["run_id"] or f"row {place}")[:40])
                if fault:
                    faults.append(f"{self.path.name}/{seen[-1]}: {fault}")
                else:
                    found[row["run_id"]] = self._record(row)
        except IntegrityError as error:
            return [], [str(error)]
        missing = [one for one in manifest if one not in seen]
        faults += [f"{self.path.name}/{one}: named by the manifest, but missing" for one in missing]
        if manifest and not faults and seen != list(manifest):
            faults.append(f"{self.path.name}: its rows stand in another order than the manifest's")
        return list(found.values()), faults

    def _record(self, row: dict[str, Any]) -> Record:
        texts = {name: shared_words(json.loads(row[name])) for name in TEXTS}
        files: dict[str, Content] = {name: partial(self._attached, name, row["run_id"]) for name in ATTACHED}
        head = {name: row[name] for name in HEAD}
        return Record(**head, **texts, source=f"results/{self.path.stem}", files=files)

    def _attached(self, name: str, identity: str) -> bytes:
        if name not in self._bytes:
            self._bytes[name] = {row["run_id"]: row[name] or b"" for row in self._rows() if not row_fault(row)}
        try:
            return self._bytes[name][identity]
        except KeyError:
            raise IntegrityError(f"{self.path.name}/{identity}: changed while it was read") from None

    def _manifest(self) -> dict[str, str]:
        """Return the hash of every row by its id, in order; nothing for packs of before the manifest."""
        raw = (self._open().schema_arrow.metadata or {}).get(MANIFEST)
        if raw is None:
            return {}
        try:
            found = json.loads(raw)
            listed = dict(zip(found["ids"], found["hashes"], strict=True))
            whole = found["rows"] == len(listed) and found["sha256"] == _joint(found["ids"], found["hashes"])
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(f"{self.path.name}: its manifest is unreadable ({str(error)[:80]})") from error
        if not whole:
            raise IntegrityError(f"{self.path.name}: its manifest does not match its hash")
        return listed

    def _rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows, a few hundred at a time: a large study never stands in memory twice."""
        import pyarrow as pa

        try:
            for batch in self._open().iter_batches(batch_size=256):
                yield from batch.to_pylist()
        except (OSError, ValueError, pa.ArrowException) as error:  # a text that is not UTF-8 is a ValueError
            raise IntegrityError(f"{self.path.name}: unreadable; restore it from version control") from error

    def _open(self) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            if not self.path.is_file():  # a pipe would be waited for
                raise OSError("no regular file")
            file = pq.ParquetFile(self.path)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise IntegrityError(f"{self.path.name}: unreadable; restore it from version control") from error
        lacking = [one for one in (*HEAD, *TEXTS, "sha256", *ATTACHED) if one not in file.schema_arrow.names]
        if lacking:
            raise IntegrityError(f"{self.path.name}: no pack of records, it has no column {', '.join(lacking)}")
        return file


def _schema() -> Any:
    import pyarrow as pa

    texts = ("run_id", "kind", "status", *TEXTS, "sha256")
    columns = [(name, pa.string()) for name in texts] + [(name, pa.binary()) for name in ATTACHED]
    return pa.schema([*columns, ("schema", pa.int64())])


def _row(record: Record) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(record, name) for name in HEAD}
    row |= {name: json.dumps(getattr(record, name), sort_keys=True) for name in TEXTS}
    row |= record.attached()
    return row | {"sha256": _sha(row)}


def _sha(row: dict[str, Any]) -> str:
    texts = [str(row[name]).encode() for name in ("run_id", "kind", "status", "schema", *TEXTS)]
    parts = texts + [row[name] or b"" for name in ATTACHED]
    return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def _manifest(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the number of rows, their ids in order, their hashes, and one hash over both."""
    ids, hashes = [row["run_id"] for row in rows], [row["sha256"][:LISTED] for row in rows]
    return {"rows": len(rows), "ids": ids, "hashes": hashes, "sha256": _joint(ids, hashes)}


def _joint(ids: list[str], hashes: list[str]) -> str:
    return hashlib.sha256(" ".join([*ids, *hashes]).encode()).hexdigest()


def _unlisted(row: dict[str, Any], manifest: dict[str, str]) -> str:
    if not manifest:
        return ""
    listed = manifest.get(row["run_id"])
    return "" if listed == row["sha256"][:LISTED] else "is not the row that the manifest names"


def _head(row: dict[str, Any], source: str) -> Head:
    said = json.loads(row["provenance"])
    run, kind, status, schema = (row[name] for name in HEAD)
    return Head(run, kind, status, schema, said.get("study", ""), said.get("finished", ""), source)


def row_fault(row: dict[str, Any]) -> str:
    """Return what is wrong with a row of a pack, or an empty text: a type, its hash, or its identity."""
    wrong = [name for name in ("run_id", "kind", "status", *TEXTS, "sha256") if not isinstance(row[name], str)]
    wrong += [name for name in ATTACHED if not isinstance(row[name], bytes | None)]
    if wrong:
        return f"{wrong[0]} = {str(row[wrong[0]])[:40]!r}: must be {'bytes' if wrong[0] in ATTACHED else 'a text'}"
    if _sha(row) != row["sha256"]:
        return "does not match its hash"
    try:
        texts = {name: json.loads(row[name]) for name in TEXTS}
    except (ValueError, RecursionError) as error:
        return f"unreadable ({str(error)[:80]})"
    if not isinstance(texts["provenance"], dict):
        return "its provenance is not an object"
    config = {"config": texts["config"], "identity": texts["identity"], "schema": row["schema"]}
    return record_fault({**row, "result": texts["result"]}, config, row["run_id"])


def readers(store: Store, results: Path | None = None) -> list[Reader]:
    """Return everything a reader of records looks at: the user's own runs first, then every packed study."""
    return [store, *(PackedStore(path) for path in (sorted(results.glob("*.parquet")) if results else packs()))]
