"""Files that are whole or absent, and damage that is named.

Every write is atomic: a reader sees the old bytes or the new ones, even after a crash. A damaged file is named by one
line on the log `repro.damage`, which commands and workers collect.
"""

import errno
import hashlib
import logging
import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

LOG = logging.getLogger("repro.damage")
PROCESSES = Path("/proc")  # on Linux only
SHA = 32  # bytes of the checksum at the head of a file


def replace_file(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old bytes or the new ones, even after a crash.

    Raises:
        OSError: if it cannot be written; no part of it is left then.
    """
    with temporary_file(path, data) as temporary:
        os.replace(temporary, path)


@contextmanager
def temporary_file(path: Path, data: bytes) -> Iterator[Path]:
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


def write_with_checksum(path: Path, data: bytes) -> None:
    """Write a file that starts with the checksum of the rest: a cache or a checkpoint."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, hashlib.sha256(data).digest() + data)


def read_with_checksum(path: Path) -> bytes | None:
    """Return what follows the checksum of a file; None if it is missing or damaged, so that it is made again."""
    try:
        raw = read_bytes(str(path))
    except OSError:
        return None
    return raw[SHA:] if hashlib.sha256(raw[SHA:]).digest() == raw[:SHA] else None


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


def stamp(path: str) -> tuple[int, int, int] | None:
    """Return number, size in bytes and time of change of a file, which tell that it was rewritten; None without one."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def name_damage(line: str) -> None:
    """Name one damaged file; the caller goes on with the rest."""
    LOG.warning("%s", line)


class _Collector(logging.Handler):
    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if line not in self.lines:  # readers read some files more than once
            self.lines.append(line)
            self.tell(line)


@contextmanager
def collect_damage(tell: Callable[[str], None] = lambda line: None) -> Iterator[list[str]]:
    """Give a list of every damage that is named inside, each once; `tell` hears each as it comes."""
    collector = _Collector(tell)
    passes_on, LOG.propagate = LOG.propagate, False
    LOG.addHandler(collector)
    try:
        yield collector.lines
    finally:
        LOG.removeHandler(collector)
        LOG.propagate = passes_on
