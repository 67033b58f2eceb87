"""What the paper's reviewers asked for: done, or the number that answers."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from figures.answers.found import Template, count, found, listed
from figures.answers.networks import GRADED, MAIN, SAM, at_equal_gradients, compared, cutoffs_tried, main_runs
from figures.answers.runs import rule_effects
from figures.answers.variants import MINMAX
from figures.tables.evaluations import evaluations_of, klom_differences, resampled, ulira_differences
from figures.tables.names import rule_label
from figures.tables.records import Studies
from figures.tables.snapshots import snapshots
from repro.statistics.answers import OPEN, answer
from repro.statistics.effects import FEWEST, Table, voting

DONE, NOT_RUN = "done", "not run"
NO_FEATURES = "the features of Sharp MinMax were not measured: it has no panel."
FOUND_OUT = "Share found out at 1 % false alarms, unlearning minus doing nothing"
DIGITS = "Scanned digits check the pipeline and say nothing about the paper."


class Wish(NamedTuple):
    """One wish: what was asked, the figure that shows it, and the function from the studies to the number."""

    asked: str
    figure: str
    answer: Callable[[Studies], str]


def _said(sentences: tuple[str, ...]) -> str:
    return " ".join(sentences) or NOT_RUN


def drawn(studies: Studies) -> str:
    """Answer a wish for a figure: it is drawn where there are runs."""
    return DONE if len(main_runs(studies)) else NOT_RUN


def maps(studies: Studies) -> str:
    """Answer 1: the maps are drawn; name a rule that the paper has there and whose features were not measured."""
    if drawn(studies) == NOT_RUN:
        return NOT_RUN
    shown = [one.record.config["rule"] for one in snapshots(studies.of(MAIN), "features") if one.model == "unlearned"]
    return DONE if MINMAX in shown else f"{DONE}, but {NO_FEATURES}"


def deviations(studies: Studies) -> str:
    """Answer 3: how many settings, rules and forget sets have enough training seeds for a deviation."""
    runs = main_runs(studies)
    if runs.empty:
        return NOT_RUN
    seeds = runs.groupby(["setting", "rule", "forget_set"])["seed"].nunique()
    means = f"{(seeds >= FEWEST).sum()} of {len(seeds)} means (one per setting, rule and forget set)"
    return f"{means} have {FEWEST} training seeds or more."


def cost(studies: Studies) -> str:
    """Answer 4: time as a multiple of SGD's (median: a shared machine slows some runs), and ToW at equal gradients."""
    runs = main_runs(studies)
    if runs.empty:
        return NOT_RUN
    runs = runs[runs["status"] == "ok"].assign(log=lambda table: np.log(table["seconds"].astype(float)))
    pairs = rule_effects(runs, "log", [*SAM, MINMAX])
    times = np.exp(pairs.groupby("contrast")["value"].median())
    told = listed([f"{rule_label(name).rpartition(' ')[0]} {value:.1f}" for name, value in times.items()])
    return " ".join([f"Time as a multiple of SGD's: {told}.", *at_equal_gradients(studies)])


def relearning(studies: Studies) -> str:
    """Answer 5: how much faster the forget set comes back after Sharp MinMax than after SGD."""
    say = Template("on {part} it comes back faster, by {size}", "on {part} it comes back more slowly, by {size}",
                   "share", margin=None)  # fmt: skip
    return _said(compared(main_runs(studies), "relearning_excess", say, rules=[MINMAX]).sentences)


def cutoffs(studies: Studies) -> str:
    """Answer 6: ToW of Sharp MinMax by the cutoff of its mask."""
    told = [listed([f"{cut:g} gives {tow:.3f}" for cut, tow in zip(table["mask_fraction"], table["tow"], strict=True)])
            for table in cutoffs_tried(studies)]  # fmt: skip
    if not told:
        return NOT_RUN
    again = "".join(f" In another study, with rates chosen anew, {one}." for one in told[1:])
    other = "The other polarity was run on scanned digits, and as a part of the released code (tab-variants)."
    return f"ToW on the hardest images by cutoff: {told[0]}.{again} {other}"


def retain_only(studies: Studies) -> str:
    """Answer 7: the missing baseline, SAM on R only, minus SGD."""
    say = Template("for {part} it gains {size} ToW over SGD", "for {part} it loses {size} ToW to SGD", "ToW")
    return _said(compared(main_runs(studies), "tow", say, rules=["retain-sam-0.1"]).sentences)


def klom(studies: Studies) -> str:
    """Answer 8: mean KLoM on F under SAM minus the same under SGD."""
    evaluations = evaluations_of(studies.of("klom"), "klom")
    effects = klom_differences(evaluations)
    sam = effects[effects["rule"].isin(SAM)] if len(effects) else effects
    if sam.empty:
        return NOT_RUN
    return _average_sentence(sam, "KLoM of the forget set in nats, SAM minus SGD", resampled(evaluations))


