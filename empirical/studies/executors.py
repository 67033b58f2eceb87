"""Compute runs one after the other, or in several processes; a failure costs only its own run.

A run is postponed while another process computes it or one of its stages. When only such runs are left, this process
waits. A signal or a time limit takes effect between two runs, inside a stage at its next checkpoint, and in a wait at
once.
"""

import multiprocessing
import os
import signal
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch

from empirical.runs.run import compute_run
from empirical.runs.unlearning import check_run
from empirical.runs.workspace import Workspace
from empirical.settings.keys import complete
from empirical.settings.run_config import RunConfig, Runtime
from repro.base.ending import Ending, Stopped, end_with_parent
from repro.base.errors import DiskFullError, ReproError, of_the_system
from repro.records.damage import collected, name_damage
from repro.records.identity import run_id
from repro.records.leases import Held, in_turn, pauses, sleep
from repro.records.store import Store

Groups = list[list[RunConfig]]


@dataclass
class GridReport:
    """How a grid ended.

    Attributes:
        done: ids of the runs computed now; found: ids of the runs that were there, or that another process computed.
        diverged: those of `done` that diverged.
        failed: message by run id; failure_code: exit code of the first failure; remaining: runs not reached.
        seconds: wall time; interrupted: whether a signal, the time limit or a full disk ended it.
        signal: the number of the signal that ended it, 0 for none.
        edges: searches whose best value is at an end of their grid; the study is unfinished then.
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
        """Record a failed run and its error message."""
        self.failed[identity] = str(error)
        self.failure_code = self.failure_code or error.exit_code

    def stops(self, stopped: Stopped) -> None:
        """Record that a signal or the time limit ended the grid."""
        self.interrupted, self.signal = True, self.signal or stopped.signal


def run_groups(
    groups: Groups, store: Store, runtime: Runtime, *, deadline: float | None = None, workers: int = 1
) -> GridReport:
    """Compute every group and return the joint report; all runs are validated before the first starts."""
    configs = [config for group in groups for config in group]
    for config in configs:
        check_run(config)
    workspace = Workspace(store, runtime, deadline, patient=False)
    # Processes that find every run there would each load torch for nothing.
    if workers <= 1 or sum(not _is_there(config, workspace) for config in configs) <= 1:
        return run_all(configs, workspace)
    return _in_processes(spread(groups, workers), workspace, workers)


def _is_there(config: RunConfig, workspace: Workspace) -> bool:
    """Return whether the store has a run with every metric; what cannot be read is left to the run's own attempt."""
    with suppress(ReproError, OSError):
        config = workspace.identified(config)
        found = workspace.store.find(workspace.runtime.kind, config)
        return found is not None and complete(found, config)
    return False


