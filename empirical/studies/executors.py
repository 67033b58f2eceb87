"""One loop computes runs, in this process, in workers and in the jobs of a cluster: whoever gets a run's lease has it.

A run is postponed while another process computes it or one of its stages. When only such runs are left, this process
waits. A failure costs only its own run. A signal or a time limit takes effect between two runs, inside a stage at its
next checkpoint, and in a wait at once.
"""

import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import accumulate
from multiprocessing.connection import Connection, wait
from pathlib import Path

import torch

from empirical.runs.resources import Resources
from empirical.runs.run import compute_run
from empirical.settings.keys import complete
from empirical.settings.run_config import RunConfig, Runtime
from repro.base.ending import Ending, Stopped, end_with_parent
from repro.base.errors import DiskFullError, ReproError, of_the_system
from repro.base.files import collect_damage, name_damage
from repro.records.identity import run_id
from repro.records.leases import Held, in_turn
from repro.records.record import Record
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

    @property
    def ended(self) -> set[str]:
        """The ids of the runs that are done, found or failed."""
        return {*self.done, *self.found, *self.failed}

    def merge(self, other: "GridReport") -> None:
        """Add the outcome of a part; of a run that several processes tried, done counts most, then what came first."""
        ended = self.ended
        self.failure_code = self.failure_code or (other.failure_code if other.failed.keys() - ended else 0)
        self.failed |= {one: message for one, message in other.failed.items() if one not in ended}
        self.failed = {one: message for one, message in self.failed.items() if one not in other.done}
        self.failure_code *= bool(self.failed)
        self.found = [one for one in self.found if one not in other.done]
        self.found += [one for one in other.found if one not in ended]
        self.done += other.done
        self.diverged += other.diverged
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
    """Compute every group of runs that `check_run` has passed, and return one report for all."""
    configs = [config for group in groups for config in group]
    resources = Resources(store, runtime, deadline, patient=False)
    if workers == 1:
        return run_all(configs, resources)
    # Workers get what is missing: each that finds every run there would load torch for nothing.
    there = {id(config): _found(config, store, runtime.kind) for config in configs}
    missing = [part for group in groups if (part := [config for config in group if not there[id(config)]])]
    count = min(workers, sum(map(len, missing)))
    report = (
        _in_processes(missing, resources, count)
        if count > 1
        else run_all([one for part in missing for one in part], resources)
    )
    report.merge(GridReport(found=[identity for identity in there.values() if identity]))
    return report


def _found(config: RunConfig, store: Store, kind: str) -> str | None:
    """Return the id of a run that the store has with every metric; what cannot be read is left to the run's attempt."""
    with suppress(ReproError, OSError):
        found = store.find(kind, config)
        return found.run_id if found is not None and complete(found, config) else None
    return None


def run_all(
    configs: list[RunConfig], resources: Resources,
    tell: Callable[[RunConfig | None, GridReport], None] = lambda config, report: None,
) -> GridReport:  # fmt: skip
    """Compute the runs that nobody else has, one by one; after a failure the others go on, unless the disk is full.

    Args:
        configs: the runs, in the order in which they are tried.
        resources: store, runtime and deadline.
        tell: called with each run that begins, and with None and its report when it has ended or another process
            turned out to have it.
    """
    whole = GridReport(remaining=len(configs))

    def attempt(config: RunConfig) -> None:
        report = GridReport()
        tell(config, report)
        try:
            run_one(config, resources, report)
        finally:
            tell(None, report)
        whole.merge(report)
        whole.remaining -= 1
        if report.failure_code == DiskFullError.exit_code:
            raise Full

    try:
        in_turn(configs, attempt, deadline=resources.deadline)
    except Full:
        whole.interrupted = True
    except KeyboardInterrupt:
        whole.stops(Stopped(signal.SIGINT))
    except Stopped as stopped:
        whole.stops(stopped)
    return whole


class Full(Exception):
    """The disk is full: no further run can be saved."""


def run_one(config: RunConfig, resources: Resources, report: GridReport) -> None:
    """Find or compute one run; an unexpected error becomes a `failed` record, which stays until it is retried.

    Raises:
        Held: when another process computes the run or one of its stages.
        Stopped: when the time is up and the run is not there.
    """
    kind, identity = resources.runtime.kind, run_id(resources.runtime.kind, config)
    try:
        config = resources.identified(config)
        identity = run_id(kind, config)
        found = resources.store.find(kind, config)
        if found is not None and complete(found, config):
            report.found.append(identity)
            return
        if found is not None and found.status == "failed" and not _retried(found, resources):
            raise ReproError(f"{found.result.get('error', 'failed before')}; try it again with --retry-failed")
        if resources.deadline is not None and time.time() >= resources.deadline:
            raise Stopped(0)
        record, fresh = compute_run(config, resources)
    except Held:
        raise
    except ReproError as error:
        report.fails(identity, error)
    except OSError as error:
        report.fails(identity, of_the_system(error))
    except Exception as error:  # noqa: BLE001 - any other error costs its own run only
        report.fails(identity, save_failure(config, resources, error))
    else:
        (report.done if fresh else report.found).append(identity)
        report.diverged += [identity] * (fresh and record.status == "diverged")


def _retried(failed: Record, resources: Resources) -> bool:
    """Return whether a failed run is tried again: if that is asked for, once, whichever process does it."""
    ended = datetime.fromisoformat(failed.provenance["finished"]).timestamp()
    return resources.runtime.retry_failed and ended < resources.since


