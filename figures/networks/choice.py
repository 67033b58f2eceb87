"""How a study's hyper-parameter was chosen (tab-choice): ToW of every candidate, a row a method, rule, forget set."""

from collections.abc import Sequence

import pandas as pd

from figures.catalogue import lacking
from figures.drawing.drawing import Drawing, empty_table
from figures.drawing.style import Theme
from figures.tables.cells import TUNED, unlearn_table
from figures.tables.intervals import Table
from figures.tables.names import DIFFICULTIES, method_label, method_order, rule_label, rule_order
from figures.tables.records import Records, comparable
from repro.records.record import Record

ROW = ["method", "rule", "difficulty"]
COLUMNS = [*ROW, "candidate", "tow", "runs", "chosen"]


def draw(records: Records, theme: Theme) -> Drawing:
    """Write ToW in percent of every candidate, the chosen one marked."""
    runs = comparable(records.of("choice"), (*ROW, "method_options", *TUNED))
    table = unlearn_table(runs)
    if table.empty:
        return empty_table(lacking("tab-choice", "runs that choose"), COLUMNS)
    name = max(TUNED, key=lambda field: table[field].nunique())
    data = _scores(table, name)
    caption = f"ToW in percent of every candidate for {name}; the highest, marked *, is the one the study uses. "
    alt = f"A table of {len(data[ROW].drop_duplicates())} rows, a method, rule and forget set each: ToW by {name}."
    return Drawing(data, caption + _setting(runs, table), alt, tuple(runs), display=_display(data, name))


def _scores(table: Table, name: str) -> Table:
    """Return one row a method, rule and candidate; a candidate with a run that diverged has no ToW."""
    table = table.assign(tow=table["tow"].where(table["status"] == "ok"), candidate=table[name])
    found = table.groupby([*ROW, "candidate"])["tow"].agg(["mean", "size", "count"]).reset_index()
    found["tow"] = found["mean"].where(found["size"] == found["count"])
    highest = found.groupby(ROW)["tow"].idxmax().dropna()
    return found.assign(runs=found["size"], chosen=found.index.isin(highest))[COLUMNS]


def _display(data: Table, name: str) -> Table:
    rows = []
    orders = method_order(data), rule_order(data), list(DIFFICULTIES)
    place = lambda key: [order.index(part) for order, part in zip(orders, key, strict=True)]  # noqa: E731
    groups = dict(iter(data.groupby(ROW, sort=False)))
    for key in sorted(groups, key=place):
        texts = {f"{name} {row.candidate:g}": _text(row.tow, row.chosen) for row in groups[key].itertuples()}
        head = {"method": method_label(key[0]), "unlearn": rule_label(key[1]), "forget set": key[2]}
        rows.append(head | texts)
    return pd.DataFrame(rows)


def _text(tow: float, chosen: bool) -> str:
    return "diverged" if pd.isna(tow) else f"{100 * tow:.2f}{' *' if chosen else ''}"


def _setting(runs: Sequence[Record], table: Table) -> str:
    first = runs[0].config
    seeds = ", ".join(map(str, sorted(table["seed"].unique())))
    return (
        f"Setting: {first.get('dataset')}, {first.get('model')}, pretraining rule {first.get('pretrain')}, training "
        f"seed {seeds}, which the study does not use."
    )
