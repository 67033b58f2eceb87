"""KLoM and U-LiRA, numbers of many runs together: which evaluations are compared, and differences of two rules."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from figures.tables.records import Mixed, Records
from repro.records.record import Record
from repro.statistics.effects import Table
from repro.statistics.spread import recentred

FEWEST = 10
ULIRA = ("auc", "tpr_at_1_percent", "tpr_at_01_percent")
ENDS = ("", "_low", "_high")
ORIGINAL = "do nothing"


def evaluations_of(records: Records, metric: str) -> list[Record]:
    """Return the evaluations of a metric that count, ordered by pretraining and unlearning rule.

    A study that went on with more seeds was evaluated again: if a setting has two evaluations, the larger one counts.
    If a metric has two versions, the newer one counts. Evaluations of fewer than 10 models on either side do not
    count: so few are no distribution.

    Raises:
        Mixed: when two evaluations of the same rules differ in their forget set or another setting.
    """
    found = [one for one in records.of("evaluation") if one.config["metric"] == metric and models_a_side(one) >= FEWEST]
    newest = max((one.config.get("version", 1) for one in found), default=0)
    found = [one for one in found if one.config.get("version", 1) == newest]
    settings: dict[tuple[str, str], Record] = {}
    for one in sorted(found, key=models_a_side):
        key = one.result["labels"]["pretrain"], one.result["labels"]["rule"]
        before = settings.get(key, one)
        if (before.result["labels"], before.config["forget_set"]) != (one.result["labels"], one.config["forget_set"]):
            raise Mixed(f"study {records.study}: evaluations of {key[1]} after {key[0]} differ in more than their size")
        settings[key] = one
    return [settings[key] for key in sorted(settings, reverse=True)]


def models_a_side(evaluation: Record) -> int:
    """Return how many models stand on either side of a comparison: half the runs of an evaluation."""
    return int(evaluation.result.get("klom_models", len(evaluation.result["runs"]) // 2))


def resampled(evaluations: Sequence[Record]) -> str:
    """Return what the intervals of evaluations resample; in older records it is the models alone."""
    return evaluations[0].result.get("resampled", "models") if evaluations else ""


def ulira_table(evaluations: Sequence[Record]) -> Table:
    """Return U-LiRA of each rule and, once per pretraining rule, of the untouched original model.

    Columns: `pretrain`, `model` (an unlearning rule or "do nothing"), `models` on both sides, and for each of `auc`,
    `tpr_at_1_percent`, `tpr_at_01_percent` the value and its 95 % interval, `<number>`, `<number>_low`,
    `<number>_high`; all in [0, 1]. Where nothing tells unlearned from retrained models they are 0.5, 0.01 and 0.001.
    """
    rows, seen = [], set()
    for evaluation in evaluations:
        labels, result = evaluation.result["labels"], evaluation.result
        models = {"unlearned": labels["rule"]} | ({} if labels["pretrain"] in seen else {"original": ORIGINAL})
        seen.add(labels["pretrain"])
        for role, model in models.items():
            numbers = {f"{name}{end}": result[f"ulira_{role}_{name}{end}"] for name in ULIRA for end in ENDS}
            names = {"pretrain": labels["pretrain"], "model": model, "models": len(result["runs"])}
            rows.append(names | numbers)
    columns = ["pretrain", "model", "models", *(f"{name}{end}" for name in ULIRA for end in ENDS)]
    return pd.DataFrame(rows, columns=pd.Index(columns))


def rate_text(row: Table, number: str) -> str:
    """Return a rate of U-LiRA with its 95 % interval."""
    return f"{row[number]:.3f} [{row[f'{number}_low']:.3f}, {row[f'{number}_high']:.3f}]"


def ulira_differences(evaluations: Sequence[Record], number: str) -> Table:
    """Return a number of each rule minus its value for doing nothing, sample by sample.

    Both have the same models and images in each bootstrap sample.

    Columns as in `klom_differences`. Records without bootstrap samples have no row.
    """
    rows = []
    for evaluation in evaluations:
        wanted = [f"ulira_{role}_{number}_resampled" for role in ("unlearned", "original")]
        samples = [evaluation.arrays(*wanted).get(name) for name in wanted]
        if samples[0] is not None and samples[1] is not None:
            value = evaluation.result[f"ulira_unlearned_{number}"] - evaluation.result[f"ulira_original_{number}"]
            names = {name: evaluation.result["labels"][name] for name in ("pretrain", "rule")}
            spread = recentred(value, samples[0] - samples[1])
            rows.append(names | {"seeds": len(evaluation.result["runs"]), "mean": value, "low": spread.low,
                                 "high": spread.high})  # fmt: skip
    return pd.DataFrame(rows, columns=pd.Index(["pretrain", "rule", "seeds", "mean", "low", "high"]))


def klom_differences(evaluations: Sequence[Record]) -> Table:
    """Return mean KLoM on F of each rule and of doing nothing, each minus KLoM of SGD, with intervals.

    Columns: `pretrain`, `rule`, `mean`, `low`, `high`, `seeds`; both sides of a difference share bootstrap samples.
    """
    rows = []
    for base in (evaluation for evaluation in evaluations if evaluation.result["labels"]["rule"] == "sgd"):
        pretrain, ours = base.result["labels"]["pretrain"], _on_forget_set(base, "unlearned")
        others = [(evaluation.result["labels"]["rule"], evaluation, "unlearned") for evaluation in evaluations
                  if evaluation.result["labels"]["pretrain"] == pretrain and evaluation != base]  # fmt: skip
        for rule, evaluation, role in [*others, (ORIGINAL, base, "original")]:
            (value, samples), (base_value, base_samples) = _on_forget_set(evaluation, role), ours
            spread = recentred(value - base_value, samples - base_samples)
            names = {"pretrain": pretrain, "rule": rule, "seeds": len(base.result["runs"])}
            rows.append(names | {"mean": spread.value, "low": spread.low, "high": spread.high})
    return pd.DataFrame(rows)


def _on_forget_set(evaluation: Record, role: str) -> tuple[float, np.ndarray]:
    """Return mean KLoM on F of a model, and the same in each bootstrap sample."""
    name = f"klom_{role}_forget_mean"
    return evaluation.result[name], evaluation.arrays(f"{name}_resampled")[f"{name}_resampled"]
