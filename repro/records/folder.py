"""Files that are whole or absent, and whose content proves it: the folder of one record, and sealed caches.

A folder's marker is written last and carries the sha256 of every other file and of itself; every reader compares.
Every write is atomic: a reader sees the old bytes or the new ones, even after a crash.
"""

import errno
import hashlib
import json
import os
import socket
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

from repro.base.ending import Ending
from repro.base.errors import IntegrityError
from repro.base.settings import FILE_NAME
from repro.records.columns import read_json
from repro.records.identity import SCALARS, plain, run_id, run_id_of_read
from repro.records.record import ATTACHED, STATUSES, Content, Record
from repro.records.shape import shape_fault

RESULT = "result.json"
TRIES = 5  # times to read a folder that another process is rewriting
PROCESSES = Path("/proc")  # on Linux only
SEAL = 32  # bytes of the digest at the head of a sealed file


def replace_file(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old bytes or the new ones, even after a crash.

    Raises:
        OSError: if it cannot be written; no part of it is left then.
    """
    with _beside(path, data) as temporary:
        os.replace(temporary, path)


@contextmanager
def _beside(path: Path, data: bytes) -> Iterator[Path]:
    """Write bytes to a temporary file, which the block puts in place; it is removed if the block fails."""
    temporary = path.with_name(f".{path.name}.{process_tag()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@cache
def host_tag() -> str:
    """Return eight hexadecimal digits for this machine; a container with process numbers of its own has others."""
    numbers = Path("/proc/self/ns/pid")
    parts = socket.gethostname(), numbers.stat().st_ino if numbers.exists() else 0
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]


def process_tag() -> str:
    """Return the end of a temporary file's name; the machine is in it, because process numbers repeat on others."""
    return f"{host_tag()}.{os.getpid()}"


def has_ended(number: int | str) -> bool:
    """Return whether no process here has this number; False on a system that does not list processes."""
    return (PROCESSES / "self").exists() and not (PROCESSES / str(number)).exists()


def write_sealed(path: Path, data: bytes) -> None:
    """Write a file that starts with its own digest: a cache or a checkpoint."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, hashlib.sha256(data).digest() + data)


def read_sealed(path: Path) -> bytes | None:
    """Return the content of a sealed file; None if it is missing or damaged, so that it is made again."""
    try:
        raw = read_bytes(str(path))
    except OSError:
        return None
    seal, data = raw[:SEAL], raw[SEAL:]
    return data if hashlib.sha256(data).digest() == seal else None


def as_json(obj: Any) -> bytes:
    """Return a value as the bytes of a JSON file."""
    return (json.dumps(plain(obj), indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def write_folder(folder: Path, files: Mapping[str, bytes], marker: str, content: dict[str, Any]) -> None:
    """Write `files`, then the marker with their hashes; the former content stays until all bytes are on disk.

    Half a run is no run: the old marker is removed before the first file is put in place, and the new one comes last.
    Between the two there are only renames, which neither a full disk nor a signal except SIGKILL can interrupt.

    Raises:
        OSError: if it cannot be written; the former content is whole then, and nothing new is left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    sealed = sealed_marker({**content, "files": hashes})
    with ExitStack() as stack:
        ready = {name: stack.enter_context(_beside(folder / name, data)) for name, data in files.items()}
        ready[marker] = stack.enter_context(_beside(folder / marker, sealed))
        stack.enter_context(Ending.here().held_off())
        (folder / marker).unlink(missing_ok=True)
        for name, temporary in ready.items():
            os.replace(temporary, folder / name)
    _sync(folder)


def sealed_marker(content: Mapping[str, Any]) -> bytes:
    """Return the bytes of a marker, with the hash of its content."""
    blank = as_json({**content, "sha256": ""})
    return blank.replace(_seal(""), _seal(hashlib.sha256(blank).hexdigest()))


def _seal(sha: str) -> bytes:
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
    if sha is not None and hashlib.sha256(raw.replace(_seal(str(sha)), _seal(""))).hexdigest() != sha:
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


def read_bytes(path: str) -> bytes:
    """Return the bytes of a file; without a file object, which takes longer to make than a small file to read.

    Raises:
        OSError: if it cannot be read; a pipe is refused, not waited for.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "no regular file", path)
        size = status.st_size
        data = os.read(descriptor, size + 1)
        while len(data) < size and (more := os.read(descriptor, size - len(data))):
            data += more
        return data
    finally:
        os.close(descriptor)


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
    files: dict[str, Content] = {n: partial(read_checked, place + n, hashes[n]) for n in hashes if n in ATTACHED}
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


def stamp(path: str) -> tuple[int, int, int] | None:
    """Return number, size in bytes and time of change of a file, which tell that it was rewritten; None without one."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _damaged(path: str | Path, what: str) -> IntegrityError:
    return IntegrityError(f"{_shown(Path(path))}: {what}")


def _shown(path: Path) -> str:
    """Return the end of a path, such as `runs/<id>/arrays.npz`, without the folders of the machine."""
    depth = 2 if len(path.name) == 16 and not path.suffix else 3
    return "/".join(path.parts[-depth:])
