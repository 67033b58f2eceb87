"""Figures and tables of network runs: what they show, say and leave out.

Their numbers on the published records are frozen in tests/golden, and derived by hand in tests/figures/tables.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from figures.catalogue import FIGURES, find
from figures.drawing.drawing import Drawing
from figures.drawing.files import latex, markdown
from figures.drawing.style import Theme
from figures.networks.landscape import basin_ratio, curvature
from figures.networks.pareto import quality_against_cost
from figures.networks.published import comparison_with_paper
from figures.networks.search import learning_rate_search, tow_over_rates
from figures.networks.strips import accuracies, tow_by_setting
from figures.networks.sweeps import TOW, tow_over_mask_cutoff
from figures.networks.tow_tables import neggrad_tow
from figures.networks.trajectories import matched_table
from figures.networks.variations import tow_by_change, tow_by_forget_set
from figures.tables.names import order
from figures.tables.records import Records
from figures.tables.runs import unlearn_table
from repro.records.record import Record
from repro.records.store import Store
from tests.figures.conftest import panels, texts

Draw = Callable[[str], Drawing]
Make = Callable[..., Record]
ACCURACIES = ("retain_accuracy", "forget_accuracy", "test_accuracy")
Of = Callable[..., Records]


def test_a_cell_is_beside_the_models_of_its_own_pretraining_rule(run: Make, records_of: Of) -> None:
    """Two pretraining rules whose retrained models differ: no line is their mean, and none crosses the other's part."""
    levels = {"sgd": 0.6, "sam-0.1": 0.8}
    found = [run(pretrain=pretrain, seed=seed, number={"tow": 0.5, "parents": {"forget_set": "F"}} | {
                f"{role}{name}": level + 0.1 * (role == "") for role in ("", "retrained_") for name in ACCURACIES})
             for pretrain, level in levels.items() for seed in range(2)]  # fmt: skip
    drawn = accuracies(records_of(found), Theme())
    segments = [one for panel in panels(drawn) for marks in panel.collections if hasattr(marks, "get_segments")
                for one in marks.get_segments() if one[0][0] < one[1][0]]  # fmt: skip
    ends = {float(one[0][1]): (one[0][0], one[1][0]) for one in segments}
    assert sorted(ends) == pytest.approx([0.6, 0.8])
    (_, end), (start, _) = (ends[level] for level in sorted(ends))
    assert end <= start


@pytest.mark.parametrize(("draw", "silent"), [(tow_by_setting, 1), (accuracies, 0)])
def test_a_forget_set_without_runs_after_a_pretraining_rule_says_so(runs: Of, draw: Any, silent: int) -> None:
    """After SAM only the high set was run: an empty panel says "not run", and no panel has room for what was not."""
    numbers = {name: [0.5, 0.6] for name in ("tow", *ACCURACIES)}
    cells = [{"pretrain": "sgd", "difficulty": "low"}, {"pretrain": "sgd", "difficulty": "high"},
             {"pretrain": "sam-0.1", "difficulty": "high"}]  # fmt: skip
    for some, count in ((cells, silent), (cells[:2], 0)):
        drawn = draw(runs([(cell, numbers) for cell in some]), Theme())
        assert texts(drawn).count("not run") == count


def test_a_retrained_model_is_no_method_where_it_is_what_others_are_held_against(run: Make, records_of: Of) -> None:
    numbers = {f"{role}{name}": 0.7 for role in ("", "retrained_") for name in ACCURACIES} | {"tow": 1.0}
    numbers |= {"parents": {"forget_set": "F"}}
    found = [run(method=method, pretrain=pretrain, seed=seed, number=numbers)
             for method in ("neggrad", "retrain") for pretrain in ("sgd", "sam-0.1") for seed in range(2)]  # fmt: skip
    data = tow_by_setting(records_of(found), Theme()).data
    kept = data[data["method"] == "retrain"][["pretrain", "metric"]]
    assert kept.to_numpy().tolist() == [["sam-0.1", "tow"]]  # retrained by SGD, beside models retrained by SAM


