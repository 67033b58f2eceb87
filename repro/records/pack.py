"""Published studies: a Parquet file of plain columns with a row per run, and an archive of arrays beside it.

    results/<study>.parquet    run_id, kind, status, schema, identity; config.*, result.*, provenance.* (see `columns`)
    results/<study>.npz        <hash>.npy and <hash>.jsonl: arrays and per-epoch rows, which several runs may share

pandas, polars and DuckDB read the Parquet file, numpy reads the archive; neither holds code. A row carries the hash of
its values, and the names and hashes of its files in `files` and `file_hashes`. The Parquet metadata list every row and
its hash. `outputs.LIST` lists both files and their hashes. A reader compares the file with that list; if the list does
not name it, it compares row by row. What does not match is named and skipped, never moved.
"""

import hashlib
import io
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.base.errors import IntegrityError
from repro.base.settings import file_name
from repro.records.columns import Row, flat, from_arrow, nested, read_json, to_arrow
from repro.records.damage import name_damage
from repro.records.folder import read_bytes, record_fault, stamp
from repro.records.identity import SCHEMA
from repro.records.index import Head, head_of
from repro.records.old_pack import COLUMNS, old_rows
from repro.records.outputs import is_as_written, remove_output, write_outputs
from repro.records.record import EPOCHS, Content, Reader, Record, unreadable
from repro.records.shipped import packs
from repro.records.store import Store
from repro.records.weights import known_weights, require_one_set, two_weights

if TYPE_CHECKING:
    from zipfile import ZipFile

HEAD = ("run_id", "kind", "status", "schema")
PARTS = ("config", "result", "provenance")
SAID = ("provenance.study", "provenance.finished")  # what a listing shows of a run besides its `HEAD`
FILES, HASHES = "files", "file_hashes"  # of a row: names and hashes of its files in the archive
MANIFEST = b"repro.rows"
TIMED = ("seconds", "peak_memory")  # numbers that differ each time a run is computed
NAMED = ("evaluations", "choice_details")  # these name what was measured; two copies of a run are merged
SHORT = 16  # digits of a shortened hash
PACKS = 64  # published files that are held in memory, by their content


def pack_path(name: str, folder: Path) -> Path:
    """Return the file of a published study.

    Raises:
        ConfigError: for a path, or a name that a file system would not take.
    """
    return folder / f"{file_name('name', name)}.parquet"


def write_pack(records: Iterable[Record], path: Path) -> Path:
    """Publish records, ordered by run id: the same records give the same bytes.

    Args:
        records: the runs of one study.
        path: the Parquet file, `results/<study>.parquet`; their arrays stand beside it.
    """
    import pyarrow.parquet as pq

    records = sorted(records, key=lambda record: record.run_id)
    members: dict[str, bytes] = {}
    table = to_arrow([_row(record, members) for record in records])
    rows = from_arrow(table)  # as they will be read back: arrow may hold a whole number as a float
    hashes = [_sha(row) for row in rows]
    listed = {record.run_id: sha[:SHORT] for record, sha in zip(records, hashes, strict=True)}
    table = table.append_column("sha256", [hashes]).replace_schema_metadata({MANIFEST: json.dumps(listed)})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    archive = path.with_suffix(".npz")
    files = {archive.name: _archived(members)} if members else {}  # first: it also holds the files of rows that stay
    write_outputs(path.parent, files | {path.name: buffer.getvalue()}, force=True)
    if not members:
        remove_output(archive)
    return path


def _row(record: Record, members: dict[str, bytes]) -> Row:
    """Return a record as a row, and add its files to `members` of the archive."""
    row: Row = {name: getattr(record, name) for name in HEAD}
    row["identity"] = json.dumps(record.identity, sort_keys=True)
    row |= flat({name: getattr(record, name) for name in PARTS})
    contents = _contents(record)
    hashes = {name: hashlib.sha256(content).hexdigest()[:SHORT] for name, content in contents.items()}
    members |= {_place(name, hashes[name]): content for name, content in contents.items()}
    return row | ({FILES: list(hashes), HASHES: list(hashes.values())} if hashes else {})


def _place(name: str, sha: str) -> str:
    return f"{sha}.{name.rpartition('.')[2]}"


