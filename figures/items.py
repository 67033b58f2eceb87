"""Every claim, figure and table of the paper, and every request of its reviewers, with what judges it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from figures import commands
from figures.catalogue import FIGURES
from figures.findings import (
    Assess,
    Finding,
    overfitting_helps,
    sam_improves_every_method,
    sam_lowers,
    sgd_collapses_first,
    sgd_forgets_more_with_lower_tow,
)
from figures.records import Records

MIA = ("mia_correctness", "mia_auc")
ENTANGLEMENT = ("entanglement_wp", "entanglement_var")
ORDER = ("not run", "undecided", "holds", "holds in a regime", "contradicted")


@dataclass(frozen=True)
class Item:
    """One item of the paper.

    Attributes:
        section: theory, finding, figure, table or ask.
        title: its name.
        statement: what it says, or what it shows.
        command: what makes its record and drawing.
        assess: from records to a finding.
    """

    section: str
    title: str
    statement: str
    command: str
    assess: Assess


def theory_claims(names: tuple[str, ...], records: Records) -> Finding:
    """Return the verdict of the theory claims whose identifier starts with one of `names`.

    Several claims of one item keep their own numbers; the item's verdict is the most reserved of theirs: if they
    differ, it holds in a regime at most.
    """
    found = [record for record in records.of("theory_claim") if _belongs(record.result["claim"], names)]
    if not found:
        return Finding()
    results = [record.result for record in found]
    seen = {result["verdict"] for result in results}
    verdict = seen.pop() if len(seen) == 1 else _mixed(seen)
    number = "; ".join(f"{result['title']}: {_estimate(result)}" for result in results)
    regime = "; ".join(dict.fromkeys(filter(None, (result["regime"] for result in results))))
    return Finding(verdict, number, regime, tuple(found))


def _belongs(claim: str, names: tuple[str, ...]) -> bool:
    key = "".join(symbol for symbol in claim.lower() if symbol.isalnum())
    return key.startswith(names)


def _mixed(seen: set[str]) -> str:
    return "holds in a regime" if seen & {"holds", "holds in a regime"} else max(seen, key=ORDER.index)


def _estimate(result: dict) -> str:
    low, high = result["interval"]
    spread = "" if low is None else f" [{low:.3g}, {high:.3g}]"
    value = result["estimate"]
    return "—" if value is None else f"{value:.3g}{spread} ({result['seeds']} seeds, {result['verdict']})"


def claims(*names: str) -> Callable[[Records], Finding]:
    """Return the assessor of the theory claims of these identifiers."""
    return partial(theory_claims, names)


def figure(name: str) -> str:
    """Return the command that draws a figure."""
    return f"repro figures {name}"


LEMMA_31, THEOREM_32, THEOREM_33 = claims("lemma31"), claims("theorem32"), claims("theorem33")
LEMMA_34, RANDOM_LABELS, MINMAX = claims("lemma34"), claims("randomlabel"), claims("minmax", "sharpminmax")
LOWER_MIA, LOWER_ENTANGLEMENT = partial(sam_lowers, prefixes=MIA), partial(sam_lowers, prefixes=ENTANGLEMENT)


ITEMS = [
    Item("theory", "Lemma 3.1", "the SAM perturbation switches off noise neurons of R but not of F", commands.CLAIMS,
         LEMMA_31),
    Item("theory", "Theorem 3.2", "SGD overfits benignly iff |phi| >= C1 d^(1/4) n^(-1/4) P sigma_p", commands.CLAIMS,
         THEOREM_32),
    Item("theory", "Theorem 3.3", "SAM has low test error already for |phi| >= Omega(1)", commands.CLAIMS, THEOREM_33),
    Item("theory", "Lemma 3.4", "SAM learns retain signal Theta(|phi|^2) faster and tolerates a smaller alpha; the "
         "thresholds differ by O(sqrt(d/n))", commands.CLAIMS, LEMMA_34),
    Item("theory", "Random labels", "the same analysis with flipped forget labels", commands.CLAIMS, RANDOM_LABELS),
    Item("theory", "Sharp MinMax", "the forget part needs a stronger signal than SGD; overfitting F helps",
         commands.CLAIMS, MINMAX),
    Item("finding", "Finding 1", "SAM improves every method, as pretraining and as unlearning rule", commands.STUDY,
         sam_improves_every_method),
    Item("finding", "Finding 2", "overfitting helps sample-level unlearning (Sharp MinMax against the same rule "
         "unmasked)", commands.STUDY, overfitting_helps),
    Item("finding", "Finding 3", "SGD sometimes reaches lower forget accuracy than SAM though its ToW is lower",
         commands.STUDY, sgd_forgets_more_with_lower_tow),
    Item("finding", "Finding 4", "as alpha shrinks SGD collapses first, ASAM 1.0 last", commands.ALPHA,
         sgd_collapses_first),
    Item("finding", "Finding 5a", "SAM lowers membership-inference correctness on F", commands.STUDY, LOWER_MIA),
    Item("finding", "Finding 5b", "SAM lowers feature entanglement of R and F", commands.STUDY, LOWER_ENTANGLEMENT),
]  # fmt: skip
ITEMS += [
    Item("figure", name, statement, figure(name), judge)
    for name, statement, judge in (
        ("fig-tow", "ToW per method, rule and forget set", sam_improves_every_method),
        ("fig-theory-trajectories", "kappa and zeta on R and F over training", LEMMA_34),
        ("fig-theory-activation", "activation fractions at W and W + eps", LEMMA_31),
        ("fig-theory-vs-empirical", "test error against signal strength, theory beside networks", THEOREM_33),
    )
    if name in FIGURES
]
