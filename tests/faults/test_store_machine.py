"""A store through any sequence of saves, measurements, kills, damages, readings and publishing, by two writers.

What is read was written; what is whole stays; what is damaged is named; and what was published stays published.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from repro.base.files import collect_damage
from repro.records.identity import run_id
from repro.records.publish import with_published, write_published
from repro.records.published import PublishedStudy
from repro.records.record import Record
from repro.records.store import Store
from repro.records.upkeep import tidy_store
from tests.repro.test_store import Killed, at_call, raise_

pytestmark = pytest.mark.faults
RUNS, METRICS = st.integers(0, 2), st.sampled_from(["mia", "hessian"])
VALUES = st.floats(0, 1, width=32)
WRITERS = st.integers(0, 1)


class StoreMachine(RuleBasedStateMachine):
    """The store beside what it may hold: for each run, and each metric of it, the values that a reader may find."""

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="repro-machine-"))
        self.writers = [Store(self.folder / "store"), Store(self.folder / "store")]
        self.pack = self.folder / "results" / "study.parquet"
        self.held: dict[int, set[float | None]] = {}  # None: it may be absent
        self.measured: dict[tuple[int, str], set[float | None]] = {}
        self.damaged: set[str] = set()  # ids of folders of which a file was changed
        self.published: dict[str, dict[str, Any]] = {}

    def teardown(self) -> None:
        shutil.rmtree(getattr(self, "folder", "/nonexistent"), ignore_errors=True)

    @rule(writer=WRITERS, run=RUNS, value=VALUES)
    def save(self, writer: int, run: int, value: float) -> None:
        self.read(writer)  # what is damaged is set aside now, with what belonged to it
        self._save(self.writers[writer], run, value)
        self.held[run] = {value}

    @rule(writer=WRITERS, run=RUNS, value=VALUES, number=st.integers(0, 8))
    def killed_while_it_saves(self, writer: int, run: int, value: float, number: int) -> None:
        self.read(writer)
        self._killed(number, lambda: self._save(self.writers[writer], run, value))
        self.held[run] = self.held.get(run, {None}) | {value, None}
        for key in self.measured:
            self.measured[key] |= {None} if key[0] == run else set()
        self.read(1 - writer)

    @precondition(lambda self: any(None not in values for values in self.held.values()))
    @rule(writer=WRITERS, name=METRICS, value=VALUES, number=st.integers(0, 12), data=st.data())
    def measure(self, writer: int, name: str, value: float, number: int, data: st.DataObject) -> None:
        """Measure a metric of a run that is there; the process may be killed meanwhile."""
        self.read(writer)
        there = [run for run, values in self.held.items() if None not in values]
        if not there:
            return
        run, store = data.draw(st.sampled_from(there)), self.writers[writer]

        def merge() -> None:
            part = store.save_evaluation({"metric": name, "of": run}, result={f"{name}_value": value})
            store.add_evaluations(run_id("unlearn", {"a": run}), {name: part.run_id})

        done = self._killed(number, merge)
        before = self.measured.get((run, name), {None})
        self.measured[run, name] = {value} if done else before | {value, None}

    @precondition(lambda self: self.held)
    @rule(data=st.data(), how=st.sampled_from(["flip", "cut", "empty", "remove"]))
    def damage(self, data: st.DataObject, how: str) -> None:
        done = [
            path.parent
            for room in ("runs", "evaluations")
            for path in self.writers[0].root.glob(f"{room}/*/result.json")
        ]
        files = sorted(path for folder in done for path in folder.glob("[!.]*") if path.stat().st_size)
        if not files:
            return
        path = data.draw(st.sampled_from(files))
        raw = bytearray(path.read_bytes())
        place = data.draw(st.integers(0, len(raw) - 1))
        if how == "flip":
            raw[place] ^= 1 << data.draw(st.integers(0, 7))
        changed = {"cut": raw[:place], "empty": b""}
        before = path.stat().st_mtime_ns
        path.write_bytes(changed.get(how, raw))
        os.utime(path, ns=(before + 10**9, before + 10**9))  # at another moment: clocks of file systems are coarse
        if how == "remove":
            path.unlink()
        if not (how == "remove" and path.name == "result.json"):  # then it was never finished
            self.damaged.add(path.parent.name)
        self._may_lack(path.parent.name)

    @rule(reader=WRITERS)
    def read(self, reader: int) -> None:
        store = self.writers[reader]
        named = store.verify()
        with collect_damage() as lines:
            found = {record.config["a"]: record for record in store.records()}
        for identity in self.damaged:
            assert any(identity in line for line in (*lines, *named)), f"{identity} was damaged, and nobody said so"
        self.damaged.clear()
        for run, values in self.held.items():
            value = found[run].result["tow"] if run in found else None
            assert value in values
            self.held[run] = {value}
            for (of, name), seen in self.measured.items():
                if of == run and run in found:
                    number = found[run].result.get(f"{name}_value")
                    assert number in seen
                    self.measured[run, name] = {number}
        assert set(found) <= set(self.held)

    @rule(writer=WRITERS)
    def publish(self, writer: int) -> None:
        self.read(writer)
        records = self.writers[writer].records()
        if not records and not self.pack.exists():
            return
        write_published(with_published(self.pack, records), self.pack)
        back = {record.run_id: record for record in PublishedStudy(self.pack).records()}
        assert PublishedStudy(self.pack).verify() == []
        assert set(self.published) <= set(back)
        for record in records:
            assert len(record.result.get("evaluations", ())) <= len(back[record.run_id].result.get("evaluations", ()))
        self.published = {identity: record.result for identity, record in back.items()}

    @rule(writer=WRITERS)
    def tidy(self, writer: int) -> None:
        tidy_store(self.writers[writer])

    @invariant()
    def what_was_published_is_whole(self) -> None:
        if getattr(self, "published", None):
            assert {one.run_id: one.result for one in PublishedStudy(self.pack).records()} == self.published

    def _save(self, store: Store, run: int, value: float) -> Record:
        return store.save("unlearn", {"a": run}, result={"tow": value}, epochs=[{"epoch": 1}])

    def _killed(self, number: int, work: Callable[[], object]) -> bool:
        """Do some work in a process that is killed at one of its renames; return whether it came to its end."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "replace", at_call(number, os.replace, partial(raise_, Killed()), self.folder))
            try:
                work()
            except Killed:
                return False
        return True

    def _may_lack(self, identity: str) -> None:
        """Note that a folder may not be found any more, nor what belongs to it."""
        for run in self.held:
            of = run_id("unlearn", {"a": run}) == identity
            self.held[run] |= {None} if of else set()
            parts = {name: run_id("evaluation", {"metric": name, "of": run}) for name in ("mia", "hessian")}
            for name, part in parts.items():
                if (of or part == identity) and (run, name) in self.measured:
                    self.measured[run, name] |= {None}


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(
    max_examples=int(os.environ.get("REPRO_MACHINES", "30")), stateful_step_count=25, deadline=None, database=None,
    derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)  # fmt: skip
