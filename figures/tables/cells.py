"""Which network runs a figure shows (one data set, one model, one recipe, every cell of its study), and their table."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from figures.tables.floor import with_references
from figures.tables.intervals import Table, interval, span, spread_text
from figures.tables.names import rule_label
from figures.tables.records import Records, extends, has_number, training_images
from repro.records.record import Record

# What is measured of a run and no part of it.
MEASURED = ("metrics", "trajectory")
# Settings a figure of the main study may vary; everything else is one and the same.
CELL = ("method", "method_options", "rule", "pretrain", "difficulty", *MEASURED)
# Settings a study tunes for each method, rule, pretraining and forget set; within one they are one and the same.
TUNED = ("lr", "epochs")
CASE = ("method", "rule", "pretrain", "difficulty")
# Settings that no number reads but a landscape's own.
LANDSCAPE = ("landscape_points", "landscape_images", "landscape_radius")
# The columns that every table has, in front.
FIRST = ("dataset", "model", "method", "rule", "pretrain", "difficulty", "seed", "unlearn_seed", "alpha", "epochs")


def main_runs(records: Records, *, having: str = "", contrast: str = "") -> list[Record]:
    """Return the finished and diverged runs of the largest comparable network study: cells times training images.

    The synthetic patch images belong to the comparison with the theory, not to the study of real images. A cell that
    only a study has which extends another, `cifar10-radius` of `cifar10`, is no cell of the study it asks about; what
    it ran of that study's own cells counts there.

    Args:
        records: what there is.
        having: a number the runs must have measured; studies without it are passed over.
        contrast: a field of `CELL` whose values are compared; a study with more of them goes before a larger one.
    """
    vary = CELL if "landscape" in having else (*CELL, *LANDSCAPE)

    def make() -> list[Record]:
        found = [one for one in networks(records) if not having or has_number(one, having)]
        base = alike(records, _of_the_studies(found), vary, contrast=contrast)
        cell = lambda run: (_case(run), records.setting(run).without(vary))  # noqa: E731
        cells = {cell(one) for one in base}
        return alike(records, [one for one in found if cell(one) in cells], vary, contrast=contrast)

    return list(records.once(("main runs", having, contrast), make))


def _of_the_studies(runs: list[Record]) -> list[Record]:
    """Return the runs of studies that extend none of the others."""
    names = {run.run_id: str(run.provenance.get("study") or "") for run in runs}
    studies = set(names.values())
    further = {name for name in studies if any(extends(name, other) for other in studies)}
    return [run for run in runs if names[run.run_id] not in further]


def _case(run: Record) -> tuple[object, ...]:
    return tuple(label(run, name) for name in CASE)


def networks(records: Records) -> list[Record]:
    """Return the finished and diverged network runs, but those on the synthetic patch images."""
    return [one for one in records.of("unlearn") if one.status != "failed" and label(one, "dataset") != "signal-noise"]


def _by_dataset(runs: Iterable[Record]) -> dict[object, list[Record]]:
    found: dict[object, list[Record]] = defaultdict(list)
    for run in runs:
        found[label(run, "dataset")].append(run)
    return found


def swept_runs(records: Records, x: str, tuned: Sequence[str] = ()) -> list[Record]:
    """Return NegGrad's runs over three or more values of a setting: of each data set those of its fullest sweep.

    Data sets come in the order of their training images, the largest first.

    Args:
        records: what there is.
        x: the config field that is swept.
        tuned: further fields that vary and, with it, have a rate of their own; else a rate belongs to a whole curve.
    """
    return [run for runs in sweeps(records, x, tuned) for run in in_table(runs, swept_table(runs, x))]


def sweeps(records: Records, x: str, tuned: Sequence[str] = ()) -> list[list[Record]]:
    """Return of each data set the comparable runs that have most values of a setting, as `swept_runs` takes it."""
    by_data = _by_dataset(sorted(networks(records), key=training_images, reverse=True))
    vary, case = (*CELL, *LANDSCAPE, x, *tuned), (*CASE, *((x, *tuned) if tuned else ()))
    return [alike(records, found, vary, case, swept=x) for found in by_data.values()]


def mask_runs(records: Records) -> list[Record]:
    """Return the runs of Sharp MinMax over the cutoff and polarity of its mask, each of which may have its own rate."""
    return swept_runs(records, "mask_fraction", ("switches",))


def alike(
    records: Records, found: Sequence[Record], vary: Sequence[str], case: Sequence[str] = CASE, *,
    swept: str = "", contrast: str = "",
) -> list[Record]:  # fmt: skip
    """Return the largest part of some runs in which settings other than `vary` are the same, tuned ones in each case.

    Args:
        records: where settings are known from.
        found: network runs.
        vary: config fields that may differ.
        case: config fields that name what a setting of `TUNED` is one and the same within.
        swept: the field of a sweep; the study with most of its values is taken.
        contrast: as in `main_runs`.
    """
    tuned: dict[tuple[object, ...], list[Record]] = defaultdict(list)
    for one in records.comparable(found, (*vary, *TUNED), swept=swept or contrast):
        tuned[tuple(one.config.get(name) for name in case)].append(one)
    return [one for runs in tuned.values() for one in records.comparable(runs, vary, swept=swept)]


def main_study(records: Records, *numbers: str, contrast: str = "") -> tuple[list[Record], Table, str]:
    """Return the runs and the table of the main study, or of the largest that measured one of the named numbers.

    The table has the noise floor and the common reference of its runs (`figures.tables.floor.with_references`).

    Args:
        records: what there is.
        numbers: names in order of preference; the first that any run has measured is the third value, else "".
        contrast: as in `main_runs`.
    """
    having = next((name for name in numbers if any(has_number(run, name) for run in records.of("unlearn"))), "")
    runs = main_runs(records, having=having, contrast=contrast)
    table = records.once(("main study", having, contrast), lambda: with_references(unlearn_table(runs)))
    return runs, table.copy(), having


def label(record: Record, name: str) -> object:
    """Return a label of a network run, from its result or its config."""
    return (record.result.get("labels") or {}).get(name, record.config.get(name))


def unlearn_table(records: Iterable[Record]) -> Table:
    """Return one row a network run: its labels, every number of its result, `status`, `run_id` and `study`.

    `forget_set` is the identity of its forget set ("" where it is not recorded) and `retraining` the rule of the
    retrained model it is held against. A number from an outdated version of its metric is left out. ToW of a run that
    diverged is 0.
    """
    rows = []
    for record in records:
        row: dict[str, Any] = {name: value for name, value in record.result.items()
                               if isinstance(value, int | float | str) and has_number(record, name)}  # fmt: skip
        labels = record.result.get("labels") or record.config
        row |= {name: value for name, value in labels.items() if name != "type"}
        row |= {"forget_set": forget_set(record), "retraining": retraining_rule(record)}
        row |= {"tow": 0.0} if record.status == "diverged" else {}  # it left nothing of the model
        row |= {"run_id": record.run_id, "status": record.status, "study": record.provenance.get("study", "")}
        rows.append(row)
    columns = dict.fromkeys((*FIRST, *(name for row in rows for name in row)))
    return pd.DataFrame(rows, columns=pd.Index(columns))


def forget_set(record: Record) -> str:
    """Return the identity of a run's forget set, or ""."""
    return str((record.result.get("parents") or {}).get("forget_set") or "")


