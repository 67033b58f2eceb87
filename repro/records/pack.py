"""Committed study records: one Parquet file a study, one row a run, so that hundreds of runs are one small file."""

import hashlib
import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from repro.records.errors import IntegrityError
from repro.records.identity import SCHEMA, run_id
from repro.records.record import ATTACHED, Content, Reader, Record
from repro.records.shipped import packs
from repro.records.store import Store

HEAD = ("run_id", "kind", "status", "schema")
TEXTS = ("config", "identity", "result", "provenance")


def write_pack(records: Iterable[Record], path: Path, *, attach: bool = True) -> Path:
    """Write records to one Parquet file, ordered by run id, so that the same records give the same bytes.

    Args:
        records: the runs of one study.
        path: the file, `results/<study>.parquet`.
        attach: keep arrays and per-epoch rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [_row(record, attach) for record in sorted(records, key=lambda record: record.run_id)]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=_schema()), path, compression="zstd")
    return path


class PackedStore:
    """The runs of one committed study, read like a store.

    Args:
        path: the Parquet file; its stem names the study.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._bytes: dict[str, dict[str, bytes]] = {}

    def records(self, kind: str | None = None) -> list[Record]:
        """Return the study's runs of this schema, of one kind if named; arrays and epochs are read when asked for."""
        wanted = [row for row in self._rows(*HEAD, *TEXTS) if kind in (None, row["kind"]) and row["schema"] == SCHEMA]
        return [self._record(row) for row in wanted]

    def outdated(self) -> list[str]:
        """Return the ids of runs of an older schema: their configs may mean another computation today."""
        return [row["run_id"] for row in self._rows("run_id", "schema") if row["schema"] != SCHEMA]

    def verify(self) -> list[str]:
        """Return one line for every row whose content does not match its hash or its identity."""
        damaged = [row["run_id"] for row in self._rows() if row["schema"] == SCHEMA and not _intact(row)]
        return [f"{self.path.name}/{identity}: does not match its hash" for identity in damaged]

    def _record(self, row: dict[str, Any]) -> Record:
        texts = {name: json.loads(row[name]) for name in TEXTS}
        files: dict[str, Content] = {name: partial(self._attached, name, row["run_id"]) for name in ATTACHED}
        head = {name: row[name] for name in HEAD}
        return Record(**head, **texts, source=f"results/{self.path.stem}", files=files)

    def _attached(self, name: str, identity: str) -> bytes:
        if name not in self._bytes:
            self._bytes[name] = {row["run_id"]: row[name] or b"" for row in self._rows("run_id", name)}
        return self._bytes[name][identity]

    def _rows(self, *columns: str) -> list[dict[str, Any]]:
        """Return the rows, of every column or of those named that the file has."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            file = pq.ParquetFile(self.path)
            wanted = [name for name in columns if name in file.schema_arrow.names] if columns else None
            return file.read(columns=wanted).to_pylist()
        except (OSError, pa.ArrowException) as error:
            raise IntegrityError(f"{self.path.name}: unreadable; restore it from version control") from error


def _schema() -> Any:
    import pyarrow as pa

    texts = ("run_id", "kind", "status", *TEXTS, "sha256")
    columns = [(name, pa.string()) for name in texts] + [(name, pa.binary()) for name in ATTACHED]
    return pa.schema([*columns, ("schema", pa.int64())])


def _row(record: Record, attach: bool) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(record, name) for name in HEAD}
    row |= {name: json.dumps(getattr(record, name), sort_keys=True) for name in TEXTS}
    row |= record.attached() if attach else dict.fromkeys(ATTACHED, b"")
    return row | {"sha256": _sha(row)}


def _sha(row: dict[str, Any]) -> str:
    texts = [str(row[name]).encode() for name in ("run_id", "kind", "status", "schema", *TEXTS)]
    parts = texts + [row[name] or b"" for name in ATTACHED]
    return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def _intact(row: dict[str, Any]) -> bool:
    same = run_id(row["kind"], json.loads(row["identity"]), row["schema"]) == row["run_id"]
    return same and _sha(row) == row["sha256"]


def readers(store: Store, results: Path | None = None) -> list[Reader]:
    """Return everything a reader of records looks at: the user's own runs first, then every packed study."""
    return [store, *(PackedStore(path) for path in (sorted(results.glob("*.parquet")) if results else packs()))]
