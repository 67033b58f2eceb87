"""SAM against SGD in the theory, after the same epochs and at the same forget error."""

from typing import Any

import pandas as pd

from figures.catalogue import figure
from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.panels import band, label_panels, log_axis, outside_legend, panel_grid, spread_note
from figures.drawing.style import WIDE, Theme
from figures.tables.records import Records
from figures.tables.texts import alt_text
from figures.tables.theory import claim_command, claim_records, claim_seeds
from figures.theory.tow import LOOKS
from repro.statistics.effects import Table

CLAIMS = ("theorem-3.3-matched-forgetting", "sharp-minmax")
MATCHED = {"epochs": "after 200 epochs", "forgetting": "at forget error 0.5"}


@figure("fig-theory-matched", place=190, shows="SAM against SGD at matched epochs and matched forgetting",
        studies=("claims",), claims=("theorem-3.3-matched-forgetting", "sharp-minmax"))  # fmt: skip
def rules_at_matched_forgetting(records: Records, theme: Theme) -> Drawing:
    """Draw test error against signal strength for each rule: columns are pretrainings and ways to compare."""
    found = claim_records(records, CLAIMS)
    missing = [f"{name}: {claim_command(name)}" for name in CLAIMS if name not in found]
    if not found:
        raise NotRun(CLAIMS[0], command=claim_command(CLAIMS[0]))
    data = _once_a_rule([row for record in found.values() for row in record.result["rows"]])
    keys = [(pretrain, matched) for pretrain in ("sgd", "sam") for matched in MATCHED]
    figure, axes = panel_grid(2, 4, width=WIDE, height=4.2, sharex=True, sharey="row")
    for place, (pretrain, matched) in enumerate(keys):
        rows = data[(data["pretrain"] == pretrain) & (data["matched"] == matched)]
        _errors(axes[:, place], rows, theme)
    titles = [f"pretrained {pretrain.upper()}\n{MATCHED[matched]}" for pretrain, matched in keys]
    label_panels(axes, titles=titles, rows=("test error", "forget error"), x="signal strength $s$")
    seeds = claim_seeds(found.values())
    outside_legend(figure, axes[0, 0], columns=3, head=spread_note(seeds))
    return Drawing(data, _caption(seeds) + _distance(data), _alt(data), tuple(found.values()), tuple(missing), figure)


def _once_a_rule(rows: list[dict]) -> Table:
    """Return the rows of the main setting (NegGrad, alpha 0.9, mask of half the neurons), each rule once."""
    table: Table = pd.DataFrame([row for row in rows if "matched" in row])
    fraction = table["mask_fraction"] if "mask_fraction" in table else pd.Series(None, index=table.index)
    table = table[(table["alpha"] == 0.9) & (table["method"] == "neggrad") & fraction.isna()]
    return table[table["rule"].isin(list(LOOKS))].drop_duplicates(["pretrain", "matched", "rule", "signal_strength"])


def _errors(axes: Any, rows: Table, theme: Theme) -> None:
    for rule, (family, fill) in LOOKS.items():
        line = rows[rows["rule"] == rule].sort_values("signal_strength")
        if line.empty:
            continue
        look = theme.lines(family) | {"fillstyle": fill, "linewidth": 1.3 if fill == "full" else 0.8}
        band(axes[0], line["signal_strength"], line, "test_error", label=rule, **look)
        axes[1].plot(line["signal_strength"], line["forget_error"], **look)
        for panel, name in zip(axes, ("predicted_test_error", "predicted_forget_error"), strict=True):
            if name in line and line[name].notna().any():
                values = line[name].astype(float)
                panel.plot(line["signal_strength"], values, color=look["color"], linewidth=0.5, zorder=1)
    for panel in axes:
        log_axis(panel, "x", base=2)
        panel.set_ylim(-0.03, 1.03)
    axes[0].set_ylim(-0.02, 0.62)


def _caption(seeds: str) -> str:
    return (
        "Test error, with forget error below, of each unlearning rule under NegGrad (alpha = 0.9) against signal "
        "strength, from the exact simulation: after the same 200 epochs, and at the first checkpoint with forget error "
        "0.5. A rule with a low test error and a low forget error has done little. SAM 0.1 and SAM 1: radius in units "
        "of rho_th; MinMax: mask of half the neurons, refreshed every 5 epochs unless fixed. Bands of test error: 95 % "
        f"intervals over {seeds} seeds; seeds that never reach the level are left out (share in the CSV, `reached`). "
        "Thin lines without marks: what the mean field predicts without simulating; it has no Sharp MinMax."
    )


def _distance(data: Table) -> str:
    """Return how far predicted test errors lie from the simulated ones, in either way of comparing."""
    if "predicted_test_error" not in data:
        return ""
    gap = (data["predicted_test_error"].astype(float) - data["test_error"]).abs()
    parts = [f"{MATCHED[str(how)]} {rows.median():.3f}, at most {rows.max():.2f}" for how, rows in
             gap.groupby(data["matched"], sort=False)]  # fmt: skip
    return f" Test errors are off by (median): {'; '.join(parts)}."


def _alt(data: Table) -> str:
    rows = data[(data["signal_strength"] == 0.5) & (data["matched"] == "forgetting")]
    shown = "Curves of error against signal strength. At s = 0.5 and forget error 0.5"
    return alt_text(shown, rows, "pretrained {pretrain}, {rule}: {test_error:.3f}")
