"""Which network runs a figure shows, and what a row of their table holds."""

from collections.abc import Callable
from typing import Any

import pytest

from figures.networks.sweeps import swept_studies
from figures.tables.records import Mixed, Records
from figures.tables.runs import (
    WHOLE,
    one_forget_set,
    run_caption,
    seed_range,
    study_runs,
    study_table,
    swept_table,
    unlearn_table,
)
from repro.records.record import Record
from repro.records.store import Store

Run = Callable[..., Record]
Read = Callable[..., Records]


def test_network_runs_become_one_row_each_with_their_origin(golden: Store) -> None:
    table = unlearn_table(golden.records("unlearn"))
    assert len(table) == 54 + 12 + 12 + 12 + 6 + 32 + 48 + 16 + 6 + 4 + 4
    assert table["run_id"].is_unique
    table = table[table["model"] == "resnet8"]
    cell = table[(table["rule"] == "sam-0.1") & (table["pretrain"] == "sgd") & (table["difficulty"] == "mid")]
    assert sorted(cell["tow"]) == pytest.approx([0.70, 0.71, 0.72])


def test_a_study_has_the_runs_that_it_names_those_that_failed_apart(run: Run, records_of: Read) -> None:
    kept = [run(rule="sgd"), run(rule="sam-0.1", status="diverged")]
    other = [run(rule="asam-1.0", status="failed"), run(rule="minmax", kind="choice")]
    found = study_runs(records_of([*kept, *other]))
    assert sorted(one.config["rule"] for one in found) == ["sam-0.1", "sgd"]


@pytest.mark.parametrize("name", ["augment", "lr", "epochs", "method_options", "model"])
def test_runs_of_one_cell_that_differ_in_more_than_their_seeds_are_never_pooled(
    run: Run, records_of: Read, name: str
) -> None:
    apart = records_of([run(rule="sgd", seed=seed, **{name: value}) for seed, value in ((0, "a"), (1, "b"))])
    with pytest.raises(Mixed, match=f"{name} differ within a setting"):
        study_runs(apart)
    tuned = records_of([run(rule=rule, **{name: rule}) for rule in ("sgd", "sam-0.1")])
    assert len(study_runs(tuned)) == 2, "each cell may have its own"
    assert len(study_runs(apart, shown=(name,))) == 2, "a figure that shows the setting tells them apart"


def test_the_runs_that_measured_a_number_are_taken(run: Run, records_of: Read) -> None:
    without = [run(rule=rule) for rule in ("sgd", "sam-0.1", "asam-1.0")]
    having = [run(rule="sgd", seed=1, number={"relearning_excess": 0.5})]
    assert len(study_runs(records_of([*without, *having]))) == 4
    found, table = study_table(records_of([*without, *having]), having="relearning_excess")
    assert found == having
    assert table["relearning_excess"].tolist() == [0.5]


def test_how_a_landscape_is_measured_tells_other_numbers_apart_in_nothing(run: Run, records_of: Read) -> None:
    number = {"tow": 0.5, "landscape_test_rise": 1.0}
    planes = ({"landscape_points": 25, "landscape_images": 1000}, {"landscape_points": 11})
    found = records_of([run(rule="sgd", seed=seed, number=number, **plane) for seed, plane in enumerate(planes)])
    assert len(study_runs(found)) == 2
    with pytest.raises(Mixed, match="landscape_images, landscape_points differ"):
        study_runs(found, having="landscape_test_rise")


def test_a_sweep_has_at_least_three_values_in_a_cell(run: Run) -> None:
    swept = [run(rule="sgd", alpha=alpha, number={"tow": 0.5}) for alpha in (0.1, 0.2, 0.3)]
    short = [run(rule="sam-0.1", alpha=alpha, number={"tow": 0.5}) for alpha in (0.1, 0.2)]
    other = [run(method="scrub", alpha=alpha, number={"tow": 0.5}) for alpha in (0.1, 0.2, 0.3)]
    table = swept_table(unlearn_table([*swept, *short, *other]), "alpha")
    assert table["alpha"].tolist() == [0.1, 0.2, 0.3]
    assert set(table["rule"]) == {"sgd"}
    assert len(swept_table(unlearn_table(swept), "mask_fraction")) == 0


