"""Each sharpness-aware rule minus SGD (tab-differences), as unlearning and as pretraining rule, cell by cell."""

import pandas as pd

from figures.catalogue import lacking
from figures.drawing.drawing import Drawing, empty_table
from figures.drawing.style import Theme
from figures.tables.cells import run_caption, study_runs, unlearn_table
from figures.tables.floor import with_references
from figures.tables.intervals import Row, Table
from figures.tables.names import method_label, method_order, rule_label, rule_order, set_order
from figures.tables.pairs import by_cell, pretrain_differences, rule_differences
from figures.tables.records import Records

METRICS = {
    "tow": "ToW",
    "common_tow": "ToW against SGD retrain",
    "retain_accuracy": "retain",
    "forget_accuracy": "forget",
    "test_accuracy": "test",
}
UNLEARNING = ("sam", "asam", "minmax", "retain-sam")
PRETRAINING = ("sam", "asam")
ROW = ["role", "method", "pretrain", "rule", "difficulty"]
EXPLAINED = (
    "Sharpness-aware rule minus SGD in the same cell and training seed, in percentage points, mean [95 % t-interval "
    "over training seeds], * where the interval excludes 0. Of an unlearning rule, the same cell unlearned by SGD is "
    "subtracted; of a pretraining rule, the cell unlearned alike after SGD. A SAM-pretrained cell has a reference of "
    "its own, so that a difference of pretraining rules counts only where ToW against the common SGD retrain agrees. "
    "Noise floor: deviation of such a difference in ToW between two rules that both retrain with other seeds. A higher "
    "ToW is nearer to retraining; a higher accuracy need not be."
)


def draw(records: Records, theme: Theme) -> Drawing:
    """Write the differences in ToW and in the three accuracies of the main study."""
    runs = study_runs(records)
    table = with_references(unlearn_table(runs))
    data = differences(table)
    if data.empty:
        return empty_table(lacking("tab-differences", "network runs"), list(data.columns))
    shown = _display(data, table)
    alt = f"A table of {len(shown)} rows: role, method, rule and forget set; differences from SGD."
    return Drawing(data, f"{EXPLAINED} {run_caption(runs, table)}", alt, tuple(runs), display=shown)


def differences(table: Table) -> Table:
    """Return one row a role, cell and metric: `mean`, `sd`, `low`, `high`, `seeds`, `floor`."""
    parts = []
    for metric in METRICS:
        unlearning = rule_differences(table, metric, rules=UNLEARNING)
        pretraining = pretrain_differences(table, metric, rules=PRETRAINING)
        for role, found in (("unlearning", unlearning), ("pretraining", pretraining)):
            parts.append(by_cell(found.assign(role=role), ROW).assign(metric=metric))
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)


def _display(data: Table, table: Table) -> Table:
    methods, rules, sets = method_order(table), rule_order(table), set_order(table)
    places = {rule: place for place, rule in enumerate(rules)}
    texts = {(*(row[name] for name in ROW), row["metric"]): _text(row) for _, row in data.iterrows()}

    known = data[(data["metric"] == "tow") & data["floor"].notna()]
    floors = {tuple(row[name] for name in ROW): f"{100 * row['floor']:.1f}" for _, row in known.iterrows()}

    def place(key: tuple[str, ...]) -> tuple[bool, int, int, int, int]:
        role, method, pretrain, rule, name = key
        first, second = (places.get(one, len(rules)) for one in (pretrain, rule))
        return role != "unlearning", methods.index(method), first, second, sets.index(name)

    return pd.DataFrame(
        {
            "role": key[0],
            "method": method_label(key[1]),
            "pretrained": rule_label(key[2]),
            "unlearned": rule_label(key[3]),
        }
        | {"forget set": key[4]}
        | {title: texts.get((*key, metric), "—") for metric, title in METRICS.items()}
        | {"noise floor": floors.get(key, "—")}
        for key in sorted({key[:5] for key in texts}, key=place)
    )


def _text(row: Row) -> str:
    mean, low, high = (100 * row[name] for name in ("mean", "low", "high"))
    if pd.isna(low):
        return f"{mean:+.1f}"
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]{' *' if low > 0 or high < 0 else ''}"
