"""`repro run`, more metrics for finished runs, and files that a user brings."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from empirical.portable import prepare_portable
from empirical.registry import names
from empirical.settings.run_config import FLOOR, KIND, KINDS, MemorizationConfig, RunConfig, Runtime
from repro.base.errors import DivergedError
from repro.base.places import published_files
from repro.base.settings import build
from repro.records.identity import plain
from repro.records.published import PublishedStudy, readers
from repro.records.record import EVALUATION, Record, pick, read_records
from repro.records.store import Store
from repro.study.study import load_study
from repro.terminal.options import SET, several, with_settings
from repro.terminal.output import DEFAULT_STORE, JsonOption, StoreOption, emit, emit_json, say

app = typer.Typer(help="Unlearning experiments with networks.", no_args_is_help=True, rich_markup_mode="rich")
SETS = ("retain", "forget", "test")
COMPUTING = "Where and how it is computed"
with_runtime = with_settings(
    Runtime, skip=("study", "kind"),
    panels={COMPUTING: tuple(name for name in Runtime.__dataclass_fields__ if name not in ("study", "kind"))},
)  # fmt: skip
PANELS = {
    "Basics": (
        "dataset", "model", "method", "method_options", "rule", "alpha", "epochs", "lr", "seed", "metrics",
        "attack_size",
    ),
    "What is forgotten": (
        "difficulty", "forget_fraction", "forget_class", "forget_index", "forget_seed", "scores", "subsets",
    ),
    "The original and the retrained model": (
        "original", "pretrain", "retrain", "pretrain_epochs", "pretrain_lr", "pretrain_batch_size",
        "pretrain_optimizer",
    ),
    "Data and training": (
        "dataset_options", "n_train", "n_test", "data", "augment", "corruption", "batch_size", "batch_parts",
        "perturbation", "sync_batchnorm", "optimizer", "precision", "portable", "preset", "switches",
    ),
}  # fmt: skip


# With one of these given, the forget set is the one that was named.
FORGETTING = ("difficulty", "scores", "subsets", "subset_model", "subset_epochs", "subset_precision", "subset_portable")


@app.command()
@with_settings(
    RunConfig, panels=PANELS,
    shown={"difficulty": "high where published memorization scores give it, else random",
           "lr": "the published search's for the same setting, else 0.02",
           "epochs": "the published search's, else 5", "batch_size": "the published search's, else 64",
           "pretrain_epochs": "the published search's, else 15"},
    choices={field: names(kind) for field, kind in KINDS.items()} | {"metrics": names("metrics")},
)  # fmt: skip
@with_runtime
def run(
    runtime: Runtime, config: RunConfig, context: typer.Context, store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:  # fmt: skip
    """Run one experiment: pretrain, choose the forget set, retrain, unlearn, evaluate, record.

    The table compares the unlearned model with doing nothing (the original model) and with retraining.
    Under torchrun its processes train every stage together (`--batch-parts`), and the first one writes and prints.
    """
    Store(store).ensure_writable()
    from empirical.studies.finished import hard_to_forget

    if not any(_given(context, name) for name in FORGETTING):
        config = hard_to_forget(config, runtime)
    if not any(_given(context, name) for name in SEARCHED):
        config = as_searched(config)
    prepare_portable([config])
    from empirical.runs.resources import Resources
    from empirical.runs.run import run as run_config
    from empirical.training.together import torchrun_processes

    with torchrun_processes(runtime.device) as group:
        record = run_config(config, Store(store), resources=Resources(Store(store), runtime, group=group))
    if not group.first:
        return
    if json:
        emit_json({"run": record.run_id, "status": record.status, **record.result})
    else:
        _show(record, Store(store))
    if record.status == "diverged":
        raise DivergedError(f"run {record.run_id} diverged at {record.result['diverged_at']}; try a smaller --lr")


# What a published search found, or held fixed while it looked; with one of these given, none of it is taken.
SEARCHED = ("lr", "epochs", "batch_size", "forget_batch_size", "pretrain_epochs")
ALIKE = (
    "dataset_options", "n_train", "model", "method", "method_options", "rule", "alpha", "pretrain", "difficulty",
    "forget_fraction", "optimizer", "schedule", "mask_fraction", "corruption", "precision", "preset", "switches",
)  # fmt: skip


def as_searched(config: RunConfig) -> RunConfig:
    """Return the config with the rate, epochs and batch sizes that the search with most seeds found."""
    found: dict[RunConfig, int] = {}
    usual, wanted = plain(RunConfig()), plain(config)
    for record in read_records(map(PublishedStudy, published_files()), KIND):
        known = usual | record.config
        if "choice" in record.result and all(known[name] == wanted[name] for name in ("dataset", *ALIKE)):
            other = build(RunConfig, record.config)
            found[other] = len(record.result["choice_details"].get("more_seeds", ()))
    if not found:
        return config
    best = max(found, key=found.__getitem__)
    return replace(config, **{name: getattr(best, name) for name in SEARCHED})


def _given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    named = {text.partition("=")[0] for text in context.params.get(SET) or ()}
    return name in named or (source is not None and source.name != "DEFAULT")


def _show(record: Record, store: Store) -> None:
    """Print a run: its models in rows, one sentence that judges it, and what it lacks."""
    result = record.result
    if record.status == "ok":
        if "difficulty" in result.get("labels", {}):
            chosen = f"{result['n_forget']} images of difficulty {result['labels']['difficulty']}"
            say(f"forget set: {chosen}; --difficulty chooses another")
            say(f"lr {record.config['lr']:g}, {record.config['epochs']} epochs; --lr and --epochs choose others")
        rows = [_model_row("unlearned", result), _model_row("do nothing (the original)", result, "original_")]
        if other := _another_retrained(record, store):
            rows.append(_model_row("another retrained model", other.result))
        if "retrained_test_accuracy" in result:
            rows.append(_model_row("retrained (the goal)", {"retrained_tow": 1.0} | result, "retrained_"))
        emit(rows)
        if "tow" in result:
            from empirical.metrics.closeness import judgement

            say(judgement(result))
        if other:
            say(f"Two retrained models differ by {1 - other.result['tow']:.4f} ToW: a smaller difference is noise.")
        for name, reason in result.get("absent_metrics", {}).items():
            say(f"no {name}: {reason}")
    say(f"record: {record.run_id}")


def _model_row(model: str, result: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    names = {"tow": "ToW"} | {f"{name}_accuracy": f"{name} accuracy" for name in SETS}
    found = {title: result.get(prefix + name) for name, title in names.items()}
    return {"model": model} | {title: None if value is None else f"{value:.4f}" for title, value in found.items()}


def _another_retrained(record: Record, store: Store) -> Record | None:
    """Return the run of a second retrained model in the store, measured against the same one as this run."""

    def second(other: Record) -> bool:
        known, there = record.result["parents"], other.result.get("parents", {})
        same = all(there.get(name) == known.get(name) for name in ("retrain", "forget_set"))
        same = same and other.result.get("rows_measured") == record.result.get("rows_measured")
        return other.status == "ok" and same and there["unlearn"] != there["retrain"] and "tow" in other.result

    if "retrain" not in record.result.get("parents", {}):
        return None
    others = (one for one in store.records(KIND, FLOOR) if one.config.get("method") == "retrain")
    alike = (one for one in others if one.config["rule"] == build(RunConfig, one.config).retrain_rule)
    return next((one for one in alike if one.run_id != record.run_id and second(one)), None)


@app.command()
@with_runtime
def evaluate(
    runtime: Runtime,
    what: Annotated[str, typer.Argument(help="A finished run (its id, or enough of its first digits) or a recipe.")],
    metrics: Annotated[str, typer.Option(help="Metrics to add, separated by commas, such as hessian,landscape.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A metric's setting: landscape_points=25; repeatable.")
    ] = None,
    retrain: Annotated[bool, typer.Option("--retrain", help="Train models again if their weights are gone.")] = False,
    workers: Annotated[int, typer.Option(help="Processes; 0: one per GPU, or per core without a GPU.", min=0)] = 0,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Add metrics to finished runs. Nothing is trained, except with --retrain."""
    from empirical.studies.measure import measure_runs, runs_of

    records = runs_of(what, Store(store), runtime)
    prepare_portable(build(RunConfig, record.config) for record in records)
    added = several([metrics])
    limits = {"settings": settings or [], "retrain": retrain, "workers": min(workers, cores()) or processes(runtime)}
    measured = measure_runs(records, added, Store(store), runtime, **limits)
    if what.endswith(".toml"):
        Store(store).lists.add(load_study(what).name, (record for record in measured if record.kind == EVALUATION))
    rows = [_measured_row(record, added) for record in measured]
    if len(measured) == 1 and json:
        emit_json({"run": measured[0].run_id, "status": measured[0].status, **measured[0].result})
    else:
        emit(rows, as_json=json)