def test_a_cell_whose_interval_reaches_the_floor_is_as_good_as_retraining(run: Make, records_of: Of) -> None:
    retrained = {f"retrained_{name}_accuracy": 0.7 for name in ("retain", "test")}
    found = [run(rule=rule, seed=seed, number=retrained | {"retrained_forget_accuracy": 0.7 + 0.1 * seed, "tow": value,
                                                           "parents": {"forget_set": "F"}})
             for rule, values in (("sgd", (0.5, 0.51, 0.52)), ("sam-0.1", (0.83, 0.85, 0.87)))
             for seed, value in enumerate(values)]  # fmt: skip
    data = tow_by_setting(records_of(found), Theme()).data.set_index("rule")
    # Floor 0.867 -+ 0.047: SAM's interval ends at 0.90, SGD's at 0.53.
    assert data["as_good_as_retraining"].to_dict() == {"sgd": False, "sam-0.1": True}
    text = markdown(neggrad_tow(records_of(found), Theme()).display)
    assert "| NegGrad | SGD | SAM 0.1 | 85.00 ± 2.00 (3) † |" in text
    assert "| 86.7 ± 4.7 / 86.7 ± 4.7 |" in text


def test_at_most_five_rules_are_drawn_and_the_rest_are_named(run: Make, records_of: Of) -> None:
    rules = ["sgd", "sam-0.1", "sam-0.2", "asam-1.0", "minmax-asam-1.0", "retain-sam-0.1"]
    found = [run(rule=rule, seed=seed, number={"tow": 0.5}) for rule in rules for seed in range(2)]
    drawn = tow_by_setting(records_of(found), Theme())
    assert set(drawn.data["rule"]) == set(rules) - {"sam-0.2"}
    assert "Rules in the tables only: SAM 0.2." in drawn.caption


@pytest.mark.slow
def test_every_network_figure_names_the_accuracy_of_its_originals(drawing: Draw) -> None:
    networks = [name for name, entry in FIGURES.items() if entry.home.startswith("figures.networks")]
    lacking = [name for name in networks if "Test accuracy of the originals in percent:" not in drawing(name).caption]
    assert lacking == []
    assert drawing("fig-tow").caption.endswith(" Study cifar10, local records.")
    assert "SAM 0.1 90.0 ± 0.0 (3); SGD 90.0 ± 0.0 (3)." in drawing("fig-tow").caption


def test_ulira_gives_the_rates_of_each_rule_and_of_doing_nothing(drawing: Draw) -> None:
    text = markdown(drawing("tab-ulira").display)
    assert "| SGD | do nothing | 0.530 [0.528, 0.532] | 0.030 [0.028, 0.032] | 0.003 [0.001, 0.005] |" in text
    assert "| SGD | SAM 0.1 | 0.600 [0.598, 0.602] | 0.100 [0.098, 0.102] |" in text


def test_lira_gives_the_numbers_of_every_rule_beside_those_of_doing_nothing_and_of_retraining(drawing: Draw) -> None:
    found = drawing("tab-lira")
    text = markdown(found.display)
    assert "| SGD | NegGrad | SGD | 0.600 ± 0.000 (3) | 0.110 ± 0.000 (3) | 0.101 ± 0.000 (3) | 0.300 ±" in text
    assert "| SGD | do nothing |  | 0.800 ± 0.000 (3) | 0.310 ± 0.000 (3) | 0.301 ± 0.000 (3) | 0.500 ±" in text
    assert "| SGD | retrained on R |  | 0.500 ± 0.000 (3) | 0.010 ± 0.000 (3) | 0.001 ± 0.000 (3) | 0.200 ±" in text
    assert "Forget set: high" in found.caption


