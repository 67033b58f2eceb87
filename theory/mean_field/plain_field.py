"""The mean field in plain numpy: the numbers of `compiled_field`, for several populations at once, uncompiled.

The populations have the same start and differ in what they have learned: `own` has the shape `(C, 2, M, 2m)`, `kappa`
`(C, 2)`. For names and equations see `compiled_field`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from theory.mean_field.population import FRESH, Constants, EpochPlan, Population
from theory.measures.plain_measure import plain_test_errors
from theory.training import EXPONENT_LIMIT


class PlainMeanField(NamedTuple):
    """What C populations share and never change: constants, start, and overlaps within the forget sets.

    Attributes:
        law: constants of the setting.
        start: a population at initialization.
        signs: +1 for neurons that match a sample's label, -1 for those that oppose it, shape `(2m,)`.
        of_sign: 1.0 if a neuron has a sign, shape `(2m, 2)`.
        directions: the terms of a preactivation, for R and for F, except the sample's own part: V0, the cavity fields
            of the four blocks, and their parts that neurons of one sign share, shape `(2, 9, M, 2m)`.
        others: square roots of the numbers of samples in the cavity fields of R and of F, by block, shape `(2, 4)`.
        same, swapped: overlaps of forget samples of one set, of equal and of different labels, shape `(M, M)`.
    """

    law: Constants
    start: Population
    signs: np.ndarray
    of_sign: np.ndarray
    directions: np.ndarray
    others: np.ndarray
    same: np.ndarray
    swapped: np.ndarray

    @classmethod
    def of(cls, law: Constants, start: Population) -> "PlainMeanField":
        """Return the field of a setting."""
        (samples, size), m = start.overlaps.shape, start.V0.shape[2] // 2
        whole = np.zeros((samples, samples))
        for first in range(0, samples, max(size, 1)):
            whole[first : first + size, first : first + size] = start.overlaps[first : first + size]
        alike = start.labels[:, None] == start.labels
        directions = np.concatenate([start.V0[None], start.cavity, np.repeat(start.shared, m, axis=3)])
        signs, of_sign = np.repeat([1.0, -1.0], m), np.repeat(np.eye(2), m, axis=0)
        # a sample is not in its own cavity field; within F overlaps are followed one by one
        others = np.repeat(law.counts - np.eye(2), 2, axis=1)
        if start.overlaps.size > 0:
            others[1, 2:] = 0.0
        directions = directions.swapaxes(0, 1).copy()
        return cls(law, start, signs, of_sign, directions, np.sqrt(others), whole * alike, whole * ~alike)

    def advance(self, own: np.ndarray, kappa: np.ndarray, plans: Sequence[EpochPlan], first: int, last: int) -> None:
        """Take epochs `first` to `last - 1` in place, with one plan for each population; only their radii differ."""
        law, signs, plan, rho = self.law, self.signs, plans[0], np.array([one.rho for one in plans])
        s, moved = plan.sharpness, np.flatnonzero(rho > 0.0)  # whose gradient is that at W + eps
        plan = plan._replace(rho=rho[moved])
        for substep in range(first * plan.substeps, last * plan.substeps):
            V = self.preactivations(own, kappa)
            pull = np.stack([self.residuals(plan, part, V[:, part], kappa.sum(axis=1)) for part in range(2)], axis=1)
            cohorts = [slice(substep % count, None, count) for count in plan.cohorts]
            near = moved.size and self.perturbed(plan, (V[moved], pull[moved]), kappa[moved], substep, cohorts)
            for part, moving in enumerate(cohorts):
                rate = law.eta * law.noise_patches * law.D * plan.visits[part]
                pulls = pull[:, part, moving]
                force, mean = pulls[..., None] * (V[:, part, moving] > 0.0), pulls.mean(axis=1)
                if near:
                    V_near, lifted = near[part]
                    force[moved] = (1.0 - s) * force[moved] + s * lifted[..., None] * (V_near > 0.0)
                    mean[moved] = (1.0 - s) * mean[moved] + s * lifted.mean(axis=1)
                own[:, part, moving] += rate * force * signs
                kappa[:, part] += law.eta * law.signal2 / 2 * plan.steps * plan.batch[part] * mean

    def preactivations(self, own: np.ndarray, kappa: np.ndarray) -> np.ndarray:
        """Return the noise preactivations V, shape `(C, 2, M, 2m)`."""
        law, along = self.law, np.einsum("cpia,pia->cp", own, self.start.V0)
        rows, squares = over_neurons(own, self.of_sign), over_neurons(own * own, self.of_sign)
        amplitudes, overlap = self.crosstalk(rows, squares, along)
        amplitudes, overlap = amplitudes[:, None] * self.others[:, None], 1.0 + overlap @ law.counts
        V = own + np.stack([self.cavity_field(amplitudes[:, part], overlap, part) for part in range(2)], axis=1)
        if self.start.overlaps.shape[1] > 1:
            halves = own[:, 1].reshape(*own.shape[:1], own.shape[2], 2, -1)
            V[:, 1] += self.same @ own[:, 1] + self.swapped @ halves[:, :, ::-1].reshape(own[:, 1].shape)
        return V - self.onsager_reaction(V, own, kappa)[:, None, None, None] * own

    def cavity_field(
        self, amplitudes: np.ndarray, overlap: np.ndarray, part: int, samples: slice = slice(None)
    ) -> np.ndarray:
        """Return `overlap V0` and the cavity fields of the four blocks, at samples of R or F, shape `(C, ..., 2m)`.

        Args:
            amplitudes: of a neuron alone and of those of its sign, shape `(C, 2, 4)`.
            overlap: shape `(C,)`.
            part: 0 for R, 1 for F.
            samples: which of them.
        """
        factors = np.concatenate([overlap[:, None], amplitudes.reshape(-1, 8)], axis=1)
        directions = self.directions[part, :, samples]
        return (factors @ directions.reshape(9, -1)).reshape(-1, *directions.shape[1:])

    def crosstalk(self, rows: np.ndarray, squares: np.ndarray, along: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the effect of one sample of each block on another sample through x.

        Args:
            rows, squares: sums of x and of its square over the neurons of a sign, each of shape `(C, 2, M, 2)`.
            along: sums of `x V0` over R and over F, shape `(C, 2)`.

        Returns:
            Amplitudes of its cavity field, of a neuron alone and shared by its sign, `(C, 2, 4)`, and overlaps of R and
            F with the start, `(C, 2)`.
        """
        law, (C, _, samples, _), m = self.law, rows.shape, self.signs.size // 2
        square, pairs = squares.sum(axis=2), (rows * rows).sum(axis=2)
        there = square > 0.0
        safe = np.where(there, square, 1.0)
        correlation = (pairs - square) / (max(m - 1, 1) * safe)  # 0 where m is 1
        correlation = np.minimum(np.maximum(correlation, 0.0), 1.0)
        size = np.sqrt(square / (samples * m) / (2 * law.d)) * np.where(rows.sum(axis=2) > 0.0, 1.0, -1.0)
        amplitudes = np.stack([size * np.sqrt(1.0 - correlation), size * np.sqrt(correlation)], axis=1)
        return amplitudes.reshape(C, 2, 4), along / (2 * samples * m) / (law.D * law.start)

    def onsager_reaction(self, V: np.ndarray, own: np.ndarray, kappa: np.ndarray) -> np.ndarray:
        """Return the share of its own push that a sample of R loses because the samples it helps push less, shape
        `(C,)`."""
        law, m, samples = self.law, self.signs.size // 2, V.shape[2]
        noise = over_neurons(np.maximum(V[:, 0], 0.0), self.signs).sum(axis=1)
        x = np.clip(kappa.sum(axis=1) + law.noise_patches * noise / (m * samples), 1e-6, 50.0)
        response = (x - 1.0 + np.exp(-x)) / (x * (1.0 + np.exp(-x)))
        moved = np.count_nonzero(own[:, 0, :, :m], axis=(1, 2)) / (m * samples)
        return response * moved * law.counts.sum() / (2.0 * law.d)

    def test_errors(
        self, K: np.ndarray, u: np.ndarray, scale: float, points: np.ndarray, lattices: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of `CompiledMeanField.test_errors`."""
        alike = K[None], u[None], self.law.signal2, scale, points[None]  # networks of one draw
        errors, of_quadrature = plain_test_errors(*alike, lattices, 1.0)
        return errors[0], of_quadrature[0]

    def residuals(self, plan: EpochPlan, part: int, V: np.ndarray, kappa: np.ndarray) -> np.ndarray:
        """Return how hard samples of R or F pull matching neurons up, `weight / (m (1 + e^f))`, shape `(C, k)`."""
        m, noise = self.signs.size // 2, over_neurons(np.maximum(V, 0.0), self.signs)
        margin = (kappa[:, None] + self.law.noise_patches * noise / m) * (-1.0 if plan.flipped and part == 1 else 1.0)
        return plan.weights[part] / (m * (1.0 + np.exp(np.minimum(margin, EXPONENT_LIMIT))))

    def perturbed(
        self, plan: EpochPlan, here: tuple[np.ndarray, np.ndarray], kappa: np.ndarray, substep: int,
        cohorts: Sequence[slice],
    ) -> list[tuple[np.ndarray, np.ndarray]]:  # fmt: skip
        """Return preactivations and residuals at `W + rho g / |g|` of the samples of R and of F that move.

        A set that takes no part in the perturbation keeps its values.
        """
        (V, pull), law, signs = here, self.law, self.signs
        samples, neurons = V.shape[2:]
        share = plan.perturbed * plan.batch / samples
        active, square = V > 0.0, pull * pull
        counts = over_neurons(active, self.of_sign)  # (C, 2, M, 2)
        gradient = pull.sum(axis=2) @ share / 2
        norm2 = law.noise_patches**2 * law.D * ((square * counts.sum(axis=3)).sum(axis=2) @ share)
        norm2 = norm2 + neurons * law.signal2 * (gradient**2 + square.sum(axis=2) @ share / 4)
        scale = np.where(norm2 > 0.0, plan.rho / np.sqrt(np.where(norm2 > 0.0, norm2, 1.0)), 0.0)
        move = -scale[:, None, None] * plan.perturbed[:, None] * law.noise_patches * law.D * pull
        along = (move * over_neurons(active * self.start.V0, signs)).sum(axis=2)
        moves = move[..., None] * counts * [1.0, -1.0], (move * move)[..., None] * counts
        amplitudes, overlaps = self.crosstalk(*moves, along)
        repeated = plan.batch / law.counts
        fresh = np.repeat(plan.batch * np.maximum(1.0 - repeated, 0.0), 2)
        alone, together = np.sqrt(amplitudes**2 @ fresh)[:, :, None, None].swapaxes(0, 1)
        amplitudes, overlap = amplitudes * np.sqrt(np.repeat(plan.batch * repeated, 2)), overlaps @ plan.batch
        found, place = [], substep * 7919
        for part, moving in enumerate(cohorts):
            near, pulls = V[:, part, moving], pull[:, part, moving]
            if plan.perturbed[part] > 0.0:
                count = near.shape[1]
                places = (place + (neurons + 2) * np.arange(count)[:, None] + np.arange(neurons + 2)) % FRESH
                normals = self.start.fresh[places]
                common = np.repeat(normals[:, :2], neurons // 2, axis=1)
                near = near + move[:, part, moving, None] * (signs * active[:, part, moving])
                near += self.cavity_field(amplitudes, overlap, part, moving)
                near += alone * normals[:, 2:] + together * common
                pulls = self.residuals(plan, part, near, kappa.sum(axis=1) - scale * gradient * law.signal2)
                place += (neurons + 2) * count
            found.append((near, pulls))
        return found


def over_neurons(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted sum, or sums, over the last axis, as one product of matrices."""
    return (x.reshape(-1, x.shape[-1]) @ weights).reshape(*x.shape[:-1], *weights.shape[1:])
