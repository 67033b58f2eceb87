"""Finding 4, an ordering: which rule collapses first as alpha shrinks, with a bootstrap over seeds."""

import itertools
import math

import numpy as np
import pandas as pd

from figures.tables.cells import swept_studies
from figures.tables.intervals import Table
from figures.tables.names import family
from figures.tables.records import Records
from figures.verdicts.judge import Finding
from repro.base.verdict import regime, verdict

CLAIMED = ("sgd", "sam", "asam")  # from the first to collapse to the last
LEVEL = 0.5
TAIL = 0.025  # what an interval of 95 % leaves out at an end
RESAMPLES = 2000


def sgd_collapses_first(records: Records) -> Finding:
    """Judge finding (4): the alpha at which mean ToW falls below 0.5, by rule; claimed is SGD > SAM > ASAM.

    Training seeds are resampled, the same for all rules of a cell (study, pretraining rule and forget set); a pair
    of rules stands on a side where the interval of the difference of their alphas, simultaneous over the pairs of all
    cells, excludes 0. Of n seeds the rarest resample is one of n^n: where the interval leaves out less than that at an
    end, the seeds are too few to decide. A rule that never collapses counts as alpha 0.
    """
    runs, table = swept_studies(records, "alpha")
    tables = table.groupby(["dataset", "pretrain", "difficulty"], sort=False)
    several = len({one for *_, one in tables.groups}) > 1
    cells = {f"{data} after {rule}{f' on {one}' * several}": scores for (data, rule, one), rows in tables
             if (scores := collapse_scores(rows))}  # fmt: skip
    if not cells:
        return Finding()
    # A cell of too few seeds makes no comparison that could go wrong: it widens nobody's interval.
    tail = TAIL / max(1, sum(math.comb(len(scores), 2) for scores in cells.values() if _rarest(scores) <= TAIL))
    numbers, orders, shares, sides = [], [], [], {}
    for cell, scores in cells.items():
        seeds, pairs, drawn = len(scores["sgd"]), list(itertools.combinations(scores, 2)), resampled(scores)
        whole = {name: float(collapse_alpha(one.mean().to_frame().T)[0]) for name, one in scores.items()}
        alphas = (f"{name} {f'{alpha:.3f}' if alpha else 'none in the sweep'}" for name, alpha in whole.items())
        numbers.append(f"{cell}, {seeds} seeds: {', '.join(alphas)}")
        decides = _rarest(scores) <= tail
        for a, b in pairs:
            low, high = np.quantile(drawn[a] - drawn[b], (tail, 1 - tail))
            sides[f"{a} before {b} on {cell}"] = int(low > 0) - int(high < 0) if decides else 0
        shares.append(np.mean(np.all([drawn[a] > drawn[b] for a, b in pairs], axis=0)))
        orders.append(f"{shares[-1]:.0%} on {cell}{'' if decides else f' ({seeds} seeds decide nothing)'}")
    order = f"claimed order in {RESAMPLES} resamples of the seeds: {'; '.join(orders)}"
    number = f"alpha at which mean ToW falls below {LEVEL:g}: {'; '.join(numbers)}; {order}"
    rates = {run.config.get("lr") for run in runs}
    if len(rates) == 1 and None not in rates:  # a rule that moves farther at the same rate collapses for that alone
        number += f"; all rules at the one rate {rates.pop():g}"
    found = list(sides.values())
    some = f"{min(shares):.0%} to {max(shares):.0%}" if len(shares) > 1 else f"{shares[0]:.0%}"
    short = f"claimed order in {some} of resamples ({'a cell' if len(shares) == 1 else f'{len(shares)} cells'})"
    return Finding(verdict(found), number, regime(list(sides), found), tuple(runs), short)


def _rarest(scores: dict[str, Table]) -> float:
    """Return the share of the rarest resample of a cell's seeds, one seed drawn every time."""
    seeds = len(scores["sgd"])
    return seeds**-seeds


def collapse_scores(table: Table) -> dict[str, Table]:
    """Return the ToW of the claimed families of rules, a row a training seed and a column an alpha.

    Only seeds that every family has count; without SGD and another family there is nothing to compare: empty. A run
    that diverged has collapsed: its ToW counts as 0. Rules of one family are averaged.
    """
    if "tow" not in table:
        return {}
    table = table.assign(family=table["rule"].map(family))
    found = {str(name): rows.pivot_table("tow", "seed", "alpha") for name, rows in table.groupby("family")}
    found = {name: found[name].dropna() for name in CLAIMED if name in found}
    seeds = sorted(set.intersection(*(set(one.index) for one in found.values()))) if found else []
    return {name: one.loc[seeds] for name, one in found.items()} if seeds and "sgd" in found and len(found) > 1 else {}


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
