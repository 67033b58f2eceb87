"""What each theorem states, as an expression up to its constant.

Public notes state the theorems without their constants, and exponents need none: a claim fits the exponent of its
measurements along an axis and compares it with the exponent of the expression along the same axis.
"""

import math

from theory.config import TheoryConfig

HARMFUL_TEST_ERROR = 0.1  # Theorem 3.2: below the boundary the test error is at least this
S_0 = 0.93  # strength at the boundary of SGD with a negligible start
OVERLAP = 0.6  # of learned weights of two neurons of one sign; in closed forms the share of active neurons


def sgd_boundary(setting: TheoryConfig) -> float:
    """Return the |phi| from which SGD overfits benignly, `d^(1/4) n^(-1/4) P sigma_p` times C1 (Theorem 3.2).

    Simulation agrees with P - 1, the number of noise patches, instead of P; the paper writes P.
    """
    return (setting.d / setting.n) ** 0.25 * setting.patches * setting.sigma_p


def sam_boundary(setting: TheoryConfig) -> float:
    """Return the |phi| from which SAM's test error is low, `Omega(1)`: a constant (Theorem 3.3)."""
    return 1.0


def signal_surplus(norm: float) -> float:
    """Return how much more retain signal SAM learns than SGD at |phi| = `norm`: `Theta(|phi|^2)` (Lemma 3.4)."""
    return norm**2


def alpha_gap(ratio: float) -> float:
    """Return the bound on how far the alpha thresholds of SGD and SAM lie apart at `ratio` = d / n (Lemma 3.4).

    `O(sqrt(d / n))`. As alpha is in [0, 1], the bound says nothing once it exceeds 1.
    """
    return math.sqrt(ratio)


def random_start_boundary(setting: TheoryConfig) -> float:
    """Return the |phi| at which SAM's test error crosses 0.1 while the loss is far from small.

    The signal must outgrow the noise of the random weights, not anything learned from noise:

        |phi|*^2 = 4 m 1.28 P1 sigma_p sigma_0 sqrt(d) sqrt((1 - 1/pi) / m) / (eta N),   N steps, P1 = P - 1,

    where 1.28 is the normal quantile of 0.9. It holds at fixed epochs; a network trained to a small loss is beyond it.
    """
    steps = setting.pretrain_epochs * -(-setting.n // setting.batch_size)
    scatter = (
        (setting.patches - 1) * setting.sigma_p * setting.sigma_0 * math.sqrt(setting.d * (1 - 1 / math.pi) / setting.m)
    )
    return math.sqrt(4 * setting.m * 1.28 * scatter / (setting.eta * steps)) if steps and setting.eta else float("nan")


def crossover_strength(ratio: float, m: int) -> float:
    """Return s* of SGD where the start adds its noise, `S_0 (1 + r^2 / (1 + (m - 1) a))^(1/4)`.

    The signal must outgrow the noise of a test output, `s*^2 ~ noise`. Learned weights of one sign overlap by a, so
    that m of them add up to `sqrt((1 + (m - 1) a) / m)` of one neuron's noise; those of the start to `1 / sqrt(m)`.

    Args:
        ratio: r, start noise over learned noise of a neuron, >= 0.
        m: neurons of each sign.
    """
    return S_0 * (1 + ratio**2 / (1 + (m - 1) * OVERLAP)) ** 0.25
