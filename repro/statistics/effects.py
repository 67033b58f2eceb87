"""From runs to one pooled effect: paired differences, combined over seeds first, then over settings.

The model is the crossed one with random settings and random seeds,

    d_ks = mu + u_k + c_s + e_ks,    Var(u) = tau^2,

where `u_k` is what setting k has of its own, `c_s` what the settings that share an original have in common at seed s,
and `e_ks` the rest. `benchmarks/intervals.py` compares its intervals, and those of other methods, with a known truth.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from repro.base.settings import reject

# A pandas DataFrame or Series: what pandas declares for indexing is a union that no caller could use without a cast.
Table = Any

FEWEST = 3  # seeds: a comparison of fewer has no vote, in any claim
COMPARISON = ("setting", "forget_set", "contrast")
PAIRED = ("setting", "forget_set", "seed", "original", "reference")
NO_UNLEARNING, NOT_CHOSEN = "did not unlearn here", "nobody chose its strength"


def paired_effects(runs: Table, value: str, *, base: str = "sgd", vote: str = "") -> Table:
    """Return `value` of each run minus `value` of the base run that shares its setting, forget set, seed and models.

    A run without such a partner has no row: pairs across two originals or two references are not made, and neither are
    pairs across two sets of weights of one of these models.

    Args:
        runs: one row per run: the columns of `PAIRED`, which both runs share, `rule` and `value`. Optional columns:
            `untouched`, the value of the original model; `seconds`, core-seconds of the run; `shared_seconds`,
            core-seconds of the models that runs share; `original_checksum` and `reference_checksum` of these models'
            weights, null where they are unknown.
        value: the column that is compared, such as "tow".
        base: the rule of the run that is subtracted.
        vote: the column to which `untouched` belongs, if it is not `value`; runs without it have no row.

    Returns:
        One row per pair: `COMPARISON`, whose contrast is the other rule; `seed`, `value` and `block`. `block` is the
        original: settings that share an original may err together. If the optional columns are there: `gain` and
        `base_gain`, how far each run is above its original; `seconds`, what one more seed of this row costs. The
        seconds of a shared run or model are split among the rows that share it.

    Raises:
        ConfigError: when a column is missing, a run has two partners, or a model has two sets of weights.
    """
    vote = vote or value
    _require(runs, (*PAIRED, "rule", value, vote))
    for model in ("original", "reference"):
        known: Table = runs.groupby(model)[f"{model}_checksum"].nunique() if f"{model}_checksum" in runs else {}
        for stage, checksums in known.items():
            if checksums > 1:
                advice = "runs on other weights are not compared"
                raise reject("runs", f"{model} {stage}", "one checksum per model", advice)
    keys, optional = list(PAIRED), [name for name in ("untouched", "seconds") if name in runs]
    numbers = [*dict.fromkeys((value, vote)), *optional]
    bases = runs.loc[runs["rule"] == base, [*keys, *numbers]]
    if bases.duplicated(keys).any():
        twice = bases[bases.duplicated(keys)].iloc[0]
        raise reject("runs", f"{twice['setting']}, seed {twice['seed']}", f"one run with rule = {base} per seed")
    columns = [*keys, "rule", *numbers, *(name for name in ("shared_seconds",) if name in runs)]
    rows = runs.loc[runs["rule"] != base, columns].merge(bases, on=keys, suffixes=("", "_base"))
    ours, theirs = rows[value].astype(float), rows[f"{value}_base"].astype(float)
    found = rows[keys].assign(contrast=rows["rule"], block=rows["original"].astype(str), value=ours - theirs)
    if "untouched" in rows:
        gains = {"gain": rows[vote].astype(float), "base_gain": rows[f"{vote}_base"].astype(float)}
        found = found.assign(**{name: reached - rows["untouched"] for name, reached in gains.items()})
    if "seconds" in rows:
        partners = found.groupby(keys)["value"].transform("size")
        found["seconds"] = rows["seconds"] + rows["seconds_base"] / partners
        if "shared_seconds" in rows:
            sharing = found.groupby(["forget_set", "original", "reference"])["value"].transform("size")
            found["seconds"] += rows["shared_seconds"] / sharing
    known = rows[[value, f"{value}_base", vote, f"{vote}_base"]].notna().all(axis=1)
    return found[known.to_numpy()].reset_index(drop=True)


def with_votes(effects: Table, unchosen: Collection[str] = ()) -> Table:
    """Return effects with a column `no_vote`: why a comparison does not count, "" where it counts.

    The rule is fixed beforehand. A comparison did not unlearn where neither of its two runs is on average above the
    original model by more than one noise floor. A comparison in which only one of the two unlearned stays: that is a
    difference.

    Args:
        effects: rows of `paired_effects` with `gain` and `base_gain`, and a column `floor`, the noise floor of the
            comparison in ToW; NaN lets it vote.
        unchosen: settings whose methods have a strength that nobody chose.
    """
    _require(effects, (*COMPARISON, "gain", "base_gain", "floor"))
    comparisons = effects.groupby(list(COMPARISON))
    best = np.maximum(comparisons["gain"].transform("mean"), comparisons["base_gain"].transform("mean"))
    reason = np.where(best <= effects["floor"].astype(float), NO_UNLEARNING, "")
    return effects.assign(no_vote=np.where(effects["setting"].isin(list(unchosen)), NOT_CHOSEN, reason))


def voting(effects: Table) -> Table:
    """Return the rows of `with_votes` that have a vote."""
    return effects[effects["no_vote"] == ""]


class Settings(NamedTuple):
    """The effect of each setting, combined over its seeds.

    Attributes:
        names: the names of the K settings.
        values: the effects, `(K,)`.
        covariance: the covariance of their errors over seeds, `(K, K)`; its diagonal holds squared standard errors.
        freedom: degrees of freedom of each, `(K,)`.
        seeds: the fewest training seeds of a comparison of each setting, `(K,)`.
        seconds: core-seconds that one more seed of each costs, `(K,)`; NaN where the runs do not say.
    """

    names: tuple[str, ...]
    values: np.ndarray
    covariance: np.ndarray
    freedom: np.ndarray
    seeds: np.ndarray
    seconds: np.ndarray


def combine_seeds(effects: Table) -> Settings:
    """Return the effect of each setting: the mean over its comparisons of the comparisons' own means over seeds.

    A comparison is a setting, forget set and contrast. Two comparisons a and b that share blocks (originals of the same
    seed, and with them the base run) err together:

        Cov(m_a, m_b) = n_ab g_ab / (n_a n_b),

    where `g_ab` is the sample covariance over the `n_ab` blocks that both have, and `n_a` counts the blocks of a. Means
    over contrasts, and over forget sets where there are several, carry this covariance. Comparisons of fewer than
    `FEWEST` seeds are left out, and so are settings that lack one of the forget sets.

    Args:
        effects: rows of `paired_effects`: `COMPARISON`, `block`, `value`. Values of one comparison and block are
            averaged first.
    """
    _require(effects, (*COMPARISON, "block", "value"))
    comparisons: Table = effects.groupby([*COMPARISON, "block"])["value"].mean().unstack("block")
    comparisons = comparisons[comparisons.notna().sum(axis=1) >= FEWEST]
    settings, row = np.unique(comparisons.index.get_level_values("setting"), return_inverse=True)
    sets, column = np.unique(comparisons.index.get_level_values("forget_set"), return_inverse=True)
    contrasts = np.zeros((len(settings), len(sets)), dtype=int)  # of a setting on a forget set
    np.add.at(contrasts, (row, column), 1)
    complete: Any = contrasts.all(axis=1)
    names, comparisons = tuple(settings[complete]), comparisons[complete[row]]
    # Each comparison's weight in its setting, (settings, comparisons): contrasts count alike, and so do forget sets.
    own = (row == np.flatnonzero(complete)[:, None])[:, complete[row]]
    weights = own / contrasts[row, column][complete[row]] / max(len(sets), 1)
    known = comparisons.notna().to_numpy().astype(int)
    counts = known.sum(axis=1)
    errors = comparisons.T.cov(min_periods=2).fillna(0.0).to_numpy() * (known @ known.T) / np.outer(counts, counts)
    fewest = np.array([counts[mine].min() for mine in own], dtype=int)
    costs: Any = np.nan
    if "seconds" in effects:
        costs = effects.groupby(list(COMPARISON))["seconds"].mean().reindex(comparisons.index)
    return Settings(
        names,
        weights @ comparisons.mean(axis=1).to_numpy(float),
        weights @ errors @ weights.T,
        fewest - 1.0,
        fewest,
        own @ np.broadcast_to(np.asarray(costs, float), counts.shape),
    )


def unpaired(first: Settings, second: Settings) -> Settings:
    """Return `first - second` of settings that share no run, each with the degrees of freedom of Welch.

        Var = v_1 + v_2,    f = (v_1 + v_2)^2 / (v_1^2 / f_1 + v_2^2 / f_2)

    Args:
        first, second: results of `combine_seeds` on plain values, not differences; settings that both have are
            compared.
    """  # fmt: skip
    names = tuple(name for name in first.names if name in second.names)
    one, two = (_chosen(side, [side.names.index(name) for name in names]) for side in (first, second))
    v1, v2 = (np.diag(side.covariance) for side in (one, two))
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = (v1 + v2) ** 2 / (v1**2 / one.freedom + v2**2 / two.freedom)
    return Settings(
        names, one.values - two.values, one.covariance + two.covariance, freedom,
        np.minimum(one.seeds, two.seeds), one.seconds + two.seconds,
    )  # fmt: skip


def _chosen(settings: Settings, rows: Sequence[int]) -> Settings:
    names = tuple(settings.names[row] for row in rows)
    parts = (settings.values, settings.covariance[:, rows], settings.freedom, settings.seeds, settings.seconds)
    return Settings(names, *(part[rows] for part in parts))


@dataclass(frozen=True)
class Pooled:
    """One effect over K settings.

    Attributes:
        settings: the settings from which it was pooled.
        value: the mean of their effects, each setting counting once.
        between: `s^2 / K`, the variance of that mean by how the settings differ; 0 for one setting.
        common: the variance that seeds bring to all settings alike: the mean covariance of two settings, at least 0.
        freedom: degrees of freedom of the sum of the two (Satterthwaite).
    """

    settings: Settings
    value: float
    between: float
    common: float
    freedom: float

    @property
    def error(self) -> float:
        """Return the standard error of `value`."""
        return float(np.sqrt(self.between + self.common))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return `value -+ t error`, Student's t at `level` in (0, 1)."""
        half = quantile(self.freedom, level) * self.error
        return self.value - half, self.value + half

    @cached_property
    def within(self) -> float:
        """Return the mean variance of a setting's own error, less what it shares with the others."""
        return max(float(np.diag(self.settings.covariance).mean()) - _mean_off_diagonal(self.settings.covariance), 0.0)

    @cached_property
    def tau2(self) -> float:
        """Return the variance between settings that seeds do not explain, `max(0, s^2 - within)`; NaN for one."""
        count = len(self.settings.names)
        return max(0.0, self.between * count - self.within) if count > 1 else float("nan")

    @property
    def i2(self) -> float:
        """Return I^2, the share in [0, 1] of the settings' variance that seeds do not explain; NaN for one."""
        spread = self.between * len(self.settings.names)
        return self.tau2 / spread if spread > 0 else float("nan")

    def prediction(self) -> tuple[float, float]:
        """Return where the effect of one further setting, run with as many seeds, would lie; NaN for one setting.

        value -+ t_{K-1, 0.975} sqrt(s^2 + error^2)

        It takes `s^2`, not `tau^2` as meta-analyses do: with three seeds a `tau^2` of 0 says little.
        """
        count = len(self.settings.names)
        half = quantile(count - 1.0, 0.95) * np.sqrt(self.between * count + self.error**2)
        return self.value - half, self.value + half

    def sides(self) -> tuple[float, float]:
        """Return the shares of settings whose own 95 % interval lies above 0 and below 0."""
        low, high = self.setting_intervals()
        return float((low > 0).mean()), float((high < 0).mean())

    def setting_intervals(self, level: float = 0.95) -> np.ndarray:
        """Return both ends of each setting's own interval over seeds, `(2, K)`."""
        half = quantile(self.settings.freedom, level) * np.sqrt(np.diag(self.settings.covariance))
        return np.array([self.settings.values - half, self.settings.values + half])


