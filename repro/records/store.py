"""Runs on disk: one folder per run. Each file is written atomically; `result.json` comes last and means done.

    <store>/models/<stage_id>/{config.json, weights.safetensors, provenance.json}
    <store>/runs/<run_id>/{config.json, provenance.json, epochs.jsonl, arrays.npz, result.json}
    <store>/evaluations/<evaluation_id>/{config.json, provenance.json, arrays.npz, result.json}
    <store>/checkpoints/<stage_id>/<number>.sealed  states of an unfinished stage
    <store>/claims/<name>.claim                     leases: who works on a run or a stage now
    <store>/studies/<digest of a name>.json         which runs a study has, see `repro.records.lists`
    <store>/.repro-store                            says that the folder is a store
    <store>/index.jsonl                             what a listing shows; rebuilt where it is stale
    <store>/cells/                                  a store within the store: what theory sweeps and claims share
    <store>/sweeps/<run id>.parquet                 the arrays of a sweep's record as one table
    <store>/damaged/<room>-<id>                     folders that did not match their hashes, moved out of the way

A run's numbers are its own facts and those of its evaluations. `result.json` names the evaluations by metric, so that
a changed or missing part is noticed. Everything that is read is compared with its hash. A folder that does not match is
named once, moved to `damaged/` and counts as absent, so that its run is computed again.
"""

import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from repro.base.errors import ConfigError, IntegrityError
from repro.base.files import name_damage, process_tag, read_bytes, replace_file
from repro.records import index
from repro.records.columns import table_faults
from repro.records.folder import (
    IDENTITY,
    RESULT,
    folder_faults,
    marker_bytes,
    read_folder,
    read_marker,
    record_files,
    set_aside,
    write_folder,
)
from repro.records.identity import SCHEMA, plain, run_id
from repro.records.index import Head
from repro.records.leases import Leases
from repro.records.lists import StudyLists
from repro.records.record import EVALUATION, STATUSES, Record, pick, with_evaluations
from repro.records.stages import FACTS, Stages, measures, same_weights, two_weights

POINTERS = "evaluations.json"  # names a run's evaluations in older stores, whose `result.json` does not
Reading = Callable[[str], Record | None]  # of the folder of a room, such as `runs/<id>`
SHARED = "cells"  # the store within a store
MARK = ".repro-store"
MARKED = b"A store of the command `repro`: what it wrote here it may tidy up.\n"
FOLDERS = (*index.ROOMS, "models", "checkpoints", "claims", "studies")
MARKERS = (f"runs/*/{RESULT}", f"evaluations/*/{RESULT}", f"models/*/{FACTS}")


