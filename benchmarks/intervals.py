"""How often 95 % intervals of a pooled effect cover a known truth, and which of the five answers come out.

python benchmarks/intervals.py [--repeats 4000] > docs/intervals.md

Effects are drawn from the crossed model of `repro.statistics.effects`, with variances like those of the CIFAR-10 study,
which are measured first. Besides the method of this project stand three that were not chosen.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from repro.records.published import PublishedStudy
from repro.statistics.answers import ANSWERS, answer
from repro.statistics.effects import Settings, pool, quantile

RESULTS = Path(__file__).parents[1] / "results"
METHODS = ("neggrad", "random_label", "salun", "l1_sparse", "scrub")
LAYOUTS = {2: (0, 1), 3: (0, 0, 1), 4: (0, 0, 0, 1), 6: (0, 0, 0, 1, 1, 1), 12: (0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2)}
SEEDS, SHARES, BETWEEN = (3, 5), (0.0, 0.3), (0.0, 0.007, 0.014, 0.025)
ERROR = 0.012  # root mean square over settings of the deviation over seeds
TRUTHS = ((0.05, 0.05, 0.05), (0.05, 0.02, 0.0), (0.0, 0.0, 0.0), (-0.05, -0.05, -0.05), (0.01, 0.01, 0.01))
UNEVEN = 0.5  # deviation of its logarithm between settings


def draw_effects(
    rng: np.random.Generator, originals: Sequence[int], seeds: int, *, tau: float, share: float, mean: float = 0.0
) -> np.ndarray:
    """Return effects `(settings, seeds)` whose true mean is `mean`.

    Args:
        originals: the number of the original model of each setting; settings of one original share errors.
        tau: deviation between settings; share: the part in [0, 1] of the variance over seeds that sharers share.
    """
    groups, shape = np.asarray(originals), (len(originals), seeds)
    scale = ERROR * np.exp(UNEVEN * rng.standard_normal((shape[0], 1)) - UNEVEN**2)
    common = rng.standard_normal((groups.max() + 1, seeds))[groups]
    errors = scale * (np.sqrt(share) * common + np.sqrt(1 - share) * rng.standard_normal(shape))
    return mean + tau * rng.standard_normal((shape[0], 1)) + errors


def balanced(effects: np.ndarray, originals: Sequence[int]) -> Settings:
    """Return what `combine_seeds` gives for effects `(settings, seeds)`, faster."""
    count, seeds = effects.shape
    sharing = np.equal.outer(originals, originals)
    covariance = np.cov(effects) * sharing / seeds
    full, empty = np.full(count, seeds), np.full(count, np.nan)
    return Settings(tuple(map(str, range(count))), effects.mean(axis=1), covariance, full - 1.0, full, empty)


def ours(effects: np.ndarray, originals: Sequence[int]) -> tuple[float, float]:
    """Return the interval of `repro.statistics.effects.pool`."""
    return pool(balanced(effects, originals)).interval()


def every_effect(effects: np.ndarray, originals: Sequence[int]) -> tuple[float, float]:
    """Return the t-interval of all effects, as if each seed of each setting were a sample of its own."""
    return _around(effects.mean(), effects.std(ddof=1) / np.sqrt(effects.size), effects.size - 1)


def settings_alone(effects: np.ndarray, originals: Sequence[int]) -> tuple[float, float]:
    """Return the t-interval of the settings' means, as if no two of them shared an original."""
    means = effects.mean(axis=1)
    return _around(means.mean(), means.std(ddof=1) / np.sqrt(len(means)), len(means) - 1)


def inverse_variance(effects: np.ndarray, originals: Sequence[int]) -> tuple[float, float]:
    """Return the Hartung-Knapp interval with weights `1 / (v_k + tau^2)`, tau^2 by DerSimonian and Laird.

    The same as `statsmodels.stats.meta_analysis.combine_effects(..., method_re="chi2").conf_int(use_t=True)` gives.
    """
    means, variances = effects.mean(axis=1), effects.var(axis=1, ddof=1) / effects.shape[1]
    weights, freedom = 1 / variances, len(means) - 1
    fixed = np.average(means, weights=weights)
    scale = weights.sum() - (weights**2).sum() / weights.sum()
    tau2 = max(0.0, ((weights * (means - fixed) ** 2).sum() - freedom) / scale)
    weights = 1 / (variances + tau2)
    middle = np.average(means, weights=weights)
    variance = (weights * (means - middle) ** 2).sum() / freedom / weights.sum()
    return _around(middle, np.sqrt(variance), freedom)


