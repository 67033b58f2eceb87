"""What each theorem states, as expressions.

Public notes word the theorems without their constants, so each function takes its
constant as an argument; claims fit exponents, which need none.
"""

import math

# Exponents that the claims fit.
SGD_BOUNDARY_IN_D = 0.25
SGD_BOUNDARY_IN_N = -0.25
SAM_BOUNDARY_IN_D = 0.0
SURPLUS_IN_NORM = 2.0
ALPHA_GAP_IN_RATIO = 0.5
HARMFUL_TEST_ERROR = 0.1  # Theorem 3.2: below the boundary the test error is at least this


def sgd_boundary(d: int, n: int, patches: int, sigma_p: float, *, constant: float) -> float:
    """Return the |phi| from which SGD overfits benignly, `C1 d^(1/4) n^(-1/4) P sigma_p` (Theorem 3.2).

    Simulation agrees with (P - 1) in the place of P, which is the number of noise patches; the paper writes P.

    Args:
        d: dimension of a patch.
        n: training samples.
        patches: P.
        sigma_p: noise standard deviation, input units.
        constant: C1.
    """
    return constant * d**SGD_BOUNDARY_IN_D * n**SGD_BOUNDARY_IN_N * patches * sigma_p


def sam_boundary(*, constant: float) -> float:
    """Return the |phi| from which SAM's test error is low, `Omega(1)`: a constant, whatever d and n (Theorem 3.3)."""
    return constant


def signal_surplus(norm: float, *, constant: float) -> float:
    """Return the retain signal SAM learns faster than SGD, `Theta(|phi|^2)` (Lemma 3.4).

    Args:
        norm: |phi|, input units.
        constant: the factor of Theta.
    """
    return constant * norm**SURPLUS_IN_NORM


def alpha_gap(d: int, n: int, *, constant: float) -> float:
    """Return the bound on how far the alpha thresholds of SGD and SAM lie apart, `O(sqrt(d / n))` (Lemma 3.4).

    As alpha is in [0, 1], the bound says nothing once it exceeds 1.

    Args:
        d: dimension of a patch.
        n: training samples.
        constant: the factor of O.
    """
    return constant * math.sqrt(d / n)


def stays_active(side: str) -> bool:
    """Return whether noise neurons with `j = y` of "retain" or "forget" samples survive the SAM perturbation.

    Lemma 3.1: `1[<w, xi_i> > 0]` becomes 0 at `W + eps` for i in R and stays 1 for i in F under NegGrad.
    """
    return {"retain": False, "forget": True}[side]
