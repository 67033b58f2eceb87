"""Every finding on small studies made by hand: its verdict, its number to the digit, and where it says it holds."""

from collections.abc import Callable
from typing import Any

import pytest

from figures.tables.records import Records
from figures.verdicts import findings
from figures.verdicts.judge import Finding

Runs = Callable[..., Records]
# Differences of about +0.2 and -0.2 from BASE, seed by seed: mean 0.2, sd 0.01, interval 0.2 +- 0.0248.
BASE = [0.1, 0.3, 0.5]
MORE, LESS = [0.29, 0.50, 0.71], [-0.11, 0.10, 0.31]
PLUS, MINUS = "+0.200 [+0.175, +0.225] (3 seeds)", "-0.200 [-0.225, -0.175] (3 seeds)"


def study(runs: Runs, **rules: dict[str, Any]) -> Records:
    """Return a study of NegGrad: rule (`sam_1` for sam-1) to its numbers."""
    return runs([({"rule": name.replace("_", "-")}, numbers) for name, numbers in rules.items()])


def test_finding_1_compares_tow_in_both_roles(runs: Runs) -> None:
    levels = {("sgd", "sgd"): BASE, ("sgd", "sam-1"): MORE, ("sam-1", "sgd"): LESS}
    records = runs([({"pretrain": pretrain, "rule": rule}, {"tow": values, "forget_accuracy": [9, 9, 9]})
                    for (pretrain, rule), values in levels.items()])  # fmt: skip
    found = findings.sam_improves_every_method(records)
    assert found.verdict == "holds in a regime"
    assert found.regime == "holds: unlearn sam-1, NegGrad. fails: pretrain sam-1, NegGrad"
    assert "000 [-0.025, +0.025] (3 seeds) on average over 2 cells, 1 above 0 and 1 below" in found.number
    assert found.number.endswith(f"from {MINUS} to {PLUS}")
    assert len(found.records) == 9


@pytest.mark.parametrize(("values", "verdict"), [(MORE, "holds"), (LESS, "contradicted"), (BASE, "undecided")])
def test_finding_1_has_the_sign_of_sam_minus_sgd(runs: Runs, values: list[float], verdict: str) -> None:
    spread = [value + shift for value, shift in zip(values, (-0.01, 0.0, 0.01), strict=True)]
    found = findings.sam_improves_every_method(study(runs, sgd={"tow": BASE}, asam_1={"tow": spread}))
    assert found.verdict == verdict


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
    assert found.number == "1 of 2 cells with both simultaneous intervals above 0 (1 by means)"
    assert (found.verdict, found.regime) == ("holds", "NegGrad, sgd, F low")
    none = findings.sgd_forgets_more_with_lower_tow(study(runs, sgd=both(BASE, BASE), sam_1=both(LESS, MORE)))
    assert none.verdict == "contradicted"
    # Means alone decide nothing: 0.1 +- 0.25.
    wide = [0.1, 0.4, 0.7]
    unclear = findings.sgd_forgets_more_with_lower_tow(study(runs, sgd=both(BASE, BASE), sam_1=both(wide, wide)))
    assert unclear.verdict == "undecided"


def test_finding_3_widens_its_intervals_over_the_cells(runs: Runs) -> None:
    # Alone 0.06 +- 0.0497 excludes 0; of two cells, widened to +- 0.0717, none does.
    gain = [value + step for value, step in zip(BASE, (0.04, 0.06, 0.08), strict=True)]
    numbers = {"forget_accuracy": gain, "tow": gain}
    alone = [({"rule": "sgd"}, {"forget_accuracy": BASE, "tow": BASE}), ({"rule": "sam-1"}, numbers)]
    assert findings.sgd_forgets_more_with_lower_tow(runs(alone)).verdict == "holds"
    two = alone + [(cell | {"difficulty": "high"}, values) for cell, values in alone]
    assert findings.sgd_forgets_more_with_lower_tow(runs(two)).verdict == "undecided"


@pytest.mark.parametrize(("collapse", "verdict", "regime"), [
    ({"sgd": 0.6, "sam-1": 0.3, "asam-1": 0.3}, "holds", ""),
    ({"sgd": 0.6, "sam-1": 0.6, "asam-1": 0.3}, "holds in a regime", "against asam; the others collapse with SGD"),
    ({"sgd": 0.3, "sam-1": 0.3}, "undecided", ""),
    ({"sgd": 0.3, "sam-1": 0.6, "asam-1": 0.1}, "contradicted", ""),
])  # fmt: skip
def test_finding_4_compares_the_largest_alpha_below_a_half(
    runs: Runs, collapse: dict[str, float], verdict: str, regime: str
) -> None:
    cells = [({"rule": rule, "alpha": alpha}, {"tow": [0.4, 0.42] if alpha <= last else [0.8, 0.9]})
             for rule, last in collapse.items() for alpha in (0.1, 0.3, 0.6, 0.8)]  # fmt: skip
    found = findings.sgd_collapses_first(runs(cells))
    assert (found.verdict, found.regime) == (verdict, regime)
    assert found.number.startswith("largest alpha with mean ToW < 0.5: ")
    assert f"sgd: {collapse['sgd']:g}" in found.number
    assert found.number.endswith("(2 seeds)")


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
    assert (found.verdict, found.number) == (verdict, f"mia_correctness minus that of SGD: {effect}")


def test_finding_6a_compares_original_models_by_their_pretraining(runs: Runs) -> None:
    flat, sharp = {"original_hessian_top": LESS, "hessian_top": MORE}, {"original_hessian_top": BASE}
    cells = [({"pretrain": "sgd"}, sharp | {"hessian_top": BASE}), ({"pretrain": "sam-1"}, flat)]
    # Unlearned once more by another rule the original model is the same one: it counts once.
    cells += [(cell | {"rule": "sam-1"}, numbers) for cell, numbers in cells]
    found = findings.sam_models_are_flatter(runs(cells))
    assert (found.verdict, found.regime) == ("holds", "holds: pretrained sam-1")
    assert found.number == f"original_hessian_top minus that of SGD: {MINUS}"


def test_finding_6b_compares_after_with_before_for_sgd_alone(runs: Runs) -> None:
    cells = [({}, {"hessian_top": LESS, "original_hessian_top": BASE}),
             ({"rule": "sam-1"}, {"hessian_top": MORE, "original_hessian_top": BASE}),
             ({"pretrain": "sam-1"}, {"hessian_top": MORE, "original_hessian_top": BASE})]  # fmt: skip
    found = findings.sgd_models_get_flatter(runs(cells))
    assert (found.verdict, found.number) == ("holds", f"hessian_top after minus before: {MINUS}")


def test_a_figure_takes_the_verdict_of_what_it_shows() -> None:
    by_title = {item.title: item.assess for item in findings.ITEMS}
    assert findings.verdict_of("fig-alpha") is by_title["Finding 4"]
    assert findings.verdict_of("fig-mia") is by_title["Finding 5a"]
    assert findings.verdict_of("fig-theory-map").args == (("theorem-3.2-sgd-boundary", "theorem-3.3-sam-boundary"),)
