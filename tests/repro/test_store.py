import errno
import itertools
import json
import multiprocessing
import os
import platform
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from repro.base.ending import Ending, Stopped
from repro.base.errors import ConfigError, IntegrityError, MissingDataError
from repro.base.files import collect_damage, name_damage, process_tag
from repro.commands.records import publish
from repro.records import provenance
from repro.records.columns import write_table
from repro.records.folder import as_json, read_folder, write_folder
from repro.records.identity import SCHEMA, run_id
from repro.records.lists import RunList, StudyLists
from repro.records.publish import published_path, with_published, write_published
from repro.records.published import PublishedStudy, readers
from repro.records.record import Record, pick, read_records
from repro.records.store import Store
from repro.records.upkeep import leftovers, require_store, tidy_store

CONFIG = {"a": 1}


def save(store: Store, config: dict[str, int] | None = None, value: float = 0.5) -> Record:
    arrays = {"w": np.arange(3.0)}
    return store.save("unlearn", config or CONFIG, result={"tow": value}, arrays=arrays, epochs=[{"epoch": 1}])


def test_a_saved_run_is_found_again_with_all_it_held(store: Store) -> None:
    saved = save(store)
    found = store.find("unlearn", CONFIG)
    assert found == saved
    assert found is not None
    assert found.result == {"tow": 0.5}
    assert found.epochs() == [{"epoch": 1}]
    np.testing.assert_array_equal(found.arrays()["w"], np.arange(3.0))
    assert store.verify() == []


def test_the_numbers_and_arrays_of_its_evaluations_are_part_of_a_run_and_of_its_pack(
    store: Store, tmp_path: Path
) -> None:
    keys = {name: {"metric": name, "version": 2, "stages": ["s"]} for name in ("tow", "margins")}
    ids = {
        "tow": store.save_evaluation(keys["tow"], result={"tow": 0.9}).run_id,
        "margins": store.save_evaluation(keys["margins"], result={}, arrays={"m": np.arange(4.0)}).run_id,
    }
    store.save("unlearn", CONFIG, result={"n_forget": 3}, arrays={"w": np.arange(3.0)}, evaluations=ids)
    joined = {"n_forget": 3, "tow": 0.9} | {
        "evaluations": {name: {"id": identity, "version": 2} for name, identity in ids.items()}
    }
    packed = PublishedStudy(write_published(store.records(), tmp_path / "results" / "study.parquet"))
    for reader in (store, packed):
        (record,) = reader.records("unlearn")
        assert record.result == joined
        assert {name: len(values) for name, values in record.arrays().items()} == {"w": 3, "m": 4}
        assert record.has_arrays()
        assert reader.verify() == []
    assert store.records("evaluation") == []