def retraining_rule(record: Record) -> str:
    """Return the gradient rule of the retrained model that a run is held against: as a rule that of its original."""
    rule = record.config.get("retrain", "pretrain")
    return str(label(record, "pretrain") if rule == "pretrain" else rule)


def complete(table: Table, keys: Sequence[str], over: Sequence[str]) -> Table:
    """Return the rows of the cells and seeds that have every combination of `over` which the table has.

    Means over `over` are of the same things then, and can stand beside each other.

    Args:
        table: rows of `unlearn_table`.
        keys: columns that name a cell.
        over: columns whose combinations are averaged over.
    """
    parts = table.groupby(list(over), dropna=False).ngroup()
    counts = table.assign(part=parts).groupby([*keys, "seed"], dropna=False)["part"].transform("nunique")
    return table[counts == parts.nunique()]


def swept_table(runs: Sequence[Record], x: str, *, method: str = "neggrad", least: int = 3) -> Table:
    """Return the runs of one method whose curve (data set, rules, forget set, switches) was swept over `x`.

    A curve is of the seeds with most values of `x`, `least` at least: a seed that was run at one point alone, for
    another study, would make that point one of other models.
    """
    table = unlearn_table(runs)
    if x not in table:
        return table.iloc[:0]
    table = table[table["method"] == method]
    curve = [name for name in ("dataset", "pretrain", "rule", "difficulty", "switches") if name in table]
    counts = table.groupby([*curve, "seed"], dropna=False)[x].transform("nunique")
    most = table.assign(count=counts).groupby(curve, dropna=False)["count"].transform("max")
    return table[(counts == most) & (most >= least)] if len(table) else table