def _measured_row(record: Record, metrics: list[str]) -> dict[str, Any]:
    """Return the run or the pooled runs, and the first numbers that the added metrics gave."""
    mine = {name.split("_")[0] for name in metrics}
    names = [key for key in record.result if mine & {*key.split("_")}]
    numbers = [f"{key} {record.result[key]:.4g}" for key in names if isinstance(record.result[key], float)]
    return {"run": record.run_id, "kind": record.kind, "numbers": ", ".join(numbers[:4]) or "arrays"}


def processes(runtime: Runtime) -> int:
    """Return as many processes as the cores have threads for on a CPU, one a GPU where there are any."""
    import torch

    if runtime.device.startswith("cuda:"):
        return 1
    gpus = torch.cuda.device_count() if runtime.device != "cpu" and torch.cuda.is_available() else 0
    return gpus or (1 if runtime.device == "cuda" else max(1, cores() // (runtime.threads or cores())))


def cores() -> int:
    """Return how many cores this process may use: more processes than that only take turns."""
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@app.command()
@with_settings(MemorizationConfig)
@with_runtime
def memorization(
    runtime: Runtime, config: MemorizationConfig, store: StoreOption = DEFAULT_STORE, json: JsonOption = False
) -> None:
    """Estimate memorization scores with standard errors from models trained on random subsets."""
    Store(store).ensure_writable()
    prepare_portable([config])
    from empirical.runs.resources import Resources
    from empirical.runs.subset_models import SubsetModels

    resources = Resources(Store(store), runtime)
    resources.take_device(portable=config.portable)
    config = replace(config, data=resources.identified(config.training()).data)
    record = SubsetModels(config, resources).record()
    emit([{"number": name, "value": value} for name, value in record.result.items()], as_json=json)
    if not json:
        say(f"record: {record.run_id} (arrays: scores, errors, inside, correct)")


@app.command()
def import_index(
    path: Annotated[Path, typer.Argument(help="Row numbers to forget (.npy or text), or a table for --where.")],
    where: Annotated[
        str, typer.Option(help="Forget the rows of a .csv or .parquet table with this condition: 'age >= 60'.")
    ] = "",
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Store your own forget set, for --difficulty index --forget-index ID."""
    Store(store).ensure_writable()
    from empirical.runs.imports import import_index as save

    record = save(path, Store(store), where=where)
    say(f"saved {record.result['n']} rows: --difficulty index --forget-index {record.run_id}")


@app.command()
@with_settings(Runtime, skip=tuple({*Runtime.__dataclass_fields__} - {"data_root", "allow_download", "readers"}))
def import_scores(
    runtime: Runtime,
    path: Annotated[Path, typer.Argument(help="Published memorization scores, an .npz file with `tr_mem`.")],
    dataset: Annotated[str, typer.Option(help="Their data set; labels are compared.")],
    dataset_options: Annotated[str, typer.Option(help="Settings of the data set, such as size=64.")] = "",
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Store published memorization scores, for --difficulty high --scores ID."""
    Store(store).ensure_writable()
    from empirical.runs.imports import import_scores as save
    from empirical.runs.resources import Resources

    config = RunConfig(dataset=dataset, dataset_options=dataset_options)
    record = save(path, config, Resources(Store(store), runtime))
    say(f"saved {record.result['n']} scores: --scores {record.run_id}")


@app.command()
def diff(
    left: Annotated[str, typer.Argument(help="A run id, or enough of its first digits.")],
    right: Annotated[str, typer.Argument(help="The run to compare it with.")],
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """List every setting in which two network runs differ."""
    from empirical.studies.compare import diff_runs

    records = read_records(readers(Store(store)))
    found = diff_runs(pick(records, left), pick(records, right))
    emit([vars(one) for one in found], as_json=json, empty="no setting differs")
