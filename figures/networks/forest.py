"""A forest plot: the effect in each setting with its interval, and below them the pooled effect, by forget set."""

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.answers.networks import sam_unlearns_better
from figures.catalogue import figure
from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.panels import panel_grid
from figures.drawing.style import WIDE, Theme
from figures.tables.records import Given, Records
from figures.tables.runs import run_caption, unlearn_table
from repro.statistics.effects import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW = 0.22  # inches per row
LABEL = 34  # characters of a setting's name


@figure("fig-forest", place=30, shows="ToW by SAM or ASAM minus SGD, setting by setting", studies=("cifar10",),
        claims=("1a",))  # fmt: skip
def effects_by_setting(records: Records, theme: Theme) -> Drawing:
    """Draw ToW by SAM or ASAM minus SGD: every setting, and the mean over settings, for each forget set."""
    found = sam_unlearns_better(Given(records))
    if not found.effects:
        raise NotRun("runs by SAM and by SGD")
    floors = {f"the {one.part}": one.floor for one in found.effects}
    figure = forest_figure(found.forest, theme, label="ToW, SAM or ASAM minus SGD", floors=floors, margin=found.margin)
    used = {*found.runs}
    runs = tuple(run for run in records.of("unlearn") if run.run_id in used)
    caption = (
        f"{' '.join(found.sentences)} A dot is a setting, a method after a pretraining rule; a hollow dot has no vote. "
        "The diamond is the mean over settings. Bars are 95 % intervals, the thick bar a 90 % one. The thin line is "
        "where one further setting would lie. An arrow marks an interval that is longer than the axis. I2 is the part "
        "of the settings' scatter that seeds do not explain. The grey band is one noise floor, dotted lines are the "
        "margin of 0.01. "
        f"{run_caption(unlearn_table(runs))}"
    )
    return Drawing(found.forest, caption, f"A forest plot. {' '.join(found.sentences)}", runs, (), figure)


def forest_figure(
    rows: Table, theme: Theme, *, label: str, floors: Mapping[str, float], margin: float | None = None
) -> "Figure":
    """Return one panel per forget set, all on one axis: settings above, their pooled effect as a diamond below.

    Bars are 95 % intervals. The thick part of the pooled one is its 90 % interval: where that lies between the dotted
    lines, the margin, the answer is "no difference". The thin line around it is the prediction interval. A grey band
    reaches one noise floor to either side of 0. Settings without a vote are hollow.

    Args:
        rows: of `repro.statistics.effects.forest`, with a column `forget_set`, and optionally `no_vote`, why a setting
            has no vote, and `answer`, the answer of a pooled effect.
        theme: the page.
        label: the name of the axis: what was subtracted from what.
        floors: the noise floor of each forget set; a set without one has no band.
        margin: as in `repro.statistics.answers.judge`.
    """
    names = list(dict.fromkeys(rows["forget_set"]))
    counts = [int((rows["forget_set"] == name).sum()) for name in names]
    height = ROW * theme.scale * sum(counts) + 0.35 * len(names) + 0.5
    figure, axes = panel_grid(len(names), 1, width=WIDE, height=height, sharex=True, height_ratios=counts)
    for panel, name in zip(axes[:, 0], names, strict=True):
        mine = rows[rows["forget_set"] == name]
        _marks(panel, mine, theme)
        _yardsticks(panel, floors.get(name), margin, theme)
        panel.set_title(f"forget set: {name}{_agreement(mine)}", loc="left")
        panel.grid(axis="y", visible=False)
    _limit_axis(axes[0, 0], rows)
    for panel, name in zip(axes[:, 0], names, strict=True):
        _beyond_axis(panel, rows[rows["forget_set"] == name], theme)
    axes[-1, 0].set_xlabel(label)
    return figure


def _agreement(rows: Table) -> str:
    """Return how far the settings agree: how many lie above and below 0 by their own interval, and I2."""
    last, count = rows.iloc[-1], int((rows["low"].notna() & ~rows["pooled"].astype(bool)).sum())
    if count < 2:
        return ""
    above, below = (round(last[side] * count) for side in ("above", "below"))
    return f"; {above} of {count} settings clearly above 0, {below} below; $I^2$ = {last['i2']:.2f}"


def _marks(axes: "Axes", rows: Table, theme: Theme) -> None:
    labels = []
    for place, row in enumerate(rows.to_dict("records")):
        silent, word = (str(row.get(name) or "") for name in ("no_vote", "answer"))
        error = [[row["value"] - row["low"]], [row["high"] - row["value"]]]
        look: dict[str, Any] = {"marker": "D", "markersize": 7 * theme.scale} if row["pooled"] else {"marker": "o"}
        if row["pooled"]:
            axes.axhline(place - 0.5, color=theme.ink, linewidth=0.6)
            for ends, width in ((("predicted_low", "predicted_high"), 0.6), (("inner_low", "inner_high"), 3.0)):
                axes.plot(
                    [row[end] for end in ends],
                    [place] * 2,
                    color=theme.ink,
                    linewidth=width * theme.scale,
                    solid_capstyle="butt",
                )
        axes.errorbar(
            row["value"], place, xerr=error, color=theme.ink, markerfacecolor=theme.paper if silent else theme.ink,
            elinewidth=1.2 * theme.scale, **look,
        )  # fmt: skip
        name = textwrap.shorten(str(row["setting"]), LABEL, placeholder="…")
        labels.append(f"{name}: {silent or word}" if silent or word else name)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)


def _yardsticks(axes: "Axes", floor: float | None, margin: float | None, theme: Theme) -> None:
    axes.axvline(0, color=theme.ink, linewidth=0.8)
    if floor is not None and np.isfinite(floor):
        axes.axvspan(-floor, floor, color=theme.ink, alpha=0.15, linewidth=0, zorder=0)
    for place in () if margin is None else (-margin, margin):
        axes.axvline(place, color=theme.ink, linewidth=0.8, linestyle=":")


def _limit_axis(axes: "Axes", rows: Table) -> None:
    """Limit the axis to pooled intervals and settings' values: an interval from three seeds may be absurdly wide."""
    shown = rows["pooled"].to_numpy(bool)
    values = np.concatenate([rows["value"], rows["low"][shown], rows["high"][shown]]).astype(float)
    values = np.append(values[np.isfinite(values)], 0.0)
    spare = 0.1 * float(np.ptp(values)) or 0.01
    axes.set_xlim(values.min() - spare, values.max() + spare)


def _beyond_axis(axes: "Axes", rows: Table, theme: Theme) -> None:
    """Put an arrow at the edge of the axis wherever a 95 % interval goes on beyond it."""
    left, right = axes.get_xlim()
    for edge, marker, beyond in ((left, "<", rows["low"] < left), (right, ">", rows["high"] > right)):
        for place in np.flatnonzero(beyond.to_numpy(bool)):
            (arrow,) = axes.plot(edge, place, marker, color=theme.ink, markersize=5 * theme.scale, clip_on=False)
            arrow.set_in_layout(False)  # it lies on the edge: the layout would make room for it
