"""Every claim, figure and table of the paper, and every request of its reviewers, with what judges it."""

from dataclasses import dataclass
from functools import partial

from figures import asks, commands
from figures.effects import Finding
from figures.findings import (
    Assess,
    overfitting_helps,
    sam_improves_every_method,
    sam_lowers,
    sam_models_are_flatter,
    sgd_collapses_first,
    sgd_forgets_more_with_lower_tow,
    sgd_models_get_flatter,
)
from figures.records import Records
from figures.theory_claims import claim_command, claim_records, estimate_text

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


def one_claim(name: str, records: Records) -> Finding:
    """Return what the record of one theory claim says."""
    record = claim_records(records).get(name)
    if record is None:
        return Finding()
    return Finding(record.result["verdict"], estimate_text(record), record.result["regime"], (record,))


def several_claims(names: tuple[str, ...], records: Records) -> Finding:
    """Return the verdict of the theory claims that a figure shows; where they differ, each is named with its own."""
    found = [record for name, record in claim_records(records).items() if name in names]
    if not found:
        return Finding()
    seen = {record.result["verdict"] for record in found}
    verdict = seen.pop() if len(seen) == 1 else _mixed(seen)
    number = "; ".join(f"{record.result['title']}: {record.result['verdict']}" for record in found)
    return Finding(verdict, number, "", tuple(found))


def _mixed(seen: set[str]) -> str:
    return "holds in a regime" if seen & {"holds", "holds in a regime"} else max(seen, key=ORDER.index)


def claims(*names: str) -> Assess:
    """Return the assessor of the theory claims of these identifiers."""
    return partial(several_claims, names)


LEMMA_31 = claims("lemma-3.1-activation", "lemma-3.1-sgd-on-forget")
BOUNDARIES = claims("theorem-3.2-sgd-boundary", "theorem-3.3-sam-boundary")
SURPLUS = claims("lemma-3.4-surplus-ratio", "lemma-3.4-surplus-difference")
ALPHA_GAP = claims("lemma-3.4-alpha-tolerance", "lemma-3.4-alpha-gap")
MATCHED = claims("theorem-3.3-matched-forgetting", "sharp-minmax")
LOWER_MIA, LOWER_ENTANGLEMENT = partial(sam_lowers, prefixes=MIA), partial(sam_lowers, prefixes=ENTANGLEMENT)

