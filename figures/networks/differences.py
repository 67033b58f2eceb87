"""Each sharpness-aware rule minus SGD (tab-differences), as unlearning and as pretraining rule, setting by setting."""

import pandas as pd

from figures import marks
from figures.catalogue import figure
from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.style import Theme
from figures.tables.floor import pretrain_differences, rule_differences
from figures.tables.records import Records
from figures.tables.runs import run_caption, study_table
from figures.tables.texts import points_text
from repro.statistics.effects import Table
from repro.statistics.seeds import by_setting

METRICS = {
    "tow": "ToW",
    "common_tow": "ToW against SGD retrain",
    "retain_accuracy": "retain",
    "forget_accuracy": "forget",
    "test_accuracy": "test",
}
UNLEARNING = ("sam", "asam", "minmax", "retain-sam")
PRETRAINING = ("sam", "asam")
COLUMNS = {"role": "role", "method": "method", "pretrain": "pretrained", "rule": "unlearned",
           "difficulty": "forget set"}  # fmt: skip
ROW = list(COLUMNS)
EXPLAINED = (
    "Does a sharpness-aware rule do better than SGD, setting by setting? Each entry is its number minus SGD's in the "
    "same setting and training seed, in percentage points, mean [95 % t-interval over seeds], * where it excludes 0. "
    "For an unlearning rule, the same setting unlearned by SGD is subtracted; for a pretraining rule, the same "
    "unlearning after SGD. Settings after SAM or ASAM have a reference of their own: trust a difference of pretraining "
    "rules only where ToW against the common SGD retrain agrees. Noise floor: deviation of such a difference in ToW "
    "between two models that were both retrained. A higher ToW is nearer to retraining; a higher accuracy need not be."
)


@figure("tab-differences", place=320, shows="each sharpness-aware rule minus SGD, setting by setting",
        studies=("cifar10",))  # fmt: skip
def differences_from_sgd(records: Records, theme: Theme) -> Drawing:
    """Write the differences in ToW and in the three accuracies of the main study."""
    runs, table = study_table(records)
    data = difference_table(table)
    if data.empty:
        raise NotRun("network runs", list(data.columns))
    shown = _display(data)
    alt = f"A table of {len(shown)} rows: role, method, rule and forget set; differences from SGD."
    return Drawing(data, f"{EXPLAINED} {run_caption(table)}", alt, tuple(runs), display=shown)


def difference_table(table: Table) -> Table:
    """Return one row per role, setting and metric: `mean`, `sd`, `low`, `high`, `seeds`, `floor`."""
    parts = []
    for metric in METRICS:
        unlearning = rule_differences(table, metric, rules=UNLEARNING)
        pretraining = pretrain_differences(table, metric, rules=PRETRAINING)
        for role, found in (("unlearning", unlearning), ("pretraining", pretraining)):
            parts.append(by_setting(found.assign(role=role), ROW).assign(metric=metric))
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)


def _display(data: Table) -> Table:
    """Return one line per role and setting, one column per metric; unlearning rules first."""
    texts = data.assign(text=[points_text(row) for row in data.to_dict("records")])
    known = data[(data["metric"] == "tow") & data["floor"].notna()]
    floors = known.assign(metric="floor", text=[f"{100 * floor:.1f}" for floor in known["floor"]])
    return marks.table(pd.concat([texts, floors]), COLUMNS, METRICS | {"floor": "noise floor"})
