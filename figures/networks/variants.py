"""Sharp MinMax and NegGrad as corrected and as released, by SGD and by AdamW (tab-variants)."""

import pandas as pd

from figures import marks
from figures.answers.variants import MINMAX, PLAIN, PRESETS, VARIANT, minmax_gains, variant_runs
from figures.catalogue import figure
from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.style import Theme
from figures.tables.names import rule_label
from figures.tables.records import Records
from figures.tables.runs import in_table, run_caption
from figures.tables.texts import spread_text
from repro.statistics.effects import Table
from repro.statistics.seeds import summarize

NOTHING, GAIN = "do nothing", "Sharp MinMax minus ASAM"
CAPTION = (
    "Does the result for Sharp MinMax depend on how it is computed? ToW in percent, mean ± standard deviation over "
    "training seeds (number of seeds); in brackets the learning rate chosen for that variant, rule and forget set. As "
    "corrected: our reading of the method. As released, by AdamW or by SGD: with the deviations of the released "
    "code (docs/differences.md), without those that would change the original or the retrained model, so that a row "
    "differs from another in the unlearning alone. NegGrad has no mask. Last column: pairs of one seed. "
)


@figure("tab-variants", place=375, shows="Sharp MinMax and NegGrad as corrected and as released",
        studies=("cifar10-variants", "cifar10-variants-high"), claims=("2",))  # fmt: skip
def tow_by_variant(records: Records, theme: Theme) -> Drawing:
    """Write ToW of NegGrad and Sharp MinMax for each variant and cutoff of the mask, and what the mask gains."""
    runs, table = variant_runs(records)
    if table.empty:
        raise NotRun("variants of the released code", [*VARIANT, "rule", "mean", "sd", "seeds"])
    masked = table["rule"] == MINMAX
    cutoffs = table.loc[masked, VARIANT].drop_duplicates()
    plain = table[~masked].drop(columns="mask_fraction").merge(cutoffs, on=["difficulty", "preset"])
    lines = pd.concat([table[masked], plain])
    found = summarize(lines, [*VARIANT, "rule", "lr"], "tow")
    nothing = summarize(lines.drop_duplicates([*VARIANT, "seed"]), VARIANT, "original_tow").assign(rule=NOTHING)
    gains = summarize(minmax_gains(table), VARIANT).assign(rule=GAIN)
    data: Table = pd.concat([nothing, found, gains], ignore_index=True)
    shown = _display(data, [NOTHING, *(rule for rule in ("sgd", PLAIN, MINMAX) if rule in set(table["rule"])), GAIN])
    alt = f"A table of {len(shown)} rows: forget set, variant and cutoff of the mask, with ToW by rule."
    return Drawing(data, f"{CAPTION}{run_caption(table)}", alt, in_table(runs, table), display=shown)


def _display(data: Table, columns: list[str]) -> Table:
    place = [list(PRESETS).index(preset) for preset in data["preset"]]
    data = data.assign(place=place).sort_values(["place", "mask_fraction"], kind="stable")
    rates = [f" [{rate:g}]" if rate == rate else "" for rate in data["lr"]]
    texts = [spread_text(row, percent=True, digits=1) for row in data.to_dict("records")]
    rows = data.assign(
        text=[text + rate for text, rate in zip(texts, rates, strict=True)],
        preset=data["preset"].replace(PRESETS),
        mask_fraction=[f"{value:g}" for value in data["mask_fraction"]],
    )
    keys = {"difficulty": "forget set", "preset": "variant", "mask_fraction": "mask"}
    labels = {name: name if name in (NOTHING, GAIN) else rule_label(name) for name in columns}
    return marks.table(rows, keys, labels, by="rule")
