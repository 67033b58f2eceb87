"""Run groups of cells one after the other, or in several processes; Ctrl-C and a time limit end between two cells."""

import multiprocessing
import os
import signal
import time
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from pathlib import Path

from empirical.runs.cells import check_cell
from empirical.runs.run import run
from empirical.runs.workspace import Workspace
from empirical.settings.run_config import RunConfig, Runtime
from empirical.studies.grid import GridReport
from repro.records.errors import ReproError
from repro.records.progress import track
from repro.records.store import Store, run_id

Groups = list[list[RunConfig]]


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
        for cell in track(cells, runtime.study or "cells"):
            if deadline is not None and time.time() >= deadline and store.find(runtime.kind, cell) is None:
                break
            _run_cell(cell, workspace, report)
            reached += 1
    except KeyboardInterrupt:
        report.interrupted = True
    report.remaining = len(cells) - reached
    report.interrupted |= report.remaining > 0
    return report


def _run_cell(cell: RunConfig, workspace: Workspace, report: GridReport) -> None:
    kind = workspace.runtime.kind
    identity = run_id(kind, cell)
    if workspace.store.find(kind, cell) is not None:
        report.found.append(identity)
        return
    try:
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
