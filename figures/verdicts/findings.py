"""Verdicts on the paper's experimental findings, computed from network records alone."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from figures.catalogue import FIGURES
from figures.tables.cells import main_study
from figures.tables.intervals import FEWEST, Table, effect_text
from figures.tables.names import family, method_label
from figures.tables.pairs import CLAIMED, by_cell, cell_name, over_cells, pretrain_differences, rule_differences
from figures.tables.records import Records, Studies
from figures.verdicts import theory_claims
from figures.verdicts.collapse import sgd_collapses_first
from figures.verdicts.judge import (
    Assess,
    Finding,
    Item,
    common_verdict,
    from_differences,
    judged_on,
    numbers,
    side,
    sides,
)
from repro.base.verdict import CONTRADICTED, HOLDS, REGIME, UNDECIDED, regime, verdict

MIA = ("mia_correctness", "mia_auc")
GRADED_MIA = ("mia_confidence", "attack_loss_auc")  # of scores that say more than right or wrong
ONE_BIT = (
    "The number is 1 − forget accuracy in every one of these runs, for a machine that knows right from wrong calls "
    "every wrong answer a non-member's: that SAM lowers it says that SAM forgets less, and no more"
)
ENTANGLEMENT = ("entanglement_wp", "entanglement_var")
SETS = ("forget", "test")
# The paper's measure: the share of the landscape within half a deviation of the centre; larger is flatter.
BASIN = "landscape_{}_basin_ratio"
# What stands beside it and does not decide; smaller is flatter.
BESIDE = ("landscape_forget_variability", "landscape_test_variability", "hessian_top")
NO_LANDSCAPE = "the paper's measure, the basin ratio, was not run"


def sam_unlearns_better(records: Records) -> Finding:
    """Judge finding (1) for unlearning: ToW with SAM or ASAM minus ToW with SGD, same original and same reference."""
    runs, table, _ = main_study(records)
    differences = rule_differences(table, "tow", rules=("sam", "asam"))
    return from_differences(differences, CLAIMED, cell_name, what="ToW minus ToW of SGD", runs=runs)


def sam_pretrains_better(records: Records) -> Finding:
    """Judge finding (1) for pretraining: ToW after SAM minus after SGD, against two references.

    A SAM-pretrained cell is held against its own SAM retrain, which differs from the SGD retrain that its partner is
    held against; therefore also against one common SGD retrain of the same seed and forget set. A cell stands on a side
    only where both differences stand there; where they disagree, or one reference is missing, it decides nothing.
    """
    runs, table, _ = main_study(records)
    keys = [*CLAIMED]
    found = {metric: pretrain_differences(table, metric, rules=("sam", "asam")) for metric in ("tow", "common_tow")}
    own = by_cell(found["tow"], keys)
    if own.empty:
        return Finding()
    common = own[keys].merge(by_cell(found["common_tow"], keys), on=keys, how="left")
    common["seeds"] = common["seeds"].astype(float).fillna(0.0)
    mean = [over_cells(rows, keys) if len(rows) else None for rows in found.values()]
    both = [_agreed(*pair) for pair in zip(sides(own), sides(common), strict=True)]
    overall = _agreed(side(mean[0]), side(mean[1]))
    names = [cell_name(row) for row in own.itertuples()]
    known = common[common["seeds"] > 0].reset_index(drop=True)
    against = numbers(known, mean[1]) if len(known) else "no SGD retrain of the same forget set and seed"
    text = f"ToW minus ToW after SGD. Against its own retrain: {numbers(own, mean[0])}. "
    text += f"Against the common SGD retrain: {against}"
    several = len(own) > 1
    apart = [name for name, *pair in zip(names, sides(own), sides(common), strict=True) if len({*pair}) > 1]
    apart += ["on average"] * (several and side(mean[0]) != side(mean[1]))
    where = [regime([*names, "on average"], [*both, overall * several])]
    where += [f"undecided, for the two references do not agree: {'; '.join(apart)}"] * bool(apart)
    effect = f"own {effect_text(mean[0])}; common {effect_text(mean[1])}" if all(mean) else ""
    return Finding(verdict(both, mean=overall * several), text, ". ".join(filter(None, where)), tuple(runs), effect)


def _agreed(first: int, second: int) -> int:
    return first if first == second else 0


def overfitting_helps(records: Records) -> Finding:
    """Judge finding (2) and Sharp MinMax: ToW of NegGrad with MinMax minus NegGrad with the same rule unmasked."""
    runs, table, _ = main_study(records)
    table = table[table["method"] == "neggrad"]
    parts = []
    for rule in sorted({str(rule) for rule in table["rule"] if family(rule) == "minmax"}):
        inner = rule.removeprefix("minmax").removeprefix("-") or "asam-1.0"
        pair = table[table["rule"].isin([rule, inner])]
        pair = pair.assign(rule=pair["rule"].replace(inner, "sgd"))  # the inner rule is what is subtracted
        parts.append(rule_differences(pair, "tow", rules=("minmax",)).assign(name=f"{rule} − {inner}"))
    if not parts:
        return Finding()
    name = lambda row: f"{row.name}, pretrained {row.pretrain}, F {row.difficulty}"  # noqa: E731
    keys = ["name", "pretrain", "difficulty"]
    return from_differences(pd.concat(parts, ignore_index=True), keys, name, what="ToW difference", runs=runs)


def sgd_forgets_more_with_lower_tow(records: Records) -> Finding:
    """Judge finding (3), that such cells exist: count cells where SGD's forget accuracy and ToW are both lower.

    One such cell is enough to hold in a regime; it is contradicted where every cell excludes one of the two.
    """
    runs, table, _ = main_study(records)
    found = [by_cell(rule_differences(table, metric, rules=("sam", "asam")), CLAIMED)
             for metric in ("forget_accuracy", "tow")]  # fmt: skip
    if found[0].empty:
        return Finding()
    # A cell of too few seeds would widen the others' intervals and decide nothing.
    forget, tow = (one.assign(side=sides(one)) for one in (cells[cells["seeds"] >= FEWEST] for cells in found))
    both = forget.merge(tow, on=[*CLAIMED], suffixes=("_forget", "_tow"))
    below, above = both[["side_forget", "side_tow"]].min(axis=1), both[["mean_forget", "mean_tow"]].min(axis=1)
    clear, excluded, means = both[below > 0], both[below < 0], both[above > 0]
    short = f"{len(clear)} of {len(both)} cells"
    number = f"{short} with both simultaneous intervals above 0 ({len(means)} by means, {len(excluded)} excluded)"
    existing = HOLDS if len(clear) == len(both) else REGIME
    decided = existing if len(clear) else CONTRADICTED if len(excluded) == len(both) > 0 else UNDECIDED
    where = "; ".join(cell_name(row) for row in clear.itertuples())
    return Finding(decided, number, where, tuple(runs), short)


def sam_lowers(records: Records, measures: Sequence[str], beside: Sequence[str] = ()) -> Finding:
    """Judge finding (5): a metric under SAM or ASAM minus under SGD, after unlearning.

    The claim is about the number; what is wanted is the retrained model's, so the distance to it stands beside.

    Args:
        records: what there is.
        measures: names of the metric, in order of preference; the first one measured is judged.
        beside: other metrics, of which the same mean stands beside where they were measured.
    """
    runs, table, metric = main_study(records, *measures)
    compared = partial(rule_differences, rules=("sam", "asam"))
    differences = compared(table, metric)
    finding = from_differences(differences, CLAIMED, cell_name, what=f"{metric} minus that of SGD", runs=runs, sign=-1)
    if differences.empty:
        return finding
    means, where = {}, [finding.regime]
    if f"retrained_{metric}" in table:
        away = (table[metric].astype(float) - table[f"retrained_{metric}"].astype(float)).abs()
        nearer = over_cells(compared(table.assign(away=away), "away"), CLAIMED)
        means["distance to that of the retrained model, minus SGD's"] = nearer
        way = {-1: "nearer to", 1: "farther from"}.get(side(nearer))
        where += [f"SAM's number is on average {way} the retrained model's than SGD's"] * bool(way)
    others = {name: compared(table, name) for name in beside}
    means |= {f"{name} minus that of SGD": over_cells(one, CLAIMED) for name, one in others.items() if len(one)}
    if metric == MIA[0] and _is_forget_error(table):
        where.append(ONE_BIT)
    texts = [f"{name}: {effect_text(one)} ({one['seeds']} seeds)" for name, one in means.items()]
    number = "; beside it, not deciding: ".join([finding.number, *["; ".join(texts)] * bool(texts)])
    return replace(finding, number=number, regime=". ".join(filter(None, where)))


def _is_forget_error(table: Table) -> bool:
    """Return whether the attack on correctness says nothing that the forget accuracy does not."""
    if "forget_accuracy" not in table:
        return False
    known = table[[MIA[0], "forget_accuracy"]].astype(float).dropna()
    return bool(len(known)) and bool(np.allclose(known[MIA[0]], 1 - known["forget_accuracy"], atol=1e-9))


def sam_models_are_flatter(records: Records) -> Finding:
    """Judge finding (6a): basin ratio of the SAM-pretrained original minus that of the SGD-pretrained one, F and test.

    Variability of the landscape and the largest eigenvalue of the Hessian stand beside it and do not decide.
    """
    measures = [f"original_{BASIN.format(name)}" for name in SETS]
    runs, table, _ = main_study(records, *measures, "original_hessian_top")
    kept = ["pretrain", "difficulty", "seed"]

    def differences(metric: str) -> Table:
        # The original model does not depend on how it is unlearned later: one row a pretraining and seed.
        found = pretrain_differences(table, metric, rules=("sam", "asam"))
        return found.drop_duplicates(kept)[[*kept, "difference"]]

    name = lambda row: f"pretrained {row.pretrain}, loss on {row.set}"  # noqa: E731
    cells = pd.concat([differences(one).assign(set=SETS[place]) for place, one in enumerate(measures)])
    beside = {one: differences(f"original_{one}") for one in BESIDE}
    what = "basin ratio minus that of SGD (larger is flatter)"
    return _flatness(cells, beside, from_differences(cells, ["pretrain", "set"], name, what=what, runs=runs))


def sgd_models_get_flatter(records: Records) -> Finding:
    """Judge finding (6b): basin ratio after unlearning minus before, SGD-pretrained and SGD-unlearned, F and test."""
    measures = [BASIN.format(name) for name in SETS]
    runs, table, _ = main_study(records, *measures, "hessian_top")
    plain = table[(table["pretrain"] == "sgd") & (table["rule"] == "sgd")]

    def differences(metric: str) -> Table:
        if not {metric, f"original_{metric}"} <= set(plain):
            return plain.iloc[:0].assign(difference=[])
        change = plain[metric].astype(float) - plain[f"original_{metric}"].astype(float)
        return plain.assign(difference=change).dropna(subset=["difference"])

    name = lambda row: f"{method_label(row.method)}, loss on {row.set}"  # noqa: E731
    cells = pd.concat([differences(one).assign(set=SETS[place]) for place, one in enumerate(measures)])
    beside = {one: differences(one) for one in BESIDE}
    what = "basin ratio after minus before (larger is flatter)"
    return _flatness(cells, beside, from_differences(cells, ["method", "set"], name, what=what, runs=runs))


def _flatness(cells: Table, beside: dict[str, Table], finding: Finding) -> Finding:
    """Return the finding with the other measures of flatness beside it; without the paper's own it is undecided."""
    means = {name: over_cells(rows, ["pretrain", "difficulty"]) for name, rows in beside.items() if len(rows)}
    if cells.empty and not means:
        return Finding()
    texts = [f"{name}, smaller is flatter: {effect_text(one)} ({one['seeds']} seeds)" for name, one in means.items()]
    text = "; beside it, not deciding: ".join([finding.number, *["; ".join(texts)] * bool(texts)])
    if cells.empty:
        return Finding(UNDECIDED, f"{NO_LANDSCAPE}; {'; '.join(texts)}", effect=NO_LANDSCAPE)
    return replace(finding, number=text)


