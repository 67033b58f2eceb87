"""What a figure function returns, and the files it becomes: PDF, PNG, the numbers as CSV, their origin as JSON."""

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from figures.style import Theme
from figures.table import Table
from repro.records.record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# No date and no program version inside a file: the same records give the same bytes.
METADATA = {"pdf": {"CreationDate": None, "Creator": None, "Producer": None}, "png": {"Software": None}}


@dataclass(frozen=True)
class Drawing:
    """One paper item, ready to be written.

    Attributes:
        data: exactly the numbers drawn, tidy.
        caption: what is shown, with the meaning of every mark, the number of seeds and the setting.
        alt: one or two sentences for a reader who cannot see it.
        records: the runs behind the numbers.
        missing: one line for each part that is not run, `what: command`.
        figure: the drawing, or None for a table.
        display: the cells of a table as text, or None for a figure.
    """

    data: Table
    caption: str
    alt: str
    records: tuple[Record, ...] = ()
    missing: tuple[str, ...] = ()
    figure: "Figure | None" = None
    display: Table | None = None

    @property
    def run_ids(self) -> list[str]:
        """Return the ids of the runs behind the numbers, ordered."""
        return sorted({record.run_id for record in self.records})


def write(drawing: Drawing, name: str, folder: Path, *, inputs: str) -> list[Path]:
    """Write every file of a drawing but its dark variant.

    Args:
        drawing: what to write.
        name: the figure's name, which all files share.
        folder: where; created if needed.
        inputs: digest of everything the drawing depends on, so that an unchanged one is not drawn again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    contents = {"csv": drawing.data.to_csv(index=False, float_format="%.10g").encode()}
    if drawing.figure is not None:
        contents["pdf"] = render(drawing.figure, "pdf")
        drawing.figure.set_layout_engine("none")  # the layout stands; computing it again would only take time
        contents["png"] = render(drawing.figure, "png")
    if drawing.display is not None:
        contents |= {"md": markdown(drawing.display).encode(), "tex": latex(drawing.display).encode()}
    files = {suffix: folder / f"{name}.{suffix}" for suffix in (*contents, "json")}
    contents["json"] = _origin(drawing, name, inputs)
    for suffix, content in contents.items():
        files[suffix].write_bytes(content)
    return list(files.values())


def render(figure: "Figure", suffix: str) -> bytes:
    """Return a figure as the bytes of a `pdf` or `png` file, the same each time."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=suffix, metadata=METADATA[suffix])
    return buffer.getvalue()


def markdown(table: Table) -> str:
    """Return a table of texts as GitHub Markdown."""
    rows = [[str(column) for column in table.columns], ["---"] * len(table.columns)]
    rows += [[str(cell).replace("|", "\\|") for cell in row] for row in table.itertuples(index=False)]
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def latex(table: Table) -> str:
    """Return a table of texts as a LaTeX tabular with booktabs rules."""
    head, *body = [[str(column) for column in table.columns], *table.itertuples(index=False)]
    lines = [f"\\begin{{tabular}}{{{'l' * len(head)}}}", "\\toprule", _latex_row(head), "\\midrule"]
    return "\n".join([*lines, *(_latex_row(row) for row in body), "\\bottomrule", "\\end{tabular}", ""])


def _latex_row(cells: Iterable[Any]) -> str:
    return " & ".join(_escape(str(cell)) for cell in cells) + r" \\"


def _escape(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "±": r"$\pm$", "→": r"$\to$", "–": "--", "—": "---", "~": r"$\sim$"}
    special |= {symbol: f"\\{symbol}" for symbol in "&%$#_{}"}
    return "".join(special.get(symbol, symbol) for symbol in text)


def _origin(drawing: Drawing, name: str, inputs: str) -> bytes:
    origin = {
        "name": name,
        "caption": drawing.caption,
        "alt": drawing.alt,
        "runs": [{"run_id": run_id, "store": store} for run_id, store in sorted(_sources(drawing.records).items())],
        "missing": list(drawing.missing),
        "inputs": inputs,
    }
    return (json.dumps(origin, indent=1, ensure_ascii=False) + "\n").encode()


def _sources(records: Iterable[Record]) -> dict[str, str]:
    return {record.run_id: record.source for record in records}


def frame(theme: Theme, *, missing: str, data: Table | None = None, caption: str = "") -> Drawing:
    """Return the empty frame of a figure none of whose runs exist: "not run" and the command that fills it."""
    from figures.panels import panel_grid, say_not_run

    figure, axes = panel_grid(1, 1, width=3.4, height=1.9)
    say_not_run(axes[0, 0], missing, theme)
    table = pd.DataFrame(columns=pd.Index(["not_run"])) if data is None else data
    return Drawing(table, caption or "Not run.", f"An empty frame: not run. {missing}",
                   missing=(missing,), figure=figure)  # fmt: skip