def spread(groups: Groups, workers: int) -> Groups:
    """Return the groups; the largest are halved until there is one for every process."""
    groups = list(groups)
    while groups and len(groups) < workers and max(map(len, groups)) > 1:
        groups.sort(key=len)
        last = groups.pop()
        groups += [last[: len(last) // 2], last[len(last) // 2 :]]
    return groups


def run_all(configs: list[RunConfig], workspace: Workspace, *, wait: bool = True) -> GridReport:
    """Compute runs one by one; after a failure the others go on, unless the disk is full.

    Raises:
        Held: when another process computes all remaining runs and `wait` is false.
    """
    report = GridReport(remaining=len(configs))

    def attempt(config: RunConfig) -> None:
        run_one(config, workspace, report)
        report.remaining -= 1
        if report.failure_code == DiskFullError.exit_code:
            raise Full

    try:
        in_turn(configs, attempt, wait=wait, deadline=workspace.deadline)
    except Full:
        report.interrupted = True
    except KeyboardInterrupt:
        report.stops(Stopped(signal.SIGINT))
    except Stopped as stopped:
        report.stops(stopped)
    return report


class Full(Exception):
    """The disk is full: no further run can be kept."""


def run_one(config: RunConfig, workspace: Workspace, report: GridReport) -> None:
    """Find or compute one run; an unexpected error becomes a `failed` record, which stays until it is retried.

    Raises:
        Held: when another process computes the run or one of its stages.
        Stopped: when the time is up and the run is not there.
    """
    kind, identity = workspace.runtime.kind, run_id(workspace.runtime.kind, config)
    try:
        config = workspace.identified(config)
        identity = run_id(kind, config)
        found = workspace.store.find(kind, config)
        if found is not None and complete(found, config):
            report.found.append(identity)
            return
        if found is not None and found.status == "failed" and not workspace.runtime.retry_failed:
            raise ReproError(f"{found.result.get('error', 'failed before')}; try it again with --retry-failed")
        if workspace.deadline is not None and time.time() >= workspace.deadline:
            raise Stopped(0)
        record, fresh = compute_run(config, workspace)
    except Held:
        raise
    except ReproError as error:
        report.fails(identity, error)
    except OSError as error:
        report.fails(identity, of_the_system(error))
    except Exception as error:  # noqa: BLE001 - any other error costs its own run only
        report.fails(identity, save_failure(config, workspace, error))
    else:
        (report.done if fresh else report.found).append(identity)
        report.diverged += [identity] * (fresh and record.status == "diverged")


def save_failure(config: RunConfig, workspace: Workspace, error: Exception) -> ReproError:
    """Save an unexpected error with its traceback as the run's record, and return it as one line."""
    line = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    result = {"error": line, "traceback": "".join(traceback.format_exception(error)), "labels": config.labels()}
    with suppress(ReproError, OSError):  # what cannot be kept is still reported
        config = workspace.identified(config)
        found = workspace.store.find(workspace.runtime.kind, config)
        if found is None or found.status == "failed":  # the numbers a run has already are worth more
            provenance = workspace.provenance()
            workspace.store.save(workspace.runtime.kind, config, result=result, status="failed", provenance=provenance)
    return ReproError(line)


class Killed(RuntimeError):
    """A process ended while it computed a run: it crashed or was killed, usually for memory."""


class Worker:
    """A process that gets one run after another and sends a report for each.

    Args:
        workspace: store, runtime and deadline; the process builds an equal workspace.
    """

    def __init__(self, workspace: Workspace) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.workspace = workspace
        settings = (workspace.store.root, workspace.runtime, workspace.deadline)
        self.process = context.Process(target=_work, args=(theirs, *settings), daemon=True)
        self.process.start()
        theirs.close()  # so that its death is an end of file here
        self.group: list[RunConfig] = []
        self.config: RunConfig | None = None

    def take(self, left: Groups) -> bool:
        """Send the next run of its group, or of the next group; return whether there was one."""
        if not self.group and left:
            self.group = list(left.pop())
        self.config = self.group.pop(0) if self.group else None
        if self.config is not None:
            with suppress(OSError):  # it died since: `answer` notices
                self.connection.send(self.config)
        return self.config is not None

    def answer(self) -> GridReport:
        """Wait for the report on its run and return it.

        Raises:
            Held: when another process computes the run or one of its stages.
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
        if isinstance(report, str):
            raise Held(report)
        return report

    def end(self) -> None:
        """Let the process end."""
        with suppress(OSError):
            self.connection.send(None)
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()


def one_a_gpu(workspace: Workspace, count: int) -> list[Workspace]:
    """Return the workspaces of `count` workers, which share the GPUs in turn.

    The cores that decode images are divided among them.
    """
    if workspace.device.type == "cuda" and not workspace.runtime.readers:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workspace = replace(workspace, runtime=replace(workspace.runtime, readers=max(1, cores // count)))
    gpus = torch.cuda.device_count() if workspace.device.type == "cuda" and workspace.device.index is None else 0
    if gpus < 2:
        return [workspace] * count
    devices = [f"cuda:{number % gpus}" for number in range(count)]
    return [replace(workspace, runtime=replace(workspace.runtime, device=device)) for device in devices]


def _in_processes(groups: Groups, workspace: Workspace, count: int) -> GridReport:
    """Keep every process busy with its own group; a process that dies loses its run and is replaced.

    A run that another process on the store computes comes after the rest, and is tried again after a pause.
    """
    report, left, later, due = GridReport(), list(reversed(groups)), [], 0.0
    crew = [Worker(one) for one in one_a_gpu(workspace, min(count, len(groups)))]
    pause = pauses()
    try:
        while True:
            report.interrupted |= report.failure_code == DiskFullError.exit_code
            if later and time.monotonic() >= due:
                left, later = [[config] for config in reversed(later)] + left, []
            if report.failure_code != DiskFullError.exit_code:
                for worker in crew:
                    _ = worker.config is None and worker.take(left)
            busy = [worker for worker in crew if worker.config is not None]
            if not busy and (report.interrupted or not later):
                break
            seconds = max(0.0, due - time.monotonic()) if later else None
            if not busy:
                sleep(seconds or 0.0, workspace.deadline)
            for worker in _heard(busy, seconds):
                postponed = len(later)
                crew[crew.index(worker)] = _settle(worker, later, report)
                if len(later) > postponed:
                    due = time.monotonic() + next(pause)
                else:
                    pause = pauses()
    except (KeyboardInterrupt, Stopped) as stopped:
        _stop(crew, report, stopped.signal if isinstance(stopped, Stopped) else signal.SIGINT)
    finally:
        report.remaining += len(later) + sum(map(len, left)) + sum(len(worker.group) for worker in crew)
        for worker in crew:
            worker.end()
    return report


def _heard(busy: list[Worker], seconds: float | None) -> list[Worker]:
    """Return the workers that sent a report or died; none if that takes longer than `seconds`."""
    by_connection: dict[Any, Worker] = {worker.connection: worker for worker in busy}
    return [by_connection[one] for one in wait(list(by_connection), seconds)] if busy else []


def _settle(worker: Worker, later: list[RunConfig], report: GridReport) -> Worker:
    """Record the run of a worker, or postpone it; return the worker that continues its group: a new one if it died."""
    config, worker.config = worker.config, None
    assert config is not None
    try:
        report.merge(worker.answer())
    except Held:
        later.append(config)
    except Killed as error:
        workspace = worker.workspace
        identity = run_id(workspace.runtime.kind, config)
        with suppress(ReproError):
            identity = run_id(workspace.runtime.kind, workspace.identified(config))
        report.fails(identity, save_failure(config, workspace, error))
        successor = Worker(workspace)
        successor.group, worker.group = worker.group, []
        return successor
    return worker


def _stop(crew: list[Worker], report: GridReport, number: int) -> None:
    """Send each worker SIGTERM once, and record what it reports before it ends."""
    report.interrupted, report.signal = True, report.signal or number
    for worker in crew:
        if worker.process.pid and worker.process.is_alive():
            os.kill(worker.process.pid, signal.SIGTERM)
    for worker in crew:
        if worker.config is not None:
            try:
                report.merge(worker.answer())
            except (Killed, Held):
                report.remaining += 1  # it sent no report: the run counts as not reached


def _work(connection: Connection, root: Path, runtime: Runtime, deadline: float | None) -> None:
    """Compute the runs that the parent sends; the parent handles Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Ending().listen(interrupt=False)
    end_with_parent()
    workspace = Workspace(Store(root), runtime, deadline, patient=False)
    with suppress(EOFError, OSError, Stopped):
        while (config := connection.recv()) is not None:
            with collected() as damage:
                try:
                    report = run_all([config], workspace, wait=False)
                except Held as held:
                    report = held.name
            connection.send((report, damage))
            if isinstance(report, GridReport) and report.signal:
                break
