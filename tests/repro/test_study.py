"""A study: which runs it has, where they are read from, and what its table says."""

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from figures.catalogue import find
from figures.drawing.style import Theme
from figures.tables.records import Records
from repro.base.errors import ConfigError, MissingDataError
from repro.base.files import collect_damage
from repro.base.glossary import metric_of
from repro.base.outputs import is_as_written
from repro.base.parts import parts
from repro.records.folder import read_marker, write_folder
from repro.records.lists import PUBLISHED, RunList, publish_list
from repro.records.publish import write_published
from repro.records.published import Published, PublishedStudy
from repro.records.store import Store
from repro.study.study import LOOSE, Source, State, Study, load_study, named_studies
from repro.study.table import row_of

ROOT = Path(__file__).parents[2]
PACKS = sorted((ROOT / "results").glob("*.parquet"))


def save(store: Store, seed: int, *, tow: float = 0.5, status: str = "ok", kind: str = "unlearn") -> str:
    config = {"type": "RunConfig", "method": "neggrad", "seed": seed, "metrics": ["tow", "mia"]}
    result: dict[str, Any] = {"tow": tow, "labels": config, "parents": {"forget_set": "f"}}
    result |= {"claim": "x", "title": "x", "seeds": 1, "rows": []} if kind == "theory_claim" else {}
    return store.save(kind, config, result=result, status=status, provenance={"device": "cpu"}).run_id


def published(folder: Path, study: str, seeds: int, *, tow: float) -> Published:
    """Publish a study of some seeds, from a store of its own."""
    store, path = Store(folder / "elsewhere"), folder / "published" / f"{study}.parquet"
    runs = tuple(save(store, seed, tow=tow) for seed in range(seeds))
    write_published(store.records(), path)
    publish_list(path.parent, study, RunList(runs))
    return Published([path])


NOTHING = Published([])


def test_a_recipe_names_its_study() -> None:
    study = load_study("cifar10-alpha")
    assert study == Study("cifar10-alpha", "CIFAR-10: NegGrad against alpha")
    assert load_study("recipes/digits.toml") == load_study("digits")
    assert study.command == "repro study run recipes/cifar10-alpha.toml"
    assert load_study("mine").command == "no recipe of the toolkit has study mine"


def test_a_name_that_no_study_has_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'digits'"):
        named_studies(["digts"], store, NOTHING)
    with pytest.raises(MissingDataError, match="no such file"):
        named_studies([str(tmp_path / "none.toml")], store, NOTHING)
    store.lists.put("mine", RunList(("a" * 16,)))
    assert [study.name for study in named_studies(["mine", "loose"], store, NOTHING)] == ["mine", LOOSE]


def test_where_a_run_stands_is_what_its_record_or_a_live_lease_says(store: Store) -> None:
    done, failed, diverged = save(store, 0), save(store, 1, status="failed"), save(store, 2, status="diverged")
    with store.lease("b" * 16):
        found = Study("mine").state(store, [done, failed, diverged, "b" * 16, "c" * 16])
    assert list(found.values()) == [State.DONE, State.FAILED, State.DONE, State.RUNNING, State.MISSING]


def test_a_run_without_a_metric_that_its_study_wants_is_missing(store: Store, tmp_path: Path) -> None:
    """`--without` leaves metrics for later, and the part of an evaluation may be lost."""
    run = save(store, 0)
    store.lists.put("mine", RunList((run,), metrics={run: ("tow",)}))
    assert store.lists.get("mine") == RunList((run,), metrics={run: ("tow",)})
    study, other = Study("mine"), published(tmp_path, "mine", 1, tow=0.1)
    assert study.state(store, [run]) == {run: State.MISSING}
    assert study.source(store, other).place is other
    present = parts("metrics")["tow"].version
    for version, state in ((present - 1, State.MISSING), (present, State.DONE)):
        made = store.save_evaluation({"metric": "tow", "version": version, "forget_set": "f"}, result={"tow": 0.9})
        store.add_evaluations(run, {"tow": made.run_id})
        assert study.state(store, [run]) == {run: state}
    assert study.table(study.source(store, other))["tow"].tolist() == [0.9]