def test_the_retrained_model_is_the_star_of_the_costs_and_no_method(run: Make, records_of: Of) -> None:
    number = {"tow": 0.8, "original_tow": 0.5, "seconds_unlearn": 1.0, "seconds_retrain": 10.0,
              "gradient_evaluations": 20, "retrain_gradient_evaluations": 100}  # fmt: skip
    found = [run(method=method, seed=seed, number=number) for method in ("neggrad", "retrain") for seed in range(3)]
    data = quality_against_cost(records_of(found), Theme("light")).data
    assert data["method"].tolist() == ["neggrad", "neggrad"]
    assert data.set_index("cost")["ratio"].to_dict() == pytest.approx({"time": 0.1, "gradients": 0.2})


def test_tables_put_the_paper_beside_our_mean_spread_and_seeds(drawing: Draw) -> None:
    text = markdown(drawing("tab-neggrad").display)
    assert "| NegGrad | SGD | SAM 0.1 | 71.00 ± 1.00 (3) |" in text
    assert "ImageNet 83.68, CIFAR-100 72.78" in text
    assert "| do nothing | SGD | — | 50.00 ± 0.00 (3) |" in text
    assert "100 by definition" in text
    source = latex(drawing("tab-neggrad").display, "", "")
    assert source.count(" \\\\\n") == len(text.splitlines()) - 1
    assert "71.00 $\\pm$ 1.00 (3)" in source


def test_every_draw_of_the_forget_set_has_a_column_and_both_deviations_stand_beside(run: Make, records_of: Of) -> None:
    """Three draws share seed 0; draw 0 has two more seeds, which count over seeds and in no draw's column."""
    tow = {("sgd", 0): [0.5, 0.52, 0.54], ("sgd", 1): [0.6], ("sgd", 2): [0.7],
           ("sam-1", 0): [0.6, 0.64, 0.68], ("sam-1", 1): [0.8], ("sam-1", 2): [0.7]}  # fmt: skip
    made = [run(rule=rule, forget_seed=one, seed=seed, number={"tow": value, "original_tow": 0.1 * one + 0.01 * seed})
            for (rule, one), values in tow.items() for seed, value in enumerate(values)]  # fmt: skip
    drawn = tow_by_forget_set(records_of(made), Theme())
    assert markdown(drawn.display).splitlines()[2:] == [
        "| SGD | low | do nothing | 0.0 | 10.0 | 20.0 | 10.0 ± 10.0 (3) | 1.0 ± 1.0 (3) |",
        "| SGD | low | SGD | 50.0 | 60.0 | 70.0 | 60.0 ± 10.0 (3) | 52.0 ± 2.0 (3) |",
        "| SGD | low | SAM 1 | 60.0 | 80.0 | 70.0 | 70.0 ± 10.0 (3) | 64.0 ± 4.0 (3) |",
        "| SGD | low | SAM 1 minus SGD | 10.0 | 20.0 | 0.0 | 10.0 ± 10.0 (3) | 12.0 ± 2.0 (3) |",
    ]
    assert "All draws share training seed 0 and so the original model." in drawn.caption
    assert len(drawn.records) == 10


