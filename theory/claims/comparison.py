"""Rules compared at equal forgetting, and after the same epochs: SAM and Sharp MinMax against SGD.

At equal forgetting two things are compared: the test error in one setting, and the boundary s* at which it crosses 0.1.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from theory.claims.boundary import BASE, Axis, Boundaries, forgotten
from theory.claims.claim import ClaimResult, Grid, Part, Runs, TheoryClaim, judge, over_seeds, shown, spread
from theory.config import ClaimConfig, TheoryConfig
from theory.engine import Trajectory
from theory.predict import ends
from theory.stats import NOTHING, Estimate, mean_interval, share_interval

FORGET_LEVEL = 0.5  # beyond the forget error of a model retrained on R at s >= .25: over-forgetting, which rows show
PATIENCE = 1000  # epochs after which a rule counts as not forgetting
MATCHED = ("epochs", "forgetting")
MARGIN = 0.01  # difference in test error, or in s*, that counts as none
RulesBySetting = dict[TheoryConfig, Sequence[str]]  # setting to the rules run in it, SGD among them
Decide = Callable[[Runs, ClaimConfig], Part]  # from the runs to what was measured and where the claim says it lies
# Rule, radius in units of rho_th.
RULES = {
    "SGD": {"unlearn": "sgd"},
    "SAM 0.1": {"unlearn": "sam", "rho_scale": 0.1},
    "SAM 1": {"unlearn": "sam", "rho_scale": 1.0},
    "ASAM 0.1": {"unlearn": "asam", "rho_scale": 0.1},
    "sharpness maximization 0.1": {"unlearn": "sharpen", "rho_scale": 0.1},
    "sharpness maximization 1": {"unlearn": "sharpen", "rho_scale": 1.0},
    "retain-only SAM 0.1": {"unlearn": "retain_sam", "rho_scale": 0.1},
    "MinMax 0.1": {"unlearn": "minmax", "rho_scale": 0.1},
    "MinMax 0.1, fixed mask": {"unlearn": "minmax", "rho_scale": 0.1, "mask_refresh": 0},
}
PRETRAINS = ("sgd", "sam")
# The boundary s* of each rule at equal forgetting, after either pretraining: alpha = .7, forget error .25, d = 4000.
SHIFTED = ("SGD", "SAM 0.1", "sharpness maximization 0.1", "sharpness maximization 1", "MinMax 0.1")
SHIFTS = Boundaries([Axis(forgotten(BASE).changed(pretrain=before, **RULES[rule]), f"{rule}, pretrained {before}",
                          ({"d": 4000},)) for before in PRETRAINS for rule in SHIFTED])  # fmt: skip


def until_forgotten(setting: TheoryConfig) -> TheoryConfig:
    """Return a setting that stops at the first checkpoint whose forget error reaches the level."""
    return setting.changed(epochs=PATIENCE, stop_forget_error=FORGET_LEVEL)


def compared_settings(setting: TheoryConfig, rules: Sequence[str]) -> Grid:
    """Return each rule in one setting, after its epochs and until forgotten, named (setting, rule, what is matched)."""
    settings: Grid = {}
    for rule in rules:
        changed = setting.changed(**RULES[rule])
        settings |= {(setting, rule, "epochs"): changed, (setting, rule, "forgetting"): until_forgotten(changed)}
    return settings


def minus_sgd(runs: Runs, setting: TheoryConfig, rule: str, matched: str) -> Estimate:
    """Return the paired difference of a rule's test error to SGD's, over the seeds both have."""
    ours, sgd = (runs[setting, name, matched].final("test_error", matched=matched == "forgetting")
                 for name in (rule, "SGD"))  # fmt: skip
    return mean_interval(ours - sgd)


def compare(runs: Runs, setting: TheoryConfig, rules: Sequence[str]) -> list[dict]:
    """Return two rows a rule, at matched epochs and at matched forgetting: errors, oracle gap, difference to SGD.

    Predictions of both errors are added where they have been compared with simulation.
    """
    labels = {name: getattr(setting, name) for name in ("pretrain", "signal_strength", "alpha", "method")}
    if setting.mask_fraction != TheoryConfig.mask_fraction:
        labels["mask_fraction"] = setting.mask_fraction
    predicted = ends(list(compared_settings(setting, rules).values()))
    return [labels | {"rule": rule} | _row(runs, setting, rule, matched)
            | _predicted(predicted, runs[setting, rule, matched])
            for matched in MATCHED for rule in rules]  # fmt: skip


def _predicted(predicted: Mapping[TheoryConfig, Mapping[str, float]], run: Trajectory) -> dict[str, float | None]:
    names = ("predicted_test_error", "predicted_forget_error")
    values = predicted.get(run.config, {})
    return {name: values[name] if np.isfinite(values[name]) else None for name in names if name in values}


def _row(runs: Runs, setting: TheoryConfig, rule: str, matched: str) -> dict:
    run, stops = runs[setting, rule, matched], matched == "forgetting"
    test, forget = (mean_interval(run.final(name, matched=stops)) for name in ("test_error", "forget_error"))
    row = {"matched": matched, **spread("test_error", test), "forget_error": forget.value,
           "retrained_forget_error": mean_interval(run.retrained["forget_error"]).value,
           "oracle_gap": mean_interval(run.oracle_gap("forget_error", matched=stops)).value}  # fmt: skip
    row |= spread("minus_sgd", minus_sgd(runs, setting, rule, matched))
    if stops:
        row |= {"reached": float(run.reached.mean()), "epochs": mean_interval(run.epochs_needed).value}
    return row


def shift(runs: Runs, before: str, rule: str, config: ClaimConfig) -> Estimate:
    """Return s* of a rule minus that of SGD at equal forgetting, with a bootstrap interval over seeds.

    Where the rule's test error never falls to 0.1, its s* is the largest strength tried, and the shift a lower bound.
    """
    place = PRETRAINS.index(before) * len(SHIFTED)
    ours, sgd = (SHIFTS.point(runs, place + SHIFTED.index(name), 0) for name in (rule, "SGD"))
    difference = lambda seeds: ours.threshold(seeds, censored=True) - sgd.threshold(seeds)  # noqa: E731
    return over_seeds(difference, config)


def shift_rows(runs: Runs, config: ClaimConfig) -> list[dict]:
    """Return s* of each rule after each pretraining, and its shift."""
    rows = []
    for k, line in enumerate(SHIFTS.lines):
        before, rule = PRETRAINS[k // len(SHIFTED)], SHIFTED[k % len(SHIFTED)]
        found = NOTHING if rule == "SGD" else shift(runs, before, rule, config)
        row = SHIFTS.measure(runs, k).row(config.seeds)
        keep = {name: row[name][0] for name in ("boundary_strength", "forget_error_there", "compared_there")}
        rows.append({"stage": line.stage, "pretrain": before, "rule": rule, **keep, **spread("shift", found)})
    return rows


@dataclass(frozen=True)
class RuleComparison:
    """A table of comparisons and what it decides.

    Attributes:
        settings: setting to its rules, SGD among them.
        typical: the part of the typical setting, whose difference to SGD stands for the claim.
        parts: name of a part of the claim to the function that measures it.
        sentence: a sentence to quote; the name of a part in braces becomes its number.
    """

    settings: RulesBySetting
    typical: str
    parts: Mapping[str, Decide]
    sentence: str

    def grid(self, runs: Runs) -> Grid:
        """Return every rule of every setting, matched both ways, and what the boundaries need."""
        settings = SHIFTS.grid(runs)
        for setting, rules in self.settings.items():
            settings |= compared_settings(setting, rules)
        return settings

    def analyse(self, runs: Runs, config: ClaimConfig) -> ClaimResult:
        """Decide every part; the table shows both ways of matching side by side, then the boundaries."""
        rows = [row for setting, rules in self.settings.items() for row in compare(runs, setting, rules)]
        parts = {name: decide(runs, config) for name, decide in self.parts.items()}
        sentence = self.sentence
        for name, part in parts.items():
            sentence = sentence.replace(f"{{{name}}}", shown(part.estimate))
        for setting in self.settings:
            if setting.signal_strength == TheoryConfig.signal_strength:
                found = mean_interval(runs[setting, "SGD", "epochs"].retrained["forget_error"])
                sentence = sentence.replace(f"{{retrained {setting.pretrain}}}", shown(found, 2))
        rows += shift_rows(runs, config)
        return judge(parts, self.typical, config, rows=rows, sentence=sentence)


def lower(setting: TheoryConfig, rule: str, matched: str = "forgetting", *, inside: bool = True) -> Decide:
    """Return the part that a rule's test error lies below SGD's: the claim states a paired difference below 0."""
    return lambda runs, config: Part(minus_sgd(runs, setting, rule, matched), high=0.0, why="too few forget",
                                     inside=inside, margin=MARGIN)  # fmt: skip


def shifted(before: str, rule: str, *, up: bool) -> Decide:
    """Return the part that a rule's boundary lies above SGD's, or below it."""
    low, high = (0.0, float("inf")) if up else (float("-inf"), 0.0)
    return lambda runs, config: Part(shift(runs, before, rule, config), low, high, "no boundary", margin=MARGIN)


def _sam_against_sgd() -> RuleComparison:
    """SGD, SAM at 0.1 and 1 rho_th and retain-only SAM from both pretrainings, over strengths and alphas."""
    rules, settings = ("SGD", "SAM 0.1", "SAM 1", "retain-only SAM 0.1"), {}
    parts: dict[str, Decide] = {}
    for before in PRETRAINS:
        for s in (0.25, 0.5, 1.0, 2.0):
            setting = TheoryConfig(pretrain=before, signal_strength=s)
            settings[setting] = rules
            for matched in MATCHED:
                name = f"matched {matched}, {before}, s = {s:g}"
                parts[name] = lower(setting, "SAM 0.1", matched, inside=matched == "forgetting")
        for alpha in (0.5, 0.7, 0.8, 0.95):
            setting = TheoryConfig(pretrain=before, alpha=alpha)
            settings[setting] = ("SGD", "SAM 0.1", "retain-only SAM 0.1")
            parts[f"matched forgetting, {before}, s = 0.5, alpha = {alpha}"] = lower(setting, "SAM 0.1")
        parts[f"boundary s* below SGD's, {before}"] = shifted(before, "SAM 0.1", up=False)
    sentence = (
        "At equal forgetting the test error of SAM at a tenth of rho_th minus that of SGD is "
        "{matched forgetting, sam, s = 0.5} after SAM pretraining and {matched forgetting, sgd, s = 0.5} after SGD "
        "(s = .5, alpha = .9); after SAM pretraining it is {matched forgetting, sam, s = 0.5, alpha = 0.5} at "
        "alpha = .5 and {matched forgetting, sam, s = 0.5, alpha = 0.95} at .95. At alpha = .7 and forget error .25 "
        "its boundary s* minus that of SGD is {boundary s* below SGD's, sgd} after SGD pretraining and {boundary s* "
        "below SGD's, sam} after SAM (a lower bound where there is none up to s = 3.6). A forget error of .5 is "
        "over-forgetting: at s = .5 the model retrained on R has {retrained sgd} by SGD and {retrained sam} by SAM."
    )
    return RuleComparison(settings, "matched forgetting, sgd, s = 0.5", parts, sentence)


def _sharp_minmax() -> RuleComparison:
    """The boundary of sharpness maximization at equal forgetting; beyond that, Sharp MinMax's test error against
    SGD's."""
    rules = ("SGD", "MinMax 0.1", "MinMax 0.1, fixed mask")
    settings: RulesBySetting = {TheoryConfig(pretrain=before, signal_strength=s): rules
                                for before in PRETRAINS for s in (0.5, 1.0, 2.0)}  # fmt: skip
    parts = {f"boundary s* above SGD's, sharpness maximization {radius:g} rho_th, {before}":
             shifted(before, f"sharpness maximization {radius:g}", up=True)
             for before in PRETRAINS for radius in (0.1, 1.0)}  # fmt: skip
    for setting in settings:
        at = f"{setting.pretrain}, s = {setting.signal_strength:g}"
        parts[f"MinMax below SGD, {at}"] = lower(setting, "MinMax 0.1", inside=False)
    main = TheoryConfig(pretrain="sam")
    fixed = (main, "MinMax 0.1, fixed mask", "forgetting")
    parts["a mask fixed at the start forgets (most seeds), sam, s = 0.5"] = lambda runs, config: Part(
        share_interval(runs[fixed].reached), low=0.5, inside=False
    )
    for fraction in (0.25, 0.75):
        setting = main.changed(mask_fraction=fraction)
        settings[setting] = ("SGD", "MinMax 0.1")
        parts[f"MinMax below SGD, sam, s = 0.5, mask of {fraction:.0%}"] = lower(setting, "MinMax 0.1", inside=False)
    first = "boundary s* above SGD's, sharpness maximization"
    sentence = (
        f"At equal forgetting the boundary s* of sharpness maximization lies {{{first} 0.1 rho_th, sgd}} above SGD's "
        f"at a tenth of rho_th and {{{first} 1 rho_th, sgd}} at rho_th (after SGD pretraining; a lower bound where "
        f"there is none up to s = 3.6), and "
        f"{{{first} 0.1 rho_th, sam}} at a tenth after SAM. The test error of Sharp MinMax (mask of half the neurons, "
        "renewed every five epochs) minus that of SGD is {MinMax below SGD, sam, s = 0.5} after SAM pretraining and "
        "{MinMax below SGD, sgd, s = 0.5} after SGD; with a mask fixed at the start a share "
        "{a mask fixed at the start forgets (most seeds), sam, s = 0.5} of the seeds ever forgets."
    )
    return RuleComparison(settings, f"{first} 0.1 rho_th, sgd", parts, sentence)


