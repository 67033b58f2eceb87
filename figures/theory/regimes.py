"""Phase diagrams in the variables that decide: (s, X) of learning, (s, V / V_c) of survival, (alpha odds, s)."""

from typing import Any

import numpy as np

from figures.catalogue import figure
from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.panels import label_panels, log_axis, panel_grid, rule_key, say_not_run
from figures.drawing.style import WIDE, Theme
from figures.tables.names import rule_label
from figures.tables.records import Records
from figures.tables.texts import alt_text
from figures.tables.theory import sweep_record, sweep_table
from repro.statistics.effects import Table

LEVELS = np.linspace(0.0, 0.5, 11)
BENIGN = 0.1
EDGE = "#1A1A1A"  # seen on every shade of the map
FORGOTTEN = "#FF7FBF"  # seen on the map and on the page
ACTIVE = 0.6  # share of active noise neurons in X, as in the closed forms
STARTS = {("sgd", 0): "initialization", ("sgd", 100): "SGD-pretrained", ("sam", 100): "SAM-pretrained"}


@figure("fig-theory-drive", place=140, shows="test error over signal strength and noise drive X", studies=("sweeps",),
        claims=("theorem-3.2-sgd-boundary", "theorem-3.3-sam-boundary"),
        made_by="repro theory sweep drive")  # fmt: skip
