"""ToW and its three accuracies against alpha, the weight of the retain loss."""

from figures.commands import ALPHA
from figures.curves import draw_curves
from figures.drawing import Drawing, frame
from figures.fig_tow import METRICS
from figures.networks import CELL, main_runs, run_caption
from figures.records import Records
from figures.style import Theme, rule_label
from figures.table import Table, unlearn_table
from repro.records.record import Record


def swept(runs: list[Record], x: str, *, method: str = "neggrad", least: int = 3) -> Table:
    """Return the runs of one method whose cell (rules and forget set) was swept over at least `least` values of `x`."""
    table = unlearn_table(runs)
    if x not in table:
        return table.iloc[:0]
    table = table[table["method"] == method]
    groups = table.groupby(["pretrain", "rule", "difficulty"])
    return table[groups[x].transform("nunique") >= least] if len(table) else table


def draw(records: Records, theme: Theme) -> Drawing:
    """Draw NegGrad's ToW and accuracies against alpha for SGD, SAM and ASAM."""
    runs = main_runs(records, (*CELL, "alpha"), swept="alpha")
    table = swept(runs, "alpha")
    if table.empty:
        return frame(theme, missing=f"a sweep of alpha: {ALPHA}")
    runs = [run for run in runs if run.run_id in set(table["run_id"])]
    figure, data = draw_curves(table, "alpha", METRICS, theme, x_label="alpha (retain weight)",
                               references=("retrained", "original"))  # fmt: skip
    caption = (
        "ToW and its three accuracies under NegGrad against alpha, the weight of the retain loss; smaller alpha pushes "
        "harder on F. Legend: pretraining → unlearning rule. Lines: means; bands: 95 % t-intervals. Black: retrained "
        f"model (solid), original model (dotted). {run_caption(runs, table)}"
    )
    return Drawing(data, caption, _alt(data), tuple(runs), (), figure)


def _alt(data: Table) -> str:
    tow = data[(data["metric"] == "tow") & data["rule"].notna()]
    ends = tow[tow["alpha"] == tow["alpha"].min()]
    parts = [f"{rule_label(row.pretrain)} to {rule_label(row.rule)}, {row.difficulty}: {row.mean:.2f}"
             for row in ends.itertuples()]  # fmt: skip
    return f"Curves over alpha. ToW at the smallest alpha, {tow['alpha'].min():g}: " + "; ".join(parts) + "."
