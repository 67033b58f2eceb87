"""Gradient rules as data: which samples and neurons a group reads and moves, its radius and its sharpness."""

from typing import NamedTuple

import numpy as np

from theory.config import TheoryConfig

ALL, RETAIN, FORGET = 0, 1, 2


class Rule(NamedTuple):
    """How a loss becomes a step: one entry a group.

    Attributes:
        samples: which samples of the batch a group reads: 0 all, 1 retain, 2 forget.
        neurons: which neurons it may move: 0 all, 1 those of the retain part, 2 those of the forget part.
        rho: radius of its perturbation.
        sharpness: +1 for the gradient at `W + eps`, -1 for the reflected `2 g(W) - g(W + eps)`.
        eta: learning rate.
        mask_size: neurons of the forget part; 0 when the rule has no mask.
        mask_epochs: epochs between two masks; 0 keeps the first.
    """

    samples: np.ndarray
    neurons: np.ndarray
    rho: np.ndarray
    sharpness: np.ndarray
    eta: float
    mask_size: int
    mask_epochs: int


def make_rule(name: str, config: TheoryConfig, *, rho: float) -> Rule:
    """Return the rule `name` with absolute radius `rho`.

    Sharp MinMax: SAM on R for the retain part of the neurons, sharpness maximization on F for the forget part, each
    with its own gradient norm. Retain-only SAM: SAM on R, the plain gradient on F.
    """
    groups = {
        "sgd": [(ALL, ALL, 0.0, 1.0)],
        "sam": [(ALL, ALL, rho, 1.0)],
        "sharpen": [(ALL, ALL, rho, -1.0)],
        "minmax": [(RETAIN, RETAIN, rho, 1.0), (FORGET, FORGET, rho, -1.0)],
        "retain_sam": [(RETAIN, ALL, rho, 1.0), (FORGET, ALL, 0.0, 1.0)],
    }[name]
    samples, neurons, radius, sharpness = (np.array(column) for column in zip(*groups, strict=True))
    size = round(config.mask_fraction * 2 * config.m) if name == "minmax" else 0
    return Rule(samples, neurons, radius, sharpness, config.eta, size, config.mask_refresh)
