"""`repro theory`: exact theory at one setting, the paper's claims, and sweeps."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from repro.commands.options import with_settings
from repro.commands.output import DEFAULT_STORE, JsonOption, StoreOption, draw_figures, emit, emit_json, say
from repro.records.pack import readers
from repro.records.record import Record, read_records
from repro.records.store import Store
from theory.config import SWEEP_NAMES, SweepConfig, TheoryConfig

app = typer.Typer(help="Exact theory of the two-layer network, at any dimension.", rich_markup_mode=None)
CELL = ("signal_strength", "pretrain", "unlearn")
# Forget error always stands beside test error: the model that forgot nothing has the best test error.
COLUMNS = ("test_error", "forget_error", "retain_error", "kappa_retain", "kappa_forget", "zeta_retain", "zeta_forget")
STRENGTH_HELP = (
    "Signal strength s, dimensionless: |phi| in units of (P-1) sigma_p (d/n)^(1/4), default 0.5; "
    "SGD's boundary lies near 0.93. Give this or --signal-norm."
)
Strength = Annotated[float | None, typer.Option("--signal-strength", help=STRENGTH_HELP)]
Norm = Annotated[float | None, typer.Option("--signal-norm", help="|phi| itself, in input units, > 0.")]


Rho = Annotated[float | None, typer.Option("--rho", help="SAM radius of unlearning in absolute units, >= 0.")]
PretrainRho = Annotated[float | None, typer.Option("--pretrain-rho", help="The same for pretraining, >= 0.")]


@app.callback(invoke_without_command=True)
@with_settings(TheoryConfig, skip=CELL)
def theory(
    config: TheoryConfig, context: typer.Context, signal_strength: Strength = None, signal_norm: Norm = None,
    rho: Rho = None, pretrain_rho: PretrainRho = None,
    store: StoreOption = DEFAULT_STORE, json: JsonOption = False,
) -> None:  # fmt: skip
    """Run pretraining {SGD, SAM} x unlearning {SGD, SAM} and print test and forget error side by side."""
    if context.invoked_subcommand is not None:
        return
    config = _at_signal(config, signal_strength, signal_norm)
    if rho is not None or pretrain_rho is not None:
        config = config.at_radius(config.rho_scale * config.rho_th if rho is None else rho, pretrain_rho)
    records = _study(config, Store(store))
    _show_study(config, records, as_json=json)
    if not json:
        # A folder of its own, so that the figures of two settings stand side by side.
        draw_figures(
            ["fig-theory-trajectories"], [Selection(records)], store / "figures" / f"theory-{records[0].run_id}"
        )


def _at_signal(config: TheoryConfig, strength: float | None, norm: float | None) -> TheoryConfig:
    fields = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    fields.pop("signal_strength")
    return TheoryConfig.with_signal(signal_strength=strength, signal_norm=norm, **fields)


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
    emit([_pretty(row) for row in rows])
    say("records: " + " ".join(record.run_id for record in records))


def _pretty(row: dict[str, Any]) -> dict[str, Any]:
    """Return the table's columns, each metric as mean ± standard error over seeds."""
    shown = {name: row[name] for name in ("pretrain", "unlearn", "status")}
    return shown | {name: _with_error(row[name], row[f"{name}_se"]) for name in COLUMNS}


def _with_error(mean: float | None, error: float | None) -> str:
    if mean is None:
        return "-"
    return f"{mean:.3f}" if error is None else f"{mean:.3f} ± {error:.3f}"


@dataclasses.dataclass(frozen=True)
class Selection:
    """A few records, read like a store: a figure of one command shows that command's runs only."""

    chosen: Sequence[Record]

    def records(self, kind: str | None = None) -> list[Record]:
        """Return the chosen records, of one kind if named."""
        return [record for record in self.chosen if kind in (None, record.kind)]

    def verify(self) -> list[str]:
        """Return no problems: these records were written by this very process."""
        return []


WorkersOption = Annotated[int, typer.Option(help="Processes; 1 runs a thread a core. No number depends on it.", min=1)]


@app.command()
def claims(
    names: Annotated[list[str] | None, typer.Argument(help="Claims to check; all when none is named.")] = None,
    seeds: Annotated[int, typer.Option(help="Independent seeds of every claim, at least 2.")] = 40,
    first_seed: Annotated[int, typer.Option(help="First seed; another one repeats the check on fresh draws.")] = 0,
    workers: WorkersOption = 1,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Print verdict, effect, interval and a sentence to quote for each claim; only what no record has is computed.

    Cells are kept one by one: stopped at any time, the same command goes on, and several of them share the work.
    """
    from theory.claims.claim import KIND, run_claims

    known = read_records(readers(Store(store)), KIND)
    records = run_claims(Store(store), seeds=seeds, names=names or None, first_seed=first_seed,
                         known=known, workers=workers)  # fmt: skip
    rows = [claim_row(record) for record in records]
    emit(rows if json else [{name: row[name] for name in row if name not in ("regime", "change")} for row in rows],
         as_json=json)  # fmt: skip


def claim_row(record: Record) -> dict[str, Any]:
    """Return one line of a verdict table."""
    result = record.result
    low, high = result["interval"]
    return {
        "claim": result["title"],
        "verdict": result["verdict"],
        "estimate": result["estimate"],
        "interval": f"[{low:.3g}, {high:.3g}]" if low is not None else "-",
        "seeds": result["seeds"],
        "sentence": result["sentence"],
        "change": result["change"],
        "regime": result["regime"],
        "run": f"{record.source}/{record.run_id}",
    }


@app.command()
@with_settings(SweepConfig, skip=("sweep",))
def sweep(
    config: SweepConfig,
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(SWEEP_NAMES)}.")],
    workers: WorkersOption = 1,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Run one sweep, cell by cell; a second call continues where the first stopped. Repeat an option for its values."""
    chosen = dataclasses.replace(config, sweep=name)
    Store(store).ensure_writable()
    from theory.claims.sweep import run_sweep

    record = run_sweep(name, chosen, Store(store), workers=workers)
    emit(_sweep_rows(record, everything=json), as_json=json)
    if not json:
        say(f"record: {record.run_id}; every column: {store / 'sweeps' / f'{record.run_id}.parquet'}")


def _sweep_rows(record: Record, *, everything: bool) -> list[dict[str, Any]]:
    """Return one row a cell: the axes and the errors, or every column."""
    table = record.arrays()
    shown = [*record.result["axes"], "pretrain", "unlearn", "test_error", "test_error_se", "forget_error"]
    names = list(table) if everything else [name for name in dict.fromkeys(shown) if name in table]
    return [dict(zip(names, values, strict=True)) for values in zip(*(table[n].tolist() for n in names), strict=True)]
