"""What one run left behind, and how records of several stores are read together."""

import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from repro.base.errors import IntegrityError, MissingDataError
from repro.records.identity import SCHEMA

EPOCHS = "epochs.jsonl"
ON_DEMAND = ("arrays.npz", EPOCHS)  # files that are read when they are asked for
STATUSES = ("ok", "diverged", "failed")
EVALUATION = "evaluation"
Content = bytes | Path | Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Record:
    """What one run left behind.

    Attributes:
        run_id: 16 hex digits.
        kind: the kind of run, such as `theory` or `unlearn`.
        status: `ok`, `diverged` or `failed`.
        config: every setting, as plain values.
        result: its numbers, as plain values, including those of its evaluations; `result["evaluations"]` names these by
            metric, each as `{"id", "version"}`.
        provenance: versions, device and time.
        source: the store it was read from: `runs`, or `results/<study>`.
        schema: version of the identity, as the run was made.
        identity: the part of the config that `run_id` hashes.
        evaluations: ids of its evaluations by metric, before their numbers are added to `result`.
        files: its per-epoch rows and arrays (`.npz` of several, `.npy` of one): bytes, a path, or a function that
            reads them on demand.
    """

    run_id: str
    kind: str
    status: str
    config: dict[str, Any]
    result: dict[str, Any]
    provenance: dict[str, Any]
    source: str = "runs"
    schema: int = SCHEMA
    identity: dict[str, Any] = field(default_factory=dict)
    evaluations: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    files: Mapping[str, Content] = field(default_factory=dict, repr=False, compare=False)

    def arrays(self, *wanted: str) -> dict[str, Any]:
        """Return the arrays of the run and of its evaluations by name, as numpy arrays; empty when it stored none.

        Args:
            *wanted: read these only, which takes a fraction of the time; none named reads all.

        Raises:
            IntegrityError: if a file holds anything but plain arrays.
        """
        import numpy as np

        found: dict[str, Any] = {}
        for name in self.files:
            one, _, kind = name.rpartition(".")  # no path: an array may be called "layer/weight"
            if kind not in ("npy", "npz") or (kind == "npy" and wanted and one not in wanted):
                continue
            raw = self.read(name)
            try:
                if kind == "npy":
                    found[one] = np.lib.format.read_array(io.BytesIO(raw), allow_pickle=False)
                elif raw:
                    with np.load(io.BytesIO(raw), allow_pickle=False) as archive:
                        found |= {key: archive[key] for key in archive.files if not wanted or key in wanted}
            except unreadable() as error:
                raise IntegrityError(f"run {self.run_id}: {name}: no plain arrays ({str(error)[:80]})") from error
        return found

    def has_arrays(self) -> bool:
        """Return whether the run has arrays; a study may have been published without them."""
        return any(name.endswith(".npy") or (name.endswith(".npz") and self.read(name)) for name in self.files)

    def epochs(self) -> list[dict[str, Any]]:
        """Return the per-epoch rows, oldest first.

        Raises:
            IntegrityError: if a row is no table of values.
        """
        try:
            rows = [json.loads(line) for line in self.read(EPOCHS).decode().splitlines()]
        except (ValueError, RecursionError) as error:
            raise IntegrityError(f"run {self.run_id}: {EPOCHS}: unreadable ({str(error)[:80]})") from error
        if not all(isinstance(row, dict) for row in rows):
            raise IntegrityError(f"run {self.run_id}: {EPOCHS}: a row is no table of values")
        return rows

    def read(self, name: str) -> bytes:
        """Return the bytes of a file of the run, compared with their hash; empty if it has no such file."""
        content = self.files.get(name, b"")
        if isinstance(content, Path):
            return content.read_bytes()
        return content if isinstance(content, bytes) else content()


def unreadable() -> tuple[type[Exception], ...]:
    """Return the errors that numpy and archives raise for bytes that are no plain arrays."""
    from tokenize import TokenError  # loaded for arrays alone: many commands read none
    from zipfile import BadZipFile
    from zlib import error

    ours = (OSError, EOFError, ValueError, KeyError, TypeError, MemoryError, OverflowError, RuntimeError, SyntaxError)
    return *ours, BadZipFile, error, TokenError


class Reader(Protocol):
    """What records can be read from: a store of runs or a published study."""

    def records(self, *kinds: str) -> list[Record]: ...

    def verify(self) -> list[str]: ...


def with_evaluations(run: Record, evaluations: Mapping[str, Record]) -> Record:
    """Return a run with the numbers and arrays of its evaluations, which are given by metric."""
    if not evaluations:
        return run
    result, files = dict(run.result), dict(run.files)
    result["evaluations"] = {
        name: {"id": part.run_id, "version": part.config.get("version", 0)} for name, part in evaluations.items()
    }
    for name, part in evaluations.items():
        result |= part.result
        files |= {f"{name}.npz": content for file, content in part.files.items() if file == "arrays.npz"}
    return replace(run, result=result, files=files)


def npz(arrays: Mapping[str, Any]) -> bytes:
    """Return arrays by name as the bytes of a compressed archive."""
    import numpy as np

    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def read_records(stores: Iterable[Reader], *kinds: str) -> list[Record]:
    """Return the records of several stores; with kinds, only those. A run in two stores is taken from the first."""
    found: dict[str, Record] = {}
    for store in stores:
        for record in store.records(*kinds):
            found.setdefault(record.run_id, record)
    return list(found.values())


def pick(records: Iterable[Record], prefix: str) -> Record:
    """Return the one record whose id starts with `prefix`.

    Raises:
        MissingDataError: if none or several do.
    """
    matches = [record for record in records if prefix and record.run_id.startswith(prefix)]
    if len(matches) != 1:
        found = f"{len(matches)} runs start with it" if matches else "no such run"
        raise MissingDataError(f"run id = {prefix[:40]!r}: {found}; see `repro records list`")
    return matches[0]
