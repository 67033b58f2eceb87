"""What the paper's reviewers asked for, answered from network records."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from figures.catalogue import FIGURES
from figures.networks.choice import NOTHING
from figures.tables.ablations import change_of_gain, changed_cells
from figures.tables.cells import LANDSCAPE, TUNED, label, low_polarity, main_study, mask_runs, unlearn_table
from figures.tables.draws import DRAW, drawn_cells, fullest_draw, over_draws, over_seeds
from figures.tables.intervals import Table, deviation_text, effect_text, pooled_deviation, summarize
from figures.tables.names import GRADED, family
from figures.tables.pairs import CLAIMED, by_cell, cell_name, over_cells, rule_differences
from figures.tables.pooled import (
    ORIGINAL,
    klom_cells,
    klom_differences,
    pooled,
    rate_text,
    ulira_differences,
    ulira_table,
)
from figures.tables.records import MEASURED, Records, setting
from figures.verdicts.findings import verdict_of
from figures.verdicts.judge import (
    REPORTED,
    Finding,
    Item,
    from_differences,
    from_effects,
    judge,
    judged_on,
    with_seeds,
)
from repro.base.verdict import UNDECIDED
from repro.records.identity import canonical_json
from repro.records.record import Record

POLARITIES = {False: "the paper's polarity", True: "the other"}
RELIABLE = 0.8  # of memorization scores, split-half


def spread_is_stated(records: Records) -> Finding:
    """Answer ask 3: how many cells of the main study have at least three training seeds."""
    runs, table, _ = main_study(records)
    if table.empty or "tow" not in table:
        return Finding()
    cells = summarize(table, ["method", "pretrain", "rule", "difficulty"], "tow")
    enough = int((cells["seeds"] >= 3).sum())
    return Finding(REPORTED, f"{enough} of {len(cells)} cells have at least 3 training seeds", "", tuple(runs))


def cost_of_sharpness(records: Records) -> Finding:
    """Answer ask 4: unlearning time of SAM and MinMax as a multiple of SGD's, same cell and seed: a geometric mean.

    Where another study ran SGD for twice the epochs, which take as many gradients as SAM's, ToW is compared with that.
    """
    main, *others = records.parts
    runs, table, _ = main_study(main)
    if "seconds_unlearn" not in table:
        return Finding()
    table = table[table["status"] == "ok"]  # a run that diverged was cut short
    # Sharp MinMax and SalUn pay for their mask as well.
    mask = table["seconds_mask"].fillna(0.0) if "seconds_mask" in table else 0.0
    logs = table.assign(logarithm=np.log((table["seconds_unlearn"] + mask).astype(float)))
    ratios = by_cell(rule_differences(logs, "logarithm"), ["rule"])
    if ratios.empty:
        return Finding()
    ratios = ratios.assign(**{name: np.exp(ratios[name].astype(float)) for name in ("mean", "low", "high")})
    parts = []
    for row in ratios.itertuples():
        ends = "no interval" if np.isnan(row.low) else f"{row.low:.2f}, {row.high:.2f}"
        parts.append(f"{row.rule}: {row.mean:.2f} [{ends}] times SGD's time ({row.seeds} seeds)")
    short = f"{ratios['mean'].min():.2f} to {ratios['mean'].max():.2f} times SGD's time"
    differences, plain = at_equal_gradients([run for part in others for run in part.of("unlearn")], runs, table)
    equal = by_cell(differences, ["rule", "pretrain", "difficulty"])
    parts += [f"{row['rule']}, pretrained {row['pretrain']}, F {row['difficulty']}: ToW minus that of SGD at as many "
              f"gradient evaluations {with_seeds(row)}" for _, row in equal.iterrows()]  # fmt: skip
    return Finding(REPORTED, "; ".join(parts), "", (*runs, *plain), short)


def mask_ablation(records: Records) -> Finding:
    """Answer ask 6: ToW of Sharp MinMax by cutoff, and the paper's polarity minus the other, same cutoff and seed.

    Each cutoff and polarity is at the rate that was chosen for it; each data set with both polarities is a cell.
    """
    runs = mask_runs(records)
    table = unlearn_table(runs)
    if "tow" not in table:
        return Finding()
    low = low_polarity(table)
    keys = ["dataset", "polarity", "mask_fraction"]
    means = summarize(table.assign(polarity=low.map(POLARITIES)), keys, "tow").dropna(subset=["mean"])
    means = means[means["diverged"] < means["seeds"]].sort_values("mean")
    best = means.groupby(keys[:2], sort=False).tail(1).sort_values("dataset", kind="stable")
    spreads = best["sd"].map(lambda sd: "" if np.isnan(sd) else f" ± {sd:.3f}")
    text = "; ".join(
        f"{row.dataset}, best cutoff with {row.polarity} {row.mask_fraction:g}: ToW {row.mean:.3f}{row.spread} "
        f"({row.seeds} seeds)"
        for row in best.assign(spread=spreads).itertuples()
    )
    keys = ["dataset", "rule", "mask_fraction", "seed", "unlearn_seed", "pretrain", "difficulty"]
    both = table[~low].merge(table[low], on=keys, suffixes=("", "_low"))
    both = both.assign(difference=both["tow"] - both["tow_low"]).dropna(subset=["difference"])
    if not len(both):
        return Finding(REPORTED, text, "", tuple(runs))
    effects = summarize(both, ["dataset"], "difference")
    return from_effects(effects, list(effects["dataset"]), f"{text}; paper's polarity minus the other, ToW", runs)


def gain_of(records: Records, metric: str, rules: Sequence[str]) -> Finding:
    """Answer asks 5 and 7: a number under some rules minus under SGD, same cell and seed; claimed to be greater."""
    runs, table, _ = main_study(records, metric)
    differences = rule_differences(table, metric, rules=rules)
    return from_differences(differences, CLAIMED, cell_name, what=f"{metric} minus that of SGD", runs=runs)


def at_equal_gradients(longer: Sequence[Record], runs: Sequence[Record], table: Table) -> tuple[Table, list[Record]]:
    """Return ToW under SAM and ASAM minus that of SGD of twice the epochs, one row a shared cell and seed, and its SGD.

    The two differ in rule, epochs and the rate chosen for each, and in what else was measured, but in nothing more.

    Args:
        longer: runs of other studies, those of SGD for twice the epochs among them.
        runs, table: the study that they are held against.
    """
    free = ("rule", *TUNED, *LANDSCAPE, *MEASURED)
    cell = lambda run: (canonical_json(setting(run, free)), *map(run.config.get, ("seed", "unlearn_seed")))  # noqa: E731
    plain = {(*cell(run), run.config["epochs"]): run for run in longer
             if family(run.config["rule"]) == "sgd" and run.result.get("tow") is not None}  # fmt: skip
    floors = dict(zip(table["run_id"], table.get("floor_tow", pd.Series(np.nan, table.index)), strict=True))
    rows, used = [], {}
    for run in runs:
        if family(run.config["rule"]) not in ("sam", "asam") or run.result.get("tow") is None:
            continue
        base = plain.get((*cell(run), 2 * run.config["epochs"]))
        if base is not None:
            used[base.run_id] = base
            labels = {name: label(run, name) for name in ("method", "rule", "pretrain", "difficulty", "seed")}
            difference = run.result["tow"] - base.result["tow"]
            rows.append(labels | {"difference": difference, "floor": floors.get(run.run_id)})
    return pd.DataFrame(rows), list(used.values())


def relearning_of_minmax(records: Records) -> Finding:
    """Answer ask 5: mean excess of the relearning curve over the retrained model's, MinMax minus SGD."""
    return gain_of(records, "relearning_excess", ["minmax"])


