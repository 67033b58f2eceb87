"""Reports while a grid runs: which runs finished, their numbers, and when the rest should be done.

A thread looks at the store, where every finished run appears: of this process, of another one, or of a node of a
cluster. The computing processes are not asked.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

from empirical.settings.keys import complete
from empirical.settings.run_config import KIND, RunConfig, Runtime
from empirical.studies.finished import with_data
from repro.records.identity import run_id
from repro.records.record import Record, read_records
from repro.records.store import RESULT, Store

EVERY = 0.5  # seconds between two looks
SILENCE = 30.0  # seconds without a finished run, after which it reports that work goes on


@dataclass(frozen=True)
class News:
    """One finished run.

    Attributes:
        record: what it left behind.
        done, total: runs of this part of the study that are there, and all of them.
        left: estimated seconds until the rest is done, at the pace since the start; None before anything is known.
    """

    record: Record
    done: int
    total: int
    left: float | None


class Listener(Protocol):
    """Receives the reports: a log, a table on a terminal, a tracker."""

    def begin(self, title: str, done: int, total: int) -> None: ...

    def tell(self, news: News) -> None: ...

    def alive(self, stages: int, seconds: float) -> None: ...

    def end(self) -> None: ...


@dataclass
class Watch:
    """Looks at the store while runs are computed and reports to its listeners.

    Attributes:
        store: where runs appear.
        listeners: what receives the reports.
        every: seconds between two looks.
        silence: seconds without a finished run, after which it reports that work goes on.
    """

    store: Store
    listeners: Sequence[Listener] = ()
    every: float = EVERY
    silence: float = SILENCE

    @contextmanager
    def over(self, title: str, configs: Iterable[RunConfig], runtime: Runtime) -> Iterator[None]:
        """Report every run that ends inside the block; the last look is after its end."""
        configs = list(configs)
        if not self.listeners or not configs:
            yield
            return
        look = _Look(self, title, configs, runtime)
        stop = threading.Event()
        thread = threading.Thread(target=look.until, args=(stop,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(timeout=30)

    def each(self, call: Callable[[Listener], None]) -> None:
        """Call every listener; one that raises is reported once and removed, because the study must go on."""
        for listener in list(self.listeners):
            try:
                call(listener)
            except Exception as error:  # noqa: BLE001 - a tracker may raise whatever its service does
                self.listeners = [one for one in self.listeners if one is not listener]
                reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                self.each(lambda one, text=reason: getattr(one, "warn", lambda _: None)(f"a listener stopped: {text}"))


class _Look:
    """The state of the thread: which runs it waits for, and since when."""

    def __init__(self, watch: Watch, title: str, configs: list[RunConfig], runtime: Runtime) -> None:
        self.watch, self.unnamed, self.runtime, self.kind = watch, configs, runtime, runtime.kind or KIND
        self.folder = watch.store.root / "runs"
        self.title, self.total = title, len(configs)
        self.started = self.heard = time.monotonic()
        self.before: dict[str, Record] = {}
        self.awaited: dict[str, RunConfig] = {}
        self.stamps: dict[str, int] = {}
        self.runs = self.there = self.made = 0

    def until(self, stop: threading.Event) -> None:
        self._begin()
        while not stop.wait(self.watch.every):
            self._once()
        self._once()
        self.watch.each(lambda listener: listener.end())

    def _begin(self) -> None:
        """Remember the runs that are there and name those to wait for."""
        self.before = {record.run_id: record for record in read_records([self.watch.store], self.kind)}
        self.runs = self._runs()
        self._name()
        self.stamps = {one: self._stamp(one) for one in self.awaited}
        self.watch.each(lambda listener: listener.begin(self.title, self.there, self.total))

    def _name(self) -> None:
        """Name the runs whose data are here; data that a run downloads are looked at later.

        A run that was not there in the beginning is waited for, and reported at once if it has ended since.
        """
        configs = with_data(self.unnamed, self.runtime, self.watch.store.stages)
        self.unnamed = [config for config in configs if not config.data]
        found = {run_id(self.kind, config): config for config in configs if config.data}
        new = {
            one: config
            for one, config in found.items()
            if one not in self.before or not _ended(self.before[one], config)
        }
        self.awaited |= new
        self.there += len(found) - len(new)
        if not self.unnamed:
            self.before = {}

    def _runs(self) -> int:
        return sum(1 for _ in self.folder.glob(f"*/{RESULT}"))

    def _stamp(self, identity: str) -> int:
        """Return when a run was last written or got an evaluation; 0 if it is not there."""
        with suppress(FileNotFoundError):  # for a moment, one that is written anew is not there
            return (self.folder / identity / RESULT).stat().st_mtime_ns
        return 0

    def _once(self) -> None:
        if self.unnamed and (runs := self._runs()) != self.runs:  # once a run is there, so are all of its data
            self.runs = runs
            self._name()
        changed = {one: stamp for one in sorted(self.awaited) if (stamp := self._stamp(one)) != self.stamps.get(one, 0)}
        self.stamps |= changed
        for identity in changed:
            record = self.watch.store.find(self.kind, self.awaited[identity])
            if record is None or not _ended(record, self.awaited[identity]):
                continue
            del self.awaited[identity]
            self.made += 1
            self.heard = time.monotonic()
            left = (self.heard - self.started) / self.made * (len(self.awaited) + len(self.unnamed))
            news = News(record, self.there + self.made, self.total, left)
            self.watch.each(lambda listener, news=news: listener.tell(news))
        if time.monotonic() - self.heard > self.watch.silence:
            self.heard = time.monotonic()
            stages = len(self.watch.store.stages.all())
            self.watch.each(lambda listener: listener.alive(stages, self.heard - self.started))


def _ended(record: Record, config: RunConfig) -> bool:
    """Return whether a record has all that its config asks for; otherwise it will be measured again."""
    return record.status != "ok" or complete(record, config)


def name_of(record: Record) -> str:
    """Return a run in words: method, rule, forget set, seed, and for a trial the value that it tries."""
    config = record.config
    parts = [f"{config['method']} {config['rule']} after {config['pretrain']}", str(config["difficulty"])]
    if record.kind != KIND:
        parts.insert(0, record.kind)
        parts.append(f"lr {config['lr']:g}, epochs {config['epochs']}")  # one of the two is searched for
    return ", ".join([*parts, f"seed {config['seed']}"])
