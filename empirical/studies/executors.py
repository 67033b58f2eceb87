"""Run groups of cells one after the other, or in several processes; Ctrl-C and a time limit end between two cells."""

import multiprocessing
import os
import signal
import time
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from empirical.runs.cell import check_cell
from empirical.runs.run import run
from empirical.runs.workspace import Workspace
from empirical.settings.keys import complete
from empirical.settings.run_config import RunConfig, Runtime
from repro.records.errors import ReproError
from repro.records.identity import run_id
from repro.records.store import Store

Groups = list[list[RunConfig]]


@dataclass
class GridReport:
    """How a grid ended.

    Attributes:
        done: run ids computed now; found: run ids that were there; diverged: those of `done` that diverged.
        failed: message by run id; failure_code: exit code of the first failure; remaining: cells not reached.
        seconds: wall time; interrupted: whether Ctrl-C or the time limit ended it.
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
    edges: list[str] = field(default_factory=list)

    def merge(self, other: "GridReport") -> None:
        """Add the outcome of a part of the grid."""
        for name in ("done", "found", "diverged"):
            getattr(self, name).extend(getattr(other, name))
        self.failed.update(other.failed)
        self.failure_code = self.failure_code or other.failure_code
        self.remaining += other.remaining
        self.interrupted |= other.interrupted


def run_groups(
    groups: Groups, store: Store, runtime: Runtime, *, deadline: float | None = None, workers: int = 1
) -> GridReport:
    """Compute every group and return the joint report; all cells are checked before the first starts."""
    cells = [cell for group in groups for cell in group]
    for cell in cells:
        check_cell(cell)
    if workers <= 1 or len(cells) <= 1:
        return run_cells(cells, store, runtime, deadline)
    return _in_processes(spread(groups, workers), store, runtime, deadline=deadline, workers=workers)


def spread(groups: Groups, workers: int) -> Groups:
    """Return the groups with the largest halved until every process has one; a shared stage is then waited for."""
    groups = list(groups)
    while groups and len(groups) < workers and max(map(len, groups)) > 1:
        groups.sort(key=len)
        last = groups.pop()
        groups += [last[: len(last) // 2], last[len(last) // 2 :]]
    return groups


def run_cells(cells: list[RunConfig], store: Store, runtime: Runtime, deadline: float | None) -> GridReport:
    """Compute cells in order; a failing one is reported and the rest go on."""
    report = GridReport()
    workspace = Workspace(store, runtime)
    reached = 0
    try:
        for cell in cells:
            if deadline is not None and time.time() >= deadline and not _is_there(cell, workspace):
                break
            _run_cell(cell, workspace, report)
            reached += 1
    except KeyboardInterrupt:
        report.interrupted = True
    report.remaining = len(cells) - reached
    report.interrupted |= report.remaining > 0
    return report


def _is_there(cell: RunConfig, workspace: Workspace) -> bool:
    config = workspace.identified(cell)
    found = workspace.store.find(workspace.runtime.kind, config)
    return found is not None and complete(found, config)


def _run_cell(cell: RunConfig, workspace: Workspace, report: GridReport) -> None:
    identity = run_id(workspace.runtime.kind, cell)
    try:
        identity = run_id(workspace.runtime.kind, workspace.identified(cell))
        if _is_there(cell, workspace):
            report.found.append(identity)
            return
        record = run(cell, workspace.store, workspace=workspace)
    except ReproError as error:
        report.failed[identity] = str(error)
        report.failure_code = report.failure_code or error.exit_code
        return
    report.done.append(identity)
    if record.status == "diverged":
        report.diverged.append(identity)


def _in_processes(
    groups: Groups, store: Store, runtime: Runtime, *, deadline: float | None, workers: int
) -> GridReport:
    """Hand a group to each idle process; none waits inside the pool, so that Ctrl-C leaves nothing behind to start."""
    report = GridReport()
    left, running = list(reversed(groups)), dict[Future[GridReport], int]()
    count = min(workers, len(groups))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context, initializer=_listen_to_parent) as pool:
        try:
            while left or running:
                while left and len(running) < count:
                    group = left.pop()
                    running[pool.submit(_run_group, group, store.root, runtime, deadline)] = len(group)
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    running.pop(future)
                    report.merge(future.result())
        except KeyboardInterrupt:
            _interrupt_children()
            for future, cells in running.items():
                report.merge(_last_words(future, cells))
            report.merge(GridReport(remaining=sum(map(len, left)), interrupted=True))
    return report


def _run_group(group: list[RunConfig], root: Path, runtime: Runtime, deadline: float | None) -> GridReport:
    return run_cells(group, Store(root), runtime, deadline)


def _listen_to_parent() -> None:
    """Leave Ctrl-C to the parent, which passes it on once, as SIGTERM: a second one would hit the clean-up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _last_words(future: Future[GridReport], cells: int) -> GridReport:
    """Return the report of an interrupted group; when its process died first, all its cells count as not reached."""
    try:
        return future.result()
    except BrokenExecutor:
        return GridReport(remaining=cells)


def _interrupt_children() -> None:
    """Interrupt the processes of the pool; a finished record is never touched."""
    for child in multiprocessing.active_children():
        if child.pid:
            os.kill(child.pid, signal.SIGTERM)