def retain_only_sam(records: Records) -> Finding:
    """Answer ask 7: ToW with SAM on the retain loss only, minus SGD."""
    return gain_of(records, "tow", ["retain-sam"])


def klom_of_sam(records: Records) -> Finding:
    """Answer ask 8: mean KLoM on F of SAM minus that of SGD, same pretraining and same models; and of doing nothing."""
    found = klom_cells(records)
    effects = klom_differences(found)
    if not len(effects):
        return Finding()
    sam = effects[effects["rule"].map(family).isin(["sam", "asam"])].reset_index(drop=True)
    names = [f"{row.rule}, pretrained {row.pretrain}" for row in sam.itertuples()]
    runs = [run for cell in found for run in cell.runs]
    what = "mean KLoM on F minus that of SGD"
    without = Finding(REPORTED, f"{what}: none of SAM", "", tuple(runs))
    finding = from_effects(sam, names, what, runs, sign=-1) if len(sam) else without
    nothing = effects[effects["rule"] == ORIGINAL]
    rest = [f"doing nothing, pretrained {row['pretrain']}: {effect_text(row)}" for _, row in nothing.iterrows()]
    return replace(finding, number="; ".join([finding.number, *rest]))


def ulira_of_unlearning(records: Records) -> Finding:
    """Answer ask 8b: true positives of U-LiRA at 1 % false ones, each rule minus doing nothing; claimed to be fewer."""
    pools = pooled(records, "ulira")
    table = ulira_table(pools)
    effects = ulira_differences(table, "tpr_at_1_percent")
    if not len(effects):
        return Finding()
    names = [f"{row.rule}, pretrained {row.pretrain}" for row in effects.itertuples()]
    finding = from_effects(effects, names, "TPR at 1 % FPR minus that of doing nothing", pools, sign=-1)
    rows = [f"{row['model']}, pretrained {row['pretrain']}: {rate_text(row, 'tpr_at_1_percent')}"
            for _, row in table.iterrows()]  # fmt: skip
    runs = {run.run_id: run.result for run in records.of("unlearn")}
    gained = []
    for pool in pools:
        of = [runs[one] for one in pool.result["runs"] if {"tow", "original_tow"} <= set(runs.get(one, ()))]
        gain = f"{np.mean([run['tow'] - run['original_tow'] for run in of]):+.3f}" if of else "unknown"
        if {run.get("choice") for run in of} == {NOTHING}:
            gain += f" (the choice of its rate found it {NOTHING})"
        gained.append(f"{pool.result['labels']['rule']}, pretrained {pool.result['labels']['pretrain']} {gain}")
    rows.append(f"ToW of the same models minus that of doing nothing, on average: {', '.join(gained)}")
    return replace(finding, number="; ".join([finding.number, *rows]))


