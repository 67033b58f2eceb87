"""The network runs of a study as one table: what two runs share, so that their difference is an effect."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from figures.tables.names import method_label, rule_label
from figures.tables.records import Records
from repro.statistics.effects import FEWEST, Table, paired_effects, with_votes
from repro.statistics.spread import noise_floor
from repro.study.table import table_of

SAM = ("sam-0.1", "asam-1.0")
UNCHOSEN = ("l1_sparse", "scrub")  # methods with a strength in addition to the rate, which no study has chosen
ACCURACIES = ("retain_accuracy", "forget_accuracy", "test_accuracy")
ORIGINAL, RETRAINED = ([f"{model}_{name}" for name in ACCURACIES] for model in ("original", "retrained"))
TEXTS = ("run_id", "status", "method", "rule", "pretrain", "difficulty", "forget_identity")
OPTIONAL = ("original_tow", "seconds_unlearn", "seconds_mask", "seconds_retrain")


def run_table(records: Records) -> Table:
    """Return one row per network run: its `TEXTS`, all numbers of `repro.study.table.row_of`, and the added columns.

    Added columns: `setting`, method and pretraining; `forget_set`; `original`, the model it starts from, and
    `reference`, the retrained model it is compared with, both told apart by their accuracies; `untouched`, ToW of doing
    nothing; `floor`, the noise floor of ToW from the retrained models of that setting and forget set; `seconds` of the
    run and `shared_seconds` of these models.

    A run that diverged has ToW 0, and the models of the other runs of its setting and seed.
    """
    table: Table = table_of(records.of("unlearn")).rename(columns={"forget_set": "forget_identity"})
    if table.empty or not {"tow", *ORIGINAL, *RETRAINED} <= set(table):
        return pd.DataFrame()
    table = table[[*TEXTS, *table.select_dtypes("number")]]
    table = table.assign(**{name: np.nan for name in OPTIONAL if name not in table})
    table.loc[table["status"] == "diverged", "tow"] = 0.0
    models = [*ORIGINAL, *RETRAINED, "original_tow"]
    same = table.groupby(["method", "pretrain", "forget_identity", "seed"])[models]
    table[models] = table[models].fillna(same.transform("first"))
    after = table["pretrain"].map(rule_label)
    known = table[["original_test_accuracy", *RETRAINED]].astype(str)
    table = table.assign(
        setting=table["method"].map(method_label) + " after " + after,
        # Test accuracy alone: what else is measured of an original depends on the forget set.
        original=after + table["seed"].astype(str) + " " + known["original_test_accuracy"],
        reference=table["forget_identity"] + known[RETRAINED].agg(" ".join, axis=1),
        forget_set=table["difficulty"],
        untouched=table["original_tow"],
        seconds=table["seconds_unlearn"] + table["seconds_mask"].fillna(0.0),
        shared_seconds=table["seconds_retrain"],
    )
    retrained = table.drop_duplicates(["setting", "reference"]).groupby(["setting", "forget_identity"])[RETRAINED]
    floors = {key: noise_floor(rows.to_numpy(float)).value for key, rows in retrained if len(rows) >= FEWEST}
    keys = zip(table["setting"], table["forget_identity"], strict=True)
    return table.assign(floor=[floors.get(key, np.nan) for key in keys]).copy()  # columns of one kind side by side


def rule_effects(runs: Table, value: str, rules: Sequence[str], base: str = "sgd") -> Table:
    """Return `value` under each of some rules minus `value` under `base`, and whether each comparison has a vote.

    Args:
        runs: rows of `run_table`; value: the column that is compared.
    """
    rows = runs[runs["rule"].isin([*rules, base])].dropna(subset=[value])
    effects = paired_effects(rows, value, base=base, vote="tow")  # the right to vote rests on ToW
    floors = rows.groupby(["setting", "forget_set"])["floor"].first().reset_index()
    unchosen = [name for name in set(rows["setting"]) if name.startswith(tuple(map(method_label, UNCHOSEN)))]
    return with_votes(effects.merge(floors, on=["setting", "forget_set"]), unchosen=unchosen)


def floors_of(runs: Table) -> dict[str, float]:
    """Return the noise floor of each forget set: the mean over settings."""
    return {str(name): float(rows.mean()) for name, rows in runs.groupby("forget_set")["floor"]}
