"""`repro empirical`: one network cell, or a grid of them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from empirical.config import RunConfig, Runtime
from empirical.memorization import MemorizationConfig
from repro.cli_output import DEFAULT_STORE, JsonOption, StoreOption, emit, emit_json, say
from repro.errors import DivergedError, IntegrityError, ReproError
from repro.options import with_settings
from repro.pack import readers
from repro.store import Record, Store, pick, read_records

app = typer.Typer(help="Unlearning experiments with networks.", no_args_is_help=True, rich_markup_mode=None)
SETS = ("retain", "forget", "test")
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
DataRoot = Annotated[str, typer.Option(envvar="REPRO_DATA", help="Folder of local image files.")]
Download = Annotated[bool, typer.Option("--allow-download", help="Let torchvision fetch a missing data set.")]
Engine = Annotated[str, typer.Option(help="eager or graph: how steps run on a GPU.")]


@app.command()
@with_settings(RunConfig)
def run(
    config: RunConfig, device: Device = "auto", data_root: DataRoot = "", allow_download: Download = False,
    engine: Engine = "eager", store: StoreOption = DEFAULT_STORE, json: JsonOption = False,
) -> None:  # fmt: skip
    """Run one cell: pretrain, choose the forget set, retrain, unlearn, evaluate, record."""
    Store(store).ensure_writable()
    from empirical.pipeline import run as run_cell

    runtime = Runtime(device, data_root, allow_download, engine)
    record = run_cell(config, Store(store), runtime)
    if json:
        emit_json({"run": record.run_id, "status": record.status, **record.result})
    else:
        _show(record)
    if record.status == "diverged":
        raise DivergedError(f"run {record.run_id} diverged at {record.result['diverged_at']}; try a smaller --lr")


def _show(record: Record) -> None:
    if record.status == "ok":
        emit([_accuracies(record.result, model, prefix) for model, prefix in _MODELS.items()])
        say(f"ToW {record.result['tow']:.4f} (signed {record.result['tow_signed']:.4f})")
    say(f"record: {record.run_id}")


_MODELS = {"original (do nothing)": "original_", "unlearned": "", "retrained (the goal)": "retrained_"}


def _accuracies(result: dict[str, Any], model: str, prefix: str) -> dict[str, Any]:
    return {"model": model} | {f"{name} accuracy": f"{result[f'{prefix}{name}_accuracy']:.4f}" for name in SETS}


@app.command()
def grid(
    recipe: Annotated[Path, typer.Argument(help="A recipe file, such as recipes/digits.toml.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the cells and stop.")] = False,
    max_seconds: Annotated[float | None, typer.Option(help="Start no cell after this many seconds, > 0.")] = None,
    workers: Annotated[int, typer.Option(help="Processes, >= 1; results do not depend on it.")] = 0,
    device: Device = "auto", data_root: DataRoot = "", allow_download: Download = False, engine: Engine = "eager",
    store: StoreOption = DEFAULT_STORE, json: JsonOption = False,
) -> None:  # fmt: skip
    """Run every missing cell of a study; stopping at any time loses nothing that is finished."""
    from empirical.grid import load_recipe, plan, run_grid

    study = load_recipe(recipe)
    if dry_run:
        emit([_plan_row(row) for row in plan(study, Store(store))], as_json=json)
        return
    runtime = Runtime(device, data_root, allow_download, engine)
    report = run_grid(
        study, Store(store), max_seconds=max_seconds, runtime=runtime, workers=workers or _workers(device)
    )
    _show_grid(report, json)


def _workers(device: str) -> int:
    """Return one process for each core on a CPU, a single one on a GPU."""
    import os

    import torch

    on_gpu = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    return 1 if on_gpu else len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _plan_row(row: Any) -> dict[str, Any]:
    names = ("dataset", "model", "pretrain", "method", "rule", "difficulty", "seed")
    shown = {name: getattr(row.cell, name) for name in names}
    return shown | {"run": row.run_id, "state": "done" if row.done else "missing", "passes": row.passes}


def _show_grid(report: Any, as_json: bool) -> None:
    if as_json:
        emit_json(report)
    else:
        counts = f"{len(report.done)} computed, {len(report.found)} found, {len(report.diverged)} diverged"
        say(f"{counts}, {len(report.failed)} failed, {report.remaining} remaining, {report.seconds:.0f} s")
    if report.failed:
        identity, message = next(iter(report.failed.items()))
        raise ReproError(f"{len(report.failed)} cells failed; the first, {identity}: {message}")
    if report.interrupted and not as_json:
        say("stopped early: run the same command again for the rest")


@app.command()
@with_settings(MemorizationConfig)
def memorization(
    config: MemorizationConfig, device: Device = "auto", data_root: DataRoot = "", allow_download: Download = False,
    engine: Engine = "eager", store: StoreOption = DEFAULT_STORE, json: JsonOption = False,
) -> None:  # fmt: skip
    """Estimate memorization scores with standard errors from models trained on random subsets."""
    Store(store).ensure_writable()
    from empirical.subset_models import SubsetModels
    from empirical.workspace import Workspace

    record = SubsetModels(config, Workspace(Store(store), Runtime(device, data_root, allow_download, engine))).record()
    emit([{"number": name, "value": value} for name, value in record.result.items()], as_json=json)
    if not json:
        say(f"record: {record.run_id} (arrays: scores, errors, inside, correct)")


@app.command()
def import_index(
    path: Annotated[Path, typer.Argument(help="Row numbers to forget: .npy, or text with one a line.")],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Keep your own forget set in the store, for --difficulty index --forget-index ID."""
    Store(store).ensure_writable()
    from empirical.inputs import import_index as keep

    record = keep(path, Store(store))
    say(f"kept {record.result['n']} rows: --difficulty index --forget-index {record.run_id}")


