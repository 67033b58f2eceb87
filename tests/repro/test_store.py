import json
import multiprocessing
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from repro.records.errors import ConfigError, IntegrityError, MissingDataError
from repro.records.identity import SCHEMA, run_id
from repro.records.pack import PackedStore, readers, write_pack
from repro.records.record import Record, pick, read_records
from repro.records.store import Store

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
    packed = PackedStore(write_pack(store.records(), tmp_path / "results" / "study.parquet"))
    for reader in (store, packed):
        (record,) = reader.records("unlearn")
        assert record.result == joined
        assert {name: len(values) for name, values in record.arrays().items()} == {"w": 3, "m": 4}
        assert record.has_arrays()
        assert reader.verify() == []
    assert store.records("evaluation") == []


def test_a_pack_without_arrays_says_that_there_are_none(store: Store, tmp_path: Path) -> None:
    save(store)
    packed = PackedStore(write_pack(store.records(), tmp_path / "results" / "study.parquet", attach=False))
    assert [record.has_arrays() for record in (*store.records(), *packed.records())] == [True, False]


def test_a_later_evaluation_of_a_metric_stands_in_place_of_the_earlier_one(store: Store) -> None:
    old, new = (store.save_evaluation({"metric": "tow", "version": v}, result={"tow": v / 4}).run_id for v in (1, 2))
    record = store.save("unlearn", CONFIG, result={}, evaluations={"tow": old})
    store.attach(record.run_id, {"tow": new})
    assert store.load(record.run_id).result == {"tow": 0.5, "evaluations": {"tow": {"id": new, "version": 2}}}


def test_an_evaluation_that_pools_runs_is_a_record_of_its_own(store: Store) -> None:
    store.save_evaluation({"metric": "klom", "version": 1, "pooled": True}, result={"klom": 0.1})
    assert [record.result for record in store.records("evaluation")] == [{"klom": 0.1}]


def test_runs_of_an_older_schema_are_named_and_not_read(store: Store) -> None:
    record = save(store)
    path = store.root / "runs" / record.run_id / "config.json"
    path.write_text(path.read_text().replace(f'"schema": {SCHEMA}', '"schema": 1'))
    assert store.records() == []
    assert [old.run_id for old in store.outdated()] == [record.run_id]


def test_a_run_without_its_result_file_was_never_finished(store: Store) -> None:
    record = save(store)
    (store.root / "runs" / record.run_id / "result.json").unlink()
    assert store.find("unlearn", CONFIG) is None
    assert store.records() == []


def test_kind_is_part_of_the_identity() -> None:
    assert run_id("theory", CONFIG) != run_id("unlearn", CONFIG)


@pytest.mark.parametrize("name", ["config.json", "provenance.json", "epochs.jsonl", "arrays.npz"])
def test_verify_names_the_file_whose_bytes_changed(store: Store, name: str) -> None:
    record = save(store)
    path = store.root / "runs" / record.run_id / name
    path.write_bytes(path.read_bytes() + b" ")
    assert [name in problem for problem in store.verify()] == [True]


def test_verify_notices_a_config_that_belongs_to_another_run(store: Store) -> None:
    record = save(store)
    folder = store.root / "runs" / record.run_id
    folder.rename(folder.with_name("0" * 16))
    assert any("hashes to" in problem for problem in store.verify())


def test_a_truncated_result_is_an_integrity_error_naming_the_run(store: Store) -> None:
    record = save(store)
    (store.root / "runs" / record.run_id / "result.json").write_text('{"run_id"')
    with pytest.raises(IntegrityError, match=record.run_id):
        store.records()


def test_a_store_that_cannot_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(ConfigError, match="--store"):
        Store(blocked / "runs").ensure_writable()


def test_own_runs_come_before_committed_ones(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    write_pack([save(other, value=0.1), save(other, {"a": 2}, 0.2)], tmp_path / "results" / "study.parquet")
    save(store, value=0.9)
    records = read_records(readers(store, tmp_path / "results"), "unlearn")
    assert sorted((record.result["tow"], record.source) for record in records) == [
        (0.2, "results/study"),
        (0.9, "runs"),
    ]


def test_a_pack_gives_back_the_same_record_and_the_same_bytes(store: Store, tmp_path: Path) -> None:
    records = [save(store), save(store, {"a": 2})]
    first = write_pack(records, tmp_path / "one.parquet")
    second = write_pack(reversed(records), tmp_path / "two.parquet")
    assert first.read_bytes() == second.read_bytes()
    packed = PackedStore(first).records()[0]
    original = pick(records, packed.run_id)
    assert (packed.config, packed.result, packed.epochs()) == (original.config, original.result, original.epochs())
    np.testing.assert_array_equal(packed.arrays()["w"], original.arrays()["w"])
    assert PackedStore(first).verify() == []


def test_a_pack_row_edited_by_hand_fails_verification(store: Store, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = write_pack([save(store)], tmp_path / "study.parquet")
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[0]["result"] = json.dumps({"tow": 1.0})
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    assert len(PackedStore(path).verify()) == 1


def test_an_unreadable_pack_is_an_integrity_error(tmp_path: Path) -> None:
    path = tmp_path / "study.parquet"
    path.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(IntegrityError, match=r"study\.parquet"):
        PackedStore(path).records()


@pytest.mark.parametrize("prefix", ["", "zz"])
def test_an_ambiguous_or_unknown_id_names_the_command_that_lists_runs(store: Store, prefix: str) -> None:
    save(store)
    save(store, {"a": 2})
    with pytest.raises(MissingDataError, match="repro list"):
        store.load(prefix)


def test_a_model_is_found_only_after_its_provenance_is_written(store: Store) -> None:
    folder = store.save_model(CONFIG, b"weights", {"seconds": 1.0})
    assert store.find_model(folder.name) == folder
    assert store.verify() == []
    (folder / "weights.safetensors").write_bytes(b"other")
    assert any("weights.safetensors" in problem for problem in store.verify())
    (folder / "provenance.json").unlink()
    assert store.find_model(folder.name) is None


def save_forever(root: str) -> None:
    store = Store(root)
    for count in range(100_000):
        save(store, {"a": count % 3}, float(count))


@pytest.mark.parametrize("delay", [0.02, 0.05, 0.11])
def test_a_killed_writer_leaves_only_whole_runs(tmp_path: Path, delay: float) -> None:
    process = multiprocessing.get_context("spawn").Process(target=save_forever, args=(str(tmp_path),))
    process.start()
    while not list(tmp_path.glob("runs/*/result.json")):
        time.sleep(0.005)
    time.sleep(delay)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    store = Store(tmp_path)
    assert store.verify() == []
    assert all(record.result["tow"] >= 0 for record in store.records())