def pool(settings: Settings) -> Pooled:
    """Return the mean effect over settings, with the error of a random choice of settings and of seeds.

        V = s^2 / K + max(0, c),    f = V^2 / ((s^2 / K)^2 / (K - 1) + c^2 / f_seed)

    `s^2` is the sample variance of the K effects, `c` the mean covariance of two of them. With balanced comparisons it
    is `(MS_setting + max(0, MS_seed - MS_rest)) / (K n)` of the crossed two-way table. Where settings share no
    original, `c = 0`: the Hartung-Knapp interval with equal weights. Weights by each setting's variance lose coverage,
    for three seeds do not tell a variance. One setting alone has the interval of its seeds.

    Raises:
        ConfigError: when there is no setting.
    """  # fmt: skip
    count = len(settings.names)
    if not count:
        raise reject("settings", 0, f"at least 1, with {FEWEST} seeds per comparison")
    value, freedom = float(settings.values.mean()), float(settings.freedom.mean())
    if count == 1:
        return Pooled(settings, value, 0.0, float(settings.covariance[0, 0]), freedom)
    between = float(settings.values.var(ddof=1)) / count
    common = max(0.0, _mean_off_diagonal(settings.covariance))
    return Pooled(settings, value, between, common, satterthwaite(between, count - 1, common, freedom))


