"""KLoM by hand: equal and disjoint margins, its references, and the difference of two rules."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from figures.asks import klom_of_sam
from figures.klom import FLOOR, HALVES, ORIGINAL, cells, klom, klom_differences
from figures.records import Records
from repro.store import Store

APART = np.log(1 / FLOOR)


def test_klom_is_zero_for_equal_margins_and_largest_for_disjoint_ones() -> None:
    margins = np.random.default_rng(0).standard_normal((30, 4))
    assert klom(margins, margins).tolist() == [0.0] * 4
    constant = np.zeros((30, 2))
    assert klom(constant, constant + 1).tolist() == pytest.approx([APART] * 2)
    assert klom(constant, constant).tolist() == [0.0] * 2


def test_klom_is_the_kl_divergence_of_two_histograms() -> None:
    reference, model = np.array([[0.0], [0.0], [0.0], [20.0]]), np.array([[0.0], [20.0], [20.0], [20.0]])
    assert klom(reference, model)[0] == pytest.approx(0.75 * np.log(3) - 0.25 * np.log(3))


def test_weights_of_one_give_the_estimate_itself() -> None:
    generator = np.random.default_rng(0)
    reference, model = generator.standard_normal((2, 20, 3))
    assert klom(reference, model, np.ones((1, 20)))[0] == pytest.approx(klom(reference, model))


def test_margins_beyond_a_hundred_are_cut() -> None:
    far = np.full((10, 1), 200.0)
    assert klom(far, far * 2).tolist() == [0.0]


def test_the_figure_compares_models_of_the_same_seeds_on_one_forget_set(golden: Store, drawn_folder: Path) -> None:
    table = pd.read_csv(drawn_folder / "fig-klom.csv")
    forget = table[(table["set"] == "forget") & (table["statistic"] == "mean")].set_index("model")
    assert forget["value"].to_dict() == pytest.approx(
        {"sgd": forget.loc[ORIGINAL, "value"], "sam-0.1": 0.0, ORIGINAL: forget.loc["sgd", "value"],
         HALVES: forget.loc[HALVES, "value"]}
    )  # fmt: skip
    assert forget.loc["sgd", "value"] > 9
    assert forget["models"].to_dict() == {"sgd": 12, "sam-0.1": 12, ORIGINAL: 12, HALVES: 6}
    differences = klom_differences(cells(Records([golden])))
    assert differences["mean"].tolist() == pytest.approx([-forget.loc["sgd", "value"]])
    assert klom_of_sam(Records([golden])).verdict == "holds"


def test_too_few_models_are_no_distribution(empty: Store) -> None:
    assert cells(Records([empty])) == []
    assert klom_of_sam(Records([empty])).verdict == "not run"
