"""`repro empirical`: one network cell, or a grid of them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from empirical.settings.run_config import RunConfig, Runtime
from repro.commands.options import with_settings
from repro.commands.output import DEFAULT_STORE, JsonOption, StoreOption, emit, emit_json, say
from repro.records.errors import DivergedError, ReproError
from repro.records.pack import shipped
from repro.records.store import Record, Store

app = typer.Typer(help="Unlearning experiments with networks.", no_args_is_help=True, rich_markup_mode=None)
SETS = ("retain", "forget", "test")
with_runtime = with_settings(Runtime, skip=("study", "kind"))


@app.command()
@with_settings(RunConfig)
@with_runtime
def run(runtime: Runtime, config: RunConfig, store: StoreOption = DEFAULT_STORE, json: JsonOption = False) -> None:
    """Run one cell: pretrain, choose the forget set, retrain, unlearn, evaluate, record."""
    Store(store).ensure_writable()
    from empirical.runs.run import run as run_cell

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
@with_runtime
def grid(
    runtime: Runtime,
    recipe: Annotated[Path, typer.Argument(help="A recipe file, such as recipes/digits.toml.")],
    where: Annotated[
        list[str] | None, typer.Option(help="Only cells with this setting: rule=sam-0.1; repeatable.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the cells and stop.")] = False,
    max_seconds: Annotated[float | None, typer.Option(help="Start no cell after this many seconds, > 0.")] = None,
    workers: Annotated[int, typer.Option(help="Processes; 0 is one a core. Results do not depend on it.")] = 0,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Run every missing cell of a study; stopping at any time loses nothing that is finished."""
    from empirical.studies.grid import plan, run_grid
    from empirical.studies.recipe import load_recipe

    study = load_recipe(recipe).select(where or [])
    if dry_run:
        emit([_plan_row(row) for row in plan(study, Store(store))], as_json=json)
        return
    limits = {"max_seconds": max_seconds, "workers": workers or _workers(runtime)}
    report = run_grid(study, Store(store), runtime=runtime, **limits)
    _show_grid(report, json)


@app.command()
def recipes(
    folder: Annotated[Path | None, typer.Argument(help="A folder of recipes; default: the shipped ones.")] = None,
    json: JsonOption = False,
) -> None:
    """List the studies that are ready to run, how many cells each has, and which of its settings are guesses."""
    from empirical.studies.recipe import load_recipe

    paths = sorted((folder or shipped("recipes")).glob("*.toml"))
    emit([_recipe_row(path, load_recipe(path)) for path in paths], as_json=json, empty="no recipe there")


def _recipe_row(path: Path, study: Any) -> dict[str, Any]:
    cells, first = study.cells(), study.cells()[0]
    counts = {"cells": len(cells), "runs that choose": len(study.candidates())}
    names = {"dataset": first.dataset, "model": first.model, "guessed": ", ".join(study.guessed) or "-"}
    return {"recipe": path.name, "title": study.title, **names, **counts}


def _workers(runtime: Runtime) -> int:
    """Return as many processes as the cores have threads for on a CPU, a single one on a GPU."""
    import os

    import torch

    on_gpu = runtime.device == "cuda" or (runtime.device == "auto" and torch.cuda.is_available())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 1 if on_gpu else max(1, cores // (runtime.threads or cores))


def _plan_row(row: Any) -> dict[str, Any]:
    names = ("dataset", "model", "pretrain", "method", "rule", "difficulty", "seed")
    shown = {name: getattr(row.cell, name) for name in names}
    return shown | {
        "lr": row.cell.lr if row.run_id else "to choose",
        "run": row.run_id,
        "state": "done" if row.done else "missing",
        "passes": row.passes,
    }


def _show_grid(report: Any, as_json: bool) -> None:
    if as_json:
        emit_json(report)
    else:
        counts = f"{len(report.done)} computed, {len(report.found)} found, {len(report.diverged)} diverged"
        say(f"{counts}, {len(report.failed)} failed, {report.remaining} remaining, {report.seconds:.0f} s")
    if report.failed:
        identity, message = next(iter(report.failed.items()))
        failure = ReproError(f"{len(report.failed)} cells failed; the first, {identity}: {message}")
        failure.exit_code = report.failure_code
        raise failure
    if report.interrupted and not as_json:
        say("stopped early: run the same command again for the rest")
