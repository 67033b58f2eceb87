"""Phase diagrams: test error over dimension and signal, with the measured and the claimed boundary."""

from typing import Any

import numpy as np
import pandas as pd

from figures.catalogue import figure, lacking
from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.panels import data_ticks, label_panels, panel_grid, rule_key, say_not_run
from figures.drawing.style import WIDE, Theme
from figures.tables.records import Records
from figures.tables.theory import sweep_record, sweep_table
from figures.theory.regimes import EDGE, benign_shares, shade
from repro.records.record import Record
from repro.statistics.effects import Table

# Title, unlearning rule and radius; None is the pretrained network.
STAGES: list[tuple[str, tuple[str, float] | None]] = [
    ("before", None), ("after SGD", ("sgd", 0.1)), ("after SAM 0.1", ("sam", 0.1)), ("after SAM 1", ("sam", 1.0))
]  # fmt: skip
SGD_THRESHOLD = 0.93  # in units of (P-1) sigma_p (d/n)^(1/4); its measured constant with sigma_0 ~ d^(-1/2)


@figure("fig-theory-map", place=130, shows="phase diagrams of test error over d and |phi|", studies=("sweeps",),
        claims=("theorem-3.2-sgd-boundary", "theorem-3.3-sam-boundary"),
        made_by="repro theory sweep phase")  # fmt: skip
def phase_map(records: Records, theme: Theme) -> Drawing:
    """Draw mean test error over (d, |phi|): one row per pretraining rule, one column per stage."""
    record = sweep_record(records, "phase")
    if record is None:
        raise NotRun("the phase sweep")
    data = phase_table(record)
    figure, axes = panel_grid(2, len(STAGES), width=WIDE, height=4.3, sharex=True, sharey=True)
    image, missing = None, []
    for row, pretrain in zip(axes, ("sgd", "sam"), strict=True):
        for panel, (title, _) in zip(row, STAGES, strict=True):
            rows = data[(data["pretrain"] == pretrain) & (data["stage"] == title)]
            if rows.empty:
                missing.append(say_not_run(panel, lacking("fig-theory-map", f"pretrained {pretrain}, {title}"), theme))
                continue
            image = _one_stage(panel, rows, theme)
    names = [f"pretrained {pretrain}\n" + r"signal norm $|\phi|$" for pretrain in ("SGD", "SAM")]
    label_panels(axes, titles=[title for title, _ in STAGES], rows=names, x="dimension $d$")
    if image is not None:
        figure.colorbar(image, ax=axes, label="test error", shrink=0.8, pad=0.01)
    head = f"lines: test error 0.1, {record.config['base']['seeds']} seeds"
    rule_key(figure, theme, [], notes=_looks(theme), head=head)
    alt = benign_shares(data, ["pretrain", "stage"], "pretrained {pretrain}, {stage}")
    return Drawing(data, _caption(record), alt, (record,), tuple(missing), figure)


def _looks(theme: Theme) -> list[tuple[str, dict[str, Any]]]:
    """Return what each line of a panel is and how it looks."""
    from matplotlib.patheffects import withStroke

    edge = {"color": "white", "marker": "", "path_effects": [withStroke(linewidth=2.6, foreground=EDGE)]}
    return [("simulated", {"color": theme.color("sam"), "marker": "", "linestyle": "-", "linewidth": 1.8}),
            ("mean field", {"color": EDGE, "marker": "", "linestyle": "-", "linewidth": 0.7}),
            (r"Theorem 3.2, $d^{1/4}$", edge | {"linestyle": "--"}),
            ("Theorem 3.3, constant", edge | {"linestyle": ":"})]  # fmt: skip


def phase_table(record: Record) -> Table:
    """Return one row per setting and stage: d, |phi|, mean test error with its standard error, mean forget error."""
    base, table = record.config["base"], sweep_table(record)
    unit = (base["patches"] - 1) * base["sigma_p"] * (table["d"] / table["n"]) ** 0.25
    table = table.assign(norm=table["signal_strength"] * unit, unit=unit)
    keep = ["d", "n", "signal_strength", "norm", "unit", "pretrain"]
    parts = []
    for title, rule in STAGES:
        if rule is None:
            rows = table.drop_duplicates(["d", "signal_strength", "pretrain"])
            rows = rows.assign(error=rows["pretrained_test_error"], se=rows["pretrained_test_error_se"], forget=np.nan)
            rows = rows.assign(predicted=rows.get("predicted_pretrained_test_error", np.nan))
        else:
            rows = table[(table["unlearn"] == rule[0]) & np.isclose(table["rho_scale"], rule[1])]
            rows = rows.assign(error=rows["test_error"], se=rows["test_error_se"], forget=rows["forget_error"])
            rows = rows.assign(predicted=np.nan)
        parts.append(rows[[*keep, "error", "se", "forget", "predicted"]].assign(stage=title, seeds=base["seeds"]))
    return pd.concat(parts, ignore_index=True)


def _one_stage(axes: Any, rows: Table, theme: Theme) -> Any:
    from matplotlib.patheffects import withStroke

    wide = rows.pivot(index="signal_strength", columns="d", values="error")
    norms = rows.pivot(index="signal_strength", columns="d", values="norm").to_numpy()
    dimensions = np.tile(wide.columns.to_numpy(dtype=float), (len(wide), 1))
    foreseen = None
    if rows["predicted"].notna().all():
        foreseen = rows.pivot(index="signal_strength", columns="d", values="predicted").to_numpy()
    image = shade(axes, dimensions, norms, wide.to_numpy(), foreseen, theme)
    span = np.array([dimensions.min(), dimensions.max()])
    points = rows.drop_duplicates("d").sort_values("d")
    sgd = SGD_THRESHOLD * np.interp(span, points["d"].to_numpy(dtype=float), points["unit"].to_numpy())
    edge = {"path_effects": [withStroke(linewidth=2.6, foreground=EDGE)]}  # or it would vanish on yellow
    axes.plot(span, sgd, color="white", linestyle="--", linewidth=1.2, **edge)
    axes.plot(span, [sgd[0], sgd[0]], color="white", linestyle=":", linewidth=1.2, **edge)
    data_ticks(axes, rows["d"])
    if rows["forget"].notna().any():
        axes.annotate(f"forget error {rows['forget'].mean():.2f}", (0.04, 0.05), xycoords="axes fraction", fontsize=7,
                      color="#FFFFFF", bbox={"facecolor": "#1A1A1A", "edgecolor": "none", "pad": 1.5})  # fmt: skip
    return image


def _caption(record: Record) -> str:
    base = record.config["base"]
    return (
        "Phase diagrams of mean test error over dimension d and signal norm |phi|, before unlearning and after 100 "
        "epochs of NegGrad (alpha = 0.7). Orange: the measured boundary at test error 0.1. White, dashed: the form of "
        "Theorem 3.2, 0.93 (P-1) sigma_p (d/n)^(1/4); white, dotted: a constant, the form of Theorem 3.3. Black, thin, "
        "before unlearning: the boundary that the mean field predicts without simulating (at alpha = 0.7, after long "
        "ascent, it does not hold, so that there is none). Each panel "
        "states its mean forget error: a low test error without forgetting is no unlearning. Means over "
        f"{base['seeds']} seeds; standard errors in the CSV. Setting: n = {base['n']}, P = {base['patches']}, "
        f"m = {base['m']}."
    )
