"""Every finding on small studies made by hand: its verdict, its number to the digit, and where it says it holds."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from figures.tables.records import Records
from figures.verdicts import findings
from figures.verdicts.collapse import collapse_alpha
from figures.verdicts.judge import Finding
from repro.records.record import Record
from repro.records.store import Store
from tests.figures.conftest import studies_in

Runs = Callable[..., Records]
# Differences of about +0.2 and -0.2 from BASE, seed by seed: mean 0.2, sd 0.01, interval 0.2 +- 0.0248.
BASE = [0.1, 0.3, 0.5]
MORE, LESS = [0.29, 0.50, 0.71], [-0.11, 0.10, 0.31]
LOW, HIGH = [0.4, 0.41, 0.41, 0.41, 0.42], [0.8, 0.85, 0.85, 0.85, 0.9]  # ToW of five seeds, below and above a half
PLUS, MINUS = "+0.200 [+0.175, +0.225] (3 seeds)", "-0.200 [-0.225, -0.175] (3 seeds)"


def study(runs: Runs, **rules: dict[str, Any]) -> Records:
    """Return a study of NegGrad: rule (`sam_1` for sam-1) to its numbers."""
    return runs([({"rule": name.replace("_", "-")}, numbers) for name, numbers in rules.items()])


@pytest.mark.parametrize(("values", "verdict"), [(MORE, "holds"), (LESS, "contradicted"), (BASE, "undecided")])
def test_finding_1a_has_the_sign_of_sam_minus_sgd(runs: Runs, values: list[float], verdict: str) -> None:
    spread = [value + shift for value, shift in zip(values, (-0.01, 0.0, 0.01), strict=True)]
    found = findings.sam_unlearns_better(study(runs, sgd={"tow": BASE}, asam_1={"tow": spread}))
    assert found.verdict == verdict
    assert len(found.records) == 6


def test_finding_1a_looks_at_unlearning_alone(runs: Runs) -> None:
    levels = {("sgd", "sgd"): BASE, ("sgd", "sam-1"): MORE, ("sam-1", "sgd"): LESS}
    records = runs([({"pretrain": pretrain, "rule": rule}, {"tow": values, "forget_accuracy": [9, 9, 9]})
                    for (pretrain, rule), values in levels.items()])  # fmt: skip
    found = findings.sam_unlearns_better(records)
    assert (found.verdict, found.regime) == ("holds", "holds: NegGrad by sam-1 after sgd on low")
    assert found.number == f"ToW minus ToW of SGD: {PLUS}"


def test_finding_1a_tells_cells_apart_and_counts_each_forget_set_once(runs: Runs) -> None:
    # On high SAM gains 0.2 after either pretraining, on low it loses 0.2 after SGD: the mean of the sets is 0.
    cells = [({"rule": rule, "pretrain": pretrain, "difficulty": name}, {"tow": values})
             for name, pretrain, gained in (("low", "sgd", LESS), ("high", "sgd", MORE), ("high", "asam-1", MORE))
             for rule, values in (("sgd", BASE), ("sam-1", gained))]  # fmt: skip
    found = findings.sam_unlearns_better(runs(cells))
    assert found.verdict == "mixed"
    assert found.regime == (
        "holds: NegGrad by sam-1 after asam-1 on high; NegGrad by sam-1 after sgd on high. "
        "fails: NegGrad by sam-1 after sgd on low"
    )
    assert "on average over 3 cells, each forget set counting once, 2 above 0 and 1 below" in found.number
    assert found.effect == "-0.000 [-0.025, +0.025]"


def test_a_cell_that_scatters_more_than_the_rest_has_to_exclude_0_by_its_own_interval(runs: Runs) -> None:
    # Pooled with two quiet cells 0.2 +- 0.1 would be clear of 0; alone it is 0.2 +- 0.3.
    wild = [0.2, 0.5, 0.8]
    sets = {"low": MORE, "mid": MORE, "high": wild}
    cells = [({"rule": rule, "difficulty": name}, {"tow": values})
             for name, gained in sets.items() for rule, values in (("sgd", BASE), ("sam-1", gained))]  # fmt: skip
    found = findings.sam_unlearns_better(runs(cells))
    assert (found.verdict, "on high" in found.regime) == ("holds in a regime", False)
    alone = [(cell, numbers) for cell, numbers in cells if cell["difficulty"] != "high"]
    assert findings.sam_unlearns_better(runs(alone)).verdict == "holds"


def pretrained(run: Callable[..., Record], own: float, common: float) -> list[Record]:
    """Return SGD- and SAM-pretrained cells whose ToW differ by `own` and, against the SGD retrain, by `common`.

    All accuracies on R and test are those of every retrained model; ToW against the SGD retrain is one minus the gap on
    F, 0.5 after SGD.
    """
    found = []
    for seed, wobble in enumerate((-0.01, 0.0, 0.01)):
        for rule, gain, gap in (("sgd", 0.0, 0.5), ("sam-1", own + wobble, 0.5 - common - wobble)):
            numbers = {f"{role}{name}_accuracy": 0.9 for role in ("", "retrained_") for name in ("retain", "test")}
            numbers |= {"retrained_forget_accuracy": 0.1 if rule == "sgd" else 0.7, "forget_accuracy": 0.1 + gap}
            numbers |= {"tow": 0.5 + gain, "parents": {"forget_set": "F"}}
            found.append(run(pretrain=rule, seed=seed, number=numbers))
    return found


@pytest.mark.parametrize(("own", "common", "verdict"), [
    (0.2, 0.1, "holds"), (-0.2, -0.1, "contradicted"), (0.2, -0.1, "undecided"), (0.2, 0.0, "undecided"),
])  # fmt: skip
def test_finding_1b_is_decided_where_both_references_agree(
    run: Callable[..., Record], records_of: Callable[..., Records], own: float, common: float, verdict: str
) -> None:
    found = findings.sam_pretrains_better(records_of(pretrained(run, own, common)))
    assert found.verdict == verdict
    assert f"Against its own retrain: {own:+.3f} [" in found.number
    assert f"Against the common SGD retrain: {common:+.3f} [" in found.number
    assert ("the two references do not agree: NegGrad by sgd after sam-1 on low" in found.regime) == (
        verdict == "undecided"
    )


def test_finding_1b_needs_the_common_reference(runs: Runs) -> None:
    records = runs([({"pretrain": "sgd"}, {"tow": BASE}), ({"pretrain": "sam-1"}, {"tow": MORE})])
    found = findings.sam_pretrains_better(records)
    assert found.verdict == "undecided"
    assert found.number.endswith("no SGD retrain of the same forget set and seed")


def test_a_comparison_of_pretraining_needs_a_study_with_two_of_them(
    run: Callable[..., Record], records_of: Callable[..., Records]
) -> None:
    one = records_of(
        [run(rule=rule, seed=seed, number={"tow": 0.5}) for rule in ("sgd", "asam-1") for seed in range(3)]
    )
    assert findings.sam_pretrains_better(one).verdict == "not run"
    two = pretrained(run, 0.2, 0.1)
    assert findings.sam_pretrains_better(records_of(two)).verdict == "holds"
    landscapes = [replace(each, result=each.result | {"original_landscape_forget_basin_ratio": 0.5}) for each in two]
    assert findings.sam_models_are_flatter(records_of(landscapes)).verdict == "undecided"


def test_finding_2_subtracts_the_rule_inside_minmax_not_sgd(runs: Runs) -> None:
    # Against SGD MinMax would lie 0.2 lower; against its own inner rule, SAM, it lies 0.2 higher.
    low = [value - 0.4 for value in BASE]
    rules = {"sgd": {"tow": MORE}, "minmax_sam_1": {"tow": BASE}, "sam_1": {"tow": LESS}, "asam_1": {"tow": low}}
    found = findings.overfitting_helps(study(runs, **rules))
    assert (found.verdict, found.number) == ("holds", f"ToW difference: {PLUS}")
    assert found.regime == "holds: minmax-sam-1 − sam-1, pretrained sgd, F low"
    assert findings.overfitting_helps(study(runs, sgd={"tow": BASE})) == Finding()


def test_finding_3_counts_cells_where_sgd_forgets_more_at_a_lower_tow(runs: Runs) -> None:
    def both(forget: list[float], tow: list[float]) -> dict[str, Any]:
        return {"forget_accuracy": forget, "tow": tow}

    # SAM forgets less (higher accuracy on F) and has the higher ToW: SGD's forget accuracy and ToW are both lower.
    cells = [({"rule": "sgd", "difficulty": name}, both(BASE, BASE)) for name in ("low", "high")]
    cells += [({"rule": "sam-1", "difficulty": "low"}, both(MORE, MORE))]
    found = findings.sgd_forgets_more_with_lower_tow(runs([*cells, ({"rule": "sam-1", "difficulty": "high"},
                                                                    both(LESS, MORE))]))  # fmt: skip
    assert found.number == "1 of 2 cells with both simultaneous intervals above 0 (1 by means, 1 excluded)"
    assert (found.verdict, found.regime) == ("holds in a regime", "NegGrad by sam-1 after sgd on low")
    none = findings.sgd_forgets_more_with_lower_tow(study(runs, sgd=both(BASE, BASE), sam_1=both(LESS, MORE)))
    assert none.verdict == "contradicted"
    # Means alone decide nothing: 0.1 +- 0.25.
    wide = [0.1, 0.4, 0.7]
    unclear = findings.sgd_forgets_more_with_lower_tow(study(runs, sgd=both(BASE, BASE), sam_1=both(wide, wide)))
    assert unclear.verdict == "undecided"


def test_finding_3_widens_its_intervals_over_the_cells(runs: Runs) -> None:
    # Alone 0.035 +- 0.0248 excludes 0. Beside a cell that scatters by 0.05 the pooled deviation is 0.036 and the
    # interval of either +- t(0.9875, 4) 0.036 / sqrt(3) = 0.073.
    def gained(steps: tuple[float, ...]) -> dict[str, list[float]]:
        values = [value + step for value, step in zip(BASE, steps, strict=True)]
        return {"forget_accuracy": values, "tow": values}

    narrow, wide = gained((0.025, 0.035, 0.045)), gained((-0.05, 0.0, 0.05))
    alone = [({"rule": "sgd"}, gained((0, 0, 0))), ({"rule": "sam-1"}, narrow)]
    assert findings.sgd_forgets_more_with_lower_tow(runs(alone)).verdict == "holds"
    two = [*alone, ({"rule": "sgd", "difficulty": "high"}, gained((0, 0, 0))),
           ({"rule": "sam-1", "difficulty": "high"}, wide)]  # fmt: skip
    assert findings.sgd_forgets_more_with_lower_tow(runs(two)).verdict == "undecided"


def test_a_cell_of_finding_3_has_to_exclude_0_by_its_own_interval_too(runs: Runs) -> None:
    # 0.03 +- 0.075 by its own seeds; by a deviation pooled with three quiet cells +- 0.028.
    cells = []
    for name, steps in (("low", (0.0, 0.03, 0.06)), *((one, (0.0, 0.0, 0.0)) for one in ("mid", "high", "random"))):
        gained = [value + step for value, step in zip(BASE, steps, strict=True)]
        for rule, values in (("sgd", BASE), ("sam-1", gained)):
            cells.append(({"rule": rule, "difficulty": name}, {"forget_accuracy": values, "tow": values}))
    assert findings.sgd_forgets_more_with_lower_tow(runs(cells)).verdict == "undecided"


def test_a_run_that_diverged_has_a_tow_of_0_and_is_not_passed_over(
    run: Callable[..., Record], records_of: Callable[..., Records]
) -> None:
    made = [run(method=method, rule=rule, seed=seed, number={"tow": 0.3 + gain + 0.01 * seed})
            for method, rule, gain in (("neggrad", "sgd", 0), ("neggrad", "sam-1", 0.1), ("scrub", "sgd", 0))
            for seed in range(3)]  # fmt: skip
    found = findings.sam_unlearns_better(records_of(made))
    assert found.verdict == "holds"
    made += [run(method="scrub", rule="sam-1", seed=seed, status="diverged") for seed in range(3)]
    found = findings.sam_unlearns_better(records_of(made))
    assert (found.verdict, found.regime.partition("fails: ")[2]) == (
        "mixed", "SCRUB by sam-1 after sgd on low; on average"
    )  # fmt: skip


@pytest.mark.parametrize(("collapse", "verdict", "regime"), [
    ({"sgd": 0.6, "sam-1": 0.3, "asam-1": 0.1}, "holds",
     "holds: sgd before sam @; sgd before asam @; sam before asam @"),
    ({"sgd": 0.6, "sam-1": 0.6, "asam-1": 0.3}, "holds in a regime",
     "holds: sgd before asam @; sam before asam @"),
    ({"sgd": 0.3, "sam-1": 0.3}, "undecided", ""),
    ({"sgd": 0.3, "sam-1": 0.6, "asam-1": 0.1}, "mixed",
     "holds: sgd before asam @; sam before asam @. fails: sgd before sam @"),
    ({"sgd": 0.3, "sam-1": 0.6}, "contradicted", "fails: sgd before sam @"),
])  # fmt: skip
def test_finding_4_compares_the_alphas_at_which_tow_falls_below_a_half(
    runs: Runs, collapse: dict[str, float], verdict: str, regime: str
) -> None:
    cells = [({"rule": rule, "alpha": alpha}, {"tow": LOW if alpha <= last else HIGH})
             for rule, last in collapse.items() for alpha in (0.1, 0.3, 0.6, 0.8)]  # fmt: skip
    found = findings.sgd_collapses_first(runs(cells))
    assert (found.verdict, found.regime) == (verdict, regime.replace("@", "on digits after sgd"))
    following = {0.3: 0.6, 0.6: 0.8}[collapse["sgd"]]  # mean ToW rises from 0.41 to 0.85 on the way there
    place = collapse["sgd"] + (0.5 - 0.41) / (0.85 - 0.41) * (following - collapse["sgd"])
    assert found.number.startswith(
        f"alpha at which mean ToW falls below 0.5: digits after sgd, 5 seeds: sgd {place:.3f}, "
    )
    short = [(cell, {"tow": numbers["tow"][:3]}) for cell, numbers in cells]
    few = findings.sgd_collapses_first(runs(short))
    # The rarest resample of three seeds is one of 27, more than an interval of 95 % leaves out at an end.
    assert (few.verdict, "(3 seeds decide nothing)" in few.number) == ("undecided", True)


def test_finding_4_resamples_seeds_so_that_one_seed_cannot_carry_the_order(runs: Runs) -> None:
    # SGD's mean at alpha 0.6 is 0.47, below a half, by one seed of five; without it SGD does not collapse there.
    sgd = {0.1: [0.1] * 5, 0.3: [0.1] * 5, 0.6: [-0.45, 0.7, 0.7, 0.7, 0.7]}
    sam = {0.1: [0.1] * 5, 0.3: [0.1] * 5, 0.6: [0.7] * 5}
    cells = [({"rule": rule, "alpha": alpha}, {"tow": values})
             for rule, sweep in (("sgd", sgd), ("sam-1", sam)) for alpha, values in sweep.items()]  # fmt: skip
    found = findings.sgd_collapses_first(runs(cells))
    assert found.verdict == "undecided"
    # All resamples that draw the first seed at least once: 1 - (4/5)^5 = 67 %.
    share = int(found.effect.removeprefix("claimed order in ").partition("%")[0])
    assert abs(share - 67) <= 3


def collapsing(dataset: str, **last: float) -> list[Any]:
    """Return a sweep of a data set: rules to the largest alpha at which their ToW is below a half."""
    return [({"rule": rule, "alpha": alpha, "dataset": dataset}, {"tow": LOW if alpha <= place else HIGH})
            for rule, place in last.items() for alpha in (0.1, 0.3, 0.6)]  # fmt: skip


def test_finding_4_is_judged_on_every_study_that_swept_alpha(runs: Runs) -> None:
    agree, other = collapsing("digits", sgd=0.3, sam=0.1), collapsing("cifar10", sgd=0.1, sam=0.3)
    found = findings.sgd_collapses_first(Records(parts=[runs(other), runs(agree)]))
    assert found.verdict == "mixed"
    assert found.regime == "holds: sgd before sam on digits after sgd. fails: sgd before sam on cifar10 after sgd"
    assert found.number.endswith("0% on cifar10 after sgd; 100% on digits after sgd")
    assert found.effect == "claimed order in 0% to 100% of resamples (2 cells)"
    few = [(cell, {"tow": numbers["tow"][:3]}) for cell, numbers in other]
    found = findings.sgd_collapses_first(Records(parts=[runs(agree), runs(few)]))
    assert (found.verdict, found.regime) == ("holds in a regime", "holds: sgd before sam on digits after sgd")


def test_a_sweep_of_too_few_seeds_widens_no_interval_of_finding_4(runs: Runs) -> None:
    # Of four seeds the rarest resample is one of 256, .0039: three pairs leave out .0083, all nine would .0028.
    order = {"sgd": 0.6, "sam": 0.3, "asam": 0.1}
    four = [(cell, {"tow": numbers["tow"][:4]}) for cell, numbers in collapsing("digits", **order)]
    few = [[(cell, {"tow": numbers["tow"][:3]}) for cell, numbers in collapsing(data, **order)]
           for data in ("cifar10", "cifar100")]  # fmt: skip
    found = findings.sgd_collapses_first(Records(parts=[runs(one) for one in (four, *few)]))
    assert found.regime.count("before") == found.regime.count("on digits after sgd") == 3


def test_finding_4_judges_each_pretraining_rule_by_its_own_curves(runs: Runs) -> None:
    # After SAM the sweep has a point less: averaged over both, that point would be of SGD alone.
    more = [(cell | {"pretrain": "sam-1"}, numbers) for cell, numbers in collapsing("digits", sgd=0.3, sam=0.1)]
    cells = [
        ({"rule": rule, "alpha": alpha}, {"tow": LOW}) for rule in ("sgd", "sam") for alpha in (0.1, 0.3, 0.6, 0.9)
    ]
    found = findings.sgd_collapses_first(runs([*cells, *more]))
    assert "digits after sgd, 5 seeds: sgd 0.900, sam 0.900" in found.number
    assert found.regime == "holds: sgd before sam on digits after sam-1"


def test_finding_4_judges_each_forget_set_by_its_own_curves(runs: Runs) -> None:
    # On high, which SAM lacks, SGD collapses earlier; on low they collapse alike.
    cells = collapsing("digits", sgd=0.1, sam=0.1)
    cells += [(cell | {"difficulty": "high"}, numbers) for cell, numbers in collapsing("digits", sgd=0.6)]
    found = findings.sgd_collapses_first(runs(cells))
    assert (found.verdict, "digits after sgd on low, 5 seeds" in found.number) == ("undecided", True)


def test_finding_4_holds_rules_against_each_other_by_the_seeds_that_all_have(runs: Runs) -> None:
    cells = collapsing("digits", sgd=0.3, sam=0.1)
    more = [(cell, {"tow": [*numbers["tow"], 0.9]} if cell["rule"] == "sgd" else numbers) for cell, numbers in cells]
    names = [findings.sgd_collapses_first(runs(one)).number for one in (cells, more)]
    assert names[0] == names[1]


@pytest.mark.parametrize(("tow", "place"), [
    ([0.1, 0.4, 0.8], 0.55),  # a quarter of the way from 0.5 to 0.7
    ([0.1, 0.6, 0.4], 0.7), ([0.4, 0.8, 0.9], 0.35), ([0.6, 0.4, 0.5], 0.7), ([0.6, 0.7, 0.8], 0.0),
])  # fmt: skip
def test_alpha_of_collapse_lies_between_the_last_one_below_a_half_and_the_next(tow: list[float], place: float) -> None:
    means = pd.DataFrame([tow, [0.6, 0.7, 0.8]], columns=pd.Index([0.3, 0.5, 0.7]))
    assert collapse_alpha(means) == pytest.approx([place, 0.0])


def test_finding_4_needs_a_sweep(runs: Runs) -> None:
    assert findings.sgd_collapses_first(study(runs, sgd={"tow": BASE}, sam_1={"tow": MORE})) == Finding()


@pytest.mark.parametrize(("values", "verdict", "effect"), [(LESS, "holds", MINUS), (MORE, "contradicted", PLUS)])
def test_finding_5_says_that_sam_lowers_the_unlearned_models_number(
    runs: Runs, values: list[float], verdict: str, effect: str
) -> None:
    other = list(reversed(BASE))  # neither another metric nor the retrained model's number decides
    rest = {"tow": other, "retrained_mia_correctness": other, "original_mia_correctness": other, "mia_auc": other}
    records = study(runs, sgd={"mia_correctness": BASE} | rest, sam_1={"mia_correctness": values} | rest)
    found = findings.sam_lowers(records, findings.MIA)
    assert (found.verdict, found.number.partition(";")[0]) == (verdict, f"mia_correctness minus that of SGD: {effect}")


def test_finding_5_says_beside_which_rule_is_nearer_to_the_retrained_model(runs: Runs) -> None:
    # The retrained model's number is 1: SAM, 0.2 above SGD, is 0.2 nearer to it, and does not lower the number.
    ideal = {"retrained_mia_correctness": [1.0, 1.0, 1.0]}
    records = study(runs, sgd={"mia_correctness": BASE} | ideal, sam_1={"mia_correctness": MORE} | ideal)
    found = findings.sam_lowers(records, findings.MIA)
    beside = f"distance to that of the retrained model, minus SGD's: {MINUS}"
    assert (found.verdict, found.number.partition("beside it, not deciding: ")[2]) == ("contradicted", beside)
    assert found.regime.endswith(". SAM's number is on average nearer to the retrained model's than SGD's")
    alone = study(runs, sgd={"mia_correctness": BASE}, sam_1={"mia_correctness": MORE})
    assert "beside it" not in findings.sam_lowers(alone, findings.MIA).number


def test_finding_5a_says_where_its_number_is_the_forget_error_and_puts_graded_attacks_beside(runs: Runs) -> None:
    error = [{"mia_correctness": one, "forget_accuracy": [1 - value for value in one]} for one in (BASE, LESS)]
    graded = [{"mia_confidence": BASE}, {"mia_confidence": MORE}]
    records = study(runs, sgd=error[0] | graded[0], sam_1=error[1] | graded[1])
    found = findings.sam_lowers(records, findings.MIA, findings.GRADED_MIA)
    assert found.verdict == "holds"
    assert found.regime.endswith(findings.ONE_BIT)
    assert found.number.endswith(f"; beside it, not deciding: mia_confidence minus that of SGD: {PLUS}")
    other = study(runs, sgd=error[0], sam_1=error[1] | {"forget_accuracy": BASE})
    assert findings.ONE_BIT not in findings.sam_lowers(other, findings.MIA, findings.GRADED_MIA).regime


def flat(values: list[float], role: str = "original_") -> dict[str, Any]:
    return {f"{role}landscape_{name}_basin_ratio": values for name in ("forget", "test")}


def test_finding_6a_compares_original_models_by_the_papers_measure(runs: Runs) -> None:
    # The Hessian says the opposite, beside it: it does not decide. Nor does the unlearned model.
    sam = flat(MORE) | flat(LESS, "") | {"original_hessian_top": MORE}
    cells = [({"pretrain": "sgd"}, flat(BASE) | flat(BASE, "") | {"original_hessian_top": BASE}),
             ({"pretrain": "sam-1"}, sam)]  # fmt: skip
    # Unlearned once more by another rule the original model is the same one: it counts once.
    cells += [(cell | {"rule": "sam-1"}, numbers) for cell, numbers in cells]
    found = findings.sam_models_are_flatter(runs(cells))
    assert found.verdict == "holds"
    assert found.regime == "holds: pretrained sam-1, loss on forget; pretrained sam-1, loss on test; on average"
    assert found.number.endswith(f"beside it, not deciding: hessian_top, smaller is flatter: {PLUS}")
    swapped = [(cell | {"pretrain": {"sgd": "sam-1", "sam-1": "sgd"}[cell["pretrain"]]}, one) for cell, one in cells]
    assert findings.sam_models_are_flatter(runs(swapped)).verdict == "contradicted"


def test_finding_6a_counts_an_original_once_whichever_rule_its_landscape_stands_with(
    run: Callable[..., Record], records_of: Callable[..., Records]
) -> None:
    # Of seed 2 another rule's run has the landscape: three seeds of one original, not two cells of two and one.
    levels = {"sgd": BASE, "sam-1": MORE}
    records = records_of([
        run(pretrain=pretrain, seed=seed, rule="sgd" if seed < 2 else "sam-1",
            number=dict.fromkeys(flat(values), values[seed]) | {"original_hessian_top": -values[seed]})
        for pretrain, values in levels.items() for seed in range(3)
    ])  # fmt: skip
    found = findings.sam_models_are_flatter(records)
    assert (found.verdict, found.number.count(PLUS), found.number.count(MINUS)) == ("holds", 3, 1)


def test_finding_6_is_undecided_without_the_papers_measure(runs: Runs) -> None:
    cells = [({"pretrain": "sgd"}, {"original_hessian_top": BASE, "hessian_top": LESS}),
             ({"pretrain": "sam-1"}, {"original_hessian_top": LESS, "hessian_top": LESS})]  # fmt: skip
    for judged in (findings.sam_models_are_flatter, findings.sgd_models_get_flatter):
        found = judged(runs(cells))
        assert found.verdict == "undecided"
        assert found.number == (
            f"the paper's measure, the basin ratio, was not run; hessian_top, smaller is flatter: {MINUS}"
        )
        assert judged(runs([({}, {"tow": BASE})])) == Finding()


def test_finding_6b_compares_after_with_before_for_sgd_alone(runs: Runs) -> None:
    cells = [({}, flat(BASE) | flat(MORE, "")), ({"rule": "sam-1"}, flat(BASE) | flat(LESS, "")),
             ({"pretrain": "sam-1"}, flat(BASE) | flat(LESS, ""))]  # fmt: skip
    found = findings.sgd_models_get_flatter(runs(cells))
    assert (found.verdict, found.regime) == (
        "holds", "holds: NegGrad, loss on forget; NegGrad, loss on test; on average"
    )  # fmt: skip
    assert found.number.startswith("basin ratio after minus before (larger is flatter): +0.200 [+0.175, +0.225]")


def test_a_figure_takes_the_verdict_of_what_it_shows() -> None:
    by_title = {item.title: item.assess for item in findings.ITEMS}
    assert findings.verdict_of("fig-alpha") is by_title["Finding 4"]
    assert findings.verdict_of("fig-mia") is by_title["Finding 5a"]
    assert findings.verdict_of("fig-tow").args == (("Finding 1a", "Finding 1b"),)  # type: ignore[attr-defined]


def test_a_phase_diagram_takes_the_verdict_of_the_claims_study_and_not_of_its_sweep(golden: Store) -> None:
    found = findings.verdict_of("fig-theory-map")(studies_in(golden))
    assert {record.kind for record in found.records} == {"theory_claim"}
    assert found.number == "theorem-3.2-sgd-boundary: holds; theorem-3.3-sam-boundary: holds"
