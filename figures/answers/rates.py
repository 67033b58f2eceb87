"""What SAM gains on SGD if the rates are chosen again, and if SGD takes as many gradients as SAM."""

import pandas as pd

from figures.answers.found import SETS, by_seed
from figures.answers.runs import SAM
from repro.statistics.effects import Table, combine_seeds, paired_effects, pool

EFFECT = ["setting", "forget_set"]


def rates_chosen_again(runs: Table, first: Table | None = None) -> list[str]:
    """Return a sentence for each setting and forget set: what SAM and ASAM gain at rates chosen on other seeds.

    Args:
        runs: rows of `figures.answers.runs.run_table`, with several rates for each rule.
        first: the same of the study behind the answer; then what SAM and ASAM gain at its rates is said too.
    """
    gains = gains_by_choosing_seed(runs)
    if gains.empty:
        return []
    said = []
    for forget_set in (name for name in SETS if name in set(gains["forget_set"])):
        for setting, rows in gains[gains["forget_set"] == forget_set].groupby("setting"):
            own, other = by_seed(rows["own"], " ToW"), by_seed(rows["gain"], " ToW", by="choosing seed")
            before = pd.Series() if first is None else gains_at_rates_of(first, runs, setting, forget_set)
            at_first = f"{by_seed(before, ' ToW')} at the rates behind the answer, " if len(before) else ""
            said.append(
                f"With finer rates, on the {len(rows)} seeds and the half of the images that only choose rates, "
                f"{setting} on {SETS[forget_set]}: SAM and ASAM gain {at_first}{own} at each seed's own best rate, and "
                f"{other} at a rate chosen on another seed."
            )
    return said


def gains_at_rates_of(first: Table, runs: Table, setting: str, forget_set: str) -> pd.Series:
    """Return what SAM and ASAM gain on SGD in `runs`, by seed, where each rule has the rate of most runs of `first`.

    Args:
        first, runs: rows of `figures.answers.runs.run_table`.
        setting, forget_set: which rows of both are meant.

    Returns:
        The mean of ToW by `SAM` minus ToW by SGD; seeds that lack one of these runs are left out.
    """
    used, tried = (table[(table["setting"] == setting) & (table["forget_set"] == forget_set)] if len(table) else table
                   for table in (first, runs))  # fmt: skip
    if used.empty or "lr" not in used:
        return pd.Series()
    rates = used.groupby("rule")["lr"].agg(lambda lr: lr.mode().iloc[0]).filter(["sgd", *SAM])
    tow = tried[tried["lr"] == tried["rule"].map(rates)].pivot_table("tow", "seed", "rule").dropna()
    if "sgd" not in tow or len(tow.columns) < 2:
        return pd.Series()
    return tow.drop(columns="sgd").mean(axis=1) - tow["sgd"]


def gains_by_choosing_seed(runs: Table) -> Table:
    """Return what SAM and ASAM gain on SGD where each rule's rate is the best of one seed and ToW is of the others.

    Args:
        runs: rows of `figures.answers.runs.run_table`. A setting and forget set counts if each rule has several rates,
            and a seed if it has all of them.

    Returns:
        One row per setting, forget set and choosing seed: `gain`, the mean of ToW by `SAM` minus ToW by SGD; `own`, the
        same on the choosing seed itself; and by the name of each rule the rate that was chosen.
    """
    found = []
    for (setting, forget_set), rows in runs.groupby(EFFECT) if "lr" in runs else ():
        tow = rows[rows["rule"].isin(["sgd", *SAM])].pivot_table("tow", "seed", ["rule", "lr"]).dropna()
        rates = {rule: len(tow[rule].columns) for rule in tow.columns.unique("rule")}
        if "sgd" not in rates or len(rates) < 2 or min(rates.values()) < 2 or len(tow) < 2:
            continue
        for seed in tow.index:
            best = {rule: tow.loc[seed, rule].idxmax() for rule in rates}
            chosen = pd.DataFrame({rule: tow[rule, rate] for rule, rate in best.items()})
            gains = chosen.drop(columns="sgd").mean(axis=1) - chosen["sgd"]
            found.append({"setting": setting, "forget_set": forget_set, "seed": seed, "own": gains[seed],
                          "gain": gains.drop(seed).mean(), **best})  # fmt: skip
    return pd.DataFrame(found)


def equal_gradients(runs: Table, longer: Table) -> list[str]:
    """Return a sentence for each setting and forget set: what ASAM gains on SGD with as many gradients.

    Args:
        runs, longer: rows of `figures.answers.runs.run_table`; in `longer`, SGD has twice the epochs of ASAM in `runs`,
            on the same models.
    """
    if longer.empty:
        return []
    said = []
    for (setting, forget_set), rows in longer[longer["rule"] == "sgd"].groupby(EFFECT):
        asam = runs[(runs["rule"] == "asam-1.0") & (runs["setting"] == setting) & (runs["forget_set"] == forget_set)]
        twice = rows[rows["epochs"] == 2 * asam["epochs"].max()]
        settings = combine_seeds(paired_effects(pd.concat([asam, twice]), "tow"))
        if not settings.names:
            continue
        effect = pool(settings)
        low, high = effect.interval()
        said.append(
            f"SGD with as many gradients as ASAM (twice the epochs), {setting} on {SETS[forget_set]}: ASAM gains "
            f"{effect.value:+.3f} ToW [{low:+.3f}, {high:+.3f}]."
        )
    return said
