"""What was read of many runs is kept, is what was read, and is good for as long as no file changes."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from repro.records import kept
from repro.records import store as stores
from repro.records.damage import collected
from repro.records.folder import read_folder, write_sealed
from repro.records.identity import run_id
from repro.records.kept import NAME, Kept, applied, difference
from repro.records.record import Record
from repro.records.store import Store

ROWS = 6
LEAVES = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.text(max_size=3)
LEAVES |= st.lists(st.integers(0, 1) | st.booleans() | st.floats(0, 1), max_size=2)


@dataclass(frozen=True)
class Setting:
    """A setting at its default is no part of an identity."""

    a: int = 2


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store whose runs are old enough to be kept, and one evaluation of each."""
    monkeypatch.setattr(kept, "SETTLED", -60.0)
    monkeypatch.setattr(kept, "FEWEST", 1)
    store = Store(tmp_path / "runs")
    for seed in range(ROWS):
        key = {"metric": "tow", "version": 1, "seed": seed}
        tow = store.save_evaluation(key, result={"tow": seed / 8}, arrays={"m": [seed]}).run_id
        result: dict[str, Any] = {"none": None, "list": [1, 1.0, True], "nested": {"seed": seed, "same": [{}]}}
        store.save("unlearn", {"a": 1, "seed": seed}, result=result, evaluations={"tow": tow}, arrays={"w": [seed]})
    store.save("choice", Setting(), result={"lr": -0.0})
    return store


