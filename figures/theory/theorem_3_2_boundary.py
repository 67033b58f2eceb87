"""Theorems 3.2 and 3.3, where overfitting turns benign: the signal at which test error crosses 0.1, over d and n."""

from typing import Any

import numpy as np
import pandas as pd

from figures.drawing.drawing import Drawing, empty_figure
from figures.drawing.panels import data_ticks, log_axis, panel_grid, say_not_run
from figures.drawing.style import WIDE, Theme
from figures.tables.intervals import Table
from figures.tables.records import Records
from figures.tables.theory import claim_command, claim_records, claim_seeds

CLAIMS = {"theorem-3.2-sgd-boundary": "SGD-pretrained", "theorem-3.3-sam-boundary": "SAM-pretrained"}
# The stage that each claim is about comes first; the line of a stage is fixed by its place.
LINES = ["-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)), (0, (3, 3)), (0, (8, 2))]
MARKERS = "osD^vPX*"
SGD, SAM = CLAIMS
PANELS = [  # claim, title, which rows
    (SGD, "SGD-pretrained, along d", lambda data: data["axis"] == "d"),
    (SAM, "SAM, trained in two phases\nor after unlearning", lambda data: ~data["stage"].str.startswith("pretrained")),
    (SGD, "SGD-pretrained, along n", lambda data: data["axis"] == "n"),
    (SAM, "SAM at fixed epochs:\nthe random start", lambda data: data["stage"].str.startswith("pretrained")),
]


def draw(records: Records, theme: Theme) -> Drawing:
    """Draw the measured boundary of each stage with its fitted exponent, beside the exponent of the theorem."""
    found = claim_records(records, CLAIMS)
    missing = [f"{CLAIMS[name]} boundary: {claim_command(name)}" for name in CLAIMS if name not in found]
    if not found:
        return empty_figure(missing[0], theme)
    data: Table = pd.concat([_rows(name, record.result["rows"]) for name, record in found.items()], ignore_index=True)
    figure, axes = panel_grid(2, 2, width=WIDE, height=7.4)  # the keys need the height
    for panel, (name, title, keep) in zip(axes.flat, PANELS, strict=True):
        rows = data[(data["claim"] == name) & keep(data)]
        panel.set_title(title)
        if rows.empty:
            say_not_run(panel, f"{CLAIMS[name]}: {claim_command(name)}", theme)
            continue
        _panel(panel, rows, theme, sgd=name.startswith("theorem-3.2"))
        panel.set_xlabel("samples $n$" if rows["axis"].iloc[0] == "n" else "dimension $d$")
        panel.set_ylabel(r"$|\phi|$ at test error 0.1")
    used = tuple(found.values())
    return Drawing(data, _caption(claim_seeds(used)), _alt(data), used, tuple(missing), figure)


def _rows(name: str, rows: list[dict]) -> Table:
    """Return one row a stage and point of the boundary, with the fitted exponent and its interval."""
    parts = []
    for row in rows:
        points = {"at": row["axis"], "boundary": row["boundary"], "forget_error": row["forget_error_there"]}
        starts = row.get("random_start") if str(row["stage"]).startswith("pretrained") else None
        points["predicted"] = row.get("predicted") or starts or [None] * len(row["axis"])
        names = {"claim": name, "stage": row["stage"], "axis": row["along"][0]}
        fit = {key: row[key] for key in ("exponent", "exponent_low", "exponent_high")}
        parts.append(pd.DataFrame(points).assign(**names, **fit))
    numbers = ("boundary", "forget_error", "predicted", "exponent", "exponent_low", "exponent_high")
    return pd.concat(parts, ignore_index=True).astype(dict.fromkeys(numbers, float))


def _panel(axes: Any, rows: Table, theme: Theme, *, sgd: bool) -> None:
    rule = "sgd" if sgd else "sam"
    for place, (stage, line) in enumerate(rows.groupby("stage", sort=False)):
        look = {"color": theme.color(rule) if place == 0 else theme.ink, "linestyle": LINES[place % len(LINES)]}
        fit = line.iloc[0]
        between = "" if np.isnan(fit["exponent"]) else f" [{fit['exponent_low']:.2f}, {fit['exponent_high']:.2f}]"
        text = f"{_short(str(stage))}\n{_fitted(fit['exponent'])}{between}"
        axes.plot(line["at"], line["boundary"], marker=MARKERS[place % len(MARKERS)], label=text,
                  linewidth=1.6 if place == 0 else 0.8, markersize=4 if place == 0 else 3, **look)  # fmt: skip
        if line["predicted"].notna().any():
            axes.plot(line["at"], line["predicted"], color=look["color"], linewidth=0.5, zorder=1)
    span = np.array([rows["at"].min(), rows["at"].max()], dtype=float)
    # The theorem's own power through the first point of the main stage: 1/4 in d, -1/4 in n, or constant.
    power = {"d": 0.25, "n": -0.25}[rows["axis"].iloc[0]] if sgd else 0.0
    for first in rows.dropna(subset=["boundary"])[:1].to_dict("records"):  # none where all are off the grid
        level = first["boundary"] * (span / first["at"]) ** power
        axes.plot(span, level, color=theme.faint, linewidth=5, alpha=0.7, zorder=0, label=f"theorem: {power:g}")
    log_axis(axes, "x")
    data_ticks(axes, rows["at"])
    log_axis(axes, "y")
    axes.legend(loc="center left", bbox_to_anchor=(1.03, 0.5), title="fitted exponent\n[95 %]", title_fontsize=7)


def _fitted(exponent: float) -> str:
    return "off the grid" if np.isnan(exponent) else f"{exponent:.2f}"


def _short(stage: str) -> str:
    shorter = {" epochs": " ep.", "pretrained": "before", "forget error": "eF", ", then ": ",\n", ", eta": ",\neta"}
    for words, word in shorter.items():
        stage = stage.replace(words, word)
    return stage


def _caption(seeds: str) -> str:
    return (
        "Boundary of benign overfitting: the signal norm |phi| at which the mean test error crosses 0.1, against the "
        "dimension d and the number of samples n, before and after unlearning with NegGrad, from the exact simulation, "
        "in two clocks (eta fixed, eta ~ 1/d), at equal epochs and at equal forget error (eF); SAM also as in Chen et "
        "al. 2023, for T1 ~ d epochs and then SGD to a training loss of 0.01. "
        "The broad line has the exponent of the theorem (3.2 for SGD: d^(1/4) n^(-1/4); 3.3 for SAM: constant) and "
        "passes through the first point. Thin lines without marks, before unlearning: the boundary predicted without "
        "simulating, for SGD by the mean field, for SAM at fixed epochs by the closed form of the random start; after "
        "two phases or at alpha = 0.7 there is none. Legend: fitted exponent with a 95 % bootstrap interval over "
        f"{seeds} seeds. The forget error at each boundary is in the CSV: a boundary where nothing "
        "was forgotten says little about unlearning."
    )


def _alt(data: Table) -> str:
    fits = data.drop_duplicates(["claim", "stage", "axis"])
    parts = [f"{CLAIMS[row.claim]}, {row.stage}, along {row.axis}: {_fitted(row.exponent)}"
             for row in fits.itertuples()]  # fmt: skip
    return "Boundary curves on log axes. Fitted exponents: " + "; ".join(parts) + "."
