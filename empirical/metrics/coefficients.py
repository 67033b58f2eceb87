"""Learning coefficients of the theory's two-layer network, computed from its weights.

Weights move in the span of signal and noise, `w_a = w0_a + p_a phi + sum_i q_ai xi_i`, so p and q solve

    G (p_a, q_a) = <w_a - w0_a, (phi, xi)>,    kappa_a = j_a |phi|^2 p_a,    zeta_ai = (P-1) |xi_i|^2 q_ai

(Chen et al. 2023; conventions as in `theory.measures.measure`). The Gram matrix G of signal and noise has full rank if
there are fewer vectors than dimensions. Weight decay leaves the span; the solution is then the nearest point in the
span.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from empirical.data.forget import Split
from empirical.data.images import ImageSet
from empirical.metrics.evaluation import Evaluation, prefix
from empirical.models.network import Network
from empirical.models.others import PatchCNN
from repro.base.parts import metric


@metric("coefficients")
def coefficients(evaluation: Evaluation) -> dict[str, float]:
    """Return kappa, zeta and the active shares of each model (`coefficient_observer`); nothing for other networks.

    All are measured from the initial weights of the original model. The retrained model starts from other weights, so
    its kappa and zeta also contain the difference of the two initializations, about 0.01. Its active shares do not.
    """
    learned = coefficient_observer(evaluation.networks["initial"](), evaluation.images, evaluation.split)
    return {
        f"{prefix(role)}{name}": value
        for role in evaluation.roles
        for name, value in learned(evaluation.networks[role]()).items()
    }


def coefficient_observer(
    initial: Network, images: ImageSet, split: Split, *, digits: int = 16
) -> Callable[[Network], dict[str, Any]]:
    """Return a function that measures the coefficients of a network that started as `initial`.

    For networks other than `PatchCNN`, or other images, it returns no numbers. Otherwise, over neurons a (2 m of them),
    noise vectors i, and R or F (`side`):

        kappa, kappa_plus, kappa_minus            mean of kappa_a over all neurons, or neurons of one sign
        zeta_<side>, zeta_<side>_oppose           mean of zeta_ai over the pairs j_a = y_i, or j_a = -y_i
        active_<side>_match, active_<side>_oppose share of the pairs with `<w_a, xi_i> > 0`

    Args:
        initial: the original model before its first step.
        images: signal-noise images; the first patch of each is `y phi`.
        split: retain and forget rows.
        digits: significant digits of the numbers.
    """
    if not isinstance(initial.model, PatchCNN) or images.name != "signal-noise":
        return lambda network: {}
    start = _first_layer(initial)
    model: Any = initial.model
    patches = model.patches(images.train_images.double().cpu()).numpy()
    labels = 2 * images.train_labels.numpy() - 1
    phi, noise = labels[0] * patches[0, 0], patches[:, 1:]
    if np.array_equal(noise, np.broadcast_to(noise[:, :1], noise.shape)):  # one noise vector, repeated
        noise = noise[:, :1]
    rows = {"retain": split.retain, "forget": split.forget}
    signs = np.repeat([-1, 1], model.neurons)
    vectors = np.vstack([phi, noise.reshape(-1, noise.shape[-1])])
    gram = vectors @ vectors.T
    size = np.diag(gram)
    match = np.equal.outer(signs, labels)

    def coefficients_of(network: Network) -> dict[str, Any]:
        weights = _first_layer(network)
        solved = size * np.linalg.solve(gram, vectors @ (weights - start).T).T
        kappa = signs * solved[:, 0]
        zeta = (patches.shape[1] - 1) * solved[:, 1:].reshape(len(signs), *noise.shape[:2])
        active = (weights @ vectors[1:].T).reshape(zeta.shape) > 0
        found = {"kappa": kappa.mean(), "kappa_plus": kappa[signs > 0].mean(), "kappa_minus": kappa[signs < 0].mean()}
        for side, part in rows.items():
            for ending, pairs in (("match", match[:, part]), ("oppose", ~match[:, part])):
                found[f"zeta_{side}{'' if ending == 'match' else '_oppose'}"] = zeta[:, part][pairs].mean()
                found[f"active_{side}_{ending}"] = active[:, part][pairs].mean()
        return {name: float(f"{value:.{digits}g}") for name, value in found.items()}

    return coefficients_of


def _first_layer(network: Network) -> np.ndarray:
    """Return the weights of the first layer, `(2 m, d)`, float64."""
    weight: torch.Tensor = network.model.weight  # type: ignore[assignment]
    return weight.detach().double().cpu().numpy()
