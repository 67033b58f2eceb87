"""`repro theory`: exact theory at one setting, the paper's claims, and sweeps."""

import dataclasses
import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from repro.base.errors import ConfigError
from repro.base.files import replace_file
from repro.base.settings import choose
from repro.commands.cluster import Launch, Wave, submit, with_launch
from repro.commands.empirical import cores
from repro.records.published import readers
from repro.records.record import Record, read_records
from repro.records.store import Store
from repro.terminal.options import several, with_settings, words_of
from repro.terminal.output import DEFAULT_STORE, JsonOption, StoreOption, draw_figures, emit, emit_json, say
from theory.config import SWEEP_NAMES, ClaimConfig, SweepConfig, TheoryConfig

app = typer.Typer(help="Exact theory of the two-layer network, at any dimension.", rich_markup_mode="rich")
SETTING = ("signal_strength", "pretrain", "unlearn")  # an option of its own, or every rule in turn
MASK = ("mask_fraction", "mask_refresh")  # of Sharp MinMax, which only sweeps and claims run
MEASURED = ("curvature", "attacks")  # what a simulation measures where it is asked to
# Forget error is always shown with test error: a model that forgot nothing has the best test error.
TRUST = "[ ] of a prediction: the interval that contains the simulation in nine of ten settings (repro theory validity)"
COLUMNS = (
    "test_error",
    "test_error_quadrature",
    "forget_error",
    "retain_error",
    "kappa_retain",
    "kappa_forget",
    "zeta_retain",
    "zeta_forget",
)
STRENGTH_HELP = (
    "Signal strength s, dimensionless: |phi| in units of (P-1) sigma_p (d/n)^(1/4), default 0.5; "
    "SGD's boundary lies near 0.93. Give this or --signal-norm."
)
Strength = Annotated[float | None, typer.Option("--signal-strength", help=STRENGTH_HELP, rich_help_panel="Basics")]
Norm = Annotated[float | None, typer.Option("--signal-norm", help="|phi| itself, in input units, > 0.")]


PANELS = {
    "Basics": (
        "method",
        "alpha",
        "epochs",
        "pretrain_epochs",
        "seeds",
        "first_seed",
        "rho_scale",
        "pretrain_rho_scale",
    ),
    "Data and network": ("d", "n", "n_forget", "m", "batch_size", "noise", "forget_angle", "draw", "directions"),
}


Rho = Annotated[float | None, typer.Option("--rho", help="SAM radius of unlearning in absolute units, >= 0.")]
PretrainRho = Annotated[float | None, typer.Option("--pretrain-rho", help="The same for pretraining, in those units.")]

AllFiles = Annotated[bool, typer.Option("--all-files", help="Draw PDF and CSV too.")]


@app.callback(invoke_without_command=True)
@with_settings(TheoryConfig, skip=(*SETTING, *MASK), panels=PANELS)
def theory(
    config: TheoryConfig, context: typer.Context, signal_strength: Strength = None, signal_norm: Norm = None,
    rho: Rho = None, pretrain_rho: PretrainRho = None,
    all_files: AllFiles = False, store: StoreOption = DEFAULT_STORE, json: JsonOption = False,
) -> None:  # fmt: skip
    """Run pretraining {SGD, SAM} x unlearning {SGD, SAM} and print test and forget error side by side."""
    if context.invoked_subcommand is not None:
        sources = {name: context.get_parameter_source(name) for name in context.params}
        if misplaced := next((name for name, source in sources.items() if source and source.name == "COMMANDLINE"), ""):
            option, behind = f"--{misplaced.replace('_', '-')}", context.invoked_subcommand
            raise ConfigError(f"{option}: must stand behind `{behind}`, as in `repro theory {behind} {option} ...`")
        return
    config = _setting(config, context, (signal_strength, signal_norm), (rho, pretrain_rho))
    records = _study(config, Store(store))
    gc.freeze()  # what is loaded stays to the end: the collector looks through it neither while drawing nor at exit
    _show_study(config, records, as_json=json)
    if not json:
        # A folder of its own, so that the figures of two settings stand side by side.
        folder = store / "figures" / f"theory-{records[0].run_id}"
        from figures.tables.records import Given, Records

        draw_figures(["fig-theory-trajectories"], Given(Records(records)), folder, brief=not all_files)


