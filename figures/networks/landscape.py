"""Loss around each model on F and on test: surface and contour, same directions and same range in every panel."""

from typing import Any

import numpy as np
import pandas as pd

from figures.catalogue import lacking
from figures.drawing.drawing import Drawing, empty_figure
from figures.drawing.style import WIDE, Theme
from figures.tables.cells import label, original_accuracy, unlearn_table
from figures.tables.intervals import Table, interval
from figures.tables.records import Records
from figures.tables.snapshots import Snapshot, snapshots, used_records

SETS = {"forget": "F", "test": "test"}


def draw(records: Records, theme: Theme) -> Drawing:
    """Draw surface above contour for each model (columns) and data set (row pairs), with curvature and basin ratio."""
    found = snapshots(records, "landscape", starts=True)
    shown = [one for one in found if f"landscape_{one.model}_forget" in one.record.arrays()]
    if not shown:
        return empty_figure(lacking("fig-landscape", "loss landscapes"), theme)
    sets = [name for name in SETS if all(f"landscape_{one.model}_{name}" in one.record.arrays() for one in shown)]
    from matplotlib.figure import Figure

    height = min(3.5, 0.7 + 11 / len(shown))  # of a surface above a contour, in inches
    figure = Figure(figsize=(WIDE, height * len(sets) + 0.2), layout="constrained")
    parts = []
    for row, name in enumerate(sets):
        grids = [np.asarray(one.record.arrays()[f"landscape_{one.model}_{name}"], dtype=float) for one in shown]
        # One range for all models; cut at the 98th percentile, lest a cliff flatten the rest.
        values = np.concatenate([grid[np.isfinite(grid)] for grid in grids])
        limits = float(values.min()), float(np.percentile(values, 98)) + 1e-9
        for column, (one, grid) in enumerate(zip(shown, grids, strict=True)):
            places = [(2 * len(sets), len(shown), (2 * row + half) * len(shown) + column + 1) for half in (0, 1)]
            title = f"{one.title}\nloss on {SETS[name]}" if row == 0 else f"loss on {SETS[name]}"
            parts.append(_panel(figure, places, (one, name, title), grid, limits))
    data = pd.concat(parts, ignore_index=True)
    return Drawing(data, _caption(shown), _alt(data), used_records(shown), (), figure)


def curvature(grid: np.ndarray, radius: float) -> float:
    """Return the mean second derivative of the loss at the centre along the two directions, by central differences.

    `(L(+h) - 2 L(0) + L(-h)) / h^2`, averaged over both axes.

    Args:
        grid: losses over `[-radius, radius]^2`, shape `(k, k)`, k odd.
        radius: half width, in units of the filter-normalized directions.
    """
    middle = len(grid) // 2
    step = 2 * radius / (len(grid) - 1)
    ends = grid[middle - 1, middle] + grid[middle + 1, middle] + grid[middle, middle - 1] + grid[middle, middle + 1]
    return float((ends - 4 * grid[middle, middle]) / (2 * step**2))


def basin_ratio(grid: np.ndarray) -> float:
    """Return the share of points with `|L - L_centre| <= 0.5 std(L)`, as in the released code, in [0, 1]."""
    middle = len(grid) // 2
    return float((np.abs(grid - grid[middle, middle]) <= 0.5 * grid.std()).mean())


def _panel(
    figure: Any, places: list[Any], what: tuple[Snapshot, str, str], grid: np.ndarray, limits: tuple[float, float]
) -> Table:
    one, name, title = what
    line = np.asarray(one.record.arrays()["landscape_axis"], dtype=float)
    radius = float(line[-1])
    across, along = np.meshgrid(line, line)
    shown = np.clip(np.nan_to_num(grid, nan=limits[1]), *limits)
    surface = figure.add_subplot(*places[0], projection="3d")
    surface.plot_surface(across, along, shown, cmap="cividis", vmin=limits[0], vmax=limits[1], linewidth=0, rcount=40,
                         ccount=40, rasterized=True)  # fmt: skip
    surface.set(zlim=limits, xticks=[-radius, 0, radius], yticks=[-radius, 0, radius])
    surface.set_title(title)
    surface.set_box_aspect((1, 1, 0.7), zoom=1.05)
    surface.tick_params(pad=-2)
    contour = figure.add_subplot(*places[1])
    drawn = contour.contourf(across, along, shown, levels=np.linspace(*limits, 12), cmap="cividis")
    contour.contour(drawn, colors="white", linewidths=0.3)
    contour.plot([0], [0], marker="+", color="white", markersize=6)
    contour.set_aspect("equal")
    contour.grid(False)
    numbers = _numbers(one, name)
    contour.set_xlabel(_numbers_text(numbers), fontsize=7)
    return pd.DataFrame({"x": across.ravel(), "y": along.ravel(), "loss": grid.ravel()}).assign(
        title=one.title, set=name, run_id=one.record.run_id, **numbers
    )


def _numbers(one: Snapshot, name: str) -> dict[str, float]:
    """Return mean, deviation and number of seeds of the curvature and basin ratio of every seed's own grid."""
    found: dict[str, list[float]] = {"curvature": [], "basin_ratio": []}
    for run in one.records:
        arrays = run.arrays()
        grid = np.asarray(arrays[f"landscape_{one.model}_{name}"], dtype=float)
        found["curvature"].append(curvature(grid, float(arrays["landscape_axis"][-1])))
        found["basin_ratio"].append(basin_ratio(grid))
    spread = {key: interval(values) for key, values in found.items()}
    return {f"{key}{end}": spread[key][part] for key in spread
            for end, part in (("", "mean"), ("_sd", "sd"), ("_seeds", "seeds"))}  # fmt: skip


def _numbers_text(numbers: dict[str, float]) -> str:
    lines = []
    for key, text in (("curvature", "curvature"), ("basin_ratio", "basin")):
        sd = numbers[f"{key}_sd"]
        lines.append(f"{text} {numbers[key]:.2f}" + ("" if np.isnan(sd) else f" ± {sd:.2f}"))
    return "\n".join([*lines, f"seeds: {int(numbers['curvature_seeds'])}"])


def _caption(shown: list[Snapshot]) -> str:
    first = shown[0].record
    return (
        "Loss around each model along two random filter-normalized directions, the same directions for all, on the "
        "forget set and on test data: surface above, contour below, one range of loss a data set (cut at its 98th "
        "percentile). Curvature: mean second derivative at the centre; basin: share of points within half a standard "
        "deviation of the centre's loss (blind to scale). Numbers: mean ± standard deviation over seeds; pictures: "
        f"seed {label(first, 'seed')}. Setting: {label(first, 'dataset')}, {label(first, 'model')}, forget set "
        f"{label(first, 'difficulty')}. {original_accuracy(unlearn_table(used_records(shown)))}"
    )


def _alt(data: Table) -> str:
    rows = data.drop_duplicates(["title", "set"])
    parts = [f"{row.title} on {row.set}: curvature {row.curvature:.2f}, basin {row.basin_ratio:.2f}"
             for row in rows.itertuples()]  # fmt: skip
    return "Loss surfaces and contours. " + "; ".join(parts) + "."
