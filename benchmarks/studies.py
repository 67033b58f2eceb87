"""What the published studies cost, and what their records say of the ground they stand on.

python benchmarks/studies.py > docs/studies.md

Every number is worked out from the records in results/; nothing is trained.
"""

import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from empirical.data.memorization import agreement, compare_draws, reliability
from empirical.studies.cost import Rates, pace_of
from figures.drawing.files import markdown
from figures.tables.trajectories import matched_rows, trajectory_rows
from repro.records.published import Published
from repro.records.record import Record
from repro.records.store import Store
from repro.study.study import load_study
from repro.study.trained import Training, mixed_settings, runs_apart, sets_of_weights, sgd_rates, trainings

RESULTS = Path(__file__).parents[1] / "results"
QUESTIONS = {
    "alpha": "How small may the retain weight alpha be? Scanned digits.",
    "cifar10": "Which rules and methods come nearest to retraining, by forget set?",
    "cifar10-alpha": "At which alpha does the advantage of SAM end?",
    "cifar10-compute": "Is the lead of SAM more than its second gradient?",
    "cifar10-draws": "Does the result hold on other draws of the forget set?",
    "cifar10-mask": "Which cutoff of its mask suits Sharp MinMax?",
    "cifar10-plain": "Does it hold without augmentation?",
    "cifar10-radius": "At which radius does SAM stop forgetting?",
    "cifar10-random": "Does it hold on random forget sets?",
    "cifar10-random-asam": "Does it hold on random forget sets, after ASAM?",
    "cifar10-rates": "How much of an effect is the rate that was chosen?",
    "cifar10-rates-asam": "How much of an effect is the rate that was chosen, after ASAM?",
    "cifar10-resnet18": "Does it hold in a ResNet-18?",
    "cifar10-variants": "Does the released code of Sharp MinMax change the answer on random forget sets?",
    "cifar10-variants-high": "Does the released code of Sharp MinMax change the answer on the hardest images?",
    "claims": "Do the theorems hold inside their own assumptions?",
    "digits": "The same question on scanned digits, in minutes.",
    "klom": "How far apart are 100 unlearned and 100 retrained models, image by image?",
    "ladder": "Where does a network leave the theory?",
    "measurements": "How does the boundary scale, and what do attacks find of F in the theory?",
    "mask": "Which cutoff and polarity suit Sharp MinMax? Scanned digits.",
    "signal-noise": "Does the theory's own network do what the theory says?",
    "sweeps": "How do the theory's results move with its parameters?",
    "theory": "What does the theory predict for SGD, SAM and unlearning?",
    "validity": "How exact are the theory's numbers?",
}
SETS = ("high", "mid", "low")
QUARTERS = ("start", "1/4", "1/2", "3/4", "end")


class Cost(NamedTuple):
    """What a study cost: trained models, hours of one thread, and how many of these hours are estimated."""

    models: int
    hours: float
    estimated: float


class Evidence:
    """The published records, by study.

    Args:
        published: where they are read from.
    """

    def __init__(self, published: Published) -> None:
        self.lists = published.lists
        self.by_study = {name: published.records_of(name, set(runs.ids)) for name, runs in self.lists.items()}

    @cached_property
    def every(self) -> list[Record]:
        """Every published record once."""
        return list({one.run_id: one for records in self.by_study.values() for one in records}.values())

    @cached_property
    def rates(self) -> dict[tuple[str, ...], float]:
        """Gradients a second of models retrained by SGD."""
        return sgd_rates(self.every)

    def runs(self, study: str, **settings: Any) -> list[Record]:
        """Return the compared runs of a study that have some settings; a study may be published before it is whole."""
        runs = {one.run_id: one for one in self.by_study[study]}
        found = (runs[run] for run in self.lists[study].runs if run in runs)
        return [one for one in found if all(one.config.get(name) == value for name, value in settings.items())]


def page(evidence: Evidence) -> str:
    """Return the page as Markdown."""
    return TEMPLATE.format(
        costs=markdown(pd.DataFrame(cost_rows(evidence))),
        card=paragraph(card(evidence.every, evidence.rates)),
        portable=paragraph(portable(evidence)),
        **split(evidence),
        **memorization(evidence),
        **ascent(evidence),
        **minmax(evidence),
    )


