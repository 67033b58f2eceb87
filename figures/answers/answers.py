"""All answers together: the claims in their order, the tally, ToW from doing nothing to a second retrained model."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from figures.answers import networks, theory
from figures.answers.found import NOT_RUN, ORDER, Claim, Found, listed
from figures.answers.networks import MAIN, MASK, RANDOM, RATES, SWEEP, VARIANTS
from figures.answers.runs import RETRAINED
from figures.catalogue import FIGURES
from figures.tables.records import Studies
from repro.statistics.answers import OPPOSITE
from repro.statistics.effects import FEWEST, Table
from repro.statistics.spread import Spread, noise_floor, tug_of_war
from repro.study.trained import sets_of_weights

CLAIMS = [*networks.CLAIMS, *theory.CLAIMS]
NOTHING, SECOND = "doing nothing", "a second retrained model"
EMPTY = pd.DataFrame(columns=pd.Index(["reference", *RETRAINED]))
STEPS = {"minmax-asam-1.0": "Sharp MinMax", "sgd": "NegGrad by SGD", "sam-0.1": "by SAM", "asam-1.0": "by ASAM"}


class Answered(NamedTuple):
    """A claim and what was found on it."""

    claim: Claim
    found: Found

    @property
    def slug(self) -> str:
        """Return the name of its page's file: lower case, words joined by dashes."""
        return "-".join("".join(c if c.isalnum() else " " for c in self.claim.name.lower()).split())

    @property
    def figures(self) -> list[str]:
        """Return the figures and tables that illustrate the claim."""
        return [name for name, entry in FIGURES.items() if self.claim.key in entry.claims]

    def said(self) -> str:
        """Return the answer, what was found and how sure that is, as running text."""
        found = self.found
        return f"{found.word[:1].upper()}{found.word[1:]}. {' '.join(found.sentences)} How sure: {found.sure}."

    def row(self) -> dict[str, object]:
        """Return the claim and its answer as plain values, for a program."""
        claim, found = self.claim, self.found
        effects = [{name: None if value != value else value for name, value in one.__dict__.items()}
                   for one in found.effects]  # fmt: skip
        return {"claim": claim.name, "paper": claim.paper, "source": claim.source, "reading": claim.reading,
                "answer": found.word, "finding": " ".join(found.sentences), "sure": found.sure,
                "beside": list(found.beyond), "effects": effects, "unit": found.unit,
                "studies": list(claim.studies), "figures": self.figures, "records": len(found.runs)}  # fmt: skip


def assess(studies: Studies) -> list[Answered]:
    """Return what was found on every claim. The claims on networks come first."""
    return [Answered(claim, claim.judge(studies)) for claim in CLAIMS]


def tally(found: Sequence[Answered]) -> str:
    """Return how many claims have each answer, in words."""
    counts = Counter(one.found.word for one in found)
    quoted = {word: word if word in (NOT_RUN, OPPOSITE) else f'"{word}"' for word in ORDER}
    return listed([f"{counts[word]} {quoted[word]}" for word in ORDER if counts[word]])


def tow_steps(studies: Studies) -> dict[str, float]:
    """Return mean ToW of NegGrad after SGD on the hardest images, from doing nothing to a second retrained model.

    Rules are compared over the seeds that all of them have.
    """
    mine = _hardest(studies)
    if mine.empty:
        return {}
    rules = mine[mine["rule"].isin(STEPS)]
    everywhere = rules.groupby("seed")["rule"].nunique() == rules["rule"].nunique()
    mine = mine[mine["seed"].map(everywhere).fillna(False).astype(bool)]
    means = mine.groupby("rule")["tow"].mean()
    models = _retrained(mine)
    steps = {NOTHING: float(mine["untouched"].mean())}
    steps |= {label: float(means[rule]) for rule, label in STEPS.items() if rule in means}
    if len(models) > 1:
        apart = tug_of_war(models[:, None], models[None])[~np.eye(len(models), dtype=bool)]
        steps[SECOND] = float(apart.mean())
    return steps


def floor(studies: Studies) -> Spread | None:
    """Return the noise floor of ToW of NegGrad after SGD on the hardest images; None where it is not known."""
    models = _retrained(_hardest(studies))
    return noise_floor(models) if len(models) >= FEWEST else None


def _retrained(runs: Table) -> np.ndarray:
    return runs.drop_duplicates("reference")[RETRAINED].to_numpy(float)


def _hardest(studies: Studies) -> Table:
    runs = networks.main_runs(studies)
    return runs[(runs["setting"] == "NegGrad after SGD") & (runs["forget_set"] == "high")] if len(runs) else EMPTY


def twice_trained(studies: Studies) -> str:
    """Return a note on models that have two sets of weights under one id; "" if there are none."""
    weights = sets_of_weights(
        run for name in (MAIN, SWEEP, MASK, "cifar10-draws") for run in studies.of(name).of("unlearn")
    )
    twice = sum(len(sets) > 1 for sets in weights.values())
    if not twice:
        return ""
    return (
        f"{twice} of {len(weights)} original and retrained models behind the answers on CIFAR-10 have two sets of "
        "weights. They were trained twice, on two machines or by two states of the code. NegGrad after SGD on the "
        "hardest images and the search for NegGrad's rates use one set, everything else uses the other. No pair of "
        "runs that judges a claim mixes the two, and no noise floor is pooled across them. A sweep over alpha that "
        "mixes both has no vote. The sweep over the mask's cutoff mixes them too. On the easiest and the middle images "
        "NegGrad after SGD has been run again with the second set. On the hardest this is still to be done: it needs a "
        "processor with AVX-512 and bf16, like the one that computed that set. [The studies](docs/studies.md) lists "
        "all such models, also those of the runs that choose rates, and the settings that stand on both."
    )


def portable_models(studies: Studies) -> str:
    """Return a note on the studies whose models are portable, and so are others than those of the main study."""
    named = (*RANDOM, *RATES, *VARIANTS)
    found = [f"`{name}`" for name in named if any(run.config.get("portable") for run in studies.of(name).all)]
    if not found:
        return ""
    return (
        f"The studies {listed(found)} have original and retrained models of their own, trained portably: "
        "the same on every processor with AVX2. Their runs are compared among themselves only. On graded forget sets "
        "they forget the same images as `cifar10`."
    )


def rate_steps(studies: Studies) -> tuple[float, float] | None:
    """Return how much ToW falls one grid step from the chosen rate, on the hardest images: least and greatest loss."""
    chosen = [run.result.get("choice_details") or {} for run in studies.of(MAIN).of("unlearn")
              if run.config.get("difficulty") == "high"]  # fmt: skip
    curves = [[tow or 0.0 for _, tow in one["curve"]] for one in chosen if one.get("curve")]  # 0 where it diverged
    losses = []
    for curve in dict.fromkeys(map(tuple, curves)):
        best = int(np.argmax(curve))
        near = curve[max(best - 1, 0) : best] + curve[best + 1 : best + 2]
        losses += [curve[best] - max(near)] if near else []
    return (min(losses), max(losses)) if losses else None