def test_a_run_whose_numbers_are_gone_is_not_published(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tow = store.save_evaluation({"metric": "tow", "version": 1, "stages": []}, result={"tow": 0.9})
    run = store.save("unlearn", CONFIG, result={"parents": {}}, evaluations={"tow": tow.run_id})
    store.lists.put("mine", RunList((run.run_id,)))
    publish("mine", store=store.root)
    shutil.rmtree(store.root / "evaluations" / tow.run_id)
    with pytest.raises(IntegrityError, match=f"{tow.run_id} of tow is missing"):
        publish("mine", store=store.root)
    (published,) = PublishedStudy(tmp_path / "results" / "mine.parquet").records()
    assert published.result["tow"] == 0.9


@pytest.mark.parametrize("column", ["run_id", "kind"])
def test_a_pack_whose_ids_or_kinds_are_no_text_is_named(store: Store, tmp_path: Path, column: str) -> None:
    save(store)
    path = write_published(store.records(), tmp_path / "results" / "study.parquet")
    table = pq.read_table(path)
    for wrong in ([3], [["a"]]):
        place = table.schema.get_field_index(column)
        pq.write_table(table.set_column(place, column, pa.array(wrong)), path)
        with collect_damage() as damaged:
            assert PublishedStudy(path).heads() == PublishedStudy(path).records("unlearn") == []
        assert [f"column {column} is of type" in line for line in damaged] == [True]


def test_a_pack_without_arrays_says_that_there_are_none(store: Store, tmp_path: Path) -> None:
    save(store)
    path = tmp_path / "results" / "study.parquet"
    packed = PublishedStudy(write_published(with_published(path, store.records(), arrays=False), path))
    assert [record.has_arrays() for record in (*store.records(), *packed.records())] == [True, False]


def test_a_later_evaluation_of_a_metric_stands_in_place_of_the_earlier_one(store: Store) -> None:
    old, new = (store.save_evaluation({"metric": "tow", "version": v}, result={"tow": v / 4}).run_id for v in (1, 2))
    record = store.save("unlearn", CONFIG, result={}, evaluations={"tow": old})
    store.add_evaluations(record.run_id, {"tow": new})
    assert store.load(record.run_id).result == {"tow": 0.5, "evaluations": {"tow": {"id": new, "version": 2}}}
    store.add_evaluations(record.run_id, {"mia": store.save_evaluation({"metric": "mia"}, result={"mia": 0.1}).run_id})
    assert {*store.load(record.run_id).result} == {"tow", "mia", "evaluations"}, "those of other metrics stay"


def test_an_evaluation_that_says_the_same_again_stays_and_one_that_says_something_else_takes_its_place(
    store: Store,
) -> None:
    key = {"metric": "tow", "version": 1}
    path = store.root / "evaluations" / store.save_evaluation(key, result={"tow": 0.5}).run_id / "result.json"
    before = path.stat()
    store.save_evaluation(key, result={"tow": 0.5})
    assert path.stat() == before
    assert store.save_evaluation(key, result={"tow": 0.9}).result == {"tow": 0.9}
    found = store.find_evaluation(key)
    assert found is not None
    assert found.result == {"tow": 0.9}


def test_an_evaluation_that_pools_runs_is_a_record_of_its_own(store: Store) -> None:
    result = {"klom": 0.1, "labels": {}, "runs": []}
    store.save_evaluation({"metric": "klom", "version": 1, "pooled": True}, result=result)
    assert [record.result for record in store.records("evaluation")] == [result]


def test_runs_of_an_older_schema_are_named_and_not_read(store: Store) -> None:
    identity = run_id("unlearn", CONFIG, SCHEMA - 1)
    config = {"kind": "unlearn", "schema": SCHEMA - 1, "config": CONFIG, "identity": CONFIG}
    files = {"config.json": as_json(config), "provenance.json": as_json({})}
    done = {"run_id": identity, "kind": "unlearn", "status": "ok", "result": {}}
    write_folder(store.root / "runs" / identity, files, "result.json", done)
    assert store.records() == []
    assert [(old.run_id, old.schema) for old in store.heads()] == [(identity, SCHEMA - 1)]


def test_kind_is_part_of_the_identity() -> None:
    assert run_id("theory", CONFIG) != run_id("unlearn", CONFIG)


FILES = ("config.json", "provenance.json", "epochs.jsonl", "arrays.npz", "result.json")


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "null", "list", "remove"])
def test_a_damaged_run_is_named_once_moved_aside_and_counts_as_not_there(store: Store, name: str, damage: str) -> None:
    record, other = save(store), save(store, {"a": 2})
    path = store.root / "runs" / record.run_id / name
    raw = path.read_bytes()
    changed = {"truncate": raw[: len(raw) // 2], "empty": b"", "null": b"null", "list": b"[1]"}
    if damage == "flip":
        flip(path)
    elif damage == "remove":
        path.unlink()
    else:
        path.write_bytes(changed[damage])
    gone = name == "result.json" and damage == "remove"  # then it was never finished
    assert any(name in problem for problem in store.verify()) != gone
    with collect_damage() as lines:
        assert store.records() == [other]
        assert store.find("unlearn", CONFIG) is None
    assert [f"runs/{record.run_id}/{name}" in line for line in lines] == [True] * (not gone)
    assert (store.root / "damaged" / f"runs-{record.run_id}").is_dir() != gone
    assert save(store) == record
    assert store.verify() == []


def test_a_run_under_another_name_is_named_and_set_aside(store: Store) -> None:
    folder = store.root / "runs" / save(store).run_id
    folder.rename(folder.with_name("0" * 16))
    assert any("hashes to" in problem for problem in store.verify())
    with collect_damage() as lines:
        assert store.records() == []
    assert "0" * 16 in lines[0]


def test_a_marker_of_before_its_own_hash_is_read_all_the_same(store: Store) -> None:
    record = save(store)
    path = store.root / "runs" / record.run_id / "result.json"
    content = json.loads(path.read_text())
    del content["sha256"]
    path.write_bytes(as_json(content))
    assert store.records() == [record]
    assert store.verify() == []


def test_a_store_that_cannot_be_changed_names_its_damage_and_is_left_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = save(store)
    flip(store.root / "runs" / record.run_id / "result.json")

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "rename", refuse)
    with collect_damage() as lines:
        assert store.records() == []
    assert [line.endswith("hash") or "unreadable" in line for line in lines] == [True]
    assert (store.root / "runs" / record.run_id).is_dir()


def test_a_damaged_evaluation_leaves_its_run_without_that_number(store: Store) -> None:
    ids = {
        name: store.save_evaluation({"metric": name}, result={name: 0.5}, arrays={"m": np.arange(2)}).run_id
        for name in ("tow", "mia")
    }
    store.save("unlearn", CONFIG, result={}, evaluations=ids)
    flip(store.root / "evaluations" / ids["tow"] / "arrays.npz")
    with collect_damage() as lines:
        (record,) = store.records()
    assert (set(record.result), len(lines)) == ({"mia", "evaluations"}, 1)
    with collect_damage() as lines:
        assert store.records() == [record]
    assert lines == []


@pytest.mark.parametrize("text", ["null", "[]", "{", '{"tow": 3}', '{"tow": "../../etc"}'])
def test_pointers_that_cannot_be_read_are_named_and_the_run_stays(store: Store, text: str) -> None:
    record = save(store)
    (store.root / "runs" / record.run_id / "evaluations.json").write_text(text)
    with collect_damage() as lines:
        assert [one.run_id for one in store.records()] == [record.run_id]
    assert len(lines) == 1


def test_an_evaluation_of_another_metric_or_of_other_models_is_not_joined(store: Store) -> None:
    stages = {"original": "a", "unlearned": "b"}
    own, other, elsewhere = (
        store.save_evaluation({"metric": "tow", "stages": one, "forget_set": rows}, result={"tow": 0.5}).run_id
        for one, rows in ((stages, "f"), ({**stages, "unlearned": "c"}, "f"), (stages, "g"))
    )
    parents = {"pretrain": "a", "unlearn": "b", "forget_set": "f"}
    joined = [
        store.save("unlearn", {"a": place}, result={"parents": parents}, evaluations=pointers)
        for place, pointers in enumerate([{"tow": own}, {"tow": other}, {"mia": own}, {"tow": elsewhere}])
    ]
    assert ["tow" in record.result for record in joined] == [True, False, False, False]


def test_a_damaged_model_is_set_aside_and_not_loaded(store: Store) -> None:
    for name in ("weights.safetensors", "provenance.json"):
        folder = store.stages.save(CONFIG, b"weights", {"seconds": 1.0})
        assert store.stages.read(folder.name) == (b"weights", json.loads((folder / "provenance.json").read_text()))
        flip(folder / name)
        with collect_damage() as lines:
            assert store.stages.read(folder.name) is None
        assert f"models/{folder.name}/{name}" in lines[0]
        assert store.stages.all() == []


@pytest.mark.parametrize("prefix", ["../runs", "/etc", "runs/../..", "A" * 16, "0" * 300, "", "zz"])
def test_an_id_is_the_start_of_a_single_run_and_no_path(store: Store, prefix: str) -> None:
    save(store)
    save(store, {"a": 2})
    with pytest.raises(MissingDataError, match="repro records list"):
        store.load(prefix)
    alike = [Record(name, "benchmark", "ok", {}, {}, {}) for name in ("ab12", "ab34")]
    with pytest.raises(MissingDataError, match="2 runs start with it"):
        pick(alike, "ab")
    assert pick(alike, "ab3").run_id == "ab34"


@pytest.mark.parametrize("name", ["../pwned", "a/b", "memorization-folder:../../pwned", "/tmp/pwned", "", ".hidden",
                                  "x" * 300, "a\x1b[2J"])  # fmt: skip
def test_a_pack_and_a_claim_have_a_name_and_no_path(store: Store, tmp_path: Path, name: str) -> None:
    for use in (lambda: published_path(name, tmp_path), lambda: store.lease(name).__enter__()):
        with pytest.raises(ConfigError, match="no path"):
            use()
    assert not list(tmp_path.rglob("*pwned*"))


def test_a_run_named_as_a_model_by_its_path_is_none_and_stays_where_it_is(store: Store) -> None:
    record = save(store)
    store.stages.save(CONFIG, b"weights", {"name": "mine"})
    path = f"../runs/{record.run_id}"
    assert (store.stages.find(path), store.stages.read(path), store.stages.imported(path)) == (None, None, "")
    assert store.find("unlearn", CONFIG) == record
    assert store.stages.imported("mine") == run_id("model", CONFIG)


def save_forever(root: str, runs: int) -> None:
    store = Store(root)
    for count in range(100_000):
        save(store, {"a": count % runs}, float(count))


@contextmanager
def writer(root: Path, runs: int) -> Iterator[None]:
    """Let another process rewrite some runs, from its first one on, and kill it at the end."""
    process = multiprocessing.get_context("spawn").Process(target=save_forever, args=(str(root), runs))
    process.start()
    try:
        while process.is_alive() and not list(root.glob("runs/*/result.json")):
            time.sleep(0.005)
        yield
    finally:
        process.kill()
        process.join()
    assert process.exitcode == -signal.SIGKILL


def test_a_reader_beside_a_writer_never_takes_a_rewrite_for_damage(tmp_path: Path) -> None:
    with writer(tmp_path, runs=1), collect_damage() as lines:
        for _ in range(300):
            Store(tmp_path).records()
    assert lines == []
    assert not (tmp_path / "damaged").exists()


@pytest.mark.parametrize("delay", [0.02, 0.05, 0.11])
def test_a_killed_writer_leaves_only_whole_runs(tmp_path: Path, delay: float) -> None:
    with writer(tmp_path, runs=3):
        time.sleep(delay)
    store = Store(tmp_path)
    assert store.verify() == []
    assert all(record.result["tow"] >= 0 for record in store.records())


class Killed(BaseException):
    """The end of a process, in a test that goes on."""


def at_call(number: int, call: Callable[..., Any], act: Callable[[], None], folder: Path) -> Callable[..., Any]:
    """Return a function of the system that acts once before: at its `number`-th call that has to do with a folder."""
    calls = itertools.count()

    def called(what: Any, *rest: Any) -> Any:
        place = os.readlink(f"/proc/self/fd/{what}") if isinstance(what, int) else str(what)
        if place.startswith(str(folder)) and next(calls) == number:
            act()
        return call(what, *rest)

    return called


def raise_(error: BaseException) -> None:
    raise error


def save_epochs(store: Store, count: int) -> Record:
    return store.save("benchmark", {"a": 1}, result={"x": count}, epochs=[{"epoch": one} for one in range(count)])


# What ends a rewrite, at which call of the system, as which error, and which of the two runs is left, if any.
ENDS: dict[str, tuple[str, Callable[[], None], type[BaseException], int | None]] = {
    "a full disk": ("fsync", partial(raise_, OSError(errno.ENOSPC, "no space left")), OSError, 1),
    "a signal while it writes": ("fsync", partial(raise_, Stopped(signal.SIGTERM)), Stopped, 1),
    "a kill between its renames": ("replace", partial(raise_, Killed()), Killed, None),
    "a signal between its renames": ("replace", lambda: os.kill(os.getpid(), signal.SIGTERM), Stopped, 2),
}


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("end", ENDS)
def test_a_rewrite_that_ends_early_leaves_the_run_of_before_or_no_run_or_the_whole_new_one(
    store: Store, monkeypatch: pytest.MonkeyPatch, end: str, number: int
) -> None:
    call, act, error, left = ENDS[end]
    folder = store.root.resolve() / "runs" / save_epochs(store, 1).run_id
    heard = signal.signal(signal.SIGTERM, Ending())
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, call, at_call(number, getattr(os, call), act, folder))
            with pytest.raises(error):
                save_epochs(store, 2)
    finally:
        signal.signal(signal.SIGTERM, heard)
    with collect_damage() as damaged:
        found = [(one.result["x"], len(one.epochs())) for one in store.records()]
    assert found == ([] if left is None else [(left, left)])
    assert damaged == []
    if left:
        assert store.verify() == []
        assert not list(store.root.rglob(".*.*"))
    assert save_epochs(store, 2) == store.find("benchmark", {"a": 1})


