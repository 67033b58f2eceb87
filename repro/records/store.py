"""Runs on disk: one folder a run, written atomically, `result.json` last, so that its presence means done.

    <store>/models/<stage_id>/{config.json, weights.safetensors, provenance.json}
    <store>/runs/<run_id>/{config.json, provenance.json, epochs.jsonl, arrays.npz, result.json}
    <store>/runs/<run_id>/evaluations.json          which evaluation of each metric stands for the run
    <store>/evaluations/<evaluation_id>/{config.json, provenance.json, arrays.npz, result.json}

A run's numbers are the join of its own facts and of its evaluations.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from repro.records.errors import ConfigError, IntegrityError
from repro.records.identity import SCHEMA, canonical_json, identifying, plain, run_id
from repro.records.record import ATTACHED, EVALUATION, STATUSES, Record, join, npz, pick

RESULT = "result.json"
POINTERS = "evaluations.json"


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
        """Return the finished run of this config with its evaluations, or None."""
        folder = self.root / "runs" / run_id(kind, config)
        return self._run(folder) if (folder / RESULT).exists() else None

    def save(
        self, kind: str, config: Any, *, result: Mapping[str, Any], status: str = "ok",
        arrays: Mapping[str, Any] | None = None, epochs: Iterable[Any] | None = None,
        provenance: Mapping[str, Any] | None = None, evaluations: Mapping[str, str] | None = None,
    ) -> Record:  # fmt: skip
        """Write a finished run; `result.json`, which carries the hashes of the others, comes last.

        Args:
            kind, config: what the run is; its identity.
            result: its numbers; status: one of `ok`, `diverged`, `failed`.
            arrays, epochs, provenance: what else it left.
            evaluations: ids of the evaluations that stand for it, by metric.
        """
        if status not in STATUSES:
            raise ValueError(f"status = {status!r}: must be one of {', '.join(STATUSES)}")
        folder = self.root / "runs" / run_id(kind, config)
        if evaluations:
            self.attach(folder.name, evaluations)
        files = _contents(kind, config, arrays=arrays, epochs=epochs, provenance=provenance)
        done = {"run_id": folder.name, "kind": kind, "status": status, "result": plain(result)}
        _write_folder(folder, files, RESULT, done)
        return self._run(folder)

    def attach(self, identity: str, evaluations: Mapping[str, str]) -> None:
        """Let evaluations stand for a run: ids by metric, in place of those of the same metrics before."""
        folder = self.root / "runs" / identity
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / POINTERS, _json({**_pointers(folder), **evaluations}))

    def save_evaluation(
        self, config: Any, *, result: Mapping[str, Any], arrays: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> Record:  # fmt: skip
        """Write one metric of one or more stages; `result.json` comes last."""
        folder = self.root / "evaluations" / run_id(EVALUATION, config)
        files = _contents(EVALUATION, config, arrays=arrays, provenance=provenance)
        done = {"run_id": folder.name, "kind": EVALUATION, "status": "ok", "result": plain(result)}
        _write_folder(folder, files, RESULT, done)
        return _read_folder(folder)

    def find_evaluation(self, config: Any) -> Record | None:
        """Return the evaluation of this config, or None."""
        folder = self.root / "evaluations" / run_id(EVALUATION, config)
        return _read_folder(folder) if (folder / RESULT).exists() else None

    def records(self, kind: str | None = None) -> list[Record]:
        """Return the finished runs of this schema, of one kind if named, ordered by run id.

        Evaluations that pool many runs are records of kind `evaluation`; those of a single run are part of it.
        A damaged run raises `IntegrityError`.
        """
        found = [self._run(path.parent) for path in sorted(self.root.glob(f"runs/*/{RESULT}"))]
        if kind in (None, EVALUATION):
            every = (_read_folder(path.parent) for path in sorted(self.root.glob(f"evaluations/*/{RESULT}")))
            found += [record for record in every if record.config.get("pooled")]
        return [record for record in found if kind in (None, record.kind) and record.schema == SCHEMA]

    def load(self, prefix: str) -> Record:
        """Return the run whose id starts with `prefix`."""
        folder = self.root / "runs" / prefix
        return self._run(folder) if prefix and (folder / RESULT).exists() else pick(self.records(), prefix)

    def outdated(self) -> list[Record]:
        """Return the finished runs of an older schema: their configs may mean another computation today."""
        found = [_read_folder(path.parent) for path in sorted(self.root.glob(f"runs/*/{RESULT}"))]
        return [record for record in found if record.schema != SCHEMA]

    def lock(self, name: str) -> AbstractContextManager[Any]:
        """Return a lock on one run or stage, so that a second process waits instead of repeating the work."""
        from filelock import FileLock

        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / f"{name}.lock")

    def find_model(self, stage_id: str) -> Path | None:
        """Return the folder of a trained stage (`weights.safetensors` inside), or None."""
        folder = self.root / "models" / stage_id
        return folder if (folder / "provenance.json").exists() else None

    def save_model(self, config: Any, weights: bytes, provenance: Mapping[str, Any]) -> Path:
        """Write the weights of a trained stage (safetensors bytes); `provenance.json` comes last."""
        folder = self.root / "models" / run_id("model", config)
        files = {"config.json": _config("model", config), "weights.safetensors": weights}
        _write_folder(folder, files, "provenance.json", dict(provenance))
        return folder

    def models(self) -> list[Path]:
        """Return the folders of the trained stages, ordered by id."""
        return [path.parent for path in sorted(self.root.glob("models/*/provenance.json"))]

    def verify(self) -> list[str]:
        """Return one line for every file whose bytes do not match the recorded hash, and every wrong identity."""
        places = (f"runs/*/{RESULT}", f"evaluations/*/{RESULT}", "models/*/provenance.json")
        markers = sorted(path for place in places for path in self.root.glob(place))
        return [problem for marker in markers for problem in _check_folder(marker)]

    def _run(self, folder: Path) -> Record:
        """Return a run joined with its evaluations."""
        run = _read_folder(folder)
        parts = {name: _read_folder(self.root / "evaluations" / one) for name, one in _pointers(folder).items()}
        return join(run, parts)


def _json(obj: Any) -> bytes:
    return (json.dumps(plain(obj), indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def _write_folder(folder: Path, files: Mapping[str, bytes], marker: str, content: dict[str, Any]) -> None:
    """Write `files`, then the marker with their hashes. A rewrite removes the marker first: half a run is no run."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / marker).unlink(missing_ok=True)
    for name, data in files.items():
        replace_file(folder / name, data)
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    replace_file(folder / marker, _json({**content, "files": hashes}))
    _sync(folder)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old bytes or the new ones, even after a crash."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _sync(folder: Path) -> None:
    if os.name == "nt":  # Windows opens no folders; its renames are in the journal
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _config(kind: str, config: Any) -> bytes:
    """Return what a run is: every setting for people and figures, and the part that its identity hashes."""
    return _json({"kind": kind, "schema": SCHEMA, "config": plain(config), "identity": identifying(config)})


