"""The output of commands: a table for people, JSON for programs, errors in one line."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repro.records.identity import plain
from repro.records.published import Published
from repro.records.store import Store
from repro.study.study import named_studies

if TYPE_CHECKING:
    from figures.tables.records import Studies

StoreOption = Annotated[
    Path, typer.Option("--store", envvar="REPRO_STORE", file_okay=False, help="Folder of your own runs.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace files that were not written by this command, too.")]
DEFAULT_STORE = Path("runs")
MANY = 1_000
WHOLE = 16  # letters: a shorter word is not broken in a table, and a column of texts is at least this wide


STYLES = {
    "ok": "green", "done": "green", "True": "green", "running": "yellow", "pending": "yellow", "missing": "red",
    "failed": "red", "diverged": "red", "False": "red",
}  # fmt: skip


def terminal() -> Any:
    """Return rich's console if standard output is a terminal; None if it is a file or a pipe."""
    if not sys.stdout.isatty():
        return None
    from rich.console import Console

    return Console(highlight=False)


def say(text: str = "") -> None:
    """Print a line for people; on a terminal it is broken between words."""
    screen = terminal()
    if screen is None or len(text) <= screen.width:
        typer.echo(text)
    else:
        screen.print(text, markup=False, overflow="fold")


def printable(text: str) -> str:
    """Return a text with control characters as numbers, because a name from a file must not control the terminal."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def emit(rows: Sequence[Mapping[str, Any]], *, as_json: bool = False, empty: str = "nothing to show") -> None:
    """Print rows as a table that fits the terminal, or as a JSON list of objects.

    Args:
        rows: one mapping a row; the first row's keys are the columns.
        as_json: print JSON.
        empty: the line printed when there are no rows.
    """
    if as_json:
        emit_json(list(rows))
    elif not rows:
        say(empty)
    elif (screen := terminal()) is not None and len(rows) <= MANY:
        _show_table(rows, screen)
    else:  # left-aligned columns, two spaces apart: readable in a file and a pipe, too
        columns = [_column(name, [row.get(name) for row in rows]) for name in rows[0]]
        say("\n".join("  ".join(line).rstrip() for line in zip(*columns, strict=True)))


def emit_json(value: Any) -> None:
    """Print one JSON document; more than `MANY` rows get a line each. NaN and infinite numbers become null."""
    try:
        say(_as_json(value, allow_nan=False))
    except ValueError:
        say(_as_json(_finite(plain(value)), allow_nan=True))


def _as_json(value: Any, *, allow_nan: bool) -> str:
    many = isinstance(value, list) and len(value) > MANY
    encode = json.JSONEncoder(indent=None if many else 1, allow_nan=allow_nan, default=plain).encode
    return "[\n" + ",\n".join(map(encode, value)) + "\n]" if many else encode(value)


def studies_in(store: Path, instead: Sequence[str] | None = ()) -> "Studies":
    """Return the studies that figures and claims read, from a store and from what is published.

    Args:
        store: folder of the user's runs.
        instead: names or recipe files of studies that take the place of those that a figure names.
    """
    import pandas as pd

    from figures.tables.records import Studies

    pd.set_option("mode.string_storage", "python")  # in tables of this size arrow's texts take a fifth more time
    home, published = Store(store), Published()
    return Studies(home, published, named_studies(list(instead or ()), home, published))


def draw_figures(names: Sequence[str], studies: "Studies", out: Path, *, brief: bool = False) -> None:
    """Draw figures and print their files; `brief` leaves out PDF and CSV."""
    from figures.drawing.files import draw

    for drawn in draw(list(names), studies, out, style="draft" if brief else "paper"):
        say(f"figure: {main_file(drawn.files)}" + ("" if brief else " (also .pdf and .csv)"))


def main_file(files: Sequence[Path]) -> Path | None:
    """Return the file a person would open: the picture, or the Markdown of a table."""
    shown = [path for path in files if path.suffix in (".png", ".md")]
    return shown[0] if shown else None


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _show_table(rows: Sequence[Mapping[str, Any]], screen: Any) -> None:
    """Print a table folded to the width of the terminal; if words would be broken, one block per row instead."""
    from rich.table import Table
    from rich.text import Text

    def shown(value: Any) -> Text:
        text = printable(_text(value))
        return Text(text, style=STYLES.get(text, ""))

    heads = [str(name).replace("_", " ") for name in rows[0]]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold underline")
    needed = 0
    for name, head in zip(rows[0], heads, strict=True):
        texts = [_text(row.get(name)) for row in rows]
        whole = all(len(text) <= WHOLE and " " not in text for text in texts)  # ids and numbers are never torn
        table.add_column(head, no_wrap=whole, overflow="fold")
        natural = max(map(len, (head, *texts)))
        needed += 2 + (natural if whole else min(natural, WHOLE))
    if needed - 2 <= screen.width:
        for row in rows:
            table.add_row(*(shown(row.get(name)) for name in rows[0]))
        screen.print(table)
        return
    for row in rows:
        block = Table.grid(padding=(0, 1))
        block.add_column(style="bold", overflow="fold")
        block.add_column(overflow="fold")
        for name, head in zip(rows[0], heads, strict=True):
            block.add_row(head, shown(row.get(name)))
        screen.print(block, "")


def _column(name: str, values: list[Any]) -> list[str]:
    """Return the head, a rule and the values of a column, all of one width."""
    texts = [str(name).replace("_", " "), *(one if type(one) is str else _text(one) for one in values)]
    if not "".join(texts).isprintable():
        texts = [printable(text) for text in texts]
    width = max(map(len, texts))
    return [text.ljust(width) for text in (texts[0], "-" * width, *texts[1:])]


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def say_folded(text: str) -> None:
    """Print a paragraph for a person, folded between words at the width of the terminal."""
    from rich.console import Console

    Console(highlight=False, markup=False, emoji=False).print(text)


def say_table(rows: Sequence[Mapping[str, str]]) -> None:
    """Print rows of sentences as a table within the width of the terminal: long texts fold, nothing is cut."""
    from rich.box import HORIZONTALS
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=HORIZONTALS, show_lines=True, pad_edge=False)
    for place, name in enumerate(rows[0] if rows else {}):
        table.add_column(name, overflow="fold", ratio=1 + place)
    for row in rows:
        table.add_row(*map(Text, row.values()))
    Console(highlight=False).print(table)