def test_damage_that_is_met_twice_is_named_once() -> None:
    heard: list[str] = []
    with collect_damage(heard.append) as damaged:
        for line in ("a: torn", "b: torn", "a: torn"):
            name_damage(line)
    assert damaged == heard == ["a: torn", "b: torn"]


def test_a_store_that_cannot_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    (tmp_path / "link").symlink_to("nowhere")
    for place in (blocked, blocked / "runs", tmp_path / "link", tmp_path / ("x" * 300)):
        with pytest.raises(ConfigError, match="--store"):
            Store(place).ensure_writable()


def test_a_room_of_a_store_that_is_a_file_is_refused_before_any_work_and_found_by_verify(store: Store) -> None:
    save(store)
    store.ensure_writable()
    for room in ("models", "studies"):
        (store.root / room).write_text("")
        with pytest.raises(ConfigError, match=f"{room}/ cannot be written"):
            store.ensure_writable()
        assert [line for line in store.verify() if line.startswith(f"{room}: cannot be read")]
        (store.root / room).unlink()
    assert store.verify() == []


def test_asking_whether_a_store_can_be_written_makes_none(tmp_path: Path) -> None:
    Store(tmp_path / "new" / "runs").ensure_writable()
    assert list(tmp_path.iterdir()) == []


def test_a_list_of_runs_replaces_the_one_before_but_for_what_was_computed_from_runs(store: Store) -> None:
    store.lists.put("mine", RunList(("a" * 16,), ("s" * 16,), ("e" * 16,), open=2))
    store.lists.put("mine", RunList(("b" * 16,), more=("f" * 16,)))
    assert store.lists.get("mine") == RunList(("b" * 16,), more=("e" * 16, "f" * 16))
    assert store.lists.get("another") is None
    assert store.lists.all() == {"mine": store.lists.get("mine")}


