"""The glossary: meaning, unit, range, best value and formula of every number and concept, for docs, exports, `explain`.

The terms of a metric are declared with the metric (`repro.base.parts`). In a name `*` stands for any text. The prefix
`original_` or `retrained_` of a number names the model it belongs to.
"""

from fnmatch import fnmatchcase
from functools import cache

from repro.base.errors import ConfigError
from repro.base.parts import Term, parts
from repro.base.settings import nearest

LONGEST = 100  # letters of a word to look up
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
    Term("memorization_ties", "Share of images with the same score as another; their order is random.", goal="0"),
    _count("n_forget*", "Images in the forget set; `measured`: those that the metrics use.", "images"),
    _count("n_retain", "Images in the retain set.", "images"),
    _count("n_test_measured", "Test images that the metrics use.", "images"),
    _count("parameters", "Trainable weights.", "weights"),
    _count("peak_memory_bytes", "Peak memory: of the stage on a GPU, of the process on a CPU.", "bytes"),
    _count("seconds*", "Wall time of unlearning, of retraining, or of computing the saliency mask.", "seconds", "0"),
    _count("*gradient_evaluations", "Gradients of single examples: the cost on any machine.", "gradients", "0"),
    # theory
    Term("forget_signal_error", "Share of wrong predictions on fresh data with the forget signal, if it differs "
         "from the retain signal.", goal=""),
    Term("*_clean_error", "Share of wrong predictions on retain or forget samples against their true labels, if some "
         "training labels are flipped. The other errors use the training labels.", goal=""),
    Term("retain_curvature_*", "Hessian of the mean retain loss of the two-layer network: its `top` eigenvalue or its "
         "`trace`.", "(1/n_R) sum s_i (1 - s_i) grad f_i grad f_i^T", "loss per squared weight", ">= 0", ""),
    Term("*_error_quadrature", "Standard error of a test error from averaging over finitely many test points; the "
         "standard error over seeds includes it.", "", "share", "[0, 1]", "0"),
    Term("largest_bias", "Largest difference between a setting's mean test error and its value for many more points.",
         "", "share", ">= 0", "0"),
    Term("rms_bias", "Root mean square of this difference over all settings.", "", "share", ">= 0", "0"),
    Term("points", "Test points that a test error is averaged over.", "", "points", ">= 4", ""),
    Term("points_of_the_truth", "Test points of the reference value of the test error.", "", "points", ">= 4", ""),
    Term("*_error", "Share of wrong predictions: on fresh data, on retain or on forget samples."),
    Term("*_loss", "Mean logistic loss on retain or forget samples.", "mean log(1 + exp(-y f))", "nats", ">= 0", ""),
    Term("*_margin", "Mean margin on retain or forget samples.", "mean y f", "logits", "real", ""),
    Term("kappa*", "Signal learned: the preactivation of a neuron for the signal phi, times its output sign j; split "
         "by the source (retain, forget) and by j.",
         "kappa_a = j_a |phi|^2 p_a, p_a the weight of phi in neuron a", "preactivation", "real", "retrained"),
    Term("zeta*", "Noise memorized: the preactivation of a neuron for the noise xi of a training sample, over neurons "
         "whose sign agrees with the label; with `oppose`, over the others.",
         "zeta_ai = (P - 1) |xi_i|^2 q_ai, q_ai the weight of xi_i in neuron a", "preactivation", "real", "retrained"),
    Term("active_*", "Share of neurons that a sample's noise activates, where sign and label `match` or `oppose`; "
         "`perturbed`: at SAM's ascent point.", "share of <w_a, xi_i> > 0", goal=""),
    Term("depth_*", "Mean noise preactivation of active neurons over the mean threshold below which SAM's ascent "
         "deactivates them, where signs `match` or `oppose`; 0 if none is active.", "mean V / mean V_c", "ratio",
         ">= 0", ""),
    Term("weight_norm", "Euclidean norm of all weights.", "|W|", "weights", ">= 0", ""),
    Term("oracle_gap", "Test error minus the test error of the retrained network.", "", "share", "[-1, 1]", "0"),
    Term("matched_*", "The same number at the first step where the forget error reaches a common level.", goal=""),
    _count("diverged*", "Seeds whose loss became infinite; with `at`, the step where it did.", "seeds", "0"),
    Term("estimate", "The estimated effect of a claim, in the unit of the claim.", "", "see `quantity`", "real", ""),
)  # fmt: skip
CONCEPTS = (
    _concept("forget set", "F: the training images whose influence is to be removed. Example: the 2,500 hardest of "
             "50,000 CIFAR-10 images.", "", "F"),
    _concept("hardest images", "The forget set of the most memorized images, `high`; a model names them right only if "
             "it has seen them. Example: accuracy on them is 0.90, and 0.35 after retraining.", "", "high",
             "hardest"),
    _concept("middle images", "The forget set of images of middle memorization, `mid`. Example: after retraining "
             "without them accuracy on them falls from 0.90 to 0.59.", "", "mid", "middle"),
    _concept("easiest images", "The forget set of images that are not memorized, `low`: a model names them right "
             "without having seen them. Example: doing nothing reaches a ToW of 0.97.", "", "low", "easiest"),
    _concept("retain set", "R: the training images that stay. Example: 47,500 of 50,000.", "", "R"),
    _concept("original", "The model trained on R and F, before unlearning; using it as it is means doing nothing. "
             "Example: its ToW on the hardest images is 0.44.", "", "doing nothing"),
    _concept("retrained", "The model trained on R alone from fresh weights: the goal of unlearning. Example: two of "
             "them reach a ToW of 0.98 with each other.", "", "oracle", "retrain"),
    _concept("unlearned", "The original after an unlearning method."),
    _concept("pretraining", "Training of the original, before unlearning. Example: 12 epochs by SGD or by ASAM.", "",
             "pretrained"),
    _concept("setting", "What an effect is repeated in: a method after a pretraining rule, on one data set. Example: "
             "NegGrad after SGD.", "", "settings"),
    _concept("seed", "The number that starts all random draws of a training. Example: three seeds are three models "
             "trained in the same way.", "", "seeds"),
    _concept("effect", "The difference of two runs that share everything but what is compared. Example: ToW by ASAM "
             "minus ToW by SGD, 0.05 on the hardest images."),
    _concept("answer", "What the records say on a claim: yes, only where, no difference, the opposite, or open. "
             "Example: only where stands for yes on one forget set and not on another.", "", "only where", "open",
             "no difference", "the opposite"),
    _concept("margin", "The largest difference that counts as none, fixed before any interval was seen. Example: 0.01 "
             "ToW."),
    _concept("method", "Which batches unlearning reads and which loss it minimizes. Example: NegGrad or SalUn."),
    _concept("rule", "How a loss becomes a gradient. Example: SGD, SAM, ASAM or Sharp MinMax."),
    _concept("sgd", "Stochastic gradient descent: the plain gradient of a batch. Example: 0.84 ToW by NegGrad on the "
             "hardest images.", "g(W)", "gradient descent"),
    _concept("sam", "Sharpness-aware minimization (Foret et al. 2021): the gradient at a point rho up the slope. It "
             "seeks weights around which the loss is flat. Example: rho = 0.1, two gradients a step.",
             "g(W + rho g0 / |g0|)", "sharpness-aware minimization"),
    _concept("asam", "SAM with a radius measured in units of each weight (Kwon et al. 2021). Example: rho = 1.0 moves "
             "no weight by more than its own size.", "", "adaptive SAM"),
    _concept("sharp minmax", "The paper's own rule: weights that matter for F maximize sharpness on F, the others "
             "minimize it on R. Example: the 30 % of weights with the largest forget gradient are the former.",
             "g0 + s (g1 - g0), s = 1 on R and -1 on F", "minmax"),
    _concept("neggrad", "Descent on R and ascent on F at once (Kurmanji et al. 2023). Example: alpha 0.9 weighs R nine "
             "times as much as F.", "alpha mean_R CE - (1 - alpha) mean_F CE", "NegGrad+"),
    _concept("auc", "How well an attack tells forget images from unseen ones: 0.5 is chance, 1 always. Example: 0.19 "
             "on a retrained model, whose forget images are harder than others.", "", "attack"),
    _concept("e_wp", "Entanglement by the Wasserstein distance between features of R and of F; it is high where the "
             "two mix. Example: 0.74 by SGD, 0.72 by ASAM.", "", "entanglement"),
    _concept("e_var", "Entanglement by variances: spread within R and F over the distance between them. Example: 0.43 "
             "by SGD on the hardest images."),
    _concept("hessian", "The curvature of the loss at the weights; its largest eigenvalue is large where the loss is "
             "sharp. Example: 29 before unlearning by SGD and 59 after."),
    _concept("salun", "Random labels on F; only the weights in the saliency mask move (Fan et al. 2024)."),
    _concept("scrub", "Leave the original's predictions on F, keep them on R (Kurmanji et al. 2023)."),
    _concept("rho", "The radius of SAM: how far up the slope the gradient is taken. The theory states it in units of "
             "rho_th.", "rho_th = m sqrt(B) / (P sigma_p sqrt(d))", "SAM radius", "rho_th"),
    _concept("alpha", "The weight of the retain loss against the forget loss, in [0, 1]. Example: below about 0.8 "
             "unlearning by SGD destroys the model."),
    _concept("signal strength", "s: the signal's length in units of (P - 1) sigma_p (d / n)^(1/4); SGD's boundary of "
             "benign overfitting lies near 0.93.", "|phi| / ((P - 1) sigma_p (d / n)^(1/4))", "s", "signal_strength"),
    _concept("benign overfitting", "Training error is zero and test error small, although noise is memorized. "
             "Example: a test error below 0.1 in the theory."),
    _concept("memorization", "How much likelier an image is named correctly when it was in training (Feldman 2020). "
             "Example: 0.9 for an image that only its own memory names."),
    _concept("difficulty", "How the forget set is chosen: low, mid or high memorization, random, a class, an index."),
    _concept("saliency mask", "The weights with the largest forget gradient. Their share of all weights is the mask's "
             "cutoff, `mask_fraction`. Example: 0.3 marks 30 % of the weights for forgetting.", "", "mask",
             "mask cutoff", "cutoff"),
    _concept("interval", "The two numbers in brackets: in 95 of 100 studies like these the true value lies between "
             "them. Example: 0.042 [0.020, 0.064].", "", "brackets", "95 % interval"),
    _concept("prediction interval", "Where the effect in one further setting would lie 95 times in 100. Example: "
             "-0.01 to 0.09 ToW by SAM minus SGD on the hardest images, whose mean of four settings is 0.042."),
    _concept("i2", "The part of the scatter between settings that seeds do not explain, in [0, 1]. Example: 0.74 for "
             "ToW by SAM minus SGD on the hardest images.", "", "I2"),
    _concept("core-hour", "An hour of one thread of a processor. Example: another seed of NegGrad by three rules, "
             "with its original and its retrained models, costs about one.", "", "core-hours"),
    _concept("stage", "A training: pretrain, retrain or unlearn. Everything its weights depend on identifies it."),
    _concept("evaluation", "The numbers of a metric for one or more stages, with the metric's settings and version."),
    _concept("record", "The result of a run: config, metrics, provenance, checksums."),
    _concept("floor", "The noise floor: how much ToW scatters between two retrained models of different seeds. No "
             "method can be told from retraining within it. Example: 0.015 on the hardest images.", "", "noise floor"),
    _concept("learning-rate search", "How a study finds its learning rates, on images that no reported number uses.",
             "", "choice"),
    _concept("ssd", "Scales weights down that matter to F more than to all data; trains nothing (Foster et al. 2024).",
             "w min(lambda I_D / I_F, 1) where I_F > a I_D", "selective synaptic dampening"),
    _concept("bad teacher", "Imitates the original on R and a network with fresh weights on F (Chundawat et al. "
             "2023)."),
    _concept("unsir", "Trains on noise that the original calls anything but the forgotten classes, then repairs on R "
             "(Tarun et al. 2023)."),
    _concept("basin ratio", "Share of a loss landscape's grid points whose loss is near that of the model: a flat "
             "basin has more of them. Example: 0.18 after training by SGD, 0.22 by ASAM.",
             "share of |L - L_centre| <= 0.5 std(L)", "basin"),
    _concept("unlearning warning", "A warning of `empirical` (UnlearningWarning): the numbers are valid, and may not "
             "mean what a reader takes them for.", "", "UnlearningWarning"),
    _concept("diverged", "A run whose loss became infinite: a result, not a failure. In memory it is an error, "
             "DivergedError.", "", "DivergedError"),
)  # fmt: skip