def _sha(row: Row) -> str:
    """Return the hash over the values of a row.

    Raises:
        ValueError, TypeError: if a value is not plain.
    """
    values = {name: value for name, value in row.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(values, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _contents(record: Record) -> dict[str, bytes]:
    """Return the files of a run: one per array, and one of its per-epoch rows."""
    import numpy as np

    found: dict[str, bytes] = {}
    for name, array in sorted(record.arrays().items()):
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=False)
        found[f"{name}.npy"] = buffer.getvalue()
    epochs = record.read(EPOCHS)
    return found | ({EPOCHS: epochs} if epochs else {})


def _archived(members: Mapping[str, bytes]) -> bytes:
    from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

    buffer = io.BytesIO()
    with ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(ZipInfo(name), content, ZIP_DEFLATED)
    return buffer.getvalue()


def packed_with(path: Path, records: Iterable[Record], *, attach: bool = True) -> list[Record]:
    """Return new records and those already published, so that a study that continues in another store loses none.

    Two copies of a run from one training are merged. Of two trainings, the one with more evaluations is taken, or the
    new one if they have equally many: a row never mixes trainings. Runs of an older schema stay too.

    Args:
        path: the published file; it need not exist.
        records: the new records.
        attach: take their arrays and per-epoch rows; those already published stay.

    Raises:
        IntegrityError: if the published file is damaged, or runs stand on two sets of weights of one stage.
    """
    require_one_set(records := list(records), "nothing is published")
    new = [record if attach else replace(record, files={}) for record in records]
    if not path.exists():
        return new
    whole, faults = PackedStore(path).checked(trusting=False)  # they are written with new hashes
    if faults:
        raise IntegrityError(f"{faults[0]}; restore the file from version control, or remove it to publish anew")
    found = {record.run_id: record for record in whole}
    for record in new:
        before = found.get(record.run_id, record)
        if before is not record and _one_training(before, record):
            found[record.run_id] = _with_both(before, record)
        elif _measured(record) >= _measured(before):
            found[record.run_id] = record
    require_one_set(found.values(), f"nothing is published in {path.name}")
    return list(found.values())


def _measured(record: Record) -> int:
    return len(record.result.get("evaluations", ()))


def _one_training(before: Record, new: Record) -> bool:
    """Return whether two copies of a run come from one training: they state the same checksums of its weights.

    If neither states any, all numbers of both must agree, except for times; a few accuracies may agree by chance.
    """
    settings = [{**record.config, "metrics": ()} for record in (before, new)]
    weights = [dict(known_weights(record.result.get("parents") or {})) for record in (before, new)]
    if before.status != new.status or settings[0] != settings[1] or weights[0] != weights[1]:
        return False
    shared = (name for name in before.result.keys() & new.result.keys() if not name.startswith(TIMED))
    alike = (before.result[name] == new.result[name] for name in shared if name not in NAMED)
    return bool(weights[0]) or all(alike)


def _with_both(before: Record, new: Record) -> Record:
    """Return a run with the evaluations and files of two copies; where both have one, the new one."""
    result = before.result | new.result
    measured = before.result.get("evaluations", {}) | new.result.get("evaluations", {})
    there: dict[str, Content] = {f"before-{name}" if name.endswith(".npz") else name: content
                                 for name, content in before.files.items()}  # fmt: skip
    return replace(new, result=result | ({"evaluations": measured} if measured else {}), files=there | {**new.files})


class PackedStore:
    """The runs of one published study, read like a store.

    Args:
        path: the Parquet file; its stem names the study.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def records(self, *kinds: str, ids: Collection[str] | None = None) -> list[Record]:
        """Return the study's runs of this schema; with kinds or ids, only those. Arrays are read on demand.

        A row that does not match its hash, its identity or the list of rows is named and left out. A file that is as it
        was written and has no run of these kinds or ids is not read.
        """
        if (kinds and self._lacks("kind", kinds)) or (ids is not None and self._lacks("run_id", ids)):
            return []
        found, faults = self.checked()
        for fault in faults:
            name_damage(fault)
        return [one for one in found if (not kinds or one.kind in kinds) and (ids is None or one.run_id in ids)
                and one.schema == SCHEMA]  # fmt: skip

    def heads(self) -> list[Head]:
        """Return what a listing shows of every row, without comparing hashes; nothing of any other file."""
        try:
            file = _opened(self.path, self._data())
            if _is_old(file):
                return [head_of(record) for record in self.checked()[0]]
            said = [name for name in SAID if name in file.schema_arrow.names]
            rows = from_arrow(file.read(columns=[*HEAD, *said]))
            source = f"results/{self.path.stem}"
            return [Head._make((*(row[name] for name in HEAD), *(row.get(name, "") for name in SAID), source))
                    for row in rows]  # fmt: skip
        except (IntegrityError, OSError, ValueError, TypeError, KeyError):
            self.records()  # names what is wrong
            return []

    def starting(self, prefix: str) -> list[Record]:
        """Return the runs whose ids start with `prefix`."""
        return self.records(ids={head.run_id for head in self.heads() if head.run_id.startswith(prefix)})

    def _lacks(self, column: str, wanted: Collection[str]) -> bool:
        """Return whether a column holds none of the wanted values; False if the file is not as it was written."""
        try:
            data = self._data()
            said = _opened(self.path, data).read(columns=[column]).column(0).unique().to_pylist()
        except (IntegrityError, OSError, ValueError):
            return False
        return set(wanted).isdisjoint(said) and is_as_written(self.path, data)

    def verify(self) -> list[str]:
        """Return one line for every row or file that is edited, doubled, missing or of another run.

        A stage with two sets of weights gets a line too.
        """
        found, faults = self.checked(trusting=False)
        files = [fault for record in found for fault in _file_faults(record)]
        return [*faults, *files, *(f"{self.path.name}: {line}" for line, _ in two_weights(found).values())]

    def checked(self, *, trusting: bool = True) -> tuple[tuple[Record, ...], tuple[str, ...]]:
        """Return the records of whole rows, and a line for everything else.

        Args:
            trusting: do not hash each row of a file that is as it was written.
        """
        try:
            data = self._data()
            return _read(self.path, data, trusting and is_as_written(self.path, data))
        except IntegrityError as error:
            return (), (str(error),)

    def _data(self) -> bytes:
        try:
            return read_bytes(str(self.path))
        except OSError as error:
            raise _unreadable(self.path) from error


@lru_cache(maxsize=PACKS)
def _opened(path: Path, data: bytes) -> Any:
    """Return a published study as an open Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(data))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _unreadable(path) from error
    lacking = [one for one in (*HEAD, "identity", "sha256") if one not in file.schema_arrow.names]
    if lacking:
        raise IntegrityError(f"{path.name}: no published study, it has no column {', '.join(lacking)}")
    return file


