"""Run groups of cells one after the other, or in several processes; Ctrl-C and a time limit end between two cells."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

from empirical.cells import check_cell
from empirical.config import RunConfig, Runtime
from empirical.grid import KIND, GridReport
from empirical.pipeline import run
from empirical.workspace import Workspace
from repro.errors import ReproError
from repro.progress import track
from repro.store import Store, run_id

Groups = list[list[RunConfig]]


def run_groups(
    groups: Groups, store: Store, runtime: Runtime, *, deadline: float | None = None, workers: int = 1
) -> GridReport:
    """Compute every group and return the joint report; all cells are checked before the first starts."""
    for cell in (cell for group in groups for cell in group):
        check_cell(cell)
    if workers <= 1 or len(groups) == 1:
        cells = [cell for group in groups for cell in group]
        return run_cells(cells, store, runtime, deadline)
    return _in_processes(groups, store, runtime, deadline=deadline, workers=workers)


def run_cells(cells: list[RunConfig], store: Store, runtime: Runtime, deadline: float | None) -> GridReport:
    """Compute cells in order; a failing one is reported and the rest go on."""
    report = GridReport()
    workspace = Workspace(store, runtime)
    reached = 0
    try:
        for cell in track(cells, runtime.study or "cells"):
            if deadline is not None and time.time() >= deadline and store.find(KIND, cell) is None:
                break
            _run_cell(cell, workspace, report)
            reached += 1
    except KeyboardInterrupt:
        report.interrupted = True
    report.remaining = len(cells) - reached
    report.interrupted |= report.remaining > 0
    return report


def _run_cell(cell: RunConfig, workspace: Workspace, report: GridReport) -> None:
    identity = run_id(KIND, cell)
    if workspace.store.find(KIND, cell) is not None:
        report.found.append(identity)
        return
    try:
        record = run(cell, workspace.store, workspace=workspace)
    except ReproError as error:
        report.failed[identity] = str(error)
        return
    report.done.append(identity)
    if record.status == "diverged":
        report.diverged.append(identity)


def _in_processes(
    groups: Groups, store: Store, runtime: Runtime, *, deadline: float | None, workers: int
) -> GridReport:
    report = GridReport()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(groups)), mp_context=context) as pool:
        futures = [pool.submit(_run_group, group, store.root, runtime, deadline) for group in groups]
        try:
            for future in track(futures, runtime.study or "groups"):
                report.merge(future.result())
        except KeyboardInterrupt:
            _stop(futures)
            report = GridReport(interrupted=True)
            for future, group in zip(futures, groups, strict=True):
                report.merge(GridReport(remaining=len(group)) if future.cancelled() else future.result())
    return report


def _run_group(group: list[RunConfig], root: Path, runtime: Runtime, deadline: float | None) -> GridReport:
    return run_cells(group, Store(root), runtime, deadline)


def _stop(futures: Iterable[Future[GridReport]]) -> None:
    """Cancel what has not started and interrupt what has; a finished record is never touched."""
    for future in futures:
        future.cancel()
    for child in multiprocessing.active_children():
        if child.pid:
            os.kill(child.pid, signal.SIGINT)
