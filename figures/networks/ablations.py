"""ToW where a setting of the study was changed (tab-ablations): without flips, by another network, beside the study."""

from figures import marks
from figures.catalogue import lacking
from figures.drawing.drawing import Drawing, empty_table
from figures.drawing.style import Theme
from figures.networks.draws import MINUS, NOTHING, tow_lines
from figures.tables.ablations import change_of_gain, changed_cells, chosen_floors
from figures.tables.cells import in_table, run_caption
from figures.tables.floor import floor_of, noise_floors
from figures.tables.intervals import Table, spread_text, summarize
from figures.tables.names import order, rule_label
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
        f"Does the result hold where a setting of the study is changed ({'; '.join(settings)})? NegGrad's ToW in "
        "percent beside the same cells of the study, each rule at the rate chosen for it there: mean ± standard "
        "deviation over training seeds (number of seeds). Noise floor: ToW of one retrained model against another, "
        "mean ± standard deviation over pairs of seeds, or of the one pair that the search for the rates took. "
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
    """Return a line a setting, pretraining rule and forget set, a column a model."""
    labels = [rule_label(rule) for rule in order(table, "rule")]
    models = [NOTHING, *labels, *(f"{one}{MINUS}" for one in labels)]
    texts = data.assign(text=[spread_text(row, percent=True, digits=1) for row in data.to_dict("records")],
                        changed=data["changed"].replace("", STUDY))  # fmt: skip
    changes = {name or STUDY: place for place, name in enumerate(dict.fromkeys(table["changed"]))}
    texts = texts.sort_values("changed", key=lambda names: names.map(changes), kind="stable")
    rows = {"pretrain": "pretrained", "difficulty": "forget set", "changed": "setting", "floor": "noise floor"}
    columns = {name: name for name in models if name in set(data["model"])}
    shown = marks.table(texts, rows, columns, by="model")
    return shown[["setting", "pretrained", "forget set", *columns, "noise floor"]]
