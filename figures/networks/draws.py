"""ToW on other draws of the forget set (tab-draws): how much it moves with the draw, and how much with the seed."""

import pandas as pd

from figures.catalogue import lacking
from figures.drawing.drawing import Drawing, empty_table
from figures.drawing.style import Theme
from figures.tables.cells import run_caption
from figures.tables.draws import DRAW, drawn_cells, fullest_draw, over_draws, over_seeds
from figures.tables.intervals import Table, spread_text, summarize
from figures.tables.names import rule_label, rule_order, set_order
from figures.tables.records import Records

ROW = ["pretrain", "difficulty", "model"]
NOTHING, MINUS = "do nothing", " minus SGD"
VARIED = {"draw": "over draws", "seed": "over training seeds"}


def draw(records: Records, theme: Theme) -> Drawing:
    """Write ToW of doing nothing, of each rule and of each rule minus SGD, draw by draw, with both deviations."""
    runs, table = drawn_cells(records)
    if table.empty:
        return empty_table(lacking("tab-draws", "cells on three draws of the forget set"), [*ROW, "varied", DRAW])
    data, main = _summaries(table), fullest_draw(table)
    shown = _display(data, rule_order(table))
    seeds = ", ".join(map(str, sorted(set(table[table["shared"]]["seed"]))))
    caption = (
        "NegGrad's ToW in percent on several draws of the forget set, each with subset models, scores and images of "
        f"its own, unlearned at the rates that were chosen for draw {main}. The draws share training seed {seeds} and "
        "so the original model. Over draws, and apart from them over training seeds on "
        f"draw {main}: mean ± standard deviation (number); the one over draws holds the noise of retraining and of "
        f"unlearning too. {_reliability(table)}{run_caption(runs, table)}"
    )
    alt = f"A table of {len(shown)} rows: forget set and rule, ToW by draw, its deviation over draws and over seeds."
    return Drawing(data, caption, alt, runs, display=shown)


def _summaries(table: Table) -> Table:
    """Return each model's mean on each draw (`varied` is ""), over draws and over training seeds, as `summarize`."""
    shared, main = table[table["shared"]], table[table[DRAW] == fullest_draw(table)]
    draws = tow_lines(shared.assign(seed=shared[DRAW]), over_draws(table))
    seeds = tow_lines(main, over_seeds(table))
    parts = [summarize(draws, [*ROW, DRAW]).assign(varied=""), summarize(draws, ROW).assign(varied="draw"),
             summarize(seeds, ROW).assign(varied="seed")]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def tow_lines(table: Table, differences: Table) -> Table:
    """Return a row a run and what it tells: ToW of its rule, of the original, and its rule's minus that of SGD.

    Args:
        table: rows of `figures.tables.cells.unlearn_table`; differences: those of `figures.tables.pairs`.
    """
    labels = table["rule"].map(rule_label)
    return pd.concat([
        table.assign(model=labels, value=table["tow"]),
        table.assign(model=NOTHING, value=table.get("original_tow")),
        differences.assign(model=differences["rule"].map(rule_label) + MINUS, value=differences["difference"]),
    ]).dropna(subset=["value"])  # fmt: skip


def _display(data: Table, rules: list[str]) -> Table:
    labels, sets = [rule_label(rule) for rule in rules], set_order(data)
    models = [NOTHING, *labels, *(f"{one}{MINUS}" for one in labels)]
    places = {name: place for names in (sets, models) for place, name in enumerate(names)}
    rows = []
    for key, own in sorted(data.groupby(ROW), key=lambda one: (one[0][0], *map(places.get, one[0][1:]))):
        head = dict(zip(("pretrained", "forget set", "model"), (rule_label(key[0]), *key[1:]), strict=True))
        head |= {f"draw {int(row[DRAW])}": f"{100 * row['mean']:.1f}"
                 for _, row in own[own["varied"] == ""].sort_values(DRAW).iterrows()}  # fmt: skip
        spreads = {row["varied"]: spread_text(row, percent=True, digits=1) for _, row in own.iterrows()}
        rows.append(head | {title: spreads.get(name, "—") for name, title in VARIED.items()})
    return pd.DataFrame(rows)


def _reliability(table: Table) -> str:
    known = table.get("memorization_reliability", pd.Series(dtype=float)).dropna()
    return f"Reliability of the scores: {known.min():.2f} to {known.max():.2f}. " if len(known) else ""
