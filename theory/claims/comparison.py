"""Rules compared after the same epochs and at the same forget error: SAM, random labels and Sharp MinMax against SGD.

The three claims are one analysis of three tables: which rules run in which settings, and which differences decide.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from theory.claims.claim import Claim, Finding, Grid, Part, Runs, judge, shown
from theory.config import ClaimConfig, TheoryConfig
from theory.engine import Trajectory
from theory.predict import ends
from theory.stats import Estimate, mean_interval, share_interval

FORGET_LEVEL = 0.5  # a forget error no retrained model exceeds here; see the oracle gap beside it
PATIENCE = 1000  # epochs after which a rule counts as not forgetting
MATCHED = ("epochs", "forgetting")
Table = dict[TheoryConfig, Sequence[str]]  # setting to the rules run in it, SGD among them
Decide = Callable[[Runs], Part]  # from the runs to what was measured and where the claim says it lies
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
    """Return two rows a rule, at matched epochs and at matched forgetting: errors, oracle gap, difference to SGD.

    Both errors as predicted without simulating stand beside them, where the prediction was held against simulation.
    """
    labels = {name: getattr(cell, name) for name in ("pretrain", "signal_strength", "alpha", "method")}
    if cell.mask_fraction != TheoryConfig.mask_fraction:
        labels["mask_fraction"] = cell.mask_fraction
    predicted = ends(list(compared_cells(cell, rules).values()))
    return [labels | {"rule": rule} | _row(runs, cell, rule, matched) | _predicted(predicted, runs[cell, rule, matched])
            for matched in MATCHED for rule in rules]  # fmt: skip


def _predicted(predicted: Mapping[TheoryConfig, Mapping[str, float]], run: Trajectory) -> dict[str, float | None]:
    names = ("predicted_test_error", "predicted_forget_error")
    values = predicted.get(run.config, {})
    return {name: values[name] if np.isfinite(values[name]) else None for name in names if name in values}


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
        headline: the part of the typical setting, whose difference to SGD stands for the claim.
        parts: from a part of the claim, in words, to what the runs say of it.
        sentence: what may be quoted, with the name of a part in braces for its number.
        late: single cells beside the comparisons, by method; a row each shows how far the forget loss went.
    """

    settings: Table
    headline: str
    parts: Mapping[str, Decide]
    sentence: str
    late: Mapping[str, TheoryConfig] = field(default_factory=dict)

    def grid(self, runs: Runs) -> Grid:
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
        parts = {name: decide(runs) for name, decide in self.parts.items()}
        sentence = self.sentence
        for name, part in parts.items():
            sentence = sentence.replace(f"{{{name}}}", shown(part.estimate))
        return judge(parts, self.headline, config, rows=rows, sentence=sentence)


def lower(cell: TheoryConfig, rule: str, matched: str = "forgetting") -> Decide:
    """Return the part that a rule's test error lies below SGD's: the paired difference is claimed to be at most 0."""
    return lambda runs: Part(minus_sgd(runs, cell, rule, matched), high=0.0, why="too few forget")


def higher(cell: TheoryConfig, rule: str, matched: str = "forgetting") -> Decide:
    """Return the part that a rule's test error lies above SGD's: the paired difference is claimed to be at least 0."""
    return lambda runs: Part(minus_sgd(runs, cell, rule, matched), low=0.0, why="too few forget")


def _sam_against_sgd() -> Comparison:
    """SGD, SAM at 0.1 and 1 rho_th and retain-only SAM from both pretrainings, over strengths and alphas."""
    rules, parts = ("SGD", "SAM 0.1", "SAM 1", "retain-only SAM 0.1"), {}
    settings: Table = {}
    for pretrain in ("sgd", "sam"):
        for s in (0.25, 0.5, 1.0, 2.0):
            cell = TheoryConfig(pretrain=pretrain, signal_strength=s)
            settings[cell] = rules
            for matched in MATCHED:
                parts[f"matched {matched}, {pretrain}, s = {s:g}"] = lower(cell, "SAM 0.1", matched)
    for alpha in (0.5, 0.7, 0.8, 0.95):
        cell = TheoryConfig(pretrain="sam", alpha=alpha)
        settings[cell] = ("SGD", "SAM 0.1", "retain-only SAM 0.1")
        parts[f"matched forgetting, sam, s = 0.5, alpha = {alpha}"] = lower(cell, "SAM 0.1")
    sentence = (
        "At equal forgetting the test error of SAM at a tenth of rho_th minus that of SGD is "
        "{matched forgetting, sam, s = 0.5} after SAM pretraining and {matched forgetting, sgd, s = 0.5} after SGD "
        "(s = .5, alpha = .9); after SAM pretraining it is {matched forgetting, sam, s = 0.5, alpha = 0.5} at "
        "alpha = .5 and {matched forgetting, sam, s = 0.5, alpha = 0.95} at .95. At equal epochs it is "
        "{matched epochs, sam, s = 0.5} and {matched epochs, sgd, s = 0.5}, with less forgotten."
    )
    return Comparison(settings, "matched forgetting, sgd, s = 0.5", parts, sentence)


