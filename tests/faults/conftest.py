"""What the fault tests share: victims to kill, and the processes of a session."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


class Victims:
    """Grids run by forks of one process: start one, kill it in some way, hear its exit code."""

    def __init__(self, log: Path) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("REPRO_")}
        environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        self.log = log.open("w")
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("victim.py"))], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self.log, text=True, env=environment,
        )  # fmt: skip

    def start(
        self, store: Path, *, workers: int = 1, epochs: int = 2, seeds: int = 2, seconds: float | None = None
    ) -> int:
        """Start a grid and return the pid of its main process, which leads a session of its own."""
        request = {"store": str(store), "workers": workers, "epochs": epochs, "seeds": seeds, "seconds": seconds}
        self._stdin().write(json.dumps(request) + "\n")
        self._stdin().flush()
        return int(self._line())

    def wait(self) -> int:
        """Return the exit code of the grid; minus the signal that killed it."""
        return int(self._line())

    def close(self) -> None:
        self._stdin().close()
        self.process.wait(60)
        if self.process.stdout:
            self.process.stdout.close()
        self.log.close()

    def _stdin(self) -> Any:
        assert self.process.stdin is not None
        return self.process.stdin

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, Path(self.log.name).read_text()
        return line


def members(session: int) -> list[int]:
    """Return the processes of a session that are alive, the leader apart."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != session:
            with suppress(OSError, ValueError):
                state, _, _, own = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                found += [int(entry.name)] * (int(own) == session and state != "Z")
    return found


def end_of(session: int, limit: float) -> float:
    """Return after how many seconds a session has no process left; fail after the limit."""
    started = time.monotonic()
    while members(session):
        assert time.monotonic() - started < limit, f"{members(session)} outlived their parent by {limit} s"
        time.sleep(0.05)
    return time.monotonic() - started


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def kill_group(pid: int, number: int = signal.SIGKILL) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, number)


@pytest.fixture
def victims(tmp_path: Path) -> Iterator[Victims]:
    found = Victims(tmp_path / "victims.log")
    yield found
    found.close()
