"""Verdicts on the paper's experimental findings, computed from network records alone."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from figures.effects import CONTRADICTED, HOLDS, REGIME, UNDECIDED, Finding, from_differences
from figures.networks import CELL, main_runs
from figures.paired import by_cell, pretrain_differences, rule_differences
from figures.records import Records
from figures.style import family, method_label
from figures.table import Table, simultaneous, summarize, unlearn_table
from repro.records.record import Record

# Numbers that are larger for sharper models, in order of preference.
FLATNESS = ("hessian_top", "landscape_test_rise")


def sam_improves_every_method(records: Records) -> Finding:
    """Judge finding (1): ToW with SAM or ASAM minus ToW with SGD, as unlearning and as pretraining rule."""
    runs, table = _study(records)
    unlearning = rule_differences(table, "tow", rules=("sam", "asam")).assign(role="unlearn")
    pretraining = pretrain_differences(table, "tow", rules=("sam", "asam")).assign(role="pretrain")
    # In a row of the second kind the rule that differs is the pretraining rule.
    both = pd.concat([unlearning, pretraining.assign(rule=pretraining["pretrain"])], ignore_index=True)
    name = lambda row: f"{row.role} {row.rule}, {method_label(row.method)}"  # noqa: E731
    return from_differences(both, ["role", "method", "rule"], name, what="ToW minus ToW of SGD", runs=runs)


def overfitting_helps(records: Records) -> Finding:
    """Judge finding (2) and Sharp MinMax: ToW of NegGrad with MinMax minus NegGrad with the same rule unmasked."""
    runs, table = _study(records)
    table = table[table["method"] == "neggrad"]
    parts = []
    for rule in sorted({str(rule) for rule in table["rule"] if family(str(rule)) == "minmax"}):
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
    runs, table = _study(records)
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
    if "sgd" not in collapse or not {"sam", "asam"} & set(collapse):
        return Finding()
    margins = {name: collapse["sgd"] - value for name, value in collapse.items() if name in ("sam", "asam")}
    later = [name for name, margin in margins.items() if margin > 0]
    if any(margin < 0 for margin in margins.values()):
        verdict = CONTRADICTED
    else:
        verdict = HOLDS if len(later) == len(margins) else REGIME if later else UNDECIDED
    regime = f"against {' and '.join(later)}; the others collapse with SGD" if verdict == REGIME else ""
    number = "; ".join(f"{name}: {_alpha(value)}" for name, value in sorted(collapse.items()))
    seeds = summarize(table, ["family", "alpha"], "tow")["seeds"].min()
    return Finding(verdict, f"largest alpha with mean ToW < {level:g}: {number} ({seeds} seeds)", regime, tuple(runs))


def sam_lowers(records: Records, prefixes: Sequence[str]) -> Finding:
    """Judge finding (5): a metric under SAM or ASAM minus under SGD, after unlearning.

    Args:
        records: what there is.
        prefixes: names of the metrics, in order of preference; the first one present is judged.
    """
    runs, table = _study(records, prefixes)
    metric = next((name for name in prefixes if name in table), "")
    if not metric:
        return Finding()
    name = lambda row: f"{row.rule}, {method_label(row.method)}"  # noqa: E731
    differences = rule_differences(table, metric, rules=("sam", "asam"))
    what = f"{metric} minus that of SGD"
    return from_differences(differences, ["method", "rule"], name, what=what, runs=runs, sign=-1)


def sam_models_are_flatter(records: Records, names: Sequence[str] = FLATNESS) -> Finding:
    """Judge finding (6a): sharpness of the SAM-pretrained original model minus that of the SGD-pretrained one."""
    runs, table = _study(records, [f"original_{name}" for name in names])
    metric = next((f"original_{name}" for name in names if f"original_{name}" in table), "")
    differences = _once(pretrain_differences(table, metric, rules=("sam", "asam")))
    name = lambda row: f"pretrained {row.pretrain}"  # noqa: E731
    return from_differences(differences, ["pretrain"], name, what=f"{metric} minus that of SGD", runs=runs, sign=-1)


def sgd_models_get_flatter(records: Records, names: Sequence[str] = FLATNESS) -> Finding:
    """Judge finding (6b): sharpness after unlearning minus before, SGD-pretrained and SGD-unlearned."""
    runs, table = _study(records, names)
    metric = next((name for name in names if {name, f"original_{name}"} <= set(table)), "")
    if not metric:
        return Finding()
    table = table[(table["pretrain"] == "sgd") & (table["rule"] == "sgd")]
    table = table.assign(difference=table[metric] - table[f"original_{metric}"])
    differences = table.dropna(subset=["difference"])
    what = f"{metric} after minus before"
    return from_differences(
        differences, ["method"], lambda row: method_label(row.method), what=what, runs=runs, sign=-1
    )


def _once(differences: Table) -> Table:
    """The original model does not depend on how it is unlearned later: keep one row a pretraining and seed."""
    return differences.drop_duplicates(["pretrain", "difficulty", "seed"])


def _study(records: Records, having: Sequence[str] = ()) -> tuple[list[Record], Table]:
    """Return the runs and the table of the main study, or of the largest that measured one of the named numbers."""
    measured = [name for name in having if any(name in record.result for record in records.of("unlearn"))]
    runs = main_runs(records, CELL, having=measured[0] if measured else "")
    return runs, unlearn_table(runs)


def _collapse(rows: Table, level: float) -> float:
    means = summarize(rows, ["alpha"], "tow")
    below = means[means["mean"] < level]["alpha"]
    return float(below.max()) if len(below) else -np.inf


def _alpha(value: float) -> str:
    return "none in the sweep" if np.isinf(value) else f"{value:g}"


Assess = Callable[[Records], Finding]