def test_a_changed_setting_stands_beside_the_same_cells_of_the_study_with_a_floor_of_its_own(
    run: Make, records_of: Of
) -> None:
    """The study has two seeds, the one without flips a single seed and a pair of retrained models."""

    def cell(tow: float, *, seed: int = 0, kind: str = "unlearn", **settings: Any) -> Record:
        number = {"tow": tow, "original_tow": 0.4, "original_test_accuracy": 0.8, "parents": {"forget_set": "F"}}
        number |= {f"retrained_{name}": 0.7 + 0.1 * seed for name in ACCURACIES}
        return run(kind=kind, number=number, seed=seed, difficulty="high", **settings)

    pairs = [("sgd", 0.5), ("sam-1", 0.6)]
    study = [cell(tow + 0.02 * seed, rule=rule, seed=seed, augment="flip") for rule, tow in pairs for seed in (0, 1)]
    plain = [cell(tow * 0.5, rule=rule, augment="none") for rule, tow in pairs]
    study.append(cell(0.9, rule="sgd", augment="flip", method="finetune"))
    plain.append(cell(0.9, rule="sgd", augment="none", method="finetune"))
    pair = {"kind": "floor", "seed": 9, "rule": "sgd", "rows_measured": "validation", "batch_size": 3}
    plain.append(cell(0.97, augment="none", **pair))

    def drawn_of(usual: list[Record]) -> Drawing:
        return tow_by_change(Records(parts=[Records(usual, study="s"), Records(plain, study="t")]), Theme())

    drawn = drawn_of(study)
    floor = 100 * (1 - 0.1) ** 3
    assert markdown(drawn.display).splitlines()[2:] == [
        "| as in the study | SGD | high | 40.0 ± 0.0 (2) | 51.0 ± 1.4 (2) | 61.0 ± 1.4 (2) | 10.0 ± 0.0 (2) "
        f"| {floor:.1f} ± 0.0 |",
        "| augment none | SGD | high | 40.0 (1) | 25.0 (1) | 30.0 (1) | 5.0 (1) | 97.0 (1 pair) |",
    ]
    assert "Augment none: test accuracy of the originals 80.0 (1)." in drawn.caption
    assert len(drawn.records) == 6
    alone = drawn_of([run(difficulty="mid", augment="flip", number={"tow": 0.5}), study[0], study[2]])
    assert list(alone.data.groupby("changed")["floor"].first()) == ["—", "97.0 (1 pair)"]


def test_what_the_runs_say_of_the_search_for_their_rate_is_the_table(run: Make, records_of: Of) -> None:
    nothing = "no better than doing nothing"
    details = {"name": "lr", "seed": 9, "more_seeds": [101], "original_tow": 0.49, "value": 0.1}
    said = [run(pretrain=pretrain, number={"tow": 0.5, "choice": word, "choice_details": details | {"curve": curve}})
            for pretrain, word, curve in (("sam-0.1", nothing, [[0.1, 0.5], [0.2, 0.7], [0.3, 0.6]]),
                                          ("sgd", "edge", [[0.1, 0.8], [0.3, None]]))]  # fmt: skip
    given = run(rule="sam-0.1", number={"tow": 0.5})  # a rate that nobody searched for
    drawn = learning_rate_search(records_of([*said, given]), Theme())
    searched = drawn.data[drawn.data["pretrain"] == "sam-0.1"]
    assert searched.set_index("candidate")["chosen"].to_dict() == {0.1: True, 0.2: False, 0.3: False}
    text = markdown(drawn.display)
    assert f"| low | SAM 0.1 | {nothing} | 49.00 | 50.00 * | 70.00 | 60.00 |" in text
    assert "| low | SGD | edge | 49.00 | 80.00 * | — | diverged |" in text
    assert "training seed 9, 101, which the study does not use" in drawn.caption
    assert "1 of 2 winners stand on an edge." in drawn.caption
    assert learning_rate_search(records_of([given]), Theme()).missing


def test_each_seed_has_a_line_over_the_rates_and_the_alt_text_names_the_best_mean(run: Make, records_of: Of) -> None:
    """SGD is best at 0.02 on the mean of two seeds, though one seed prefers 0.04; two rates are no curve."""
    tow = {(0.01, 0): 0.5, (0.02, 0): 0.8, (0.04, 0): 0.6, (0.01, 1): 0.5, (0.02, 1): 0.7, (0.04, 1): 0.75}
    found = [run(lr=lr, seed=seed, difficulty="high", number={"tow": value}) for (lr, seed), value in tow.items()]
    short = [run(lr=lr, rule="sam-0.1", difficulty="high", number={"tow": 0.9}) for lr in (0.01, 0.02)]
    drawn = tow_over_rates(records_of([*found, *short]), Theme())
    assert "SGD to SGD, high: 0.750 at 0.02" in drawn.alt
    assert "SAM" not in drawn.alt
    lines = [list(line.get_ydata()) for line in panels(drawn)[0].lines]
    assert [0.5, 0.8, 0.6] in lines
    assert [0.5, 0.7, 0.75] in lines
    assert drawn.data.sort_values("lr")["mean"].tolist() == pytest.approx([0.5, 0.75, 0.675])


