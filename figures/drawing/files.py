"""From a name in the catalogue to files: PDF, PNG, the numbers as CSV, their origin as JSON; only what has changed."""

import hashlib
import importlib.metadata
import io
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from figures.catalogue import figure_names, find, studies_of
from figures.drawing.drawing import Drawing, empty_figure
from figures.drawing.style import STYLES, Theme, themed
from figures.tables.intervals import Table
from figures.tables.records import Mixed, Studies
from repro.base.errors import MissingDataError
from repro.base.progress import track
from repro.base.settings import choose, file_name
from repro.records.folder import read_bytes
from repro.records.identity import digest
from repro.records.outputs import csv_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# No date and no program version inside a file: the same records give the same bytes.
METADATA = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None}, "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
}  # fmt: skip


@dataclass(frozen=True)
class Drawn:
    """A figure on disk.

    Attributes:
        name: its name in the catalogue.
        files: PDF, PNG, CSV, JSON and the dark PNG; or Markdown, LaTeX, CSV and JSON for a table.
        run_ids: the runs behind its numbers.
        missing: one line for each part not run, `what: command`.
    """

    name: str
    files: list[Path]
    run_ids: list[str]
    missing: list[str]


def draw(
    names: Sequence[str], studies: Studies, out_folder: Path, *, strict: bool = False, style: str = "paper"
) -> list[Drawn]:
    """Draw figures and tables from records alone; what has not changed since the last time is not drawn again.

    Args:
        names: names in the catalogue.
        studies: where the records of each figure's studies are read from.
        out_folder: where `<name>.{pdf,png,csv,json}` and `<name>-dark.png` go.
        strict: raise when a part of any figure is not run (after all are written).
        style: `paper`, for a wall `slides` or `dark`, which are written as SVG too, or `draft`: of a figure the light
            PNG and its origin only, in a third of the time.

    Raises:
        ConfigError: for an unknown name, before anything is drawn.
        MissingDataError: with `strict`, naming the commands that fill the gaps.
    """
    for name in names:
        find(name)
        file_name("figure", name)  # that of an installed package is anybody's
    theme = STYLES[choose("style", style, STYLES)]
    # Where a draft is asked for, the whole will do.
    styles = (style, "paper") if style == "draft" else (style,)
    drawn = [_draw_one(name, studies, Path(out_folder), styles, theme) for name in track(list(names), "drawing")]
    missing = [line for item in drawn for line in item.missing]
    if strict and missing:
        raise MissingDataError("not run: " + "; ".join(dict.fromkeys(missing)))
    return drawn


def drawing_of(name: str, studies: Studies, theme: Theme) -> Drawing:
    """Return a figure or table of the studies it names; one that would pool what it does not show is not drawn."""
    records = studies.of(*studies_of(name))
    try:
        drawing = find(name)(records, theme)
    except Mixed as error:
        return empty_figure(f"{error}: repro figures {name} --study NAME", theme)
    said = " ".join(part.said for part in records.parts)
    return replace(drawing, caption=f"{drawing.caption} {said}".strip(), missing=drawing.missing or records.missing)


def _draw_one(name: str, studies: Studies, folder: Path, styles: Sequence[str], theme: Theme) -> Drawn:
    fingerprint = studies.of(*studies_of(name)).fingerprint()
    inputs = [digest([fingerprint, _code(), style]) for style in styles]
    known = _unchanged(name, folder, inputs)
    if known is not None:
        return known
    brief = styles[0] == "draft"
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    with themed(theme):
        drawing = drawing_of(name, studies, theme)
        if drawing.figure is not None and not brief:
            files.append(folder / f"{name}-dark.png")
            dark = replace(theme, name="dark")
            with themed(dark):
                files[0].write_bytes(render(drawing_of(name, studies, dark).figure, "png"))
            if theme.scale != 1:
                files.append(folder / f"{name}.svg")
                files[1].write_bytes(render(drawing.figure, "svg"))
        # The origin is written last: it says that every other file is complete.
        files += write(drawing, name, folder, inputs=inputs[0], brief=brief, beside=files)
    return Drawn(name, sorted(files), drawing.run_ids, list(drawing.missing))


