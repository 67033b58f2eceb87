"""The folder of one record or trained stage, which is whole or absent, and whose content proves it.

A folder's marker is written last and carries the sha256 of every other file and of itself; every reader compares.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from repro.base.ending import Ending
from repro.base.errors import IntegrityError
from repro.base.files import name_damage, read_bytes, stamp, temporary_file
from repro.base.settings import FILE_NAME
from repro.records.columns import read_json
from repro.records.identity import SCALARS, SCHEMA, canonical_json, identifying, plain, run_id, run_id_of_read
from repro.records.record import ON_DEMAND, STATUSES, Content, Record, npz
from repro.records.shape import shape_fault

RESULT = "result.json"
IDENTITY = re.compile(r"[0-9a-f]{1,16}")
TRIES = 5  # times to read a folder that another process is rewriting


def as_json(obj: Any) -> bytes:
    """Return a value as the bytes of a JSON file."""
    return (json.dumps(plain(obj), indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def config_json(kind: str, config: Any) -> bytes:
    """Return the config file of a run or stage: every setting, and the part that its identity hashes."""
    return as_json({"kind": kind, "schema": SCHEMA, "config": plain(config), "identity": identifying(config)})


def record_files(
    kind: str, config: Any, result: Mapping[str, Any], status: str, *, arrays: Mapping[str, Any] | None = None,
    epochs: Iterable[Any] | None = None, provenance: Mapping[str, Any] | None = None,
) -> dict[str, bytes]:  # fmt: skip
    """Return the files of a record, except its marker.

    Raises:
        ValueError: if a part of the record is of a wrong type.
    """
    if fault := shape_fault(kind, status, plain(config), plain(result), plain(provenance or {})):
        raise ValueError(f"{kind}: {fault}")
    files = {"config.json": config_json(kind, config), "provenance.json": as_json(provenance or {})}
    if epochs is not None:
        files["epochs.jsonl"] = "".join(canonical_json(row) + "\n" for row in epochs).encode()
    if arrays:
        files["arrays.npz"] = npz(arrays)
    return files


def write_folder(folder: Path, files: Mapping[str, bytes], marker: str, content: dict[str, Any]) -> None:
    """Write `files`, then the marker with their hashes; the former content stays until all bytes are on disk.

    Half a run is no run: the old marker is removed before the first file is put in place, and the new one comes last.
    Between the two there are only renames, which neither a full disk nor a signal except SIGKILL can interrupt.

    Raises:
        OSError: if it cannot be written; the former content is whole then, and nothing new is left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    last = marker_bytes({**content, "files": hashes})
    with ExitStack() as stack:
        ready = {name: stack.enter_context(temporary_file(folder / name, data)) for name, data in files.items()}
        ready[marker] = stack.enter_context(temporary_file(folder / marker, last))
        stack.enter_context(Ending.here().held_off())
        (folder / marker).unlink(missing_ok=True)
        for name, temporary in ready.items():
            os.replace(temporary, folder / name)
    _sync(folder)


def marker_bytes(content: Mapping[str, Any]) -> bytes:
    """Return the bytes of a marker, with the hash of its content."""
    blank = as_json({**content, "sha256": ""})
    return blank.replace(_own_hash(""), _own_hash(hashlib.sha256(blank).hexdigest()))


def _own_hash(sha: str) -> bytes:
    return f'\n "sha256": "{sha}"'.encode()


def _sync(folder: Path) -> None:
    if os.name == "nt":  # Windows opens no folders; its renames are in the journal
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_marker(path: str | Path) -> dict[str, Any]:
    """Return the content of a marker, compared with its own hash; older markers carry no hash.

    Raises:
        IntegrityError: if it is no marker, or was changed.
    """
    raw = read_checked(path)
    content = _object(raw, path)
    hashes = content.get("files")
    if not isinstance(hashes, dict) or not all(isinstance(sha, str) for sha in hashes.values()):
        raise _damaged(path, f"files = {hashes!r}: must name files and their hashes")
    if any(Path(name).name != name for name in hashes):
        raise _damaged(path, "it names files outside its folder")
    sha = content.get("sha256")
    if sha is not None and hashlib.sha256(raw.replace(_own_hash(str(sha)), _own_hash(""))).hexdigest() != sha:
        raise _damaged(path, "does not match its hash")
    return content


def read_checked(path: str | Path, sha: str | None = None) -> bytes:
    """Return the bytes of a file, compared with the hash it should have.

    Raises:
        IntegrityError: naming the file, if it is missing, unreadable or changed.
    """
    try:
        data = read_bytes(str(path))
    except OSError as error:
        raise _damaged(path, f"unreadable ({error.strerror or error})") from error
    if sha is not None and hashlib.sha256(data).hexdigest() != sha:
        raise _damaged(path, "does not match its hash")
    return data


def read_folder(folder: Path) -> Record | None:
    """Return the record of a folder, with every file compared with its hash; None if it holds no finished run.

    Raises:
        IntegrityError: naming the damaged file.
    """
    for attempt in range(TRIES):
        before = stamp(f"{folder}/{RESULT}")
        if before is None:
            return None
        try:
            return _read(folder)
        except IntegrityError:
            if stamp(f"{folder}/{RESULT}") == before or attempt == TRIES - 1:
                raise  # nobody has rewritten it meanwhile: a writer removes the marker first
    return None


