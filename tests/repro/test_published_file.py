"""A published study: plain columns that others read without this package, and the same records back."""

import hashlib
import io
import json
import os
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repro.base.errors import IntegrityError
from repro.base.files import collect_damage
from repro.base.outputs import LIST
from repro.records.columns import flat, from_arrow, nested, to_arrow
from repro.records.identity import SCHEMA, run_id
from repro.records.old_published import COLUMNS, sha_of
from repro.records.publish import with_published, write_published
from repro.records.published import PublishedStudy, readers, sha_of_row
from repro.records.record import Record, npz, read_records
from repro.records.store import Store

CONFIG = {"method": "neggrad", "lr": 0.1, "metrics": ["tow", "mia"], "data": None, "more": {"a.b": 1}}
RESULT = {"tow": 0.9, "labels": {"seed": 1}, "curve": [[0.1, 1], [0.2, 2]], "checks": {}, "undefined": None}


def saved(store: Store, seed: int, **more: Any) -> Record:
    arrays = {"own": np.arange(3.0) + seed, "shared": np.ones((2, 2), np.float32)}
    config = CONFIG | {"seed": seed} | more
    return store.save("unlearn", config, result=RESULT | {"n": seed}, arrays=arrays, epochs=[{"epoch": 1}])


@pytest.fixture
def path(store: Store, tmp_path: Path) -> Path:
    return write_published([saved(store, 1), saved(store, 2, width=3)], tmp_path / "study.parquet")


def test_everybody_reads_the_numbers_without_this_package(path: Path) -> None:
    table = pd.read_parquet(path)
    assert table["config.method"].tolist() == ["neggrad"] * 2
    assert table["result.tow"].tolist() == [0.9, 0.9]
    assert sorted(table["config.seed"]) == [1, 2]
    row = table[table["config.seed"] == 2].iloc[0]
    sha = dict(zip(row["files"], row["file_hashes"], strict=True))["own.npy"]
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays[sha], [2.0, 3.0, 4.0])


def test_the_same_records_come_back(store: Store, path: Path) -> None:
    published = PublishedStudy(path)
    assert published.verify() == []
    again = write_published(reversed(store.records()), path.with_name("again.parquet"))
    assert again.read_bytes() == path.read_bytes()
    for record, back in zip(store.records(), published.records(), strict=True):
        for part in ("run_id", "kind", "status", "schema", "config", "identity", "result", "provenance"):
            assert getattr(back, part) == getattr(record, part)
        assert back.epochs() == record.epochs()
        arrays = record.arrays()
        assert {name: array.dtype for name, array in back.arrays().items()} == {
            name: array.dtype for name, array in arrays.items()
        }
        for name, array in back.arrays().items():
            np.testing.assert_array_equal(array, arrays[name])


@pytest.mark.parametrize("name", ["layer/weight", "a.b", "x" * 300, ""])
def test_an_array_comes_back_under_any_name(store: Store, tmp_path: Path, name: str) -> None:
    store.save("unlearn", CONFIG, result={}, arrays={name: np.arange(3.0), "own": np.ones(1)})
    (back,) = PublishedStudy(write_published(store.records(), tmp_path / "study.parquet")).records()
    assert list(back.arrays()) == sorted([name, "own"])
    np.testing.assert_array_equal(back.arrays(name)[name], np.arange(3.0))


def test_a_file_that_the_list_beside_it_does_not_name_gives_the_same_records_row_by_row(path: Path) -> None:
    whole = PublishedStudy(path).records()
    (path.parent / LIST).unlink()
    assert PublishedStudy(path).records() == whole != []


Rows = list[dict[str, Any]]


def edit(path: Path, change: Callable[[Rows], object], *, manifest: bool = True) -> None:
    """Rewrite a file with its rows changed."""
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    schema = table.schema if manifest else table.schema.remove_metadata()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def seal(row: dict[str, Any], **changes: Any) -> None:
    """Change a row and write the hash that it then has."""
    row.update(changes)
    row["sha256"] = sha_of_row({name: value for name, value in row.items() if value is not None})


