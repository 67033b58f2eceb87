"""ToW on other draws of the forget set (tab-draws), and with a setting of the study changed (tab-ablations).

All training seeds of a study share one forget set, so that its intervals show the noise of training alone. Another
draw has subset models, scores and images of its own.
"""

from collections.abc import Sequence

import pandas as pd

from figures import marks
from figures.catalogue import figure
from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.style import Theme
from figures.tables.floor import floor_of, floor_text, noise_floors, rule_differences
from figures.tables.names import order, rule_label
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
    swept_table,
    unlearn_table,
)
from figures.tables.texts import spread_text
from repro.records.record import Record
from repro.statistics.effects import Table
from repro.statistics.seeds import summarize

DRAW = "forget_seed"
ROW = ["pretrain", "difficulty", "model"]
NOTHING, MINUS = "do nothing", " minus SGD"
CHANGED = ["changed", "pretrain", "difficulty"]
STUDY = "as in the study"
FREE = (*WHOLE, *TUNED, *LANDSCAPE, "rows_measured")
# What a retrained model does not depend on either: how another is unlearned.
UNLEARNED = ("batch_size", "forget_batch_size", "optimizer", "schedule", "warmup_epochs")
VARIED = {"draw": "over draws", "seed": "over training seeds"}


@figure("tab-draws", place=350, shows="ToW on other draws of the forget set, and with other training seeds",
        studies=("cifar10-draws",))  # fmt: skip
def tow_by_forget_set(records: Records, theme: Theme) -> Drawing:
    """Write ToW of doing nothing, of each rule and of each rule minus SGD, draw by draw, with both deviations."""
    every, table = study_table(records, shown=(DRAW,))
    whole = swept_table(table, DRAW)
    if whole.empty:
        raise NotRun("NegGrad on three draws of the forget set", [*ROW, "varied", DRAW])
    table = table.merge(whole[list(SETTING)].drop_duplicates(), on=list(SETTING))
    table = table.assign(shared=table["run_id"].isin(whole["run_id"]))  # whether every draw has this training seed
    runs, data, main = in_table(every, table), _summaries(table), _fullest_draw(table)
    known = table.get("memorization_reliability", pd.Series(dtype=float)).dropna()
    reliability = f"Reliability of the scores: {known.min():.2f} to {known.max():.2f}. " if len(known) else ""
    shown = _display(data, order(table, "rule"))
    seeds = ", ".join(map(str, sorted(set(table[table["shared"]]["seed"]))))
    caption = (
        "Is the result specific to one forget set? NegGrad's ToW in percent on several draws of the forget set, each "
        f"with subset models, scores and images of its own, at the rates chosen for draw {main}. All draws share "
        f"training seed {seeds} and so the original model. Last columns: mean ± standard deviation (number) over "
        f"draws, which holds the noise of retraining and unlearning too, and over training seeds on draw {main}. "
        f"{reliability}{run_caption(table)}"
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
    """Return ToW of each other rule minus ToW of SGD, one row per draw; the column `seed` holds the draw."""
    found = rule_differences(table, "tow")
    return found.assign(seed=found[DRAW])


def tow_lines(table: Table, differences: Table) -> Table:
    """Return one row per run and number: ToW of its rule, ToW of the original, and ToW of its rule minus SGD's.

    Args:
        table: rows of `figures.tables.runs.unlearn_table`; differences: rows of `rule_differences`.
    """
    labels = table["rule"].map(rule_label)
    return pd.concat([
        table.assign(model=labels, value=table["tow"]),
        table.assign(model=NOTHING, value=table.get("original_tow")),
        differences.assign(model=differences["rule"].map(rule_label) + MINUS, value=differences["difference"]),
    ]).dropna(subset=["value"])  # fmt: skip


def _display(data: Table, rules: list[str]) -> Table:
    """Return one line per forget set and model, one column per draw, then both deviations."""
    own = data["varied"] == ""
    means = data[own].assign(column=data[DRAW][own], text=[f"{100 * mean:.1f}" for mean in data["mean"][own]])
    spread = [spread_text(row, percent=True, digits=1) for row in data[~own].to_dict("records")]
    texts = pd.concat([means, data[~own].assign(column=data["varied"][~own], text=spread)])
    columns = {draw: f"draw {int(draw)}" for draw in sorted(means[DRAW].unique())} | VARIED
    labels = [rule_label(rule) for rule in rules]
    models = [NOTHING, *labels, *(f"{one}{MINUS}" for one in labels)]
    texts = texts.sort_values("model", key=lambda names: names.map(models.index), kind="stable")
    return marks.table(texts, dict(zip(ROW, ("pretrained", "forget set", "model"), strict=True)), columns, by="column")


@figure("tab-ablations", place=360, shows="ToW of the study, and with a setting of it changed",
        studies=("cifar10", "cifar10-plain", "cifar10-resnet18"))  # fmt: skip
def tow_by_change(records: Records, theme: Theme) -> Drawing:
    """Write ToW of doing nothing, of each rule and of each rule minus SGD: of the study, then of each change."""
    runs, table = changed_runs(records)
    table = table[table["method"] == "neggrad"]  # a row is of one method
    if table.empty:
        raise NotRun("runs with a setting changed", [*CHANGED, "model"])
    gains = pd.concat([rule_differences(rows, "tow").assign(changed=name)
                       for name, rows in table.groupby("changed", sort=False)])  # fmt: skip
    data, floors = summarize(tow_lines(table, gains), [*CHANGED, "model"]), _floor_texts(records, table)
    data = data.assign(floor=[floors.get(key, "—") for key in data[CHANGED].itertuples(index=False, name=None)])
    shown = _change_table(data, table)
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
        records: the records of the study, then of the studies that changed one of its settings.

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
            parts.append(table.assign(changed=_changed(found[0], main[0], FREE)))
            runs += found
    whole: Table = pd.concat(parts, ignore_index=True)
    again = whole[whole["changed"] != ""][list(SETTING)].drop_duplicates()
    return runs, whole.merge(again, on=list(SETTING))


def _changed(mine: Record, usual: Record, free: Sequence[str]) -> str:
    """Return the settings in which one run differs from another, except some; "" if there are none."""
    one, other = setting(mine, free), setting(usual, free)
    apart = [name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]
    return ", ".join(f"{name.replace('_', ' ')} {one.get(name) or 'as ever'}" for name in apart)


def _floor_texts(records: Records, table: Table) -> dict[tuple[str, str, str], str]:
    """Return the noise floor of each row as text; without enough seeds, ToW of the pair that the search took."""
    found, usual = {}, study_runs(records.parts[0])[0]
    for pair in (pair for part in records.parts for pair in part.of("floor")):
        if pair.result.get("tow") is not None:
            place = pair.config["pretrain"], pair.config["difficulty"]
            found[_changed(pair, usual, (*FREE, *UNLEARNED)), *place] = f"{100 * pair.result['tow']:.1f} (1 pair)"
    for changed, rows in table.groupby("changed"):
        floors = noise_floors(rows)
        for pretrain, difficulty, retraining in set(zip(*(rows[n] for n in (*CHANGED[1:], "retraining")), strict=True)):
            if floor := floor_of(floors, difficulty, retraining):
                found[changed, pretrain, difficulty] = floor_text(floor)
    return found


def _original(rows: Table) -> str:
    values = rows.groupby("seed")["original_test_accuracy"].mean()
    return f"test accuracy of the originals {100 * values.mean():.1f} ({len(values)})"


def _change_table(data: Table, table: Table) -> Table:
    """Return one line per setting, pretraining rule and forget set, one column per model."""
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
