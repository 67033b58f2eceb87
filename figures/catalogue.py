"""Every figure and table by name, and `draw`, which writes them from records."""

import hashlib
import importlib
import importlib.metadata
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from figures.drawing import Drawing, render, write
from figures.records import Records
from figures.style import Theme, themed
from repro.records.errors import MissingDataError
from repro.records.identity import digest
from repro.records.progress import track
from repro.records.record import Reader
from repro.records.settings import choose

DrawFunction = Callable[[Records, Theme], Drawing]
FIGURES = {
    "fig-tow": "figures.fig_tow:draw",
    "fig-mia": "figures.fig_attacks:draw_mia",
    "fig-entanglement": "figures.fig_attacks:draw_entanglement",
    "fig-umap": "figures.fig_umap:draw",
    "fig-landscape": "figures.fig_landscape:draw",
    "fig-alpha": "figures.fig_alpha:draw",
    "fig-mask": "figures.fig_mask:draw",
    "fig-pareto": "figures.fig_pareto:draw",
    "fig-relearning": "figures.fig_relearning:draw",
    "fig-margins": "figures.fig_margins:draw",
    "fig-klom": "figures.fig_klom:draw",
    "fig-roc": "figures.fig_roc:draw",
    "fig-published": "figures.fig_published:draw",
    "tab-neggrad": "figures.tab_networks:draw_neggrad",
    "tab-methods": "figures.tab_networks:draw_methods",
    "tab-minmax": "figures.tab_networks:draw_minmax",
    "tab-differences": "figures.tab_differences:draw",
    "tab-choice": "figures.tab_choice:draw",
    "fig-theory-trajectories": "figures.fig_theory_trajectories:draw",
    "fig-theory-activation": "figures.fig_theory_activation:draw",
    "fig-theory-phase": "figures.fig_theory_phase:draw",
    "fig-theory-map": "figures.fig_theory_map:draw",
    "fig-theory-surplus": "figures.fig_theory_surplus:draw",
    "fig-theory-alpha": "figures.fig_theory_alpha:draw",
    "fig-theory-matched": "figures.fig_theory_matched:draw",
    "fig-theory-vs-empirical": "figures.fig_theory_vs_empirical:draw",
}


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


def figure_names() -> list[str]:
    """Return every figure and table: the built-in ones, then those of installed packages (`repro.figures`)."""
    return [*FIGURES, *(name for name in _plugins() if name not in FIGURES)]


def find(name: str) -> DrawFunction:
    """Import and return the function that draws `name`.

    Raises:
        ConfigError: when no figure has this name, with the nearest one.
    """
    choose("figure", name, figure_names())
    if name not in FIGURES:
        return _plugins()[name].load()
    module, attribute = FIGURES[name].split(":")
    return getattr(importlib.import_module(module), attribute)


def draw(
    names: Sequence[str], readers: Iterable[Reader], out_folder: Path, *, study: str | None = None, strict: bool = False
) -> list[Drawn]:
    """Draw figures and tables from records alone; what has not changed since the last time is not drawn again.

    Args:
        names: names in the catalogue.
        readers: stores, own runs first.
        out_folder: where `<name>.{pdf,png,csv,json}` and `<name>-dark.png` go.
        study: use the records of this study only.
        strict: raise when a part of any figure is not run (after all are written).

    Raises:
        ConfigError: for an unknown name, before anything is drawn.
        MissingDataError: with `strict`, naming the commands that fill the gaps.
    """
    functions = {name: find(name) for name in names}
    records = Records(readers, study, cache=Path(out_folder) / "embeddings")
    inputs = digest([records.fingerprint(), study or "", _code()])
    drawn = [_draw_one(name, functions[name], records, Path(out_folder), inputs)
             for name in track(list(names), "drawing")]  # fmt: skip
    missing = [line for item in drawn for line in item.missing]
    if strict and missing:
        raise MissingDataError("not run: " + "; ".join(dict.fromkeys(missing)))
    return drawn


def _draw_one(name: str, function: DrawFunction, records: Records, folder: Path, inputs: str) -> Drawn:
    known = _unchanged(name, folder, inputs)
    if known is not None:
        return known
    files: list[Path] = []
    with themed(Theme("light")):
        drawing = function(records, Theme("light"))
        if drawing.figure is not None:
            files = _draw_dark(name, function, records, folder)
        # The origin is written last: it says that every other file is complete.
        files += write(drawing, name, folder, inputs=inputs)
    return Drawn(name, sorted(files), drawing.run_ids, list(drawing.missing))


def _draw_dark(name: str, function: DrawFunction, records: Records, folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-dark.png"
    with themed(Theme("dark")):
        figure = function(records, Theme("dark")).figure
        path.write_bytes(render(figure, "png"))  # type: ignore[arg-type]
    return [path]


def _unchanged(name: str, folder: Path, inputs: str) -> Drawn | None:
    origin = folder / f"{name}.json"
    if not origin.exists():
        return None
    try:
        found: dict[str, Any] = json.loads(origin.read_text())
    except ValueError:
        return None
    files = sorted([*folder.glob(f"{name}.*"), *folder.glob(f"{name}-dark.png")])
    kinds = {path.suffix for path in files}
    complete = {".csv", ".pdf", ".png"} <= kinds or {".csv", ".md", ".tex"} <= kinds
    if found.get("inputs") != inputs or not complete:
        return None
    return Drawn(name, files, [run["run_id"] for run in found["runs"]], found["missing"])


@cache
def _code() -> str:
    """Return a digest of this package and of what it draws with: new code draws anew."""
    content = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        content.update(path.read_bytes())
    versions = [importlib.metadata.version(name) for name in ("matplotlib", "pandas", "seaborn", "numpy")]
    return digest([content.hexdigest(), versions, sorted(_plugins())])


@cache
def _plugins() -> dict[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group="repro.figures")}
