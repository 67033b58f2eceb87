"""Exact Gram-space simulation of the paper's theory: float64, any dimension, no explicit weights.

The model. Sample i has the label `y_i = +-1` and P patches: the signal patch `y_i phi`, and P - 1 noise patches. The
noise patches repeat one vector `xi_i ~ N(0, sigma_p^2 I_d)`, or have a vector each. Noise may be orthogonal to the
signal. The network has m neurons of each sign `j_a = +-1`. Only their weights are trained, from `w0_a ~ N(0, sigma_0^2
I_d)`:

    f(x) = (1/m) sum_a j_a sum_patches relu(<w_a, patch>)^q,    loss log(1 + exp(-y f)),    q = 1 by default

Pretraining fits all samples. Unlearning then keeps the retain set R and forgets the forget set F. It is compared with
retraining, on R alone. A setting may flip training labels, and may turn the signal of F away from the signal of R.

Read `draw` (data and initial weights as inner products), `training` (batches and rules), `steps` (the equations and the
step, compiled and in numpy), `measures` (metrics and the exact test error), and `engine` (a whole run). `predict` uses
`mean_field` instead of a simulation; `checks` says how near that is. `claims` holds the paper's statements. The files
share these names:

    u, V    preactivations: of signals and of noise       p, q     coefficients of signals and of noise vectors
    gp, gq  the gradient in these coefficients            du, dV   its image: how u and V move along it
    near    at the perturbed weights `W + eps`            share    the coefficient s of the initial weights
    side    0 for R, 1 for F                              part     of a batch, where m-sharpness splits it

As an exponent, q is the power of the activation.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "TheoryConfig": "theory.config",
    "Trajectory": "theory.engine",
    "simulate": "theory.engine",
    "run_study": "theory.study",
    "summarize": "theory.study",
}
__all__ = ["TheoryConfig", "Trajectory", "run_study", "simulate", "summarize"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'theory' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