def ulira(studies: Studies) -> str:
    """Answer 8b: true positive rate of U-LiRA at 1 % false positives, unlearned minus untouched models."""
    evaluations = evaluations_of(studies.of("klom"), "ulira")
    effects = ulira_differences(evaluations, "tpr_at_1_percent")
    return _average_sentence(effects, FOUND_OUT, resampled(evaluations)) if len(effects) else NOT_RUN


def _average_sentence(effects: Table, what: str, over: str) -> str:
    up, down = (int((effects[end] * side > 0).sum()) for end, side in (("low", 1), ("high", -1)))
    sides = f"{up} of {len(effects)} clearly above 0, {down} below"
    return f"{what}: {effects['mean'].mean():+.3f} on average; {sides}. Intervals resample {over}. {DIGITS}"


def grades(studies: Studies) -> str:
    """Answer 9: does ToW fall with the grade of memorization? NegGrad by SGD, from the same original model."""
    runs = main_runs(studies)
    if runs.empty:
        return NOT_RUN
    runs = runs[(runs["method"] == "neggrad") & (runs["rule"] == "sgd")]
    wide = runs.pivot_table(index=["setting", "seed", "original"], columns="forget_set", values="tow").reset_index()
    steps = {"the easiest to the middle images": wide["low"] - wide["mid"],
             "the middle to the hardest images": wide["mid"] - wide["high"]}  # fmt: skip
    wide = wide.assign(contrast="", block=wide["original"])
    rows = pd.concat([wide.assign(value=step, forget_set=name) for name, step in steps.items()]).dropna(subset="value")
    say = Template("from {part} ToW falls by {size}", "from {part} ToW rises by {size}", "ToW",
                   {name: name for name in steps}, margin=None, place="From {part}")  # fmt: skip
    apart = []
    for name in steps:
        told = set(rows["setting"][rows["forget_set"] == name])
        apart += [f"{one} has no part in the step from {name}: the two have different originals."
                  for one in sorted(set(runs["setting"]) - told)]  # fmt: skip
    return _said((*found(answer(rows, margin=None, alike=False), rows, say).sentences, *apart))


def draws(studies: Studies) -> str:
    """Answer 9b: ToW of ASAM minus SGD, over independent draws of the forget set, which count as seeds."""
    runs = main_runs(studies, "cifar10-draws")
    if runs.empty:
        return NOT_RUN
    runs = runs[runs["seed"] == 0]
    effects = rule_effects(runs.assign(seed=runs["forget_seed"]), "tow", SAM)
    effects = effects.assign(block=effects["seed"].map(str))
    say = Template("on {part} ASAM gains {size} ToW", "on {part} ASAM loses {size} ToW", "ToW")
    return _said(found(answer(voting(effects), forget_sets=[*GRADED]), effects, say).sentences)


def changed(studies: Studies) -> str:
    """Answer 9c: ToW of ASAM minus SGD where a setting of the study was changed; one seed each."""
    parts = []
    for name, what in (("cifar10-resnet18", "a ResNet-18"), ("cifar10-plain", "no augmentation")):
        runs = main_runs(studies, name)
        if len(runs):
            effects = rule_effects(runs, "tow", SAM)
            parts.append(f"{what} {effects['value'].mean():+.3f} ({count(effects['seed'].nunique(), 'seed')})")
    return f"ASAM minus SGD on the hardest images: with {listed(parts)}. {OPEN.capitalize()}." if parts else NOT_RUN


WISHES = {
    "1": Wish("distinct colours, markers and arrows in the UMAP, and a number", "fig-umap", maps),
    "2": Wish("the accuracies under every ToW; attacks with ROC; relearning", "fig-accuracies", drawn),
    "3": Wish("mean and deviation over seeds", "tab-methods", deviations),
    "4": Wish("run time of SAM and Sharp MinMax against quality", "fig-pareto", cost),
    "5": Wish("is the forget set learned again faster after Sharp MinMax?", "fig-relearning", relearning),
    "6": Wish("the mask's cutoff and polarity", "fig-mask", cutoffs),
    "7": Wish("SAM on the retain loss only against SGD", "tab-minmax", retain_only),
    "8": Wish("KLoM of SAM against SGD", "fig-klom", klom),
    "8b": Wish("U-LiRA of unlearned against untouched models", "tab-ulira", ulira),
    "9": Wish("does ToW fall as memorization rises?", "fig-tow", grades),
    "9b": Wish("other draws of the forget set", "tab-draws", draws),
    "9c": Wish("other settings of the study", "tab-ablations", changed),
}