# What is judged, the figure whose records it is judged from, what the paper says.
JUDGED = [
    ("Finding 1a", "fig-tow", "SAM improves every method as unlearning rule", sam_unlearns_better),
    ("Finding 1b", "fig-tow", "SAM improves every method as pretraining rule", sam_pretrains_better),
    ("Finding 2", "tab-minmax", "overfitting F helps: Sharp MinMax beats its own rule unmasked", overfitting_helps),
    ("Finding 3", "fig-accuracies", "SGD can forget more than SAM and still have the lower ToW",
     sgd_forgets_more_with_lower_tow),
    ("Finding 4", "fig-alpha", "as alpha shrinks SGD collapses first, ASAM last", sgd_collapses_first),
    ("Finding 5a", "fig-mia", "SAM lowers membership-inference correctness on F",
     partial(sam_lowers, measures=MIA, beside=GRADED_MIA)),
    ("Finding 5b", "fig-entanglement", "SAM lowers feature entanglement of R and F",
     partial(sam_lowers, measures=ENTANGLEMENT)),
    ("Finding 6a", "fig-landscape", "SAM-pretrained models are flatter", sam_models_are_flatter),
    ("Finding 6b", "fig-landscape", "SGD models get flatter after unlearning", sgd_models_get_flatter),
]  # fmt: skip
ITEMS = [
    Item("finding", title, text, FIGURES[figure].command, judged_on(FIGURES[figure].studies, judge),
         FIGURES[figure].studies)
    for title, figure, text, judge in JUDGED
]  # fmt: skip


def verdict_of(figure: str) -> Assess:
    """Return what judges a figure or table of the catalogue: the findings or the theory claims that it shows."""
    claims = FIGURES[figure].claims
    known = {item.title: item.assess for item in ITEMS}
    if claims[0] not in known:
        return judged_on(theory_claims.STUDIES, partial(theory_claims.several_claims, claims))
    return known[claims[0]] if len(claims) == 1 else partial(several_findings, claims)


def several_findings(titles: tuple[str, ...], studies: Studies) -> Finding:
    """Return the common verdict of the findings that a figure shows, each named with its own."""
    found = {item.title: item.assess(studies) for item in ITEMS if item.title in titles}
    runs = {record.run_id: record for one in found.values() for record in one.records}
    number = "; ".join(f"{title}: {one.verdict}" for title, one in found.items())
    return Finding(common_verdict([one.verdict for one in found.values()]), number, "", tuple(runs.values()))
