"""Runs on disk: one folder a run, written atomically, `result.json` last, so that its presence means done."""

import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from repro.records.errors import ConfigError, IntegrityError, MissingDataError
from repro.records.identity import SCHEMA, canonical_json, digest, plain

RESULT = "result.json"
ATTACHED = ("arrays.npz", "epochs.jsonl")
STATUSES = ("ok", "diverged", "failed")


def run_id(kind: str, config: Any, schema: int = SCHEMA) -> str:
    """Return the identity of a run: 16 hex digits of the sha256 of its kind, its config and the schema version."""
    return digest({"kind": kind, "schema": schema, "config": plain(config)})


@dataclass(frozen=True)
class Record:
    """What one run left behind.

    Attributes:
        run_id: 16 hex digits.
        kind: what sort of run, such as `theory` or `unlearn`.
        status: `ok`, `diverged` or `failed`.
        config: the run's identity, as plain values.
        result: its numbers, as plain values.
        provenance: versions, device and time.
        source: the store it was read from: `runs`, or `results/<study>`.
        schema: the identity version it was made under.
        files: the raw bytes of `arrays.npz` and `epochs.jsonl`, or their paths, read on demand.
    """

    run_id: str
    kind: str
    status: str
    config: dict[str, Any]
    result: dict[str, Any]
    provenance: dict[str, Any]
    source: str = "runs"
    schema: int = SCHEMA
    files: Mapping[str, bytes | Path] = field(default_factory=dict, repr=False, compare=False)

    def read(self, name: str) -> bytes:
        """Return the bytes of an attached file, or nothing when the run has none of that name."""
        content = self.files.get(name, b"")
        return content.read_bytes() if isinstance(content, Path) else content

    def arrays(self) -> dict[str, Any]:
        """Return the run's arrays by name, as numpy arrays; empty when it stored none."""
        import numpy as np

        raw = self.read("arrays.npz")
        if not raw:
            return {}
        with np.load(io.BytesIO(raw), allow_pickle=False) as archive:
            return dict(archive)

    def epochs(self) -> list[dict[str, Any]]:
        """Return the per-epoch rows, oldest first."""
        return [json.loads(line) for line in self.read("epochs.jsonl").decode().splitlines()]


class Reader(Protocol):
    """Anything records can be read from: a store of runs or a committed pack."""

    def records(self, kind: str | None = None) -> list[Record]: ...

    def verify(self) -> list[str]: ...


