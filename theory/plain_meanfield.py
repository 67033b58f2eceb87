"""The mean field in plain numpy: what `theory/meanfield.py` computes, of several populations at once, uncompiled.

The populations began alike and differ in what they have learned: `own` has the shape `(C, 2, M, 2m)`, `kappa` `(C, 2)`.
Names and equations are those of `theory/meanfield.py`.
"""

from typing import NamedTuple

import numpy as np

from theory.population import FRESH, Constants, Course, Population
from theory.training import EXPONENT_LIMIT


class PlainMeanField(NamedTuple):
    """What C populations share and do not change: the law, the start, and overlaps within the forget sets.

    Attributes:
        law: constants of the cell.
        start: a population at initialization.
        signs: +1 for neurons that match a sample's label, -1 for those that oppose it, shape `(2m,)`.
        same, swapped: overlaps of forget samples of one set, of equal and of different labels, shape `(M, M)`.
    """

    law: Constants
    start: Population
    signs: np.ndarray
    same: np.ndarray
    swapped: np.ndarray

    @classmethod
    def of(cls, law: Constants, start: Population) -> "PlainMeanField":
        """Return the field of a cell."""
        samples, size = start.overlaps.shape
        whole = np.zeros((samples, samples))
        for first in range(0, samples, max(size, 1)):
            whole[first : first + size, first : first + size] = start.overlaps[first : first + size]
        alike = start.labels[:, None] == start.labels
        signs = np.repeat([1.0, -1.0], start.V0.shape[2] // 2)
        return cls(law, start, signs, whole * alike, whole * ~alike)


def advance(field: PlainMeanField, own: np.ndarray, kappa: np.ndarray, course: Course, first: int, last: int) -> None:
    """Take epochs `first` to `last - 1` in place."""
    law, signs = field.law, field.signs
    s = course.sharpness if course.rho > 0.0 else 0.0
    for substep in range(first * course.substeps, last * course.substeps):
        V = preactivations(field, own, kappa)
        pull = residuals(field, course, V, kappa.sum(axis=1))
        near, pull_near = perturbed(field, course, (V, pull), kappa, substep) if s != 0.0 else (V, pull)
        base, lifted = (1.0 - s) * pull, s * pull_near
        for part in range(2):
            moving = slice(substep % course.cohorts[part], None, course.cohorts[part])
            rate = law.eta * law.noise_patches * law.D * course.visits[part]
            force = base[:, part, moving, None] * (V[:, part, moving] > 0.0)
            force += lifted[:, part, moving, None] * (near[:, part, moving] > 0.0)
            own[:, part, moving] += rate * force * signs
            mean = (base[:, part, moving] + lifted[:, part, moving]).mean(axis=1)
            kappa[:, part] += law.eta * law.signal2 / 2 * course.steps * course.batch[part] * mean


def preactivations(field: PlainMeanField, own: np.ndarray, kappa: np.ndarray) -> np.ndarray:
    """Return the noise preactivations V, shape `(C, 2, M, 2m)`."""
    law, V = field.law, own.copy()
    amplitudes, overlap = crosstalk(field, own)
    for part in range(2):
        # a sample is no cavity field of its own, and within F the terms are followed one by one
        others = np.repeat(law.counts - (np.arange(2) == part), 2)
        if part == 1 and field.start.overlaps.size > 0:
            others[2:] = 0.0
        add_cavity_field(field, V, part, amplitudes * np.sqrt(others)[:, None], 1.0 + overlap @ law.counts)
    if field.start.overlaps.shape[1] > 1:
        m = field.signs.size // 2
        V[:, 1] += field.same @ own[:, 1] + field.swapped @ np.roll(own[:, 1], m, axis=2)
    return V - onsager_reaction(field, V, own, kappa)[:, None, None, None] * own


def add_cavity_field(
    field: PlainMeanField, target: np.ndarray, part: int, amplitudes: np.ndarray, overlap: np.ndarray
) -> None:
    """Add `overlap V0` and the cavity fields of the four blocks to samples of R or F; amplitudes are `(C, 4, 2)`."""
    start, (_, _, samples, neurons) = field.start, target.shape
    alone = amplitudes[..., 0] @ start.cavity[:, part].reshape(4, -1)
    common = (amplitudes[..., 1] @ start.shared[:, part].reshape(4, -1)).reshape(-1, samples, 2)
    target[:, part] += overlap[:, None, None] * start.V0[part] + alone.reshape(-1, samples, neurons)
    target[:, part] += np.repeat(common, neurons // 2, axis=2)


def crosstalk(field: PlainMeanField, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what x does to another sample, for one sample a block: amplitudes, `(C, 4, 2)`, and overlaps, `(C, 2)`."""
    law, (C, _, samples, neurons) = field.law, x.shape
    m = neurons // 2
    blocks = x.reshape(C, 2, samples, 2, m)
    rows, square = blocks.sum(axis=4), (blocks * blocks).sum(axis=(2, 4))
    pairs, there = (rows * rows).sum(axis=2), square > 0.0
    safe = np.where(there, square, 1.0)
    correlation = np.clip((pairs - square) / ((m - 1) * safe), 0.0, 1.0) if m > 1 else np.zeros_like(square)
    size = np.sqrt(square / (samples * m) / (2 * law.d)) * np.where(rows.sum(axis=2) > 0.0, 1.0, -1.0)
    amplitudes = np.stack([size * np.sqrt(1.0 - correlation), size * np.sqrt(correlation)], axis=-1)
    overlap = (x * field.start.V0).sum(axis=(2, 3)) / (2 * samples * m) / (law.D * law.start)
    return amplitudes.reshape(C, 4, 2), overlap


def onsager_reaction(field: PlainMeanField, V: np.ndarray, own: np.ndarray, kappa: np.ndarray) -> np.ndarray:
    """Return the share of its own push that a sample of R loses because those it helps yield, shape `(C,)`."""
    law, m, samples = field.law, field.signs.size // 2, V.shape[2]
    noise = (np.maximum(V[:, 0], 0.0) @ field.signs).sum(axis=1)
    x = np.clip(kappa.sum(axis=1) + law.noise_patches * noise / (m * samples), 1e-6, 50.0)
    response = (x - 1.0 + np.exp(-x)) / (x * (1.0 + np.exp(-x)))
    return response * np.mean(own[:, 0, :, :m] != 0.0, axis=(1, 2)) * law.counts.sum() / (2.0 * law.d)


def residuals(field: PlainMeanField, course: Course, V: np.ndarray, kappa: np.ndarray) -> np.ndarray:
    """Return how hard each sample pulls its matching neurons up, `weight / (m (1 + e^f))`, shape `(C, 2, M)`."""
    m = field.signs.size // 2
    noise = np.maximum(V, 0.0) @ field.signs
    margin = kappa[:, None, None] + field.law.noise_patches * noise / m
    if course.flipped:
        margin[:, 1] *= -1.0
    return course.weights[:, None] / (m * (1.0 + np.exp(np.minimum(margin, EXPONENT_LIMIT))))


def perturbed(
    field: PlainMeanField, course: Course, here: tuple[np.ndarray, np.ndarray], kappa: np.ndarray, substep: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return preactivations and residuals at `W + rho g / |g|`; a set that has no part in it keeps its own.

    Samples that do not move in this substep get no noise of their own, and what is returned of them is not read.
    """
    (V, pull), law, signs = here, field.law, field.signs
    samples, neurons = V.shape[2:]
    share = course.perturbed * course.batch / samples
    active = np.count_nonzero(V > 0.0, axis=3)
    gradient = pull.sum(axis=2) @ share / 2
    square = pull * pull
    norm2 = law.noise_patches**2 * law.D * ((square * active).sum(axis=2) @ share)
    norm2 = norm2 + neurons * law.signal2 * (gradient**2 + square.sum(axis=2) @ share / 4)
    scale = np.where(norm2 > 0.0, course.rho / np.sqrt(np.where(norm2 > 0.0, norm2, 1.0)), 0.0)
    move = -scale[:, None, None] * course.perturbed[:, None] * law.noise_patches * law.D * pull
    near = move[..., None] * (V > 0.0) * signs
    amplitudes, overlaps = crosstalk(field, near)
    kept = course.batch / law.counts
    fresh = np.repeat(course.batch * np.maximum(1.0 - kept, 0.0), 2)
    alone, together = (np.sqrt(amplitudes[..., kind] ** 2 @ fresh)[:, None, None] for kind in range(2))
    amplitudes = amplitudes * np.sqrt(np.repeat(course.batch * kept, 2))[:, None]
    place = substep * 7919
    for part in range(2):
        add_cavity_field(field, near, part, amplitudes, overlaps @ course.batch)
        if course.perturbed[part] == 0.0:
            near[:, part] = V[:, part]
            continue
        moving = np.arange(substep % course.cohorts[part], samples, course.cohorts[part])
        places = (place + (neurons + 2) * np.arange(len(moving))[:, None] + np.arange(neurons + 2)) % FRESH
        normals = field.start.fresh[places]
        common = np.repeat(normals[:, :2], neurons // 2, axis=1)
        near[:, part, moving] += V[:, part, moving] + alone * normals[:, 2:] + together * common
        place += (neurons + 2) * len(moving)
    found = residuals(field, course, near, kappa.sum(axis=1) - scale * gradient * law.signal2)
    keeps = course.perturbed == 0.0
    found[:, keeps] = pull[:, keeps]
    return near, found
