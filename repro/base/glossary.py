"""What every number and word means: name, unit, range, direction, formula. The site, exports and `explain` read it.

What the numbers of a metric mean stands with the metric and is taken from there (`repro.base.parts`). A name may hold
`*`, which stands for any text; `original_` or `retrained_` before a number says whose it is.
"""

from fnmatch import fnmatchcase
from functools import cache

from repro.base.errors import ConfigError
from repro.base.parts import Term, parts
from repro.base.settings import nearest

LONGEST = 100  # letters of a word that is looked up
OWNERS = {
    "original_": "of the model before unlearning", "retrained_": "of the model trained without the forget set",
    "pretrained_": "after pretraining",
}  # fmt: skip


def _concept(name: str, meaning: str, formula: str = "", *also: str) -> Term:
    return Term(name, meaning, formula, "", "", "", also)


def _count(name: str, meaning: str, unit: str = "count", goal: str = "") -> Term:
    return Term(name, meaning, "", unit, ">= 0", goal)


NUMBERS = (
    Term("memorization_reliability", "Split-half reliability of the scores behind a graded forget set.", goal="1"),
    Term("memorization_ties", "Share of images whose place among equal scores was drawn.", goal="0"),
    _count("n_forget*", "Images to forget; `measured`, those that the numbers are about.", "images"),
    _count("n_retain", "Images to keep.", "images"),
    _count("n_test_measured", "Test images that the numbers are about.", "images"),
    _count("parameters", "Trainable weights.", "weights"),
    _count("peak_memory_bytes", "Most memory: of the stage on a GPU, of the process on a CPU.", "bytes"),
    _count("seconds*", "Wall time of unlearning, retraining, or computing the saliency mask.", "seconds", "0"),
    _count("*gradient_evaluations", "Gradients of single examples: the cost without a clock.", "gradients", "0"),
    # theory
    Term("forget_signal_error", "Share of wrong answers on fresh data that carry the forget signal, where it is "
         "another one than the retain signal.", goal=""),
    Term("*_clean_error", "Share of wrong answers on retained or forget samples against their true labels, where some "
         "training labels are flipped; other errors count the labels that training was given.", goal=""),
    Term("retain_curvature_*", "Hessian of the mean retain loss of the two-layer network: its `top` eigenvalue, its "
         "`trace`.", "(1/n_R) sum s_i (1 - s_i) grad f_i grad f_i^T", "loss per squared weight", ">= 0", ""),
    Term("*_error_quadrature", "Standard error that averaging over fresh test points leaves in a test error; the "
         "standard error over seeds contains it.", "", "share", "[0, 1]", "0"),
    Term("largest_bias", "Largest distance of a setting's mean test error from the one over many more points.", "",
         "share", ">= 0", "0"),
    Term("rms_bias", "Root mean square of these distances over all settings.", "", "share", ">= 0", "0"),
    Term("points", "Points that a test error is averaged over.", "", "points", ">= 4", ""),
    Term("points_of_the_truth", "Points of the test error that is taken for true.", "", "points", ">= 4", ""),
    Term("*_error", "Share of wrong answers: on fresh data, on retained or on forget samples."),
    Term("*_loss", "Mean logistic loss on retained or forget samples.", "mean log(1 + exp(-y f))", "nats", ">= 0", ""),
    Term("*_margin", "Mean margin on retained or forget samples.", "mean y f", "logits", "real", ""),
    Term("kappa*", "Signal learned, split by where it came from (retain, forget) and by the neuron's sign: what "
         "a neuron answers to the signal phi, on the side of its output sign j.",
         "kappa_a = j_a |phi|^2 p_a, p_a the weight of phi in neuron a", "preactivation", "real", "retrained"),
    Term("zeta*", "Noise memorized, over neurons that agree with the label; `oppose`, over those that do not: what a "
         "neuron answers to the noise xi of one training sample.",
         "zeta_ai = (P - 1) |xi_i|^2 q_ai, q_ai the weight of xi_i in neuron a", "preactivation", "real", "retrained"),
    Term("active_*", "Share of neurons that a sample's noise activates, where signs `match` or `oppose`; `perturbed` "
         "at SAM's ascent point.", "share of <w_a, xi_i> > 0", goal=""),
    Term("depth_*", "Mean noise preactivation over the mean threshold below which SAM's ascent switches it off, of the "
         "active, where signs `match` or `oppose`; 0 where none is active.", "mean V / mean V_c", "ratio", ">= 0", ""),
    Term("weight_norm", "Length of all weights together.", "|W|", "weights", ">= 0", ""),
    Term("oracle_gap", "Distance in test error from the retrained network.", "", "share", "[-1, 1]", "0"),
    Term("matched_*", "The same where the forget error first reaches a common level.", goal=""),
    _count("diverged*", "Seeds whose loss became infinite, or where it did.", "seeds", "0"),
    Term("estimate", "The estimated effect of a claim, in the claim's own unit.", "", "see `quantity`", "real", ""),
)  # fmt: skip
CONCEPTS = (
    _concept("forget set", "F: the training images whose influence is to be removed.", "", "F"),
    _concept("retain set", "R: the training images that stay.", "", "R"),
    _concept("original", "The model trained on R and F, before unlearning: `do nothing`."),
    _concept("retrained", "The model trained on R alone from fresh weights: the goal.", "", "oracle", "retrain"),
    _concept("unlearned", "The original after an unlearning method."),
    _concept("method", "Which batches unlearning reads and which loss it takes, such as NegGrad or SalUn."),
    _concept("rule", "How a loss becomes a gradient, such as SGD, SAM, ASAM or Sharp MinMax."),
    _concept("sam", "Sharpness-aware minimization (Foret et al. 2021): the gradient at a point rho up the slope.",
             "g(W + rho g0 / |g0|)", "sharpness-aware minimization"),
    _concept("asam", "SAM with a radius measured in units of each weight (Kwon et al. 2021).", "", "adaptive SAM"),
    _concept("sharp minmax", "Weights that matter for F maximize sharpness on F, the others minimize it on R.",
             "g0 + s (g1 - g0), s = 1 on R and -1 on F", "minmax"),
    _concept("neggrad", "Descent on R and ascent on F at once (Kurmanji et al. 2023).",
             "alpha mean_R CE - (1 - alpha) mean_F CE", "NegGrad+"),
    _concept("salun", "Random labels on F, only the weights that F's gradient marks may move (Fan et al. 2024)."),
    _concept("scrub", "Away from the original on F, close to it on R (Kurmanji et al. 2023)."),
    _concept("rho", "The radius of SAM: how far up the slope the gradient is taken. The theory states it in units of "
             "rho_th.", "rho_th = m sqrt(B) / (P sigma_p sqrt(d))", "SAM radius", "rho_th"),
    _concept("alpha", "The weight of the retain loss against the forget loss, in [0, 1]."),
    _concept("signal strength", "s: the signal's length in units of (P - 1) sigma_p (d / n)^(1/4); SGD's boundary of "
             "benign overfitting lies near 0.93.", "|phi| / ((P - 1) sigma_p (d / n)^(1/4))", "s", "signal_strength"),
    _concept("benign overfitting", "Training error zero, test error small, in spite of memorized noise."),
    _concept("memorization", "How much likelier an image is named correctly when it was in training (Feldman 2020)."),
    _concept("difficulty", "How the forget set is chosen: low, mid or high memorization, random, a class, an index."),
    _concept("saliency mask", "The share of weights with the largest forget gradient.", "", "mask"),
    _concept("stage", "One training: pretrain, retrain or unlearn; identified by everything its weights depend on."),
    _concept("evaluation", "One metric of one or more stages, with its settings and version."),
    _concept("record", "What a run leaves behind: settings, numbers, provenance, hashes."),
    _concept("floor", "The noise floor: how far two retrained models of different seeds lie apart.", "", "noise floor"),
    _concept("choice", "How a study's learning rate was found, on images that no reported number uses."),
    _concept("ssd", "Scales weights down that matter to F more than to all data; trains nothing (Foster et al. 2024).",
             "w min(lambda I_D / I_F, 1) where I_F > a I_D", "selective synaptic dampening"),
    _concept("bad teacher", "Imitates the original on R and a network with fresh weights on F (Chundawat et al. "
             "2023)."),
    _concept("unsir", "Trains on noise that the original calls anything but the forgotten classes, then repairs on R "
             "(Tarun et al. 2023)."),
    _concept("basin ratio", "Share of a loss landscape's grid points whose loss is near that of the model: a flat "
             "basin has more of them.", "share of |L - L_centre| <= 0.5 std(L)"),
    _concept("holds only where", "An answer: the effect is there on some forget sets, and on others it is absent or "
             "not decided.", "", "only where"),
    _concept("unlearning warning", "A warning of `empirical` (UnlearningWarning): the numbers are valid, and may not "
             "mean what a reader takes them for.", "", "UnlearningWarning"),
    _concept("diverged", "A run whose loss became infinite: a result, not a failure. In memory it is an error, "
             "DivergedError.", "", "DivergedError"),
)  # fmt: skip


