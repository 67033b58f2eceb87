"""How close the unlearned model is to the retrained model: in accuracy (ToW, average gap), predictions and weights."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from scipy.special import rel_entr

from empirical.augmentation.augment import augmentation
from empirical.metrics.evaluation import SETS, Evaluation, prefix, probabilities
from empirical.models.network import Network, predict
from empirical.released import published_reference
from repro.base.parts import Term, metric

GAP_TERMS = ("retain_accuracy", "forget_accuracy", "test_accuracy", "mia_confidence")


@metric(
    "accuracy", switches=("corrupted_evaluation", "validation_images"),
    terms=(
        Term("retain_accuracy", "Fraction of retain images that are classified correctly.", also=("RA",)),
        Term("forget_accuracy", "Fraction of forget images that are classified correctly. UA, unlearning accuracy, is "
             "1 minus it.", also=("FA", "UA")),
        Term("test_accuracy", "Fraction of test images that are classified correctly.", also=("TA",)),
        Term("corrupted_*_accuracy", "This accuracy on the corrupted images that the model was trained on."),
        Term("validation_accuracy", "Fraction of training images held out of training that are classified correctly."),
    ),
)  # fmt: skip
def accuracies(evaluation: Evaluation) -> dict[str, float]:
    """Return the accuracy on retain, forget and test images, in [0, 1], for each model.

    Models trained on corrupted images are also measured on those (`corrupted_*`), unless D18 turns this off. If rows
    were held out for validation, the original model is measured on them too (D17: with or without augmentation).
    """
    found = {
        f"{prefix(role)}{name}_accuracy": share_correct(outputs.logits, labels)
        for role in evaluation.roles
        for name, outputs, labels in evaluation.sets(role)
    }
    if evaluation.config.corruption != "none" and evaluation.config.fidelity.corrupted_evaluation:
        found |= corrupted_accuracies(evaluation)
    if len(evaluation.split.validation):
        found["original_validation_accuracy"] = validation_accuracy(evaluation)
    return found


def share_correct(logits: Any, labels: np.ndarray) -> float:
    """Return the accuracy of logits `(n, classes)`, in [0, 1]."""
    return float(np.mean(logits.argmax(1) == labels))


def corrupted_accuracies(evaluation: Evaluation) -> dict[str, float]:
    """Return the retain and forget accuracy of each model on the corrupted images it was trained on."""
    labels = evaluation.images.train_labels.numpy()
    found = {}
    for role in evaluation.roles:
        logits = predict(evaluation.networks[role](), evaluation.trained_on)[0].cpu().numpy()
        for name in ("retain", "forget"):
            rows = getattr(evaluation.split, name)
            found[f"{prefix(role)}corrupted_{name}_accuracy"] = share_correct(logits[rows], labels[rows])
    return found


def validation_accuracy(evaluation: Evaluation) -> float:
    """Return the original's accuracy on the held-out rows: clean images, or with D17 "train" augmented images."""
    rows = evaluation.split.validation
    logits = evaluation.outputs["original"].train.pick(rows).logits
    if evaluation.config.fidelity.validation_images == "train":
        augment = augmentation(evaluation.config, evaluation.trained_on.dtype)
        images = evaluation.trained_on[torch.from_numpy(rows).to(evaluation.trained_on.device)]
        generator = torch.Generator().manual_seed(evaluation.seed)
        draws = torch.rand(len(rows), augment.columns, generator=generator).to(images.device)
        logits = predict(evaluation.networks["original"](), augment(images, draws))[0].cpu().numpy()
    return share_correct(logits, evaluation.images.train_labels.numpy()[rows])


def tow(accuracy: Mapping[str, float], reference: Mapping[str, float], *, signed: bool = False) -> float:
    """Return the tug of war, `prod over sets of (1 - |a - a*|)` (Zhao et al. 2024).

    The signed variant of the released code is `(1 - (r* - r)) (1 - (f - f*)) (1 - (t* - t))`. It exceeds 1 if a model
    forgets more than the retrained model (D6).

    Args:
        accuracy: accuracies by set name (retain, forget, test), in [0, 1].
        reference: accuracies of the retrained model.
        signed: keep the signs.
    """
    gap = {name: reference[name] - accuracy[name] for name in SETS}
    gap["forget"] = -gap["forget"]
    return float(np.prod([1 - (gap[name] if signed else abs(gap[name])) for name in SETS]))