@lru_cache(maxsize=PACKS)
def _read(path: Path, data: bytes, trusted: bool) -> tuple[tuple[Record, ...], tuple[str, ...]]:
    """Return the records of the whole rows of a published study, and a line for everything else."""
    found: dict[str, Record] = {}
    faults: list[str] = []
    seen: list[str] = []
    file = _opened(path, data)
    manifest = _manifest(path, file)
    rows = old_rows(path, file.iter_batches(256)) if _is_old(file) else _rows(path, file, trusted)
    for place, (parts, fault) in enumerate(rows):
        identity: Any = parts.get("run_id")
        seen.append(str(identity or f"row {place}")[:40])
        fault = fault or record_fault(parts, identity)
        if not fault and identity in found:
            fault = "stands in it twice"
        if not fault and manifest and manifest.get(identity) != parts["sha256"][:SHORT]:
            fault = "is not the row that the file's list names"
        if fault:
            faults.append(f"{path.name}/{seen[-1]}: {fault}")
        else:
            known = {name: parts[name] for name in (*HEAD, *PARTS, "identity", "files")}
            found[identity] = Record(**known, source=f"results/{path.stem}")
    lost = [one for one in manifest if one not in found and one not in seen]
    faults += [f"{path.name}/{one}: named by the file's list, but missing" for one in lost]
    if manifest and not faults and seen != list(manifest):
        faults.append(f"{path.name}: its rows stand in another order than its list")
    return tuple(found.values()), tuple(faults)


def _rows(path: Path, file: Any, trusted: bool) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the parts of every row, and what is wrong with it, if anything."""
    import pyarrow as pa

    try:
        rows = from_arrow(file.read())
    except (OSError, ValueError, pa.ArrowException) as error:  # a text that is not UTF-8 is a ValueError
        raise _unreadable(path) from error
    for row in rows:
        try:
            fault = "" if trusted or _sha(row) == row.get("sha256") else "does not match its hash"
            parts = {} if fault else _parts(path, row)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            parts, fault = {}, f"unreadable ({str(error)[:80]})"
        yield {"run_id": row.get("run_id")} | parts, fault


def _parts(path: Path, row: Row) -> dict[str, Any]:
    names = zip(row.pop(FILES, ()), row.pop(HASHES, ()), strict=True)
    files = {name: partial(_member, path, row["run_id"], name, sha) for name, sha in names}
    return nested(row) | {"identity": read_json(row["identity"]), "files": files}


def _manifest(path: Path, file: Any) -> dict[str, str]:
    """Return the hash of every row by its id, in order; empty for older studies, which have no such list."""
    try:
        found = json.loads((file.schema_arrow.metadata or {}).get(MANIFEST, b"{}"))
    except ValueError as error:
        raise _unreadable(path) from error
    if not isinstance(found, dict):
        raise _unreadable(path)
    return found


def _unreadable(path: Path) -> IntegrityError:
    return IntegrityError(f"{path.name}: unreadable; restore it from version control")


def _is_old(file: Any) -> bool:
    return set(COLUMNS) <= set(file.schema_arrow.names)


def _file_faults(record: Record) -> list[str]:
    faults = []
    for name in record.files:
        try:
            record.read(name)
        except IntegrityError as error:
            faults.append(str(error))
    return faults


def _member(path: Path, run: str, name: str, sha: str) -> bytes:
    """Return a file of a run from the archive beside a study, compared with its hash."""
    place = path.with_suffix(".npz")
    try:
        content = _archive(place, stamp(str(place))).read(_place(name, sha))
    except unreadable() as error:
        raise IntegrityError(f"{place.name}/{run}/{name}: unreadable ({str(error)[:80]})") from error
    if hashlib.sha256(content).hexdigest()[:SHORT] != sha:
        raise IntegrityError(f"{place.name}/{run}/{name}: does not match its hash")
    return content


@lru_cache(maxsize=16)
def _archive(path: Path, _when: tuple[int, ...] | None) -> "ZipFile":
    """Return an archive, held in memory: forked processes would share an open file."""
    from zipfile import ZipFile

    return ZipFile(io.BytesIO(read_bytes(str(path))))


def readers(store: Store, results: Path | None = None) -> list[Reader]:
    """Return every place to read records from: the user's own store first, then every published study."""
    return [store, *(PackedStore(path) for path in (sorted(results.glob("*.parquet")) if results else packs()))]