def satterthwaite(first: float, first_freedom: float, second: float, second_freedom: float) -> float:
    """Return the degrees of freedom of the sum of two independent variances; if both are 0, those of the first."""
    total = first + second
    return total**2 / (first**2 / first_freedom + second**2 / second_freedom) if total > 0 else first_freedom


def quantile(freedom: Any, level: float) -> Any:
    """Return Student's t whose two-sided interval holds `level` of the probability; NaN below one degree of freedom."""
    from scipy.special import stdtrit

    return stdtrit(np.where(np.asarray(freedom) > 0, freedom, np.nan), 0.5 + level / 2)


def _mean_off_diagonal(matrix: np.ndarray) -> float:
    count = len(matrix)
    return float((matrix.sum() - np.trace(matrix)) / (count * (count - 1))) if count > 1 else 0.0


def forest(pooled: Pooled) -> Table:
    """Return the rows of a forest plot: each setting with its own 95 % interval over seeds, then the pooled effect.

    Columns: `setting`, `value`, `low`, `high`, `seeds` and `pooled`; the pooled row alone has the ends of its 90 %
    interval, `inner_low` and `inner_high`, and of its prediction interval, `predicted_low` and `predicted_high`. It has
    `i2` too, and `above` and `below`, the shares of settings whose own interval lies on that side of 0.
    """
    low, high = pooled.setting_intervals()
    rows = {"setting": pooled.settings.names, "value": pooled.settings.values, "low": low, "high": high,
            "seeds": pooled.settings.seeds, "pooled": False}  # fmt: skip
    last = {"setting": "all settings", "value": pooled.value, "seeds": pooled.settings.seeds.min(), "pooled": True}
    ends = {"": pooled.interval(), "inner_": pooled.interval(0.9), "predicted_": pooled.prediction()}
    last |= {"i2": pooled.i2, **dict(zip(("above", "below"), pooled.sides(), strict=True))}
    last |= {f"{name}{end}": pair[place] for name, pair in ends.items() for place, end in enumerate(("low", "high"))}
    columns = [*rows, *(name for name in last if name not in rows)]
    return pd.concat([pd.DataFrame(rows).reindex(columns=columns), pd.DataFrame([last])], ignore_index=True)


def _require(table: Table, columns: Sequence[str]) -> None:
    for name in columns:
        if name not in table:
            raise reject("table", sorted(map(str, table.columns)), f"a table with a column {name!r}")