def save_failure(config: RunConfig, resources: Resources, error: Exception) -> ReproError:
    """Save an unexpected error with its traceback as the run's record, and return it as one line."""
    line = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    result = {"error": line, "traceback": "".join(traceback.format_exception(error)), "labels": config.tags()}
    with suppress(ReproError, OSError):  # what cannot be kept is still reported
        config = resources.identified(config)
        found = resources.store.find(resources.runtime.kind, config)
        if found is None or found.status == "failed":  # the numbers a run has already are worth more
            provenance = resources.provenance()
            resources.store.save(resources.runtime.kind, config, result=result, status="failed", provenance=provenance)
    return ReproError(line)


class Killed(RuntimeError):
    """A process ended while it computed a run: it crashed or was killed, usually for memory."""


class Worker:
    """A process that computes the runs that nobody else has, and says which it begins and how each ended.

    Args:
        resources: store, runtime and deadline; the process builds its own for the same store.
        configs: the runs, in the order in which it tries them.
    """

    def __init__(self, resources: Resources, configs: list[RunConfig]) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe(duplex=False)
        self.resources, self.configs = resources, configs
        self.config: RunConfig | None = None  # what it has in hand
        settings = (resources.store.root, resources.runtime, resources.deadline, resources.since)
        self.process = context.Process(target=_work, args=(theirs, configs, *settings), daemon=True)
        self.process.start()
        theirs.close()  # so that its death is an end of file here

    def killed(self) -> Killed:
        """Return how it died, as an error of the run that it had in hand."""
        self.process.join()
        code = self.process.exitcode or 0
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return Killed(f"its process was {how}; memory may have run out")

    def end(self) -> None:
        """Let the process end, at its next checkpoint if that comes within five seconds."""
        self.process.terminate()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()


def one_a_gpu(resources: Resources, count: int) -> list[Resources]:
    """Return the resources of `count` workers, which share the GPUs in turn.

    The cores that decode images are divided among them.
    """
    if resources.device.type == "cuda" and not resources.runtime.readers:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        resources = replace(resources, runtime=replace(resources.runtime, readers=max(1, cores // count)))
    gpus = torch.cuda.device_count() if resources.device.type == "cuda" and resources.device.index is None else 0
    if gpus < 2:
        return [resources] * count
    devices = [f"cuda:{number % gpus}" for number in range(count)]
    return [replace(resources, runtime=replace(resources.runtime, device=device)) for device in devices]


def _in_processes(groups: Groups, resources: Resources, count: int) -> GridReport:
    """Return the report of several processes; each begins at another group, and one that dies is replaced."""
    configs, report = [config for group in groups for config in group], GridReport()
    every = len({run_id(resources.runtime.kind, config) for config in configs})  # one run may be asked for two metrics
    pairs = zip(one_a_gpu(resources, count), starts(groups, count), strict=True)
    crew = [Worker(one, configs[start:] + configs[:start]) for one, start in pairs]
    try:
        try:
            # What a worker has in hand is waited for: another one may have found that run before its report came.
            while crew and (len(report.ended) < len(configs) or any(worker.config for worker in crew)):
                _hear(crew, report)
            # Processes that die before they come to a run are not replaced.
            if len(report.ended) < every and not report.interrupted:
                report.merge(run_all(configs, resources))
        except (KeyboardInterrupt, Stopped) as stopped:
            report.stops(stopped if isinstance(stopped, Stopped) else Stopped(signal.SIGINT))
            for worker in crew:
                worker.process.terminate()
            while crew:  # until each has written its checkpoint
                _hear(crew, report)
    finally:
        report.remaining = every - len(report.ended)
        for worker in crew:
            worker.end()
    return report


def starts(groups: Groups, count: int) -> list[int]:
    """Return the places in all groups at which `count` processes begin: each at a group, if there are enough."""
    heads = [0, *accumulate(map(len, groups))]
    places = heads[:-1] if len(groups) >= count else range(heads[-1])
    return [places[len(places) * number // count] for number in range(count)]


def _hear(crew: list[Worker], report: GridReport) -> None:
    """Take what the workers say; one that died over a run has lost it, and another one goes on in its place."""
    for connection in wait([worker.connection for worker in crew]):
        worker = next(one for one in crew if one.connection is connection)
        try:
            worker.config, part, damage = worker.connection.recv()
        except (EOFError, OSError):
            crew.remove(worker)
            if worker.config is not None and not report.interrupted:
                crew.append(_successor(worker, report))
            continue
        for line in damage:
            name_damage(line)
        report.merge(part)


def _successor(worker: Worker, report: GridReport) -> Worker:
    """Record the run that a dead worker had in hand as failed, and return a worker that goes on with the others.

    It never tries that run, because a run that has numbers is not recorded as failed and would kill it, too.
    """
    config, resources = worker.config, worker.resources
    assert config is not None
    identity = run_id(resources.runtime.kind, config)
    with suppress(ReproError):
        identity = run_id(resources.runtime.kind, resources.identified(config))
    if identity not in report.ended:
        report.fails(identity, save_failure(config, resources, worker.killed()))
    return Worker(resources, [other for other in worker.configs if other != config])


def _work(
    connection: Connection, configs: list[RunConfig], root: Path, runtime: Runtime, deadline: float | None, since: float
) -> None:
    """Compute runs for a parent that handles Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Ending().listen(interrupt=False)
    end_with_parent()
    with suppress(OSError, Stopped), collect_damage() as damage:  # the parent may be gone, or not wait any longer

        def tell(config: RunConfig | None, report: GridReport) -> None:
            connection.send((config, report, list(damage)))
            damage.clear()

        resources = Resources(Store(root), runtime, deadline, patient=False, since=since)
        report = run_all(configs, resources, tell)
        tell(None, GridReport(interrupted=report.interrupted, signal=report.signal))
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # there is nothing left to end