def cost_rows(evidence: Evidence) -> list[dict[str, str]]:
    """Return a row a study, and one for all of them."""
    rows = []
    for name, records in sorted(evidence.by_study.items()):
        if all(one.kind == "benchmark" for one in records):
            continue
        runs, study = evidence.lists[name], load_study(name)
        portable = any(one.config.get("portable") for one in records)
        rows.append({"study": f"`{name}`", "it asks": QUESTIONS.get(name, study.title), "runs": str(len(runs.runs)),
                     "runs that choose": str(len(runs.search)), **shown_cost(records, evidence),
                     "portable": "yes" if portable else "no", "command": f"`{study.command}`"})  # fmt: skip
    nothing = dict.fromkeys(rows[0], "")
    whole = [one for one in evidence.every if one.kind != "benchmark"]
    return [*rows, nothing | {"study": "all, each model once"} | shown_cost(whole, evidence)]


def shown_cost(records: Sequence[Record], evidence: Evidence) -> dict[str, str]:
    """Return trained models and core-hours as they are shown."""
    cost = cost_of(records, evidence.rates)
    known = f"{cost.hours:.1f}" if cost.hours >= 10 else f"{cost.hours:.2f}"
    return {"models": str(cost.models), "core-hours": known if cost.hours else "not recorded",
            "of these estimated": percent(cost.estimated / cost.hours) if cost.hours else ""}  # fmt: skip


def cost_of(records: Iterable[Record], rates: dict[tuple[str, ...], float]) -> Cost:
    """Return what a study's networks and its theory cost, without what ran on a GPU: that is no hour of a core."""
    records = [one for one in records if one.provenance.get("device", "cpu") == "cpu"]
    found = trainings(records, rates)
    theory = sum(one.provenance.get("seconds") or 0.0 for one in records if one.kind.startswith("theory"))
    estimated = sum(one.seconds or 0.0 for one in found if one.estimated)
    seconds = theory + sum(one.seconds or 0.0 for one in found)
    return Cost(sum(one.models for one in found), seconds / 3600, estimated / 3600)


def card(records: Sequence[Record], rates: dict[tuple[str, ...], float]) -> str:
    """Return what some runs would cost on a GPU, by the benchmark records of one; where there is none, that."""
    measured = [one for one in records if one.kind == "benchmark" and on_card(one)]
    on_it = Rates.known(Store(RESULTS / "no-store"), measured)
    if not on_it.measured:
        return """No benchmark record was measured on a GPU. Therefore this page does not say what the studies would
        cost there. `make gpu` measures it."""
    hours = card_hours(trainings(records, rates), on_it)
    names = ", ".join(sorted({str(one.config["device"]) for one in measured}))
    if hours is None:
        return f"The benchmark records of {names} tell no rate of some of these networks."
    return f"""At the rates that were measured on {names}, all of them would take {hours:.2f} hours of that GPU. The
    rate of a network or an image size that was not measured follows from its number of operations."""


def on_card(record: Record) -> bool:
    """Return whether a benchmark ran on a GPU."""
    return record.config.get("device", "cpu") != "cpu"


def card_hours(found: Iterable[Training], rates: Rates) -> float | None:
    """Return the hours of some trainings at a GPU's rates: `sum of gradients / rate`; None where a rate is unknown."""
    hours = 0.0
    for one in found:
        rate = rates.of(pace_of(SimpleNamespace(**one.config)))
        if rate is None:
            return None
        hours += one.gradients / rate.per_second / 3600
    return hours