@cache
def numbers() -> tuple[Term, ...]:
    """Return the entries of all numbers, metrics first, with longer names first: `klom_easydub_*` before `klom_*`."""
    measured = (term for metric in parts("metrics").values() for term in metric.terms)
    return (*sorted(measured, key=lambda term: -len(term.name)), *NUMBERS)


def terms() -> tuple[Term, ...]:
    """Return the whole glossary: numbers, then concepts."""
    return (*numbers(), *CONCEPTS)


def describe(name: str) -> Term | None:
    """Return the entry of a number by its column name, such as `original_tow`, or None."""
    exact = [term for term in numbers() if term.name == name]
    fits = [term for term in numbers() if fnmatchcase(name, term.name)]
    if exact or fits:
        return (exact or fits)[0]
    owner = next((owner for owner in OWNERS if name.startswith(owner)), "")
    return describe(name.removeprefix(owner)) if owner else None


@cache
def metric_of(name: str) -> str:
    """Return the metric that declares a number of a run, such as `retrained_mia_auc`; empty for another name.

    A number without a term of its own is from the metric whose terms begin with the same word: `relearning_steps`.
    """
    plain = name.removeprefix(next((owner for owner in OWNERS if name.startswith(owner)), ""))
    declared = [(term.name, metric) for metric, facts in parts("metrics").items() for term in facts.terms]
    exact = [one for one in declared if fnmatchcase(plain, one[0])]
    alike = [one for one in declared if one[0].partition("_")[0] == plain.partition("_")[0]]
    return max(exact or alike, key=lambda one: len(one[0]), default=("", ""))[1]


def whose(name: str) -> str:
    """Return which model a column is about, such as "of the model before unlearning"; empty for the unlearned model."""
    return next((text for owner, text in OWNERS.items() if name.startswith(owner)), "")


def explain(word: str) -> Term:
    """Return the entry of a word: a number, a concept, or another name of either.

    Raises:
        ConfigError: for an unknown word, with the nearest known word.
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