def test_what_is_computed_from_a_study_s_runs_is_added_to_its_list(store: Store) -> None:
    pooled = save(store)
    store.lists.add("mine", [pooled])
    assert store.lists.get("mine") is None, "without a list it belongs to no study"
    store.lists.put("mine", RunList(("a" * 16,), more=("e" * 16,)))
    store.lists.add("mine", [pooled])
    assert store.lists.get("mine") == RunList(("a" * 16,), more=tuple(sorted((pooled.run_id, "e" * 16))))


def test_a_list_that_another_process_writes_meanwhile_keeps_its_runs(store: Store) -> None:
    store.lists.put("mine", RunList(("a" * 16,)))

    @contextmanager
    def after_another(name: str) -> Iterator[None]:
        store.lists.put("mine", RunList(("a" * 16, "b" * 16)))
        yield

    pooled = save(store)
    StudyLists(store.root / "studies", after_another).add("mine", [pooled])
    assert store.lists.get("mine") == RunList(("a" * 16, "b" * 16), more=(pooled.run_id,))


def test_a_damaged_list_of_runs_is_named_and_taken_for_none(store: Store) -> None:
    store.lists.put("mine", RunList(("a" * 16,)))
    (path,) = (store.root / "studies").iterdir()
    path.write_text(path.read_text().replace("a" * 16, "c" * 16))
    with collect_damage() as lines:
        assert store.lists.get("mine") is None
        assert store.lists.all() == {}
    assert lines == store.verify() == [f"studies/{path.name}: damaged; the next run of the study lists its runs anew"]


