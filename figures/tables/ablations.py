"""Cells of a study that other studies ran again with a setting changed: without flips, by another network."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from figures.tables.cells import CASE, CELL, LANDSCAPE, TUNED, in_table, main_study, study_runs, unlearn_table
from figures.tables.floor import with_references
from figures.tables.intervals import Table
from figures.tables.pairs import rule_differences
from figures.tables.records import Records, setting
from repro.records.record import Record

FREE = (*CELL, *TUNED, *LANDSCAPE, "rows_measured")
# What a retrained model does not depend on, besides: how another is unlearned.
UNLEARNED = ("batch_size", "forget_batch_size", "optimizer", "schedule", "warmup_epochs")


def changed_cells(records: Records) -> tuple[tuple[Record, ...], Table]:
    """Return the cells of a study that others ran again with a setting changed, and their runs there.

    Args:
        records: of the study, then of those that changed a setting of it.

    Returns:
        The runs, and a row for each as `figures.tables.cells.unlearn_table` has it, with the references of
        `figures.tables.floor` among runs of one study; `changed` is "" in the first study, else what differs from it,
        such as "augment none". No runs and an empty table where nothing was run again.
    """
    usual, *others = records.parts
    main, table, _ = main_study(usual)
    if not main:
        return (), unlearn_table([])
    parts, runs = [table.assign(changed="")], list(main)
    for part in others:
        found = study_runs(part)
        if found:
            changed = _difference(_rest(found[0]), _rest(main[0]))
            parts.append(with_references(unlearn_table(found)).assign(changed=changed))
            runs += found
    whole: Table = pd.concat(parts, ignore_index=True)
    again = whole[whole["changed"] != ""][list(CASE)].drop_duplicates()
    shared = whole.merge(again, on=list(CASE))
    return in_table(runs, shared), shared


def change_of_gain(table: Table) -> Table:
    """Return ToW of each rule minus that of SGD in every setting, as `figures.tables.pairs.rule_differences`.

    Args:
        table: rows of `changed_cells`; `changed` is a column of the differences too.
    """
    parts = [rule_differences(rows, "tow").assign(changed=name) for name, rows in table.groupby("changed", sort=False)]
    return pd.concat(parts, ignore_index=True)


def chosen_floors(records: Records) -> dict[tuple[str, str, str], float]:
    """Return ToW of one retrained model against another, as the search for the rates took it: a single pair.

    Returns:
        By `changed` as in `changed_cells`, pretraining rule and forget set.
    """
    usual, found = _rest(study_runs(records.parts[0])[0], UNLEARNED), {}
    for pair in (pair for part in records.parts for pair in part.of("floor")):
        if pair.result.get("tow") is not None:
            changed = _difference(_rest(pair, UNLEARNED), usual)
            found[changed, str(pair.config["pretrain"]), str(pair.config["difficulty"])] = float(pair.result["tow"])
    return found


def _rest(run: Record, besides: Sequence[str] = ()) -> dict[str, Any]:
    return setting(run, (*FREE, *besides))


def _difference(mine: dict[str, Any], usual: dict[str, Any]) -> str:
    """Return what differs, "" where nothing does."""
    apart = [name for name in sorted(mine.keys() | usual.keys()) if mine.get(name) != usual.get(name)]
    return ", ".join(f"{name.replace('_', ' ')} {mine.get(name) or 'as ever'}" for name in apart)
