"""Which records may stand in one figure: one setting, and one version of every metric."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from figures.tables.records import Mixed, Records, Studies, measured
from figures.tables.runs import study_runs, unlearn_table
from repro.records.lists import RunList
from repro.records.published import Published
from repro.records.record import Record
from repro.records.store import Store
from repro.study.study import LOOSE, Study
from repro.study.table import current, has_number

Of = Callable[..., Records]

ROOT = Path(__file__).parents[3]
Run = Callable[..., Record]


def evaluated(run: Run, seed: int, **versions: int) -> Record:
    """Return a run evaluated by metrics of the given versions, with a number of two of them."""
    made = {metric: {"id": f"{metric}{seed}", "version": version} for metric, version in versions.items()}
    numbers = {"tow": 0.5, "mia_correctness": 0.6, "retrained_mia_correctness": 0.4, "entanglement_wp": 0.2}
    return run(number=numbers | {"evaluations": made}, seed=seed)


def test_evaluations_say_what_was_measured_and_without_any_the_config(run: Run) -> None:
    evaluated, plain = (
        run(number={"evaluations": {"tow": {"id": "a", "version": 1}}}, metrics=["margins"]),
        run(metrics=["margins"]),
    )
    assert [measured(evaluated, name) for name in ("tow", "margins")] == [True, False]
    assert [measured(plain, name) for name in ("tow", "margins")] == [False, True]


def test_a_run_that_failed_has_no_numbers(run: Run, records_of: Of) -> None:
    found = [run(), replace(run(seed=1), status="failed"), replace(run(seed=2), status="diverged")]
    assert [one.status for one in records_of(found).all] == ["ok", "diverged"]


def test_nothing_but_marks_is_taken_from_an_outdated_result(run: Run) -> None:
    before = evaluated(run, 0, mia=1, tow=1)
    after = current([before, evaluated(run, 1, mia=2, tow=1)])[0]
    assert after.result["outdated"] == ["mia"]
    marks = ("evaluations", "outdated")
    assert {name: value for name, value in after.result.items() if name not in marks} == {
        name: value for name, value in before.result.items() if name not in marks
    }
    assert "outdated" not in before.result


def test_numbers_of_two_versions_never_stand_in_one_column(run: Run, records_of: Of) -> None:
    records = records_of([evaluated(run, 0, mia=1, tow=1), evaluated(run, 1, mia=2, tow=1)])
    table = unlearn_table(records.of("unlearn")).set_index("seed")
    assert table["tow"].notna().all()
    assert table["entanglement_wp"].notna().all()
    for name in ("mia_correctness", "retrained_mia_correctness"):
        assert table[name].notna().to_dict() == {0: False, 1: True}
    old = next(one for one in records.of("unlearn") if one.config["seed"] == 0)
    assert not has_number(old, "mia_correctness")
    assert [one.config["seed"] for one in study_runs(records, having="mia_correctness")] == [1]


def test_a_study_that_went_on_after_a_setting_was_added_is_still_one_study(run: Run, records_of: Of) -> None:
    older = [run(rule=rule, seed=0) for rule in ("sgd", "sam-0.1")]
    newer = [run(rule=rule, seed=seed) for rule in ("sgd", "sam-0.1") for seed in (1, 2)]
    # What was added is in the config of the newer runs and, at its default, in no identity.
    newer = [replace(one, config=one.config | {"warmth": 3}, identity=one.config) for one in newer]
    other = replace(run(rule="sgd", seed=3), config=newer[0].config | {"seed": 3, "warmth": 4})
    other = replace(other, identity=other.config)
    records = records_of([*older, *newer])
    assert {one.config["seed"] for one in study_runs(records)} == {0, 1, 2}
    assert [one.config.get("warmth") for one in study_runs(records)] == [3] * 6
    with pytest.raises(Mixed, match="warmth differ"):
        study_runs(records_of([*older, *newer, other]))
    # Two values that no identity holds are no default: nothing is supposed of the older runs.
    measured_otherwise = [replace(one, config=one.config | {"warmth": 5}) for one in newer[:1]]
    assert all("warmth" not in one.config for one in records_of([*older, *newer[1:], *measured_otherwise]).all[:2])


def test_a_figure_is_handed_the_runs_of_the_study_it_names_and_no_other(store: Store) -> None:
    made = {name: store.save("unlearn", {"study": name}, result={}).run_id for name in ("one", "one-alpha", "other")}
    for name, run_id in made.items():
        store.lists.put(name, RunList((run_id,)))
    studies = Studies(store, Published([]))
    assert [record.run_id for record in studies.of("one").all] == [made["one"]], "a dash in a name means nothing"
    both = studies.of("one", "other")
    assert {record.run_id for record in both.all} == {made["one"], made["other"]}
    assert [part.study for part in both.parts] == ["one", "other"]
    assert studies.of("nobody").all == []


def test_a_study_that_is_asked_for_takes_the_place_of_recipes_and_not_of_the_theory(store: Store) -> None:
    mine = store.save("unlearn", {"a": 1}, result={}).run_id
    sweep = store.save("theory_sweep", {"sweep": "phase"}, result={"sweep": "phase", "boundaries": []}).run_id
    loose = store.save("theory", {"d": 1}, result={"seeds": [], "epochs": [], "final": {}}).run_id
    store.lists.put("mine", RunList((mine,)))
    instead = Studies(store, Published([]), [Study("mine")])
    assert [part.study for part in instead.of("cifar10", "cifar10-alpha", "sweeps").parts] == ["mine", "sweeps"]
    assert [record.run_id for record in instead.of("sweeps").all] == [sweep]
    assert {record.run_id for record in Studies(store, Published([]), [Study(LOOSE)]).of("sweeps").all} == {
        sweep,
        loose,
    }


def test_what_a_study_of_the_store_lacks_is_said(store: Store) -> None:
    run = store.save("unlearn", {"a": 1}, result={}).run_id
    store.lists.put("digits", RunList((run, "b" * 16)))
    records = Studies(store, Published([])).of("digits")
    assert records.said == "Study digits, local records, 1 of 2 runs missing."
    assert records.missing == ("1 of 2 runs of study digits: repro study run recipes/digits.toml",)


def test_a_changed_number_changes_the_fingerprint(run: Run, records_of: Of) -> None:
    one, same, other = (records_of([run(number={"tow": value})]) for value in (0.5, 0.5, 0.6))
    assert one.fingerprint() == same.fingerprint()
    assert one.fingerprint() != other.fingerprint()


def test_a_study_has_its_own_copy_of_a_run_that_it_shares_with_another() -> None:
    """Six runs of digits are of the study alpha too, which measured less of them."""
    studies = Studies(None, Published(sorted((ROOT / "results").glob("*.parquet"))))
    digits, alpha = ({run.run_id: run for run in studies.of(name).of("unlearn")} for name in ("digits", "alpha"))
    assert (len(digits), len(alpha), len(digits.keys() & alpha.keys())) == (120, 210, 6)
    assert {run.source for run in digits.values()} == {"results/digits"}
    assert {run.source for run in alpha.values()} == {"results/alpha"}


def test_a_figure_reads_the_arrays_that_it_asks_for(store: Store, committed: Studies) -> None:
    arrays = {"margin": np.arange(3.0), "other": np.arange(2.0)}
    own = store.save("unlearn", {"a": 1}, result={}, arrays=arrays)
    published = next(run for run in committed.of("cifar10").of("unlearn") if "landscape_axis" in run.arrays())
    for record, name in ((own, "margin"), (published, "landscape_axis")):
        assert set(record.arrays()) > {name}
        assert set(record.arrays(name, "absent")) == {name}
        np.testing.assert_array_equal(record.arrays(name)[name], record.arrays()[name])
