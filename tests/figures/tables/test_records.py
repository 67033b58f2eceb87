"""Which records may stand in one figure: one setting, and one version of every metric."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from figures.tables.cells import main_runs, numbers_with, unlearn_table
from figures.tables.records import Records, comparable, current, has_number, measured
from repro.base.errors import ConfigError
from repro.records.pack import PackedStore
from repro.records.record import Record
from repro.records.store import Store

ROOT = Path(__file__).parents[3]
Run = Callable[..., Record]


def evaluated(run: Run, seed: int, **versions: int) -> Record:
    """Return a run evaluated by metrics of the given versions, with a number of two of them."""
    made = {metric: {"id": f"{metric}{seed}", "version": version} for metric, version in versions.items()}
    numbers = {"tow": 0.5, "mia_correctness": 0.6, "retrained_mia_correctness": 0.4, "entanglement_wp": 0.2}
    return run(number=numbers | {"evaluations": made}, seed=seed)


def test_a_run_without_evaluations_measured_what_its_config_says(run: Run) -> None:
    found = run(metrics=["tow", "margins"])
    assert measured(found, "margins")
    assert not measured(found, "landscape")


def test_evaluations_say_what_was_measured_whatever_the_config_says(run: Run) -> None:
    found = run(number={"evaluations": {"tow": {"id": "a", "version": 1}}}, metrics=["margins"])
    assert measured(found, "tow")
    assert not measured(found, "margins")


def test_a_run_that_failed_has_no_numbers(run: Run, records_of: Callable[..., Records]) -> None:
    found = [run(), replace(run(seed=1), status="failed"), replace(run(seed=2), status="diverged")]
    assert [one.status for one in records_of(found).all] == ["ok", "diverged"]


def test_of_two_versions_of_a_metric_only_the_newest_counts(run: Run) -> None:
    old, new = current([evaluated(run, 0, mia=9, tow=1), evaluated(run, 1, mia=10, tow=1)])
    assert not measured(old, "mia")
    assert measured(old, "tow")
    assert measured(new, "mia")
    assert measured(new, "tow")


def test_nothing_but_marks_is_taken_from_an_outdated_result(run: Run) -> None:
    before = evaluated(run, 0, mia=1, tow=1)
    after = current([before, evaluated(run, 1, mia=2, tow=1)])[0]
    assert after.result["outdated"] == ["mia"]
    marks = ("evaluations", "outdated")
    assert {name: value for name, value in after.result.items() if name not in marks} == {
        name: value for name, value in before.result.items() if name not in marks
    }
    assert "outdated" not in before.result


def test_numbers_of_two_versions_never_stand_in_one_column(run: Run, records_of: Callable[..., Records]) -> None:
    records = records_of([evaluated(run, 0, mia=1, tow=1), evaluated(run, 1, mia=2, tow=1)])
    table = unlearn_table(records.of("unlearn")).set_index("seed")
    assert table["tow"].notna().all()
    assert table["entanglement_wp"].notna().all()
    for name in ("mia_correctness", "retrained_mia_correctness"):
        assert table[name].notna().to_dict() == {0: False, 1: True}
    old = next(one for one in records.of("unlearn") if one.config["seed"] == 0)
    assert not has_number(old, "mia_correctness")
    assert numbers_with([old], "mia_") == []
    assert [one.config["seed"] for one in main_runs(records, having="mia_correctness")] == [1]


def test_records_of_another_setting_are_left_out(run: Run) -> None:
    few = [run(rule=rule, epochs=9) for rule in ("sgd", "sam-0.1")]
    many = [run(rule=rule, seed=seed) for rule in ("sgd", "sam-0.1", "asam-1.0") for seed in range(2)]
    assert comparable([*few, *many], ("rule",)) == many
    # Of equally many cells those with more seeds, and of a sweep that with more values, whatever else it has.
    assert comparable([*few, *many[:4]], ("rule",)) == many[:4]
    deep = [run(rule="sgd", epochs=8, seed=seed) for seed in range(9)]
    assert comparable([*deep, *few], ("rule",)) == few, "cells count before seeds"
    swept = [run(rule="sgd", alpha=alpha, epochs=9) for alpha in (0.1, 0.2, 0.3)]
    assert comparable([*swept, *many], ("rule", "alpha"), swept="alpha") == swept


def test_a_study_that_went_on_after_a_setting_was_added_is_still_one_study(
    run: Run, records_of: Callable[..., Records]
) -> None:
    older = [run(rule=rule, seed=0) for rule in ("sgd", "sam-0.1")]
    newer = [run(rule=rule, seed=seed) for rule in ("sgd", "sam-0.1") for seed in (1, 2)]
    # What was added is in the config of the newer runs and, at its default, in no identity.
    newer = [replace(one, config=one.config | {"warmth": 3}, identity=one.config) for one in newer]
    other = replace(run(rule="sgd", seed=3), config=newer[0].config | {"seed": 3, "warmth": 4})
    other = replace(other, identity=other.config)
    records = records_of([*older, *newer, other])
    assert {one.config["seed"] for one in main_runs(records)} == {0, 1, 2}
    assert [one.config.get("warmth") for one in main_runs(records)] == [3] * 6
    # Two values that no identity holds are no default: nothing is supposed of the older runs.
    measured_otherwise = [replace(one, config=one.config | {"warmth": 5}) for one in newer[:1]]
    assert all("warmth" not in one.config for one in records_of([*older, *newer[1:], *measured_otherwise]).all[:2])


def test_a_named_study_is_read_with_those_that_extend_it_and_no_other(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for study in ("one", "one-alpha", "ones", "other"):
        store.save("unlearn", {"study": study}, result={}, provenance={"study": study})
    assert {record.provenance["study"] for record in Records([store], "one").all} == {"one", "one-alpha"}
    assert [record.provenance["study"] for record in Records([store], "one-alpha").all] == ["one-alpha"]
    assert len(Records([store]).all) == 4
    store.save("theory_sweep", {"study": "sweep"}, result={}, provenance={"study": "sweep"})
    assert len(Records([store], "one").of("theory_sweep")) == 1, "a network is held against the theory, whoever ran it"
    for no_study in ("on", "sweep"):
        with pytest.raises(ConfigError, match="study"):
            Records([store], no_study)


def test_a_changed_number_changes_the_fingerprint(run: Run, records_of: Callable[[Sequence[Record]], Records]) -> None:
    one, same, other = (records_of([run(number={"tow": value})]) for value in (0.5, 0.5, 0.6))
    assert one.fingerprint() == same.fingerprint()
    assert one.fingerprint() != other.fingerprint()


def test_a_study_has_the_runs_that_it_shares_with_another() -> None:
    """Six runs of digits are alpha's too, whose pack is read first and measured less of them."""
    packs = [PackedStore(ROOT / "results" / f"{name}.parquet") for name in ("alpha", "digits")]
    runs = Records(packs, "digits").of("unlearn")
    assert len(runs) == 120
    assert {run.source for run in runs} == {"results/digits"}
