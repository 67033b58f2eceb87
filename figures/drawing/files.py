"""From a name in the catalogue to files: PDF, PNG, the numbers as CSV, their origin as JSON; only what has changed."""

import hashlib
import importlib.metadata
import io
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from figures.catalogue import figure_names, find, studies_of
from figures.drawing.drawing import Drawing, empty_figure
from figures.drawing.style import STYLES, Theme, themed
from figures.tables.records import Mixed, Studies
from repro.base.errors import IntegrityError
from repro.base.files import name_damage, read_bytes
from repro.base.outputs import csv_bytes
from repro.base.progress import track
from repro.base.settings import choose, file_name
from repro.records.identity import digest
from repro.statistics.effects import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# No date and no program version inside a file: the same records give the same bytes. A PNG compressed at level 6, which
# is usual, takes a third longer and is 2 % smaller.
OPTIONS: dict[str, Any] = {
    "pdf": {"metadata": {"CreationDate": None, "Creator": None, "Producer": None}},
    "png": {"metadata": {"Software": None}, "pil_kwargs": {"compress_level": 3}},
    "svg": {"metadata": {"Date": None, "Creator": None}},
}


@dataclass(frozen=True)
class Drawn:
    """A figure on disk.

    Attributes:
        name: its name in the catalogue.
        files: PDF, PNG, CSV and JSON; or Markdown, LaTeX, CSV and JSON for a table.
        run_ids: the runs behind its numbers.
        missing: one line for each part not run, `what: command`.
    """

    name: str
    files: list[Path]
    run_ids: list[str]
    missing: list[str]


def draw(names: Sequence[str], studies: Studies, out_folder: Path, *, style: str = "paper") -> list[Drawn]:
    """Draw figures and tables from records alone; what has not changed since the last time is not drawn again.

    A figure whose records turn out to be damaged is named and left out.

    Args:
        names: names in the catalogue.
        studies: where the records of each figure's studies are read from.
        out_folder: where `<name>.{pdf,png,csv,json}` go.
        style: `paper`; `slides` or `dark` for a wall, which are written as SVG too; or `draft`, which writes only the
            light PNG of a figure and its origin, in half the time.

    Raises:
        ConfigError: for an unknown name, before anything is drawn.
    """
    for name in names:
        find(name)
        file_name("figure", name)  # an installed package may give its figure any name
    choose("style", style, STYLES)
    drawn = []
    for name in track(list(names), "drawing"):
        try:
            drawn.append(_draw_one(name, studies, Path(out_folder), style))
        except IntegrityError as error:
            name_damage(f"{name}: not drawn; {error}")
    return drawn


def drawing_of(name: str, studies: Studies, theme: Theme) -> Drawing:
    """Return a figure or table of the studies it names, unless it would pool settings that it does not show."""
    records = studies.of(*studies_of(name))
    try:
        drawing = find(name)(records, theme)
    except Mixed as error:
        return empty_figure(f"{error}: repro figures {name} --study NAME", theme)
    said = " ".join(part.said for part in records.parts)
    return replace(drawing, caption=f"{drawing.caption} {said}".strip(), missing=drawing.missing or records.missing)


def _draw_one(name: str, studies: Studies, folder: Path, style: str) -> Drawn:
    fingerprint, theme = studies.of(*studies_of(name)).fingerprint(), STYLES[style]
    # Where a draft is asked for, the whole will do.
    inputs = [digest([fingerprint, _code(), one]) for one in ((style, "paper") if style == "draft" else (style,))]
    origin = _unchanged(name, folder, inputs)
    if origin is None:
        with themed(theme):
            drawing = drawing_of(name, studies, theme)
            contents = _contents(drawing, name, style)
        sums = {one: _sha(raw) for one, raw in sorted(contents.items())}
        origin = _origin(drawing, name) | {"inputs": inputs[0], "files": sums}
        # The origin is written last: it says that every other file is complete.
        contents[f"{name}.json"] = (json.dumps(origin, indent=1, ensure_ascii=False) + "\n").encode()
        folder.mkdir(parents=True, exist_ok=True)
        for one, raw in contents.items():
            (folder / one).write_bytes(raw)
    files = sorted(folder / one for one in [*origin["files"], f"{name}.json"])
    return Drawn(name, files, [run["run_id"] for run in origin["runs"]], origin["missing"])


