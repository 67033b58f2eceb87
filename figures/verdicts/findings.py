"""Verdicts on the paper's experimental findings, computed from network records alone."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from figures.catalogue import FIGURES
from figures.tables.cells import CELL, main_runs, main_study, unlearn_table
from figures.tables.intervals import Table, simultaneous, summarize
from figures.tables.names import family, method_label
from figures.tables.pairs import by_cell, pretrain_differences, rule_differences
from figures.tables.records import Records
from figures.verdicts.judge import CONTRADICTED, HOLDS, REGIME, UNDECIDED, Assess, Finding, Item, from_differences
from figures.verdicts.theory_claims import several_claims

MIA = ("mia_correctness", "mia_auc")
ENTANGLEMENT = ("entanglement_wp", "entanglement_var")
# Numbers that are larger for sharper models, in order of preference.
FLATNESS = ("hessian_top", "landscape_test_rise")


def sam_improves_every_method(records: Records) -> Finding:
    """Judge finding (1): ToW with SAM or ASAM minus ToW with SGD, as unlearning and as pretraining rule."""
    runs, table, _ = main_study(records)
    unlearning = rule_differences(table, "tow", rules=("sam", "asam")).assign(role="unlearn")
    pretraining = pretrain_differences(table, "tow", rules=("sam", "asam")).assign(role="pretrain")
    # In a row of the second kind the rule that differs is the pretraining rule.
    both = pd.concat([unlearning, pretraining.assign(rule=pretraining["pretrain"])], ignore_index=True)
    name = lambda row: f"{row.role} {row.rule}, {method_label(row.method)}"  # noqa: E731
    return from_differences(both, ["role", "method", "rule"], name, what="ToW minus ToW of SGD", runs=runs)


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
    """Judge finding (3), that such cells exist: count cells where SGD's forget accuracy and ToW are both lower."""
    runs, table, _ = main_study(records)
    keys = ["method", "pretrain", "difficulty", "rule"]
    forget, tow = (
        simultaneous(by_cell(rule_differences(table, metric, rules=("sam", "asam")), keys))
        for metric in ("forget_accuracy", "tow")
    )
    if forget.empty:
        return Finding()
    both = forget.merge(tow, on=keys, suffixes=("_forget", "_tow"))
    clear = both[(both["low_forget"] > 0) & (both["low_tow"] > 0)]
    means = both[(both["mean_forget"] > 0) & (both["mean_tow"] > 0)]
    number = f"{len(clear)} of {len(both)} cells with both simultaneous intervals above 0 ({len(means)} by means)"
    verdict = HOLDS if len(clear) else UNDECIDED if len(means) else CONTRADICTED
    where = "; ".join(f"{method_label(row.method)}, {row.pretrain}, F {row.difficulty}" for row in clear.itertuples())
    return Finding(verdict, number, where, tuple(runs))


def sgd_collapses_first(records: Records, *, level: float = 0.5) -> Finding:
    """Judge finding (4): the largest alpha at which mean ToW is below `level`, a rule; SGD's is claimed largest."""
    runs = main_runs(records, (*CELL, "alpha"), swept="alpha")
    table = unlearn_table(runs)
    if table.empty or "tow" not in table or table["alpha"].nunique() < 3:
        return Finding()
    table = table[table["method"] == "neggrad"].assign(family=lambda rows: rows["rule"].map(family))
    table = table.groupby("family").filter(lambda rows: rows["alpha"].nunique() >= 3)
    collapse = {str(name): _collapse(rows, level) for name, rows in table.groupby("family")}
    margins = {name: collapse.get("sgd", np.nan) - collapse[name] for name in ("asam", "sam") if name in collapse}
    if "sgd" not in collapse or not margins:
        return Finding()
    later = [name for name, margin in margins.items() if margin > 0]
    if any(margin < 0 for margin in margins.values()):
        verdict = CONTRADICTED
    else:
        verdict = HOLDS if len(later) == len(margins) else REGIME if later else UNDECIDED
    regime = f"against {' and '.join(later)}; the others collapse with SGD" if verdict == REGIME else ""
    number = "; ".join(f"{name}: {'none in the sweep' if np.isinf(value) else format(value, 'g')}"
                       for name, value in sorted(collapse.items()))  # fmt: skip
    seeds = summarize(table, ["family", "alpha"], "tow")["seeds"].min()
    return Finding(verdict, f"largest alpha with mean ToW < {level:g}: {number} ({seeds} seeds)", regime, tuple(runs))


