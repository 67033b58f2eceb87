"""Published studies: a Parquet file of plain columns with a row per run, and an archive of its arrays.

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
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.base.errors import IntegrityError
from repro.base.files import name_damage, read_bytes, stamp
from repro.base.outputs import is_as_written
from repro.base.places import published_files
from repro.records.columns import Row, from_arrow, nested, read_json
from repro.records.folder import record_fault
from repro.records.identity import SCHEMA
from repro.records.index import Head, head_of
from repro.records.lists import RunList, published_lists
from repro.records.old_published import COLUMNS, old_rows
from repro.records.record import Reader, Record, unreadable
from repro.records.stages import two_weights
from repro.records.store import Store

if TYPE_CHECKING:
    from zipfile import ZipFile

HEAD = ("run_id", "kind", "status", "schema")
PARTS = ("config", "result", "provenance")
SAID = ("provenance.study", "provenance.finished")  # what a listing shows of a run besides its `HEAD`
FILES, HASHES = "files", "file_hashes"  # of a row: names and hashes of its files in the archive
MANIFEST = b"repro.rows"
SHORT = 16  # digits of a shortened hash
IN_MEMORY = 64  # published files, by their content


def member_name(name: str, sha: str) -> str:
    return f"{sha}.{name.rpartition('.')[2]}"


def sha_of_row(row: Row) -> str:
    """Return the hash over the values of a row.

    Raises:
        ValueError, TypeError: if a value is not plain.
    """
    values = {name: value for name, value in row.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(values, sort_keys=True, allow_nan=False).encode()).hexdigest()


class PublishedStudy:
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
            said = _values(self.path, data, column)
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


@lru_cache(maxsize=IN_MEMORY)
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
    for name in ("run_id", "kind"):
        kind = file.schema_arrow.field(name).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind)):
            raise IntegrityError(f"{path.name}: no published study, its column {name} is of type {kind}, not text")
    return file


@lru_cache(maxsize=IN_MEMORY)
def _values(path: Path, data: bytes, column: str) -> list[Any]:
    """Return the different values of a column of a published study."""
    return _opened(path, data).read(columns=[column]).column(0).unique().to_pylist()


@lru_cache(maxsize=IN_MEMORY)
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
            fault = "" if trusted or sha_of_row(row) == row.get("sha256") else "does not match its hash"
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
    """Return a file of a run from the archive of a study, compared with its hash."""
    place = path.with_suffix(".npz")
    try:
        content = _archive(place, stamp(str(place))).read(member_name(name, sha))
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


class Published:
    """Every published study, read like a store.

    Args:
        files: the files of records, those of the user first; by default all.
    """

    title = "published"

    def __init__(self, files: Iterable[Path] | None = None) -> None:
        self._files = list(published_files() if files is None else files)

    @cached_property
    def lists(self) -> dict[str, RunList]:
        """The list of every study by its name; if two folders have one, the user's counts."""
        found: dict[str, RunList] = {}
        for folder in dict.fromkeys(path.parent for path in self._files):
            found = published_lists(folder) | found
        return found

    def records_of(self, study: str, ids: Collection[str]) -> list[Record]:
        """Return some runs of a study, ordered by id; of two copies, its own file's, else the one with more metrics."""
        found: dict[str, tuple[tuple[bool, int], Record]] = {}
        for path in self._files:
            for record in PublishedStudy(path).records(ids=ids):
                rank = path.stem == study, len(record.result.get("evaluations", ()))
                if record.run_id not in found or rank > found[record.run_id][0]:
                    found[record.run_id] = rank, record
        return [found[one][1] for one in sorted(found)]


def readers(store: Store, results: Path | None = None) -> list[Reader]:
    """Return every place to read records from: the user's own store first, then every published study."""
    return [
        store,
        *(PublishedStudy(path) for path in (sorted(results.glob("*.parquet")) if results else published_files())),
    ]
