"""NegGrad on several draws of a forget set: what depends on the draw, and what on the training seed.

All training seeds of a study share one forget set, so that its intervals are those of training alone. Another draw has
subset models of its own, other scores and other images.
"""

from figures.tables.cells import CASE, in_table, study_runs, swept_table, unlearn_table
from figures.tables.floor import with_references
from figures.tables.intervals import Table
from figures.tables.pairs import rule_differences
from figures.tables.records import Records
from repro.records.record import Record

DRAW = "forget_seed"


def drawn_cells(records: Records) -> tuple[tuple[Record, ...], Table]:
    """Return NegGrad's cells of a study that were run on three or more draws.

    Returns:
        Their runs, and a row for each: ToW with the references of `figures.tables.floor`, and `shared`, whether every
        draw of the cell has this training seed. No runs and an empty table where no cell has three draws.
    """
    runs = study_runs(records, shown=(DRAW,))
    whole = swept_table(runs, DRAW)
    if whole.empty:
        return (), unlearn_table([])
    table = with_references(unlearn_table(runs)).merge(whole[list(CASE)].drop_duplicates(), on=list(CASE))
    table = table.assign(shared=table["run_id"].isin(whole["run_id"]))
    return in_table(runs, table), table


def over_draws(table: Table) -> Table:
    """Return ToW of each other rule minus that of SGD at the training seeds that all draws share, a row a draw.

    Args:
        table: rows of `drawn_cells`.

    Returns:
        Columns as `figures.tables.pairs.rule_differences`, `seed` being that of the draw.
    """
    found = rule_differences(table[table["shared"]], "tow")
    return found.assign(seed=found[DRAW])


def over_seeds(table: Table) -> Table:
    """Return the same differences by training seed, on the draw that has most of them."""
    return rule_differences(table[table[DRAW] == fullest_draw(table)], "tow")


def fullest_draw(table: Table) -> int:
    """Return the draw with most training seeds."""
    return int(table.groupby(DRAW)["seed"].nunique().idxmax())