@metric(
    "tow", needs=("accuracy",), settings=("difficulty",), switches=("tow", "tow_reference"), reference=True,
    terms=(
        Term("tow", "Tug of war: how close the three accuracies are to the retrained model's (Zhao et al. 2024).",
             "prod over retain, forget, test of (1 - |a - a*|), a* of the retrained model", goal="1", also=("ToW",)),
        Term("tow_signed", "Tug of war of the released code, with signs: above 1 if a model forgets more than "
             "the retrained model.", "(1 - (r* - r)) (1 - (f - f*)) (1 - (t* - t))", range=">= 0", goal="1"),
        Term("tow_reported", "Tug of war as the run's preset defines it (switches D6, D7).", range=">= 0",
             goal="1"),
    ),
)  # fmt: skip
def tug_of_war(evaluation: Evaluation) -> dict[str, float | None]:
    """Return the ToW of the unlearned and of the original model, absolute and signed, against the retrained model.

    Reads the numbers of `accuracy`. `tow_reported` is the variant that the preset asks for (D6, D7). With D7
    "published" it is 0 if the released code has no reference accuracies, as in the released code.
    """
    result, fidelity = evaluation.result, evaluation.config.fidelity
    signed = fidelity.tow == "signed"
    own, original, retrained = (
        {name: result[f"{prefix(role)}{name}_accuracy"] for name in SETS}
        for role in ("unlearned", "original", "retrained")
    )
    reference: Mapping[str, float] | None = retrained
    if fidelity.tow_reference == "published":
        config = evaluation.config
        reference = published_reference(config.dataset, config.model, config.difficulty)
    return {
        "tow": tow(own, retrained),
        "tow_signed": tow(own, retrained, signed=True),
        "original_tow": tow(original, retrained),
        "original_tow_signed": tow(original, retrained, signed=True),
        "tow_reported": tow(own, reference, signed=signed) if reference else 0.0,
    }


NOTHING_TO_FORGET = 0.02  # smallest excess of the original's forget accuracy over the retrained model's


def better_than_nothing(numbers: Mapping[str, Any]) -> bool:
    """Return whether the unlearned model has a larger ToW than the original model, which did nothing."""
    return numbers["tow"] > numbers["original_tow"]


def judgement(numbers: Mapping[str, Any]) -> str:
    """Return a sentence that says whether unlearning was better than doing nothing, and if not, what to try."""
    own, untouched = numbers["tow"], numbers["original_tow"]
    if better_than_nothing(numbers):
        by = own - untouched
        return f"Unlearning ended nearer to the retrained model than doing nothing by {by:.4f} ToW."
    forget, retrained = numbers["forget_accuracy"], numbers["retrained_forget_accuracy"]
    if numbers["original_forget_accuracy"] - retrained < NOTHING_TO_FORGET:
        why = "the retrained model is about as good on the forget set as the original, so there is little to forget"
    elif forget < retrained:
        why = "it forgot more than retraining does, so try a smaller learning rate or fewer epochs"
    elif forget < numbers["original_forget_accuracy"]:
        why = "what it forgot cost more accuracy elsewhere, so try another learning rate, rule or method"
    else:
        why = "it forgot nothing, so try a larger learning rate or more epochs"
    return f"Unlearning was no better than doing nothing: ToW {own:.4f} against {untouched:.4f}; {why}."


@metric(
    "gap", needs=("accuracy", "mia"), reference=True,
    terms=(
        Term("tow_mia", "Tug of war with `mia_confidence` in place of forget accuracy.",
             "prod over retain accuracy, test accuracy, mia_confidence of (1 - |u - r|)", goal="1"),
        Term("average_gap", "Mean difference from the retrained model in four numbers (Jia et al. 2023).",
             "mean |u - r| over retain, forget, test accuracy and mia_confidence", goal="0"),
    ),
)  # fmt: skip
def gaps(evaluation: Evaluation) -> dict[str, float]:
    """Return the average gap and ToW-MIA of the unlearned and of the original model.

    `average_gap = mean |u - r|` over retain, forget and test accuracy and MIA confidence (Jia et al. 2023);
    `tow_mia = prod (1 - |u - r|)` with MIA confidence in place of forget accuracy (Zhao et al. 2024). Reads the
    numbers of `accuracy` and `mia`.
    """
    result, found = evaluation.result, {}
    for role in ("unlearned", "original"):
        gap = {name: abs(result[prefix(role) + name] - result[f"retrained_{name}"]) for name in GAP_TERMS}
        found[f"{prefix(role)}average_gap"] = float(np.mean(list(gap.values())))
        found[f"{prefix(role)}tow_mia"] = float(np.prod([1 - gap[n] for n in GAP_TERMS if n != "forget_accuracy"]))
    return found