def told(records: list[Record]) -> list[Any]:
    """Everything of some records, with types, as text."""
    return [(repr(one.config), repr(one.identity), repr(one.result), one.provenance, one.run_id, one.status,
             {name: values.tolist() for name, values in one.arrays().items()}) for one in records]  # fmt: skip


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that are read from now on."""
    seen: list[str] = []

    def read(folder: Path) -> Record | None:
        seen.append(folder.name)
        return read_folder(folder)

    monkeypatch.setattr(stores, "read_folder", read)
    return seen


def test_a_second_reading_opens_no_run_and_finds_the_same(store: Store, opened: list[str]) -> None:
    first = told(store.records())
    assert len(opened) == 2 * ROWS + 1
    opened.clear()
    assert told(store.records()) == first == told([store.load(one[4]) for one in first])
    assert set(opened) <= {one[4] for one in first} | set(os.listdir(store.root / "evaluations"))
    opened.clear()
    assert [one.kind for one in store.records("choice")] == ["choice"]
    assert opened == []


def test_what_was_kept_stays_when_more_is(store: Store, opened: list[str]) -> None:
    store.records()
    store.save("choice", {"a": 3}, result={"lr": 0.5, "more": {}})
    first = told(store.records())
    opened.clear()
    assert told(store.records()) == first
    assert opened == []


def test_a_table_that_another_process_has_written_meanwhile_is_left_alone(store: Store) -> None:
    store.records("choice")
    late = Kept(store.root)
    (store.root / NAME).unlink()
    first = told(store.records())  # its shapes have other numbers
    table = (store.root / NAME).read_bytes()
    store.save("floor", {"a": 4}, result={"sd": 0.1})
    late.record(f"runs/{run_id('floor', {'a': 4})}", store._whole)
    late.write()
    assert (store.root / NAME).read_bytes() == table
    assert told(store.records("unlearn", "choice")) == first


def test_records_that_differ_share_what_is_the_same_in_them(store: Store) -> None:
    one, other = store.records("unlearn")[:2]
    assert one.result["list"] is other.result["list"]


def spoil(path: Path) -> None:
    """Change a digit or a letter of a file in place, its length and its time of change as they were."""
    before, raw = path.stat(), bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(bytes(raw))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("name", ["result.json", "config.json", "provenance.json"])
@pytest.mark.parametrize("room", ["runs", "evaluations"])
def test_a_file_changed_in_place_with_its_time_put_back_is_read_anew(store: Store, room: str, name: str) -> None:
    store.records()
    victim = store.records("unlearn")[0].run_id if room == "runs" else os.listdir(store.root / room)[0]
    spoil(store.root / room / victim / name)
    with collected() as lines:
        found = store.records("unlearn")
    assert [line.partition(":")[0] for line in lines] == [f"{room}/{victim}/{name}"]
    assert sum("tow" in one.result for one in found) == ROWS - 1
    assert len(found) == (ROWS - 1 if room == "runs" else ROWS)


def test_a_damaged_array_is_noticed_when_it_is_used(store: Store) -> None:
    store.records()
    (record, *_) = store.records("unlearn")
    spoil(store.root / "runs" / record.run_id / "arrays.npz")
    with pytest.raises(Exception, match=f"runs/{record.run_id}/arrays.npz: does not match its hash"):
        store.records("unlearn")[0].arrays()


CHANGES: dict[str, Callable[[Store, Record], object]] = {
    "rewritten": lambda store, one: store.save(one.kind, one.config, result={"new": 0.9}),
    "measured anew": lambda store, one: store.attach(one.run_id, {"tow": store.save_evaluation(
        {"metric": "tow", "version": 2}, result={"tow": 0.9}).run_id}),
    "removed": lambda store, one: (store.root / "runs" / one.run_id / "result.json").unlink(),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_run_that_is_rewritten_measured_anew_or_removed_is_what_it_is_now(store: Store, change: str) -> None:
    store.records()
    (victim, *rest) = store.records("unlearn")
    CHANGES[change](store, victim)
    found = {one.run_id: one.result for one in store.records("unlearn")}
    changed = found.pop(victim.run_id, {})
    assert (changed.get("new"), changed.get("tow"), "none" in changed) == {
        "rewritten": (0.9, victim.result["tow"], False), "measured anew": (None, 0.9, True),
        "removed": (None, None, False)}[change]  # fmt: skip
    assert found == {one.run_id: one.result for one in rest}


def test_what_was_written_a_moment_ago_is_not_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "SETTLED", 60.0)
    assert len(store.records()) == ROWS + 1
    assert not (store.root / NAME).exists()


def test_of_few_runs_nothing_is_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "FEWEST", ROWS + 2)
    assert len(store.records()) == ROWS + 1
    assert not (store.root / NAME).exists()


def test_of_few_runs_among_many_the_table_is_not_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.records()
    monkeypatch.setattr(kept, "FEWEST", 2)
    monkeypatch.setattr(kept, "Kept", lambda root: pytest.fail("it was read"))
    assert [one.kind for one in store.records("choice")] == ["choice"]


def test_few_new_runs_do_not_write_the_table_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.records()
    table = (store.root / NAME).read_bytes()
    monkeypatch.setattr(kept, "FEWEST", 3)
    store.save("choice", {"a": 3}, result={"lr": 0.5})
    assert len(store.records()) == ROWS + 2
    assert (store.root / NAME).read_bytes() == table


def another_version() -> bytes:
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table({"place": ["runs/0"]}), buffer)
    return buffer.getvalue().to_pybytes()


@pytest.mark.parametrize("content", ["cut", "flipped", "no table", "of another version"])
def test_a_table_that_is_damaged_or_of_another_version_is_written_again(store: Store, content: str) -> None:
    first = told(store.records())
    path = store.root / NAME
    raw = path.read_bytes()
    {"cut": lambda: path.write_bytes(raw[:-9]), "flipped": lambda: spoil(path),
     "no table": lambda: write_sealed(path, b"PAR1"),
     "of another version": lambda: write_sealed(path, another_version())}[content]()  # fmt: skip
    assert told(store.records()) == first
    assert path.read_bytes() == raw


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(LEAVES, LEAVES), min_size=1, max_size=3))
@example([(1, True), (0, False), (1, 1.0)])
@example([(0.0, -0.0)])
@example([([1, 0], [True, -0.0])])
def test_what_differs_from_another_of_the_same_keys_gives_the_value_back(pairs: list[tuple[Any, Any]]) -> None:
    one, other = ({"x": {f"{place}": value for place, value in enumerate(half)}, "y": half[0]}
                  for half in zip(*pairs, strict=True))  # fmt: skip
    own = json.loads(json.dumps(difference(other, one)))
    assert repr(applied(own, one)) == repr(other)
    assert difference(one, one) == {}
