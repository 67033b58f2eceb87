"""ToW on other draws of the forget set (tab-draws): how much it moves with the draw, and how much with the seed.

All training seeds of a study share one forget set, so that its intervals are those of training alone. Another draw has
subset models, scores and images of its own.
"""

import pandas as pd

from figures import marks
from figures.catalogue import figure
from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.style import Theme
from figures.tables.names import order, rule_label
from figures.tables.pairs import rule_differences
from figures.tables.records import Records
from figures.tables.runs import SETTING, in_table, run_caption, study_table, swept_table
from figures.tables.texts import spread_text
from repro.statistics.effects import Table
from repro.statistics.seeds import summarize

DRAW = "forget_seed"
ROW = ["pretrain", "difficulty", "model"]
NOTHING, MINUS = "do nothing", " minus SGD"
VARIED = {"draw": "over draws", "seed": "over training seeds"}


@figure("tab-draws", place=350, shows="ToW on other draws of the forget set, beside other training seeds",
        studies=("cifar10-draws",))  # fmt: skip
def draw(records: Records, theme: Theme) -> Drawing:
    """Write ToW of doing nothing, of each rule and of each rule minus SGD, draw by draw, with both deviations."""
    every, table = study_table(records, shown=(DRAW,))
    whole = swept_table(table, DRAW)
    if whole.empty:
        raise NotRun("NegGrad on three draws of the forget set", [*ROW, "varied", DRAW])
    table = table.merge(whole[list(SETTING)].drop_duplicates(), on=list(SETTING))
    table = table.assign(shared=table["run_id"].isin(whole["run_id"]))  # whether every draw has this training seed
    runs, data, main = in_table(every, table), _summaries(table), _fullest_draw(table)
    shown = _display(data, order(table, "rule"))
    seeds = ", ".join(map(str, sorted(set(table[table["shared"]]["seed"]))))
    caption = (
        "Is the result specific to one forget set? NegGrad's ToW in percent on several draws of the forget set, each "
        f"with subset models, scores and images of its own, at the rates chosen for draw {main}. All draws share "
        f"training seed {seeds} and so the original model. Last columns: mean ± standard deviation (number) over "
        f"draws, which holds the noise of retraining and unlearning too, and over training seeds on draw {main}. "
        f"{_reliability(table)}{run_caption(table)}"
    )
    alt = f"A table of {len(shown)} rows: forget set and rule, ToW by draw, its deviation over draws and over seeds."
    return Drawing(data, caption, alt, runs, display=shown)


def _summaries(table: Table) -> Table:
    """Return each model's mean on each draw (`varied` is ""), over draws and over training seeds, as `summarize`."""
    shared, main = table[table["shared"]], table[table[DRAW] == _fullest_draw(table)]
    draws = tow_lines(shared.assign(seed=shared[DRAW]), over_draws(shared))
    seeds = tow_lines(main, rule_differences(main, "tow"))
    parts = [summarize(draws, [*ROW, DRAW]).assign(varied=""), summarize(draws, ROW).assign(varied="draw"),
             summarize(seeds, ROW).assign(varied="seed")]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def _fullest_draw(table: Table) -> int:
    """Return the draw with most training seeds."""
    return int(table.groupby(DRAW)["seed"].nunique().idxmax())


def over_draws(table: Table) -> Table:
    """Return ToW of each other rule minus that of SGD, a row a draw, which stands in the column `seed`."""
    found = rule_differences(table, "tow")
    return found.assign(seed=found[DRAW])


def tow_lines(table: Table, differences: Table) -> Table:
    """Return a row a run and what it tells: ToW of its rule, of the original, and its rule's minus that of SGD.

    Args:
        table: rows of `figures.tables.runs.unlearn_table`; differences: those of `figures.tables.pairs`.
    """
    labels = table["rule"].map(rule_label)
    return pd.concat([
        table.assign(model=labels, value=table["tow"]),
        table.assign(model=NOTHING, value=table.get("original_tow")),
        differences.assign(model=differences["rule"].map(rule_label) + MINUS, value=differences["difference"]),
    ]).dropna(subset=["value"])  # fmt: skip


def _display(data: Table, rules: list[str]) -> Table:
    """Return a line a forget set and model, a column a draw, then both deviations."""
    own = data["varied"] == ""
    means = data[own].assign(column=data[DRAW][own], text=[f"{100 * mean:.1f}" for mean in data["mean"][own]])
    spread = [spread_text(row, percent=True, digits=1) for row in data[~own].to_dict("records")]
    texts = pd.concat([means, data[~own].assign(column=data["varied"][~own], text=spread)])
    columns = {draw: f"draw {int(draw)}" for draw in sorted(means[DRAW].unique())} | VARIED
    labels = [rule_label(rule) for rule in rules]
    models = [NOTHING, *labels, *(f"{one}{MINUS}" for one in labels)]
    texts = texts.sort_values("model", key=lambda names: names.map(models.index), kind="stable")
    return marks.table(texts, dict(zip(ROW, ("pretrained", "forget set", "model"), strict=True)), columns, by="column")


def _reliability(table: Table) -> str:
    known = table.get("memorization_reliability", pd.Series(dtype=float)).dropna()
    return f"Reliability of the scores: {known.min():.2f} to {known.max():.2f}. " if len(known) else ""
