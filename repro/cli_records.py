"""Commands that read or check what runs left behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from repro.cli_output import DEFAULT_STORE, JsonOption, StoreOption, draw_figures, emit, emit_json, main_file, say
from repro.errors import IntegrityError, MissingDataError
from repro.pack import readers, results_folder, write_pack
from repro.store import Record, Store, pick, read_records

KindOption = Annotated[str | None, typer.Option(help="Only runs of this kind, such as theory or unlearn.")]


def list_runs(kind: KindOption = None, store: StoreOption = DEFAULT_STORE, json: JsonOption = False) -> None:
    """List the finished runs: your own first, then the committed studies."""
    records = read_records(readers(Store(store)), kind)
    emit([_row(record) for record in records], as_json=json, empty="no runs yet; start with `repro theory`")


def _row(record: Record) -> dict[str, Any]:
    return {
        "run": record.run_id,
        "kind": record.kind,
        "status": record.status,
        "store": record.source,
        "study": record.provenance.get("study", ""),
        "finished": record.provenance.get("finished", ""),
    }


def show(
    run: Annotated[str, typer.Argument(help="The run id, or enough of its first digits.")],
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Show one run: its settings, its numbers and how it came to be."""
    record = pick(read_records(readers(Store(store))), run)
    names = ("run_id", "kind", "status", "source", "config", "result", "provenance")
    content = {name: getattr(record, name) for name in names}
    if json:
        emit_json(content)
        return
    emit([{"setting": key, "value": value} for key, value in _flatten(content).items()])


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        text = str(value)
        return {prefix: text if len(text) <= 100 else text[:97] + "..."}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= _flatten(item, f"{prefix}.{key}" if prefix else key)
    return flat


def verify(store: StoreOption = DEFAULT_STORE, json: JsonOption = False) -> None:
    """Compare every stored file with its recorded hash, in your own store and in the committed studies."""
    problems = [problem for reader in readers(Store(store)) for problem in reader.verify()]
    emit([{"problem": problem} for problem in problems], as_json=json, empty="every file matches its hash")
    if problems:
        raise IntegrityError(f"{len(problems)} damaged; delete those folders and run them again")


def doctor(
    data_root: Annotated[Path | None, typer.Option(envvar="REPRO_DATA", help="Folder of image Parquet files.")] = None,
    json: JsonOption = False,
) -> None:
    """Report Python, packages, device and data found, and the command that brings what is missing."""
    from repro.doctor import examine

    rows = examine(data_root)
    emit(rows, as_json=json)
    missing = [row["check"] for row in rows if row["state"] == "missing"]
    if missing:
        raise MissingDataError(f"missing: {', '.join(missing)}; see the remedies above")


def figures(
    names: Annotated[list[str], typer.Argument(help="Names of figures and tables, or `all`.")],
    study: Annotated[str | None, typer.Option(help="Draw network figures from this study.")] = None,
    strict: Annotated[bool, typer.Option(help="Exit with 3 when anything drawn is missing a run.")] = False,
    out: Annotated[Path | None, typer.Option(help="Output folder; default: figures/ in the store.")] = None,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Draw figures and tables (PDF, PNG, CSV) from records alone."""
    from figures.catalogue import FIGURES, draw

    chosen = list(FIGURES) if names == ["all"] else names
    drawn = draw(chosen, readers(Store(store)), out or store / "figures", study=study)
    emit([_drawn_row(item) for item in drawn], as_json=json)
    missing = [item.name for item in drawn if item.missing]
    for item in (item for item in drawn if item.missing and not json):
        say(f'{item.name} lacks {len(item.missing)}, drawn as "not run": {item.missing[0]}')
    if missing and strict:
        raise MissingDataError(f"not run for: {', '.join(missing)}; the commands are listed above")


def _drawn_row(drawn: Any) -> dict[str, Any]:
    return {
        "figure": drawn.name,
        "runs": len(drawn.run_ids),
        "missing": len(drawn.missing),
        "file": str(main_file(drawn.files) or ""),
    }


def compare(store: StoreOption = DEFAULT_STORE, json: JsonOption = False) -> None:
    """Put the theory's test error beside that of networks trained on the same signal-noise data."""
    from figures.fig_theory_vs_empirical import rows

    sources = readers(Store(store))
    emit(rows(sources), as_json=json, empty="no runs to compare; `repro theory` and `repro empirical grid` make them")
    if not json:
        draw_figures(["fig-theory-vs-empirical"], sources, store / "figures")


def claims(
    write: Annotated[Path | None, typer.Option(help="Also write the page, such as paper_repro.md.")] = None,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Print the verdict on every claim, figure and table of the paper, from records."""
    from figures.paper import verdicts, write_page

    emit(verdicts(readers(Store(store))), as_json=json)
    if write:
        # The page is committed, so it may rest on committed records only.
        say(f"wrote {write_page(readers(Store(store))[1:], write)}")


def report(store: StoreOption = DEFAULT_STORE) -> None:
    """Write one self-contained HTML page with every verdict, figure, table and its provenance."""
    from figures.report import write_report

    page = write_report(readers(Store(store)), store / "figures", store / "report.html")
    say(f"report: {page}")


def pack(
    study: Annotated[str, typer.Argument(help="The study's name: letters, digits, dots, dashes.")],
    kind: KindOption = None,
    attach: Annotated[bool, typer.Option(help="Keep arrays and per-epoch rows.")] = True,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Pack the runs of one study into results/STUDY.parquet, to be committed."""
    records = [record for record in Store(store).records(kind) if record.provenance.get("study") == study]
    if not records:
        raise MissingDataError(f"study = {study!r}: no runs in {store}; `repro list` names the studies")
    path = write_pack(records, results_folder() / f"{study}.parquet", attach=attach)
    say(f"packed {len(records)} runs into {path}")


COMMANDS: dict[str, Callable[..., None]] = {
    "figures": figures,
    "compare": compare,
    "claims": claims,
    "report": report,
    "list": list_runs,
    "show": show,
    "verify": verify,
    "doctor": doctor,
    "pack": pack,
}
