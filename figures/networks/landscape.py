"""Loss around each model on F and on test: surface and contour, same directions and same range in every panel."""

from typing import Any

import numpy as np
import pandas as pd

from figures.catalogue import figure
from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.style import WIDE, Theme
from figures.marks import field
from figures.tables.records import Records
from figures.tables.runs import original_accuracy, tag, unlearn_table
from figures.tables.snapshots import Snapshot, snapshots, used_records
from figures.tables.texts import alt_text
from repro.records.record import Record
from repro.statistics.effects import Table
from repro.statistics.seeds import interval

SETS = {"forget": "F", "test": "test"}


@figure("fig-landscape", place=90, shows="loss landscapes on F and test", studies=("cifar10",), claims=("6a", "6b"))
def loss_landscapes(records: Records, theme: Theme) -> Drawing:
    """Draw surface above heat map for each model (columns) and data set (row pairs), with curvature and basin ratio."""
    shown = snapshots(records, "landscape")
    if not shown:
        raise NotRun("loss landscapes")
    from matplotlib.figure import Figure

    sets = [name for name in SETS if all(one.record.arrays(f"landscape_{one.model}_{name}") for one in shown)]
    height = min(3.5, 0.7 + 11 / len(shown))  # of a surface above a heat map, in inches
    figure, parts = Figure(figsize=(WIDE, height * len(sets) + 0.2), layout="constrained"), []
    for part, name in zip(figure.subfigures(len(sets), 1, squeeze=False)[:, 0], sets, strict=True):
        grids = [_grid(one.record, one.model, name)[0] for one in shown]
        values = np.concatenate([grid[np.isfinite(grid)] for grid in grids])
        limits = float(values.min()), float(values.max()) + 1e-9  # one range for all models
        for place, (one, grid) in enumerate(zip(shown, grids, strict=True)):
            above, below = (part.add_subplot(2, len(shown), half * len(shown) + place + 1, **look)
                            for half, look in enumerate(({"projection": "3d"}, {})))  # fmt: skip
            above.set_title(f"{one.title}\nloss on {SETS[name]}" if name == sets[0] else f"loss on {SETS[name]}")
            parts.append(_model(above, below, (one, name), grid, limits))
        colours = part.colorbar(below.collections[0], ax=part.axes[1::2], fraction=0.05, pad=0.01, aspect=12)
        colours.set_label("loss")
    data = pd.concat(parts, ignore_index=True)
    form = "{title} on {set}: curvature {curvature:.2f}, basin {basin_ratio:.2f}"
    alt = alt_text("Loss surfaces and contours", data.drop_duplicates(["title", "set"]), form)
    return Drawing(data, _caption(shown), alt, used_records(shown), (), figure)


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


def _model(above: Any, below: Any, what: tuple[Snapshot, str], grid: np.ndarray, limits: tuple[float, float]) -> Table:
    """Draw one model's loss as a surface above a heat map with contour lines; return it with its numbers."""
    one, name = what
    line = _grid(one.record, one.model, name)[1]
    across, along = np.meshgrid(line, line)
    shown = np.nan_to_num(grid, nan=limits[1])
    above.plot_surface(across, along, shown, cmap="cividis", vmin=limits[0], vmax=limits[1], linewidth=0, rcount=40,
                       ccount=40, rasterized=True)  # fmt: skip
    above.set(zlim=limits, xticks=[], yticks=[])
    above.set_box_aspect((1, 1, 0.7), zoom=1.1)
    above.tick_params(pad=-2)
    field(below, pd.DataFrame(shown, line, line), limits=limits, levels=12, cbar=False, square=True,
          xticklabels=False, yticklabels=False)  # fmt: skip
    below.plot([len(line) / 2], [len(line) / 2], marker="+", color="white", markersize=6)
    numbers = _sharpness(one, name)
    below.set_xlabel(_numbers_text(numbers), fontsize=7)
    return pd.DataFrame({"x": across.ravel(), "y": along.ravel(), "loss": grid.ravel()}).assign(
        title=one.title, set=name, run_id=one.record.run_id, **numbers
    )


def _grid(run: Record, model: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the losses of a model on a set, `(k, k)`, and the steps along either direction, `(k,)`."""
    found = run.arrays("landscape_axis", f"landscape_{model}_{name}")
    return np.asarray(found[f"landscape_{model}_{name}"], dtype=float), np.asarray(found["landscape_axis"], dtype=float)


def _sharpness(one: Snapshot, name: str) -> dict[str, float]:
    """Return mean, deviation and number of seeds of the curvature and basin ratio of every seed's own grid."""
    found: dict[str, list[float]] = {"curvature": [], "basin_ratio": []}
    for run in one.records:
        grid, axis = _grid(run, one.model, name)
        found["curvature"].append(curvature(grid, float(axis[-1])))
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
        "How sharp the loss is around each model, on the forget set and on test data: a narrow bowl is a sharp "
        "minimum. All models are moved along the same two random directions, filter-normalized, by up to "
        f"{_grid(first, shown[0].model, 'forget')[1][-1]:g} either way. The cross is the model itself. All models "
        "of a row share one range of loss. Curvature: mean second derivative at the centre; basin: fraction of points "
        "within half a standard deviation of the centre's loss, blind to scale. Numbers: mean ± standard deviation "
        "over seeds; pictures: "
        f"seed {tag(first, 'seed')}. Setting: {tag(first, 'dataset')}, {tag(first, 'model')}, forget set "
        f"{tag(first, 'difficulty')}. {original_accuracy(unlearn_table(used_records(shown)))}"
    )