def test_a_curve_is_of_the_seeds_that_were_run_at_all_of_its_points(run: Run) -> None:
    number = {"tow": 0.5}
    whole = [run(rule="sgd", alpha=alpha, seed=seed, number=number) for alpha in (0.1, 0.2, 0.3) for seed in range(2)]
    alone = [run(rule="sgd", alpha=0.3, seed=seed, number=number) for seed in range(5, 9)]
    assert set(swept_table(unlearn_table([*whole, *alone]), "alpha")["seed"]) == {0, 1}
    # Another polarity of a mask is another curve: here one of a single point.
    other = [run(rule="sgd", alpha=0.1, seed=seed, switches="mask_polarity=low", number=number) for seed in range(2)]
    assert set(swept_table(unlearn_table([*whole, *other]), "alpha")["switches"].dropna()) == set()


def test_every_study_brings_its_sweep_in_the_order_in_which_they_are_named(run: Run) -> None:
    settings = {"rule": "sgd", "number": {"tow": 0.5}}
    digits = [run(alpha=alpha, dataset="digits", **settings) for alpha in (0.1, 0.2, 0.3, 0.4)]
    cifar10 = [run(alpha=alpha, dataset="cifar10", **settings) for alpha in (0.1, 0.2, 0.3)]
    short = [run(alpha=alpha, dataset="cifar100", **settings) for alpha in (0.1, 0.2)]
    parts = [Records(found, study=name) for name, found in (("b", cifar10), ("c", short), ("a", digits))]
    found, table = swept_studies(Records(parts=parts), "alpha")
    assert [one.config["dataset"] for one in found] == ["cifar10"] * 3 + ["digits"] * 4
    assert list(dict.fromkeys(table["dataset"])) == ["cifar10", "digits"]


def test_two_sweeps_of_one_data_set_stand_in_panels_of_their_own(run: Run) -> None:
    def study(name: str, **settings: Any) -> Records:
        runs = [run(rule="sgd", alpha=alpha, number={"tow": 0.5}, **settings) for alpha in (0.1, 0.2, 0.3)]
        return Records(runs, study=name)

    parts = [study("mine"), study("theirs", model="other")]
    _, table = swept_studies(Records(parts=parts), "alpha")
    assert list(dict.fromkeys(table["dataset"])) == ["digits, mine", "digits, theirs"]
    assert "dataset digits, theirs, model other" in run_caption(table)


def test_a_run_of_a_sweep_may_belong_to_a_study_that_measured_more_of_it(run: Run, records_of: Read) -> None:
    sweep = [run(alpha=alpha, metrics=["tow"], number={"tow": 0.5}) for alpha in (0.1, 0.2)]
    both = run(alpha=0.3, metrics=["tow", "mia"], trajectory=True, landscape_points=25, number={"tow": 0.5})
    assert len(swept_studies(records_of([*sweep, both]), "alpha")[0]) == 3


def test_samples_of_different_forget_sets_are_never_pooled(run: Run) -> None:
    sets = {name: run(difficulty=name) for name in ("low", "random", "high", "mid")}
    assert one_forget_set(list(sets.values())) == [sets["high"]]
    assert one_forget_set([sets["low"], sets["mid"]]) == [sets["mid"]]


def test_a_caption_states_no_value_of_what_is_swept_and_every_data_set(run: Run) -> None:
    found = [run(alpha=alpha, dataset=name) for alpha in (0.5, 0.9) for name in ("digits", "cifar10")]
    caption = run_caption(unlearn_table(found))
    assert "alpha" not in caption
    assert caption.index("Setting: dataset digits, ") < caption.index("Setting: dataset cifar10, ")
    models = [run(model=name) for name in ("narrow", "wide")]
    assert "model narrow and wide, " in run_caption(unlearn_table(models)), "a model is always named"


def test_a_caption_counts_seeds_and_names_forget_sets_that_are_the_same(run: Run) -> None:
    found = [run(difficulty=name, seed=seed, number={"parents": {"forget_set": "same"}})
             for name, seeds in (("low", 2), ("mid", 3)) for seed in range(seeds)]  # fmt: skip
    table = unlearn_table(found)
    assert seed_range(table) == "2-3"
    caption = run_caption(table)
    assert "dataset digits, model resnet8, alpha 0.9, epochs 5; 2-3 training seeds per setting." in caption
    assert caption.endswith("The forget sets low and mid hold the same samples here.")
    apart = [run(difficulty=name, number={"parents": {"forget_set": name}}) for name in ("low", "mid")]
    assert "hold the same samples" not in run_caption(unlearn_table(apart))
    assert "metrics" in WHOLE