def test_own_runs_come_before_committed_ones(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    write_published([save(other, value=0.1), save(other, {"a": 2}, 0.2)], tmp_path / "results" / "study.parquet")
    save(store, value=0.9)
    records = read_records(readers(store, tmp_path / "results"), "unlearn")
    assert sorted((record.result["tow"], record.source) for record in records) == [
        (0.2, "results/study"),
        (0.9, "runs"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("processor: 0\nmodel name\t: A: B\nflags\t: fma avx2 avx512f avx512_bf16\n\nprocessor: 1\nmodel name: x\n",
         "A: B, avx2, avx512f, avx512_bf16"),
        ("processor: 0\nFeatures\t: asimd bf16\n", f"{platform.machine()}, asimd, bf16"),
        ("", platform.machine()),
    ],
)  # fmt: skip
def test_provenance_names_the_processor_and_what_it_multiplies_with(
    monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    """Two processors give other last digits: a study that went on elsewhere must be told from one that did not."""
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: text)
    assert provenance.processor.__wrapped__() == said


def test_provenance_keeps_the_variables_that_change_a_number_and_no_secret_and_no_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in provenance.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    given = {"OMP_NUM_THREADS": "3", "CUDA_VISIBLE_DEVICES": "0,1", "PYTHONHASHSEED": "", "SLURM_JOB_ID": "/home/jo"}
    for name, value in (given | {"HF_TOKEN": "hf_0123"}).items():
        monkeypatch.setenv(name, value)
    found = provenance.collect(study="mine", device="a card", seconds=2.5, engine="graph")
    assert found["environment"] == {"OMP_NUM_THREADS": "3", "CUDA_VISIBLE_DEVICES": "0,1"}
    assert [found[name] for name in ("study", "device", "seconds", "engine")] == ["mine", "a card", 2.5, "graph"]
    assert not [text for text in ("hf_0123", "/home/jo", str(Path(__file__).parents[2])) if text in json.dumps(found)]


@pytest.mark.parametrize(("changed", "dirty"), [("", False), (" M a.py", True), (None, None)])
def test_provenance_says_whether_tracked_files_differ_from_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str | None, dirty: bool | None
) -> None:
    answers = {("rev-parse", "HEAD"): "ab12", ("status", "--porcelain", "--untracked-files=no"): changed}
    monkeypatch.setattr(provenance, "_git", lambda folder, *words: answers[words])
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "repro" / "records" / "provenance.py"))
    assert provenance.git_state.__wrapped__() == {"commit": None, "dirty": None}
    (tmp_path / ".git").mkdir()
    assert provenance.git_state.__wrapped__() == {"commit": "ab12", "dirty": dirty}


