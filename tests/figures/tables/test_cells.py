"""Which network runs a figure shows, and what a row of their table holds."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from figures.tables.cells import (
    CELL,
    low_polarity,
    main_runs,
    main_study,
    one_forget_set,
    run_caption,
    seed_range,
    swept_runs,
    swept_table,
    unlearn_table,
)
from figures.tables.records import Records
from repro.records.record import Record
from repro.records.store import Store

Run = Callable[..., Record]
Read = Callable[..., Records]


def test_network_runs_become_one_row_each_with_their_origin(golden: Store) -> None:
    table = unlearn_table(golden.records("unlearn"))
    assert len(table) == 54 + 12 + 12 + 32 + 48 + 16 + 6 + 4
    assert table["run_id"].is_unique
    table = table[table["model"] == "resnet8"]
    cell = table[(table["rule"] == "sam-0.1") & (table["pretrain"] == "sgd") & (table["difficulty"] == "mid")]
    assert sorted(cell["tow"]) == pytest.approx([0.70, 0.71, 0.72])


def test_the_main_study_leaves_out_failed_runs_and_patch_images(run: Run, records_of: Read) -> None:
    kept = [run(rule="sgd"), run(rule="sam-0.1", status="diverged")]
    other = [run(rule="asam-1.0", status="failed"), run(rule="minmax", kind="choice")]
    other += [run(rule=f"sam-{radius}", dataset="signal-noise") for radius in range(9)]
    found = main_runs(records_of([*kept, *other]))
    assert sorted(one.config["rule"] for one in found) == ["sam-0.1", "sgd"]


def test_a_cell_that_only_an_extension_of_the_study_has_is_none_of_its_own(run: Run, records_of: Read) -> None:
    def of(study: str, rule: str, seed: int) -> Record:
        return replace(run(rule=rule, seed=seed), provenance={"study": study})

    base = [of("cifar10", rule, 0) for rule in ("sgd", "sam-0.1")]
    more, radius = of("cifar10-more", "sam-0.1", 1), of("cifar10-radius", "sam-0.3", 0)
    found = main_runs(records_of([*base, more, radius, of("cifar100", "sam-0.5", 0)]))
    assert {(one.config["rule"], one.config["seed"]) for one in found} == {
        ("sgd", 0), ("sam-0.1", 0), ("sam-0.1", 1), ("sam-0.5", 0)
    }  # fmt: skip
    assert main_runs(records_of([radius])) == [radius], "alone it is the study"


def test_a_larger_study_that_extends_another_with_a_setting_changed_does_not_stand_for_it(
    run: Run, records_of: Read
) -> None:
    def of(study: str, rule: str, seed: int = 0, **settings: Any) -> Record:
        return replace(run(rule=rule, seed=seed, **settings), provenance={"study": study})

    base = [of("mine", rule) for rule in ("sgd", "sam-0.1")]
    larger = [
        of("mine-plain", rule, seed, augment="none") for rule in ("sgd", "sam-0.1", "asam-1") for seed in range(3)
    ]
    elsewhere = [of("mine-rate", "sgd", seed, lr=7.0) for seed in range(3)]
    again = of("mine-more", "sgd", 4)
    found = main_runs(records_of([*larger, *elsewhere, *base, again]))
    assert {one.run_id for one in found} == {one.run_id for one in [*base, again]}


def test_within_a_rule_the_rate_is_one_and_the_same(run: Run, records_of: Read) -> None:
    tuned = [run(rule="sgd", lr=0.1, seed=seed) for seed in range(3)] + [run(rule="sam-0.1", lr=0.5)]
    stray = [run(rule="sgd", lr=0.3, seed=7)]
    assert {one.run_id for one in main_runs(records_of([*tuned, *stray]))} == {one.run_id for one in tuned}


def test_the_largest_study_is_the_one_with_most_cells_times_training_images(run: Run, records_of: Read) -> None:
    rules = ("sgd", "sam-0.1", "asam-1.0")
    scans = [run(rule=rule, dataset="digits", number={"n_retain": 1365, "n_forget": 72}) for rule in rules]
    photos = [run(rule="sgd", dataset="cifar10", number={"n_retain": 4000, "n_forget": 200})]
    assert {one.config["dataset"] for one in main_runs(records_of([*scans, *photos]))} == {"digits"}
    photos = [run(rule="sgd", dataset="cifar10", number={"n_retain": 4100, "n_forget": 220})]
    assert {one.config["dataset"] for one in main_runs(records_of([*scans, *photos]))} == {"cifar10"}


def test_the_study_that_measured_a_number_is_taken(run: Run, records_of: Read) -> None:
    large = [run(rule=rule, model="large") for rule in ("sgd", "sam-0.1", "asam-1.0")]
    small = [run(rule="sgd", model="small", number={"relearning_excess": 0.5})]
    assert len(main_runs(records_of([*large, *small]))) == 3
    found, table, number = main_study(records_of([*large, *small]), "never_measured", "relearning_excess")
    assert ([one.config["model"] for one in found], number) == (["small"], "relearning_excess")
    assert table["relearning_excess"].tolist() == [0.5]


def test_how_a_landscape_is_measured_tells_other_numbers_apart_in_nothing(run: Run, records_of: Read) -> None:
    number = {"tow": 0.5, "landscape_test_rise": 1.0}
    planes = ({"landscape_points": 25, "landscape_images": 1000}, {"landscape_points": 11}, {"landscape_points": 11})
    found = [run(rule="sgd", seed=seed, number=number, **plane) for seed, plane in enumerate(planes)]
    assert len(main_runs(records_of(found))) == 3
    assert {one.config["seed"] for one in main_runs(records_of(found), having="landscape_test_rise")} == {1, 2}


def test_a_sweep_has_at_least_three_values_in_a_cell(run: Run) -> None:
    swept = [run(rule="sgd", alpha=alpha, number={"tow": 0.5}) for alpha in (0.1, 0.2, 0.3)]
    short = [run(rule="sam-0.1", alpha=alpha, number={"tow": 0.5}) for alpha in (0.1, 0.2)]
    other = [run(method="scrub", alpha=alpha, number={"tow": 0.5}) for alpha in (0.1, 0.2, 0.3)]
    table = swept_table([*swept, *short, *other], "alpha")
    assert table["alpha"].tolist() == [0.1, 0.2, 0.3]
    assert set(table["rule"]) == {"sgd"}
    assert len(swept_table(swept, "mask_fraction")) == 0


def test_a_curve_is_of_the_seeds_that_were_run_at_all_of_its_points(run: Run) -> None:
    number = {"tow": 0.5}
    whole = [run(rule="sgd", alpha=alpha, seed=seed, number=number) for alpha in (0.1, 0.2, 0.3) for seed in range(2)]
    alone = [run(rule="sgd", alpha=0.3, seed=seed, number=number) for seed in range(5, 9)]
    assert set(swept_table([*whole, *alone], "alpha")["seed"]) == {0, 1}
    # Another polarity of a mask is another curve: here one of a single point.
    other = [run(rule="sgd", alpha=0.1, seed=seed, switches="mask_polarity=low", number=number) for seed in range(2)]
    assert set(swept_table([*whole, *other], "alpha")["switches"].dropna()) == set()


def test_every_data_set_brings_its_fullest_sweep_the_one_of_most_images_first(run: Run, records_of: Read) -> None:
    settings = {"rule": "sgd", "number": {"tow": 0.5}}
    digits = [run(alpha=alpha, dataset="digits", **settings) for alpha in (0.1, 0.2, 0.3, 0.4)]
    stray = [run(alpha=alpha, dataset="digits", batch_size=9, **settings) for alpha in (0.1, 0.2, 0.3)]
    photos = {"rule": "sgd", "dataset": "cifar10", "number": {"tow": 0.5, "n_retain": 100}}
    cifar10 = [run(alpha=alpha, **photos) for alpha in (0.1, 0.2, 0.3)]
    short = [run(alpha=alpha, **photos | {"dataset": "cifar100"}) for alpha in (0.1, 0.2)]
    patches = [run(alpha=alpha, dataset="signal-noise", **settings) for alpha in (0.1, 0.2, 0.3)]
    found = swept_runs(records_of([*stray, *digits, *short, *cifar10, *patches]), "alpha")
    assert [one.config["dataset"] for one in found] == ["cifar10"] * 3 + ["digits"] * 4
    assert {one.run_id for one in found} == {one.run_id for one in (*cifar10, *digits)}


def test_a_run_of_a_sweep_may_belong_to_a_study_that_measured_more_of_it(run: Run, records_of: Read) -> None:
    sweep = [run(alpha=alpha, metrics=["tow"], number={"tow": 0.5}) for alpha in (0.1, 0.2)]
    both = run(alpha=0.3, metrics=["tow", "mia"], trajectory=True, landscape_points=25, number={"tow": 0.5})
    assert len(swept_runs(records_of([*sweep, both]), "alpha")) == 3


def test_a_rate_belongs_to_a_whole_curve_unless_every_point_has_its_own(run: Run, records_of: Read) -> None:
    found = [run(alpha=alpha, lr=alpha, number={"tow": 0.5}) for alpha in (0.1, 0.2, 0.3)]
    assert swept_runs(records_of(found), "alpha") == []
    assert len(swept_runs(records_of(found), "alpha", ("switches",))) == 3


def test_samples_of_different_forget_sets_are_never_pooled(run: Run) -> None:
    sets = {name: run(difficulty=name) for name in ("low", "random", "high", "mid")}
    assert one_forget_set(list(sets.values())) == [sets["high"]]
    assert one_forget_set([sets["low"], sets["mid"]]) == [sets["mid"]]


def test_the_reverse_polarity_is_that_of_the_switch(run: Run) -> None:
    table = unlearn_table([run(switches="mask_polarity=low", number={"tow": 1.0}), run(switches="")])
    assert low_polarity(table).tolist() == [True, False]
    assert low_polarity(unlearn_table([run()])).tolist() == [False]


def test_a_caption_states_no_value_of_what_is_swept_and_every_data_set(run: Run) -> None:
    found = [run(alpha=alpha, dataset=name) for alpha in (0.5, 0.9) for name in ("digits", "cifar10")]
    caption = run_caption(found, unlearn_table(found))
    assert "alpha" not in caption
    assert caption.index("Setting: dataset digits, ") < caption.index("Setting: dataset cifar10, ")
    models = [run(model=name) for name in ("narrow", "wide")]
    assert "model narrow and wide, " in run_caption(models, unlearn_table(models)), "a model is always named"


def test_a_caption_counts_seeds_and_names_forget_sets_that_are_the_same(run: Run) -> None:
    found = [run(difficulty=name, seed=seed, number={"parents": {"forget_set": "same"}})
             for name, seeds in (("low", 2), ("mid", 3)) for seed in range(seeds)]  # fmt: skip
    table = unlearn_table(found)
    assert seed_range(table) == "2-3"
    caption = run_caption(found, table)
    assert "dataset digits, model resnet8, alpha 0.9, epochs 5; 2-3 training seeds a cell." in caption
    assert caption.endswith("The forget sets low and mid hold the same samples here.")
    apart = [run(difficulty=name, number={"parents": {"forget_set": name}}) for name in ("low", "mid")]
    assert "hold the same samples" not in run_caption(apart, unlearn_table(apart))
    assert "metrics" in CELL