class Store:
    """A folder of runs and models that several processes may share.

    Args:
        root: the folder; created on the first write.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def ensure_writable(self) -> None:
        """Raise `ConfigError` before any work when the store cannot be written."""
        probe = self.root / f".probe-{os.getpid()}"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            message = f"store = {str(self.root)!r}: cannot be written ({reason}); choose another with --store"
            raise ConfigError(message) from error

    def find(self, kind: str, config: Any) -> Record | None:
        """Return the finished run of this config, or None."""
        folder = self.root / "runs" / run_id(kind, config)
        return _read_run(folder) if (folder / RESULT).exists() else None

    def save(
        self, kind: str, config: Any, *, result: Mapping[str, Any], status: str = "ok",
        arrays: Mapping[str, Any] | None = None, epochs: Iterable[Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> Record:  # fmt: skip
        """Write a finished run; `result.json`, which carries the hashes of the others, comes last."""
        if status not in STATUSES:
            raise ValueError(f"status = {status!r}: must be one of {', '.join(STATUSES)}")
        identity = run_id(kind, config)
        files = {"config.json": _json({"kind": kind, "schema": SCHEMA, "config": plain(config)})}
        files["provenance.json"] = _json(provenance or {})
        if epochs is not None:
            files["epochs.jsonl"] = "".join(canonical_json(row) + "\n" for row in epochs).encode()
        if arrays:
            files["arrays.npz"] = _npz(arrays)
        folder = self.root / "runs" / identity
        done = {"run_id": identity, "kind": kind, "status": status, "result": plain(result)}
        _write_folder(folder, files, RESULT, done)
        return _read_run(folder)

    def records(self, kind: str | None = None) -> list[Record]:
        """Return the finished runs, of one kind if named, ordered by run id; a damaged run raises `IntegrityError`."""
        found = [_read_run(path.parent) for path in sorted(self.root.glob(f"runs/*/{RESULT}"))]
        return [record for record in found if kind in (None, record.kind)]

    def load(self, prefix: str) -> Record:
        """Return the run whose id starts with `prefix`."""
        return pick(self.records(), prefix)

    def lock(self, name: str) -> AbstractContextManager[Any]:
        """Return a lock on one run or stage, so that a second process waits instead of repeating the work."""
        from filelock import FileLock

        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / f"{name}.lock")

    def find_model(self, config: Any) -> Path | None:
        """Return the folder of a trained stage (`weights.safetensors` inside), or None."""
        folder = self.root / "models" / run_id("model", config)
        return folder if (folder / "provenance.json").exists() else None

    def save_model(self, config: Any, weights: bytes, provenance: Mapping[str, Any]) -> Path:
        """Write the weights of a trained stage (safetensors bytes); `provenance.json` comes last."""
        folder = self.root / "models" / run_id("model", config)
        identity = _json({"kind": "model", "schema": SCHEMA, "config": plain(config)})
        files = {"config.json": identity, "weights.safetensors": weights}
        _write_folder(folder, files, "provenance.json", dict(provenance))
        return folder

    def verify(self) -> list[str]:
        """Return one line for every file whose bytes do not match the recorded hash, and every wrong identity."""
        markers = [*self.root.glob(f"runs/*/{RESULT}"), *self.root.glob("models/*/provenance.json")]
        return [problem for marker in sorted(markers) for problem in _check_folder(marker)]


def read_records(stores: Iterable[Reader], kind: str | None = None) -> list[Record]:
    """Return the records of several stores; a run that stands in two is taken from the first."""
    found: dict[str, Record] = {}
    for store in stores:
        for record in store.records(kind):
            found.setdefault(record.run_id, record)
    return list(found.values())


def pick(records: Iterable[Record], prefix: str) -> Record:
    """Return the one record whose id starts with `prefix`.

    Raises:
        MissingDataError: when none or several do.
    """
    matches = [record for record in records if prefix and record.run_id.startswith(prefix)]
    if len(matches) != 1:
        found = f"{len(matches)} runs start with it" if matches else "no such run"
        raise MissingDataError(f"run id = {prefix!r}: {found}; see `repro list`")
    return matches[0]


def _json(obj: Any) -> bytes:
    return (json.dumps(plain(obj), indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def _npz(arrays: Mapping[str, Any]) -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _write_folder(folder: Path, files: Mapping[str, bytes], marker: str, content: dict[str, Any]) -> None:
    """Write `files`, then the marker with their hashes. A rewrite removes the marker first: half a run is no run."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / marker).unlink(missing_ok=True)
    for name, data in files.items():
        _write_file(folder / name, data)
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    _write_file(folder / marker, _json({**content, "files": hashes}))
    _sync(folder)


def _write_file(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_run(folder: Path) -> Record:
    try:
        names = (RESULT, "config.json", "provenance.json")
        done, identity, provenance = (json.loads((folder / name).read_text()) for name in names)
        head = (done["run_id"], done["kind"], done["status"], identity["config"], done["result"], provenance)
        attached = {name: folder / name for name in done["files"] if name in ATTACHED}
        return Record(*head, schema=identity["schema"], files=attached)
    except (OSError, ValueError, KeyError) as error:
        raise IntegrityError(f"run {folder.name}: unreadable ({error}); delete its folder and run it again") from error


def _check_folder(marker: Path) -> list[str]:
    name = f"{marker.parent.parent.name}/{marker.parent.name}"
    try:
        hashes = json.loads(marker.read_text())["files"]
        config = json.loads((marker.parent / "config.json").read_text())
        identity = run_id(config["kind"], config["config"], config["schema"])
    except (OSError, ValueError, KeyError) as error:
        return [f"{name}: unreadable ({error})"]
    faults = {file: _fault(marker.parent / file, sha) for file, sha in hashes.items()}
    problems = [f"{name}/{file}: {fault}" for file, fault in faults.items() if fault]
    if identity != marker.parent.name:
        problems.append(f"{name}: its config hashes to {identity}")
    return problems


def _fault(path: Path, sha: str) -> str:
    if not path.exists():
        return "missing"
    return "" if hashlib.sha256(path.read_bytes()).hexdigest() == sha else "does not match its hash"