def test_a_model_is_found_only_after_its_provenance_is_written(store: Store) -> None:
    folder = store.stages.save(CONFIG, b"weights", {"seconds": 1.0})
    assert store.stages.find(folder.name) == folder
    assert store.verify() == []
    (folder / "weights.safetensors").write_bytes(b"other")
    assert any("weights.safetensors" in problem for problem in store.verify())
    (folder / "provenance.json").unlink()
    assert store.stages.find(folder.name) is None


def test_a_listing_comes_from_the_index_and_follows_every_change(store: Store) -> None:
    records = [save(store, {"a": number}, float(number)) for number in range(3)]
    result = {"klom": 0.1, "labels": {}, "runs": []}
    pooled = store.save_evaluation({"metric": "klom", "version": 1, "pooled": True}, result=result)
    store.save_evaluation({"metric": "tow", "version": 1}, result={"tow": 0.1})
    names = {record.run_id for record in (*records, pooled)}
    assert {head.run_id for head in store.heads()} == names
    shutil.rmtree(store.root / "runs" / records[0].run_id)
    assert {head.run_id for head in store.heads()} == names - {records[0].run_id}
    store.save("unlearn", {"a": 1}, result={}, status="diverged")
    assert {head.run_id: head.status for head in store.heads()}[records[1].run_id] == "diverged"
    marker = store.root / "runs" / records[2].run_id / "result.json"
    flip(marker)
    os.utime(marker, ns=(1, 1))
    with collect_damage() as lines:
        assert records[2].run_id not in {head.run_id for head in store.heads()}
    assert records[2].run_id in lines[0]


@pytest.mark.parametrize("damage", ["remove", "tear", "change", "swap"])
def test_an_index_that_is_gone_torn_or_changed_is_made_anew(store: Store, damage: str) -> None:
    save(store)
    heads, path = store.heads(), store.root / "index.jsonl"
    raw = path.read_bytes()
    changed = {"tear": raw[:-30], "change": raw.replace(b'"ok"', b'"no"'), "swap": raw + b"00000000 nonsense\n"}
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(changed[damage])
    assert store.heads() == heads
    assert store.heads() == heads
    assert path.read_bytes() == raw