def memorization_grades(records: Records) -> Finding:
    """Answer ask 9: is ToW of NegGrad with SGD monotone in the memorization grade? Low minus mid, mid minus high.

    Where the scores themselves are unreliable (split-half reliability below .8) grades mean nothing: undecided.
    """
    runs, table, _ = main_study(records)
    table = table[(table["method"] == "neggrad") & (table["rule"] == "sgd") & table["difficulty"].isin(GRADED)]
    # A pretraining rule that lacks one of the sets would stand on one side of a step alone.
    table = table[table.groupby("pretrain")["difficulty"].transform("nunique") == len(GRADED)]
    if table.empty or "tow" not in table:
        return Finding()
    wide = table.groupby(["pretrain", "seed", "difficulty"])["tow"].mean().unstack("difficulty")
    steps = {f"{a} − {b}": over_cells((wide[a] - wide[b]).dropna().reset_index(name="difference"), ["pretrain"])
             for a, b in (("low", "mid"), ("mid", "high"))}  # fmt: skip
    parts = "; ".join(f"{name}: {with_seeds(step)}" for name, step in steps.items())
    decided, note = judge(pd.DataFrame(list(steps.values()))), "reliability of the scores not recorded"
    reliability = table.get("memorization_reliability", pd.Series(dtype=float)).dropna()
    if len(reliability):
        note = f"reliability of the scores {reliability.min():.2f}"
        if reliability.min() < RELIABLE:
            decided, note = UNDECIDED, f"{note}, below {RELIABLE:g}: grades decide nothing"
    short = "; ".join(f"{name} {step['mean']:+.3f}" for name, step in steps.items())
    return Finding(decided, f"ToW falls with the grade: {parts}; {note}", "", tuple(runs), short)


