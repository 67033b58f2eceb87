"""Verdicts on the paper's experimental findings, computed from network records alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from figures.networks import CELL, main_runs
from figures.paired import by_cell, pretrain_differences, rule_differences
from figures.records import Records
from figures.style import family, method_label
from figures.table import Row, Table, interval, summarize, unlearn_table
from repro.store import Record

HOLDS, REGIME, CONTRADICTED = "holds", "holds in a regime", "contradicted"
# Numbers that are larger for sharper models, in order of preference.
FLATNESS = ("hessian_top", "landscape_test_rise")
UNDECIDED, NOT_RUN = "undecided", "not run"


@dataclass(frozen=True)
class Finding:
    """What the records say about one item.

    Attributes:
        verdict: holds, holds in a regime, contradicted, undecided (the intervals contain zero), reported (a number was
            asked for, nothing was claimed) or not run.
        number: our number, with its interval and number of seeds.
        regime: where it holds.
        records: the runs behind it.
    """

    verdict: str = NOT_RUN
    number: str = "—"
    regime: str = ""
    records: tuple[Record, ...] = field(default=(), repr=False)


def judge(effects: Table, *, sign: int = 1) -> str:
    """Return a verdict from intervals of effects that the claim says all have one sign.

    Args:
        effects: rows with `low`, `high`.
        sign: +1 when the claim says greater, -1 when it says smaller.

    Every interval on the claimed side: holds. Some: holds in a regime. None, and at least one wholly on the other
    side: contradicted. Otherwise the intervals contain zero and the records decide nothing.
    """
    known = effects.dropna(subset=["low", "high"])
    if known.empty:
        return NOT_RUN if effects.empty else UNDECIDED
    low, high = (known["low"], known["high"]) if sign > 0 else (-known["high"], -known["low"])
    if (low > 0).all():
        return HOLDS
    if (low > 0).any():
        return REGIME
    return CONTRADICTED if (high < 0).any() else UNDECIDED


def sam_improves_every_method(records: Records) -> Finding:
    """Judge finding (1): ToW with SAM or ASAM minus ToW with SGD, as unlearning and as pretraining rule."""
    runs, table = _study(records)
    unlearning = by_cell(rule_differences(table, "tow", rules=("sam", "asam")), ["method", "rule"])
    pretraining = by_cell(pretrain_differences(table, "tow", rules=("sam", "asam")), ["method", "pretrain"])
    effects: Table = pd.concat(
        [unlearning.assign(role="unlearn"), pretraining.assign(role="pretrain")], ignore_index=True
    )
    if effects.empty:
        return Finding()
    names = [f"{row.role} {row.rule if row.role == 'unlearn' else row.pretrain}, {method_label(row.method)}"
             for row in effects.itertuples()]  # fmt: skip
    return from_effects(effects, names, "ToW minus ToW of SGD", runs)


def overfitting_helps(records: Records) -> Finding:
    """Judge finding (2) and Sharp MinMax: ToW of NegGrad with MinMax minus NegGrad with the same rule unmasked."""
    runs, table = _study(records)
    table = table[table["method"] == "neggrad"]
    parts = []
    for rule in sorted({str(rule) for rule in table["rule"] if family(str(rule)) == "minmax"}):
        inner = rule.removeprefix("minmax").removeprefix("-") or "asam-1.0"
        pair = table[table["rule"].isin([rule, inner])]
        pair = pair.assign(rule=pair["rule"].replace(inner, "sgd"))  # the inner rule is what is subtracted
        cells = by_cell(rule_differences(pair, "tow", rules=("minmax",)), ["pretrain", "difficulty"])
        parts.append(cells.assign(name=f"{rule} − {inner}"))
    if not parts or all(part.empty for part in parts):
        return Finding()
    effects: Table = pd.concat(parts, ignore_index=True)
    names = [f"{row.name}, pretrained {row.pretrain}, F {row.difficulty}" for row in effects.itertuples(index=False)]
    return from_effects(effects, names, "ToW difference", runs)


def sgd_forgets_more_with_lower_tow(records: Records) -> Finding:
    """Judge finding (3), that such cells exist: count cells where SGD's forget accuracy and ToW are both lower."""
    runs, table = _study(records)
    keys = ["method", "pretrain", "difficulty", "rule"]
    forget = by_cell(rule_differences(table, "forget_accuracy", rules=("sam", "asam")), keys)
    tow = by_cell(rule_differences(table, "tow", rules=("sam", "asam")), keys)
    if forget.empty:
        return Finding()
    both = forget.merge(tow, on=keys, suffixes=("_forget", "_tow"))
    clear = both[(both["low_forget"] > 0) & (both["low_tow"] > 0)]
    means = both[(both["mean_forget"] > 0) & (both["mean_tow"] > 0)]
    number = f"{len(clear)} of {len(both)} cells with both 95 % intervals above 0 ({len(means)} by means)"
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
    effects = by_cell(rule_differences(table, metric, rules=("sam", "asam")), ["method", "rule"])
    if effects.empty:
        return Finding()
    names = [f"{row.rule}, {method_label(row.method)}" for row in effects.itertuples()]
    return from_effects(effects, names, f"{metric} minus that of SGD", runs, sign=-1)


