"""ToW where a setting of the study was changed (tab-ablations): without flips, by another network, beside the study."""

import pandas as pd

from figures.catalogue import lacking
from figures.drawing.drawing import Drawing, empty_table
from figures.drawing.style import Theme
from figures.networks.draws import MINUS, NOTHING, tow_lines
from figures.tables.ablations import change_of_gain, changed_cells, chosen_floors
from figures.tables.cells import in_table, run_caption
from figures.tables.floor import floor_of, noise_floors
from figures.tables.intervals import Table, spread_text, summarize
from figures.tables.names import rule_label, rule_order, set_order
from figures.tables.records import Records

ROW = ["changed", "pretrain", "difficulty"]
STUDY = "as in the study"


def draw(records: Records, theme: Theme) -> Drawing:
    """Write ToW of doing nothing, of each rule and of each rule minus SGD: of the study, then of each change."""
    runs, table = changed_cells(records)
    table = table[table["method"] == "neggrad"]  # a row is of one method
    if table.empty:
        return empty_table(lacking("tab-ablations", "cells with a setting changed"), [*ROW, "model"])
    data = summarize(tow_lines(table, change_of_gain(table)), [*ROW, "model"])
    floors = _floors(records, table)
    data = data.assign(floor=[floors.get(key, "—") for key in data[ROW].itertuples(index=False, name=None)])
    shown = _display(data, table)
    settings = list(dict.fromkeys(table["changed"]))[1:]
    study = table[table["changed"] == ""]
    caption = (
        f"NegGrad's ToW in percent where a setting of the study was changed ({'; '.join(settings)}), each rule at the "
        "rate chosen for it there, beside the same cells of the study: mean ± standard deviation over training seeds "
        "(number of seeds). Noise floor: ToW of one retrained model against another, mean ± standard deviation over "
        "pairs of seeds, or of the one pair that the choice of the rates took. "
        + run_caption([run for run in runs if run.run_id in set(study["run_id"])], study)
        + "".join(f" {one[0].upper()}{one[1:]}: {_original(table[table['changed'] == one])}." for one in settings)
    )
    alt = f"A table of {len(shown)} rows: the study and {len(settings)} changes of it, ToW by rule and minus SGD."
    return Drawing(data, caption, alt, in_table(runs, table), display=shown)


def _floors(records: Records, table: Table) -> dict[tuple[str, str, str], str]:
    found = {key: f"{100 * tow:.1f} (1 pair)" for key, tow in chosen_floors(records).items()}
    for changed, rows in table.groupby("changed"):
        floors = noise_floors(rows)
        for pretrain, difficulty, retraining in set(zip(*(rows[n] for n in (*ROW[1:], "retraining")), strict=True)):
            if floor := floor_of(floors, difficulty, retraining):
                found[changed, pretrain, difficulty] = f"{100 * floor['mean']:.1f} ± {100 * floor['sd']:.1f}"
    return found


def _original(rows: Table) -> str:
    values = rows.groupby("seed")["original_test_accuracy"].mean()
    return f"test accuracy of the originals {100 * values.mean():.1f} ({len(values)})"


def _display(data: Table, table: Table) -> Table:
    labels = [rule_label(rule) for rule in rule_order(table)]
    models = [NOTHING, *labels, *(f"{one}{MINUS}" for one in labels)]
    sets, changes = set_order(table), list(dict.fromkeys(table["changed"]))
    cells = {key: rows.set_index("model") for key, rows in data.groupby(ROW)}
    rows = []
    for key in sorted(cells, key=lambda key: (key[1] != "sgd", key[1], sets.index(key[2]), changes.index(key[0]))):
        texts = {name: spread_text(row, percent=True, digits=1) for name, row in cells[key].iterrows()}
        head = {"setting": key[0] or STUDY, "pretrained": rule_label(key[1]), "forget set": key[2]}
        numbers = {name: texts.get(name, "—") for name in models if name in set(data["model"])}
        rows.append(head | numbers | {"noise floor": cells[key]["floor"].iloc[0]})
    return pd.DataFrame(rows)
