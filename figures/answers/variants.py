"""What Sharp MinMax gains over plain ASAM as corrected and as released (by SGD and by AdamW), each at its own rate."""

from collections.abc import Sequence

import pandas as pd

from figures.answers.found import SETS, by_seed, listed
from figures.tables.records import Records
from figures.tables.runs import study_table
from repro.records.record import Record
from repro.statistics.effects import Table

MINMAX, PLAIN = "minmax-asam-1.0", "asam-1.0"
PRESETS = {"correct": "as corrected", "official-paper": "as released but with SGD", "official-release": "as released"}
VARIANT = ["difficulty", "preset", "mask_fraction"]
MEANING = (
    "As corrected: what the paper's text says. As released: what its code does, with AdamW; as released but with SGD: "
    "the same with the optimizer of the text. Each variant and rule has its own learning rate."
)
SHOWN = ("preset", "switches", "optimizer", "mask_fraction")  # by which variants differ


def variant_runs(records: Records) -> tuple[list[Record], Table]:
    """Return the runs of a study of variants and their table (`figures.tables.runs.unlearn_table`)."""
    return study_table(records, having="tow", shown=SHOWN)


def minmax_gains(table: Table) -> Table:
    """Return what Sharp MinMax gains on plain ASAM, seed by seed: columns `VARIANT`, `seed` and `value`, in ToW.

    Both are of the same variant (`preset`), original model, forget set and retrained model. Plain ASAM has no mask: it
    is compared with Sharp MinMax at every cutoff (`mask_fraction`).
    """
    same = ["difficulty", "forget_set", "preset", "seed"]
    minmax, plain = (table.loc[table["rule"] == rule, [*same, "mask_fraction", "tow"]] for rule in (MINMAX, PLAIN))
    both = minmax.merge(plain.drop(columns="mask_fraction"), on=same, suffixes=("", "_plain"))
    return both.assign(value=both["tow"] - both["tow_plain"])[[*VARIANT, "seed", "value"]]


def gains_by_variant(records: Records) -> list[str]:
    """Return sentences for each forget set: the gain of each variant, from its lowest to its highest seed.

    The first sentence says what the variants are. They are compared at the cutoff of the mask that all of them have.
    Where a variant was run at several cutoffs, a further sentence says the gain at each.
    """
    table = variant_runs(records)[1]
    if table.empty:
        return []
    gains = minmax_gains(table)
    said, compared = [], []
    for forget_set in (name for name in SETS if name in set(gains["difficulty"])):
        rows = gains[gains["difficulty"] == forget_set]
        cutoffs = rows.groupby("mask_fraction")["preset"].nunique()
        same = rows[rows["mask_fraction"] == cutoffs.idxmax()]
        compared.append(same)
        told = [f"{by_seed(one)} {PRESETS[preset]}" for preset, one in same.groupby("preset")["value"]]
        said.append(f"On {SETS[forget_set]}, ToW of Sharp MinMax minus ToW of plain ASAM: {listed(told)}.")
        for preset, several in rows.groupby("preset"):
            told = [f"{by_seed(one)} at {cutoff:g}" for cutoff, one in several.groupby("mask_fraction")["value"]]
            if len(told) > 1:
                said.append(f"On {SETS[forget_set]}, the same {PRESETS[preset]} by the mask's cutoff: {listed(told)}.")
    return [MEANING, *said, *seeds_above(compared)]


def seeds_above(by_set: Sequence[Table]) -> list[str]:
    """Return in how many seeds of several forget sets each variant of Sharp MinMax is above plain ASAM."""
    if len(by_set) < 2:
        return []
    gains = pd.concat(by_set)
    above = (gains["value"] > 0).groupby(gains["preset"]).agg(["sum", "size"])
    told = listed([f"{found} of {of} {PRESETS[str(preset)]}" for preset, found, of in above.itertuples()])
    return [f"Over these forget sets, Sharp MinMax is above plain ASAM in this many seeds: {told}."]
