"""The mean field of the training step: the distribution of one sample replaces n samples, at any d and n.

In Gram space samples interact in two ways only. They share the weights of the signal, which average over samples. And
they overlap by `<xi_i, xi_k>`, which for i != k is nearly an independent `N(0, sigma_p^4 d)`. So M representative
samples, each with its 2m neurons, replace the n coupled ones; they are coupled through averages alone (derived here; in
statistical physics, a dynamical mean field). With coefficients `q = own / D`, `D = sigma_p^2 d`, the preactivation of
neuron a at sample i is

    V = (1 + overlap) V0 + (1 - reaction) own + sum_blocks amplitude_b g_b
    amplitude_b^2 = N_b E_b[own^2] / d          the sum over other samples of q_k <xi_k, xi_i>, Gaussian across samples
    overlap = sum_b N_b E_b[own V0] / (D sigma_0^2 d)     others overlap with w0_a, as they are active where V0 > 0
    reaction = response(f) n a / (2 d)          others push less where sample i helps, and i loses as much

over four blocks: R and F, `j = y` ("match", the first m neurons of a sample) and `j = -y` ("oppose"). Neurons of one
sign share samples, so their cavity fields share `correlation = E[own_a own_b] / E[own_a^2]` of their variance. By
symmetry of the labels every neuron has the same signal `j_a u_a = kappa + noise of the start`, and f gains kappa.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from theory.compiled import apart, compiled, inlined
from theory.mean_field.population import FRESH, Constants, EpochPlan, Population
from theory.measures.quadrature import test_error
from theory.training import EXPONENT_LIMIT


class CompiledMeanField(NamedTuple):
    """C populations with the same start, moved by compiled code; `own` is `(C, 2, M, 2m)`, `kappa` `(C, 2)`."""

    law: Constants
    start: Population

    def advance(self, own: np.ndarray, kappa: np.ndarray, plans: Sequence[EpochPlan], first: int, last: int) -> None:
        """Take epochs `first` to `last - 1` in place, with one plan for each population."""
        for one, signal, plan in zip(own, kappa, plans, strict=True):
            advance_population(self.law, self.start._replace(own=one, kappa=signal), plan, first, last)

    def preactivations(self, own: np.ndarray, kappa: np.ndarray) -> np.ndarray:
        """Return the noise preactivations V, shape `(C, 2, M, 2m)`."""
        V = np.empty_like(own)
        for one, signal, target in zip(own, kappa, V, strict=True):
            population_preactivations(self.law, self.start._replace(own=one, kappa=signal), target)
        return V

    def test_errors(
        self, K: np.ndarray, u: np.ndarray, scale: float, points: np.ndarray, lattices: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the test errors of networks and the standard errors of their quadrature, each of shape `(C,)`."""
        found = [test_error(*one, self.law.signal2, scale, points, lattices, 1.0) for one in zip(K, u, strict=True)]
        errors, of_quadrature = np.array(found).T
        return errors, of_quadrature


@compiled
def advance_population(law: Constants, population: Population, plan: EpochPlan, first: int, last: int) -> None:
    """Take epochs `first` to `last - 1` in place.

    A batch of B samples with mean residual `<r>` adds `eta |phi|^2 (B / 2) <r>` to the signal learned from its set: a
    neuron learns signal from the samples of its own label, half of the batch.
    """
    own, kappa = population.own, population.kappa
    V, near = np.empty(own.shape), np.zeros(own.shape)
    pull, pull_near = np.empty(own.shape[:2]), np.zeros(own.shape[:2])
    for substep in range(first * plan.substeps, last * plan.substeps):
        population_preactivations(law, population, V)
        _residuals(law, plan, V, kappa[0] + kappa[1], pull)
        s = plan.sharpness if plan.rho > 0.0 else 0.0
        if s != 0.0:
            _perturb_population(law, population, plan, (V, pull), (near, pull_near, substep))
        pulls, places = ((1.0 - s) * pull, s * pull_near), (V, near)
        for part in range(2):
            mean = _move_cohort(law, population, plan, (part, substep), (pulls, places))
            kappa[part] += law.eta * law.signal2 / 2 * plan.steps * plan.batch[part] * mean


@inlined
def _move_cohort(law, population, plan, which, forces):
    """Move the noise of the current cohort by gradients at W and at `W + eps`; return its mean pull."""
    own, (part, substep), ((plain, perturbed), (V, near)) = population.own, which, forces
    rate = law.eta * law.noise_patches * law.D * plan.visits[part]
    m, total, moved = own.shape[2] // 2, 0.0, 0
    for i in range(substep % plan.cohorts[part], own.shape[1], plan.cohorts[part]):
        total += plain[part, i] + perturbed[part, i]
        moved += 1
        for a in range(2 * m):
            force = plain[part, i] * (V[part, i, a] > 0.0) + perturbed[part, i] * (near[part, i, a] > 0.0)
            own[part, i, a] += rate * force * (1.0 if a < m else -1.0)
    return total / moved


