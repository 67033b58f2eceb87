"""What the reviewers asked for, on small studies made by hand."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from figures.tables.pooled import klom_cells
from figures.tables.records import Records
from figures.verdicts import asks
from repro.records.store import Store

Runs = Callable[..., Records]
BASE, MORE, LESS = [0.1, 0.3, 0.5], [0.29, 0.50, 0.71], [-0.11, 0.10, 0.31]
PLUS = "+0.200 [+0.175, +0.225] (3 seeds)"


def test_ask_3_counts_cells_with_three_seeds(runs: Runs) -> None:
    found = asks.spread_is_stated(runs([({"rule": "sgd"}, {"tow": BASE}), ({"rule": "sam-1"}, {"tow": BASE[:2]})]))
    assert (found.verdict, found.number) == ("reported", "1 of 2 cells have at least 3 training seeds")


def test_ask_4_multiplies_times_within_a_seed_and_counts_the_mask(runs: Runs) -> None:
    # Ratios 2 and 8, whose geometric mean is 4; SAM's time is compared with SGD's of the same seed.
    masked = {"seconds_unlearn": [1.5, 700.0], "seconds_mask": [0.5, 100.0]}
    cells: list[Any] = [({"rule": "sgd"}, {"seconds_unlearn": [1.0, 100.0]}), ({"rule": "minmax-sam-1"}, masked)]
    found = asks.cost_of_sharpness(runs(cells))
    assert found.verdict == "reported"
    assert found.number.startswith("minmax-sam-1: 4.00 [")
    assert found.number.endswith("] times SGD's time (2 seeds)")


def test_ask_4_holds_sam_against_sgd_of_twice_the_epochs_and_of_nothing_else(runs: Runs) -> None:
    """SAM takes two gradients a step: SGD of as many is not the SGD of the main study, nor one of another setting."""
    times = {"seconds_unlearn": [1.0, 1.0, 1.0]}
    cells: list[Any] = [({"rule": rule, "difficulty": name}, {"tow": tow} | times)
                        for rule, tow in (("sgd", LESS), ("sam-1", MORE)) for name in ("low", "mid")]  # fmt: skip
    longer = {"rule": "sgd", "difficulty": "low", "epochs": 10}
    cells += [(longer | {"lr": 0.7}, {"tow": BASE}), (longer | {"augment": "flip"}, {"tow": LESS})]
    said = asks.cost_of_sharpness(runs(cells))
    found = said.number
    assert [run.config["lr"] for run in said.records if run.config["epochs"] == 10] == [0.7, 0.7, 0.7]
    assert found.count("at as many gradient evaluations") == 1
    assert found.endswith(f"sam-1, pretrained sgd, F low: ToW minus that of SGD at as many gradient evaluations {PLUS}")
    assert "as many" not in asks.cost_of_sharpness(runs(cells[:4])).number


def test_ask_5_is_about_minmax_and_the_excess(runs: Runs) -> None:
    def numbers(excess: list[float]) -> dict[str, list[float]]:
        return {"relearning_excess": excess, "tow": list(reversed(excess))}

    cells = [({"rule": "sgd"}, numbers(BASE)), ({"rule": "minmax-sam-1"}, numbers(MORE)),
             ({"rule": "sam-1"}, numbers([-9.0, -9.0, -9.0]))]  # fmt: skip
    found = asks.relearning_of_minmax(runs(cells))
    assert (found.verdict, found.number) == ("holds", f"relearning_excess minus that of SGD: {PLUS}")


def test_ask_6_subtracts_the_other_polarity_from_the_papers_at_the_same_cutoff_each_at_its_own_rate(
    runs: Runs,
) -> None:
    cells = []
    for (cutoff, level), (switches, values) in itertools.product(
        ((0.1, 0.0), (0.3, 0.1), (0.5, 0.05)), (("", MORE), ("mask_polarity=low", BASE))
    ):
        settings = {"rule": "minmax-sam-1", "mask_fraction": cutoff, "switches": switches}
        settings["lr"] = cutoff / (1 + len(switches))
        cells.append((settings, {"tow": [value + level for value in values]}))
    found = asks.mask_ablation(runs(cells))
    assert found.verdict == "holds"
    assert found.regime == "holds: digits"
    assert len(found.records) == 18
    assert found.number.startswith(
        "digits, best cutoff with the other 0.3: ToW 0.400 ± 0.200 (3 seeds); digits, best cutoff with the paper's "
        "polarity 0.3: ToW "
    )
    assert found.number.endswith(f"paper's polarity minus the other, ToW: {PLUS}")


def test_ask_7_is_about_sam_on_the_retain_loss_only(runs: Runs) -> None:
    cells = [({"rule": "sgd"}, {"tow": BASE}), ({"rule": "retain-sam-1"}, {"tow": MORE}), ({"rule": "sam-1"},
             {"tow": [-9.0, -9.0, -9.0]})]  # fmt: skip
    found = asks.retain_only_sam(runs(cells))
    assert (found.verdict, found.number) == ("holds", f"tow minus that of SGD: {PLUS}")
    assert found.regime == "holds: NegGrad by retain-sam-1 after sgd on low"


def test_ask_8_says_that_a_smaller_klom_is_better(golden: Store) -> None:
    records = Records([golden])
    found = asks.klom_of_sam(records)
    # Synthetic margins: SAM's are the retrained ones, SGD's lie as far away as the original ones.
    assert found.verdict == "holds"
    assert found.regime == "holds: sam-0.1, pretrained sgd"
    assert found.number.startswith("mean KLoM on F minus that of SGD: -")
    assert found.number.endswith("doing nothing, pretrained sgd: +0.000 [+0.000, +0.000]")
    assert len(found.records) == sum(len(cell.runs) for cell in klom_cells(records)) == 48


@pytest.mark.parametrize(("low", "mid", "high", "verdict"), [
    (0.8, 0.6, 0.4, "holds"), (0.8, 0.6, 0.6, "holds in a regime"), (0.6, 0.6, 0.6, "undecided"),
    (0.8, 0.6, 0.7, "mixed"), (0.4, 0.6, 0.8, "contradicted"),
])  # fmt: skip
def test_ask_9_says_that_tow_falls_from_grade_to_grade(
    runs: Runs, low: float, mid: float, high: float, verdict: str
) -> None:
    levels = {"low": low, "mid": mid, "high": high}
    noise = {"low": (0.0, 0.01, 0.02), "mid": (0.01, 0.0, 0.02), "high": (0.0, 0.01, 0.02)}
    cells = [({"difficulty": name}, {"tow": [level + step for step in noise[name]]}) for name, level in levels.items()]
    # Neither another rule nor another method is asked about.
    cells += [({"difficulty": name, "rule": "sam-1"}, {"tow": [1.0 - level] * 3}) for name, level in levels.items()]
    # After ASAM the easiest set was not run: the second step would be that of other cells than the first.
    cells += [({"difficulty": name, "pretrain": "asam-1"}, {"tow": [0.9 * (name == "mid")] * 3})
              for name in ("mid", "high")]  # fmt: skip
    found = asks.memorization_grades(runs(cells))
    assert found.verdict == verdict
    assert found.number.endswith("reliability of the scores not recorded")
    assert found.number.startswith(f"ToW falls with the grade: low − mid: {low - mid:+.3f} [")
    assert f"; mid − high: {mid - high:+.3f} [" in found.number


@pytest.mark.parametrize(("reliability", "verdict", "words"), [
    (0.85, "holds", "reliability of the scores 0.85"),
    (0.79, "undecided", "reliability of the scores 0.79, below 0.8: grades decide nothing"),
])  # fmt: skip
def test_ask_9_is_undecided_where_the_scores_are_unreliable(
    runs: Runs, reliability: float, verdict: str, words: str
) -> None:
    numbers = {"memorization_reliability": [reliability, 0.9, 0.9]}
    cells = [({"difficulty": name}, {"tow": [level, level + 0.01, level + 0.02 + wobble]} | numbers)
             for name, level, wobble in (("low", 0.8, 0.0), ("mid", 0.6, 0.01), ("high", 0.4, 0.0))]  # fmt: skip
    found = asks.memorization_grades(runs(cells))
    assert (found.verdict, found.number.rpartition("; ")[2]) == (verdict, words)


def test_ask_8b_compares_each_rule_with_doing_nothing(golden: Store) -> None:
    # True positives at 1 %: 0.03 of the original, 0.02 after SGD, 0.1 after SAM, each +- 0.002.
    found = asks.ulira_of_unlearning(Records([golden]))
    assert (found.verdict, found.regime) == ("mixed", "holds: sgd, pretrained sgd. fails: sam-0.1, pretrained sgd")
    assert found.effect == "+0.030 on average over 2 cells"
    assert "do nothing, pretrained sgd: 0.030 [0.028, 0.032]" in found.number
    # ToW of the 24 pooled runs of either rule is 0.5 + 0.01 a seed, that of doing nothing 0.5.
    assert found.number.endswith(
        "on average: sgd, pretrained sgd +0.115, sam-0.1, pretrained sgd +0.115 (the choice of its rate found it no "
        "better than doing nothing)"
    )
    assert asks.ulira_of_unlearning(Records([])).verdict == "not run"


def test_ask_9b_takes_draws_for_seeds_and_says_what_the_draw_adds_to_training(runs: Runs) -> None:
    """Draw 0 has three training seeds, the others one: over draws the first seed of each, over seeds draw 0 alone."""
    gains = {0: [0.10, 0.11, 0.12], 1: [0.20], 2: [0.30]}
    cells = [({"rule": rule, "forget_seed": forget_seed}, {"tow": [0.5 + (rule == "sam-1") * one for one in gain]})
             for rule in ("sgd", "sam-1") for forget_seed, gain in gains.items()]  # fmt: skip
    # A cell that was run on one draw alone says nothing here.
    cells += [
        ({"rule": rule, "forget_seed": 0, "difficulty": "mid"}, {"tow": [0.0, 0.5, 0.9]}) for rule in ("sgd", "sam-1")
    ]
    found = asks.another_draw(runs(cells))
    assert found.number == (
        "ToW minus that of SGD, over draws: +0.200 [-0.048, +0.448] (3 draws); "
        "deviation over draws 0.100 [0.052, 0.628] (2 degrees of freedom); "
        "over training seeds on draw 0 0.010 [0.005, 0.063] (2 degrees of freedom); of the draw itself 0.099"
    )
    assert (found.verdict, len(found.records)) == ("undecided", 10)


def test_ask_9b_needs_three_draws(runs: Runs) -> None:
    cells = [({"rule": rule, "forget_seed": one}, {"tow": BASE}) for rule in ("sgd", "sam-1") for one in (0, 1)]
    assert asks.another_draw(runs(cells)).verdict == "not run"
