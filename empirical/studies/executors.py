"""Run groups of cells one after the other, or in several processes; what fails costs its own cell only.

A signal or a time limit ends between two cells, and inside a stage at its next checkpoint.
"""

import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from empirical.runs.cell import check_cell
from empirical.runs.run import compute
from empirical.runs.workspace import Workspace
from empirical.settings.keys import complete
from empirical.settings.run_config import RunConfig, Runtime
from repro.base.ending import Ending, Stopped, end_with_parent
from repro.base.errors import DiskFullError, ReproError, of_the_system
from repro.records.damage import collected, name_damage
from repro.records.identity import run_id
from repro.records.store import Store

Groups = list[list[RunConfig]]


@dataclass
class GridReport:
    """How a grid ended.

    Attributes:
        done: run ids computed now; found: run ids that were there; diverged: those of `done` that diverged.
        failed: message by run id; failure_code: exit code of the first failure; remaining: cells not reached.
        seconds: wall time; interrupted: whether a signal, the time limit or a full disk ended it.
        signal: the number of the signal that ended it, 0 for none.
        edges: choices whose winner stands on an edge of its grid, which leaves the study unfinished.
    """

    done: list[str] = field(default_factory=list)
    found: list[str] = field(default_factory=list)
    diverged: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    failure_code: int = 0
    remaining: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    signal: int = 0
    edges: list[str] = field(default_factory=list)

    def merge(self, other: "GridReport") -> None:
        """Add the outcome of a part of the grid."""
        for name in ("done", "found", "diverged"):
            getattr(self, name).extend(getattr(other, name))
        self.failed.update(other.failed)
        self.failure_code = self.failure_code or other.failure_code
        self.remaining += other.remaining
        self.interrupted |= other.interrupted
        self.signal = self.signal or other.signal

    def fails(self, identity: str, error: ReproError) -> None:
        """Count a cell whose error says what to do about it."""
        self.failed[identity] = str(error)
        self.failure_code = self.failure_code or error.exit_code

    def stops(self, stopped: Stopped, remaining: int) -> None:
        """Count what a signal or the time limit left."""
        self.interrupted, self.signal = True, self.signal or stopped.signal
        self.remaining += remaining


def run_groups(
    groups: Groups, store: Store, runtime: Runtime, *, deadline: float | None = None, workers: int = 1
) -> GridReport:
    """Compute every group and return the joint report; all cells are checked before the first starts."""
    cells = [cell for group in groups for cell in group]
    for cell in cells:
        check_cell(cell)
    if workers <= 1 or len(cells) <= 1:
        return run_cells(cells, Workspace(store, runtime, deadline))
    return _in_processes(spread(groups, workers), Workspace(store, runtime, deadline), workers)


