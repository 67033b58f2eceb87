"""The network runs of a study as a figure shows them, and their table."""

from collections.abc import Iterable, Sequence

from figures.tables.floor import with_references
from figures.tables.names import rule_label
from figures.tables.records import MEASURED, Records, alike, grouped
from figures.tables.texts import span, spread_text
from repro.records.record import Record
from repro.statistics.effects import Table
from repro.statistics.seeds import interval
from repro.study.table import has_number, table_of

# What names a setting of a figure: the runs that differ in their seeds only.
SETTING = ("method", "rule", "pretrain", "difficulty")
# The same, and what is on the axis of no figure.
WHOLE = ("method", "method_options", "rule", "pretrain", "difficulty", *MEASURED)
# What a study may choose for each setting.
TUNED = ("lr", "epochs")
# Settings on which no number depends but a landscape's own.
LANDSCAPE = ("landscape_points", "landscape_images", "landscape_radius")
# The columns that every table has.
FIRST = ("dataset", "model", "method", "rule", "pretrain", "difficulty", "seed", "unlearn_seed", "alpha", "epochs")
LAST = ("lr", "preset", "switches", "forget_set", "retraining", "run_id", "status", "study")


def study_runs(records: Records, *, having: str = "", shown: Sequence[str] = ()) -> list[Record]:
    """Return the network runs of a study setting by setting, including those that diverged.

    Args:
        records: of one study.
        having: a number that they must have measured; a run that diverged has a ToW, which is 0.
        shown: config fields that a figure shows in addition to those of `SETTING`.

    Raises:
        Mixed: when runs of one setting differ in more than their seeds.
    """
    zero = having == "tow"
    found = [run for run in records.of("unlearn")
             if not having or has_number(run, having) or (zero and run.status == "diverged")]  # fmt: skip
    free = () if "landscape" in having else LANDSCAPE
    found = alike(found, (*SETTING, *shown, *free), records.study)
    return [run for runs in grouped(found, SETTING).values() for run in runs]


def study_table(records: Records, *, having: str = "", shown: Sequence[str] = ()) -> tuple[list[Record], Table]:
    """Return the runs of `study_runs` and their table, with the references of `figures.tables.floor`."""
    runs = study_runs(records, having=having, shown=shown)
    # Many figures show the same runs.
    table = records.once(("table", having, tuple(shown)), lambda: with_references(unlearn_table(runs)))
    return runs, table.copy()


def tag(record: Record, name: str) -> object:
    """Return a tag of a network run, such as its method, from its result or its config."""
    return (record.result.get("labels") or {}).get(name, record.config.get(name))


def unlearn_table(records: Iterable[Record]) -> Table:
    """Return one row per network run (see `repro.study.table.row_of`), with the columns `FIRST` in front.

    `forget_set` is the identity of its forget set ("" where it is not recorded) and `retraining` the rule of the
    retrained model it is compared with. ToW of a run that diverged is 0: it left nothing of the model.
    """
    records = list(records)
    table: Table = table_of(records)
    table = table.reindex(columns=list(dict.fromkeys([*FIRST, *table, *LAST])))
    table = table.assign(retraining=[retraining_rule(record) for record in records])
    table = table if records else table.astype(object)  # columns of texts, though there are none
    if (diverged := table["status"] == "diverged").any():
        table.loc[diverged, "tow"] = 0.0
    return table


def retraining_rule(record: Record) -> str:
    """Return the gradient rule of the retrained model that a run is compared with, usually the rule of its original."""
    rule = record.config.get("retrain", "pretrain")
    return str(tag(record, "pretrain") if rule == "pretrain" else rule)


def complete(table: Table, keys: Sequence[str], over: Sequence[str]) -> Table:
    """Return the rows of the settings and seeds that have every combination of `over` which the table has.

    Means over `over` then cover the same combinations and can be compared.

    Args:
        table: rows of `unlearn_table`.
        keys: columns that name a setting.
        over: columns whose combinations are averaged over.
    """
    parts = table.groupby(list(over), dropna=False).ngroup()
    counts = table.assign(part=parts).groupby([*keys, "seed"], dropna=False)["part"].transform("nunique")
    return table[counts == parts.nunique()]


def swept_table(table: Table, x: str) -> Table:
    """Return the runs of NegGrad whose curve (data set, rules, forget set, switches) has three or more values of `x`.

    A curve has the seeds with most values of `x`. A seed that was run at one point alone, for another study, would add
    other models to that point only.
    """
    if table.empty or x not in table:
        return table.iloc[:0]
    table = table[table["method"] == "neggrad"]
    curve = ["dataset", "pretrain", "rule", "difficulty", "switches"]
    counts = table.groupby([*curve, "seed"], dropna=False)[x].transform("nunique")
    most = table.assign(count=counts).groupby(curve, dropna=False)["count"].transform("max")
    return table[(counts == most) & (most >= 3)]


def in_table(runs: Iterable[Record], table: Table) -> tuple[Record, ...]:
    """Return the runs that have a row in a table."""
    ids = set(table["run_id"])
    return tuple(run for run in runs if run.run_id in ids)


def one_forget_set(runs: Sequence[Record]) -> list[Record]:
    """Return the runs of one forget set: the hardest there is, so that samples of different sets are never pooled."""
    for name in ("high", "random", "mid", "low"):
        found = [run for run in runs if tag(run, "difficulty") == name]
        if found:
            return found
    return list(runs)


def seed_range(table: Table) -> str:
    """Return "3" or "3-5": the training seeds of the settings."""
    return span(table.groupby([name for name in (*SETTING, "method_options") if name in table])["seed"].nunique())


def run_caption(table: Table) -> str:
    """Return data set, model, recipe size, training seeds and the originals' test accuracy, for a caption.

    Two forget sets that hold the same samples are named: their columns are then not two experiments. Of several data
    sets each has its own.
    """
    if table["dataset"].nunique() > 1:
        return " ".join(run_caption(rows) for _, rows in table.groupby("dataset", sort=False))
    names = ("dataset", "model", "alpha", "epochs", "lr", "preset")
    found = {name: sorted(table[name].dropna().unique(), key=str) for name in names if name in table}
    # A number that a figure sweeps is on its axis, not in its setting.
    told = {name: values for name, values in found.items() if len(values) == 1 or (values and name in names[:2])}
    texts = {name: [f"{one:g}" if isinstance(one, float) else str(one) for one in values]
             for name, values in told.items()}  # fmt: skip
    setting = ", ".join(f"{name} {' and '.join(values)}" for name, values in texts.items())
    sets = table[table["forget_set"] != ""].groupby("forget_set")["difficulty"].agg(lambda found: sorted(set(found)))
    same = sorted({" and ".join(names) for names in sets if len(names) > 1})
    note = f" The forget sets {'; '.join(same)} hold the same samples here." if same else ""
    return f"Setting: {setting}; {seed_range(table)} training seeds per setting. {original_accuracy(table)}{note}"


def original_accuracy(table: Table) -> str:
    """Return the test accuracy of the original models, mean ± standard deviation (seeds) by pretraining rule."""
    name = "original_test_accuracy"
    known = table.dropna(subset=[name]) if name in table else table.iloc[:0]
    parts = []
    for rule, rows in known.groupby("pretrain", sort=True):
        parts.append(
            f"{rule_label(rule)} {spread_text(interval(rows.groupby('seed')[name].mean()), percent=True, digits=1)}"
        )
    return f"Test accuracy of the originals in percent: {'; '.join(parts) or 'not recorded'}."