EDITS: dict[str, tuple[Callable[[Rows], object], int]] = {  # with the number of rows that are lost
    "a number": (lambda rows: rows[0].update({"result.tow": 1.0}), 1),
    "a number and its hash": (lambda rows: seal(rows[0], **{"result.tow": 1.0}), 1),
    "the hash of an array": (lambda rows: rows[0].update(file_hashes=rows[0]["file_hashes"][::-1]), 1),
    "a null": (lambda rows: rows[0].update({"config.seed": None}), 1),
    "an id": (lambda rows: rows[0].update(run_id="0" * 16), 1),
    "two results swapped": (lambda rows: rows[0].update({name: rows[1][name] for name in ("result.n", "sha256")}), 1),
    "doubled": (lambda rows: rows.append(rows[0]), 0),
    "missing": (lambda rows: rows.pop(0), 1),
    "order": (lambda rows: rows.reverse(), 0),
    "none": (lambda rows: rows.clear(), 2),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_file_changed_by_hand_is_named_and_its_other_rows_are_read(path: Path, name: str) -> None:
    ids = [record.run_id for record in PublishedStudy(path).records()]
    change, lost = EDITS[name]
    edit(path, change)
    for wanted in (None, ids, ids[:1]):  # a file that lost a row does not pass for one that never had it
        with collect_damage() as lines:
            found = PublishedStudy(path).records("unlearn", ids=wanted)
        assert wanted == ids[:1] or len(found) == 2 - lost
        assert lines == PublishedStudy(path).verify()
    assert all(line.startswith("study.parquet") for line in lines)
    assert lines
    assert name != "missing" or any(ids[0] in line and "missing" in line for line in lines)


def test_without_a_list_of_rows_one_that_is_doubled_or_of_another_run_is_named(path: Path) -> None:
    edit(path, lambda rows: None, manifest=False)
    assert PublishedStudy(path).verify() == []
    edit(path, lambda rows: rows.append(rows[0]), manifest=False)
    with collect_damage() as lines:
        assert len(PublishedStudy(path).records()) == 2
    assert len(lines) == 1

    def another(rows: Rows) -> None:
        seal(rows[0], **{name: rows[1][name] for name in ("config.seed", "identity")})

    edit(path, lambda rows: rows.pop(), manifest=False)
    edit(path, another, manifest=False)
    (line,) = PublishedStudy(path).verify()
    assert "its config hashes to" in line


BROKEN: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: path.write_bytes(b"PAR1 and then nothing"),
    "a table of images": lambda path: pq.write_table(pa.table({"image": [b"x"], "label": [1]}), path),
    "a value that is no text": lambda path: path.write_bytes(path.read_bytes().replace(b'{"a": 1}', b'\x80"a": 1}')),
    "a column that is no text": lambda path: path.write_bytes(path.read_bytes().replace(b"run_id", b"\x80un_id")),
    "a pipe": lambda path: path.unlink() or os.mkfifo(path),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_is_no_published_study_is_named_and_skipped(store: Store, tmp_path: Path, name: str) -> None:
    path = write_published(
        [store.save("unlearn", {"a": 1}, result={"tow": 0.5})], tmp_path / "results" / "study.parquet"
    )
    BROKEN[name](path)
    found: list[Any] = []

    def read() -> None:
        with collect_damage() as lines:
            found.append(read_records(readers(Store(tmp_path / "none"), path.parent)))
        found.append([line.partition(":")[0] for line in (*lines, *PublishedStudy(path).verify())])

    reader = threading.Thread(target=read, daemon=True)  # no alarm ends Arrow's own waiting for a pipe
    reader.start()
    reader.join(30)
    assert found == [[], ["study.parquet"] * 2]


def test_a_pack_that_is_written_anew_keeps_its_runs_of_an_older_schema(store: Store, tmp_path: Path) -> None:
    new, identity = saved(store, 1), run_id("unlearn", CONFIG, SCHEMA - 1)
    old = Record(identity, "unlearn", "ok", CONFIG, {}, {}, schema=SCHEMA - 1, identity=CONFIG)
    path = write_published([old, new], tmp_path / "study.parquet")
    before = path.read_bytes()
    assert write_published(with_published(path, [new]), path).read_bytes() == before


def test_a_pack_without_a_run_of_a_kind_or_an_id_is_not_read_for_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_published([saved(store, 1)], tmp_path / "study.parquet")
    (record,) = PublishedStudy(path).records()
    assert PublishedStudy(path).records("none", record.kind) == [record]
    monkeypatch.setattr(PublishedStudy, "checked", lambda self: pytest.fail("it was read"))
    assert PublishedStudy(path).records("none") == PublishedStudy(path).records(ids=["another"]) == []
    (tmp_path / "half.parquet").write_bytes(b"PAR1 and then nothing")
    monkeypatch.undo()
    with collect_damage() as lines:
        assert PublishedStudy(tmp_path / "half.parquet").records("none") == []
    assert len(lines) == 1, "a file that cannot tell is looked at, and named"


def test_a_list_that_names_an_edited_file_deceives_neither_a_check_nor_a_new_publication(path: Path) -> None:
    edit(path, lambda rows: [row.update({"result.tow": 1.0}) for row in rows])
    sums = (f"{hashlib.sha256(one.read_bytes()).hexdigest()}  {one.name}\n" for one in path.parent.glob("study.*"))
    (path.parent / LIST).write_text("".join(sums))
    assert sum("does not match its hash" in line for line in PublishedStudy(path).verify()) == 2
    with pytest.raises(IntegrityError, match="does not match its hash"):
        with_published(path, [])


def test_the_list_names_no_archive_that_is_gone(store: Store, path: Path) -> None:
    bare = store.save("unlearn", CONFIG | {"seed": 3}, result=RESULT)
    write_published([bare], path)
    names = [line.split("  ")[1] for line in (path.parent / LIST).read_text().splitlines()]
    assert names == ["study.parquet"]
    assert not path.with_suffix(".npz").exists()


def test_what_runs_share_is_kept_once(path: Path) -> None:
    with zipfile.ZipFile(path.with_suffix(".npz")) as archive:
        assert len(archive.namelist()) == 4  # an array of each, one of both, and the same per-epoch rows


@pytest.mark.parametrize("damage", ["gone", "changed", "pickled", "garbage"])
def test_a_damaged_archive_is_named_and_its_arrays_are_not_used(path: Path, damage: str) -> None:
    """A file of arrays counts by its hash, so that one in its place is never opened, whatever it holds."""
    place = path.with_suffix(".npz")
    with zipfile.ZipFile(place) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    buffer = io.BytesIO()
    np.save(buffer, np.array([print], object), allow_pickle=True)
    changed = {"changed": b"\0", "pickled": buffer.getvalue(), "garbage": b""}
    place.unlink()
    if damage == "garbage":
        place.write_bytes(b"PK and no more")
    elif damage != "gone":
        with zipfile.ZipFile(place, "w") as archive:
            for name in content:
                archive.writestr(name, changed[damage])
    (record, _) = PublishedStudy(path).records()
    with pytest.raises(IntegrityError, match=r"study\.npz"):
        record.arrays()
    assert len(PublishedStudy(path).verify()) == 6, "every file of both runs"


def test_an_array_of_objects_is_refused_even_under_its_right_hash(store: Store, tmp_path: Path) -> None:
    record = saved(store, 1)
    buffer = io.BytesIO()
    np.savez(buffer, **{"w": np.array([print], object)}, allow_pickle=True)  # type: ignore[arg-type]
    for name, raw in {"arrays.npz": buffer.getvalue(), "x.npy": b"\x93NUMPY\x01\0\xff\xff{"}.items():
        odd = Record("a" * 16, "unlearn", "ok", record.config, {}, {}, files={name: raw})
        with pytest.raises(IntegrityError, match="no plain arrays"):
            odd.arrays()


def old_form(record: Record, path: Path) -> Path:
    """Write a run as versions up to 0.2 published it."""
    texts = {name: json.dumps(getattr(record, name)) for name in ("config", "identity", "result", "provenance")}
    head = {name: getattr(record, name) for name in ("run_id", "kind", "status", "schema")}
    row = head | texts | {"arrays.npz": npz(record.arrays()), "epochs.jsonl": record.read("epochs.jsonl")}
    row["sha256"] = sha_of(row)
    pq.write_table(pa.Table.from_pylist([{name: row[name] for name in COLUMNS}]), path)
    return path


def test_the_form_of_before_is_read_and_packed_anew_in_todays(store: Store, tmp_path: Path) -> None:
    before, later = saved(store, 1), saved(store, 2)
    path = old_form(before, tmp_path / "study.parquet")
    old = PublishedStudy(path)
    assert old.verify() == []
    assert [head.run_id for head in old.heads()] == [before.run_id]
    (record,) = old.records()
    assert (record.result, record.epochs()) == (before.result, before.epochs())
    np.testing.assert_array_equal(record.arrays()["own"], before.arrays()["own"])
    write_published(with_published(path, [later]), path)
    assert {one.run_id for one in PublishedStudy(path).records()} == {before.run_id, later.run_id}
    assert "config.method" in pq.read_schema(path).names
    np.testing.assert_array_equal(pick_array(path, before), before.arrays()["own"])


def test_an_edited_row_of_the_form_of_before_is_named(store: Store, tmp_path: Path) -> None:
    path = old_form(saved(store, 1), tmp_path / "study.parquet")
    rows = pq.read_table(path).to_pylist()
    rows[0]["result"] = json.dumps({"tow": 0.95})
    pq.write_table(pa.Table.from_pylist(rows), path)
    assert ["does not match its hash" in line for line in PublishedStudy(path).verify()] == [True]


def pick_array(path: Path, record: Record) -> Any:
    return next(one for one in PublishedStudy(path).records() if one.run_id == record.run_id).arrays()["own"]


NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.just("json"), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["config", "result", "provenance"]), VALUES), min_size=1, max_size=4))
def test_any_values_come_back_from_columns(rows: list[dict[str, Any]]) -> None:
    buffer = io.BytesIO()
    pq.write_table(to_arrow([{"row": place} | flat(row) for place, row in enumerate(rows)]), buffer)
    back = [nested(row) for row in from_arrow(pq.read_table(buffer))]
    assert [{name: value for name, value in row.items() if name != "row"} for row in back] == rows