def sam_models_are_flatter(records: Records, names: Sequence[str] = FLATNESS) -> Finding:
    """Judge finding (6a): sharpness of the SAM-pretrained original model minus that of the SGD-pretrained one."""
    runs, table = _study(records, [f"original_{name}" for name in names])
    metric = next((f"original_{name}" for name in names if f"original_{name}" in table), "")
    effects = by_cell(_once(pretrain_differences(table, metric, rules=("sam", "asam"))), ["pretrain"])
    if effects.empty:
        return Finding()
    names = [f"pretrained {row.pretrain}" for row in effects.itertuples()]
    return from_effects(effects, names, f"{metric} minus that of SGD", runs, sign=-1)


def sgd_models_get_flatter(records: Records, names: Sequence[str] = FLATNESS) -> Finding:
    """Judge finding (6b): sharpness after unlearning minus before, SGD-pretrained and SGD-unlearned."""
    runs, table = _study(records, names)
    metric = next((name for name in names if {name, f"original_{name}"} <= set(table)), "")
    if not metric:
        return Finding()
    table = table[(table["pretrain"] == "sgd") & (table["rule"] == "sgd")]
    table = table.assign(difference=table[metric] - table[f"original_{metric}"])
    effects = by_cell(table.dropna(subset=["difference"]), ["method"])
    if effects.empty:
        return Finding()
    names = [method_label(row.method) for row in effects.itertuples()]
    return from_effects(effects, names, f"{metric} after minus before", runs, sign=-1)


def _once(differences: Table) -> Table:
    """The original model does not depend on how it is unlearned later: keep one row a pretraining and seed."""
    return differences.drop_duplicates(["pretrain", "difficulty", "seed"])


def _study(records: Records, having: Sequence[str] = ()) -> tuple[list[Record], Table]:
    """Return the runs and the table of the main study, or of the largest that measured one of the named numbers."""
    measured = [name for name in having if any(name in record.result for record in records.of("unlearn"))]
    runs = main_runs(records, CELL, having=measured[0] if measured else "")
    return runs, unlearn_table(runs)


def from_effects(effects: Table, names: Sequence[str], what: str, runs: Sequence[Record], *, sign: int = 1) -> Finding:
    low = effects["low"] if sign > 0 else -effects["high"]
    regime = "; ".join(name for name, bound in zip(names, low, strict=True) if bound > 0)
    overall = interval(effects["mean"])
    best, worst = effects.loc[effects["mean"].idxmin()], effects.loc[effects["mean"].idxmax()]
    number = f"{what}: {_effect(best)}"
    if len(effects) > 1:
        ends = f"from {_effect(best)} to {_effect(worst)}"
        number = f"{what}: {overall['mean']:+.3f} on average over {len(effects)} cells; {ends}"
    return Finding(judge(effects, sign=sign), number, regime, tuple(runs))


def _effect(row: Row) -> str:
    return f"{row['mean']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}] ({int(row['seeds'])} seeds)"


def _collapse(rows: Table, level: float) -> float:
    means = summarize(rows, ["alpha"], "tow")
    below = means[means["mean"] < level]["alpha"]
    return float(below.max()) if len(below) else -np.inf


def _alpha(value: float) -> str:
    return "none in the sweep" if np.isinf(value) else f"{value:g}"


Assess = Callable[[Records], Finding]
