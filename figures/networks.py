"""Which network runs a figure shows: one data set, one model, one recipe, every cell of its study."""

from collections import defaultdict
from collections.abc import Sequence

from figures.records import Records, comparable
from figures.table import Table
from repro.records.record import Record

# Forget sets by memorization score, and all others.
GRADED = ("low", "mid", "high")
DIFFICULTIES = (*GRADED, "random", "class", "class-part", "index")
# Settings a figure of the main study may vary; everything else is one and the same.
CELL = ("method", "method_options", "rule", "pretrain", "difficulty", "metrics")

# Settings a study tunes for each method, rule and forget set; within one of them they are one and the same.
TUNED = ("lr", "epochs")


def main_runs(records: Records, vary: Sequence[str], *, swept: str = "", having: str = "") -> list[Record]:
    """Return the finished and diverged runs of the largest comparable network study.

    Args:
        records: what there is.
        vary: config fields that the figure shows.
        swept: the field of a sweep; the study with most of its values is taken.
        having: a number the runs must have measured; studies without it are passed over.
    """
    found = [record for record in records.of("unlearn") if record.status != "failed" and _real(record)]
    found = [record for record in found if not having or having in record.result]
    # A sweep is measured alike at every value; runs with other metrics belong to another study of the same cell.
    vary = [name for name in vary if not swept or name != "metrics"]
    study = comparable(found, (*vary, *TUNED), swept=swept)
    tuned: dict[tuple[object, ...], list[Record]] = defaultdict(list)
    for record in study:
        tuned[tuple(record.config.get(name) for name in ("method", "rule", "difficulty"))].append(record)
    return [record for runs in tuned.values() for record in comparable(runs, vary, swept=swept)]


def label(record: Record, name: str) -> object:
    """Return a label of a network run, from its result or its config."""
    return (record.result.get("labels") or {}).get(name, record.config.get(name))


def run_caption(runs: Sequence[Record], table: Table) -> str:
    """Return data set, model, recipe size and number of training seeds as a sentence of a caption."""
    first = runs[0]
    names = ("dataset", "model", "alpha", "epochs", "preset")
    setting = ", ".join(f"{name} {label(first, name)}" for name in names if label(first, name) is not None)
    return f"Setting: {setting}; {seed_range(table)} training seeds a cell.{_same_sets(runs)}"


def _same_sets(runs: Sequence[Record]) -> str:
    """Say so when two forget sets hold the same samples: their columns are then not two experiments."""
    sets: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        digest = (run.result.get("parents") or {}).get("forget_set")
        if digest:
            sets[digest].add(str(label(run, "difficulty")))
    same = sorted({" and ".join(sorted(names)) for names in sets.values() if len(names) > 1})
    return f" The forget sets {'; '.join(same)} hold the same samples here." if same else ""


def numbers_with(runs: Sequence[Record], prefix: str) -> list[str]:
    """Return the numeric results of the runs whose name starts with `prefix`, ordered."""
    found = {name for run in runs for name, value in run.result.items() if isinstance(value, float)}
    return sorted(name for name in found if name.startswith(prefix))


def has_arrays(run: Record) -> bool:
    """Return whether a run's arrays are there: a committed study may have been packed without them."""
    return "arrays.npz" in run.files


def one_forget_set(runs: Sequence[Record]) -> list[Record]:
    """Return the runs of one forget set: the hardest there is, so that samples of different sets are never pooled."""
    for name in ("high", "random", "mid", "low"):
        found = [run for run in runs if label(run, "difficulty") == name]
        if found:
            return found
    return list(runs)


def seed_range(table: Table) -> str:
    """Return "3" or "3-5": the training seeds of the cells."""
    counts = table.groupby([name for name in CELL if name in table])["seed"].nunique()
    return str(counts.min()) if counts.min() == counts.max() else f"{counts.min()}-{counts.max()}"


def _real(record: Record) -> bool:
    """The synthetic patch images belong to the comparison with the theory, not to the study of real images."""
    return label(record, "dataset") != "signal-noise"
