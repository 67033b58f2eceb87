"""The four marks of every figure: strip (points with intervals), curve (lines with bands), field (heat map), table."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.drawing.style import Theme
from figures.tables.names import in_order, method_label, rule_label
from repro.statistics.effects import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Steps from one mark of a strip to the next: within a group, to another group, to another region.
STEP, TO_GROUP, TO_REGION = 1.0, 2.4, 3.0
LETTER = 0.065  # inches that a letter of a group's name takes
Looks = Mapping[str, Mapping[str, Any]]
# Seaborn names an axis that has no name, and lays out all of its ticks to find out whether the name would be seen.
NAMED = {"xlabel": " ", "ylabel": " "}


def strip(
    axes: "Axes", rows: Table, theme: Theme, *, seeds: Table | None = None, looks: Looks | None = None
) -> dict[str, tuple[float, float]]:
    """Draw means with their intervals side by side, and each training seed as a small dot.

    Args:
        axes: the panel.
        rows: `region` and `group` in their order (a line stands between regions, a group is named below), `rule`,
            `mean`, `low`, `high`; NaN has no mark. A text in the column `note` stands upright in a mark's place.
        theme: the page.
        seeds: `region`, `group`, `rule` and `value` of the seeds behind the means.
        looks: colour and marker, by name, of entries that are not rules.

    Returns:
        Where each region begins and ends on the horizontal axis.
    """
    names = ["region", "group", "rule"]
    steps = np.where(_changes(rows["region"]), TO_REGION, np.where(_changes(rows["group"]), TO_GROUP, STEP))
    rows = rows.assign(place=steps.cumsum())
    looks = {str(rule): theme.lines(rule) for rule in rows["rule"]} | dict(looks or {})
    colors, markers = ({name: look[part] for name, look in looks.items()} for part in ("color", "marker"))
    shared: Any = {"x": "place", "hue": "rule", "palette": colors, "linewidth": 0, "zorder": 3}
    if seeds is not None:
        scatter(axes, seeds.merge(rows[[*names, "place"]], on=names), y="value", s=5, alpha=0.4, **shared)
    scatter(axes, rows, y="mean", style="rule", markers=markers, s=18 * theme.scale**2, **shared)
    axes.vlines(rows["place"], rows["low"], rows["high"], colors=list(rows["rule"].map(colors)), linewidth=1)
    for row in rows[rows["note"] != ""].itertuples() if "note" in rows else ():
        axes.text(row.place, 0.5, row.note, rotation=90, ha="center", va="center", fontsize=7,
                  transform=axes.get_xaxis_transform())  # fmt: skip
    return _name_groups(axes, rows, theme)


def scatter(axes: "Axes", rows: Table, **look: Any) -> None:
    """Draw points as `seaborn.scatterplot` does, without a legend and without names of the axes."""
    import seaborn as sns

    axes.set(**NAMED)
    sns.scatterplot(rows, legend=False, ax=axes, **look)
    axes.set(xlabel="", ylabel="")


def _changes(column: Table) -> np.ndarray:
    """Return which rows differ from the row before; the first row does not count."""
    return (column != column.shift()).to_numpy() & (np.arange(len(column)) > 0)


def _name_groups(axes: "Axes", rows: Table, theme: Theme) -> dict[str, tuple[float, float]]:
    """Name the groups below the panel, put a line between regions and, where there are several, their names above."""
    groups = rows.groupby(["region", "group"], sort=False)["place"].mean()
    names = [group for _, group in groups.index]
    whole = rows["place"].max() - rows["place"].min() + 2 * STEP
    figure: Any = axes.get_figure(root=True)
    width = axes.get_window_extent().width / figure.dpi
    room = width * (np.diff(groups).min(initial=whole) / whole)
    letters = max(len(line) for name in names for line in name.split("\n"))
    slanted = (
        {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if LETTER * letters * theme.scale > room else {}
    )
    axes.set_xticks(groups, names, **slanted)
    axes.grid(False, axis="x")
    ends = rows.groupby("region", sort=False)["place"].agg(["min", "max"])
    found = {str(name): (low - STEP, high + STEP) for name, low, high in ends.itertuples()}
    for (_, left), (right, _) in pairwise(found.values()):
        axes.axvline((left + right) / 2, color=theme.ink, linewidth=0.6)
    for name, (low, high) in found.items() if len(found) > 1 else ():
        axes.text((low + high) / 2, 1.02, name, transform=axes.get_xaxis_transform(), ha="center", fontsize=7)
    axes.set_xlim(min(low for low, _ in found.values()), max(high for _, high in found.values()))
    return found


def curve(axes: "Axes", rows: Table, x: str, theme: Theme, *, looks: Looks | None = None, **line: Any) -> None:
    """Draw means as lines and their intervals as bands of the same colour, each labelled for the legend.

    Args:
        axes: the panel.
        rows: `x`, `mean`, `low` and `high` for a band, and `line`, the row's line; lines in the order of the legend.
        x: the column of the horizontal axis.
        theme: the page.
        looks: `color`, `marker` and `linestyle` by line; a line without an entry looks like the rule of its name.
        **line: further properties of all lines.
    """
    import seaborn as sns

    rows = rows[rows["mean"].notna()]
    if rows.empty:
        return
    names = list(dict.fromkeys(rows["line"]))
    given = {name: {"label": rule_label(name)} | dict((looks or {}).get(name) or theme.lines(name)) for name in names}
    before = len(axes.lines)
    axes.set(**NAMED)
    colors = {name: look["color"] for name, look in given.items()}
    sns.lineplot(rows, x=x, y="mean", hue="line", hue_order=names, palette=colors, estimator=None, legend=False,
                 ax=axes, **line)  # fmt: skip
    steps: Any = {"step": "mid"} if "drawstyle" in line else {}
    for drawn, name in zip(axes.lines[before:], names, strict=True):
        drawn.set(**given[name], markevery=max(1, np.size(drawn.get_xdata()) // 6))
        if "low" in rows:
            part = rows[rows["line"] == name]
            axes.fill_between(part[x], part["low"], part["high"], color=drawn.get_color(), alpha=0.18, linewidth=0,
                              **steps)  # fmt: skip
    axes.set(xlabel="", ylabel="")


def field(axes: "Axes", grid: Table, *, limits: tuple[float, float], levels: int = 0, **look: Any) -> Any:
    """Draw a table of numbers as a heat map, its first row below, with contour lines where `levels` asks for them.

    Args:
        axes: the panel.
        grid: numbers; index and columns name the rows and the columns.
        limits: the numbers that get the first and the last colour.
        levels: how many contour lines.
        **look: passed to `seaborn.heatmap`.
    """
    import seaborn as sns

    drawn = sns.heatmap(grid, vmin=limits[0], vmax=limits[1], cmap="cividis", rasterized=True, ax=axes, **look)
    axes.invert_yaxis()
    axes.grid(False)
    if levels:
        rows, columns = (np.arange(size) + 0.5 for size in grid.shape)
        axes.contour(columns, rows, grid, np.linspace(*limits, levels), colors="white", linewidths=0.3)
    return drawn.collections[0]


def table(texts: Table, rows: Mapping[str, str], columns: Mapping[str, str], *, by: str = "metric") -> Table:
    """Return a table of texts: one line for each combination of `rows`, in the usual order.

    Args:
        texts: columns of `rows`, `by` and `text`; if two texts have one place, the last one counts.
        rows: columns that name a line, with their titles.
        columns: values of `by` that have a column, with their titles; where there is no text stands "—".
        by: the column whose values are spread over columns.
    """
    names = list(rows)
    wide = texts.drop_duplicates([*names, by], keep="last").set_index([*names, by])["text"].unstack(by)
    wide = wide.reindex(columns=list(columns)).astype(object).fillna("—").reset_index()
    wide = in_order(texts[names].drop_duplicates().merge(wide, on=names), names)
    for name, label in (("method", method_label), ("rule", rule_label), ("pretrain", rule_label)):
        if name in rows:
            wide[name] = wide[name].map(label)
    return wide.rename(columns={**rows, **columns}).rename_axis(columns=None).reset_index(drop=True)


def limits(axes: "Axes", columns: Sequence[Any], intervals: Table | None = None) -> str:
    """Fit the vertical axis to values and their intervals; return a note for its name if it starts above 0.

    An interval counts for at most the span of the values on either side: an interval of two seeds may be absurdly
    wide. An axis that would start near 0 starts at 0.

    Args:
        axes: the panel; panels that share its axis follow.
        columns: columns of values; None stands for a column that is not there.
        intervals: `low` and `high` of the intervals drawn.
    """
    values = _finite([column for column in columns if column is not None])
    if not len(values):
        return ""
    low, high = values.min(), values.max()
    span = float(high - low) or 0.05
    ends = _finite([] if intervals is None else [intervals["low"], intervals["high"]]).clip(low - span, high + span)
    start, end = min([low, *ends]) - 0.08 * span, max([high, *ends]) + 0.08 * span
    start = 0.0 if low >= 0 and start < 0.25 * end else start
    axes.set_ylim(start, end)
    return f"\n(axis from {start:.2g})" if start > 0 else ""


def _finite(columns: Sequence[Any]) -> np.ndarray:
    found = np.concatenate([[], *(np.asarray(column, dtype=float) for column in columns)])
    return found[np.isfinite(found)]