def _contents(
    kind: str, config: Any, *, arrays: Mapping[str, Any] | None = None, epochs: Iterable[Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> dict[str, bytes]:  # fmt: skip
    files = {"config.json": _config(kind, config), "provenance.json": _json(provenance or {})}
    if epochs is not None:
        files["epochs.jsonl"] = "".join(canonical_json(row) + "\n" for row in epochs).encode()
    if arrays:
        files["arrays.npz"] = npz(arrays)
    return files


def _pointers(folder: Path) -> dict[str, str]:
    path = folder / POINTERS
    return json.loads(path.read_text()) if path.exists() else {}


def _read_folder(folder: Path) -> Record:
    try:
        names = (RESULT, "config.json", "provenance.json")
        done, config, provenance = (json.loads((folder / name).read_text()) for name in names)
        head = (done["run_id"], done["kind"], done["status"], config["config"], done["result"], provenance)
        files = {name: folder / name for name in done["files"] if name in ATTACHED}
        identity = config.get("identity", config["config"])  # the first schema hashed every setting
        return Record(*head, schema=config["schema"], identity=identity, files=files)
    except (OSError, ValueError, KeyError) as error:
        raise IntegrityError(f"run {folder.name}: unreadable ({error}); delete its folder and run it again") from error


def _check_folder(marker: Path) -> list[str]:
    name = f"{marker.parent.parent.name}/{marker.parent.name}"
    try:
        hashes = json.loads(marker.read_text())["files"]
        config = json.loads((marker.parent / "config.json").read_text())
        identity = run_id(config["kind"], config.get("identity", config["config"]), config["schema"])
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
