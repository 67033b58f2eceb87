"""One stage id with two sets of weights: named, and never compared, judged, joined or packed."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from empirical.settings.run_config import RunConfig
from empirical.studies.compare import check_study, diff_runs
from repro.base.errors import ConfigError, IntegrityError
from repro.base.files import collect_damage
from repro.records.identity import plain
from repro.records.lists import RunList
from repro.records.publish import with_published, write_published
from repro.records.published import Published, PublishedStudy
from repro.records.record import Record
from repro.records.stages import two_weights
from repro.records.store import Store
from repro.statistics.effects import paired_effects
from repro.study.study import Study
from tests.repro.test_effects import run as effect_row

IDS = {"pretrain": "a" * 16, "unlearn": "b" * 16, "retrain": "c" * 16, "forget_set": "f" * 16}


def network(seed: int, pretrain: str | None = None, **more: Any) -> Record:
    """Return a run of one original, whose weights have this checksum."""
    parents = IDS | {"unlearn": f"{seed:016x}", "pretrain_checksum": pretrain}
    result = {"labels": {"seed": seed}, "parents": parents, "data_digest": "d", "tow": 0.9, "retain_accuracy": 0.9}
    config = RunConfig(seed=seed)
    return Record(f"{seed:016x}", "unlearn", "ok", plain(config), result | more, {}, identity={"seed": seed})


def saved(store: Store, record: Record) -> Record:
    return store.save(record.kind, record.config, result=record.result)


BOTH = [network(1, "one"), network(2, "two"), network(3, None)]


def test_the_line_names_the_stage_its_checksums_the_runs_and_the_remedy() -> None:
    ((line, runs),) = two_weights(BOTH).values()
    assert runs == [BOTH[0].run_id, BOTH[1].run_id], "what is not known is taken for the same"
    for part in (IDS["pretrain"], "one", "two", *runs, "portable"):
        assert part in line
    assert two_weights([network(1, "one"), network(2, "one"), network(3, None)]) == {}


def test_a_study_names_such_runs_and_leaves_them_out(store: Store) -> None:
    runs = [saved(store, record) for record in BOTH]
    store.lists.put("mine", RunList(tuple(one.run_id for one in runs)))
    study = Study("mine")
    with collect_damage() as lines:
        found = study.records(study.source(store, Published([])))
    assert [one.run_id for one in found] == [runs[2].run_id]
    assert [IDS["pretrain"] in line and "left out" in line for line in lines] == [True]


def test_they_are_named_by_verify_in_a_store_and_in_a_pack(store: Store, tmp_path: Path) -> None:
    runs = [saved(store, record) for record in BOTH]
    packed = PublishedStudy(write_published(runs, tmp_path / "study.parquet"))
    for reader in (store, packed):
        assert [IDS["pretrain"] in line for line in reader.verify()] == [True]


def test_they_are_not_packed_together(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "study.parquet"
    runs = [saved(store, record) for record in BOTH]
    with pytest.raises(IntegrityError, match=IDS["pretrain"]):
        with_published(path, runs)
    write_published([runs[0]], path)
    with pytest.raises(IntegrityError, match=IDS["pretrain"]):
        with_published(path, [runs[1]])
    assert with_published(path, [runs[0], runs[2]])


def measured(name: str, **more: Any) -> dict[str, Any]:
    return {"evaluations": {name: {"id": "0" * 16, "version": 1}}} | more


@pytest.mark.parametrize(
    ("before", "new", "joined"),
    [
        ({"pretrain": "one"}, {"pretrain": "one"}, True),
        ({"pretrain": "one"}, {"pretrain": "two"}, False),
        ({}, {"pretrain": "one"}, False),
        ({}, {}, True),
        ({"seconds_unlearn": 1.0}, {"seconds_unlearn": 2.0}, True),
        ({"tow": 0.8}, {"tow": 0.9}, False),
    ],
)
def test_two_trainings_are_no_row_together_though_their_accuracies_agree(
    store: Store, tmp_path: Path, before: Mapping[str, Any], new: Mapping[str, Any], joined: bool
) -> None:
    first, second = (
        saved(store, network(1, **measured(name, **{name: 0.5}), **one))
        for name, one in (("mia", before), ("hessian", new))
    )
    (record,) = with_published(write_published([first], tmp_path / "study.parquet"), [second])
    assert set(record.result["evaluations"]) == ({"mia", "hessian"} if joined else {"hessian"})
    assert ("mia" in record.result) == joined


def test_a_study_s_numbers_are_not_judged_across_them() -> None:
    with pytest.raises(IntegrityError, match=IDS["pretrain"]):
        check_study([], BOTH)
    assert check_study([], BOTH[1:]) == []


def test_two_runs_say_that_they_differ_in_them() -> None:
    assert f"weights of stage {IDS['pretrain']}" in [one.setting for one in diff_runs(BOTH[0], BOTH[1])]
    assert not [one for one in diff_runs(BOTH[0], BOTH[2]) if "weights" in one.setting]


@pytest.mark.parametrize("model", ["original", "reference"])
def test_no_difference_is_taken_across_them(model: str) -> None:
    runs = pd.DataFrame([effect_row("sgd", 0, 0.8), effect_row("sam", 0, 0.9)])
    known = runs.assign(**{f"{model}_checksum": ["one", "two"]})
    with pytest.raises(ConfigError, match=f"{model} .*checksum"):
        paired_effects(known, "tow")
    for same in (["one", "one"], ["one", None]):
        assert len(paired_effects(runs.assign(**{f"{model}_checksum": same}), "tow")) == 1


class TestParts:
    """No part of a run's numbers changes or goes without being noticed."""

    @pytest.fixture
    def run(self, store: Store) -> Record:
        stages = {"original": IDS["pretrain"], "unlearned": f"{1:016x}"}
        key = {"metric": "tow", "version": 1, "stages": stages, "forget_set": IDS["forget_set"]}
        weights = {"pretrain_checksum": "one"}
        part = store.save_evaluation(key, result={"tow": 0.5}, provenance={"weights": weights})
        record = network(1, "one")
        facts = {name: value for name, value in record.result.items() if name != "tow"}
        found = store.save("unlearn", record.config, result=facts, evaluations={"tow": part.run_id})
        assert store.verify() == []
        assert found.result["tow"] == 0.5
        return found

    def test_an_evaluation_that_is_gone_is_named(self, store: Store, run: Record) -> None:
        (folder,) = store.root.glob("evaluations/*")
        folder.rename(store.root / "elsewhere")
        assert [run.run_id in line and "tow" in line for line in store.verify()] == [True]

    def test_another_digit_in_the_list_of_evaluations_is_named(self, store: Store, run: Record) -> None:
        path = store.root / "runs" / run.run_id / "result.json"
        identity = run.result["evaluations"]["tow"]["id"]
        path.write_text(path.read_text().replace(identity, f"{int(identity, 16) ^ 1:016x}"))
        assert [run.run_id in line and "hash" in line for line in store.verify()] == [True]

    def test_an_evaluation_of_other_weights_is_named_and_not_joined(self, store: Store, run: Record) -> None:
        key = json.loads(next(store.root.glob("evaluations/*/config.json")).read_text())["config"]
        store.save_evaluation(key, result={"tow": 0.7}, provenance={"weights": {"pretrain_checksum": "two"}})
        (record,) = store.records()
        assert "tow" not in record.result
        assert [run.run_id in line and "tow" in line for line in store.verify()] == [True]

    def test_a_list_of_before_is_read_until_the_run_gets_another_evaluation(self, store: Store, run: Record) -> None:
        part = store.save_evaluation({"metric": "mia"}, result={"mia": 0.1}).run_id
        plain_run = store.save("unlearn", replace(RunConfig(), seed=5), result={})
        folder = store.root / "runs" / plain_run.run_id
        (folder / "evaluations.json").write_text(json.dumps({"mia": part}))
        assert store.load(plain_run.run_id).result["mia"] == 0.1
        store.add_evaluations(
            plain_run.run_id, {"other": store.save_evaluation({"metric": "other"}, result={"x": 1}).run_id}
        )
        (folder / "evaluations.json").unlink()
        assert {"mia", "x"} <= set(store.load(plain_run.run_id).result)
