"""Which network runs a figure shows: one data set, one model, one recipe, every cell of its study."""

from collections.abc import Sequence

from figures.records import Records, comparable
from figures.table import Table
from repro.store import Record

DIFFICULTIES = ("low", "mid", "high", "random", "class", "class-part", "index")
# Settings a figure of the main study may vary; everything else is one and the same.
CELL = ("method", "method_options", "rule", "pretrain", "difficulty", "metrics")


def main_runs(records: Records, vary: Sequence[str], *, dataset: str = "") -> list[Record]:
    """Return the finished and diverged runs of the largest comparable network study.

    Args:
        records: what there is.
        vary: config fields that the figure shows.
        dataset: take this data set only; empty takes any but the synthetic `signal-noise`.
    """
    found = [record for record in records.of("unlearn") if record.status != "failed" and _wanted(record, dataset)]
    return comparable(found, vary)


def label(record: Record, name: str) -> object:
    """Return a label of a network run, from its result or its config."""
    return (record.result.get("labels") or {}).get(name, record.config.get(name))


def run_caption(runs: Sequence[Record], table: Table) -> str:
    """Return data set, model, recipe size and number of training seeds as a sentence of a caption."""
    first = runs[0]
    names = ("dataset", "model", "alpha", "epochs", "preset")
    setting = ", ".join(f"{name} {label(first, name)}" for name in names if label(first, name) is not None)
    return f"Setting: {setting}; {seed_range(table)} training seeds a cell."


def seed_range(table: Table) -> str:
    """Return "3" or "3-5": the training seeds of the cells."""
    counts = table.groupby([name for name in CELL if name in table])["seed"].nunique()
    return str(counts.min()) if counts.min() == counts.max() else f"{counts.min()}-{counts.max()}"


def _wanted(record: Record, dataset: str) -> bool:
    name = label(record, "dataset")
    return name == dataset if dataset else name != "signal-noise"