def test_runs_and_what_was_pooled_of_them_are_read_from_the_store_that_has_them_all(
    store: Store, tmp_path: Path
) -> None:
    """A study without a list, such as `loose`, is published with its pooled metrics among its runs."""
    run, key = save(store, 0), {"metric": "klom", "version": 1, "forget_set": "f", "pooled": True}
    pool = store.save_evaluation(key, result={"labels": {}, "runs": [run]}).run_id
    assert set(Study(LOOSE).own_runs(store).runs) == {run, pool}
    other = published(tmp_path, LOOSE, 1, tow=0.1)
    publish_list(tmp_path / "published", LOOSE, Study(LOOSE).own_runs(store))
    source = Study(LOOSE).source(store, other)
    assert source.place is store
    assert {record.run_id for record in Study(LOOSE).records(source)} == {run, pool}


def test_a_study_is_read_from_the_store_where_it_is_complete_there_and_never_mixed(
    store: Store, tmp_path: Path
) -> None:
    study, other = Study("mine"), published(tmp_path, "mine", 3, tow=0.1)
    assert study.source(store, other).place is other, "nobody ran it here"
    runs = tuple(save(store, seed, tow=0.9) for seed in range(2))
    later = save(Store(tmp_path / "later"), 2)
    store.lists.put("mine", RunList((*runs, later)))
    partial = study.source(store, other)
    assert partial.place is other
    assert study.table(partial)["tow"].tolist() == [0.1, 0.1, 0.1], "what is here is not mixed in"
    alone = study.source(store, NOTHING)
    assert (alone.place, alone.missing) == (store, 1)
    assert alone.said() == "local records, 1 of 3 runs missing"
    save(store, 2, tow=0.9)
    whole = study.source(store, other)
    assert (whole.place, whole.missing) == (store, 0)
    assert study.table(whole)["tow"].tolist() == [0.9, 0.9, 0.9]
    store.lists.put("mine", RunList(runs, open=1))
    assert study.source(store, other).place is other, "a rate is still to be chosen"


def test_runs_of_a_store_that_no_list_names_are_loose(store: Store) -> None:
    listed, loose, claim = save(store, 0), save(store, 1), save(store, 2, kind="theory_claim")
    store.lists.put("mine", RunList((listed,)))
    assert set(Study(LOOSE).own_runs(store).runs) == {loose, claim}
    assert Study("claims").own_runs(store).runs == (claim,)
    assert Study("other").own_runs(store) == RunList()


def test_a_pooled_metric_whose_arrays_are_none_is_named_and_the_rest_is_read(store: Store) -> None:
    config, result = {"metric": "klom", "pooled": True}, {"labels": {}, "runs": []}
    runs = (save(store, 0), store.save_evaluation(config, result=result, arrays={"klom": np.arange(3)}).run_id)
    store.lists.put("mine", RunList(runs[:1], more=runs[1:]))
    study, place = Study("mine"), Published([])
    assert {record.run_id for record in study.records(study.source(store, place))} == set(runs)
    (folder,) = store.root.glob("evaluations/*")
    buffer = io.BytesIO()
    np.save(buffer, np.array([print], object), allow_pickle=True)
    marker = read_marker(folder / "result.json")
    files = {name: (folder / name).read_bytes() for name in marker["files"]} | {"arrays.npz": buffer.getvalue()}
    write_folder(folder, files, "result.json", marker)
    with collect_damage() as lines:
        assert [record.run_id for record in study.records(study.source(store, place))] == [runs[0]]
    assert [runs[1] in line and "arrays" in line for line in lines] == [True]


def test_a_row_has_settings_numbers_and_facts_as_plain_values(store: Store) -> None:
    save(store, 3)
    row = row_of(store.records()[0])
    assert {"method": "neggrad", "seed": 3, "metrics": "tow, mia", "tow": 0.5, "forget_set": "f", "device": "cpu",
            "status": "ok", "kind": "unlearn"}.items() <= row.items()  # fmt: skip
    assert all(value is None or isinstance(value, str | int | float) for value in row.values())