@app.command()
def import_scores(
    path: Annotated[Path, typer.Argument(help="Published memorization scores, an .npz file with `tr_mem`.")],
    dataset: Annotated[str, typer.Option(help="The data set they belong to; labels are compared.")],
    data_root: DataRoot = "", allow_download: Download = False, store: StoreOption = DEFAULT_STORE,
) -> None:  # fmt: skip
    """Keep published memorization scores in the store, for --difficulty high --scores ID."""
    Store(store).ensure_writable()
    from empirical.inputs import import_scores as keep
    from empirical.workspace import Workspace

    runtime = Runtime(data_root=data_root, allow_download=allow_download)
    record = keep(path, RunConfig(dataset=dataset), Workspace(Store(store), runtime))
    say(f"kept {record.result['n']} scores: --scores {record.run_id}")


@app.command()
def diff(
    left: Annotated[str, typer.Argument(help="A run id, or enough of its first digits.")],
    right: Annotated[str, typer.Argument(help="Another one.")],
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Name every setting in which two network runs differ."""
    from empirical.compare import diff_runs

    records = read_records(readers(Store(store)))
    found = diff_runs(pick(records, left), pick(records, right))
    emit([vars(item) for item in found], as_json=json, empty="no setting differs")


@app.command()
def check(
    recipe: Annotated[Path, typer.Argument(help="A recipe file with expected values.")],
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Compare a study's numbers with the values its recipe expects; exit with 6 when one is out of tolerance."""
    from empirical.compare import check_study
    from empirical.grid import load_recipe

    study = load_recipe(recipe)
    chosen = [record for record in read_records(readers(Store(store)), "unlearn") if _belongs(record, study.name)]
    rows = check_study(study.expected, chosen)
    emit([_check_row(row) for row in rows], as_json=json, empty=f"{recipe} expects nothing")
    failing = [row for row in rows if not row.passes]
    if failing:
        raise IntegrityError(f"{len(failing)} of {len(rows)} expected values are not met; see the table")


def _belongs(record: Record, study: str) -> bool:
    return record.provenance.get("study") == study


def _check_row(row: Any) -> dict[str, Any]:
    expected = row.expected
    where = ", ".join(f"{name}={value}" for name, value in dict(expected.where).items())
    numbers = {"expected": expected.value, "tolerance": expected.tolerance, "observed": row.observed, "runs": row.runs}
    return {"metric": expected.metric, "where": where, **numbers, "passes": row.passes}
