"""Claims: who works on a run or a stage, so that many processes and machines share a store without a coordinator.

    <store>/claims/<name>.claim     host, process and token of whoever works on it, touched every `BEAT` seconds

A claim is made by exclusive creation and taken over by renames, so it holds where `flock` does not (NFS, some Lustre).
One whose owner is dead on this machine is taken over at once; any other one after `LEASE` seconds without a touch, by
the watcher's own clock: no clock needs to be right. Work is deterministic and written whole, so that an owner who was
only suspended, and wakes to find his claim taken, repeats work but spoils none.
"""

import math
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from repro.base.ending import TIME, Stopped
from repro.base.errors import IntegrityError
from repro.base.settings import file_name
from repro.records.folder import has_ended, process_tag

if TYPE_CHECKING:
    from filelock import SoftFileLease

T = TypeVar("T")
LEASE = 120.0  # seconds: longer than a network file system may show an old time of a file (60), and a touch
BEAT = 15.0
FIRST, LONGEST = 0.05, 2.0  # seconds between two looks at what others have in hand


class Held(Exception):
    """Somebody else works on it; nothing of it is done here.

    Args:
        name: of the claim.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is in another process's hands")
        self.name = name


@dataclass(frozen=True)
class Lease:
    """A claim as it stands in the store.

    Attributes:
        name: of the run or the stage; host, pid: of its owner.
        age: seconds since its last touch, by the file system's clock.
        gone: whether its owner looks dead: no such process here, or silent for `LEASE` seconds.
    """

    name: str
    host: str
    pid: int
    age: float
    gone: bool


class Claims:
    """The claims of one store, as one process sees them.

    Args:
        folder: where they are; created with the first.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._watched: dict[str, SoftFileLease] = {}  # others' claims, and since when each was seen untouched

    @contextmanager
    def hold(self, name: str, *, wait: bool = True, deadline: float | None = None) -> Iterator[None]:
        """Hold a claim inside the block.

        Args:
            name: of the run or stage.
            wait: for whoever holds it.
            deadline: how long, in seconds since the epoch; None is for ever.

        Raises:
            Held: when another process, or this one, holds it and `wait` is false.
            Stopped: at the deadline.
        """
        lease = self._watched.get(name) or self._lease(self._path(name))
        self._watched[name] = lease  # its clock goes on at the next look
        for pause in pauses():
            if _taken(lease):
                break
            if not wait:
                raise Held(name)
            sleep(pause, deadline)
        del self._watched[name]
        try:
            yield
        finally:
            lease.release()

    def all(self) -> list[Lease]:
        """Return every claim that stands, by name; those of dead owners are marked as gone."""
        files = sorted(self.folder.glob("*.claim"))
        now = _file_system_time(self.folder) if files else 0.0
        return [claim for path in files if (claim := self._seen(path, now)) is not None]

    def left_behind(self) -> list[Path]:
        """Return the files of claims that nobody has touched for long, and of takeovers that were killed half-way."""
        claims = [self.folder / f"{claim.name}.claim" for claim in self.all() if claim.age > LEASE]
        return [*claims, *(path for path in self.folder.glob("*.claim.*") if time.time() - path.stat().st_mtime > 3600)]

    def _path(self, name: str) -> Path:
        path = self.folder / f"{file_name('claim', name)}.claim"
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise IntegrityError(f"claims/{path.name}: no regular file; remove it")
        return path

    def _lease(self, path: Path) -> "SoftFileLease":
        from filelock import SoftFileLease

        self.folder.mkdir(parents=True, exist_ok=True)
        return SoftFileLease(path, lease_duration=LEASE, heartbeat_interval=BEAT)

    def _seen(self, path: Path, now: float) -> Lease | None:
        owner = self._lease(path).owner
        try:
            age = now - path.stat().st_mtime
        except OSError:
            return None  # given back meanwhile
        if owner is None:  # torn: its writer died at once
            return Lease(path.stem, "", 0, age, age > LEASE)
        dead = owner.hostname == socket.gethostname() and has_ended(owner.pid)
        return Lease(path.stem, owner.hostname, owner.pid, age, dead or age > LEASE)


def in_turn(
    items: Iterable[T], attempt: Callable[[T], None], *, wait: bool = True, deadline: float | None = None
) -> None:
    """Attempt every item; what others have in hand comes after the rest, and is waited for when nothing else is left.

    Args:
        items: what is to be done.
        attempt: does one, or raises `Held`; of items that one claim holds up, one is attempted a round.
        wait: for the last ones; otherwise they are left.
        deadline: how long, in seconds since the epoch.

    Raises:
        Held: when `wait` is false and only such are left.
        Stopped: at the deadline.
    """
    left: Iterable[tuple[T, str]] = ((item, "") for item in items)
    pause = pauses()
    while True:
        later: list[tuple[T, str]] = []
        blocked: set[str] = set()
        moved = False
        for item, name in left:
            try:
                if name in blocked:
                    raise Held(name)
                attempt(item)
                moved = True
            except Held as held:
                blocked.add(held.name)
                later.append((item, held.name))
        if not later:
            return
        if moved:
            pause = pauses()
        elif not wait:
            raise Held(later[0][1])
        else:
            sleep(next(pause), deadline)
        left = later


def pauses() -> Iterator[float]:
    """Yield how long to wait before each further look, in seconds."""
    pause = FIRST
    while True:
        yield pause
        pause = min(1.5 * pause, LONGEST)


def sleep(seconds: float, deadline: float | None = None) -> None:
    """Wait; a signal or Ctrl-C ends it at once.

    Raises:
        Stopped: at the deadline.
    """
    left = math.inf if deadline is None else deadline - time.time()
    time.sleep(max(0.0, min(seconds, left)))
    if left <= seconds:
        raise Stopped(TIME)


def _taken(lease: "SoftFileLease") -> bool:
    from filelock import Timeout

    try:
        lease.acquire(blocking=False)
    except Timeout:
        return False
    return True


def _file_system_time(folder: Path) -> float:
    """Return the time by the clock that stamps this folder's files, which may be another machine's."""
    probe = folder / f".time.{process_tag()}"
    try:
        probe.write_bytes(b"")
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        with suppress(OSError):
            probe.unlink()