def _around(middle: float, error: float, freedom: int) -> tuple[float, float]:
    half = quantile(freedom, 0.95) * error
    return middle - half, middle + half


INTERVALS: dict[str, Callable[[np.ndarray, Sequence[int]], tuple[float, float]]] = {
    "chosen": ours, "settings alone": settings_alone, "inverse variance": inverse_variance, "every effect": every_effect
}  # fmt: skip


def coverage(
    interval: Callable[[np.ndarray, Sequence[int]], tuple[float, float]], originals: Sequence[int], seeds: int, *,
    tau: float, share: float, repeats: int, seed: int = 0,
) -> float:  # fmt: skip
    """Return the share of drawn studies whose interval contains the true mean, 0."""
    rng = np.random.default_rng(seed)
    found = (interval(draw_effects(rng, originals, seeds, tau=tau, share=share), originals) for _ in range(repeats))
    return float(np.mean([low <= 0 <= high for low, high in found]))


def prediction_coverage(originals: Sequence[int], seeds: int, *, tau: float, share: float, repeats: int) -> float:
    """Return how often the prediction interval contains the effect of a further setting with an original of its own."""
    rng, hits = np.random.default_rng(0), 0
    for _ in range(repeats):
        *known, new = draw_effects(rng, [*originals, max(originals) + 1], seeds, tau=tau, share=share)
        low, high = pool(balanced(np.array(known), originals)).prediction()
        hits += low <= new.mean() <= high
    return hits / repeats


def effect_rows(means: dict[str, float], rng: np.random.Generator, *, tau: float, seeds: int) -> Any:
    """Return rows as `paired_effects` gives them: four settings, three of one original, on each forget set."""
    originals = LAYOUTS[4]
    return pd.DataFrame(
        {"setting": str(k), "forget_set": name, "contrast": "sam", "block": f"{originals[k]}/{s}", "value": value}
        for name, mean in means.items()
        for (k, s), value in np.ndenumerate(draw_effects(rng, originals, seeds, tau=tau, share=0.3, mean=mean))
    )


def answers(means: dict[str, float], *, tau: float, seeds: int, repeats: int) -> dict[str, float]:
    """Return the share of drawn studies that give each answer."""
    rng = np.random.default_rng(0)
    counts = Counter(answer(effect_rows(means, rng, tau=tau, seeds=seeds)).word for _ in range(repeats))
    return {word: counts[word] / repeats for word in ANSWERS}


def read_tow(study: str, names: Sequence[str]) -> Any:
    """Return ToW of the unlearned models of a committed study, a column a rule, a row a value of `names`."""
    rows = []
    for record in PublishedStudy(RESULTS / f"{study}.parquet").records("unlearn"):
        if record.provenance["study"] == study and record.config["method"] in METHODS:
            settings = {name: record.config[name] for name in (*names, "rule")}
            rows.append(settings | {"tow": record.result["tow"]})
    return pd.DataFrame(rows).pivot_table(index=list(names), columns="rule", values="tow")


def measured() -> list[dict[str, Any]]:
    """Return what the CIFAR-10 study scatters by, a row a forget set: ToW of SAM and ASAM minus ToW of SGD.

    Columns: `settings`; `errors`, the root mean square of their deviations over seeds; `between`, the deviation of
    their means; `rules`, the correlation over seeds of SAM's and ASAM's effect, which share one SGD run, over all sets.
    """
    wide = read_tow("cifar10", ["difficulty", "method", "pretrain", "seed"])
    effects = wide[["sam-0.1", "asam-1.0"]].sub(wide["sgd"], axis=0).dropna(how="all")
    both: Any = effects.dropna()
    both = both - both.groupby(level=[0, 1, 2]).transform("mean")
    rules = float((both.iloc[:, 0] * both.iloc[:, 1]).sum() / np.sqrt((both**2).sum().prod()))
    found = []
    for name, part in effects.mean(axis=1).groupby(level="difficulty"):
        settings = part.groupby(level=["method", "pretrain"])
        spread = {"errors": float(np.sqrt(settings.var().mean())), "between": float(settings.mean().std())}
        found.append({"forget set": name, "settings": settings.ngroups} | spread | {"rules": rules})
    return found