SAM, SHARP_MINMAX = _sam_against_sgd(), _sharp_minmax()
CLAIMS = {
    "theorem-3.3-matched-forgetting": TheoryClaim(
        "SAM unlearning against SGD unlearning",
        "SAM improves unlearning, as pretraining and as unlearning rule",
        "Both rules have forgotten equally much.",
        "test error of SAM (0.1 rho_th) minus SGD at forget error 0.5, same seeds, SGD-pretrained, s = 0.5, "
        "alpha = 0.9",
        "What is matched and how the model was trained: at equal epochs SAM wins by forgetting less; at equal "
        "forgetting it wins after SAM pretraining at alpha >= .8 only.",
        SAM.grid, SAM.analyse, oracle=True,
    ),
    "sharp-minmax": TheoryClaim(
        "Sharp MinMax",
        "the forget part needs a stronger signal than SGD to avoid harmful overfitting; overfitting to F helps "
        "sample-level unlearning",
        "Both rules have forgotten equally much; the forget part is sharpness maximization.",
        "boundary s* of sharpness maximization (0.1 rho_th) minus that of SGD at forget error 0.25, alpha = 0.7, "
        "SGD-pretrained",
        "The radius and the pretraining. Of the whole rule, the pretraining, the size of the mask and when it is "
        "drawn: fixed at the start it does not forget.",
        SHARP_MINMAX.grid, SHARP_MINMAX.analyse, oracle=True,
    ),
}  # fmt: skip
