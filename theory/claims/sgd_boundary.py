"""Theorem 3.2: SGD overfits benignly iff the signal exceeds a multiple of d^(1/4) n^(-1/4) P sigma_p."""

from theory.bounds import SGD_BOUNDARY_IN_D, SGD_BOUNDARY_IN_N
from theory.claims.boundary import D_AXIS, along, base_config
from theory.claims.finding import Claim, ClaimConfig, Finding, judge, spread
from theory.stats import Estimate

N_AXIS = [{"n": n, "n_forget": n // 5, "d": 16000} for n in (20, 40, 80, 160)]
TOLERANCE = 0.05  # an exponent counts as 1/4 within this distance


def check(config: ClaimConfig) -> Finding:
    """Fit the boundary's exponent in d before unlearning and after 30 and 100 epochs of SGD NegGrad, and in n."""
    base = base_config(config, pretrain="sgd", unlearn="sgd")
    cells = {"pretrained": {"epochs": 0}, "unlearned, 30 epochs": {"epochs": 30}, "unlearned, 100 epochs": {}}
    found = dict(zip(cells, along(base, list(cells.values()), D_AXIS), strict=True))
    counts = along(base, [{"epochs": 0}], N_AXIS)[0]
    exponents = {stage: boundary.exponent(config) for stage, boundary in found.items()}
    in_n = counts.exponent(config)
    rows = [found[stage].row(stage=stage, along="d") | spread("exponent", exponents[stage]) for stage in cells]
    rows.append(counts.row(stage="pretrained", along="n", d=16000) | spread("exponent", in_n))
    parts = {f"exponent of d is 1/4, {stage} ({_text(value)})": _near(value, SGD_BOUNDARY_IN_D)
             for stage, value in exponents.items()}  # fmt: skip
    parts[f"exponent of n is -1/4, pretrained ({_text(in_n)})"] = _near(in_n, SGD_BOUNDARY_IN_N)
    return judge(parts, exponents["pretrained"], rows)


def _near(exponent: Estimate, target: float) -> bool:
    return exponent.value is not None and abs(exponent.value - target) <= TOLERANCE


def _text(exponent: Estimate) -> str:
    return "off the grid" if exponent.value is None else f"{exponent.value:.3f}"


CLAIM = Claim(
    "Theorem 3.2: boundary of SGD",
    "benign overfitting iff |phi| >= C1 d^(1/4) n^(-1/4) P sigma_p, else test error >= 0.1",
    "slope of log |phi*| (test error 0.1) on log d, SGD-pretrained network",
    check,
)