def test_differences_from_sgd_stand_per_method_and_forget_set_with_their_intervals(drawing: Draw) -> None:
    text = markdown(drawing("tab-differences").display)
    shown = "| unlearning | NegGrad | SGD | SAM 0.1 | low | +10.0 [+10.0, +10.0] * | +0.0 [+0.0, +0.0] |"
    # Triples of 0.99^3, 0.99^3, 0.98^3: 4 of 6 differ by 0.0291.
    (line,) = [line for line in text.splitlines() if line.startswith(shown)]
    assert line.endswith(f"| {100 * (0.99**3 - 0.98**3) * np.sqrt(4 / 6):.1f} |")
    assert "| pretraining | NegGrad | SAM 0.1 | SGD | high | +0.0 [+0.0, +0.0] | +0.0 [+0.0, +0.0] |" in text


def test_the_reference_models_have_their_own_accuracies(drawing: Draw) -> None:
    # Synthetic accuracies: 0.8 after unlearning, 0.7 and 0.01 a seed of the retrained model, 0.9 of the original one.
    text = markdown(drawing("tab-minmax").display)
    common = f"{100 * np.mean([0.9**3, 0.91**3, 0.92**3]):.2f} ± {100 * np.std([0.9**3, 0.91**3, 0.92**3], ddof=1):.2f}"
    assert f"| NegGrad | SGD | SAM 0.1 | low | 71.00 ± 1.00 (3) | {common} (3) | 80.00 ± 0.00 (3) |" in text
    assert "| do nothing | SGD | — | low | 50.00 ± 0.00 (3) |" in text
    assert "| retrained on R | SGD | — | low | 100 by definition | — | 71.00 ± 1.00 (3) |" in text


def test_random_forget_sets_have_a_table_of_their_own_without_a_mean_over_graded_sets(drawing: Draw) -> None:
    found = drawing("tab-random")
    assert found.display is not None
    rows = [line for line in markdown(found.display).splitlines() if line.startswith("| NegGrad | SGD | SGD |")]
    assert [line.split("|")[4].strip() for line in rows] == ["random"]
    assert "87.50 ± 0.71 (2)" in rows[0]
    assert {"SGD", "ASAM 1.0", "MinMax ASAM 1.0"} <= set(found.display["unlearn"])
    assert "graded" not in found.caption


def test_both_polarities_of_the_mask_keep_their_own_look(run: Make, records_of: Of) -> None:
    cutoffs = {"": (0.1, 0.2, 0.3), "mask_polarity=low": (0.4, 0.5, 0.6)}
    found = [run(rule="minmax-sam-0.1", switches=switches, mask_fraction=cutoff, number=dict.fromkeys(TOW, cutoff))
             for switches, values in cutoffs.items() for cutoff in values]  # fmt: skip
    tow = tow_over_mask_cutoff(records_of(found), Theme()).data.query("metric == 'tow'")
    swept = {rule: sorted(rows["mask_fraction"]) for rule, rows in tow.groupby("rule")}
    assert swept == {"minmax": [0.1, 0.2, 0.3], "sgd": [0.4, 0.5, 0.6]}


def test_a_landscape_is_as_curved_and_as_wide_as_its_bowl() -> None:
    line = np.linspace(-1.0, 1.0, 5)
    bowl = 7.0 + 3.0 * (line[:, None] ** 2 + line[None, :] ** 2)
    assert curvature(bowl, 1.0) == pytest.approx(6.0)
    # L - L(0) <= std / 2 = 0.85 for a bowl of values 7 to 13: the centre and its four neighbours, 0.75 higher.
    assert 0.75 < 0.5 * bowl.std() < 1.5
    assert basin_ratio(bowl) == 5 / 25