def test_a_kind_is_read_without_opening_the_runs_of_another(store: Store) -> None:
    few = store.save("rare", {"a": 1}, result={"x": 1.0})
    many = [store.save("common", {"a": number}, result={"x": 1.0}) for number in range(3)]
    flip(store.root / "runs" / many[0].run_id / "config.json")
    with collect_damage() as damage:
        assert [record.run_id for record in store.records("rare")] == [few.run_id]
    assert damage == []
    with collect_damage() as damage:
        assert {record.run_id for record in store.records("common")} == {record.run_id for record in many[1:]}
    assert len(damage) == 1


def test_the_cells_within_a_store_are_verified_and_tidied_with_it(store: Store) -> None:
    cells = Store(store.root / "cells")
    cell = save(cells)
    assert store.verify() == []
    flip(cells.root / "runs" / cell.run_id / "arrays.npz")
    assert store.verify() == [f"cells/runs/{cell.run_id}/arrays.npz: does not match its hash"]
    claim = cells.leases.folder / "old.claim"
    claim.write_bytes(b"")
    old = time.time() - 7200
    os.utime(claim, (old, old))
    assert tidy_store(store) == [claim]


def attach_many(root: str, identity: str, prefix: str) -> None:
    for number in range(25):
        Store(root).add_evaluations(identity, {f"{prefix}{number}": f"{number:016x}"})


def test_two_processes_that_measure_one_run_lose_none_of_its_evaluations(store: Store) -> None:
    record = save(store)
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=attach_many, args=(str(store.root), record.run_id, one)) for one in "ab"]
    with store.lease(record.run_id):  # whoever computes a run holds its claim while it attaches
        for process in both:
            process.start()
        for process in both:
            process.join()
    there = read_folder(store.root / "runs" / record.run_id)
    assert there is not None
    assert len(there.evaluations) == 50


def test_where_the_system_lists_no_processes_nobody_is_taken_for_dead(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(store)
    (store.root / "runs" / f".result.json.{process_tag()}").write_bytes(b"")  # what this process is writing
    with store.lease("held"):
        monkeypatch.setattr("repro.base.files.PROCESSES", tmp_path / "proc")  # as on macOS
        assert [claim.gone for claim in store.leases.all()] == [False]
        assert leftovers(store) == []


def test_tidy_removes_what_nobody_needs_and_nothing_else(store: Store) -> None:
    save(store)
    model = store.stages.save(CONFIG, b"weights", {"seconds": 1.0})
    store.stages.checkpoints(model.name).write(b"a finished stage")
    store.stages.checkpoints("0" * 16).write(b"an unfinished one")
    gone, own, elsewhere = (f".result.json.{end}" for end in ("999999999", process_tag(), "01234567.999999999"))
    for name in (gone, own, elsewhere):
        (store.root / "runs" / name).write_bytes(b"")
    old = time.time() - 7200
    for path in ("locks/old.lock", "locks/new.lock", "claims/old.claim", "claims/torn.claim.break.7.ab"):
        (store.root / path).parent.mkdir(exist_ok=True)
        (store.root / path).write_bytes(b"")
        os.utime(store.root / path, (time.time(), time.time()) if "new" in path else (old, old))
    with store.lease("held"):
        removed = {path.name for path in tidy_store(store)}
    assert removed == {model.name, gone, "old.lock", "old.claim", "torn.claim.break.7.ab"}
    assert (store.root / "runs" / elsewhere).exists()  # of a machine whose processes cannot be seen from here
    assert store.stages.checkpoints("0" * 16).latest() == b"an unfinished one"
    assert (store.root / "runs" / own).exists()
    assert store.verify() == []


def test_tidy_removes_nothing_of_a_user_s(store: Store, tmp_path: Path) -> None:
    """Neither from a folder that is no store, nor a file inside one that only looks temporary."""
    other = Store(tmp_path / "papers")
    for path in (".result.json.999999999", "locks/old.lock", "claims/old.claim", "runs/thesis/result.json"):
        (other.root / path).parent.mkdir(parents=True, exist_ok=True)
        (other.root / path).write_bytes(b"{}")
        os.utime(other.root / path, (0, 0))
    before = sorted(other.root.rglob("*"))
    for touch in (leftovers, tidy_store, require_store):
        with pytest.raises(MissingDataError, match="no store"):
            touch(other)
    assert sorted(other.root.rglob("*")) == before

    model = store.stages.save(CONFIG, b"weights", {"seconds": 1.0})
    store.stages.checkpoints(model.name).write(b"a finished stage")
    own = [store.root / path for path in (".backup.2024", "runs/.notes.txt.7", f"checkpoints/{model.name}/notes")]
    for path in own:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"mine")
    assert tidy_store(store) == [store.root / "checkpoints" / model.name]
    assert store.stages.checkpoints(model.name).latest() is None
    assert [path.read_bytes() for path in own] == [b"mine"] * 3
    assert tidy_store(store) == []


