"""The models behind a study's runs: the cost of their training, and ids that name two sets of weights."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from statistics import fmean, median
from typing import Any, NamedTuple

from repro.records.identity import canonical_json
from repro.records.record import Record

Rates = Mapping[tuple[str, ...], float]
PACE = ("dataset", "model", "precision")


class Training(NamedTuple):
    """One training of a model; the 32 or so models of an estimate of memorization count as one.

    Attributes:
        stage: `pretrain`, `retrain`, `unlearn` or `subset`; id: of the stage, or of the estimate.
        seconds: of one thread; None if no record states or implies them.
        gradients: of single examples; 0 if unknown.
        estimated: whether the seconds follow from a rate, because no record states them.
        models: how many models were trained.
        config: the settings of a run that it was trained for.
    """

    stage: str
    id: str
    seconds: float | None
    gradients: float
    estimated: bool
    models: int
    config: Mapping[str, Any]


class MeasuredModel(NamedTuple):
    """An original (`pretrain`) or retrained (`retrain`) model, its id, and the images of its accuracies."""

    stage: str
    id: str
    images: str


def trainings(records: Iterable[Record], rates: Rates) -> list[Training]:
    """Return every training behind some runs once, however many runs share it.

    A record states the seconds of the retrained and of the unlearned model. Two runs that state the same seconds for
    one id share a training; an id with two values was trained twice. The seconds of other models are estimated:

        original:       seconds of the retrained model * n / n_retain     (same rule and epochs, all n images)
        subset models:  subsets * fraction * n * epochs / rate

    Args:
        records: runs and estimates of memorization; other kinds train nothing.
        rates: gradients a second of plain SGD, see `sgd_rates`.
    """
    found: dict[tuple[str, float], Training] = {}
    originals: dict[tuple[str, float], list[Training]] = defaultdict(list)
    for record in records:
        result, config, parents = record.result, record.config, record.result.get("parents") or {}
        for stage, gradients in (("retrain", "retrain_gradient_evaluations"), ("unlearn", "gradient_evaluations")):
            if seconds := parents.get(stage) and result.get(f"seconds_{stage}"):
                whole = seconds + (result.get("seconds_mask") or 0.0) * (stage == "unlearn")
                one = Training(stage, parents[stage], whole, result.get(gradients) or 0.0, False, 1, config)
                found.setdefault((one.id, seconds), one)
        if "pretrain" in parents and not config.get("original"):
            originals[parents["pretrain"], result.get("original_test_accuracy", 0.0)].append(_original(record))
        if "subsets" in config and "inside_accuracy" in result:
            found[record.run_id, 0.0] = _subset_models(record, rates)
    return [*found.values(), *map(_mean, originals.values())]


def sgd_rates(records: Iterable[Record]) -> dict[tuple[str, ...], float]:
    """Return gradients of single examples a second: the median over models retrained by SGD, by `PACE`."""
    found: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for one in trainings(records, {}):
        if one.stage == "retrain" and one.config.get("pretrain") == "sgd" and one.seconds:
            found[_pace(one.config)].append(one.gradients / one.seconds)
    return {pace: median(rates) for pace, rates in found.items()}


def sets_of_weights(records: Iterable[Record]) -> dict[MeasuredModel, dict[float, list[str]]]:
    """Return the runs on each set of weights of a model, by test accuracy; the set of most runs comes first.

    An id says how a model is trained. Trained on two machines, it can give two sets of weights. Records without
    checksums tell them apart by the accuracy on the same test images; equal accuracies count as one set.
    """
    found: dict[MeasuredModel, dict[float, list[str]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        images = f"{record.config.get('rows_measured')} {record.config.get('n_test')}"
        for stage, role in (("pretrain", "original"), ("retrain", "retrained")):
            accuracy = record.result.get(f"{role}_test_accuracy")
            if accuracy is not None and (identity := (record.result.get("parents") or {}).get(stage)):
                found[MeasuredModel(stage, identity, images)][accuracy].append(record.run_id)
    return {model: dict(sorted(sets.items(), key=lambda one: -len(one[1]))) for model, sets in found.items()}


def runs_apart(found: Mapping[MeasuredModel, Mapping[float, list[str]]]) -> set[str]:
    """Return the runs whose original has other weights than most runs of its id."""
    others = (list(sets.values())[1:] for model, sets in found.items() if model.stage == "pretrain")
    return {run for sets in others for runs in sets for run in runs}


def mixed_settings(runs: Iterable[Record], apart: Collection[str]) -> list[dict[str, Any]]:
    """Return the settings in which some runs, not all, are in `apart`: their rules must not be compared.

    Args:
        runs: of one study; a setting is the config of a run without rule, learning rate and metrics.
        apart: ids, as `runs_apart` returns them.
    """
    sides: dict[str, set[bool]] = defaultdict(set)
    settings: dict[str, dict[str, Any]] = {}
    for run in runs:
        setting = {name: value for name, value in run.config.items() if name not in ("rule", "lr", "metrics")}
        key = canonical_json(setting)
        settings[key] = setting
        sides[key].add(run.run_id in apart)
    return [settings[key] for key, found in sides.items() if len(found) > 1]


def _original(record: Record) -> Training:
    """Return the training of a run's original, estimated from that of its retrained model."""
    result, n_retain = record.result, record.result.get("n_retain")
    if record.config.get("retrain", "pretrain") != "pretrain" or not n_retain or not result.get("seconds_retrain"):
        return Training("pretrain", result["parents"]["pretrain"], None, 0.0, True, 1, record.config)
    more = (n_retain + result["n_forget"]) / n_retain
    seconds, gradients = result["seconds_retrain"] * more, result["retrain_gradient_evaluations"] * more
    return Training("pretrain", result["parents"]["pretrain"], seconds, gradients, True, 1, record.config)


def _mean(ways: list[Training]) -> Training:
    """Return the training of one original as the mean of what several runs imply."""
    known = [one for one in ways if one.seconds is not None]
    if not known:
        return ways[0]
    return known[0]._replace(seconds=fmean(one.seconds or 0.0 for one in known))


def _subset_models(record: Record, rates: Rates) -> Training:
    config = record.config
    gradients = config["subsets"] * round(config["fraction"] * record.result["n"]) * config["epochs"]
    rate = rates.get(_pace(config))
    return Training("subset", record.run_id, rate and gradients / rate, gradients, True, config["subsets"], config)


def _pace(config: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(config.get(name)) for name in PACE)
