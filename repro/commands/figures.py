"""Commands that draw and write from records: figures, comparison, answers, report."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from repro.base.errors import MissingDataError
from repro.base.settings import reject
from repro.commands.compare import compare
from repro.records.published import Published
from repro.terminal.options import several
from repro.terminal.output import (
    DEFAULT_STORE,
    JsonOption,
    StoreOption,
    emit,
    emit_json,
    main_file,
    say,
    say_folded,
    say_table,
    studies_in,
)

StudyOption = Annotated[
    list[str] | None,
    typer.Option(help="Use this study instead (a name or a recipe file); repeatable."),
]


def figures(
    names: Annotated[list[str], typer.Argument(help="Names of figures and tables, or `all`.")],
    study: StudyOption = None,
    strict: Annotated[bool, typer.Option(help="Exit with 3 if a figure lacks a run.")] = False,
    out: Annotated[Path | None, typer.Option(help="Output folder; default: figures/ in the store.")] = None,
    style: Annotated[str, typer.Option(help="paper; slides or dark, for a projector, also write SVG.")] = "paper",
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Draw figures and tables (PDF, PNG, CSV) from records alone."""
    from figures.catalogue import figure_names
    from figures.drawing.files import draw

    chosen = figure_names() if names == ["all"] else several(names)
    if not chosen:
        raise reject("names", ", ".join(names), "names of figures and tables, or `all`", "such as fig-tow")
    folder = store / ("figures" if style == "paper" else f"figures-{style}")
    out = out or folder
    drawn = draw(chosen, studies_in(store, several(study)), out, style=style)
    rows = [{"figure": one.name, "runs": len(one.run_ids), "missing": len(one.missing),
             "file": str(main_file(one.files) or "")} | ({"gaps": one.missing} if json else {})
            for one in drawn]  # fmt: skip
    emit(rows, as_json=json)
    lacking = [one for one in drawn if one.missing]
    for one in lacking if not json else []:
        say(f'{one.name} lacks {len(one.missing)}, drawn as "not run": {one.missing[0]}')
    if lacking and strict:
        commands = dict.fromkeys(line.rpartition(": ")[2] for one in lacking for line in one.missing)
        without = ", ".join(one.name for one in lacking)
        raise MissingDataError(f"not run for: {without}; what runs it: {'; '.join(commands)}")


def claims(
    write: Annotated[Path | None, typer.Option(help="Also write the page, such as paper_repro.md.")] = None,
    study: StudyOption = None,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Print the answer to every claim of the paper, and how sure it is."""
    from figures.answers.answers import assess
    from figures.tables.records import Studies

    if write and (not write.name or write.is_dir()):
        raise reject("write", str(write), "the name of a file", "such as paper_repro.md")
    found = assess(studies_in(store, several(study)))
    if json:
        emit_json([one.row() for one in found])
    else:
        say_table([{"paper says": f"{one.claim.name}: {one.claim.paper}", "we find": one.said()} for one in found])
    if write:
        from figures.answers.page import write_pages

        # The pages are committed, so they may rest on published records only.
        pages = write_pages(Studies(None, Published()), write)
        if not json:
            say(f"wrote {write} and {len(pages) - 1} files beside it")


def report(store: StoreOption = DEFAULT_STORE, json: JsonOption = False) -> None:
    """Write one self-contained HTML page with every answer, figure, table and its provenance."""
    from figures.report.report import write_report

    page = write_report(studies_in(store), store / "figures", store / "report.html")
    if json:
        emit_json({"report": str(page)})
    else:
        say(f"report: {page}")


def summary(store: StoreOption = DEFAULT_STORE, json: JsonOption = False) -> None:
    """Print what ran, the results, where to look and what to try next."""
    from figures.answers.page import summary as lines_of

    lines = lines_of(studies_in(store), store / "report.html")
    if json:
        emit_json(lines)
        return
    for line in lines:
        say_folded(line)


COMMANDS: dict[str, Callable[..., None]] = {
    "figures": figures,
    "compare": compare,
    "claims": claims,
    "report": report,
    "summary": summary,
}
