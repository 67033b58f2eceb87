"""Commands on whole studies: grids of cells, the recipes there are, and what a study should give."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from empirical.settings.run_config import Runtime
from repro.base.ending import Stopped
from repro.base.errors import IntegrityError, ReproError
from repro.commands.empirical import app, cores, processes, with_runtime
from repro.records.pack import readers
from repro.records.shipped import shipped
from repro.records.store import Store
from repro.terminal.output import DEFAULT_STORE, JsonOption, StoreOption, emit, emit_json, say


@app.command()
@with_runtime
def grid(
    runtime: Runtime,
    recipe: Annotated[Path, typer.Argument(help="A recipe file, or the name of a shipped one: digits.")],
    where: Annotated[
        list[str] | None, typer.Option(help="Only cells with this setting: rule=sam-0.1; repeatable.")
    ] = None,
    shard: Annotated[str, typer.Option(help="Only the i-th of n parts of the cells: 1/4; for fixed splits.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the cells and stop.")] = False,
    max_seconds: Annotated[
        float | None, typer.Option(help="End at the next checkpoint after so many seconds, > 0.")
    ] = None,
    workers: Annotated[
        int, typer.Option(help="Processes; 0 is one a GPU, or one a core without. No number depends on it.", min=0)
    ] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing of single cells.")] = False,
    track: Annotated[str, typer.Option(help="Also send finished runs to tensorboard, trackio or wandb.")] = "none",
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Run every missing cell of a study; stopping at any time loses nothing that is finished."""
    from empirical.studies.recipe import load_recipe

    study = dataclasses.replace(load_recipe(recipe).select(where or []), shard=shard)
    if dry_run:
        _show_plan(study, Store(store), runtime, json)
        return
    from empirical.studies.grid import run_grid
    from empirical.studies.watch import Watch
    from repro.terminal.watching import listeners

    limits = {"max_seconds": max_seconds, "workers": min(workers, cores()) or processes(runtime)}
    watch = Watch(Store(store), listeners(study.name, Store(store), quiet=quiet, track=track))
    report = run_grid(study, Store(store), runtime=runtime, watch=watch, **limits)
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


def _show_plan(study: Any, store: Store, runtime: Runtime, as_json: bool) -> None:
    from empirical.studies.finished import Finished
    from empirical.studies.plan import plan

    found = plan(study, store, runtime, Finished(readers(store)))
    emit([_plan_row(row) for row in found.rows], as_json=as_json)
    if as_json:
        return
    counts = ", ".join(f"{count} {kind}" for kind, count in found.stages.items()) or "none"
    say(f"stages to train: {counts}; {found.passes:.0f} passes over the training images")
    say(f"weights kept on disk: about {found.weights_bytes / 1e6:.0f} MB")
    say(_hours(found))
    if found.growing:
        say(f"{found.growing} choices are still to be made: more runs follow where a winner stands on an edge")
    if found.unseen:
        say(f"the data are not here to compare; records are those made on {', '.join(found.unseen)}")


def _hours(found: Any) -> str:
    """Return how long training takes one process here, by the rates of the stages in the store."""
    if not found.stages:
        return "nothing to train"
    if found.unmeasured:
        return f"hours: the store has no finished stage of {', '.join(sorted(found.unmeasured))} to measure a rate by"
    return f"training: about {found.hours:.1f} hours of one process, at the median rate of the store's own stages"


def _plan_row(row: Any) -> dict[str, Any]:
    names = ("dataset", "model", "pretrain", "method", "rule", "difficulty", "seed")
    shown = {name: getattr(row.cell, name) for name in names}
    return shown | {
        "kind": row.kind,
        "lr": "to choose" if row.open else row.cell.lr,
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
    if report.edges and not as_json:
        say(not_finished(report.edges))
    if report.signal:
        raise Stopped(report.signal)
    if report.failed:
        identity, message = next(iter(report.failed.items()))
        failure = ReproError(f"{len(report.failed)} cells failed; the first, {identity}: {message}")
        failure.exit_code = report.failure_code
        raise failure
    if report.interrupted and not as_json:
        say("stopped early: run the same command again for the rest")


def not_finished(edges: list[str]) -> str:
    """Return the line that names the choices whose winner stands on an edge of its grid."""
    return f"not finished: {len(edges)} choices stand on an edge of their grid ({'; '.join(edges)}); raise `furthest`"


def check(
    recipe: Annotated[Path, typer.Argument(help="A recipe file with expected values, or its name.")],
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Compare a study's numbers with the values its recipe expects; exit with 6 when one is out of tolerance.

    A study with a choice whose winner stands on an edge of its grid is not finished, which is 6 too.
    """
    from empirical.studies.choice import edges
    from empirical.studies.compare import check_study
    from empirical.studies.finished import Finished
    from empirical.studies.plan import finished_cells
    from empirical.studies.recipe import load_recipe

    study = load_recipe(recipe)
    finished = Finished(readers(Store(store)))
    rows = check_study(study.expected, finished_cells(study, finished, Runtime()))
    emit([_check_row(row) for row in rows], as_json=json, empty=f"{recipe} expects nothing")
    if finished.unseen and not json:
        say(f"the data are not here to compare; records are those made on {', '.join(sorted(finished.unseen))}")
    standing = edges(study.decisions(finished, Runtime()).values())
    if standing:
        raise IntegrityError(not_finished(standing))
    failing = [row for row in rows if not row.passes]
    if failing:
        raise IntegrityError(f"{len(failing)} of {len(rows)} expected values are not met; see the table")


def _check_row(row: Any) -> dict[str, Any]:
    expected = row.expected
    where = ", ".join(f"{name}={value}" for name, value in dict(expected.where).items())
    numbers = {"expected": expected.value, "tolerance": expected.tolerance, "observed": row.observed, "runs": row.runs}
    return {"metric": expected.metric, "where": where, **numbers, "passes": row.passes}