# Claim identifier, title, what the paper says.
THEORY = [
    ("lemma-3.1-activation", "Lemma 3.1", "the SAM perturbation switches off the noise neurons of R, not those of F"),
    ("lemma-3.1-sgd-on-forget", "Lemma 3.1, consequence", "SAM abandons denoising on F and acts there like SGD"),
    ("theorem-3.2-sgd-boundary", "Theorem 3.2", "SGD overfits benignly iff |phi| >= C1 d^(1/4) n^(-1/4) P sigma_p"),
    ("theorem-3.3-sam-boundary", "Theorem 3.3", "SAM has low test error already for |phi| >= Omega(1)"),
    (
        "theorem-3.3-matched-forgetting",
        "SAM against SGD in theory",
        "SAM is the better unlearning rule, at matched epochs and at matched forgetting",
    ),
    ("lemma-3.4-surplus-ratio", "Lemma 3.4 as a ratio", "SAM learns retain signal Theta(|phi|^2) times as fast"),
    ("lemma-3.4-surplus-difference", "Lemma 3.4 as a difference", "SAM learns Theta(|phi|^2) more retain signal"),
    ("lemma-3.4-alpha-tolerance", "Lemma 3.4, alpha", "SAM tolerates a smaller alpha than SGD"),
    ("lemma-3.4-alpha-gap", "Lemma 3.4, rate", "the alpha thresholds of SGD and SAM differ by O(sqrt(d/n))"),
    ("random-labels", "Random labels", "the same analysis with flipped forget labels"),
    ("sharp-minmax", "Sharp MinMax", "the forget part needs a stronger signal than SGD; overfitting F helps"),
]
FINDINGS = [
    ("Finding 1", "SAM improves every method, as pretraining and as unlearning rule", commands.STUDY,
     sam_improves_every_method),
    ("Finding 2", "overfitting helps sample-level unlearning (Sharp MinMax against the same rule unmasked)",
     commands.STUDY, overfitting_helps),
    ("Finding 3", "SGD sometimes reaches lower forget accuracy than SAM though its ToW is lower", commands.STUDY,
     sgd_forgets_more_with_lower_tow),
    ("Finding 4", "as alpha shrinks SGD collapses first, ASAM 1.0 last", commands.ALPHA, sgd_collapses_first),
    ("Finding 5a", "SAM lowers membership-inference correctness on F", commands.STUDY, LOWER_MIA),
    ("Finding 5b", "SAM lowers feature entanglement of R and F", commands.STUDY, LOWER_ENTANGLEMENT),
    ("Finding 6a", "SAM-pretrained models are flatter", commands.LANDSCAPE, sam_models_are_flatter),
    ("Finding 6b", "SGD models get flatter after unlearning", commands.LANDSCAPE, sgd_models_get_flatter),
]  # fmt: skip
FIGURE_ITEMS = [
    ("fig-umap", "UMAP of features, all classes and the largest forget class", LOWER_ENTANGLEMENT),
    ("fig-tow", "ToW per method, rule and forget set", sam_improves_every_method),
    ("fig-alpha", "ToW and its accuracies against alpha", sgd_collapses_first),
    ("fig-entanglement", "E_Var and E_Wp, global and class-wise, before and after", LOWER_ENTANGLEMENT),
    ("fig-mia", "membership inference on F, with the retrained model's value", LOWER_MIA),
    ("fig-landscape", "loss landscapes on F and test", sam_models_are_flatter),
    ("fig-theory-trajectories", "kappa and zeta on R and F while unlearning", SURPLUS),
    ("fig-theory-activation", "activation fractions at W and W + eps", LEMMA_31),
    ("fig-theory-phase", "boundary of benign overfitting, fitted and theoretical", BOUNDARIES),
    ("fig-theory-map", "phase diagrams of test error over d and |phi|", BOUNDARIES),
    ("fig-theory-surplus", "signal surplus against |phi|", SURPLUS),
    ("fig-theory-alpha", "alpha thresholds against d/n", ALPHA_GAP),
    ("fig-theory-matched", "SAM against SGD at matched epochs and matched forgetting", MATCHED),
    ("fig-theory-vs-empirical", "test error against signal strength, theory beside networks", BOUNDARIES),
]
TABLE_ITEMS = [
    ("tab-neggrad", "ToW of NegGrad by pretraining and unlearning rule", sam_improves_every_method),
    ("tab-methods", "ToW of every method", sam_improves_every_method),
    ("tab-minmax", "Sharp MinMax beside SAM on R only and the plain rules", overfitting_helps),
]
ASKS = [
    ("Ask 1", "distinct colours, markers and arrows in the UMAP; a number beside the picture", "fig-umap",
     LOWER_ENTANGLEMENT),
    ("Ask 2", "the three accuracies under every ToW; MIA with ROC, relearning", "fig-tow fig-roc fig-relearning",
     sam_improves_every_method),
    ("Ask 3", "mean and standard deviation over seeds everywhere", "tab-methods", asks.spread_is_stated),
    ("Ask 4", "run time of SAM and MinMax beside quality", "fig-pareto", asks.cost_of_sharpness),
    ("Ask 5", "does sharpness maximization weaken models against relearning? (excess over SGD's)", "fig-relearning",
     asks.relearning_of_minmax),
    ("Ask 6", "ablation of the mask's cutoff and polarity", "fig-mask", asks.mask_ablation),
    ("Ask 7", "the missing baseline, SAM on the retain loss only, improves on SGD", "tab-minmax", asks.retain_only_sam),
    ("Ask 8", "KLoM: SAM brings the margins of F nearer to those of retrained models than SGD does", "fig-klom",
     asks.klom_of_sam),
    ("Ask 9", "ToW falls as memorization rises, so that grading forget sets by it is useful", "fig-tow",
     asks.memorization_grades),
]  # fmt: skip
ITEMS = [
    *(Item("theory", title, text, claim_command(name), partial(one_claim, name)) for name, title, text in THEORY),
    *(Item("finding", *row) for row in FINDINGS),
    *(Item("figure", name, text, f"repro figures {name}", judge) for name, text, judge in FIGURE_ITEMS),
    *(Item("table", name, text, f"repro figures {name}", judge) for name, text, judge in TABLE_ITEMS),
    *(Item("ask", title, text, f"repro figures {names}", judge) for title, text, names, judge in ASKS),
]