def low_polarity(table: Table) -> Table:
    """Return for each run whether the weights of small forget gradient forget, the reverse of the paper's mask."""
    switches = table["switches"] if "switches" in table else pd.Series("", index=table.index)
    return switches.astype(str).str.contains("mask_polarity=low")


def numbers_with(runs: Sequence[Record], prefix: str) -> list[str]:
    """Return the numeric results of the runs whose name starts with `prefix`, ordered."""
    found = {name for run in runs for name, value in run.result.items()
             if name.startswith(prefix) and isinstance(value, float) and has_number(run, name)}  # fmt: skip
    return sorted(found)


def in_table(runs: Iterable[Record], table: Table) -> tuple[Record, ...]:
    """Return the runs that have a row in a table."""
    ids = set(table["run_id"])
    return tuple(run for run in runs if run.run_id in ids)


def one_forget_set(runs: Sequence[Record]) -> list[Record]:
    """Return the runs of one forget set: the hardest there is, so that samples of different sets are never pooled."""
    for name in ("high", "random", "mid", "low"):
        found = [run for run in runs if label(run, "difficulty") == name]
        if found:
            return found
    return list(runs)


def seed_range(table: Table) -> str:
    """Return "3" or "3-5": the training seeds of the cells."""
    return span(table.groupby([name for name in CELL if name in table])["seed"].nunique())


def run_caption(runs: Sequence[Record], table: Table) -> str:
    """Return data set, model, recipe size, training seeds and the originals' test accuracy, for a caption.

    Two forget sets that hold the same samples are named: their columns are then not two experiments. Of several data
    sets each has its own.
    """
    by_data = _by_dataset(runs)
    if len(by_data) > 1:
        return " ".join(run_caption(part, table[table["dataset"] == name]) for name, part in by_data.items())
    names = ("dataset", "model", "alpha", "epochs", "lr", "preset")
    found = {name: sorted({label(run, name) for run in runs} - {None}, key=str) for name in names}
    # A number that a figure sweeps is on its axis, not in its setting.
    told = {name: values for name, values in found.items() if len(values) == 1 or (values and name in names[:2])}
    setting = ", ".join(f"{name} {' and '.join(map(str, values))}" for name, values in told.items())
    sets: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        if digest := forget_set(run):
            sets[digest].add(str(label(run, "difficulty")))
    same = sorted({" and ".join(sorted(names)) for names in sets.values() if len(names) > 1})
    note = f" The forget sets {'; '.join(same)} hold the same samples here." if same else ""
    return f"Setting: {setting}; {seed_range(table)} training seeds a cell. {original_accuracy(table)}{note}"


def original_accuracy(table: Table) -> str:
    """Return the test accuracy of the original models, mean ± standard deviation (seeds) a pretraining rule."""
    name = "original_test_accuracy"
    known = table.dropna(subset=[name]) if name in table else table.iloc[:0]
    parts = []
    for rule, rows in known.groupby("pretrain", sort=True):
        parts.append(
            f"{rule_label(rule)} {spread_text(interval(rows.groupby('seed')[name].mean()), percent=True, digits=1)}"
        )
    return f"Test accuracy of the originals in percent: {'; '.join(parts) or 'not recorded'}."
