"""ToW where a setting of the study was changed (tab-ablations): without flips, by another network, beside the study."""

from collections.abc import Sequence

import pandas as pd

from figures import marks
from figures.catalogue import figure
from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.style import Theme
from figures.networks.draws import MINUS, NOTHING, tow_lines
from figures.tables.floor import floor_of, floor_text, noise_floors
from figures.tables.names import order, rule_label
from figures.tables.pairs import rule_differences
from figures.tables.records import Records, setting
from figures.tables.runs import (
    LANDSCAPE,
    SETTING,
    TUNED,
    WHOLE,
    in_table,
    run_caption,
    study_runs,
    study_table,
    unlearn_table,
)  # fmt: skip
from figures.tables.texts import spread_text
from repro.records.record import Record
from repro.statistics.effects import Table
from repro.statistics.seeds import summarize

ROW = ["changed", "pretrain", "difficulty"]
STUDY = "as in the study"
FREE = (*WHOLE, *TUNED, *LANDSCAPE, "rows_measured")
# What a retrained model does not depend on, besides: how another is unlearned.
UNLEARNED = ("batch_size", "forget_batch_size", "optimizer", "schedule", "warmup_epochs")


@figure("tab-ablations", place=360, shows="ToW with a setting of the study changed, beside the study",
        studies=("cifar10", "cifar10-plain", "cifar10-resnet18"))  # fmt: skip
def draw(records: Records, theme: Theme) -> Drawing:
    """Write ToW of doing nothing, of each rule and of each rule minus SGD: of the study, then of each change."""
    runs, table = changed_runs(records)
    table = table[table["method"] == "neggrad"]  # a row is of one method
    if table.empty:
        raise NotRun("runs with a setting changed", [*ROW, "model"])
    gains = pd.concat([rule_differences(rows, "tow").assign(changed=name)
                       for name, rows in table.groupby("changed", sort=False)])  # fmt: skip
    data, floors = summarize(tow_lines(table, gains), [*ROW, "model"]), _floors(records, table)
    data = data.assign(floor=[floors.get(key, "—") for key in data[ROW].itertuples(index=False, name=None)])
    shown = _display(data, table)
    settings = list(dict.fromkeys(table["changed"]))[1:]
    study = table[table["changed"] == ""]
    caption = (
        f"Does the result hold where a part of the study is changed? Changed were: {'; '.join(settings)}. NegGrad's "
        "ToW in percent, mean ± standard deviation over training seeds (number of seeds), each rule at the rate "
        "chosen for it there. Noise floor: ToW of one retrained model against another, mean ± standard deviation "
        "over pairs of seeds, or the one pair of the learning-rate search. "
        + run_caption(study)
        + "".join(f" {one[0].upper()}{one[1:]}: {_original(table[table['changed'] == one])}." for one in settings)
    )
    alt = f"A table of {len(shown)} rows: the study and {len(settings)} changes of it, ToW by rule and minus SGD."
    return Drawing(data, caption, alt, in_table(runs, table), display=shown)


def changed_runs(records: Records) -> tuple[list[Record], Table]:
    """Return the runs of a study that others ran again with a setting changed, and their runs there.

    Args:
        records: of the study, then of those that changed a setting of it.

    Returns:
        The runs, and a row for each as `figures.tables.runs.unlearn_table` has it, with the references of
        `figures.tables.floor` among runs of one study; `changed` is "" in the first study, else what differs from it,
        such as "augment none". No runs and an empty table where nothing was run again.
    """
    usual, *others = records.parts
    main, table = study_table(usual)
    if not main:
        return [], unlearn_table([])
    parts, runs = [table.assign(changed="")], list(main)
    for part in others:
        found, table = study_table(part)
        if found:
            parts.append(table.assign(changed=_difference(found[0], main[0], FREE)))
            runs += found
    whole: Table = pd.concat(parts, ignore_index=True)
    again = whole[whole["changed"] != ""][list(SETTING)].drop_duplicates()
    return runs, whole.merge(again, on=list(SETTING))


def _difference(mine: Record, usual: Record, free: Sequence[str]) -> str:
    """Return in what one run differs from another, but for some settings: "" where in nothing."""
    one, other = setting(mine, free), setting(usual, free)
    apart = [name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]
    return ", ".join(f"{name.replace('_', ' ')} {one.get(name) or 'as ever'}" for name in apart)


def _floors(records: Records, table: Table) -> dict[tuple[str, str, str], str]:
    """Return the noise floor of each row as text; where seeds tell none, that of the pair which the search took."""
    found, usual = {}, study_runs(records.parts[0])[0]
    for pair in (pair for part in records.parts for pair in part.of("floor")):
        if pair.result.get("tow") is not None:
            key = _difference(pair, usual, (*FREE, *UNLEARNED)), pair.config["pretrain"], pair.config["difficulty"]
            found[key] = f"{100 * pair.result['tow']:.1f} (1 pair)"
    for changed, rows in table.groupby("changed"):
        floors = noise_floors(rows)
        for pretrain, difficulty, retraining in set(zip(*(rows[n] for n in (*ROW[1:], "retraining")), strict=True)):
            if floor := floor_of(floors, difficulty, retraining):
                found[changed, pretrain, difficulty] = floor_text(floor)
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