@cache
def numbers() -> tuple[Term, ...]:
    """Return the entries of all numbers; of metrics, the longer names first: `klom_easydub_*` before `klom_*`."""
    measured = (term for metric in parts("metrics").values() for term in metric.terms)
    return (*sorted(measured, key=lambda term: -len(term.name)), *NUMBERS)


def terms() -> tuple[Term, ...]:
    """Return the whole glossary: numbers, then words."""
    return (*numbers(), *CONCEPTS)


def describe(name: str) -> Term | None:
    """Return the entry of a number by its column name, such as `original_tow`; None where there is none."""
    exact = [term for term in numbers() if term.name == name]
    fits = [term for term in numbers() if fnmatchcase(name, term.name)]
    if exact or fits:
        return (exact or fits)[0]
    owner = next((owner for owner in OWNERS if name.startswith(owner)), "")
    return describe(name.removeprefix(owner)) if owner else None


def whose(name: str) -> str:
    """Return whose number a column is, such as "of the model before unlearning"; empty of the unlearned model's own."""
    return next((text for owner, text in OWNERS.items() if name.startswith(owner)), "")


def explain(word: str) -> Term:
    """Return the entry of a word a person uses: a number, a concept, or another name of one.

    Raises:
        ConfigError: when there is none, with the nearest one.
    """
    word = word[:LONGEST]
    wanted = word.strip().lower().replace("-", " ").replace("_", " ")
    for term in terms():
        if wanted in {name.lower().replace("-", " ").replace("_", " ") for name in (term.name, *term.also)}:
            return term
    found = describe(word.strip().lower().replace("-", "_").replace(" ", "_"))
    if found is None:
        known = [name for term in terms() for name in (term.name, *term.also)]
        raise ConfigError(f"term = {word!r}: not in the glossary{nearest(word, known)}; `repro explain` lists it")
    return found
