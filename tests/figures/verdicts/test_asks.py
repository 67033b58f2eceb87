"""What the reviewers asked for, on small studies made by hand."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from figures.tables.pooled import klom_cells
from figures.tables.records import Records
from figures.verdicts import asks
from repro.records.record import Record
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
    others = runs([(longer | {"lr": 0.7}, {"tow": BASE}), (longer | {"augment": "flip"}, {"tow": LESS})])
    said = asks.cost_of_sharpness(Records(parts=[runs(cells), others]))
    found = said.number
    assert [run.config["lr"] for run in said.records if run.config["epochs"] == 10] == [0.7, 0.7, 0.7]
    assert found.count("at as many gradient evaluations") == 1
    assert found.endswith(f"sam-1, pretrained sgd, F low: ToW minus that of SGD at as many gradient evaluations {PLUS}")
    assert "as many" not in asks.cost_of_sharpness(runs(cells)).number


def test_ask_4_passes_over_a_run_that_diverged_and_was_cut_short(
    run: Callable[..., Record], records_of: Callable[..., Records]
) -> None:
    made = [run(rule=rule, seed=seed, number={"seconds_unlearn": seconds})
            for rule, seconds in (("sgd", 1), ("sam-1", 2)) for seed in range(3)]  # fmt: skip
    cut = run(rule="sam-1", seed=3, number={"seconds_unlearn": 1e-3}, status="diverged")
    made += [cut, run(rule="sgd", seed=3, number={"seconds_unlearn": 1.0})]
    assert asks.cost_of_sharpness(records_of(made)).number == "sam-1: 2.00 [2.00, 2.00] times SGD's time (3 seeds)"


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


def test_ask_6_never_holds_one_rule_against_the_mask_of_another(
    run: Callable[..., Record], records_of: Callable[..., Records]
) -> None:
    """Polarities differ by nothing; only one of the rules, which is worse by 0.3, was run with both."""
    made = [run(rule=rule, mask_fraction=cutoff, switches=switches, seed=seed, number={"tow": tow + 0.01 * seed})
            for rule, switches, tow in (("minmax-sam-1", "", 0.4), ("minmax-sam-1", "mask_polarity=low", 0.4),
                                        ("minmax-asam-1", "", 0.7))
            for cutoff in (0.1, 0.3, 0.5) for seed in range(3)]  # fmt: skip
    found = asks.mask_ablation(records_of(made))
    assert found.number.endswith("minus the other, ToW: +0.000 [+0.000, +0.000] (3 seeds)")


def test_ask_6_knows_no_best_cutoff_among_runs_that_diverged(
    run: Callable[..., Record], records_of: Callable[..., Records]
) -> None:
    made = [run(rule="minmax-sam-1", mask_fraction=cutoff, switches=switches, seed=seed,
                **({"status": "diverged"} if broken else {"number": {"tow": 0.5 + cutoff}}))
            for switches, broken_at in (("", (0.5,)), ("mask_polarity=low", (0.1, 0.3, 0.5)))
            for cutoff in (0.1, 0.3, 0.5) for broken in (cutoff in broken_at,) for seed in range(3)]  # fmt: skip
    found = asks.mask_ablation(records_of(made))
    assert (found.verdict, found.number) == (
        "holds", "digits, best cutoff with the paper's polarity 0.3: ToW 0.800 ± 0.000 (3 seeds); paper's polarity "
        "minus the other, ToW: +0.467 [+0.467, +0.467] (3 seeds)"
    )  # fmt: skip


def test_ask_7_is_about_sam_on_the_retain_loss_only(runs: Runs) -> None:
    cells = [({"rule": "sgd"}, {"tow": BASE}), ({"rule": "retain-sam-1"}, {"tow": MORE}), ({"rule": "sam-1"},
             {"tow": [-9.0, -9.0, -9.0]})]  # fmt: skip
    found = asks.retain_only_sam(runs(cells))
    assert (found.verdict, found.number) == ("holds", f"tow minus that of SGD: {PLUS}")
    assert found.regime == "holds: NegGrad by retain-sam-1 after sgd on low"


def test_ask_8_says_that_a_smaller_klom_is_better(golden: Store) -> None:
    records = Records(golden.records())
    found = asks.klom_of_sam(records)
    # Synthetic margins: SAM's are the retrained ones, SGD's lie as far away as the original ones.
    assert found.verdict == "holds"
    assert found.regime == "holds: sam-0.1, pretrained sgd"
    assert found.number.startswith("mean KLoM on F minus that of SGD: -")
    assert found.number.endswith("doing nothing, pretrained sgd: +0.000 [+0.000, +0.000]")
    assert len(found.records) == sum(len(cell.runs) for cell in klom_cells(records)) == 48


def test_ask_8_without_sam_says_what_doing_nothing_is_like(golden: Store, records_of: Callable[..., Records]) -> None:
    plain = [one for one in golden.records() if (one.result.get("labels") or {}).get("rule") == "sgd"]
    found = asks.klom_of_sam(records_of(plain))
    assert (found.verdict, len(found.records)) == ("reported", 24)
    assert found.number == (
        "mean KLoM on F minus that of SGD: none of SAM; doing nothing, pretrained sgd: +0.000 [+0.000, +0.000]"
    )


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


def test_ask_9_takes_a_seed_that_one_pretraining_rule_lacks_for_no_mean_over_both(runs: Runs) -> None:
    """After SGD ToW falls by .1 and .2, after ASAM by .3 and .4: more seeds of one of them do not move the mean."""
    chance = (0.0, 0.01, 0.02, 0.01, 0.01)
    cells = []
    for pretrain, seeds, levels in (("sgd", 5, (0.9, 0.8, 0.6)), ("asam-1", 3, (0.9, 0.6, 0.2))):
        for place, (name, level) in enumerate(zip(("low", "mid", "high"), levels, strict=True)):
            tow = [level + place * step for step in chance[:seeds]]
            cells.append(({"pretrain": pretrain, "difficulty": name}, {"tow": tow}))
    found = asks.memorization_grades(runs(cells))
    assert found.number.startswith("ToW falls with the grade: low − mid: +0.190 [+0.165, +0.215] (3 seeds)")
    assert "mid − high: +0.290 [" in found.number


def test_ask_8b_leaves_out_what_has_no_tow(golden: Store, records_of: Callable[..., Records]) -> None:
    bare = [replace(one, result={k: v for k, v in one.result.items() if k != "tow"}) for one in golden.records()]
    assert "on average: sgd, pretrained sgd unknown" in asks.ulira_of_unlearning(records_of(bare)).number


def test_ask_8b_compares_each_rule_with_doing_nothing(golden: Store) -> None:
    # True positives at 1 %: 0.03 of the original, 0.02 after SGD, 0.1 after SAM, each +- 0.002.
    found = asks.ulira_of_unlearning(Records(golden.records()))
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


def test_ask_9b_takes_off_what_several_training_seeds_leave_of_their_scatter(runs: Runs) -> None:
    """Three seeds on each draw: of their deviation .03 the mean of a draw has .03 / sqrt(3); draws differ by .05."""
    cells = [({"rule": rule, "forget_seed": one}, {"tow": [0.5 + (rule == "sam-1") * (0.1 + 0.05 * one + step)
                                                             for step in (-0.03, 0.0, 0.03)]})
             for rule in ("sgd", "sam-1") for one in range(3)]  # fmt: skip
    found = asks.another_draw(runs(cells))
    assert found.verdict == "holds"
    assert found.number.endswith(f"of the draw itself {(0.05**2 - 0.03**2 / 3) ** 0.5:.3f}")
    one_seed = [(cell, {"tow": numbers["tow"][1:2]}) for cell, numbers in cells]
    assert asks.another_draw(runs(one_seed)).number.endswith("over training seeds on draw 0 unknown")


def test_ask_9b_needs_three_draws(runs: Runs) -> None:
    cells = [({"rule": rule, "forget_seed": one}, {"tow": BASE}) for rule in ("sgd", "sam-1") for one in (0, 1)]
    assert asks.another_draw(runs(cells)).verdict == "not run"


def test_ask_9c_judges_the_changed_setting_and_names_the_study_beside_it(
    run: Callable[..., Record], records_of: Callable[..., Records]
) -> None:
    gains = {"flip": [0.1, 0.1, 0.1], "none": [0.19, 0.2, 0.21]}
    made = []
    for (augment, several), rule in itertools.product(gains.items(), ("sgd", "sam-1")):
        numbers = [{"tow": 0.5 + (rule == "sam-1") * gain} for gain in several]
        made += [run(rule=rule, augment=augment, seed=seed, number=number) for seed, number in enumerate(numbers)]
    usual = [*made[:6], run(augment="flip", difficulty="mid", number={"tow": 0.5})]

    def beside(plain: list[Record]) -> Records:
        return Records(parts=[records_of(usual), records_of(plain)])

    found = asks.with_a_setting_changed(beside(made[6:]))
    assert (found.verdict, len(found.records)) == ("holds", 12)
    assert found.number == (
        "ToW minus that of SGD, augment none: NegGrad by sam-1 after sgd on low +0.200 [+0.175, +0.225] (3 seeds); "
        "in the study: NegGrad by sam-1 after sgd on low +0.100 [+0.100, +0.100] (3 seeds)"
    )
    assert found.effect == "+0.200 [+0.175, +0.225]"
    assert asks.with_a_setting_changed(beside([])).verdict == "not run"
    one = asks.with_a_setting_changed(beside([made[6], made[9]]))
    assert one.verdict == "undecided", "one seed decides nothing"
