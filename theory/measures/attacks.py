"""Two attacks on a network that has unlearned F: telling forget images from fresh ones, and teaching F again.

Membership. The attacker sees the margin `y f` of an image, or its loss, which falls as the margin grows. The attacker
labels images with large margins as members. The area under the ROC curve is the probability that a forget image has a
larger margin than a fresh image with the signal of F; ties count one half:

    AUC = (1/n_F) sum_{i in F} (P(y f < M_i) + P(y f <= M_i)) / 2,    M_i = y_i f_i

The margin of a fresh image is `S_y + y c t` (see `theory/measures/quadrature.py`). So each probability is a test error
with the level M_i instead of 0, from the same quadrature: exact along the line, averaged over points across it.

Relearning. The attacker has F and takes plain gradient steps on its mean loss. Retain samples are left out: they would
teach the signal again and hide what the network still knows of F. Each step reads all of F, so no order of batches
enters. Its rate is a tenth of the learning rate of training. Ten steps count as one epoch, so that the time hardly
depends on the size of a step.
"""

import numpy as np

from theory.config import TheoryConfig
from theory.draw import Draw
from theory.measures.points import lattice_count, networks_seen, noise_scale, points_of
from theory.training import NetworkState, copy_state, make_rule, plain_schedule

FINE = 10  # steps of relearning in an epoch
MOST_EPOCHS = 50  # epochs after which F counts as not relearned
FITTED = 0.0  # forget error at which F is learned again
TIE = 1e-9  # smaller differences in margin count as ties, relative to the size of the hidden layer
SMALLEST = 1e-200  # the same for a network whose weights are zero


def attacks(config: TheoryConfig, draw: Draw, state: NetworkState, K: np.ndarray) -> dict[str, float]:
    """Return `forget_auc`, `forget_auc_quadrature` (a bound on its standard error) and `relearning_epochs`.

    Args:
        config: the setting.
        draw: its inner products.
        state: the network.
        K: `W W^T`, shape `(2m, 2m)`.
    """
    auc, error = membership(config, draw, state, K)
    return {"forget_auc": auc, "forget_auc_quadrature": error,
            "relearning_epochs": relearning(config, draw, state)}  # fmt: skip


def forget_margins(draw: Draw, state: NetworkState) -> np.ndarray:
    """Return `y_i f_i` of the forget samples, shape `(n_F,)`."""
    problem, m = draw.problem, state.mask.size // 2
    first, vectors, q = problem.n_retain, problem.vectors, problem.power
    signal = np.maximum(np.multiply.outer(state.u[1], problem.true_labels[first::vectors]), 0.0) ** q
    noise = (np.maximum(state.V[:, first:], 0.0) ** q).reshape(*signal.shape, vectors).sum(axis=2)
    hidden = signal + problem.noise_patches * noise
    return problem.labels[first::vectors] * (hidden[:m].sum(axis=0) - hidden[m:].sum(axis=0)) / m


def membership(config: TheoryConfig, draw: Draw, state: NetworkState, K: np.ndarray) -> tuple[float, float]:
    """Return the AUC of the equation at the head of this file, in [0, 1], and a bound on its standard error.

    The samples of F share their points. So the error of their mean is at most the mean of their errors, which is
    returned.
    """
    from theory.measures.quadrature import test_error

    networks = networks_seen(config, draw.problem, state.u, K)
    network = networks.get("forget_signal_error", networks["test_error"])
    scale = noise_scale(config, draw.problem)
    others = scale, points_of(config, draw.problem, draw.seed), lattice_count(config.directions)
    held = scale * np.sqrt(np.maximum(np.diag(network[0]), 0.0) ** config.activation_power).sum()
    found = []
    for margin in forget_margins(draw, state):
        tie = TIE * (abs(margin) + held) + SMALLEST
        levels = margin - tie, margin + tie
        found += [test_error(*network, *others, config.activation_power, level) for level in levels]
    auc, error = np.mean(found, axis=0)
    return float(auc), float(error)


def relearning(config: TheoryConfig, draw: Draw, state: NetworkState) -> float:
    """Return the epochs of gradient descent on F until no forget sample is wrong, at most `MOST_EPOCHS`.

    The step is `eta / FINE`, without momentum or weight decay, and `FINE` steps are an epoch.
    """
    from theory.steps.dynamics import advance_network

    state, everyone = copy_state(state), np.arange(config.n_retain, config.n)[None]
    schedule = plain_schedule(config, draw.problem.labels, everyone, per_epoch=1)
    rule = make_rule("sgd", config, rho=0.0)._replace(eta=config.eta / FINE, momentum=0.0, decay=0.0)
    for step in range(FINE * MOST_EPOCHS):
        if np.mean(forget_margins(draw, state) <= 0.0) <= FITTED:
            return step / FINE
        if advance_network(draw.problem, state, schedule, rule, 0, 1) >= 0:
            break
    return float(MOST_EPOCHS)