def test_a_table_has_the_runs_that_a_study_compares_and_not_those_that_chose_its_rates(
    store: Store, tmp_path: Path
) -> None:
    run, tried = save(store, 0), save(store, 9, kind="choice")
    store.lists.put("mine", RunList((run,), search=(tried,)))
    source = Study("mine").source(store, NOTHING)
    assert Study("mine").table(source)["run_id"].tolist() == [run]
    assert {record.run_id for record in Study("mine").records(source)} == {run, tried}


@pytest.fixture(scope="module")
def committed() -> Published:
    return Published(PACKS)


def test_every_committed_record_is_in_the_list_of_a_study_and_every_list_is_whole(committed: Published) -> None:
    there = {record.run_id for path in PACKS for record in PublishedStudy(path).records()}
    assert {one for runs in committed.lists.values() for one in runs.ids} == there
    assert all(runs.runs for runs in committed.lists.values())


def test_the_committed_list_of_hashes_names_every_committed_file_as_it_is() -> None:
    """A file that it does not name is read row by row, which takes longer; `repro records publish` writes both."""
    files = [*PACKS, *(path.with_suffix(".npz") for path in PACKS if path.with_suffix(".npz").exists())]
    assert [path.name for path in files if not is_as_written(path, path.read_bytes())] == []


@pytest.fixture(scope="module")
def cifar10(committed: Published) -> tuple[pd.DataFrame, Records]:
    study = load_study("cifar10")
    source = study.source(Store("no store"), committed)
    return study.table(source), Records(study.records(source))


@pytest.mark.parametrize(
    ("figure", "metrics"),
    [("fig-tow", ["tow"]), ("tab-methods", ["tow"]), ("tab-neggrad", ["tow"]),
     ("tab-minmax", ["tow", "retain_accuracy", "test_accuracy"]), ("fig-mia", ["mia_correctness", "mia_entropy"]),
     ("fig-entanglement", ["entanglement_wp"]), ("fig-accuracies", ["forget_accuracy"])],
)  # fmt: skip
def test_the_numbers_of_a_figure_are_means_of_columns_of_its_studys_table(
    cifar10: tuple[pd.DataFrame, Records], figure: str, metrics: list[str]
) -> None:
    (table, records), keys = cifar10, ["method", "pretrain", "rule", "difficulty"]
    drawn = find(figure)(records, Theme()).data
    drawn = drawn[drawn["rule"].notna() & drawn["method"].isin(table["method"])]
    drawn = drawn[drawn["difficulty"] != "mean"] if "difficulty" in drawn else drawn
    for metric in metrics:
        known = table.dropna(subset=[metric])
        wanted = known.groupby(keys)[metric].agg(["mean", "std", "count"])
        seen = drawn[drawn["metric"] == metric].set_index(keys)
        assert len(seen)
        wanted = wanted.loc[seen.index]
        pd.testing.assert_series_equal(seen["mean"], wanted["mean"], check_names=False)
        pd.testing.assert_series_equal(seen["sd"], wanted["std"], check_names=False)
        assert seen["seeds"].tolist() == wanted["count"].tolist()


def test_a_damaged_file_of_lists_is_named(tmp_path: Path) -> None:
    from repro.base.errors import IntegrityError

    for text in ("no json", "[]", '{"mine": {"runs": 3}}'):
        (tmp_path / PUBLISHED).write_text(text)
        with pytest.raises(IntegrityError, match="unreadable"):
            Published([tmp_path / "any.parquet"]).lists.get("mine")


def test_what_is_published_again_adds_to_the_list(tmp_path: Path) -> None:
    for runs, search in itertools.pairwise((("b",), ("a",), ("c",))):
        publish_list(tmp_path, "mine", RunList(runs, search))
    assert Published([tmp_path / "any.parquet"]).lists.get("mine") == RunList(("a", "b"), ("a", "c"))
    assert Source(NOTHING, RunList()).said() == "published records"


@pytest.mark.parametrize(("number", "metric"), [
    ("tow", "tow"), ("tow_mia", "gap"), ("retrained_mia_correctness", "mia"), ("klom_images", "klom_margins"),
    ("relearning_steps", "relearning"), ("original_test_accuracy", "accuracy"), ("n_retain", ""), ("status", ""),
])  # fmt: skip
def test_a_number_belongs_to_the_metric_that_declares_it(number: str, metric: str) -> None:
    assert metric_of(number) == metric