@metric(
    "distances", reference=True,
    terms=(
        Term("jsd_*", "Mean Jensen-Shannon divergence between the class probabilities of the model and the retrained "
             "model.", "KL(p || m) / 2 + KL(q || m) / 2, m = (p + q) / 2", "bits", goal="0"),
        Term("activation_distance_*", "Mean Euclidean distance between the class probabilities of the model and the "
             "retrained model.",
             "mean |p - q|_2", "probability", "[0, sqrt 2]", "0"),
        Term("zrf", "Zero-retrain forgetting: how similar the model's predictions for forget images are to those of an "
             "untrained network (Chundawat et al. 2023).", "1 - mean JSD(model, random model) over F"),
    ),
)  # fmt: skip
def distances(evaluation: Evaluation) -> dict[str, Any]:
    """Return the distances of the unlearned and the original model from the retrained model, and the ZRF of all three.

    `jsd_*` is the mean Jensen-Shannon divergence of the class probabilities in bits, `activation_distance_*` their mean
    Euclidean distance, `weight_distance` a list of `|w - w*| / |w*|` per weight tensor (names in `weight_layers`).
    """
    found: dict[str, Any] = {}
    for role in ("unlearned", "original"):
        for name in SETS:
            p, q = (probabilities(evaluation.on(one, name)[0].logits) for one in (role, "retrained"))
            found[f"{prefix(role)}jsd_{name}"] = float(jensen_shannon(p, q).mean())
            found[f"{prefix(role)}activation_distance_{name}"] = float(np.linalg.norm(p - q, axis=1).mean())
        layers = weight_distances(evaluation.networks[role](), evaluation.networks["retrained"]())
        found[f"{prefix(role)}weight_distance"] = list(layers.values())
        found["weight_layers"] = list(layers)
    images = evaluation.images.train_images[torch.from_numpy(evaluation.split.forget)]
    random = predict(evaluation.networks["random"](), images)[0].double().cpu().numpy()
    for role in ("unlearned", "original", "retrained"):
        found[f"{prefix(role)}zrf"] = zero_retrain_forgetting(evaluation.on(role, "forget")[0].logits, random)
    return found


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Return the Jensen-Shannon divergence of rows `(n, classes)`, in bits, in [0, 1].

    `JSD = KL(p || m) / 2 + KL(q || m) / 2` with `m = (p + q) / 2`.
    """
    middle = (p + q) / 2
    return 0.5 * (rel_entr(p, middle) + rel_entr(q, middle)).sum(1) / np.log(2)


def zero_retrain_forgetting(logits: np.ndarray, random: np.ndarray) -> float:
    """Return ZRF, `1 - mean JSD(model, random model)` over F, in [0, 1] (Chundawat et al. 2023).

    1 means that the model predicts forget images exactly like an untrained network.

    Args:
        logits: logits of the model on F, `(n, classes)`.
        random: logits of a freshly initialized model on F, `(n, classes)`.
    """
    return float(1 - jensen_shannon(probabilities(logits), probabilities(random)).mean())


def weight_distances(ours: Network, theirs: Network) -> dict[str, float]:
    """Return `|w - w*| / |w*|` by parameter name, and `|w|` if w* is zero."""
    pairs = zip(ours.model.named_parameters(), theirs.model.parameters(), strict=True)
    found = {}
    for (name, own), other in pairs:
        size = float(torch.linalg.vector_norm(other.detach()))
        found[name] = float(torch.linalg.vector_norm((own - other).detach())) / (size or 1.0)
    return found