def test_a_folder_is_a_store_from_its_first_write_on_and_one_of_before_the_mark_by_its_runs(tmp_path: Path) -> None:
    writes: list[Callable[[Store], Any]] = [
        save,
        lambda store: store.stages.save(CONFIG, b"w", {}),
        lambda store: store.lists.put("mine", RunList()),
    ]
    for number, write in enumerate(writes):
        store = Store(tmp_path / str(number))
        require_store(store)  # of what is not there nothing can be removed
        write(store)
        (store.root / "other").touch()
        require_store(store)
        (store.root / ".repro-store").unlink()
        if store.records() or store.stages.all():
            require_store(store)
        else:
            with pytest.raises(MissingDataError, match="no store"):
                require_store(store)


def test_a_model_is_removed_without_what_else_is_in_its_folder(store: Store) -> None:
    first, second = (store.stages.save({"a": n}, b"weights", {"seconds": 1.0}) for n in range(2))
    (first / "notes").write_text("mine")
    (store.root / "models" / "mine").mkdir()
    (store.root / "models" / "mine" / "provenance.json").write_text('{"files": {"notes": ""}}')
    assert [folder.name for folder in store.stages.all()] == sorted([first.name, second.name])
    assert store.stages.remove(first) == [first / "notes"]
    assert store.stages.remove(second) == []
    assert [path.name for path in first.iterdir()] == ["notes"]
    assert not second.exists()
    assert store.stages.all() == []


@pytest.fixture
def no_waiting() -> Iterator[None]:
    """End a test that waits for a pipe nobody writes to."""

    def too_long(*_: object) -> None:
        raise AssertionError("waited for a pipe")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.usefixtures("no_waiting")
def test_a_pipe_in_place_of_any_file_of_a_store_is_named_and_not_waited_for(tmp_path: Path) -> None:
    def filled(name: str) -> Store:
        store = Store(tmp_path / name)
        made = store.save_evaluation({"metric": "tow", "version": 1}, result={"tow": 0.5}).run_id
        run = store.save(
            "unlearn", CONFIG, result={}, arrays={"w": np.arange(3.0)}, epochs=[{}], evaluations={"tow": made}
        )
        store.stages.save(CONFIG, b"weights", {"name": "theirs"})
        store.stages.checkpoints("0" * 16).write(b"state")
        store.lists.put("mine", RunList((run.run_id,)))
        write_table(run, store.root)
        (store.root / "claims" / "held.claim").write_bytes(b"")
        return store

    def read(store: Store) -> None:
        """Read, list, verify and write everything there is."""
        store.save("unlearn", {"a": 2}, result={})
        assert 1 <= len(store.records()) <= 2
        for one in store.records():
            with suppress(IntegrityError):
                one.arrays()
                one.epochs()
        for folder in store.stages.all():
            store.stages.read(folder.name)
        store.stages.imported("theirs")
        store.stages.checkpoints("0" * 16).latest()
        store.lists.all()
        store.leases.all()
        store.verify()
        leftovers(store)
        with suppress(IntegrityError):
            write_table(save(store), store.root)

    files = [path for path in filled("whole").root.rglob("*") if path.is_file()]
    names = [path.relative_to(tmp_path / "whole") for path in files]
    assert len(names) > 15
    for number, name in enumerate(names):
        store = filled(str(number))
        (store.root / name).unlink()
        os.mkfifo(store.root / name)
        with collect_damage() as damage:
            faults = store.verify()
            read(store)
        made_anew = {"index.jsonl", ".repro-store"}
        assert damage or faults or name.name in made_anew or name.suffix == ".claim", name
    pipe = Store(tmp_path / "last")
    (pipe.root / "claims").mkdir(parents=True)
    os.mkfifo(pipe.root / "claims" / "held.claim")
    with pytest.raises(IntegrityError, match=r"claims/held\.claim: no regular file"):
        pipe.lease("held").__enter__()