@compiled
def population_preactivations(law: Constants, population: Population, V: np.ndarray) -> None:
    """Write the noise preactivations V, shape `(2, M, 2m)`, of the equation at the head of this file."""
    V0, own = population.V0, population.own
    amplitudes, overlap = _crosstalk(law, V0, own)
    for part in range(2):
        for i in range(own.shape[1]):
            for a in range(own.shape[2]):
                V[part, i, a] = own[part, i, a]
    for part in range(2):
        widths = amplitudes.copy()
        for b in range(4):  # a sample is not in its own cavity field; within F overlaps are followed one by one
            others = law.counts[b // 2] - (1.0 if b // 2 == part else 0.0)
            followed = b // 2 == part == 1 and population.overlaps.size > 0
            for kind in range(2):
                widths[b, kind] *= 0.0 if followed else np.sqrt(others)
        _add_cavity_field(
            V[part], population, part, widths, 1.0 + overlap[0] * law.counts[0] + overlap[1] * law.counts[1]
        )
    _add_forget_set_field(V[1], population)
    lost = _onsager_reaction(law, population, V)
    for part in range(2):
        for i in range(own.shape[1]):
            for a in range(own.shape[2]):
                V[part, i, a] -= lost * own[part, i, a]


@apart
def _add_cavity_field(target, population, part, amplitudes, overlap):
    """Add `overlap V0` and the cavity fields of the four blocks to the samples of R or F."""
    V0, cavity, shared = population.V0, population.cavity, population.shared
    m = V0.shape[2] // 2
    (c0, s0), (c1, s1), (c2, s2), (c3, s3) = amplitudes[0], amplitudes[1], amplitudes[2], amplitudes[3]
    for i in range(V0.shape[1]):
        for half in range(2):
            common = (s0 * shared[0, part, i, half] + s1 * shared[1, part, i, half]
                      + s2 * shared[2, part, i, half] + s3 * shared[3, part, i, half])  # fmt: skip
            for a in range(half * m, half * m + m):
                alone = (c0 * cavity[0, part, i, a] + c1 * cavity[1, part, i, a]
                        + c2 * cavity[2, part, i, a] + c3 * cavity[3, part, i, a])  # fmt: skip
                target[i, a] += overlap * V0[part, i, a] + common + alone


@inlined
def _add_forget_set_field(target, population):
    """Add `sum_k own_k <xi_k, xi_i> / D` over the other samples of a representative forget set."""
    own, overlaps, labels = population.own, population.overlaps, population.labels
    size, neurons = overlaps.shape[1], own.shape[2]
    m = neurons // 2
    for i in range(own.shape[1] if size > 1 else 0):
        first = i // size * size
        for k in range(size):
            # a neuron that matches one label opposes the other: the halves swap
            away = 0 if labels[i] == labels[first + k] else m
            overlap = overlaps[i, k]
            for a in range(m):
                target[i, a] += overlap * own[1, first + k, a + away]
                target[i, a + m] += overlap * own[1, first + k, a + m - away]


@apart
def _crosstalk(law, V0, x):
    """Return the effect of x on another sample, for one sample of each block: amplitudes `(4, 2)` and overlaps `(2,)`.

    Amplitudes (of a neuron alone, and shared by the neurons of its sign) grow with the root of a block's number of
    samples, overlaps with the number itself. The factors 2 appear because half of a set's samples match a neuron and
    half oppose it.
    """
    samples, m = x.shape[1], x.shape[2] // 2
    amplitudes, overlap = np.zeros((4, 2)), np.zeros(2)
    for b in range(4):
        part, half = b // 2, b % 2
        mean, square, pairs, along = 0.0, 0.0, 0.0, 0.0
        for i in range(samples):
            row = 0.0
            for a in range(half * m, half * m + m):
                value = x[part, i, a]
                row += value
                square += value * value
                along += value * V0[part, i, a]
            mean += row
            pairs += row * row
        if square > 0.0:
            correlation = min(1.0, max(0.0, (pairs - square) / ((m - 1) * square))) if m > 1 else 0.0
            size = np.sqrt(square / (samples * m) / (2 * law.d)) * (1.0 if mean > 0.0 else -1.0)
            amplitudes[b, 0] = size * np.sqrt(1.0 - correlation)
            amplitudes[b, 1] = size * np.sqrt(correlation)
        overlap[part] += along / (2 * samples * m) / (law.D * law.start)
    return amplitudes, overlap


@inlined
def _onsager_reaction(law, population, V):
    """Return the Onsager reaction: the share of its own push that a sample of R loses because those it helps yield.

    A margin grows by `x' = c / (1 + e^x)`. Let others add `x delta` to it. Its own part then becomes `x + eps`, with
    `d eps / dx = -(eps + x delta) e^x / (1 + e^x)` to first order. The factor `1 + e^x` integrates this to

        (1 + e^x) eps = -delta (x e^x - e^x + 1),    eps = -response x delta,

    `response = (x e^x - e^x + 1) / (x (1 + e^x))`: nothing at the start, all of it late.
    """
    own, kappa = population.own, population.kappa
    samples, m = own.shape[1], own.shape[2] // 2
    noise, moved = 0.0, 0.0
    for i in range(samples):
        for a in range(m):
            noise += max(V[0, i, a], 0.0) - max(V[0, i, a + m], 0.0)
            moved += own[0, i, a] != 0.0
    x = kappa[0] + kappa[1] + law.noise_patches * noise / (m * samples)
    x = min(max(x, 1e-6), 50.0)
    response = (x - 1.0 + np.exp(-x)) / (x * (1.0 + np.exp(-x)))
    return response * moved / (m * samples) * (law.counts[0] + law.counts[1]) / (2.0 * law.d)


@apart
def _residuals(law, plan, V, kappa, pull):
    """Write how hard each sample pulls its matching neurons up, `weight / (m (1 + e^f))`, shape `(2, M)`."""
    m = V.shape[2] // 2
    for part in range(2):
        sign = -1.0 if plan.flipped and part == 1 else 1.0
        for i in range(V.shape[1]):
            noise = 0.0
            for a in range(2 * m):
                noise += max(V[part, i, a], 0.0) * (1.0 if a < m else -1.0)
            margin = sign * (kappa + law.noise_patches * noise / m)
            pull[part, i] = plan.weights[part] / (m * (1.0 + np.exp(min(margin, EXPONENT_LIMIT))))


@inlined
def _perturb_population(law, population, plan, here, there):
    """Write preactivations and residuals at `W + rho g / |g|`; a set that has no part in it keeps its own.

    With residuals r_i of the batch and a_i active noise neurons of sample i,

        |g|^2 = (P-1)^2 D sum_i r_i^2 a_i + 2m |phi|^2 ((sum_i r_i / 2)^2 + sum_i r_i^2 / 4)

    Noise vectors are orthogonal to leading order, so that their squares add. A sample teaches a neuron signal if its
    label is the neuron's sign: with probability 1/2, of mean 1/2 and variance 1/4.

    Besides the sample itself, the other samples of a batch act on it as a cavity field. A share `B / N` of its variance
    is the same in every batch (the mean of the set); the rest is fresh in each batch.
    """
    (V, pull), (near, pull_near, substep) = here, there
    V0, kappa = population.V0, population.kappa
    samples, neurons = V0.shape[1], V0.shape[2]
    m = neurons // 2
    gradient, spread, norm2 = 0.0, 0.0, 0.0
    for part in range(2):
        share = plan.perturbed[part] * plan.batch[part] / samples
        for i in range(samples):
            active = 0.0
            for a in range(neurons):
                active += V[part, i, a] > 0.0
            gradient += share * pull[part, i] / 2
            spread += share * pull[part, i] ** 2 / 4
            norm2 += share * law.noise_patches**2 * law.D * pull[part, i] ** 2 * active
    norm2 += neurons * law.signal2 * (gradient**2 + spread)
    scale = plan.rho / np.sqrt(norm2) if norm2 > 0.0 else 0.0
    for part in range(2):
        for i in range(samples):
            move = -scale * plan.perturbed[part] * law.noise_patches * law.D * pull[part, i]
            for a in range(neurons):
                near[part, i, a] = move * (V[part, i, a] > 0.0) * (1.0 if a < m else -1.0)
    amplitudes, overlaps = _crosstalk(law, V0, near)
    alone, together, overlap = 0.0, 0.0, 0.0
    for b in range(4):
        part = b // 2
        batch, share = plan.batch[part], plan.batch[part] / law.counts[part]
        fresh = batch * max(1.0 - share, 0.0)
        alone += fresh * amplitudes[b, 0] ** 2
        together += fresh * amplitudes[b, 1] ** 2
        overlap += batch * overlaps[part] / 2
        for kind in range(2):
            amplitudes[b, kind] *= np.sqrt(batch * share)
    alone, together = np.sqrt(alone), np.sqrt(together)
    place, fresh_normals = substep * 7919, population.fresh
    for part in range(2):
        _add_cavity_field(near[part], population, part, amplitudes, overlap)
    for part in range(2):
        if plan.perturbed[part] == 0.0:
            for i in range(samples):
                for a in range(neurons):
                    near[part, i, a] = V[part, i, a]
            continue
        # samples that do not move in this substep need no fresh noise
        for i in range(substep % plan.cohorts[part], samples, plan.cohorts[part]):
            match, oppose = fresh_normals[place % FRESH], fresh_normals[(place + 1) % FRESH]
            for a in range(neurons):
                new = alone * fresh_normals[(place + a + 2) % FRESH] + together * (match if a < m else oppose)
                near[part, i, a] += V[part, i, a] + new
            place += neurons + 2
    _residuals(law, plan, near, kappa[0] + kappa[1] - scale * gradient * law.signal2, pull_near)
    for part in range(2):
        for i in range(samples if plan.perturbed[part] == 0.0 else 0):
            pull_near[part, i] = pull[part, i]