def split(evidence: Evidence) -> dict[str, str]:
    """Return what is known of models that were trained twice under one id."""
    by_data: dict[str, list[Record]] = defaultdict(list)
    for record in evidence.every:
        if record.result.get("parents"):
            by_data[record.config["dataset"]].append(record)
    found = {data: sets_of_weights(records) for data, records in sorted(by_data.items())}
    apart = {run for sets in found.values() for run in runs_apart(sets)}
    counts = [{"data set": data, "original and retrained models": len(sets),
               "with several sets of weights": sum(len(one) > 1 for one in sets.values())}
              for data, sets in found.items()]  # fmt: skip
    studies = []
    for name, runs in sorted(evidence.lists.items()):
        fewer = [one for one in evidence.runs(name) if one.run_id in apart]
        which = Counter(f"{one.config['method']} after {one.config['pretrain']}" for one in fewer)
        said = ", ".join(f"{one}: {count}" for one, count in which.most_common())
        if fewer:
            mixed = len(mixed_settings(evidence.runs(name), apart))
            studies.append({"study": f"`{name}`", "runs": len(runs.runs), "on the fewer": len(fewer), "these": said,
                            "settings whose rules stand on both": mixed})  # fmt: skip
    configs = {one.run_id: one.config for one in by_data["cifar10"]}
    twice = []
    for model, sets in found["cifar10"].items():
        config = configs[next(iter(sets.values()))[0]]
        kind = "original" if model.stage == "pretrain" else f"retrained, {config['difficulty']}"
        said = ", ".join(f"{accuracy:.4f} ({len(runs)} runs)" for accuracy, runs in sets.items())
        if len(sets) > 1:
            twice.append({"model": kind, "rule": config["pretrain"], "seed": config["seed"], "test accuracy": said,
                          "id": f"`{model.id}`"})  # fmt: skip
    twice.sort(key=lambda row: (row["model"], row["rule"], row["seed"]))
    return {name: markdown(pd.DataFrame(rows)) for name, rows in
            (("counts", counts), ("on_fewer", studies), ("twice", twice))}  # fmt: skip


def portable(evidence: Evidence) -> str:
    """Return how many portable models two kinds of processors trained, and whether their weights are the same.

    A record names the processor that computed it and the seconds that its retrained and its unlearned model took. So
    two kinds and two values mean two trainings.
    """
    times, kinds, sums = (defaultdict[tuple[str, str], set[Any]](set) for _ in range(3))
    for one in evidence.every:
        parents = (one.result.get("parents") or {}) if one.config.get("portable") else {}
        for stage in ("retrain", "unlearn"):
            if seconds := one.result.get(f"seconds_{stage}") if parents.get(stage) else None:
                model = (stage, parents[stage])
                times[model].add(seconds)
                kinds[model].add("AVX-512" if "avx512" in one.provenance["machine"]["cpu"] else "AVX2 alone")
                sums[model].add(parents.get(f"{stage}_checksum"))
    twice = [model for model in times if min(len(times[model]), len(kinds[model])) > 1]
    same = sum(len(sums[model]) == 1 for model in twice)
    return f"""
    Portable studies have {len(times)} retrained and unlearned models. {len(twice)} of them were trained on a processor
    with AVX-512 and on one with AVX2 alone, and for {same} of these the checksums of the weights are the same.
    """