def hundred_seeds(repeats: int) -> list[dict[str, Any]]:
    """Return how often intervals of few of the hundred seeds of the `klom` study contain the mean of the hundred."""
    wide, rng, found = read_tow("klom", ["pretrain", "seed"]), np.random.default_rng(0), []
    for pretrain, part in (wide["sam-0.1"] - wide["sgd"]).groupby(level="pretrain"):
        values = part.to_numpy()
        for seeds in SEEDS:
            drawn = rng.permuted(np.tile(values, (repeats, 1)), axis=1)[:, :seeds]
            half = quantile(seeds - 1, 0.95) * drawn.std(axis=1, ddof=1) / np.sqrt(seeds)
            hits = float((np.abs(drawn.mean(axis=1) - values.mean()) <= half).mean())
            found.append({"pretrained by": pretrain, "seeds": seeds, "covered": hits})
    return found


def many_models(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return margins of unlearned and of retrained models, `(40, 36)` each; about one image in ten is found out."""
    shift = np.where(rng.random(36) < 0.1, 1.5, 0.0) + 0.3 * rng.standard_normal(36)
    level = rng.standard_normal(36) + shift * np.array([[[1.0]], [[0.0]]])
    unlearned, retrained = level + 0.5 * rng.standard_normal((2, 40, 1)) + rng.standard_normal((2, 40, 36))
    return unlearned, retrained


def attack_coverage(repeats: int) -> list[dict[str, Any]]:
    """Return how often intervals of U-LiRA and KLoM contain the mean over many draws, with their mean width.

    One interval resamples the models alone, the other models and images; `needed` is the width that holds 95 % of the
    numbers themselves.
    """
    from empirical.metrics.pooled import attack_rates, divergence_of_halves, likelihood_ratios
    from repro.statistics.spread import draw_models_and_images, recentred

    def numbers(models: np.ndarray, images: np.ndarray, sides: tuple[Any, Any], each: np.ndarray) -> list[float]:
        rates = attack_rates(*(side[np.ix_(models, images)] for side in sides))
        return [rates["auc"], rates["tpr_at_1_percent"], float(each[images].mean())]

    rng, every = np.random.default_rng(0), np.arange(36)
    truth, found = [], []
    for draw in range(5 * repeats):
        unlearned, retrained = many_models(rng)
        sides = likelihood_ratios(unlearned, retrained)
        value = numbers(np.arange(40), every, sides, divergence_of_halves(retrained, unlearned))
        truth.append(value)
        if draw >= repeats:
            continue
        models, images = draw_models_and_images(40, 36, rng, repeats=100)
        pairs = divergence_of_halves(retrained, unlearned, models[:, :20] // 2)
        samples = [[numbers(models[k], rows, sides, pairs[k]) for k, rows in enumerate(chosen)]
                   for chosen in (np.tile(every, (100, 1)), images)]  # fmt: skip
        found.append([[recentred(*pair) for pair in zip(value, np.transpose(one), strict=True)] for one in samples])
    ends, middle = np.array(found)[..., 1:], np.mean(truth, axis=0)
    covered = ((ends[..., 0] <= middle) & (middle <= ends[..., 1])).mean(axis=0)
    width, needed = np.diff(ends)[..., 0].mean(axis=0), 3.92 * np.std(truth, axis=0)
    return [{"number": name, "models": covered[0, k], "models and images": covered[1, k], "width, models": width[0, k],
             "width, both": width[1, k], "needed": needed[k]}
            for k, name in enumerate(("U-LiRA, AUC", "U-LiRA, TPR at 1 %", "KLoM, mean"))]  # fmt: skip


def _table(rows: Sequence[dict[str, Any]], digits: int = 3) -> str:
    shown = lambda value: f"{value:.{digits}f}" if isinstance(value, float) else str(value)  # noqa: E731
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([shown(value) for value in row.values()] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(repeats: int) -> str:
    """Return the page as Markdown."""
    grid = [
        {"settings": settings, "seeds": seeds, "shared": share, "tau": tau}
        for settings in LAYOUTS for seeds in SEEDS for share in SHARES for tau in BETWEEN
    ]  # fmt: skip
    for row in grid:
        drawn = {"tau": row["tau"], "share": row["shared"], "repeats": repeats}
        layout, seeds = LAYOUTS[row["settings"]], row["seeds"]
        row |= {name: coverage(interval, layout, seeds, **drawn) for name, interval in INTERVALS.items()}
        row["prediction"] = prediction_coverage(layout, seeds, **drawn)
    found = np.array([row["chosen"] for row in grid])
    said = []
    for truth in TRUTHS:
        means: dict[str, float] = dict(zip(("high", "mid", "low"), truth, strict=True))
        for seeds, tau in ((3, 0.014), (3, 0.004), (10, 0.004)):
            shares = answers(means, tau=tau, seeds=seeds, repeats=max(repeats // 10, 1))
            said.append({"truth": ", ".join(f"{one:+.2f}" for one in truth), "seeds": seeds, "tau": tau} | shares)
    return TEMPLATE.format(
        measured=_table(measured(), 4), hundred=_table(hundred_seeds(repeats)),
        grid=_table(grid), answers=_table(said), attacks=_table(attack_coverage(repeats // 40)), repeats=repeats,
        draws=repeats // 40,
        low=found.min(), high=found.max(), inside=int(((found >= 0.94) & (found <= 0.96)).sum()), points=len(found),
        below=int((found < 0.94).sum()),
    )  # fmt: skip


TEMPLATE = """# How intervals were chosen

Written by `python benchmarks/intervals.py > docs/intervals.md`; do not edit by hand.

A claim about SAM is judged from differences in ToW between two runs that share everything but the rule. A *setting* is
what a difference is repeated in: a data set, a network, a method and a pretraining rule. The pooled effect is the mean
over settings. Its interval should contain the true mean in 95 of 100 studies like ours.

## What the CIFAR-10 study scatters by

`errors` is the deviation over seeds in a typical setting, `between` the deviation of the settings' means. `rules` is
the correlation of the effects of SAM and ASAM, which are compared with the same SGD run.

{measured}

## Real errors over seeds

The model above takes errors to be normal. The `klom` study has a hundred seeds of ToW of SAM minus ToW of SGD. Its
intervals from few of these seeds should contain the mean of all hundred. They do so less often: its forget set has 36
images, so that ToW moves in steps and now and then by a large one.

{hundred}

## How often the interval contains the truth

{repeats} studies were drawn for each row, with errors over seeds of 0.012 that differ between settings. `tau` is the
true deviation between settings. `shared` is the part of the variance over seeds that settings of one original share.

- **chosen**: `V = s^2 / K + max(0, c)` and Student's t with Satterthwaite's degrees of freedom, the method of
  `repro.statistics.effects`.
- **settings alone**: the t-interval of the settings' means. It ignores that settings share originals.
- **inverse variance**: DerSimonian-Laird weights with Hartung-Knapp, as in statsmodels. Three seeds are too few
  to estimate weights.
- **every effect**: the t-interval of all effects, as if they were independent.
- **prediction**: how often the prediction interval contains the effect in one more setting with as many seeds.

The chosen intervals cover {low:.3f} to {high:.3f}; {inside} of {points} rows lie between 0.94 and 0.96, {below} below.
Most of the others are too wide: with a true `tau` of 0 the settings differ by less than the method allows for.

{grid}

## Which answers come out

Four settings, three of them on one original, a part of 0.3 shared; the margin is 0.01 ToW. `truth` is the true effect
on the sets high, mid and low. Each set is judged at 95 % by itself. Therefore a claim on three sets without any effect
is told "only where" or "the opposite" more often than one set would be; the rows of +0.00 say how often.

{answers}

## Many models on few images

KLoM and U-LiRA compare many unlearned with many retrained models, image by image. Here 40 of either kind were drawn
on 36 images; an attack recognizes about one in ten. An interval over models alone is valid for these images only. An
interval over models and images covers enough. Both intervals of KLoM are too wide. A likely reason is that a sample
without some of the models leaves bins of its histograms empty. Intervals are from {draws} draws.

{attacks}
"""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=4000, help="studies drawn for each row of the table")
    print(page(parser.parse_args().repeats), end="")