def another_draw(records: Records) -> Finding:
    """Answer ask 9b: ToW of each rule minus that of SGD on three or more draws of the forget set, which count as seeds.

    Beside them the deviation of such a difference over draws and over training seeds, pooled over cells.
    """
    runs, table = drawn_cells(records)
    if table.empty:
        return Finding()
    draws, seeds = over_draws(table), over_seeds(table)
    finding = from_differences(draws, CLAIMED, cell_name, what="ToW minus that of SGD, over draws", runs=runs)
    spread = {name: pooled_deviation(by_cell(found, CLAIMED)) for name, found in (("draws", draws), ("seeds", seeds))}
    averaged = table[table["shared"]].groupby([*CLAIMED, DRAW])["seed"].nunique().max()
    alone = spread["draws"][0] ** 2 - spread["seeds"][0] ** 2 / averaged
    parts = [
        finding.number.replace("seeds", "draws"),  # what stands for a training seed there is a draw
        f"deviation over draws {deviation_text(*spread['draws'])}",
        f"over training seeds on draw {fullest_draw(table)} {deviation_text(*spread['seeds'])}",
    ]
    parts += [f"of the draw itself {alone**0.5:.3f}"] if alone > 0 else []
    parts += ["no more over draws than over training seeds"] if alone <= 0 else []  # neither where one is unknown
    return replace(finding, number="; ".join(parts))


def with_a_setting_changed(records: Records) -> Finding:
    """Answer ask 9c: ToW of each rule minus that of SGD where a setting of the study was changed, and in the study."""
    runs, table = changed_cells(records)
    if table.empty:
        return Finding()
    differences, keys = change_of_gain(table), [*CLAIMED, "changed"]
    again = differences["changed"] != ""
    name = lambda row: f"{row.changed}: {cell_name(row)}"  # noqa: E731
    finding = from_differences(differences[again], keys, name, what="ToW minus that of SGD", runs=runs)
    parts = [f"{name(row)} {with_seeds(row._asdict())}" for row in by_cell(differences[again], keys).itertuples()]
    parts += [f"in the study: {cell_name(row)} {with_seeds(row._asdict())}"
              for row in by_cell(differences[~again], keys).itertuples()]  # fmt: skip
    return replace(finding, number=f"ToW minus that of SGD, {'; '.join(parts)}")


# What was asked, the figures that show it, the question. It is judged on the studies of the first figure, or on others.
ASKED = [
    ("Ask 1", "fig-umap", "distinct colours, markers, arrows in the UMAP, and a number", None),
    ("Ask 2", "fig-accuracies fig-roc fig-relearning", "the accuracies under every ToW; MIA with ROC, relearning",
     None),
    ("Ask 3", "tab-methods", "mean and standard deviation over seeds everywhere", spread_is_stated),
    ("Ask 4", "fig-pareto", "run time of SAM and MinMax beside quality", cost_of_sharpness),
    ("Ask 5", "fig-relearning", "sharpness maximization makes relearning faster than SGD does",
     relearning_of_minmax),
    ("Ask 6", "fig-mask", "ablation of the mask's cutoff and polarity", mask_ablation),
    ("Ask 7", "tab-minmax", "SAM on the retain loss only, the missing baseline, beats SGD", retain_only_sam),
    ("Ask 8", "fig-klom", "KLoM: SAM brings margins on F nearer to retraining than SGD", klom_of_sam),
    ("Ask 8b", "tab-ulira", "U-LiRA tells unlearned models apart less than untouched ones", ulira_of_unlearning),
    ("Ask 9", "fig-tow", "ToW falls as memorization rises, so that grading is useful", memorization_grades),
    ("Ask 9b", "tab-draws", "SAM unlearns better than SGD on other draws of the forget set too", another_draw),
    ("Ask 9c", "tab-ablations", "SAM unlearns better than SGD with a setting of the study changed too",
     with_a_setting_changed),
]  # fmt: skip
STUDIES = {"Ask 4": ("cifar10", "cifar10-compute")}
VERDICTS = {"Ask 1": "fig-umap", "Ask 2": "fig-tow"}  # what a figure shows answers them


def _item(title: str, names: str, question: str, assess: Callable[[Records], Finding] | None) -> Item:
    studies = STUDIES.get(title, FIGURES[names.split()[0]].studies)
    judge = verdict_of(VERDICTS[title]) if assess is None else judged_on(studies, assess)
    return Item("ask", title, question, f"repro figures {names}", judge, studies)


ITEMS = [_item(*asked) for asked in ASKED]
