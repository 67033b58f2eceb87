"""KLoM by hand: equal and disjoint margins, its references, and the difference of two rules."""

import numpy as np
import pytest

from figures.tables.divergence import FLOOR, halves, klom
from figures.tables.klom import ORIGINAL, RETRAINED, klom_cells, klom_differences, klom_table
from figures.tables.records import Records
from figures.verdicts.asks import klom_of_sam
from repro.records.store import Store

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


def test_models_of_the_same_seeds_are_compared_on_one_forget_set(golden: Store) -> None:
    table = klom_table(klom_cells(Records([golden])))
    forget = table[(table["set"] == "forget") & (table["statistic"] == "mean")].set_index("model")
    value = forget["value"].to_dict()
    # Synthetic margins: SAM's are the retrained ones, SGD's lie as far away as the original ones.
    assert value["sam-0.1"] == value[RETRAINED]
    assert value["sgd"] == value[ORIGINAL]
    assert value["sgd"] > value[RETRAINED] + 1
    assert set(forget["models"]) == {12}
    differences = klom_differences(klom_cells(Records([golden])))
    assert differences.set_index("rule")["mean"].to_dict() == pytest.approx(
        {"sam-0.1": value["sam-0.1"] - value["sgd"], ORIGINAL: 0.0}
    )


def test_halves_never_compare_a_model_with_one_of_its_seed() -> None:
    margins = np.random.default_rng(0).standard_normal((40, 3))
    assert (halves(margins, margins) > 0).all()
    expected = (klom(margins[::2], margins[1::2]) + klom(margins[1::2], margins[::2])) / 2
    assert halves(margins, margins) == pytest.approx(expected)
    assert halves(margins, margins, weighted=True).shape == (200, 3)


def test_too_few_models_are_no_distribution(empty: Store) -> None:
    assert klom_cells(Records([empty])) == []
    assert klom_of_sam(Records([empty])).verdict == "not run"