def _setting(
    config: TheoryConfig, context: typer.Context, signal: tuple[float | None, float | None],
    radii: tuple[float | None, float | None],
) -> TheoryConfig:  # fmt: skip
    """Return the config at a signal given as strength or norm, and at absolute radii where any is given.

    Raises:
        ConfigError: for a signal or a radius that is given in both units.
    """
    fields = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    fields.pop("signal_strength")
    config = TheoryConfig.with_signal(signal_strength=signal[0], signal_norm=signal[1], **fields)
    rho, pretrain_rho = radii
    for name, radius in {"rho": rho, "pretrain_rho": pretrain_rho}.items():
        source = context.get_parameter_source(f"{name}_scale")
        if radius is not None and source is not None and source.name == "COMMANDLINE":
            both = f"{name} = {radius} and {name}_scale = {getattr(config, f'{name}_scale')}"
            raise ConfigError(
                f"{both}: give one of the two; {name} is the radius itself, {name}_scale in units of rho_th"
            )
    return config.at_radius(rho, pretrain_rho)


def _study(config: TheoryConfig, store: Store) -> list[Record]:
    store.ensure_writable()
    from theory.study import run_study

    return run_study(config, store)


def _show_study(config: TheoryConfig, records: Sequence[Record], *, as_json: bool) -> None:
    from theory.study import summarize

    rows = summarize(records)
    if as_json:
        emit_json({"records": [record.run_id for record in records], "rows": rows})
        return
    say(f"signal strength {config.signal_strength:g} (|phi| = {config.signal_norm:.4g}), {config.seeds} seeds")
    emit([line for row in rows for line in _pretty(row)])
    if any(row["prediction"] for row in rows):
        say(TRUST)
    say("records: " + " ".join(record.run_id for record in records))


