"""What one run left behind, and how records of several stores are read together."""

import gc
import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from repro.base.errors import MissingDataError
from repro.records.identity import SCHEMA

ATTACHED = ("arrays.npz", "epochs.jsonl")
STATUSES = ("ok", "diverged", "failed")
EVALUATION = "evaluation"
Content = bytes | Path | Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Record:
    """What one run left behind.

    Attributes:
        run_id: 16 hex digits.
        kind: what sort of run, such as `theory` or `unlearn`.
        status: `ok`, `diverged` or `failed`.
        config: every setting, as plain values.
        result: its numbers, as plain values, those of its evaluations among them; `result["evaluations"]` names these
            by metric, each as `{"id", "version"}`.
        provenance: versions, device and time.
        source: the store it was read from: `runs`, or `results/<study>`.
        schema: the identity version it was made under.
        identity: the part of the config that `run_id` hashes.
        evaluations: ids of the evaluations that stand for it, by metric, before their numbers are joined to `result`.
        files: the raw bytes of the epochs and of one or more files of arrays, or a path or a function that reads them
            on demand.
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

    def arrays(self) -> dict[str, Any]:
        """Return the arrays of the run and of its evaluations by name, as numpy arrays; empty when it stored none."""
        import numpy as np

        found: dict[str, Any] = {}
        for name in self.files:
            if name.endswith(".npz") and (raw := self._read(name)):
                with np.load(io.BytesIO(raw), allow_pickle=False) as archive:
                    found |= dict(archive)
        return found

    def has_arrays(self) -> bool:
        """Return whether there are arrays: a study may have been packed without them."""
        return any(name.endswith(".npz") and self._read(name) for name in self.files)

    def epochs(self) -> list[dict[str, Any]]:
        """Return the per-epoch rows, oldest first."""
        return [json.loads(line) for line in self._read("epochs.jsonl").decode().splitlines()]

    def attached(self) -> dict[str, bytes]:
        """Return the bytes of `arrays.npz` (one file for the run and its evaluations) and `epochs.jsonl`."""
        several = sum(name.endswith(".npz") for name in self.files) > 1
        arrays = npz(self.arrays()) if several else self._read(next((n for n in self.files if n.endswith(".npz")), ""))
        return {"arrays.npz": arrays, "epochs.jsonl": self._read("epochs.jsonl")}

    def _read(self, name: str) -> bytes:
        content = self.files.get(name, b"")
        if isinstance(content, Path):
            return content.read_bytes()
        return content if isinstance(content, bytes) else content()


class Reader(Protocol):
    """Anything records can be read from: a store of runs or a committed pack."""

    def records(self, *kinds: str) -> list[Record]: ...

    def verify(self) -> list[str]: ...


def join(run: Record, evaluations: Mapping[str, Record]) -> Record:
    """Return a run with the numbers and arrays of its evaluations, by metric."""
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


def read_records(stores: Iterable[Reader], *kinds: str, wanted: Callable[[Record], bool] | None = None) -> list[Record]:
    """Return the records of several stores, of some kinds if named.

    A run in two of them is taken, whole, from the first, or from the first in which it is `wanted`: two studies may
    share a run and have measured other things of it.
    """
    found: dict[str, Record] = {}
    collects = gc.isenabled()
    gc.disable()  # records refer to nothing that refers to them; of many, every search for cycles takes seconds
    try:
        for store in stores:
            for record in store.records(*kinds):
                known = found.setdefault(record.run_id, record)
                if wanted and known is not record and not wanted(known) and wanted(record):
                    found[record.run_id] = record
    finally:
        if collects:
            gc.enable()
    return list(found.values())


def pick(records: Iterable[Record], prefix: str) -> Record:
    """Return the one record whose id starts with `prefix`.

    Raises:
        MissingDataError: when none or several do.
    """
    matches = [record for record in records if prefix and record.run_id.startswith(prefix)]
    if len(matches) != 1:
        found = f"{len(matches)} runs start with it" if matches else "no such run"
        raise MissingDataError(f"run id = {prefix[:40]!r}: {found}; see `repro records list`")
    return matches[0]
