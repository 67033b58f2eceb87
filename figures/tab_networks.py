"""The paper's tables: ToW with deviation and seeds, a row a method and rule, with retraining and doing nothing."""

from collections.abc import Callable
from functools import partial

import pandas as pd

from figures.cells import PAPER_METHODS, method_order, missing_cells, rule_order
from figures.commands import STUDY
from figures.drawing import Drawing
from figures.networks import CELL, DIFFICULTIES, GRADED, main_runs, run_caption
from figures.published import published_text
from figures.records import Records
from figures.style import Theme, family, method_label, rule_label
from figures.table import Row, Table, format_cell, summarize, unlearn_table

ROW = ["method", "pretrain", "rule"]
REFERENCES = ("original", "retrained")
ACCURACIES = {"retain_accuracy": "retain", "forget_accuracy": "forget", "test_accuracy": "test"}


def draw(records: Records, theme: Theme, *, keep: Callable[[Table], Table], what: str, wanted: tuple[str, ...] = (),
         accuracies: bool = False) -> Drawing:  # fmt: skip
    """Write ToW of each row and forget set, its mean over the graded forget sets, and the paper's values.

    Args:
        records: what there is.
        theme: ignored; a table has no colours.
        keep: from all runs to the runs of this table.
        what: first sentence of the caption.
        wanted: methods that should have rows.
        accuracies: also give the three accuracies.
    """
    runs = main_runs(records, CELL)
    table = keep(unlearn_table(runs))
    if table.empty:
        missing = (f"network runs: {STUDY}",)
        return Drawing(_nothing(), f"{what} Not run.", "An empty table: not run.", missing=missing,
                       display=pd.DataFrame([{"status": "not run", "command": STUDY}]))  # fmt: skip
    data = _numbers(table, accuracies)
    shown = _display(data, accuracies)
    caption = (
        f"{what} Percent, mean ± standard deviation over training seeds (number of seeds). {run_caption(runs, table)}"
    )
    ids = set(table["run_id"])
    used = tuple(run for run in runs if run.run_id in ids)
    return Drawing(data, caption, _alt(shown), used, missing_cells(table, wanted), display=shown)


def _numbers(table: Table, accuracies: bool) -> Table:
    """Return summary rows: every cell, its mean over the graded sets, and the two reference models."""
    metrics = ["tow", *(ACCURACIES if accuracies else ())]
    table = table.assign(graded=table["difficulty"])  # what a row stood for before it became part of a mean
    mean = table[table["difficulty"].isin(GRADED)].assign(difficulty="mean")
    parts = []
    for metric in metrics:
        for rows, roles in ((table, False), (mean, False), (table, True), (mean, True)):
            source = _as_references(rows, metric) if roles else rows.assign(value=rows.get(metric))
            if len(source):
                parts.append(summarize(source, [*ROW, "difficulty"]).assign(metric=metric))
    return pd.concat(parts, ignore_index=True)


def _as_references(table: Table, metric: str) -> Table:
    """Return the original and the retrained model as rows of their own, once a pretraining, forget set and seed."""
    parts = []
    for role in ("original", "retrained"):
        # The retrained model is its own reference: its ToW is 1 by definition, and it has no column of its own.
        value = 1.0 if (role, metric) == ("retrained", "tow") else table.get(f"{role}_{metric}")
        rows = table.assign(method=role, rule="", value=value)
        parts.append(rows.drop_duplicates(["pretrain", "difficulty", "graded", "seed"]))
    return pd.concat(parts, ignore_index=True).dropna(subset=["value"])


def _display(data: Table, accuracies: bool) -> Table:
    """Return the cells as text: a column a forget set or, with accuracies, a row a forget set and a column a metric."""
    sets = [name for name in (*DIFFICULTIES, "mean") if name in set(data["difficulty"])]
    texts = {(*(row[name] for name in ROW), row["metric"], row["difficulty"]): _text(row) for _, row in data.iterrows()}
    rows = []
    for key in _row_order(data):
        head = {"method": _name(key[0]), "pretrain": rule_label(key[1]), "unlearn": rule_label(key[2]) or "—"}
        paper = {"paper (ToW, mean)": published_text(key[0], key[2])}
        if accuracies:
            names = {"tow": "ToW", **ACCURACIES}
            rows += [head | {"forget set": one} | {name: texts[*key, metric, one] for metric, name in names.items()}
                     | (paper if one == "mean" else dict.fromkeys(paper, "—"))
                     for one in sets if (*key, "tow", one) in texts]  # fmt: skip
        else:
            rows.append(head | {f"ToW {one}": texts.get((*key, "tow", one), "—") for one in sets} | paper)
    return pd.DataFrame(rows)


def _row_order(data: Table) -> list[tuple[str, str, str]]:
    """Return the rows: methods in the paper's order, rules within, the reference models last."""
    methods = [*(name for name in method_order(data) if name not in REFERENCES), *REFERENCES]
    rules = rule_order(data)
    keys = set(data[ROW].itertuples(index=False, name=None))
    return sorted(keys, key=lambda key: (methods.index(key[0]), key[1] != "sgd", key[1], rules.index(key[2])))


def _text(row: Row) -> str:
    by_definition = row["method"] == "retrained" and row["metric"] == "tow"
    return "100 by definition" if by_definition else format_cell(row, percent=True)


def _name(method: str) -> str:
    return {"original": "do nothing", "retrained": "retrained on R"}.get(method, method_label(method))


def _nothing() -> Table:
    return pd.DataFrame(
        columns=pd.Index([*ROW, "difficulty", "metric", "mean", "sd", "low", "high", "seeds", "diverged"])
    )


def _alt(shown: Table) -> str:
    return f"A table of {len(shown)} rows: method, pretraining rule, unlearning rule, and ToW for each forget set."


def _neggrad(table: Table) -> Table:
    return table[
        (table["method"] == "neggrad") & table["rule"].map(lambda rule: family(rule) in ("sgd", "sam", "asam"))
    ]


def _crossed(table: Table) -> Table:
    return table[table["rule"].map(lambda rule: family(rule) in ("sgd", "sam", "asam"))]


def _minmax(table: Table) -> Table:
    return table[table["method"] == "neggrad"]


draw_neggrad = partial(draw, keep=_neggrad, what="ToW of NegGrad for each pretraining and unlearning rule.")
draw_methods = partial(
    draw, keep=_crossed, what="ToW of every method for each pretraining and unlearning rule.",
    wanted=PAPER_METHODS,
)  # fmt: skip
draw_minmax = partial(
    draw, keep=_minmax, accuracies=True,
    what="Sharp MinMax, SAM on the retain loss only, and NegGrad under the plain rules: ToW and its three accuracies.",
)  # fmt: skip