def _unchanged(name: str, folder: Path, inputs: Collection[str]) -> Drawn | None:
    """Return what is on disk when every file of it is whole and was drawn from one of these inputs."""
    try:
        found: dict[str, Any] = json.loads(read_bytes(f"{folder}/{name}.json"))
        files = {folder / one: sha for one, sha in found["files"].items()}
        if found["inputs"] not in inputs or any(_sha(read_bytes(str(path))) != sha for path, sha in files.items()):
            return None
        drawn = sorted([*files, folder / f"{name}.json"])
        return Drawn(name, drawn, [run["run_id"] for run in found["runs"]], found["missing"])
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return None


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@cache
def _code() -> str:
    """Return a digest of this package and of what it draws with: new code draws anew."""
    content = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        content.update(path.read_bytes())
    versions = [importlib.metadata.version(name) for name in ("matplotlib", "pandas", "seaborn", "numpy")]
    return digest([content.hexdigest(), versions, sorted(figure_names())])


def write(
    drawing: Drawing, name: str, folder: Path, *, inputs: str, brief: bool = False, beside: Iterable[Path] = ()
) -> list[Path]:
    """Write every file of a drawing but those that need another theme or scale.

    Args:
        drawing: what to write.
        name: the figure's name, which all files share.
        folder: where.
        inputs: digest of everything the drawing depends on, so that an unchanged one is not drawn again.
        brief: of a figure only PNG and origin.
        beside: those that are written already; the origin names them too.
    """
    brief = brief and drawing.figure is not None
    contents = {} if brief else {"csv": csv_bytes(drawing.data, float_format="%.10g")}
    if drawing.figure is not None:
        if not brief:
            contents["pdf"] = render(drawing.figure, "pdf")
            drawing.figure.set_layout_engine("none")  # the layout stands; computing it again would only take time
        contents["png"] = render(drawing.figure, "png")
    if drawing.display is not None:
        contents |= {
            "md": markdown(drawing.display).encode(),
            "tex": latex(drawing.display, drawing.caption, name).encode(),
        }
    sources = {record.run_id: record.source for record in drawing.records}
    origin = {
        "name": name,
        "caption": drawing.caption,
        "alt": drawing.alt,
        "runs": [{"run_id": run_id, "store": store} for run_id, store in sorted(sources.items())],
        "missing": list(drawing.missing),
        "inputs": inputs,
    }
    files = {suffix: folder / f"{name}.{suffix}" for suffix in (*contents, "json")}
    written = {path.name: path.read_bytes() for path in beside}
    written |= {f"{name}.{suffix}": content for suffix, content in contents.items()}
    origin["files"] = {one: _sha(content) for one, content in sorted(written.items())}
    contents["json"] = (json.dumps(origin, indent=1, ensure_ascii=False) + "\n").encode()
    for suffix, content in contents.items():
        files[suffix].write_bytes(content)
    return list(files.values())


def render(figure: "Figure | None", suffix: str) -> bytes:
    """Return a figure as the bytes of a `pdf` or `png` file, the same each time."""
    assert figure is not None
    buffer = io.BytesIO()
    figure.savefig(buffer, format=suffix, metadata=METADATA[suffix])
    return buffer.getvalue()


def markdown(table: Table) -> str:
    """Return a table of texts as GitHub Markdown."""
    rows = [[str(column) for column in table.columns], ["---"] * len(table.columns)]
    rows += [[str(cell).replace("|", "\\|") for cell in row] for row in table.itertuples(index=False)]
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def latex(table: Table, caption: str = "", name: str = "") -> str:
    """Return a table of texts as a LaTeX tabular with booktabs rules.

    With a name it stands in a `table` with the caption and the label `tab:NAME`, to be `\\input` as it is; one of many
    columns is made as wide as the page.
    """
    head, *body = [" & ".join(_escape(str(cell)) for cell in row) + r" \\"
                   for row in ([*table.columns], *table.itertuples(index=False))]  # fmt: skip
    columns = "l" * len(table.columns)
    lines = [
        f"\\begin{{tabular}}{{{columns}}}",
        "\\toprule",
        head,
        "\\midrule",
        *body,
        "\\bottomrule",
        "\\end{tabular}",
    ]
    if name:
        label = f"\\label{{tab:{name.removeprefix('tab-')}}}"
        wide = len(table.columns) > 6
        needs = "booktabs and graphicx" if wide else "booktabs"
        top = [f"% needs {needs}", "\\begin{table}", "\\centering", f"\\caption{{{_escape(caption)}}}", label]
        fitted = ["\\resizebox{\\textwidth}{!}{%", *lines, "}"] if wide else lines
        lines = [*top, *fitted, "\\end{table}"]
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
