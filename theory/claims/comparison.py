"""Rules compared after the same epochs and at the same forget error: SAM, random labels and Sharp MinMax against SGD.

The three claims are one analysis of three tables: which rules run in which settings, and which differences decide.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from theory.claims.claim import Claim, Finding, Grid, Runs, judge
from theory.config import ClaimConfig, TheoryConfig
from theory.stats import Estimate, mean_interval

FORGET_LEVEL = 0.5  # a forget error no retrained model exceeds here; see the oracle gap beside it
PATIENCE = 1000  # epochs after which a rule counts as not forgetting
MATCHED = ("epochs", "forgetting")
Table = dict[TheoryConfig, Sequence[str]]  # setting to the rules run in it, SGD among them
Part = Callable[[Runs], bool]  # whether the runs bear a part of a claim out
# Rule, radius in units of rho_th.
RULES = {
    "SGD": {"unlearn": "sgd"},
    "SAM 0.1": {"unlearn": "sam", "rho_scale": 0.1},
    "SAM 1": {"unlearn": "sam", "rho_scale": 1.0},
    "sharpness maximization 0.1": {"unlearn": "sharpen", "rho_scale": 0.1},
    "retain-only SAM 0.1": {"unlearn": "retain_sam", "rho_scale": 0.1},
    "MinMax 0.1": {"unlearn": "minmax", "rho_scale": 0.1},
    "MinMax 0.1, fixed mask": {"unlearn": "minmax", "rho_scale": 0.1, "mask_refresh": 0},
}


def until_forgotten(cell: TheoryConfig) -> TheoryConfig:
    """Return a cell that stops at the first checkpoint whose forget error reaches the level."""
    return cell.changed(epochs=PATIENCE, stop_forget_error=FORGET_LEVEL)


def compared_cells(cell: TheoryConfig, rules: Sequence[str]) -> Grid:
    """Return each rule in one setting, after its epochs and until forgotten, named (setting, rule, what is matched)."""
    cells: Grid = {}
    for rule in rules:
        changed = cell.changed(**RULES[rule])
        cells |= {(cell, rule, "epochs"): changed, (cell, rule, "forgetting"): until_forgotten(changed)}
    return cells


def minus_sgd(runs: Runs, cell: TheoryConfig, rule: str, matched: str) -> Estimate:
    """Return the paired difference of a rule's test error to SGD's, over the seeds both have."""
    ours, sgd = (runs[cell, name, matched].final("test_error", matched=matched == "forgetting")
                 for name in (rule, "SGD"))  # fmt: skip
    return mean_interval(ours - sgd)


def compare(runs: Runs, cell: TheoryConfig, rules: Sequence[str]) -> list[dict]:
    """Return two rows a rule, at matched epochs and at matched forgetting: errors, oracle gap, difference to SGD."""
    labels = {name: getattr(cell, name) for name in ("pretrain", "signal_strength", "alpha", "method")}
    if cell.mask_fraction != TheoryConfig.mask_fraction:
        labels["mask_fraction"] = cell.mask_fraction
    return [labels | {"rule": rule} | _row(runs, cell, rule, matched) for matched in MATCHED for rule in rules]


def _row(runs: Runs, cell: TheoryConfig, rule: str, matched: str) -> dict:
    run, stops = runs[cell, rule, matched], matched == "forgetting"
    test, forget = (mean_interval(run.final(name, matched=stops)) for name in ("test_error", "forget_error"))
    paired = minus_sgd(runs, cell, rule, matched)
    row = {"matched": matched, "test_error": test.value, "test_error_low": test.low, "test_error_high": test.high}
    gap = mean_interval(run.oracle_gap("forget_error", matched=stops))
    row |= {"forget_error": forget.value, "oracle_gap": gap.value}
    row |= {"minus_sgd": paired.value, "minus_sgd_low": paired.low, "minus_sgd_high": paired.high}
    if stops:
        row |= {"reached": float(run.reached.mean()), "epochs": mean_interval(run.epochs_needed).value}
    return row


@dataclass(frozen=True)
class Comparison:
    """A table of comparisons and what it decides.

    Attributes:
        settings: setting to the rules run in it, SGD among them.
        headline: the setting and rule whose difference to SGD at matched forgetting stands for the claim.
        parts: from a part of the claim, in words, to whether the runs bear it out.
        late: single cells beside the comparisons, by method; a row each shows how far the forget loss went.
    """

    settings: Table
    headline: tuple[TheoryConfig, str]
    parts: Mapping[str, Part]
    late: Mapping[str, TheoryConfig] = field(default_factory=dict)

    def grid(self) -> Grid:
        """Return every rule of every setting, matched both ways, and the late cells by their method."""
        cells: Grid = dict(self.late)
        for cell, rules in self.settings.items():
            cells |= compared_cells(cell, rules)
        return cells

    def analyse(self, runs: Runs, config: ClaimConfig) -> Finding:
        """Decide every part; the table shows both ways of matching side by side."""
        rows = [row for cell, rules in self.settings.items() for row in compare(runs, cell, rules)]
        for method, cell in self.late.items():
            row = {"pretrain": cell.pretrain, "rule": "SGD", "method": method, "epochs": cell.epochs}
            metrics = ("forget_loss", "test_error", "forget_error")
            rows.append(row | {name: mean_interval(runs[method].final(name)).value for name in metrics})
        estimate = minus_sgd(runs, *self.headline, "forgetting")
        return judge({part: decide(runs) for part, decide in self.parts.items()}, estimate, rows)


def lower(cell: TheoryConfig, rule: str, matched: str = "forgetting") -> Part:
    """Return the part that a rule's test error lies below SGD's, by the whole interval of the paired difference."""
    return lambda runs: minus_sgd(runs, cell, rule, matched).below(0.0)


def higher(cell: TheoryConfig, rule: str, matched: str = "forgetting") -> Part:
    """Return the part that a rule's test error lies above SGD's, by the whole interval of the paired difference."""
    return lambda runs: minus_sgd(runs, cell, rule, matched).above(0.0)


def _sam_against_sgd() -> Comparison:
    """SGD, SAM at 0.1 and 1 rho_th and retain-only SAM from both pretrainings, over strengths and alphas."""
    rules = ("SGD", "SAM 0.1", "SAM 1", "retain-only SAM 0.1")
    settings: Table = {TheoryConfig(pretrain=pretrain, signal_strength=s): rules
                for pretrain in ("sam", "sgd") for s in (0.25, 0.5, 1.0, 2.0)}  # fmt: skip
    parts = {f"SAM 0.1 at matched {matched}, pretrained {pretrain}, s = 0.5":
             lower(TheoryConfig(pretrain=pretrain), "SAM 0.1", matched)
             for pretrain in ("sam", "sgd") for matched in MATCHED}  # fmt: skip
    for alpha in (0.5, 0.7, 0.8, 0.95):
        cell = TheoryConfig(pretrain="sam", alpha=alpha)
        settings[cell] = ("SGD", "SAM 0.1", "retain-only SAM 0.1")
        parts[f"SAM 0.1 at matched forgetting, pretrained sam, s = 0.5, alpha = {alpha}"] = lower(cell, "SAM 0.1")
    return Comparison(settings, (TheoryConfig(pretrain="sam"), "SAM 0.1"), parts)


def _random_labels() -> Comparison:
    """The rules under random labels (alpha = 0.7), and the growth of the forget loss beside that of NegGrad."""
    base = TheoryConfig(alpha=0.7, epochs=100, method="random_label")
    settings: Table = {base.changed(pretrain=pretrain, signal_strength=s): ("SGD", "SAM 0.1", "SAM 1")
                for pretrain in ("sam", "sgd") for s in (0.5, 1.0)}  # fmt: skip
    parts = {f"SAM 0.1 has lower test error than SGD, matched {matched}, pretrained {pretrain}":
             lower(base.changed(pretrain=pretrain), "SAM 0.1", matched)
             for pretrain in ("sam", "sgd") for matched in MATCHED}  # fmt: skip
    parts["the forget loss limits itself, unlike that of NegGrad"] = _limits_itself
    late = {method: base.changed(method=method, epochs=PATIENCE) for method in ("random_label", "neggrad")}
    return Comparison(settings, (base.changed(pretrain="sam"), "SAM 0.1"), parts, late)


def _limits_itself(runs: Runs) -> bool:
    flipped, ascended = (mean_interval(runs[method].final("forget_loss")) for method in ("random_label", "neggrad"))
    return flipped.below(ascended.value or 0.0)


def _sharp_minmax() -> Comparison:
    """Sharp MinMax beside SGD, SAM and sharpness maximization alone, over strengths, pretrainings and mask sizes."""
    rules = ("SGD", "SAM 0.1", "MinMax 0.1", "MinMax 0.1, fixed mask", "sharpness maximization 0.1")
    settings: Table = {TheoryConfig(pretrain=pretrain, signal_strength=s): rules
                for pretrain in ("sam", "sgd") for s in (0.5, 1.0, 2.0)}  # fmt: skip
    main, parts = TheoryConfig(pretrain="sam"), {}
    for cell in (main, TheoryConfig(pretrain="sgd")):
        at = f"pretrained {cell.pretrain}"
        parts[f"lower test error than SGD at matched forgetting, {at}, s = 0.5"] = lower(cell, "MinMax 0.1")
        for matched in MATCHED:
            part = f"sharpness maximization alone harms test error, matched {matched}, {at}"
            parts[part] = higher(cell, "sharpness maximization 0.1", matched)
    fixed = (main, "MinMax 0.1, fixed mask", "forgetting")
    parts["a mask fixed at the start forgets (90 % of seeds), pretrained sam"] = lambda runs: bool(
        runs[fixed].reached.mean() >= 0.9
    )
    for fraction in (0.25, 0.75):
        cell = main.changed(mask_fraction=fraction)
        settings[cell] = ("SGD", "MinMax 0.1")
        parts[f"lower test error than SGD with a mask of {fraction:.0%}, pretrained sam"] = lower(cell, "MinMax 0.1")
    return Comparison(settings, (main, "MinMax 0.1"), parts)


SAM, RANDOM_LABELS, SHARP_MINMAX = _sam_against_sgd(), _random_labels(), _sharp_minmax()
CLAIMS = {
    "theorem-3.3-matched-forgetting": Claim(
        "SAM unlearning against SGD unlearning",
        "SAM improves unlearning, as pretraining and as unlearning rule",
        "test error of SAM (0.1 rho_th) minus SGD at forget error 0.5, same seeds, SAM-pretrained, s = 0.5, "
        "alpha = 0.9",
        SAM.grid, SAM.analyse,
    ),
    "random-labels": Claim(
        "Random labels",
        "the same analysis with forget labels flipped",
        "test error of SAM (0.1 rho_th) minus SGD at forget error 0.5 under random labels, SAM-pretrained, s = 0.5",
        RANDOM_LABELS.grid, RANDOM_LABELS.analyse,
    ),
    "sharp-minmax": Claim(
        "Sharp MinMax",
        "the forget part needs a stronger signal than SGD to avoid harmful overfitting; overfitting to F helps "
        "sample-level unlearning",
        "test error of Sharp MinMax (0.1 rho_th, mask of half the neurons, refreshed every 5 epochs) minus SGD at "
        "forget error 0.5, SAM-pretrained, s = 0.5",
        SHARP_MINMAX.grid, SHARP_MINMAX.analyse,
    ),
}  # fmt: skip
