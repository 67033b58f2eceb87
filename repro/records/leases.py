"""Leases: who works on a run or a stage, so that many processes and machines share a store without a coordinator.

    <store>/claims/<name>.claim     host, process and token of the owner, touched every `BEAT` seconds

A lease is made by exclusive creation and taken over by renames, so it works where `flock` does not (NFS, some Lustre).
The lease of a process that died on this machine is taken over at once. Any other lease is taken over after `LEASE`
seconds without a touch, by the clock of whoever waits: no clock needs to be right. Work is deterministic and written
whole. So an owner who was only suspended, and finds its lease taken, repeats work but damages none.
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
from repro.base.files import has_ended, process_tag
from repro.base.settings import file_name

if TYPE_CHECKING:
    from filelock import SoftFileLease

T = TypeVar("T")
LEASE = 120.0  # seconds: longer than a network file system may show an old time of a file (60), and a touch
BEAT = 15.0
FIRST, LONGEST = 0.05, 2.0  # seconds between two looks at what others have in hand


class Held(Exception):
    """Another process holds the lease, so the work is not done here.

    Args:
        name: of the lease.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is in another process's hands")
        self.name = name


@dataclass(frozen=True)
class Lease:
    """A lease as it is in the store.

    Attributes:
        name: of the run or the stage.
        host, pid: machine and process of its owner.
        age: seconds since its last touch, by the file system's clock.
        gone: whether its owner seems dead: no such process here, or no touch for `LEASE` seconds.
    """

    name: str
    host: str
    pid: int
    age: float
    gone: bool


class Leases:
    """The leases of one store, as one process sees them.

    Args:
        folder: of their files; created with the first.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._watched: dict[str, SoftFileLease] = {}  # leases of others, each with the time since it was seen untouched

    @contextmanager
    def hold(self, name: str, *, wait: bool = True, deadline: float | None = None) -> Iterator[None]:
        """Hold a lease inside the block.

        Args:
            name: of the run or stage.
            wait: until its owner gives it back.
            deadline: when to stop waiting, in seconds since the epoch; None waits for ever.

        Raises:
            Held: if another process, or this one, holds it and `wait` is false.
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
        """Return every lease, ordered by name; those of dead owners are marked as gone."""
        files = sorted(self.folder.glob("*.claim"))
        now = _file_system_time(self.folder) if files else 0.0
        return [lease for path in files if (lease := self._seen(path, now)) is not None]

    def left_behind(self) -> list[Path]:
        """Return the files of leases that nobody has touched for long, and of takeovers that were interrupted."""
        old = [self.folder / f"{lease.name}.claim" for lease in self.all() if lease.age > LEASE]
        return [*old, *(path for path in self.folder.glob("*.claim.*") if time.time() - path.stat().st_mtime > 3600)]

    def _path(self, name: str) -> Path:
        path = self.folder / f"{file_name('lease', name)}.claim"
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
            return None  # given back in the meantime
        if owner is None:  # an incomplete file: its writer died
            return Lease(path.stem, "", 0, age, age > LEASE)
        dead = owner.hostname == socket.gethostname() and has_ended(owner.pid)
        return Lease(path.stem, owner.hostname, owner.pid, age, dead or age > LEASE)


def in_turn(
    jobs: Iterable[T], attempt: Callable[[T], None], *, wait: bool = True, deadline: float | None = None
) -> None:
    """Attempt every job; those that others work on come last, and are waited for when nothing else is left.

    Args:
        jobs: what is to be done.
        attempt: does one job, or raises `Held`; of jobs that wait for one lease, one is attempted per round.
        wait: for the last jobs; otherwise they are left.
        deadline: when to stop, in seconds since the epoch.

    Raises:
        Held: if `wait` is false and only jobs that others work on are left.
        Stopped: at the deadline.
    """
    left: Iterable[tuple[T, str]] = ((job, "") for job in jobs)
    pause = pauses()
    while True:
        later: list[tuple[T, str]] = []
        blocked: set[str] = set()
        moved = False
        for job, name in left:
            try:
                if name in blocked:
                    raise Held(name)
                attempt(job)
                moved = True
            except Held as held:
                blocked.add(held.name)
                later.append((job, held.name))
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
    """Yield the seconds to wait before each further look."""
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
    """Return the time by the clock that stamps the files of this folder; it may be another machine's."""
    probe = folder / f".time.{process_tag()}"
    try:
        probe.write_bytes(b"")
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        with suppress(OSError):
            probe.unlink()