def _pretty(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the lines of a setting: each metric as mean ± standard error, and below it the prediction."""
    shown = {name: row[name] for name in ("pretrain", "unlearn", "status")}
    lines = [shown | {name: _text(name, row) for name in COLUMNS}]
    if row["prediction"]:
        found = {name: _predicted(name, row["prediction"]) for name in COLUMNS}
        lines.append({"pretrain": "", "unlearn": "", "status": "predicted"} | found)
    return lines


def _text(name: str, values: dict[str, Any]) -> str:
    """Return a metric with its standard error, if it has one; the small error of the quadrature with a digit more."""
    value = values.get(name)
    if name.endswith("_quadrature") and value is not None:
        return f"{value:.4f}"
    return _with_error(value, values.get(f"{name}_se"))


def _with_error(mean: float | None, error: float | None) -> str:
    if mean is None:
        return "-"
    return f"{mean:.3f}" if error is None else f"{mean:.3f} ± {error:.3f}"


@app.command()
@with_settings(
    TheoryConfig, skip=(*SETTING, *MASK, *MEASURED, "seeds", "first_seed", "draw", "probe_rho_scale"), panels=PANELS
)
def predict(
    config: TheoryConfig, context: typer.Context, signal_strength: Strength = None, signal_norm: Norm = None,
    rho: Rho = None, pretrain_rho: PretrainRho = None, json: JsonOption = False,
) -> None:  # fmt: skip
    """Predict the same table without simulating anything, and the boundary of SGD, at any dimension in a second."""
    config = _setting(config, context, (signal_strength, signal_norm), (rho, pretrain_rho))
    from theory.predict import outlook

    found = outlook(config)
    if json:
        emit_json(found)
        return
    say(f"signal strength {config.signal_strength:g} (|phi| = {config.signal_norm:.4g}), d = {config.d:g}, predicted")
    emit([{name: row[name] for name in ("pretrain", "unlearn")} | {name: _predicted(name, row) for name in COLUMNS}
          for row in found["rows"]])  # fmt: skip
    drives = found["drives"]
    say(f"signal drive Y = {drives['Y']:.4g}, noise drive X = {drives['X']:.4g} (active share {drives['a']:.3f})")
    strength, exponent = found["boundary"]["signal_strength"], found["boundary"]["exponent_of_d"]
    say("boundary of SGD (test error 0.1): none between s = 0.001 and 1000" if strength != strength else
        f"boundary of SGD (test error 0.1): s* = {strength:.3f}, |phi|* ~ d^{exponent:.3f} here")  # fmt: skip
    say(TRUST)


def _predicted(name: str, values: dict[str, Any]) -> str:
    """Return a predicted metric, with its interval if it has one."""
    low, high = (values.get(f"{name}_{end}") for end in ("low", "high"))
    return _text(name, values) + (f" [{low:.3f}, {high:.3f}]" if low is not None and high is not None else "")


@app.command()
@with_settings(
    TheoryConfig,
    skip=(*SETTING, *MASK, *MEASURED, "alpha", "checkpoint_every", "stop_forget_error", "probe_rho_scale"),
    panels=PANELS,
)
def alpha(
    config: TheoryConfig, context: typer.Context, signal_strength: Strength = None, signal_norm: Norm = None,
    rho: Rho = None, pretrain_rho: PretrainRho = None, store: StoreOption = DEFAULT_STORE, json: JsonOption = False,
) -> None:  # fmt: skip
    """Print the smallest retain weight alpha that keeps test error at 0.1, predicted and by bisection in simulation."""
    config = _setting(config, context, (signal_strength, signal_norm), (rho, pretrain_rho))
    Store(store).ensure_writable()
    from theory.benign import benign_alpha

    record = benign_alpha(config, Store(store))
    if json:
        emit_json({"record": record.run_id, "rows": record.result["rows"]})
        return
    say(f"signal strength {config.signal_strength:g} (|phi| = {config.signal_norm:.4g}), {config.epochs} epochs, "
        f"rho = {config.rho_scale:g} rho_th, {config.seeds} seeds")  # fmt: skip
    emit([_alpha_line(row) for row in record.result["rows"]])
    smallest = [row["predicted"] for row in record.result["rows"] if row.get("predicted") is not None]
    if smallest:
        from theory.predict import WEAK_ALPHA

        if min(smallest) < WEAK_ALPHA:
            say(f"a predicted alpha below {WEAK_ALPHA:g} is often wrong: trust the simulated one")
    say("smallest alpha to 0.005 with mean test error <= 0.1; none: not even alpha = 1, whose errors are shown")
    say(f"record: {record.run_id}")


def _alpha_line(row: dict[str, Any]) -> dict[str, Any]:
    """Return one line: both alphas, each with the forget error there, and the test error of the simulation."""
    line = {name: row[name] for name in ("pretrain", "rule")}
    for how in ("predicted", "simulated"):
        if how in row:
            value = row[how]
            line[f"alpha {how}"] = "none" if value is None else f"{value:.3f}"
            line[f"forget error {how}"] = _with_error(row[f"{how}_forget_error"], row[f"{how}_forget_error_se"])
    return line | {"test error": _with_error(row["simulated_test_error"], None)}


@app.command()
def validity(
    seeds: Annotated[int, typer.Option(min=2, help="Independent seeds of every setting.")] = 20,
    first_seed: Annotated[int, typer.Option(min=0, help="First seed.")] = 0,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Compare predictions with simulations of random settings; print how often the intervals contain them."""
    Store(store).ensure_writable()
    from theory.checks.validity import run_validity

    record = run_validity(Store(store), seeds=seeds, first_seed=first_seed)
    emit(record.result["coverage"], as_json=json)
    if not json:
        say(f"record: {record.run_id}; every setting: repro records show {record.run_id} --json")


@app.command()
def accuracy(
    seeds: Annotated[int, typer.Option(min=2, help="Independent seeds of every setting.")] = 20,
    first_seed: Annotated[int, typer.Option(min=0, help="First seed.")] = 0,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Compare the test error with the one from 32,768 points, in named and random settings."""
    Store(store).ensure_writable()
    from theory.checks.accuracy import run_accuracy
    from theory.tables import rows_of

    record = run_accuracy(Store(store), seeds=seeds, first_seed=first_seed)
    rows = rows_of(record)
    short = [
        {name: f"{value:.5f}" if isinstance(value, float) else value for name, value in row.items()} for row in rows
    ]
    emit(rows if json else short, as_json=json)
    if not json:
        say(f"largest bias {record.result['largest_bias']:.5f}, rms {record.result['rms_bias']:.5f}, of means over "
            f"{seeds} seeds; record: {record.run_id}")  # fmt: skip


WorkersOption = Annotated[int, typer.Option(help="Processes; 1: a thread per core instead. Changes no result.", min=1)]


def _away(launch: Launch, name: str, store: Path, words: list[str], workers: int) -> bool:
    """Submit a command to the cluster if that is asked for, and return whether it was."""
    if launch.executor == "slurm":
        line = ("theory", *words, f"--store={store.absolute()}", f"--workers={max(workers, launch.workers, 1)}")
        submit(launch, name, store, [Wave(name, line, launch.tasks)])
    return launch.executor == "slurm"


@app.command()
@with_launch
def claims(
    launch: Launch,
    names: Annotated[list[str] | None, typer.Argument(help="Claims to check; all when none is named.")] = None,
    seeds: Annotated[int, typer.Option(help="Independent seeds of every claim, at least 2.")] = 40,
    first_seed: Annotated[int, typer.Option(help="First seed; another value repeats the check on new draws.")] = 0,
    workers: WorkersOption = 1,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Print answer, effect, interval and a sentence to quote for each claim; only missing records are computed.

    Every simulated setting is stored: a stopped command continues, and several commands share the work.
    """
    from theory.claims.claim import EVERYTHING, KIND, MEASUREMENT, run_claims

    chosen = [choose("claim", name, EVERYTHING) for name in several(names)]
    ClaimConfig(seeds=seeds, first_seed=first_seed)  # refused here, not by a job that waited for its turn
    if _away(launch, "claims", store, ["claims", *chosen, f"--seeds={seeds}", f"--first-seed={first_seed}"], workers):
        return
    workers = 1 if launch.executor == "debug" else min(workers, cores())
    known = read_records(readers(Store(store)), KIND, MEASUREMENT)
    records = run_claims(Store(store), seeds=seeds, names=chosen or None, first_seed=first_seed,
                         known=known, workers=workers)  # fmt: skip
    rows = [claim_row(record) for record in records]
    brief = [{name: row[name] for name in row if name not in ("regime", "beyond", "change")} for row in rows]
    emit(rows if json else brief, as_json=json)


@app.command()
def laws(
    output: Annotated[Path | None, typer.Option(help="Markdown file to write; the page is printed without it.")] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Print the laws of the theory as one table, from the records of the claims."""
    from figures.tables.records import Records
    from figures.tables.theory import claim_records
    from theory.claims.claim import KIND, MEASUREMENT
    from theory.claims.laws import page

    found = Records(read_records(readers(Store(store)), KIND, MEASUREMENT))
    records = claim_records(found) | claim_records(found, kind=MEASUREMENT)
    text = page({name: record.result for name, record in records.items()})
    if output is None:
        say(text)
    else:
        replace_file(output, text.encode())


def claim_row(record: Record) -> dict[str, Any]:
    """Return one line of the table of answers."""
    result = record.result
    low, high = result["interval"]
    return {
        "claim": result["title"],
        "answer": result["answer"],
        "estimate": result["estimate"],
        "interval": f"[{low:.3g}, {high:.3g}]" if low is not None else "-",
        "seeds": result["seeds"],
        "sentence": result["sentence"],
        "change": result["change"],
        "regime": result["regime"],
        "beyond": result["beyond"],
        "run": f"{record.source}/{record.run_id}",
    }


@app.command()
@with_launch
@with_settings(SweepConfig, skip=("sweep",))
def sweep(
    config: SweepConfig,
    launch: Launch,
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(SWEEP_NAMES)}.")],
    workers: WorkersOption = 1,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Run one sweep; a second call continues where the first stopped. Repeat an option for several values."""
    chosen = dataclasses.replace(config, sweep=name)
    Store(store).ensure_writable()
    from theory.claims.sweep import run_sweep, with_axes

    with_axes(name, chosen)
    if _away(launch, f"sweep-{name}", store, ["sweep", name, *words_of(config, skip=("sweep",))], workers):
        return
    workers = 1 if launch.executor == "debug" else min(workers, cores())
    record = run_sweep(name, chosen, Store(store), workers=workers)
    emit(_sweep_rows(record, everything=json), as_json=json)
    if not json:
        say(f"record: {record.run_id}; every column: {store / 'sweeps' / f'{record.run_id}.parquet'}")


def _sweep_rows(record: Record, *, everything: bool) -> list[dict[str, Any]]:
    """Return one row a setting: the axes and the errors, or every column."""
    table = record.arrays()
    shown = [*record.result["axes"], "pretrain", "unlearn", "test_error", "test_error_se", "forget_error"]
    names = list(table) if everything else [name for name in dict.fromkeys(shown) if name in table]
    return [dict(zip(names, values, strict=True)) for values in zip(*(table[n].tolist() for n in names), strict=True)]