def _read(folder: Path) -> Record:
    place = f"{folder}/"  # a path object a file would take longer than reading it
    done = read_marker(place + RESULT)
    hashes: dict[str, str] = done["files"]
    raw = {name: read_checked(place + name, sha) for name, sha in hashes.items()}
    config, provenance = (_object(raw.get(name, b""), place + name) for name in ("config.json", "provenance.json"))
    fault = record_fault({**done, **config, "provenance": provenance}, folder.name)
    named = done.get("evaluations", {})
    if not isinstance(named, dict) or not all(isinstance(one, str) for one in named.values()):
        fault = fault or "evaluations: must be ids by metric"
    if fault:
        raise _damaged(folder, fault)
    files: dict[str, Content] = {n: partial(read_checked, place + n, hashes[n]) for n in hashes if n in ON_DEMAND}
    return Record(
        done["run_id"], done["kind"], done["status"], config["config"], done["result"], provenance,
        schema=config["schema"], identity=config.get("identity", config["config"]), files=files,
        evaluations=named,
    )  # fmt: skip


def record_fault(parts: Mapping[str, Any], name: str) -> str:
    """Return what is wrong with the parts of a record; empty if nothing is.

    Args:
        parts: run id, kind, status, schema, config, identity, result and provenance; name: the id it stands under.
    """
    identity = parts.get("identity", parts.get("config"))  # the first schema hashed every setting
    types = {"run_id": str, "kind": str, "status": str, "result": dict, "config": dict, "provenance": dict}
    for key, kind in types.items():
        if not isinstance(parts.get(key), kind):
            return f"{key} = {str(parts.get(key))[:40]!r}: must be {'an object' if kind is dict else 'a text'}"
    if not FILE_NAME.fullmatch(parts["kind"]):  # tables are called by it
        return f"kind = {parts['kind'][:40]!r}: must be a name, no path"
    if parts["status"] not in STATUSES:
        return f"status = {parts['status'][:40]!r}: must be one of {', '.join(STATUSES)}"
    if not isinstance(identity, dict):
        return "its identity is not an object"
    if type(parts.get("schema")) is not int:
        return f"schema = {parts.get('schema')!r}: must be a whole number"
    hashed = run_id_of_read(parts["kind"], identity, parts["schema"])
    if hashed != name:
        return f"its config hashes to {hashed}"
    if parts["run_id"] != name:
        return f"says it is {parts['run_id'][:40]}"
    unlike = [one for one in identity if one in parts["config"] and type(identity[one]) in SCALARS
              and parts["config"][one] != identity[one]]  # fmt: skip
    if unlike:
        return f"its config and its identity differ in {unlike[0][:40]}"
    return shape_fault(*(parts[one] for one in ("kind", "status", "config", "result", "provenance")))


def set_aside(root: Path, folder: Path, reason: str) -> None:
    """Name a damaged folder and move it to `damaged/` of its store; if it cannot be moved, only name it."""
    place = root / "damaged" / f"{folder.parent.name}-{folder.name}"
    while place.exists():
        place = place.with_name(f"{place.name}-again")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(place)
    except FileNotFoundError:
        return  # another process has moved it
    except OSError:
        name_damage(reason)
        return
    name_damage(f"{reason}; moved to damaged/{place.name}")


def folder_faults(marker: Path) -> list[str]:
    """Return one line for every file of a folder that does not match its hash, or one for a wrong identity."""
    folder = marker.parent
    try:
        hashes: dict[str, str] = read_marker(marker)["files"]
    except IntegrityError as error:
        return [str(error)]
    faults = []
    for name, sha in hashes.items():
        try:
            read_checked(folder / name, sha)
        except IntegrityError as error:
            faults.append(str(error))
    return faults or _identity_faults(folder, marker)


def _identity_faults(folder: Path, marker: Path) -> list[str]:
    try:
        if marker.name == RESULT:
            _read(folder)
            return []
        config = _object(read_checked(folder / "config.json"), folder / "config.json")
        identity = run_id(config["kind"], config.get("identity", config["config"]), config["schema"])
        return [] if identity == folder.name else [f"{_shown(folder)}: its config hashes to {identity}"]
    except (IntegrityError, OSError, KeyError) as error:
        return [str(error)]


def _object(raw: bytes, path: str | Path) -> dict[str, Any]:
    try:
        found = read_json(raw)
    except ValueError as error:
        raise _damaged(path, f"unreadable ({str(error)[:80]})") from error
    if not isinstance(found, dict):
        raise _damaged(path, f"holds {str(found)[:20]!r}, not an object")
    return found


def _damaged(path: str | Path, what: str) -> IntegrityError:
    return IntegrityError(f"{_shown(Path(path))}: {what}")


def _shown(path: Path) -> str:
    """Return the end of a path, such as `runs/<id>/arrays.npz`, without the folders of the machine."""
    depth = 2 if len(path.name) == 16 and not path.suffix else 3
    return "/".join(path.parts[-depth:])
