"""The paper's tables of ToW (tab-neggrad, tab-methods, tab-minmax), with retraining and doing nothing as rows.

And the same on random forget sets (tab-random).
"""

import pandas as pd

from figures import marks
from figures.catalogue import figure
from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.style import Theme
from figures.networks.published import published_text
from figures.tables.floor import average_floor, floor_of, floor_text, noise_floors, reaches
from figures.tables.names import CROSSED, GRADED, family, method_label, order, rule_label
from figures.tables.records import Records
from figures.tables.runs import complete, in_table, run_caption, study_table
from figures.tables.texts import spread_text
from repro.statistics.effects import Table
from repro.statistics.seeds import Row, summarize

ROW = ["method", "pretrain", "rule"]
ROWS = {"method": "method", "pretrain": "pretrain", "rule": "unlearn"}
COMMON, FLOOR = "ToW against SGD retrain", "noise floor"
REFERENCES = {"original": "do nothing", "retrained": "retrained on R"}
ACCURACIES = {"retain_accuracy": "retain", "forget_accuracy": "forget", "test_accuracy": "test"}


@figure("tab-neggrad", place=290, shows="ToW of NegGrad by pretraining and unlearning rule", studies=("cifar10",),
        claims=("1a", "1b"))  # fmt: skip
def neggrad_tow(records: Records, theme: Theme) -> Drawing:
    """Write ToW of NegGrad under SGD, SAM and ASAM."""
    return tow_table(records, "ToW of NegGrad for each pretraining and unlearning rule.", methods=("neggrad",))


@figure("tab-methods", place=300, shows="ToW of every method", studies=("cifar10",), claims=("1a", "1b"))
def tow_of_methods(records: Records, theme: Theme) -> Drawing:
    """Write ToW of every method under SGD, SAM and ASAM."""
    return tow_table(records, "ToW of every method for each pretraining and unlearning rule.")


@figure("tab-minmax", place=310, shows="Sharp MinMax, SAM on R only and the plain rules", studies=("cifar10",),
        claims=("2",))  # fmt: skip
def sharp_minmax_tow(records: Records, theme: Theme) -> Drawing:
    """Write ToW and its accuracies of NegGrad under every rule."""
    what = "Sharp MinMax, SAM on the retain loss only, and NegGrad under the plain rules: ToW and its three accuracies."
    return tow_table(records, what, methods=("neggrad",), crossed=False)


@figure("tab-random", place=315, shows="NegGrad on random forget sets, by every rule",
        studies=("cifar10-random", "cifar10-random-asam"), claims=("1a", "1b", "2"))  # fmt: skip
def tow_on_random_sets(records: Records, theme: Theme) -> Drawing:
    """Write ToW and its accuracies of NegGrad under every rule, on random forget sets."""
    what = "NegGrad on random forget sets: ToW and its three accuracies for each unlearning rule."
    return tow_table(records, what, methods=("neggrad",), crossed=False)


def tow_table(records: Records, what: str, *, methods: tuple[str, ...] = (), crossed: bool = True) -> Drawing:
    """Write ToW of each row and forget set, its mean over the graded ones, the noise floor and the paper's values.

    Args:
        records: what there is.
        what: first sentence of the caption.
        methods: keep only these methods, if any is named.
        crossed: True keeps SGD, SAM and ASAM; False keeps every rule and adds the three accuracies.
    """
    runs, table = study_table(records)
    table = table[table["method"].isin(methods or table["method"])]
    table = table[table["rule"].map(lambda rule: not crossed or family(rule) in CROSSED).astype(bool)]
    if table.empty:
        columns = [*ROW, "difficulty", "metric", "mean", "sd", "low", "high", "seeds", "diverged"]
        raise NotRun("network runs", columns, what)
    data = _with_floor(_tow_numbers(table, accuracies=not crossed), table)
    shown = _display(data, accuracies=not crossed)
    graded = table["difficulty"].isin(GRADED).any()
    mean = "A mean covers settings and seeds that have all graded sets. " if graded else ""
    caption = (
        f"{what} Higher is nearer to retraining; † marks what is as good as retraining, its 95 % interval reaching the "
        "noise floor. Percent, mean ± standard deviation over training seeds (number of seeds). Noise floor: ToW of "
        f"one retrained model against another of another seed, in the order of the forget sets. {mean}Against the SGD "
        "retrain: ToW with one reference for every pretraining rule. "
        f"{run_caption(table)}"
    )
    alt = f"A table of {len(shown)} rows: method, pretraining rule, unlearning rule, and ToW for each forget set."
    return Drawing(data, caption, alt, in_table(runs, table), display=shown)