def spread(groups: Groups, workers: int) -> Groups:
    """Return the groups with the largest halved until every process has one; a shared stage is then waited for."""
    groups = list(groups)
    while groups and len(groups) < workers and max(map(len, groups)) > 1:
        groups.sort(key=len)
        last = groups.pop()
        groups += [last[: len(last) // 2], last[len(last) // 2 :]]
    return groups


def run_cells(cells: list[RunConfig], workspace: Workspace) -> GridReport:
    """Compute cells in order; a failing one is reported and the rest go on, unless the disk is full."""
    report = GridReport()
    reached = 0
    try:
        for cell in cells:
            run_cell(cell, workspace, report)
            reached += 1
            if report.failure_code == DiskFullError.exit_code:
                report.interrupted = True
                break
        report.remaining = len(cells) - reached
    except KeyboardInterrupt:
        report.stops(Stopped(signal.SIGINT), len(cells) - reached)
    except Stopped as stopped:
        report.stops(stopped, len(cells) - reached)
    return report


def run_cell(cell: RunConfig, workspace: Workspace, report: GridReport) -> None:
    """Find or compute one cell. An error nobody expected becomes a `failed` record, which is left until it is retried.

    Raises:
        Stopped: when the time is up and the cell is not there.
    """
    kind, identity = workspace.runtime.kind, run_id(workspace.runtime.kind, cell)
    try:
        config = workspace.identified(cell)
        identity = run_id(kind, config)
        found = workspace.store.find(kind, config)
        if found is not None and complete(found, config):
            report.found.append(identity)
            return
        if found is not None and found.status == "failed" and not workspace.runtime.retry_failed:
            raise ReproError(f"{found.result.get('error', 'failed before')}; try it again with --retry-failed")
        if workspace.deadline is not None and time.time() >= workspace.deadline:
            raise Stopped(0)
        record = compute(config, workspace)
    except ReproError as error:
        report.fails(identity, error)
    except OSError as error:
        report.fails(identity, of_the_system(error))
    except Exception as error:  # noqa: BLE001 - any other error costs its own cell only
        report.fails(identity, save_failure(cell, workspace, error))
    else:
        report.done.append(identity)
        report.diverged += [identity] * (record.status == "diverged")


def save_failure(cell: RunConfig, workspace: Workspace, error: Exception) -> ReproError:
    """Keep a cell's unexpected error as its record, traceback included, and return it as one line."""
    line = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    result = {"error": line, "traceback": "".join(traceback.format_exception(error)), "labels": cell.labels()}
    with suppress(ReproError, OSError):  # what cannot be kept is still reported
        config = workspace.identified(cell)
        found = workspace.store.find(workspace.runtime.kind, config)
        if found is None or found.status == "failed":  # the numbers a run has already are worth more
            provenance = workspace.provenance()
            workspace.store.save(workspace.runtime.kind, config, result=result, status="failed", provenance=provenance)
    return ReproError(line)


class Killed(RuntimeError):
    """A process that died under a cell: killed from outside, most often for memory, or crashed."""


class Worker:
    """A process that is sent one cell after another and answers each with a report.

    Args:
        workspace: store, runtime and deadline; the process has a workspace of its own like it.
    """

    def __init__(self, workspace: Workspace) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        settings = (workspace.store.root, workspace.runtime, workspace.deadline)
        self.process = context.Process(target=_work, args=(theirs, *settings), daemon=True)
        self.process.start()
        theirs.close()  # so that its death is an end of file here
        self.group: list[RunConfig] = []
        self.cell: RunConfig | None = None

    def take(self, left: Groups) -> bool:
        """Send the next cell of the group in hand, or of the next group; return whether there was one."""
        if not self.group and left:
            self.group = list(left.pop())
        self.cell = self.group.pop(0) if self.group else None
        if self.cell is not None:
            with suppress(OSError):  # it died since: `answer` notices
                self.connection.send(self.cell)
        return self.cell is not None

    def answer(self) -> GridReport:
        """Return the report on the cell in hand, waiting for it.

        Raises:
            Killed: when the process died first.
        """
        try:
            report, damage = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode or 0
            how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
            raise Killed(f"its process was {how}; memory may have run out") from None
        for line in damage:
            name_damage(line)
        return report

    def end(self) -> None:
        """Let the process go home."""
        with suppress(OSError):
            self.connection.send(None)
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()


def _in_processes(groups: Groups, workspace: Workspace, count: int) -> GridReport:
    """Keep every process busy with a group of its own; one that dies costs its cell and is replaced."""
    report = GridReport()
    left = list(reversed(groups))
    crew = [Worker(workspace) for _ in range(min(count, len(groups)))]
    try:
        busy = [worker for worker in crew if worker.take(left)]
        while busy:
            for worker in _heard(busy):
                place = crew.index(worker)
                crew[place] = _settle(worker, workspace, report)
                busy.remove(worker)
                full = report.failure_code == DiskFullError.exit_code
                if not full and crew[place].take(left):
                    busy.append(crew[place])
                report.interrupted |= full
    except (KeyboardInterrupt, Stopped) as stopped:
        _stop(crew, report, stopped.signal if isinstance(stopped, Stopped) else signal.SIGINT)
    finally:
        report.remaining += sum(map(len, left)) + sum(len(worker.group) for worker in crew)
        for worker in crew:
            worker.end()
    return report


def _heard(busy: list[Worker]) -> Iterator[Worker]:
    """Yield the workers that have something to say, or died."""
    by_connection: dict[Any, Worker] = {worker.connection: worker for worker in busy}
    yield from [by_connection[one] for one in wait(list(by_connection))]


def _settle(worker: Worker, workspace: Workspace, report: GridReport) -> Worker:
    """Count the cell a worker had, and return who goes on with its group: itself, or a new one when it died."""
    cell, worker.cell = worker.cell, None
    try:
        report.merge(worker.answer())
    except Killed as error:
        if cell is not None:
            identity = run_id(workspace.runtime.kind, cell)
            with suppress(ReproError):
                identity = run_id(workspace.runtime.kind, workspace.identified(cell))
            report.fails(identity, save_failure(cell, workspace, error))
        successor = Worker(workspace)
        successor.group, worker.group = worker.group, []
        return successor
    return worker


def _stop(crew: list[Worker], report: GridReport, number: int) -> None:
    """Pass a signal on once, as SIGTERM, and count what each worker says before it ends."""
    report.interrupted, report.signal = True, report.signal or number
    for worker in crew:
        if worker.process.pid and worker.process.is_alive():
            os.kill(worker.process.pid, signal.SIGTERM)
    for worker in crew:
        if worker.cell is not None:
            try:
                report.merge(worker.answer())
            except Killed:
                report.remaining += 1  # it had nothing left to say: the cell counts as not reached


def _work(connection: Connection, root: Path, runtime: Runtime, deadline: float | None) -> None:
    """Compute cells until there are none: the life of a worker. Ctrl-C is the parent's to hear."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Ending().listen(interrupt=False)
    end_with_parent()
    workspace = Workspace(Store(root), runtime, deadline)
    with suppress(EOFError, OSError, Stopped):
        while (cell := connection.recv()) is not None:
            with collected() as damage:
                report = run_cells([cell], workspace)
            connection.send((report, damage))
            if report.signal:
                break