def drive_map(records: Records, theme: Theme) -> Drawing:
    """Draw test error after pretraining over signal strength and noise drive X, one panel per rule."""
    record = sweep_record(records, "drive")
    if record is None:
        raise NotRun("the drive sweep")
    base = record.config["base"]
    table = sweep_table(record)
    steps = table["pretrain_epochs"] * -(-base["n"] // base["batch_size"])
    unit = base["eta_scale"] * (base["patches"] - 1) ** 2 * base["sigma_p"] ** 2 / (base["n"] * base["m"])
    data = table.assign(X=ACTIVE * unit * steps, error=table["pretrained_test_error"])
    data = data.rename(columns={"predicted_pretrained_test_error": "predicted"})
    names = ["pretrain", "pretrain_epochs", "signal_strength", "X", "error", "pretrained_test_error_se", "predicted"]
    data = data[[name for name in names if name in data]]
    figure, axes = panel_grid(1, 2, width=WIDE, height=2.7, sharex=True, sharey=True)
    missing = []
    for panel, rule in zip(axes[0], ("sgd", "sam"), strict=True):
        rows = data[data["pretrain"] == rule]
        missing.append(_map(panel, rows, ("signal_strength", "X"), theme, f"pretrained {rule.upper()}"))
    _label(figure, axes, "signal strength $s$", "noise drive $X$", "test error")
    predicted = ("test error 0.1, mean field", _line(EDGE, width=0.7))
    rule_key(figure, theme, [], notes=[_boundary_key(theme), predicted], head=f"means over {base['seeds']} seeds")
    caption = (
        "Test error after pretraining over signal strength s and noise drive X = eta N a (P-1)^2 sigma_p^2 d / (n m), "
        "with a = 0.6; X grows with the epochs, from 10 to 640. Orange: test error 0.1; "
        "thin: the same line as the mean field predicts it without simulating. "
        f"Means over {base['seeds']} seeds; d = {base['d']}, n = {base['n']}, m = {base['m']}."
    )
    alt = benign_shares(data, ["pretrain"], "pretrained {pretrain}")
    return Drawing(data, caption, alt, (record,), tuple(filter(None, missing)), figure)


@figure("fig-theory-survival", place=150, shows="surviving neurons over signal strength and V / V_c",
        studies=("sweeps",), claims=("lemma-3.1-activation",), made_by="repro theory sweep survival")  # fmt: skip
def neuron_survival(records: Records, theme: Theme) -> Drawing:
    """Draw which share of the active retain neurons (j = y) survives the perturbation, over s and V / V_c."""
    record = sweep_record(records, "survival")
    if record is None or "depth_retain_match" not in record.arrays():
        raise NotRun("the survival sweep")
    table = sweep_table(record)
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    active = table["active_retain_match"]
    data = table.assign(
        depth=table["depth_retain_match"], survive=table["active_retain_match_joint"] / active,
        predicted=table["active_retain_match_predicted"] / active,
        start=[STARTS.get(key, str(key)) for key in zip(table["pretrain"], table["pretrain_epochs"], strict=True)],
    )  # fmt: skip
    data = data[["start", "signal_strength", "probe_rho_scale", "depth", "survive", "predicted"]]
    figure, axes = panel_grid(1, len(STARTS), width=WIDE, height=2.7, sharex=True, sharey=True)
    label_panels(axes, titles=STARTS.values(), rows=["depth $V / V_c$"], x="signal strength $s$")
    for panel, start in zip(axes[0], STARTS.values(), strict=True):
        rows = data[data["start"] == start]
        panel.scatter(rows["signal_strength"], rows["depth"], c=rows["survive"], vmin=0, vmax=1, cmap="cividis")
        panel.axhline(1.0, color=theme.color("sam"), linewidth=1.2)
        log_axis(panel, "x", base=2)
        log_axis(panel, "y")
    figure.colorbar(
        ScalarMappable(Normalize(0, 1), cmap="cividis"), ax=axes, label="surviving share", shrink=0.8, pad=0.01
    )
    worst = float((data["survive"] - data["predicted"]).abs().max())
    caption = (
        "Lemma 3.1: share of the active retain neurons (j = y) that stay active under the SAM perturbation, over "
        "signal strength s and the mean depth V / V_c of their preactivations, V_c = rho sigma_p sqrt(d) r_i / "
        "|r|_active (orange: V = V_c); each point is a start and a radius of 0.03 to 10 rho_th. Counting the "
        f"neurons with V > V_c one by one gives the share within {worst:.3f}. Means over "
        f"{record.config['base']['seeds']} seeds."
    )
    alt = "Points over signal strength and depth, coloured by surviving share. " + "; ".join(
        f"{start}: {rows['survive'].min():.2f} to {rows['survive'].max():.2f}"
        for start, rows in data.groupby("start", sort=False)
    )
    return Drawing(data, caption, f"{alt}.", (record,), (), figure)


@figure("fig-theory-odds", place=160, shows="test error over the odds of alpha and signal strength",
        studies=("sweeps",), claims=("lemma-3.4-alpha-tolerance", "lemma-3.4-alpha-gap"),
        made_by="repro theory sweep odds")  # fmt: skip
def odds_map(records: Records, theme: Theme) -> Drawing:
    """Draw test error after 100 epochs of NegGrad over the odds of alpha and signal strength, one panel per rule."""
    record = sweep_record(records, "odds")
    if record is None:
        raise NotRun("the odds sweep")
    table = sweep_table(record)
    rules = [("sgd", 0.1), ("sam", 0.1), ("sam", 1.0)]
    data = table.assign(odds=table["alpha"] / (1 - table["alpha"]), error=table["test_error"])
    data = data[["pretrain", "unlearn", "rho_scale", "alpha", "odds", "signal_strength", "error", "test_error_se",
                 "forget_error"]]  # fmt: skip
    figure, axes = panel_grid(2, len(rules), width=WIDE, height=4.3, sharex=True, sharey=True)
    missing = []
    for row, pretrain in zip(axes, ("sgd", "sam"), strict=True):
        for panel, (rule, rho) in zip(row, rules, strict=True):
            chosen = data[
                (data["pretrain"] == pretrain) & (data["unlearn"] == rule) & np.isclose(data["rho_scale"], rho)
            ]
            name = rule_label(rule) + (f" {rho:g}" if rule == "sam" else "")
            missing.append(_map(panel, chosen, ("odds", "signal_strength"), theme, f"{pretrain.upper()} → {name}"))
            if len(chosen):
                _forgotten(panel, chosen)
    _label(figure, axes, r"odds $\alpha / (1 - \alpha)$", "signal strength $s$", "test error")
    base = record.config["base"]
    forgotten = ("forget error 0.5", _line(FORGOTTEN, "--", 1.2))
    rule_key(figure, theme, [], notes=[_boundary_key(theme), forgotten], head=f"means over {base['seeds']} seeds")
    caption = (
        "Test error after 100 epochs of NegGrad over the odds alpha / (1 - alpha), the ratio of the weights of the two "
        "losses, and signal strength s: pretraining rule → unlearning rule (SAM with its radius in units of rho_th). "
        "Orange: test error 0.1; pink, dashed: forget error 0.5; left of it F is forgotten. Where a panel is benign "
        "but nothing is forgotten, nothing was unlearned. No predicted line: below alpha = 0.9, where the boundaries "
        f"lie, seeds fall apart and the mean field does not hold. Means over {base['seeds']} seeds; d = {base['d']}, "
        f"n = {base['n']}."
    )
    alt = benign_shares(data, ["pretrain", "unlearn", "rho_scale"], "{pretrain} → {unlearn} {rho_scale:g}")
    return Drawing(data, caption, alt, (record,), tuple(filter(None, missing)), figure)


def _line(color: str, style: str = "-", width: float = 1.8) -> dict[str, Any]:
    return {"color": color, "marker": "", "linestyle": style, "linewidth": width}


def _boundary_key(theme: Theme) -> tuple[str, dict[str, Any]]:
    return "test error 0.1, simulated", _line(theme.color("sam"))


def _map(axes: Any, rows: Table, names: tuple[str, str], theme: Theme, title: str) -> str:
    """Draw test error over two columns on log axes, with its contour at 0.1; return what is missing, if anything."""
    axes.set_title(title, fontsize=8)
    if rows.empty:
        return say_not_run(axes, f"{title}: repro theory sweep", theme)
    x, y, error = grid_of(rows, names, "error")
    shade(axes, x, y, error, grid_of(rows, names, "predicted")[2] if "predicted" in rows else None, theme)
    return ""


def shade(axes: Any, x: np.ndarray, y: np.ndarray, error: np.ndarray, predicted: Any, theme: Theme) -> Any:
    """Draw test error `(rows, columns)` as shades, with its contour at 0.1 and the contour of any prediction."""
    image = axes.contourf(x, y, error.clip(0, 0.4999), levels=LEVELS, cmap="cividis_r")
    axes.contour(x, y, error, levels=[BENIGN], colors=[theme.color("sam")], linewidths=1.8)
    if predicted is not None:
        axes.contour(x, y, predicted, levels=[BENIGN], colors=[EDGE], linewidths=0.7, zorder=4)
    log_axis(axes, "x")
    log_axis(axes, "y")
    axes.grid(False)
    return image


def _forgotten(axes: Any, rows: Table) -> None:
    x, y, forget = grid_of(rows, ("odds", "signal_strength"), "forget_error")
    if forget.min() < 0.5 < forget.max():
        axes.contour(x, y, forget, levels=[0.5], colors=[FORGOTTEN], linewidths=1.2, linestyles="--")


def grid_of(rows: Table, names: tuple[str, str], value: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the values of two columns and a third over them, shape `(y, x)`."""
    wide = rows.pivot_table(index=names[1], columns=names[0], values=value)
    return wide.columns.to_numpy(float), wide.index.to_numpy(float), wide.to_numpy(float)


def _label(figure: Any, axes: Any, x: str, y: str, what: str) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm

    label_panels(axes, rows=[y] * len(axes), x=x)
    shades = ScalarMappable(BoundaryNorm(LEVELS, 256), cmap="cividis_r")
    figure.colorbar(shades, ax=axes, label=what, shrink=0.8, pad=0.01)


def benign_shares(data: Table, keys: list[str], form: str) -> str:
    """Return the share of a panel's grid with test error at most 0.1, panel by panel, as an alt text.

    Args:
        data: columns `error` and `keys`, which name a panel; form: how a panel is named.
    """
    benign = data.assign(benign=data["error"] <= BENIGN).groupby(keys, sort=False)["benign"].mean().reset_index()
    return alt_text("Phase diagrams. Share of the grid with test error at most 0.1", benign, form + ": {benign:.0%}")