def test_a_mean_over_forget_sets_is_of_cells_and_seeds_that_have_all_of_them(run: Make, records_of: Of) -> None:
    """The easiest set alone would lift a cell above one that did the hard ones too, and a seed above the others."""
    levels = {"low": 0.98, "mid": 0.9, "high": 0.8}
    whole = [run(difficulty=name, seed=seed, number={"tow": tow}) for name, tow in levels.items() for seed in range(3)]
    part = [run(difficulty="low", seed=seed, number={"tow": 0.98}) for seed in (3, 4)]
    easy = [run(difficulty="low", rule="sam-0.1", seed=seed, number={"tow": 0.98}) for seed in range(3)]
    records = records_of([*whole, *part, *easy])
    shown = neggrad_tow(records, Theme()).display
    assert shown is not None
    means = shown.set_index("unlearn")["ToW mean"].to_dict()
    assert (means["SGD"], means["SAM 0.1"]) == ("89.33 ± 0.00 (3)", "—")
    ours = comparison_with_paper(records, Theme()).data.query("source == 'ours, digits'")
    mean = pytest.approx(np.mean([*levels.values()]))
    assert ours[["rule", "mean", "seeds"]].to_numpy().tolist() == [["sgd", mean, 3]]


def test_quality_and_cost_are_compared_on_one_forget_set_at_a_time(run: Make, records_of: Of) -> None:
    cost = {"seconds_unlearn": 1.0, "seconds_retrain": 10.0}
    after = run(difficulty="high", pretrain="sam-0.1", number=cost | {"tow": 0.7, "original_tow": 0.5})
    rows = [("neggrad", "low", 0.98, 0.96), ("neggrad", "high", 0.8, 0.4), ("scrub", "high", 0.5, 0.4)]
    found = [run(method=method, difficulty=name, seed=seed, number=cost | {"tow": tow, "original_tow": nothing})
             for method, name, tow, nothing in rows for seed in range(2)]  # fmt: skip
    drawn = quality_against_cost(records_of([*found, after]), Theme())
    points = drawn.data.query("pretrain == 'sgd'").set_index(["method", "difficulty"])["mean"].to_dict()
    assert points == {(method, name): pytest.approx(tow) for method, name, tow, _ in rows}
    assert len(drawn.data) == len(points) + 1
    lines = [marks for axes in panels(drawn) for marks in axes.collections if marks.get_label() == "do nothing"]
    nothing = [float(one[0][1]) for marks in lines for one in marks.get_segments()]
    assert set(texts(drawn)) == {"do nothing, after SGD", "do nothing, after SAM 0.1 / SGD"}
    assert sorted(nothing) == pytest.approx([0.4, 0.5, 0.96])  # a line a pretraining rule, not their mean


def test_a_run_that_diverged_pulls_the_mean_of_its_cell_down_and_is_named(run: Make, records_of: Of) -> None:
    numbers = {"tow": 0.9} | {f"{name}_accuracy": 0.8 for name in ("retain", "forget", "test")}
    good = [run(rule=rule, seed=0, number=numbers) for rule in ("sgd", "sam-0.1")]
    records = records_of([*good, run(rule="sam-0.1", seed=1, status="diverged")])
    for draw, metric, mean in ((tow_by_setting, "tow", 0.45), (accuracies, "test_accuracy", 0.8)):
        drawn = draw(records, Theme())
        cell = drawn.data[(drawn.data["metric"] == metric) & (drawn.data["rule"] == "sam-0.1")].iloc[0]
        assert (cell["mean"], cell["diverged"]) == (pytest.approx(mean), 1)
        assert "1 diverged" in texts(drawn)


def test_a_study_of_which_every_run_diverged_is_drawn(run: Make, records_of: Of) -> None:
    records = records_of([run(seed=seed, status="diverged") for seed in range(2)])
    assert tow_by_setting(records, Theme()).data["mean"].tolist() == [0.0]
    data = accuracies(records, Theme()).data
    assert data.set_index("metric")["mean"].isna().to_dict()["test_accuracy"]