def _collapse(rows: Table, level: float) -> float:
    means = summarize(rows, ["alpha"], "tow")
    below = means[means["mean"] < level]["alpha"]
    return float(below.max()) if len(below) else -np.inf


def sam_lowers(records: Records, numbers: Sequence[str]) -> Finding:
    """Judge finding (5): a metric under SAM or ASAM minus under SGD, after unlearning.

    Args:
        records: what there is.
        numbers: names of the metric, in order of preference; the first one measured is judged.
    """
    runs, table, metric = main_study(records, *numbers)
    differences = rule_differences(table, metric, rules=("sam", "asam"))
    name = lambda row: f"{row.rule}, {method_label(row.method)}"  # noqa: E731
    what = f"{metric} minus that of SGD"
    return from_differences(differences, ["method", "rule"], name, what=what, runs=runs, sign=-1)


def sam_models_are_flatter(records: Records) -> Finding:
    """Judge finding (6a): sharpness of the SAM-pretrained original model minus that of the SGD-pretrained one."""
    runs, table, metric = main_study(records, *(f"original_{name}" for name in FLATNESS))
    differences = pretrain_differences(table, metric, rules=("sam", "asam"))
    # The original model does not depend on how it is unlearned later: one row a pretraining and seed.
    differences = differences.drop_duplicates(["pretrain", "difficulty", "seed"])
    name = lambda row: f"pretrained {row.pretrain}"  # noqa: E731
    return from_differences(differences, ["pretrain"], name, what=f"{metric} minus that of SGD", runs=runs, sign=-1)


def sgd_models_get_flatter(records: Records) -> Finding:
    """Judge finding (6b): sharpness after unlearning minus before, SGD-pretrained and SGD-unlearned."""
    runs, table, metric = main_study(records, *FLATNESS)
    if not metric or f"original_{metric}" not in table:
        return Finding()
    table = table[(table["pretrain"] == "sgd") & (table["rule"] == "sgd")]
    differences = table.assign(difference=table[metric] - table[f"original_{metric}"]).dropna(subset=["difference"])
    name = lambda row: method_label(row.method)  # noqa: E731
    return from_differences(differences, ["method"], name, what=f"{metric} after minus before", runs=runs, sign=-1)


# What is judged, the figure whose records it is judged from, what the paper says.
JUDGED = [
    ("Finding 1", "fig-tow", "SAM improves every method, as pretraining and as unlearning rule",
     sam_improves_every_method),
    ("Finding 2", "tab-minmax", "overfitting helps sample-level unlearning (Sharp MinMax against the same rule "
     "unmasked)", overfitting_helps),
    ("Finding 3", "fig-tow", "SGD sometimes reaches lower forget accuracy than SAM though its ToW is lower",
     sgd_forgets_more_with_lower_tow),
    ("Finding 4", "fig-alpha", "as alpha shrinks SGD collapses first, ASAM 1.0 last", sgd_collapses_first),
    ("Finding 5a", "fig-mia", "SAM lowers membership-inference correctness on F", partial(sam_lowers, numbers=MIA)),
    ("Finding 5b", "fig-entanglement", "SAM lowers feature entanglement of R and F",
     partial(sam_lowers, numbers=ENTANGLEMENT)),
    ("Finding 6a", "fig-landscape", "SAM-pretrained models are flatter", sam_models_are_flatter),
    ("Finding 6b", "fig-landscape", "SGD models get flatter after unlearning", sgd_models_get_flatter),
]  # fmt: skip
ITEMS = [Item("finding", title, text, FIGURES[figure].command, judge) for title, figure, text, judge in JUDGED]


def verdict_of(figure: str) -> Assess:
    """Return what judges a figure or table of the catalogue: the finding or the theory claims that it shows."""
    claims = FIGURES[figure].claims
    known = {item.title: item.assess for item in ITEMS}
    return known[claims[0]] if claims[0] in known else partial(several_claims, claims)