def memorization(evidence: Evidence) -> dict[str, str]:
    """Return how far estimates of memorization on CIFAR-10 agree, and the forget sets that they choose."""
    found = [one for one in evidence.by_study["cifar10-draws"] if one.kind == "memorization"]
    records = sorted(found, key=lambda one: one.config["seed"])
    arrays = [one.arrays() for one in records]
    inside, correct = (np.concatenate([one[name] for one in arrays]) for name in ("inside", "correct"))
    models = len(arrays[0]["inside"])
    between = [agreement(one["scores"], other["scores"]) or 0.0 for one, other in combinations(arrays, 2)]
    pooled, single = reliability(inside, correct) or 0.0, [one.result["reliability"] for one in records]
    likeness = {size: compare_draws(inside, correct, size, repeats=5) for size in (models, len(inside) // 2)}
    rows = [{"models": size, "set": name, "overlap": percent(one.overlap), "by chance": percent(one.chance),
             "score when chosen": f"{one.own:z.2f}", "true score": f"{one.other:.2f} ± {one.spread:.2f}"}
            for size, found in likeness.items() for name in SETS for one in [found[name]]]  # fmt: skip
    high, mid, low = (likeness[models][name] for name in SETS)
    said = f"""
    There are {len(records)} estimates from {models} subset models each, {len(inside)} models in all. Two estimates
    agree with a rank correlation of {np.mean(between):.2f}. The *reliability*, which an estimate computes from its own
    halves, foretells this: {np.mean(single):.2f}. All {len(inside)} models together have a
    reliability of {pooled:.2f}.
    """
    zero = float(np.mean([one["scores"] <= 0 for one in arrays]))
    meaning = f"""
    So a reliable ranking does not fix which images are in a set. Two estimates from {models} models share
    {percent(high.overlap)} of `high`, {percent(mid.overlap)} of `mid` and {percent(low.overlap)} of `low`; chance alone
    gives {percent(high.chance)}. `high` still is what its name says: its images have a true score of {high.other:.2f}
    on average. A finding on `high` is about strongly memorized images, but not about particular ones. The images of
    `mid` have true scores of {mid.other:.2f} on average, with a deviation of {mid.spread:.2f}. A finding on `mid` is
    about a broad middle, not about images with a score of 0.5. `low` is a sample of the {percent(zero)} of images whose
    score is 0 or less.
    """
    return {"agreement": paragraph(said), "draws": markdown(pd.DataFrame(rows)),
            "meaning": paragraph(meaning), "effects": paragraph(effects_by_draw(evidence))}  # fmt: skip


def effects_by_draw(evidence: Evidence) -> str:
    """Return what NegGrad gains by ASAM on each draw of the forget set, at the seed that all draws have."""
    said = {}
    for name in ("high", "mid"):
        runs = evidence.runs("cifar10-draws", difficulty=name, seed=0)
        tow = {(one.config["forget_seed"], one.config["rule"]): one.result["tow"] for one in runs}
        draws = sorted({draw for draw, _ in tow})
        said[name] = ", ".join(f"{tow[draw, 'asam-1.0'] - tow[draw, 'sgd']:+.3f}" for draw in draws)
    return f"""
    The study `cifar10-draws` repeats NegGrad on the sets of each estimate. With ASAM in place of SGD, ToW at seed 0
    changes by {said["high"]} on these draws of `high`, and by {said["mid"]} on those of `mid`.
    """


def ascent(evidence: Evidence) -> dict[str, str]:
    """Return what happens in gradient ascent on `mid`, where seeds end far apart."""
    runs = evidence.runs("cifar10", method="gradient_ascent", difficulty="mid")
    tow, retain = (by_seed(trajectory_rows(runs), number) for number in ("tow", "retain"))
    chosen = runs[0].result["choice_details"]
    rate, best = chosen["value"], chosen["tow"]
    above, after = min((one for one in chosen["curve"] if one[0] > rate), key=lambda one: one[0])
    lost, first = retain["3/4"] - retain["end"], retain["start"] - retain["1/4"]
    said = f"""
    At 3/4 of the epoch, all seeds agree: their ToW deviates by {tow["3/4"].std():.3f}, and each is above the ToW of
    doing nothing. At the end, it deviates by {tow["end"].std():.3f}. Ascent raises the loss of the forget set without
    a limit, and no retained image holds it back, so the damage grows. Retain accuracy falls by at
    most {first.max():.3f} in the first quarter, and by {lost.min():.3f} to {lost.max():.3f} in the last. The seeds
    differ in how far this fall has come when the epoch ends. The chosen rate stands close to it: on the choosing seed
    ToW is {best:.3f} at {rate:g}, and {after:.3f} at the next rate that was tried, {above:g}. So a mean over seeds
    says little about ascent on `mid`.
    """
    return {"ascent": paragraph(said), "ascent_tow": quarters(tow), "ascent_retain": quarters(retain)}


def minmax(evidence: Evidence) -> dict[str, str]:
    """Return when Sharp MinMax loses the retained images on `high`, beside NegGrad by SGD and ASAM."""
    runs = evidence.runs("cifar10", method="neggrad", difficulty="high", pretrain="sgd")
    tables = {one: trajectory_rows([run for run in runs if run.config["rule"] == one and run.config["seed"] < 3])
              for one in ("sgd", "asam-1.0", "minmax-asam-1.0")}  # fmt: skip
    rows = [{"rule": f"`{rule}`", "number": number, **by_seed(table, number.lower()).mean().map("{:.3f}".format)}
            for rule, table in tables.items() for number in ("forget", "retain", "test", "ToW")]  # fmt: skip
    halfway = {rule: matched_rows(table).mean(numeric_only=True) for rule, table in tables.items()}
    sgd, asam, ours = (halfway[rule]["retain_matched"] for rule in tables)
    table = tables["minmax-asam-1.0"]
    retain, forget, tow = (by_seed(table, number) for number in ("retain", "forget", "tow"))
    steepest = (-retain.diff(axis=1)).max(axis=1)
    target = np.mean([run.result["retrained_forget_accuracy"] for run in runs if run.config["rule"] in tables])
    usual = runs[0].config["mask_fraction"]
    smallest = min(run.config["mask_fraction"] for run in evidence.runs("cifar10-mask"))
    small = evidence.runs("cifar10-mask", mask_fraction=smallest)
    originals = [{run.config["seed"]: run.result["original_test_accuracy"] for run in some}
                 for some in (small, evidence.runs("cifar10-mask", mask_fraction=usual))]  # fmt: skip
    apart = max(abs(value - originals[1][seed]) for seed, value in originals[0].items())
    said = f"""
    Sharp MinMax loses the retained images while it forgets, not afterwards. Each seed loses
    {steepest.min():.2f} to {steepest.max():.2f} of retain accuracy in its worst quarter of the epoch, and does not
    recover. Where forget accuracy is halfway to that of the retrained model, Sharp MinMax has a retain accuracy
    of {ours:.3f}, NegGrad by SGD {sgd:.3f} and by ASAM {asam:.3f}. At the end, forget accuracy
    is {forget["end"].mean():.2f}, below the {target:.2f} of the retrained
    models: it also forgets too much. Its mean ToW is highest at {tow.mean().idxmax()} of the epoch, and only
    {tow.mean().max():.2f} there; stopping early would not help much. A smaller mask helps. With {percent(smallest)} of
    the weights on the forget side in place of {percent(usual)}, and a rate chosen for that, it ends with a retain
    accuracy of {np.mean([run.result["retain_accuracy"] for run in small]):.3f} in place of {retain["end"].mean():.3f}
    (study `cifar10-mask`). The originals of these two groups of runs differ by at most {apart:.4f} in test accuracy.
    """
    return {"minmax": paragraph(said), "minmax_rows": markdown(pd.DataFrame(rows))}


def by_seed(table: pd.DataFrame, number: str) -> pd.DataFrame:
    """Return a number of trajectories with a row a seed and a column a quarter of the epoch."""
    return table.pivot(index="seed", columns="point", values=number).set_axis(QUARTERS, axis=1)


def quarters(table: pd.DataFrame) -> str:
    """Return a number by seed and quarter as Markdown."""
    return markdown(table.map("{:.3f}".format).reset_index())


def percent(share: float) -> str:
    """Return a share in [0, 1] as percent."""
    return f"{100 * share:.0f} %"


def paragraph(text: str) -> str:
    """Return a text in lines of at most 120 characters."""
    return textwrap.fill(" ".join(text.split()), 120, break_on_hyphens=False, break_long_words=False)


TEMPLATE = """# What the studies cost, and what they stand on

Written by `python benchmarks/studies.py > docs/studies.md`; do not edit by hand. Every number is from the records in
`results/`.

## Cost

A *core-hour* is an hour of one processor thread. A record states the seconds that its retrained and its unlearned
model took, by the clock. A model that several runs share counts once; a model that was trained twice counts twice. The
records do not state the seconds of original models and subset models. Those are estimated: an original from the
retrained model of the same run, subset models at the rate of models retrained by SGD. Measuring the models is not
included. NegGrad after SGD on `low` and `mid` was run again on a shared machine, where its processes waited: its hours
are two to four times those of a quiet core. *Portable* studies give the same weights on every processor with AVX2.

{costs}
{card}

## Models that were trained twice

An id says how a model is trained. Trained on two machines, or by two versions of the code, one id can come with two
sets of weights. They show in the test accuracy. A difference between two runs is due to their settings only if both
stand on the same weights.

{counts}
Where an original has several sets of weights, most records stand on one of them. The next table counts the runs of a
study that stand on another. Its last column counts the settings in which a difference between two rules would compare
two sets. A sweep over another setting, such as alpha, crosses the sets wherever a study has runs on both.

{on_fewer}
The models of CIFAR-10 with two sets of weights:

{twice}
{portable}

## Would another estimate choose the same forget sets?

The sets `high`, `mid` and `low` are chosen by memorization scores, which come from subset models. The scores are
estimates, so another draw of subset models chooses other images.

{agreement}

The table compares two estimates that share no model. *Overlap* is the part of a set that the other estimate chooses
too. *Score when chosen* is the set's mean score by the estimate that chose it. *True score* is the mean by the other
estimate, whose errors did not choose the set, and the deviation of the true scores over the set's images.

{draws}
{meaning}

{effects}

## Why do seeds of gradient ascent on `mid` differ so much?

ToW along the epoch, by seed:

{ascent_tow}
Retain accuracy:

{ascent_retain}
{ascent}

## Why does Sharp MinMax keep so little on `high`?

NegGrad after pretraining by SGD, means over three seeds:

{minmax_rows}
{minmax}
"""


if __name__ == "__main__":
    print(page(Evidence(Published())), end="")