def test_the_forget_set_of_a_plugin_stands_behind_the_known_ones(run: Make, records_of: Of) -> None:
    points = [{"progress": epoch, "gradient_evaluations": 10 * epoch, "retain": 0.9, "forget": 0.9 - 0.2 * epoch,
               "test": 0.8} for epoch in (1, 2)]  # fmt: skip
    along = {"epochs.jsonl": json.dumps({"epoch": 1, "accuracies": points}).encode()}
    ends = {f"{role}{name}_accuracy": level for role, level in (("original_", 0.9), ("retrained_", 0.5), ("", 0.6))
            for name in ("retain", "forget", "test")}  # fmt: skip
    relearned = {"relearning_steps": [0, 1], "relearning_forget": [0.2, 0.5], "retrained_relearning_forget": [0.1, 0.2]}
    cells = [{"difficulty": name, "rule": rule, "seed": seed} for name in ("every-twentieth", "high")
             for rule in ("sgd", "sam-0.1") for seed in range(2)]  # fmt: skip
    said = {"name": "lr", "value": 0.1, "curve": [[0.1, 0.1], [0.2, 0.2]], "seed": 9}
    said = {"choice": "edge", "choice_details": said}
    made = [replace(run(number={"tow": 0.5} | ends | relearned | said, **cell), files=along) for cell in cells]
    swept = [run(number={"tow": alpha}, **cell | {"alpha": alpha}) for cell in cells for alpha in (0.3, 0.5, 0.7)]
    draws = [run(number={"tow": 0.5}, **cell | {"forget_seed": draw}) for cell in cells for draw in range(3)]
    names = ("fig-tow", "fig-accuracies", "tab-neggrad", "tab-methods", "tab-differences", "fig-trajectories",
             "tab-matched", "fig-relearning", "tab-choice")  # fmt: skip
    others = [("tab-draws", records_of(draws)), ("fig-alpha", records_of(swept))]
    for name, records in [(name, records_of(made)) for name in names] + others:
        data = find(name)(records, Theme()).data
        assert {"high", "every-twentieth"} <= set(data["difficulty" if "difficulty" in data else "set"]), name
    assert order(unlearn_table(made), "difficulty") == ["high", "every-twentieth"]


def test_seeds_of_unlearning_make_no_training_seeds_at_matched_forgetting(run: Make) -> None:
    rows = pd.DataFrame([
        {"method": "neggrad", "pretrain": "sgd", "difficulty": "high", "rule": rule, "seed": seed, "reached": True}
        | dict.fromkeys(("tow_matched", "test_matched", "gradient_evaluations_matched", "tow_end"), level + 0.1 * again)
        for rule, level in (("sgd", 0.5), ("sam-0.1", 0.6)) for seed in range(2) for again in range(3)
    ])  # fmt: skip
    found = matched_table(rows).set_index("rule").loc["sam-0.1"]
    assert (found["runs"], found["tow_end_seeds"], found["tow_end_minus_sgd_seeds"]) == (6, 2, 2)
    assert found["tow_end_mean"] == pytest.approx(0.7)
    assert found["tow_end_minus_sgd_mean"] == pytest.approx(0.1)  # of the mean over the orders, not of the first one


def test_pools_without_their_runs_are_drawn(drawing: Draw, golden: Store, records_of: Of) -> None:
    pools = records_of([one for one in golden.records() if one.kind != "unlearn"])
    assert find("fig-klom")(pools, Theme()).data.equals(drawing("fig-klom").data)


def test_one_seed_has_no_interval_in_any_text(run: Make, records_of: Of) -> None:
    numbers = {f"{role}lira_{name}": 0.5 for role in ("", "retrained_", "original_")
               for name in ("auc", "tpr_at_1_percent", "tpr_at_01_percent", "member_share")}  # fmt: skip
    found = [run(rule=rule, number=numbers | {"seconds_unlearn": 2.0}) for rule in ("sgd", "sam-0.1")]
    assert "nan" not in markdown(find("tab-lira")(records_of(found), Theme()).display)
