"""Cells of the main study that were run again with a setting changed: without flips, by another network.

Such a study extends the main one and says what differs; a setting that has a figure of its own, as a sweep or as other
draws of the forget set, is none of these.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from figures.tables.cells import CASE, CELL, LANDSCAPE, TUNED, alike, in_table, main_study, networks, unlearn_table
from figures.tables.floor import with_references
from figures.tables.intervals import Table
from figures.tables.pairs import rule_differences
from figures.tables.records import Records, extends
from repro.records.record import Record

SWEPT = {"alpha", "mask_fraction", "switches", "forget_seed"}
FREE = (*CELL, *TUNED, *LANDSCAPE, "rows_measured")
# What a retrained model does not depend on, besides: how another is unlearned.
UNLEARNED = ("batch_size", "forget_batch_size", "optimizer", "schedule", "warmup_epochs")


def changed_cells(records: Records) -> tuple[tuple[Record, ...], Table]:
    """Return the cells of the main study that were run with a setting changed, and their runs there.

    Returns:
        The runs, and a row for each as `figures.tables.cells.unlearn_table` has it, with the references of
        `figures.tables.floor` among runs of one setting; `changed` is "" in the main study, else what differs from it,
        such as "augment none". No runs and an empty table where nothing was run again.
    """
    main, table, _ = main_study(records)
    if not main:
        return (), unlearn_table([])
    usual, studies = _rest(records, main[0]), {str(run.provenance.get("study") or "") for run in main}
    groups: dict[str | None, list[Record]] = defaultdict(list)
    for run in networks(records):
        if any(extends(str(run.provenance.get("study") or ""), name) for name in studies):
            groups[_difference(_rest(records, run), usual)].append(run)
    parts, runs = [table.assign(changed="")], list(main)
    for changed, found in groups.items():
        if changed:
            same = alike(records, found, (*CELL, *LANDSCAPE))
            parts.append(with_references(unlearn_table(same)).assign(changed=changed))
            runs += same
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


def chosen_floors(records: Records) -> dict[tuple[str | None, str, str], float]:
    """Return ToW of one retrained model against another, as the choice of the rates took it: a single pair.

    Returns:
        By `changed` as in `changed_cells`, pretraining rule and forget set.
    """
    usual, found = _rest(records, main_study(records)[0][0], UNLEARNED), {}
    for pair in records.of("floor"):
        if pair.result.get("tow") is not None:
            changed = _difference(_rest(records, pair, UNLEARNED), usual)
            found[changed, str(pair.config["pretrain"]), str(pair.config["difficulty"])] = float(pair.result["tow"])
    return found


def _rest(records: Records, run: Record, besides: Sequence[str] = ()) -> dict[str, Any]:
    return dict(zip(*records.setting(run).without((*FREE, *besides)), strict=True))


def _difference(mine: Mapping[str, Any], usual: Mapping[str, Any]) -> str | None:
    """Return what differs, "" where nothing does, None where it has a figure of its own."""
    apart = [name for name in sorted(mine.keys() | usual.keys()) if mine.get(name) != usual.get(name)]
    if SWEPT & {*apart}:
        return None
    return ", ".join(f"{name.replace('_', ' ')} {mine.get(name) or 'as ever'}" for name in apart)
