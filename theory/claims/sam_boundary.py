"""Theorem 3.3: with SAM the test error is low already for a signal of order one, whatever d is."""

from theory.bounds import SAM_BOUNDARY_IN_D
from theory.claims.boundary import D_AXIS, WIDE_AXIS, along, base_config
from theory.claims.finding import Claim, ClaimConfig, Finding, judge, spread
from theory.clocks import linear_clock, scaled_clock
from theory.stats import Estimate

FLAT = 0.05  # a boundary grows with d when its exponent exceeds this
CELLS = {
    "pretrained": {"epochs": 0},
    "unlearned, SAM 1": {"unlearn": "sam", "rho_scale": 1.0},
    "unlearned, SAM 0.1": {"unlearn": "sam", "rho_scale": 0.1},
    "unlearned, SGD": {"unlearn": "sgd"},
}
TRAINING = (30, 300)


def check(config: ClaimConfig) -> Finding:
    """Fit the boundary's exponent in d for SAM pretraining, and after 100 epochs of NegGrad; vary training time."""
    base = base_config(config, pretrain="sam")
    found = dict(zip(CELLS, along(base, list(CELLS.values()), D_AXIS), strict=True))
    for epochs in TRAINING:
        trained = base.changed(pretrain_epochs=epochs)
        found[f"pretrained, {epochs} epochs"] = along(trained, [{"epochs": 0}], D_AXIS[::2])[0]
    for name, clock in {"sqrt(d)": scaled_clock, "d": linear_clock}.items():
        stage = f"pretrained, eta ~ 1/d, epochs ~ {name}, d to 64000"
        found[stage] = along(base, [{"epochs": 0}], WIDE_AXIS, clock=clock)[0]
    exponents = {stage: boundary.exponent(config) for stage, boundary in found.items()}
    rows = [found[stage].row(stage=stage, along="d") | spread("exponent", exponents[stage]) for stage in found]
    parts = {f"the boundary does not grow with d, {stage} ({_text(value)})": _flat(value)
             for stage, value in exponents.items()}  # fmt: skip
    return judge(parts, exponents["pretrained"], rows)


def _flat(exponent: Estimate) -> bool:
    return exponent.value is not None and exponent.value <= SAM_BOUNDARY_IN_D + FLAT


def _text(exponent: Estimate) -> str:
    return "off the grid" if exponent.value is None else f"exponent {exponent.value:.3f}"


CLAIM = Claim(
    "Theorem 3.3: boundary of SAM",
    "low test error already for |phi| >= Omega(1), given enough retain signal",
    "slope of log |phi*| (test error 0.1) on log d, SAM-pretrained network",
    check,
)
