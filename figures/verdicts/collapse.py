"""Finding 4, an ordering: which rule collapses first as alpha shrinks, with a bootstrap over seeds."""

import itertools

import numpy as np
import pandas as pd

from figures.tables.cells import CELL, main_runs, unlearn_table
from figures.tables.intervals import FEWEST, Table
from figures.tables.names import family
from figures.tables.records import Records
from figures.verdicts.judge import Finding
from repro.base.verdict import UNDECIDED, regime, verdict

CLAIMED = ("sgd", "sam", "asam")  # from the first to collapse to the last
LEVEL = 0.5
RESAMPLES = 2000


def sgd_collapses_first(records: Records) -> Finding:
    """Judge finding (4): the alpha at which mean ToW falls below 0.5, by rule; claimed is SGD > SAM > ASAM.

    Training seeds are resampled, the same for all rules; a pair of rules stands on a side where the interval of the
    difference of their alphas, simultaneous over the pairs, excludes 0. A rule that never collapses counts as alpha 0.
    """
    runs = main_runs(records, (*CELL, "alpha"), swept="alpha")
    scores = collapse_scores(unlearn_table(runs))
    shown = [name for name in CLAIMED if name in scores]
    if "sgd" not in shown or len(shown) < 2:
        return Finding()
    whole = {name: float(collapse_alpha(scores[name].mean().to_frame().T)[0]) for name in shown}
    pairs = list(itertools.combinations(shown, 2))
    seeds = sorted(set.intersection(*(set(scores[name].index) for name in shown)))
    number = "; ".join(f"{name}: {f'{whole[name]:.3f}' if whole[name] else 'none in the sweep'}" for name in shown)
    number = f"alpha at which mean ToW falls below {LEVEL:g}: {number} ({len(seeds)} seeds)"
    rates = {run.config.get("lr") for run in runs}
    if len(rates) == 1 and None not in rates:  # a rule that moves farther at the same rate collapses for that alone
        number += f", all rules at the one rate {rates.pop():g}"
    if len(seeds) < FEWEST:
        few = f"fewer than {FEWEST} seeds decide nothing"
        return Finding(UNDECIDED, f"{number}; {few}", "", tuple(runs), few)
    drawn = resampled({name: scores[name].loc[seeds] for name in shown})
    claimed = np.mean(np.all([drawn[a] > drawn[b] for a, b in pairs], axis=0))
    tail = 0.025 / len(pairs)
    ends = [np.quantile(drawn[a] - drawn[b], (tail, 1 - tail)) for a, b in pairs]
    found = [int(low > 0) - int(high < 0) for low, high in ends]
    number += f"; the whole claimed order stands in {claimed:.0%} of {RESAMPLES} resamples of the seeds"
    where = regime([f"{a} before {b}" for a, b in pairs], found)
    return Finding(verdict(found), number, where, tuple(runs), f"claimed order in {claimed:.0%} of resamples")


def collapse_scores(table: Table) -> dict[str, Table]:
    """Return for each family of rules NegGrad's ToW, a row a training seed and a column an alpha (three at least).

    A run that diverged has collapsed: its ToW counts as 0.
    """
    if table.empty or "tow" not in table:
        return {}
    table = table[table["method"] == "neggrad"].assign(family=lambda rows: rows["rule"].map(family))
    table = table.assign(tow=table["tow"].where(table["status"] != "diverged", 0.0))
    found = {str(name): rows.pivot_table("tow", "seed", "alpha") for name, rows in table.groupby("family")}
    return {name: scores.dropna() for name, scores in found.items() if scores.shape[1] >= 3 and len(scores.dropna())}


def collapse_alpha(means: Table) -> np.ndarray:
    """Return the alpha at which mean ToW falls below 0.5 for good, 0 where it never does; shape `(rows,)`.

    Between the last alpha below and the next one it is interpolated, as the theory's thresholds are; where no alpha
    lies above, it is the largest.

    Args:
        means: mean ToW, a column an alpha, in increasing order.
    """
    alphas, tow = np.asarray(means.columns, dtype=float), means.to_numpy()
    below = tow < LEVEL
    last = below.shape[1] - 1 - below[:, ::-1].argmax(axis=1)  # the last column where none is below
    row, following = np.arange(len(tow)), np.minimum(last + 1, below.shape[1] - 1)
    rise = tow[row, following] - tow[row, last]
    share = np.divide(LEVEL - tow[row, last], rise, out=np.zeros(len(tow)), where=rise > 0)
    return np.where(below.any(axis=1), alphas[last] + share * (alphas[following] - alphas[last]), 0.0)


def resampled(scores: dict[str, Table]) -> dict[str, np.ndarray]:
    """Return the alpha of collapse of each rule in 2,000 bootstrap samples of the seeds, the same for every rule."""
    count = len(next(iter(scores.values())))
    rows = np.random.default_rng(0).integers(count, size=(RESAMPLES, count))
    return {name: collapse_alpha(pd.DataFrame(one.to_numpy()[rows].mean(axis=1), columns=one.columns))
            for name, one in scores.items()}  # fmt: skip
