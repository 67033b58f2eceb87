"""Figures and tables of network runs show exactly the numbers of the records, each in its place."""

from collections.abc import Callable

import numpy as np
import pytest

from figures.drawing.drawing import Drawing
from figures.drawing.files import latex, markdown
from figures.drawing.style import Theme
from figures.networks.cells import TOW
from figures.networks.landscape import basin_ratio, curvature
from figures.networks.sweeps import draw_mask
from figures.tables.records import Records
from repro.records.record import Record

Draw = Callable[[str], Drawing]
Make = Callable[..., Record]


def test_tow_is_drawn_from_the_records_mean_and_interval(drawing: Draw) -> None:
    data = drawing("fig-tow").data
    cell = data[(data["metric"] == "tow") & (data["rule"] == "sam-0.1") & (data["pretrain"] == "sgd")
                & (data["difficulty"] == "mid")]  # fmt: skip
    half = 4.302652729911275 * 0.01 / np.sqrt(3)
    assert cell[["mean", "sd", "low", "high", "seeds"]].iloc[0].tolist() == pytest.approx(
        [0.71, 0.01, 0.71 - half, 0.71 + half, 3]
    )
    retrained = data[(data["method"] == "retrained") & (data["metric"] == "test_accuracy")]
    assert retrained["mean"].tolist() == pytest.approx([0.7] * 3)


def test_sweeps_are_drawn_from_the_study_that_swept(drawing: Draw) -> None:
    alpha = drawing("fig-alpha").data
    tow = alpha[(alpha["metric"] == "tow") & (alpha["rule"] == "sam-0.1")].set_index("alpha")["mean"]
    assert tow.to_dict() == pytest.approx({0.3: 0.555, 0.6: 0.855, 0.8: 1.055})
    mask = drawing("fig-mask").data
    assert set(mask["mask_fraction"]) == {0.1, 0.3, 0.5}


def test_dominated_points_are_those_another_beats_in_quality_and_cost(drawing: Draw) -> None:
    data = drawing("fig-pareto").data
    best = data[~data["dominated"]]
    assert set(best["rule"]) == {"minmax-sam-0.1"}  # all cost the same here, and it has the largest synthetic ToW
    assert best["ratio"].tolist() == pytest.approx([0.1, 0.1, 0.2, 0.2])


def test_tables_put_the_paper_beside_our_mean_spread_and_seeds(drawing: Draw) -> None:
    text = markdown(drawing("tab-neggrad").display)
    assert "| NegGrad | SGD | SAM 0.1 | 71.00 ± 1.00 (3) |" in text
    assert "ImageNet 83.68, CIFAR-100 72.78" in text
    assert "| do nothing | SGD | — | 50.00 ± 0.00 (3) |" in text
    assert "100 by definition" in text
    source = latex(drawing("tab-neggrad").display)
    assert source.count(" \\\\\n") == len(text.splitlines()) - 1
    assert "71.00 $\\pm$ 1.00 (3)" in source


def test_landscape_numbers_are_those_of_the_bowl(drawing: Draw) -> None:
    data = drawing("fig-landscape").data.drop_duplicates(["title", "set"])
    # L = c (x^2 + y^2) has second derivative 2 c: c = 1 for the original model, 3 for the unlearned ones.
    assert sorted(set(data["curvature"])) == pytest.approx([2.0, 6.0])


def test_missing_methods_are_listed_with_their_command(drawing: Draw) -> None:
    origin = drawing("fig-tow")
    assert "SCRUB: repro empirical grid recipes/cifar10.toml" in origin.missing
    assert len(origin.run_ids) == 54


