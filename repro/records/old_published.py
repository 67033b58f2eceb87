"""Studies as versions up to 0.2 published them: one Parquet row a run, its parts as JSON texts and bytes.

Version 0.3 reads them, and `repro records publish` writes them anew in today's form; 0.4 will not read them.
"""

import hashlib
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from repro.base.errors import IntegrityError
from repro.records.columns import read_json
from repro.records.record import ON_DEMAND, Content

HEAD = ("run_id", "kind", "status", "schema")
TEXTS = ("config", "identity", "result", "provenance")
COLUMNS = (*HEAD, *TEXTS, "sha256", *ON_DEMAND)


def old_rows(path: Path, batches: Iterator[Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the parts of every row, and what is wrong with it, if anything.

    Args:
        path: the file; batches: its rows, as pyarrow reads them.
    """
    for batch in batches:
        for row in batch.to_pylist():
            fault, parts = _fault(row), {name: row[name] for name in HEAD}
            try:
                parts |= {} if fault else {name: read_json(row[name]) for name in TEXTS}
            except ValueError as error:
                fault = f"unreadable ({error})"
            files: dict[str, Content] = {one: partial(_content, path, one, str(row["run_id"])) for one in ON_DEMAND}
            yield parts | {"sha256": row["sha256"], "files": files}, fault


def _fault(row: dict[str, Any]) -> str:
    wrong = [name for name in ("run_id", "kind", "status", *TEXTS, "sha256") if not isinstance(row[name], str)]
    wrong += [name for name in ON_DEMAND if not isinstance(row[name], bytes | None)]
    if wrong:
        return f"{wrong[0]} = {str(row[wrong[0]])[:40]!r}: must be {'bytes' if wrong[0] in ON_DEMAND else 'a text'}"
    return "" if sha_of(row) == row["sha256"] else "does not match its hash"


def sha_of(row: dict[str, Any]) -> str:
    """Return the hash over the parts of a row."""
    texts = [str(row[name]).encode() for name in ("run_id", "kind", "status", "schema", *TEXTS)]
    parts = texts + [row[name] or b"" for name in ON_DEMAND]
    return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def _content(path: Path, name: str, identity: str) -> bytes:
    try:
        return _column(path, path.stat().st_mtime_ns, name)[identity]
    except (KeyError, OSError):
        raise IntegrityError(f"{path.name}/{identity}: changed while it was read") from None


@lru_cache(maxsize=4)
def _column(path: Path, _stamp: int, name: str) -> dict[str, bytes]:
    import pyarrow.parquet as pq

    rows = pq.read_table(path, columns=[*COLUMNS]).to_pylist()
    return {row["run_id"]: row[name] or b"" for row in rows if not _fault(row)}
