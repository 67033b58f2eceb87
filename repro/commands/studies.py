"""Commands on whole studies: compute them, list the recipes, and check what a study gives."""

import dataclasses
import math
import re
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from empirical.portable import prepare_portable
from empirical.settings.run_config import Runtime
from repro.base.ending import Stopped
from repro.base.errors import IntegrityError, MissingDataError, ReproError
from repro.base.places import bundled
from repro.base.settings import check_limit, reject
from repro.commands.cluster import Launch, Wave, submit, with_launch
from repro.commands.empirical import app, cores, processes, with_runtime
from repro.records.published import readers
from repro.records.store import Store
from repro.terminal.options import several, words_of
from repro.terminal.output import DEFAULT_STORE, JsonOption, StoreOption, emit, emit_json, say

WhereOption = Annotated[list[str] | None, typer.Option(help="Only runs with this setting: rule=sam-0.1; repeatable.")]
WithoutOption = Annotated[
    list[str] | None, typer.Option(help="Metrics to leave out, `evaluate` can add them later: lira,ulira.")
]

SkipOption = Annotated[bool, typer.Option("--skip-committed", help="Leave out the runs that a published study has.")]


@app.command()
@with_launch
@with_runtime
def grid(
    runtime: Runtime,
    launch: Launch,
    recipe: Annotated[Path, typer.Argument(help="A recipe file, or the name of a built-in one: digits.")],
    where: WhereOption = None,
    without: WithoutOption = None,
    skip_committed: SkipOption = False,
    shard: Annotated[str, typer.Option(help="Only the i-th of n parts of the runs: 1/4; for fixed splits.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the runs and stop.")] = False,
    max_seconds: Annotated[
        float | None, typer.Option(help="End at the first checkpoint after this many seconds, > 0.")
    ] = None,
    workers: Annotated[
        int, typer.Option(help="Processes; 0: one per GPU, or per core without a GPU. Changes no result.", min=0)
    ] = 0,
    search_only: Annotated[
        bool, typer.Option("--search-only", help="Only trials of the learning-rate search.")
    ] = False,
    choose_only: Annotated[bool, typer.Option("--choose-only", hidden=True)] = False,  # the name before 0.3
    quiet: Annotated[bool, typer.Option("--quiet", help="Do not print a line for every finished run.")] = False,
    track: Annotated[str, typer.Option(help="Also send finished runs to tensorboard, trackio or wandb.")] = "none",
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Compute every missing run of a study; stopping at any time loses nothing that is finished."""
    from empirical.studies.recipe import load_recipe

    check_limit(max_seconds)
    part = load_recipe(recipe).select(where or []).leave_out(several(without))
    study = dataclasses.replace(part, skip_committed=skip_committed, shard=shard)
    if dry_run:
        _show_plan(study, Store(store), runtime, json)
        return
    prepare_portable(study.runs())
    if launch.executor == "slurm":
        own = [*(f"--where={one}" for one in where or []), *(f"--without={one}" for one in several(without))]
        own += ["--skip-committed"] * skip_committed
        own += [*([f"--shard={shard}"] if shard else []), f"--track={track}"]
        own += [f"--workers={workers or launch.workers}", *(["--quiet"] if quiet else [])]
        seconds = min(launch.working_seconds, max_seconds or math.inf)
        words = (*_grid_words(recipe, store, runtime, launch), *own, f"--max-seconds={seconds:g}")
        _submit(study, Store(store), runtime, launch, words, search_only=search_only or choose_only)
        return
    from empirical.studies.grid import run_grid
    from empirical.studies.watch import Watch
    from repro.terminal.watching import listeners

    count = 1 if launch.executor == "debug" else min(workers, cores()) or processes(runtime)
    limits = {"max_seconds": max_seconds, "workers": count, "search_only": search_only or choose_only}
    watch = Watch(Store(store), listeners(study.name, Store(store), quiet=quiet, track=track))
    report = run_grid(study, Store(store), runtime=runtime, watch=watch, **limits)
    _show_grid(report, json)


def _grid_words(recipe: Path, store: Path, runtime: Runtime, launch: Launch) -> tuple[str, ...]:
    """Return the command line of a job: the grid's own, on files that it finds from anywhere."""
    if launch.gpus_per_task:
        runtime = dataclasses.replace(runtime, require_gpu=True)
    place = recipe.absolute() if recipe.is_file() else recipe
    return ("empirical", "grid", str(place), f"--store={store.absolute()}", *words_of(runtime))


def _submit(
    study: Any, store: Store, runtime: Runtime, launch: Launch, words: tuple[str, ...], *, search_only: bool
) -> None:
    """Submit what a study lacks: first the trials of its search, then its runs if they are wanted."""
    from empirical.settings.run_config import KIND
    from empirical.studies.finished import Finished

    finished = Finished(readers(store))
    missing = [row.kind for row in study.resolve(finished, runtime).rows(finished) if not row.done]
    runs = missing.count(KIND)
    trials = len(missing) - runs
    waves = [Wave(f"{trials} trials of its search", (*words, "--search-only"), min(launch.tasks, trials))]
    waves += [Wave(f"{runs} runs of {study.name}", words, 0 if search_only else min(launch.tasks, runs))]
    if any(wave.jobs for wave in waves):
        submit(launch, study.name, store.root, [wave for wave in waves if wave.jobs])
    else:
        what = "trial" if search_only else "run"
        say(f"nothing to submit: every {what} of {study.name} is there")


@app.command()
@with_runtime
def status(
    runtime: Runtime,
    recipe: Annotated[Path, typer.Argument(help="A recipe file, or the name of a built-in one: digits.")],
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every five seconds until all is done.")] = False,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Show the state of a study: pending, running, done and failed runs, and the expected end.

    It reads only the store, so it works from any machine, also for the jobs of a cluster.
    """
    from empirical.studies.recipe import load_recipe
    from empirical.studies.status import status_of

    study = load_recipe(recipe)
    while True:
        found = status_of(study, Store(store), runtime)
        if json:
            emit_json(found)
        else:
            _show_status(study.name, found)
        if not watch or not found.open:
            return
        time.sleep(EVERY)


MOST_MEMORY = 1e9  # GB
EVERY = 5.0  # seconds between two looks at a study


def _show_status(name: str, found: Any) -> None:
    counts = ", ".join(f"{count} {state}" for state, count in found.counts.items())
    end = ""
    if (left := found.seconds_left) is not None:
        form = "%H:%M" if left < 43_200 else "%d %b %H:%M"
        end = f"; the last about {time.strftime(form, time.localtime(time.time() + left))}"
    say(f"{name}: {counts}{end}")
    rows = [row for row in found.rows if row.state in ("running", "failed")]
    if rows:
        emit([{"state": row.state, "run": row.run_id, "what": row.title, "where or why": row.detail} for row in rows])


@app.command()
@with_runtime
def plan(
    runtime: Runtime,
    recipe: Annotated[Path, typer.Argument(help="A recipe file, or the name of a built-in one: digits.")],
    where: WhereOption = None,
    without: WithoutOption = None,
    skip_committed: SkipOption = False,
    tasks: Annotated[
        list[str] | None, typer.Option(help="Processes that work together, each on one device, such as 1,8,64.")
    ] = None,
    memory: Annotated[float, typer.Option(help="Memory of a GPU in GB, > 0, to find the largest batch.", min=0)] = 80.0,
    images_per_second: Annotated[
        float,
        typer.Option(help="Assumed images per second on the GPU, used when no run has been measured yet.", min=0),
    ] = 0.0,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Say what a study still needs: stages by id, hours, disk, the largest batch that fits, and several processes."""
    from empirical.studies.recipe import load_recipe

    if not memory <= MOST_MEMORY:
        raise reject("memory", memory, f"in [0, {MOST_MEMORY:g}] GB")
    if not images_per_second < math.inf:
        raise reject("images_per_second", images_per_second, "a finite number >= 0", "0 takes what records say")
    part = load_recipe(recipe).select(where or []).leave_out(several(without))
    study = dataclasses.replace(part, skip_committed=skip_committed)
    found = _planned(study, Store(store), runtime, images_per_second)
    counts, configs = [task_count(text) for text in several(tasks)] or [1, 8, 64], study.runs()
    rows = [_work_row(found, work) for work in found.work.values() if work.kind in ("pretrain", "retrain", "subset")]
    if json:
        known = {"stages": rows, "counts": found.stages, "weights_bytes": found.weights_bytes, "passes": found.passes}
        hours = None if found.unmeasured else {str(count): found.hours_with(count) for count in counts}
        batches = {model: fit.images for model, fit in _batches(configs, memory)}
        open_ = {"growing": found.growing, "committed": found.committed, "unscored": list(found.unscored)}
        open_ |= {"absent": [{"setting": name, "id": one} for name, one in found.absent]}
        emit_json(known | {"hours_by_tasks": hours, "rates": _rates(found), "largest_batch": batches} | open_)
        return
    emit(rows, as_json=False, empty="no shared stage is missing")
    _say_plan(found, counts)
    for model, fit in _batches(configs, memory):
        said = f"{fit.image_bytes / 1e6:.1f} MB an image, {fit.fixed_bytes / 1e9:.2f} GB of weights and their copies"
        say(f"largest batch of {model} in {memory:g} GB: about {fit.images} images, by estimate ({said})")


def task_count(text: str) -> int:
    """Return a number of processes.

    Raises:
        ConfigError: when it is none.
    """
    if not re.fullmatch(r"[1-9]\d{0,6}", text):
        raise reject("tasks", text, "a whole number >= 1")
    return int(text)


def _planned(study: Any, store: Store, runtime: Runtime, images_per_second: float = 0.0) -> Any:
    from empirical.studies.cost import Rates, pace_of
    from empirical.studies.finished import Finished
    from empirical.studies.plan import plan

    finished = Finished(readers(store))
    configs = study.runs() or dataclasses.replace(study, shard="").runs()  # of many shards some are empty
    example = pace_of(configs[0])
    rates = Rates.known(store, finished.benchmarks, example=example, per_second=images_per_second)
    return plan(study, store, runtime, finished, rates)


def _work_row(found: Any, work: Any) -> dict[str, Any]:
    hours = found.hours_by_work[work.id]
    return {
        "stage": work.kind, "id": work.id, "dataset": work.pace.dataset, "model": work.pace.model,
        "passes": work.passes, "hours": "unknown" if hours is None else round(hours, 3),
    }  # fmt: skip


def _batches(configs: list[Any], memory: float) -> list[tuple[str, Any]]:
    """Return the largest batch that the most demanding run of each model allows."""
    from empirical.studies.cost import largest_batch

    smallest: dict[str, Any] = {}
    for config in {(c.model, c.method, c.rule, c.precision, c.dataset_options): c for c in configs}.values():
        fit = largest_batch(config, memory * 1e9)
        if fit and (config.model not in smallest or fit.images < smallest[config.model].images):
            smallest[config.model] = fit
    return list(smallest.items())


def _rates(found: Any) -> list[dict[str, Any]]:
    """Return the rate of every pace and what it was measured by."""
    paces = dict.fromkeys(work.pace for work in found.work.values())
    known = [(pace, found.rates.of(pace)) for pace in paces]
    return [{"model": pace.model, "precision": pace.precision, "edge": pace.edge, **rate._asdict()}
            for pace, rate in known if rate]  # fmt: skip


def _say_plan(found: Any, counts: list[int]) -> None:
    total = ", ".join(f"{count} {kind}" for kind, count in found.stages.items()) or "none"
    say(f"stages to train: {total}; {found.passes:.0f} passes over the training images")
    say(f"weights on disk: about {found.weights_bytes / 1e6:.0f} MB")
    if not found.stages:
        say("nothing to train")
    elif found.unmeasured:
        lacking = ", ".join(sorted(found.unmeasured))
        say(f"hours: no record says how fast {lacking} trains; `--images-per-second` of `plan` states it")
    else:
        for row in _rates(found):
            how = ", scaled by arithmetic" if row["scaled"] else ""
            pace = f"{row['per_second']:.0f}" if row["per_second"] >= 10 else f"{row['per_second']:.2g}"
            rate = f"{pace} gradients/s of {row['model']} ({row['precision']}, {row['edge']} pixels)"
            say(f"rate: {rate}, by {row['source']} on {row['device']}{how}")
        hours = [f"{found.hours_with(count):.1f} with {count}" for count in counts]
        say(f"hours of work: {found.hours_with(1):.1f}; until all is done, by processes: {', '.join(hours)}")
    if found.committed:
        say(f"{found.committed} of these runs are published: --skip-committed leaves them out")
    if found.growing:
        say(f"{found.growing} searches go on: more trials follow where the best value stands on an edge of its grid")
    if found.unseen:
        say(f"the data are not here to compare; records are those made on {', '.join(found.unseen)}")
    for name in found.unscored:
        say(f"scores of {name} are imported, not estimated: `repro records import-scores FILE --dataset {name}`")
    for name, identity in found.absent:
        command = "import-index" if name == "forget_index" else "import-scores"
        say(f"{name} {identity} is not in the store: `repro records {command} FILE` keeps it there under that id")


@app.command()
def recipes(
    folder: Annotated[Path | None, typer.Argument(help="A folder of recipes; default: the built-in ones.")] = None,
    json: JsonOption = False,
) -> None:
    """List the built-in recipes, with the number of runs and the settings that are guesses."""
    from empirical.studies.recipe import load_recipe

    paths = sorted((folder or bundled("recipes")).glob("*.toml"))
    emit([_recipe_row(path, load_recipe(path)) for path in paths], as_json=json, empty="no recipe there")


def _recipe_row(path: Path, study: Any) -> dict[str, Any]:
    configs, first = study.runs(), study.runs()[0]
    counts = {"runs": len(configs), "first trials": len(study.first_trials())}
    names = {"dataset": first.dataset, "model": first.model, "guessed": ", ".join(study.guessed) or "-"}
    return {"recipe": path.name, "title": study.title, **names, **counts}


def _show_plan(study: Any, store: Store, runtime: Runtime, as_json: bool) -> None:
    found = _planned(study, store, runtime)
    emit([_plan_row(row) for row in found.rows], as_json=as_json)
    if not as_json:
        _say_plan(found, [1, 8, 64])


def _plan_row(row: Any) -> dict[str, Any]:
    names = ("dataset", "model", "pretrain", "method", "rule", "difficulty", "seed")
    shown = {name: getattr(row.config, name) for name in names}
    return shown | {
        "kind": row.kind,
        "lr": "searching" if row.open else row.config.lr,
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
        failure = ReproError(f"{len(report.failed)} runs failed; the first, {identity}: {message}")
        failure.exit_code = report.failure_code
        raise failure
    if report.interrupted and not as_json:
        say("stopped early: run the same command again for the rest")


def not_finished(edges: list[str]) -> str:
    """Return the line that names the searches whose best value stands on an edge of its grid."""
    return f"not finished: {len(edges)} searches end on an edge of their grid ({'; '.join(edges)}); raise `furthest`"


def check(
    recipe: Annotated[Path, typer.Argument(help="A recipe file with expected values, or its name.")],
    published: Annotated[
        bool, typer.Option("--published", help="Judge the published records instead of your own runs.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Compare the numbers of your own runs with the values a study's recipe expects.

    The column `source` says where each number comes from. Each number is the mean over the runs that are there.
    It ends with 3 when there are no runs, and with 6 when a value is out of tolerance.
    It also ends with 6 when a search ends on an edge of its grid: the study is not finished then.
    """
    from empirical.studies.compare import check_study
    from empirical.studies.finished import Finished
    from empirical.studies.recipe import load_recipe
    from empirical.studies.search import edges

    study, home = load_recipe(recipe), Store(store)
    # Searches rest on published runs where the store lacks them, as those of `grid` do; the numbers never do.
    finished = Finished(readers(home)[1 if published else 0 :])
    known = study.resolve(finished, Runtime())
    there, configs = finished.usable(known.runs), known.every
    own = {head.run_id for head in home.heads()}
    there = [record for record in there if published or record.run_id in own]
    standing = edges(known.searches)
    if not there and not standing:
        remedy = f"`repro study run {recipe}` computes them"
        if published:
            raise MissingDataError(f"{study.name}: none of its runs is published; {remedy}")
        remedy += f", `repro study check {recipe} --published` judges the published records"
        raise MissingDataError(f"{study.name}: none of its runs is in the store {str(store)!r}; {remedy}")
    rows = check_study(study.expected, there, configs)
    emit([_check_row(row, store, json) for row in rows], as_json=json, empty=f"{recipe} expects nothing")
    if len(there) < len(configs):
        lacking = f"{len(configs) - len(there)} of {len(configs)} runs are not there"
        typer.echo(f"{lacking}; `repro study run {recipe}` computes them", err=json)
    if finished.unseen and not json:
        say(f"the data are not here to compare; records are those made on {', '.join(sorted(finished.unseen))}")
    if standing:
        raise IntegrityError(not_finished(standing))
    failing = [row for row in rows if not row.passes]
    if failing:
        raise IntegrityError(f"{len(failing)} of {len(rows)} expected values are not met; see the table")


def _check_row(row: Any, store: Path, as_json: bool) -> dict[str, Any]:
    expected = row.expected
    where = ", ".join(f"{name}={value}" for name, value in dict(expected.where).items())
    numbers = {"expected": expected.value, "tolerance": expected.tolerance, "observed": row.observed}
    runs = {"runs": row.runs, "of": row.of} if as_json else {"there": f"{row.runs} of {row.of} runs"}
    source = {"source": str(store) if row.source == "runs" else row.source}
    return {"metric": expected.metric, "where": where, **numbers, **runs, **source, "passes": row.passes}
