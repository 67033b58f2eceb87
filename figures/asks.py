"""What the paper's reviewers asked for, answered from network records."""

from dataclasses import replace

import pandas as pd

from figures.effects import UNDECIDED, Finding, from_differences, from_effects
from figures.klom import ORIGINAL, cells, klom_differences
from figures.networks import CELL, GRADED, main_runs
from figures.paired import by_cell, rule_differences
from figures.records import Records
from figures.style import family, method_label
from figures.table import Table, interval, summarize, unlearn_table


def cost_of_sharpness(records: Records) -> Finding:
    """Answer ask 4: unlearning time of SAM and MinMax as a multiple of SGD's, same cell and seed."""
    runs = main_runs(records, CELL)
    table = unlearn_table(runs)
    if "seconds_unlearn" not in table:
        return Finding()
    # Sharp MinMax and SalUn pay for their mask as well.
    mask = table["seconds_mask"].fillna(0.0) if "seconds_mask" in table else 0.0
    ratios = _ratios(table.assign(seconds=table["seconds_unlearn"] + mask), "seconds")
    if ratios.empty:
        return Finding()
    parts = [f"{row.rule}: {row.mean:.2f} [{row.low:.2f}, {row.high:.2f}] times SGD's time ({row.seeds} seeds)"
             for row in ratios.itertuples()]  # fmt: skip
    return Finding("reported", "; ".join(parts), "", tuple(runs))


def relearning_of_minmax(records: Records) -> Finding:
    """Answer ask 5: mean excess of the relearning curve over the retrained model's, MinMax minus SGD."""
    return _difference(records, "relearning_excess", ("minmax",), sign=1)


def klom_of_sam(records: Records) -> Finding:
    """Answer ask 8: mean KLoM on F of SAM minus that of SGD, same pretraining and same models; and of doing nothing."""
    found = cells(records)
    effects = klom_differences(found)
    if not len(effects):
        return Finding()
    sam = effects[effects["rule"].map(family).isin(["sam", "asam"])].reset_index(drop=True)
    names = [f"{row.rule}, pretrained {row.pretrain}" for row in sam.itertuples()]
    runs = [run for cell in found for run in cell.runs]
    finding = from_effects(sam, names, "mean KLoM on F minus that of SGD", runs, sign=-1)
    rest = "; ".join(f"doing nothing, pretrained {row.pretrain}: {row.mean:+.3f} [{row.low:+.3f}, {row.high:+.3f}]"
                     for row in effects[effects["rule"] == ORIGINAL].itertuples())  # fmt: skip
    return replace(finding, number=f"{finding.number}; {rest}")


def retain_only_sam(records: Records) -> Finding:
    """Answer ask 7: ToW with SAM on the retain loss only, minus SGD, same cell and seed."""
    return _difference(records, "tow", ("retain-sam",), sign=1)


def memorization_grades(records: Records) -> Finding:
    """Answer ask 9: is ToW of NegGrad with SGD monotone in the memorization grade? Low minus mid, mid minus high."""
    runs = main_runs(records, CELL)
    table = unlearn_table(runs)
    table = table[(table["method"] == "neggrad") & (table["rule"] == "sgd") & table["difficulty"].isin(GRADED)]
    if table["difficulty"].nunique() < 3 or "tow" not in table:
        return Finding()
    wide = table.groupby(["seed", "difficulty"])["tow"].mean().unstack("difficulty")
    steps = {f"{a} − {b}": interval(wide[a] - wide[b]) for a, b in (("low", "mid"), ("mid", "high"))}
    parts = [f"{name}: {step['mean']:+.3f} [{step['low']:+.3f}, {step['high']:+.3f}] ({step['seeds']} seeds)"
             for name, step in steps.items()]  # fmt: skip
    clear = [step["low"] > 0 for step in steps.values()]
    verdict = "holds" if all(clear) else "holds in a regime" if any(clear) else UNDECIDED
    if any(step["high"] < 0 for step in steps.values()):
        verdict = "contradicted"
    return Finding(verdict, "ToW falls with the grade: " + "; ".join(parts), "", tuple(runs))


def spread_is_stated(records: Records) -> Finding:
    """Answer ask 3: how many cells of the main study have at least three training seeds."""
    runs = main_runs(records, CELL)
    table = unlearn_table(runs)
    if table.empty or "tow" not in table:
        return Finding()
    cells = summarize(table, ["method", "pretrain", "rule", "difficulty"], "tow")
    enough = int((cells["seeds"] >= 3).sum())
    return Finding("reported", f"{enough} of {len(cells)} cells have at least 3 training seeds", "", tuple(runs))


def mask_ablation(records: Records) -> Finding:
    """Answer ask 6: ToW of Sharp MinMax by cutoff, and the paper's polarity minus the other, same cutoff and seed."""
    runs = main_runs(records, (*CELL, "mask_fraction", "switches"), swept="mask_fraction")
    runs = [run for run in runs if family(str(run.config.get("rule", ""))) == "minmax"]
    table = unlearn_table(runs)
    if "mask_fraction" not in table or table["mask_fraction"].nunique() < 3 or "tow" not in table:
        return Finding()
    best = summarize(table, ["mask_fraction"], "tow").sort_values("mean").iloc[-1]
    text = (
        f"best cutoff {best['mask_fraction']:g}: ToW {best['mean']:.3f} ± {best['sd']:.3f} ({int(best['seeds'])} seeds)"
    )
    low = table["switches"].astype(str).str.contains("mask_polarity=low")
    keys = ["mask_fraction", "seed", "pretrain", "difficulty"]
    both = table[~low].merge(table[low], on=keys, suffixes=("", "_low"))
    if len(both):
        effects = pd.DataFrame([interval((both["tow"] - both["tow_low"]).groupby(both["seed"]).mean())])
        return from_effects(effects, ["paper's polarity"], f"{text}; paper's polarity minus the other, ToW", runs)
    return Finding("reported", text, "", tuple(runs))


def _difference(records: Records, metric: str, rules: tuple[str, ...], *, sign: int) -> Finding:
    runs = main_runs(records, CELL, having=metric)
    differences = rule_differences(unlearn_table(runs), metric, rules=rules)
    name = lambda row: f"{method_label(row.method)}, pretrained {row.pretrain}"  # noqa: E731
    what = f"{metric} minus that of SGD"
    return from_differences(differences, ["method", "pretrain"], name, what=what, runs=runs, sign=sign)


def _ratios(table: Table, metric: str) -> Table:
    """Return mean ratio of `metric` to SGD's, one row a rule."""
    import numpy as np

    logs = table.assign(logarithm=np.log(table[metric].astype(float)))
    rules = tuple(sorted({family(str(rule)) for rule in table["rule"]} - {"sgd", ""}))
    found = by_cell(rule_differences(logs, "logarithm", rules=rules), ["rule"])
    return found.assign(**{name: np.exp(found[name].astype(float)) for name in ("mean", "low", "high")})