def test_the_highest_candidate_is_marked_and_one_that_diverged_is_never_chosen(drawing: Draw) -> None:
    data = drawing("tab-choice").data
    chosen = data[data["chosen"]].set_index(["rule", "difficulty"])
    assert chosen["candidate"].to_dict() == {
        ("sgd", "low"): 0.03, ("sgd", "high"): 0.03, ("sam-0.1", "low"): 0.1, ("sam-0.1", "high"): 0.01
    }  # fmt: skip
    assert chosen["tow"].to_dict() == pytest.approx(
        {("sgd", "low"): 0.7, ("sgd", "high"): 0.7, ("sam-0.1", "low"): 0.9, ("sam-0.1", "high"): 0.8}
    )
    assert data["tow"].isna().sum() == 1
    text = markdown(drawing("tab-choice").display)
    assert "| NegGrad | SGD | high | 60.00 | 70.00 * | 50.00 |" in text
    assert "diverged" in text


def test_runs_that_choose_are_not_part_of_the_study(drawing: Draw) -> None:
    cells = drawing("tab-neggrad").data
    assert set(cells[cells["method"] == "neggrad"]["seeds"]) == {3}


def test_differences_from_sgd_stand_per_method_and_forget_set_with_their_intervals(drawing: Draw) -> None:
    data = drawing("tab-differences").data
    tow = data[(data["metric"] == "tow") & (data["role"] == "unlearning")].set_index(["rule", "difficulty"])
    assert tow["mean"].to_dict() == pytest.approx(
        {
            (rule, name): gain
            for rule, gain in (("sam-0.1", 0.1), ("minmax-sam-0.1", 0.2))
            for name in ("low", "mid", "high")
        }
    )
    assert set(tow["seeds"]) == {3}
    text = markdown(drawing("tab-differences").display)
    assert "| unlearning | NegGrad | SAM 0.1 | low | +10.0 [+10.0, +10.0] * | +0.0 [+0.0, +0.0] |" in text
    assert "| pretraining | NegGrad | SAM 0.1 | high | +0.0 [+0.0, +0.0] |" in text


def test_the_reference_models_have_their_own_accuracies(drawing: Draw) -> None:
    # Synthetic accuracies: 0.8 after unlearning, 0.7 of the retrained model, 0.9 of the original one.
    text = markdown(drawing("tab-minmax").display)
    assert "| NegGrad | SGD | SAM 0.1 | low | 71.00 ± 1.00 (3) | 80.00 ± 0.00 (3) |" in text
    assert "| do nothing | SGD | — | low | 50.00 ± 0.00 (3) | 90.00 ± 0.00 (3) |" in text
    assert "| retrained on R | SGD | — | low | 100 by definition | 70.00 ± 0.00 (3) |" in text


def test_both_polarities_of_the_mask_keep_their_own_look(run: Make, records_of: Callable[..., Records]) -> None:
    cutoffs = {"": (0.1, 0.2, 0.3), "mask_polarity=low": (0.4, 0.5, 0.6)}
    found = [run(rule="minmax-sam-0.1", switches=switches, mask_fraction=cutoff, number=dict.fromkeys(TOW, cutoff))
             for switches, values in cutoffs.items() for cutoff in values]  # fmt: skip
    tow = draw_mask(records_of(found), Theme()).data.query("metric == 'tow'")
    swept = {rule: sorted(rows["mask_fraction"]) for rule, rows in tow.groupby("rule")}
    assert swept == {"minmax": [0.1, 0.2, 0.3], "sgd": [0.4, 0.5, 0.6]}


def test_a_landscape_is_as_curved_and_as_wide_as_its_bowl() -> None:
    line = np.linspace(-1.0, 1.0, 5)
    bowl = 7.0 + 3.0 * (line[:, None] ** 2 + line[None, :] ** 2)
    assert curvature(bowl, 1.0) == pytest.approx(6.0)
    # L - L(0) <= std / 2 = 0.85 for a bowl of values 7 to 13: the centre and its four neighbours, 0.75 higher.
    assert 0.75 < 0.5 * bowl.std() < 1.5
    assert basin_ratio(bowl) == 5 / 25