def _random_labels() -> Comparison:
    """The rules under random labels (alpha = 0.7), and the growth of the forget loss beside that of NegGrad."""
    base = TheoryConfig(alpha=0.7, epochs=100, method="random_label")
    settings: Table = {base.changed(pretrain=pretrain, signal_strength=s): ("SGD", "SAM 0.1", "SAM 1")
                for pretrain in ("sgd", "sam") for s in (0.5, 1.0)}  # fmt: skip
    parts = {f"matched {matched}, {cell.pretrain}, s = {cell.signal_strength:g}": lower(cell, "SAM 0.1", matched)
             for cell in settings for matched in MATCHED}  # fmt: skip
    parts["forget loss minus that of NegGrad, both by SGD"] = _limits_itself
    late = {method: base.changed(method=method, epochs=PATIENCE) for method in ("random_label", "neggrad")}
    sentence = (
        "With flipped labels the forget loss minus that of NegGrad is {forget loss minus that of NegGrad, both by SGD} "
        "after 1000 epochs of SGD; the test error of SAM minus that of SGD at equal forgetting is "
        "{matched forgetting, sam, s = 0.5} after SAM pretraining and {matched forgetting, sgd, s = 0.5} after SGD."
    )
    return Comparison(settings, "matched forgetting, sgd, s = 0.5", parts, sentence, late)


def _limits_itself(runs: Runs) -> Part:
    difference = runs["random_label"].final("forget_loss") - runs["neggrad"].final("forget_loss")
    return Part(mean_interval(difference), high=0.0)


def _sharp_minmax() -> Comparison:
    """Sharp MinMax beside SGD, SAM and sharpness maximization alone, over strengths, pretrainings and mask sizes."""
    rules = ("SGD", "SAM 0.1", "MinMax 0.1", "MinMax 0.1, fixed mask", "sharpness maximization 0.1")
    settings: Table = {TheoryConfig(pretrain=pretrain, signal_strength=s): rules
                for pretrain in ("sgd", "sam") for s in (0.5, 1.0, 2.0)}  # fmt: skip
    main, parts = TheoryConfig(pretrain="sam"), {}
    for cell in settings:
        at = f"{cell.pretrain}, s = {cell.signal_strength:g}"
        parts[f"MinMax below SGD, {at}"] = lower(cell, "MinMax 0.1")
        parts[f"sharpness maximization alone above SGD, {at}"] = higher(cell, "sharpness maximization 0.1")
    fixed = (main, "MinMax 0.1, fixed mask", "forgetting")
    parts["a mask fixed at the start forgets (most seeds), sam, s = 0.5"] = lambda runs: Part(
        share_interval(runs[fixed].reached), low=0.5
    )
    for fraction in (0.25, 0.75):
        cell = main.changed(mask_fraction=fraction)
        settings[cell] = ("SGD", "MinMax 0.1")
        parts[f"MinMax below SGD, sam, s = 0.5, mask of {fraction:.0%}"] = lower(cell, "MinMax 0.1")
    sentence = (
        "At equal forgetting the test error of Sharp MinMax (mask of half the neurons, renewed every five epochs) "
        "minus that of SGD is {MinMax below SGD, sam, s = 0.5} after SAM pretraining and "
        "{MinMax below SGD, sgd, s = 0.5} after SGD; with a mask fixed at the start a share "
        "{a mask fixed at the start forgets (most seeds), sam, s = 0.5} of the seeds ever forgets."
    )
    return Comparison(settings, "MinMax below SGD, sgd, s = 0.5", parts, sentence)


SAM, RANDOM_LABELS, SHARP_MINMAX = _sam_against_sgd(), _random_labels(), _sharp_minmax()
CLAIMS = {
    "theorem-3.3-matched-forgetting": Claim(
        "SAM unlearning against SGD unlearning",
        "SAM improves unlearning, as pretraining and as unlearning rule",
        "test error of SAM (0.1 rho_th) minus SGD at forget error 0.5, same seeds, SGD-pretrained, s = 0.5, "
        "alpha = 0.9",
        "What is matched and how the model was trained: at equal epochs SAM wins by forgetting less; at equal "
        "forgetting it wins after SAM pretraining at alpha >= .8 only.",
        SAM.grid, SAM.analyse, oracle=True,
    ),
    "random-labels": Claim(
        "Random labels",
        "the same analysis with forget labels flipped",
        "test error of SAM (0.1 rho_th) minus SGD at forget error 0.5 under random labels, SGD-pretrained, s = 0.5",
        "Matched epochs after SAM pretraining, where SAM flips fewer labels and so harms less.",
        RANDOM_LABELS.grid, RANDOM_LABELS.analyse, oracle=True,
    ),
    "sharp-minmax": Claim(
        "Sharp MinMax",
        "the forget part needs a stronger signal than SGD to avoid harmful overfitting; overfitting to F helps "
        "sample-level unlearning",
        "test error of Sharp MinMax (0.1 rho_th, mask of half the neurons, refreshed every 5 epochs) minus SGD at "
        "forget error 0.5, SGD-pretrained, s = 0.5",
        "The pretraining, the size of the mask and when it is drawn: fixed at the start it does not forget.",
        SHARP_MINMAX.grid, SHARP_MINMAX.analyse, oracle=True,
    ),
}  # fmt: skip