class Store:
    """A folder of runs and models that several processes may share.

    Args:
        root: the folder; created on the first write.
    """

    title = "local"  # its name as the source of a study

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.leases = Leases(self.root / "claims")
        self.lists = StudyLists(self.root / "studies", self.lease)
        self.stages = Stages(self.root, self._mark)

    def ensure_writable(self) -> None:
        """Raise `ConfigError` before any work when the store cannot be written, or made where there is none yet.

        It leaves nothing: what is refused later, such as a setting, has made no store.
        """
        root = place = self.root.absolute()
        try:
            there = [one for one in (root / name for name in FOLDERS) if _is_there(one)]
            for place in (next((one for one in (root, *root.parents) if _is_there(one)), root), *there):
                probe = place / f".probe.{process_tag()}"
                probe.write_bytes(b"")  # on a full disk too: what is finished is found there still
                probe.unlink()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            where = f"{place.name}/ " if place.parent == root else ""
            message = f"store = {str(self.root)!r}: {where}cannot be written ({reason}); choose another with --store"
            raise ConfigError(message) from error

    def _mark(self) -> None:
        if not (self.root / MARK).exists():
            self.root.mkdir(parents=True, exist_ok=True)
            replace_file(self.root / MARK, MARKED)

    def find(self, kind: str, config: Any) -> Record | None:
        """Return the finished run of this config with its evaluations, or None."""
        return self._run(run_id(kind, config), self._whole)

    def save(
        self, kind: str, config: Any, *, result: Mapping[str, Any], status: str = "ok",
        arrays: Mapping[str, Any] | None = None, epochs: Iterable[Any] | None = None,
        provenance: Mapping[str, Any] | None = None, evaluations: Mapping[str, str] | None = None,
    ) -> Record:  # fmt: skip
        """Write a finished run. `result.json` comes last and carries the hashes of the other files.

        Args:
            kind: the kind of run, such as `unlearn`.
            config: its settings; kind and settings together are its identity.
            result: its numbers.
            status: one of `ok`, `diverged`, `failed`.
            arrays: its arrays by name.
            epochs: one row per epoch.
            provenance: versions, device, time.
            evaluations: ids of its evaluations by metric.
        """
        if status not in STATUSES:
            raise ValueError(f"status = {status!r}: must be one of {', '.join(STATUSES)}")
        folder = self.root / "runs" / run_id(kind, config)
        files = record_files(kind, config, result, status, arrays=arrays, epochs=epochs, provenance=provenance)
        done = {"run_id": folder.name, "kind": kind, "status": status, "result": plain(result)}
        with self.lease(f"{folder.name}-write"):  # two processes may end with the same record
            before = self._whole(f"runs/{folder.name}")
            known = _evaluations(before, folder) if before else {}
            write_folder(folder, files, RESULT, done | {"evaluations": {**known, **(evaluations or {})}})
            record = self._saved(self._run(folder.name, self._whole), folder)
        index.append(self.root, "runs", record)
        return record

    def add_evaluations(self, identity: str, evaluations: Mapping[str, str]) -> None:
        """Add evaluations to a finished run, as ids by metric; they replace earlier ones of the same metrics.

        Raises:
            IntegrityError: if the run is missing or damaged.
        """
        folder = self.root / "runs" / identity
        with self.lease(f"{identity}-write"):  # not the run's own lease: whoever computes the run holds that
            known = _evaluations(self._saved(self._whole(f"runs/{identity}"), folder), folder)
            done = read_marker(folder / RESULT) | {"evaluations": {**known, **evaluations}}
            replace_file(folder / RESULT, marker_bytes(done))
            record = self._saved(self._run(identity, self._whole), folder)
        index.append(self.root, "runs", record)

    def save_evaluation(
        self, config: Any, *, result: Mapping[str, Any], arrays: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> Record:  # fmt: skip
        """Write the numbers of one metric on one or more stages; `result.json` comes last."""
        folder = self.root / "evaluations" / run_id(EVALUATION, config)
        files = record_files(EVALUATION, config, result, "ok", arrays=arrays, provenance=provenance)
        done = {"run_id": folder.name, "kind": EVALUATION, "status": "ok", "result": plain(result)}
        weights = (provenance or {}).get("weights") or {}
        with self.lease(folder.name):  # runs share evaluations: two processes may end with the same one
            there = self._whole(f"evaluations/{folder.name}")
            known = {} if there is None else there.provenance.get("weights") or {}
            if there is not None and there.result == done["result"] and same_weights(known, weights):
                return there
            write_folder(folder, files, RESULT, done)
            record = self._saved(self._whole(f"evaluations/{folder.name}"), folder)
        index.append(self.root, "evaluations", record)
        return record

    def find_evaluation(self, config: Any) -> Record | None:
        """Return the evaluation of this config, or None."""
        return self._whole(f"evaluations/{run_id(EVALUATION, config)}")

    def records(self, *kinds: str, ids: Collection[str] | None = None) -> list[Record]:
        """Return the finished runs of this schema, ordered by run id; with kinds or ids, only those.

        Evaluations that pool many runs are records of kind `evaluation`; those of a single run are part of that run.
        The index says which runs exist; each is read and compared. A damaged run is named and left out.
        """
        read = {EVALUATION: self._evaluation}
        wanted = (one for one in self.heads() if ids is None or one.run_id in ids)
        listed = [(one.kind, one.run_id) for one in wanted if not kinds or one.kind in kinds]
        found = [read.get(kind, self._run)(identity, self._whole) for kind, identity in listed]
        return [one for one in found if one and (not kinds or one.kind in kinds) and one.schema == SCHEMA]

    def records_of(self, study: str, ids: Collection[str]) -> list[Record]:
        """Return some runs of a study; a store needs only their ids."""
        return self.records(ids=ids)

    def load(self, prefix: str) -> Record:
        """Return the run whose id starts with `prefix`."""
        return pick(self.starting(prefix), prefix)

    def starting(self, prefix: str) -> list[Record]:
        """Return the finished runs whose ids start with `prefix`."""
        if not IDENTITY.fullmatch(prefix):
            return []
        rooms = {"runs": self._run, "evaluations": self._evaluation}
        found = [
            read(path.name, self._whole)
            for room, read in rooms.items()
            for path in sorted((self.root / room).glob(f"{prefix}*"))
        ]
        return [one for one in found if one and one.schema == SCHEMA]

    def holds(self, ids: Iterable[str]) -> bool:
        """Return whether there is a finished run, or a pooled evaluation, of every id."""
        return all(any((self.root / room / one / RESULT).exists() for room in index.ROOMS) for one in ids)

    def heads(self) -> list[Head]:
        """Return what a listing shows of every finished run, including runs of an older schema; see `index`."""
        return index.list_heads(self.root, self._whole)

    def lease(self, name: str, *, wait: bool = True, deadline: float | None = None) -> AbstractContextManager[None]:
        """Return the lease on a run or a stage, so that no second process repeats the work; see `Leases.hold`."""
        self._mark()
        return self.leases.hold(name, wait=wait, deadline=deadline)

    def verify(self) -> list[str]:
        """Return one line for every file that does not match its hash or cannot be read, and for a wrong identity."""
        found, markers = self._closed(), sorted(path for place in MARKERS for path in self.root.glob(place))
        found += [fault for marker in markers for fault in folder_faults(marker)]
        found += self.lists.verify()
        found += table_faults(self.root, lambda identity: self._run(identity, self._readable))
        places = (f"runs/{path.parent.name}" for path in sorted(self.root.glob(f"runs/*/{RESULT}")))
        runs = [run for place in places if (run := self._readable(place))]
        found += [fault for run in runs for fault in self.evaluation_faults(run)]
        found += [line for line, _ in two_weights(runs).values()]
        return found + [f"{SHARED}/{fault}" for one in self.within() for fault in one.verify()]

    def _closed(self) -> list[str]:
        """Return one line for every folder of the store, and every folder in one, that cannot be looked into."""
        found = []
        for room in FOLDERS:
            for place in [self.root / room, *_folders(self.root / room)]:
                try:
                    if _is_there(place):
                        next(place.iterdir(), None)
                except OSError as error:
                    reason = error.strerror or type(error).__name__
                    name = place.relative_to(self.root)
                    found.append(f"{name}: cannot be read ({reason}); it must be a folder that you may read")
        return found

    def evaluation_faults(self, run: Record) -> list[str]:
        """Return one line for every evaluation of a run that is missing, or of another metric or other models."""
        place, faults = f"runs/{run.run_id}", []
        for metric, identity in _evaluations(run, self.root / place).items():
            part = self._readable(f"evaluations/{identity}")
            if part is None or not measures(part, metric, run):
                what = "is not of this run's models" if part else "is missing or damaged"
                faults.append(f"{place}: its evaluation {identity} of {metric} {what}; run it again")
        return faults

    def within(self) -> list["Store"]:
        """Return the store within this one, if there is one."""
        return [Store(self.root / SHARED)] if (self.root / SHARED).is_dir() else []

    def _readable(self, place: str) -> Record | None:
        """Return the record of a room's folder; None if it is missing or damaged. A damaged folder stays in place."""
        with suppress(IntegrityError):
            return read_folder(self.root / place)
        return None

    def _whole(self, place: str) -> Record | None:
        """Return the record of a room's folder; None if it is missing or damaged. A damaged folder is set aside."""
        folder = self.root / place
        try:
            return read_folder(folder)
        except IntegrityError as error:
            set_aside(self.root, folder, str(error))
            return None

    def _evaluation(self, identity: str, whole: Reading) -> Record | None:
        """Return an evaluation if it pools many runs; that of a single run is part of the run."""
        found = whole(f"evaluations/{identity}")
        return found if found and found.config.get("pooled") else None

    def _run(self, identity: str, whole: Reading) -> Record | None:
        """Return a run with its evaluations, except those that are gone or belong to other models."""
        run = whole(f"runs/{identity}")
        if run is None:
            return None
        named = _evaluations(run, self.root / "runs" / identity)
        parts = {name: part for name, one in named.items()
                 if (part := whole(f"evaluations/{one}")) and measures(part, name, run)}  # fmt: skip
        return with_evaluations(run, parts)

    @staticmethod
    def _saved(record: Record | None, folder: Path) -> Record:
        if record is None:
            raise IntegrityError(f"{folder.parent.name}/{folder.name}: what was written cannot be read back")
        return record


def _folders(room: Path) -> list[Path]:
    """Return the folders in a room; none where it cannot be read."""
    with suppress(OSError), os.scandir(room) as entries:
        return sorted(Path(one.path) for one in entries if one.is_dir())
    return []


def _is_there(path: Path) -> bool:
    """Return whether a path exists, a broken link included; a name that no folder can have is an `OSError`."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


def _evaluations(run: Record, folder: Path) -> Mapping[str, str]:
    """Return the ids of a run's evaluations by metric; an unreadable list of an older store is named."""
    if run.evaluations or not (folder / POINTERS).exists():
        return run.evaluations
    try:
        found = json.loads(read_bytes(str(folder / POINTERS)))
        if isinstance(found, dict) and all(isinstance(one, str) and IDENTITY.fullmatch(one) for one in found.values()):
            return found
        what = "must name evaluations by metric"
    except (OSError, ValueError, RecursionError) as error:
        what = str(error)[:80]
    name_damage(f"runs/{folder.name}/{POINTERS}: unreadable ({what}); the run is measured anew")
    return {}
