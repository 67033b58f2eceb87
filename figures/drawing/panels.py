"""What figures share: panels and their names, bands, points with intervals, reference lines, keys, "not run"."""

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.drawing.style import Theme
from figures.tables.names import family, rule_label
from repro.statistics.effects import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# How the rule of pretraining is told apart where colour already names the rule of unlearning.
FILLS = {"sgd": "none", "sam": "full", "asam": "left"}
# How the noise floor stands in a key.
FLOOR_NOTE: tuple[str, dict[str, Any]] = ("noise floor", {"marker": "s", "alpha": 0.25, "markersize": 7})


def panel_grid(rows: int, columns: int, *, width: float, height: float, **options: Any) -> "tuple[Figure, np.ndarray]":
    """Return a figure and its axes, shape `(rows, columns)`, laid out so that no label is cut.

    Args:
        rows, columns: panels.
        width, height: size of the page area, in inches.
        **options: passed to `Figure.subplots`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, np.asarray(figure.subplots(rows, columns, squeeze=False, **options))


def label_panels(axes: np.ndarray, *, titles: Iterable[str] = (), rows: Iterable[str] = (), x: str = "") -> None:
    """Write titles above the first row of panels, names left of the first column, and one name below the last row."""
    for panel, title in zip(axes[0], titles, strict=False):
        panel.set_title(title)
    for panel, name in zip(axes[:, 0], rows, strict=False):
        panel.set_ylabel(name)
    for panel in axes[-1] if x else ():
        panel.set_xlabel(x)


def say_not_run(axes: "Axes", missing: str, theme: Theme) -> str:
    """Fill an empty panel with "not run" and the command that fills it; return the line `what: command` as it is."""
    what, _, command = missing.partition(": ")
    # Not by removing ticks: panels that share an axis would lose theirs too.
    axes.tick_params(length=0, labelbottom=False, labelleft=False)
    axes.grid(False)
    axes.set_facecolor(theme.faint)
    size = axes.get_window_extent()
    width = max(14, int(size.width / 100 * 72 / 4.6))
    parts = [line for part in (what, command) for line in textwrap.wrap(part, width, break_on_hyphens=False)]
    lines = ["not run", *parts]
    axes.text(0.5, 0.5, "\n".join(lines), ha="center", va="center", transform=axes.transAxes, fontsize=7)
    return missing


def band(axes: "Axes", x: Any, rows: Table, value: str = "", **look: Any) -> None:
    """Draw means as a line and their 95 % intervals as a band of the same colour.

    Args:
        axes: the panel.
        x: positions, shape `(points,)`.
        rows: in the order of `x`: `mean`, `low` and `high`, or the columns that belong to `value` (see `ends_of`).
        value: which number of the rows is drawn.
        **look: line properties.
    """
    mean, low, high = ends_of(rows, value)
    line = axes.plot(x, mean, markevery=max(1, len(mean) // 6), **look)[0]
    axes.fill_between(x, low, high, color=line.get_color(), alpha=0.18, linewidth=0)


def points(axes: "Axes", x: Any, rows: Table, value: str = "", *, flat: bool = False, **look: Any) -> None:
    """Draw means as marks with their 95 % intervals; a mean without an interval (NaN) has no bar.

    Args:
        axes: the panel.
        x: positions, shape `(points,)`.
        rows, value: as in `band`.
        flat: whether bars are horizontal and `x` are positions on the vertical axis.
        **look: marker properties.
    """
    mean, low, high = ends_of(rows, value)
    bars = np.array([mean - low, high - mean])
    drawn: Any = {"x": mean, "y": x, "xerr": bars} if flat else {"x": x, "y": mean, "yerr": bars}
    style: dict[str, Any] = {"capsize": 1.6, "elinewidth": 0.9, **look, "linestyle": "none"}
    axes.errorbar(**drawn, **style)


def ends_of(rows: Table, value: str) -> tuple[np.ndarray, ...]:
    """Return means and both ends of their intervals: the columns `<value>`, `<value>_low` and `<value>_high`.

    Without a value they are `mean`, `low` and `high`; a value that ends in "_" stands in front of these.
    """
    names = [f"{value}{end}" for end in ("mean", "low", "high")]
    names = names if value.endswith("_") or not value else [value, f"{value}_low", f"{value}_high"]
    return tuple(np.asarray(rows[name], dtype=float) for name in names)


def floor_band(axes: "Axes", floor: dict[str, float] | None, theme: Theme, *, label: str = "") -> None:
    """Draw the noise floor of ToW, mean ± standard deviation, as a grey band across a panel; nothing where it is None.

    Of two seeds the deviation is zero: the band is a line then.

    Args:
        axes: the panel.
        floor: `mean` and `sd`, as `figures.tables.floor.floor_of` gives them.
        theme: the page.
        label: entry of the legend, where it has one.
    """
    if floor:
        ends = floor["mean"] - floor["sd"], floor["mean"] + floor["sd"]
        axes.axhspan(*ends, color=theme.ink, alpha=0.2, linewidth=0.8, zorder=0, label=label or "_noise floor")


def fill_style(pretrain: Any) -> str:
    """Return the marker filling that stands for a pretraining rule: open SGD, full SAM, half ASAM."""
    return FILLS.get(family(pretrain), "full")


def log_axis(axes: "Axes", which: str, *, base: int = 10) -> None:
    """Make the `x` or `y` axis logarithmic, with plain numbers at 1, 2 and 5 (or powers of 2) and nowhere else."""
    from matplotlib.ticker import LogLocator

    axis = {"x": axes.xaxis, "y": axes.yaxis}[which]
    {"x": axes.set_xscale, "y": axes.set_yscale}[which]("log", base=base)
    axis.set_major_locator(LogLocator(base, subs=(1.0, 2.0, 5.0) if base == 10 else (1.0,), numticks=12))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter("")


def data_ticks(axes: "Axes", values: Any, *, most: int = 3) -> None:
    """Put ticks of the horizontal axis at measured values: the ends and, evenly between, at most `most` in all."""
    found = np.unique(np.asarray(values, dtype=float))
    chosen = found[np.unique(np.linspace(0, len(found) - 1, min(most, len(found))).round().astype(int))]
    axes.set_xticks(chosen, [f"{value:g}" for value in chosen])
    axes.set_xticks([], minor=True)


def spread_note(seeds: Any) -> str:
    """Return what a mark and its bar mean, with the number of seeds, for the head of a legend."""
    return "one training seed: no interval" if str(seeds) == "1" else f"mean and 95 % t-interval, {seeds} seeds"


def outside_legend(figure: "Figure", axes: "Axes", *, columns: int, head: str) -> None:
    """Put the legend of one panel below all panels, where it can cover nothing, under a head that names the seeds."""
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    if unique:
        _legend(figure, list(unique.values()), columns=columns, head=head, labels=list(unique))


def rule_key(figure: "Figure", theme: Theme, rules: Any, *, head: str, notes: Any = ()) -> None:
    """Put a key below the panels: rules by colour and shape, and further marks.

    Args:
        figure: the drawing.
        theme: its page.
        rules: labels of the rules shown.
        head: what a mark and its bar mean, with the number of seeds.
        notes: pairs (text, line properties) of further marks.
    """
    from matplotlib.lines import Line2D

    marks: list[tuple[str, dict[str, Any]]]
    marks = [(rule_label(rule), theme.lines(rule) | {"linestyle": "none"}) for rule in rules]
    plain = {"color": theme.ink, "marker": "o", "linestyle": "none"}
    marks += [(text, plain | look) for text, look in notes]
    handles = [Line2D([], [], label=text, **look) for text, look in marks]
    _legend(figure, handles, columns=min(len(marks), 5), head=head)


def _legend(figure: "Figure", handles: list[Any], *, columns: int, head: str, labels: Any = None) -> None:
    names = {} if labels is None else {"labels": labels}
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, title=head, title_fontsize=7, **names)