def _unchanged(name: str, folder: Path, inputs: Collection[str]) -> dict[str, Any] | None:
    """Return the origin on disk when every file it names is whole and was drawn from one of these inputs."""
    try:
        found: dict[str, Any] = json.loads(read_bytes(f"{folder}/{name}.json"))
        whole = all(_sha(read_bytes(f"{folder}/{one}")) == sha for one, sha in found["files"].items())
        known = found["inputs"] in inputs and {"runs", "missing"} <= found.keys()
        return found if whole and known else None
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return None


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@cache
def _code() -> str:
    """Return a digest of this package, of the numbers' own code and of what draws them: new code draws anew."""
    content, home = hashlib.sha256(), Path(__file__).parents[2]
    for package in ("figures", "repro/statistics", "repro/study"):
        for path in sorted((home / package).rglob("*.py")):
            content.update(path.read_bytes())
    versions = [importlib.metadata.version(name) for name in ("matplotlib", "pandas", "seaborn", "numpy")]
    return digest([content.hexdigest(), versions, sorted(figure_names())])


def _contents(drawing: Drawing, name: str, style: str) -> dict[str, bytes]:
    """Return the files of a drawing by name, without its origin."""
    figure, shown, found = drawing.figure, drawing.display, {}
    if figure is None or style != "draft":
        found["csv"] = csv_bytes(drawing.data, float_format="%.10g")
    if figure is not None:
        kinds = ["png"] if style == "draft" else ["png", "pdf", *(["svg"] if STYLES[style].scale != 1 else [])]
        found |= {kind: render(figure, kind) for kind in kinds}
    if shown is not None:
        found |= {"md": markdown(shown).encode(), "tex": latex(shown, drawing.caption, name).encode()}
    return {f"{name}.{kind}": raw for kind, raw in found.items()}


def _origin(drawing: Drawing, name: str) -> dict[str, Any]:
    """Return what is written with the files of a drawing: its words, its runs, what it lacks."""
    sources = {record.run_id: record.source for record in drawing.records}
    runs = [{"run_id": run_id, "store": store} for run_id, store in sorted(sources.items())]
    words = {"name": name, "caption": drawing.caption, "alt": drawing.alt}
    return words | {"runs": runs, "missing": list(drawing.missing)}


def render(figure: "Figure", kind: str) -> bytes:
    """Return a figure as the bytes of a `png`, `pdf` or `svg` file, the same each time.

    The layout is computed at the first call and stands from then on. `Figure.savefig` would draw everything twice,
    the first time without ink, to lay it out.
    """
    from matplotlib import rcParams
    from matplotlib.backend_bases import get_registered_canvas_class

    buffer = io.BytesIO()
    figure.set_dpi(rcParams["savefig.dpi"])
    canvas = get_registered_canvas_class(kind)(figure)
    getattr(canvas, f"print_{kind}")(buffer, **OPTIONS[kind])
    figure.set_layout_engine("none")
    return buffer.getvalue()


def markdown(table: Table) -> str:
    """Return a table of texts as GitHub Markdown."""
    rows = [[str(column) for column in table.columns], ["---"] * len(table.columns)]
    rows += [[str(cell).replace("|", "\\|") for cell in row] for row in table.itertuples(index=False)]
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def latex(table: Table, caption: str, name: str) -> str:
    """Return a table of texts as a LaTeX `table` with booktabs rules, its caption and the label `tab:NAME`.

    It can be `\\input` as it is; a table of many columns is made as wide as the page.
    """
    wide = len(table.columns) > 6
    head, *body = [" & ".join(_escape(str(cell)) for cell in row) + r" \\"
                   for row in ([*table.columns], *table.itertuples(index=False))]  # fmt: skip
    lines = [
        "% needs booktabs and graphicx" if wide else "% needs booktabs",
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{_escape(caption)}}}",
        f"\\label{{tab:{name.removeprefix('tab-')}}}",
        *(["\\resizebox{\\textwidth}{!}{%"] if wide else []),
        f"\\begin{{tabular}}{{{'l' * len(table.columns)}}}",
        "\\toprule",
        head,
        "\\midrule",
        *body,
        "\\bottomrule",
        "\\end{tabular}",
        *(["}"] if wide else []),
        "\\end{table}",
    ]
    return "\n".join([*lines, ""])


def _escape(text: str) -> str:
    special = {
        "\\": r"\textbackslash{}",
        "±": r"$\pm$",
        "→": r"$\to$",
        "–": "--",
        "—": "---",
        "~": r"$\sim$",
        "×": r"$\times$",
        "≥": r"$\geq$",
        "≤": r"$\leq$",
        "−": "$-$",
        "^": r"\textasciicircum{}",
        "…": r"\ldots{}",
    }
    special |= {symbol: f"\\{symbol}" for symbol in "&%$#_{}"}
    return "".join(special.get(symbol, symbol) for symbol in text)