def _tow_numbers(table: Table, *, accuracies: bool) -> Table:
    """Return summary rows: every setting, its mean over the graded sets, and the two reference models.

    A mean covers the seeds that have every graded set of the table; a setting that lacks a set has no mean.
    """
    table = table.assign(graded=table["difficulty"])  # what a row stood for before it became part of a mean
    mean = complete(table[table["difficulty"].isin(GRADED)], ROW, ["difficulty"]).assign(difficulty="mean")
    parts = []
    for metric in ["tow", *(["common_tow"] if "common_tow" in table else []), *(ACCURACIES if accuracies else ())]:
        sources = [rows.assign(value=rows.get(metric)) for rows in (table, mean)]
        sources += [_references(rows, metric) for rows in (table, mean)]
        parts += [summarize(rows, [*ROW, "difficulty"]).assign(metric=metric) for rows in sources if len(rows)]
    return pd.concat(parts, ignore_index=True)


def _references(table: Table, metric: str) -> Table:
    """Return the original and the retrained model as rows, once per pretraining rule, forget set and seed."""
    parts = []
    for role in REFERENCES:
        # The retrained model is its own reference: its ToW is 1 by definition, and it has no column of its own.
        known = table.get(f"{role}_{metric}", float("nan"))
        value = 1.0 if (role, metric) == ("retrained", "tow") else known
        rows = table.assign(method=role, rule="", value=value)
        parts.append(rows.drop_duplicates(["pretrain", "difficulty", "graded", "seed"]))
    return pd.concat(parts, ignore_index=True).dropna(subset=["value"])


def _with_floor(data: Table, table: Table) -> Table:
    """Return the rows with `floor` and `floor_sd` of their forget set, and whether a ToW reaches it.

    A mean over the graded forget sets has the mean of their floors.
    """
    floors, rules = noise_floors(table), {(one.pretrain, one.difficulty): one.retraining for one in table.itertuples()}
    known: dict[tuple[str, str], dict[str, float] | None] = {
        (pretrain, name): floor_of(floors, name, rule) for (pretrain, name), rule in rules.items()
    }
    for pretrain in set(table["pretrain"]):
        graded = floors[floors["difficulty"].isin(GRADED) & (floors["retraining"] == rules.get((pretrain, "low")))]
        known[pretrain, "mean"] = average_floor(graded)
    found = [known.get((row.pretrain, row.difficulty)) for row in data.itertuples()]
    measured = (data["metric"] == "tow") & ~data["method"].isin(REFERENCES)
    good = [bool(here) and reaches(row, floor)
            for here, floor, (_, row) in zip(measured, found, data.iterrows(), strict=True)]  # fmt: skip
    parts = {name: [floor[key] if floor else float("nan") for floor in found]
             for name, key in (("floor", "mean"), ("floor_sd", "sd"))}  # fmt: skip
    return data.assign(**parts, as_good_as_retraining=good)


def _display(data: Table, *, accuracies: bool) -> Table:
    """Return the numbers as text: one column per forget set, or one row per forget set and one column per metric."""
    sets = order(data, "difficulty")
    texts = data.assign(text=[_tow_text(row) for row in data.to_dict("records")])
    if accuracies:
        names = {"tow": "ToW", "common_tow": COMMON, **ACCURACIES}
        shown = marks.table(texts, ROWS | {"difficulty": "forget set"}, names)
        shown = shown[shown["ToW"] != "—"].reset_index(drop=True)
    else:
        common = texts[(texts["metric"] == "common_tow") & (texts["difficulty"] == sets[-1])]
        tow = texts[texts["metric"] == "tow"]
        columns = {name: f"ToW {name}" for name in sets} | {"common": f"{COMMON}, {sets[-1]}"}
        shown = marks.table(pd.concat([tow, common.assign(difficulty="common")]), ROWS, columns, by="difficulty")
    known = data[data["floor"].notna()][["pretrain", "difficulty", "floor", "floor_sd"]].drop_duplicates()
    floors = {(rule_label(pretrain), name): floor_text({"mean": mean, "sd": sd})
              for pretrain, name, mean, sd in known.itertuples(index=False)}  # fmt: skip
    rules = {(method_label(method), rule_label(rule)): published_text(method, rule)
             for method, _, rule in data[ROW].itertuples(index=False)}  # fmt: skip
    paper = [rules[row.method, row.unlearn] for row in shown.itertuples()]
    if accuracies:
        paper = [text if name == "mean" else "—" for text, name in zip(paper, shown["forget set"], strict=True)]
        noise = [floors.get(key, "—") for key in zip(shown["pretrain"], shown["forget set"], strict=True)]
    else:
        noise = [" / ".join(floors.get((pretrain, name), "—") for name in sets) for pretrain in shown["pretrain"]]
    named = {"method": shown["method"].replace(REFERENCES), "unlearn": shown["unlearn"].replace("", "—")}
    return shown.assign(**named, **{FLOOR: noise, "paper (ToW, mean)": paper})


def _tow_text(row: Row) -> str:
    if row["method"] == "retrained" and row["metric"] == "tow":
        return "100 by definition"
    return spread_text(row, percent=True, digits=2) + " †" * row["as_good_as_retraining"]
