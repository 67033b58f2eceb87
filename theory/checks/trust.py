"""Intervals of predictions: where the simulated error of a setting lies, from numbers known before simulating it.

The mean y over simulated seeds follows a location-scale model around its prediction p, fitted by
`theory/checks/validity.py`:

    y = p + exp(a.x) (b.x + noise),    interval  p + exp(a.x) (b.x ± factor), cut to [0, 1]

x are features of the setting and of its prediction. `b.x` corrects a bias: seeds differ, so their mean error is nearer
to 1/2 than the error of the mean network. Each feature is cut to the range of the fitted settings, so that nothing is
extrapolated.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

LEVEL = 0.9  # nine of ten intervals contain the simulation
QUANTITIES = ("pretrained, test_error", "final, test_error", "final, forget_error")
Numbers = Mapping[str, Any]


class Feature(NamedTuple):
    """A feature's range in the fitted settings, and its coefficients: `shift` in b, `log_scale` in a."""

    low: float
    high: float
    shift: float
    log_scale: float


class ErrorModel(NamedTuple):
    """The model of one quantity's errors.

    Attributes:
        factor: half-width in units of the scale `exp(a.x)`.
        shift, log_scale: constants in `b.x` and in `a.x`.
        terms: from the name of a feature to its coefficients.
    """

    factor: float
    shift: float
    log_scale: float
    terms: Mapping[str, Feature]

    @classmethod
    def of(cls, told: Numbers) -> "ErrorModel":
        """Return the model that is stored in a record or in `error_models.json`."""
        terms = {name: Feature(*term) for name, term in told["terms"].items()}
        return cls(told["factor"], told["shift"], told["log_scale"], terms)

    def interval(self, predicted: float, features: Numbers) -> tuple[float, float]:
        """Return the ends of the interval about a prediction, in [0, 1]."""
        shift, log_scale = self.shift, self.log_scale
        for name, term in self.terms.items():
            value = min(max(features[name], term.low), term.high)
            shift, log_scale = shift + term.shift * value, log_scale + term.log_scale * value
        scale = math.exp(log_scale)
        low, high = (min(max(predicted + scale * (shift + side), 0.0), 1.0) for side in (-self.factor, self.factor))
        return low, high


# Fitted by `repro theory validity`; the published record holds the same models.
_FILE = Path(__file__).with_name("error_models.json")
MODELS = {quantity: ErrorModel.of(told) for quantity, told in json.loads(_FILE.read_text(encoding="utf-8")).items()}


def features_of(setting: Numbers, pretrained: Numbers, final: Numbers | None = None) -> dict[str, float]:
    """Return the features of a prediction after unlearning; without `final`, those after pretraining.

    Args:
        setting: the fields of a `TheoryConfig`.
        pretrained, final: predicted metrics at the end of pretraining and of unlearning.
    """
    before = pretrained["test_error"]
    common = {
        "log n": math.log(setting["n"]),
        "log m": math.log(setting["m"]),
        "patches": float(setting["patches"]),
        "log pretraining epochs": math.log(1 + setting["pretrain_epochs"]),
        "pretrained error's distance from chance": abs(before - 0.5),
        "log pretrained kappa": _log_size(_kappa(pretrained)),
        "pretrained zeta": math.asinh(pretrained["zeta_retain"]),
    }
    if final is None:
        return common | {
            "pretrained error": before,
            "log pretrained error's variance": math.log(before * (1 - before) + 1e-3),
            "log pretrained loss": math.log(pretrained["retain_loss"] + 1e-6),
        }
    error, forget, of_forget = (final[name] for name in ("test_error", "forget_error", "kappa_forget"))
    return common | {
        "pretrained by SAM": float(not setting["pretrain"].startswith("sgd")),
        "sharpness maximized": float(setting["unlearn"] == "sharpen"),
        "log s": math.log(setting["signal_strength"]),
        "error": error,
        "error's distance from chance": abs(error - 0.5),
        "log change of error": _log_size(error - before),
        "log change of kappa": _log_size(_kappa(final) - _kappa(pretrained)),
        "log forget kappa": _log_size(of_forget),
        "share of forget kappa": of_forget / (abs(final["kappa_retain"]) + abs(of_forget) + 1e-9),
        "forget error": forget,
        "forget error squared": forget**2,
        "log forget loss": math.log(final["forget_loss"] + 1e-6),
        "active share of F where j = -y": final["active_forget_oppose"],
    }


def _kappa(metrics: Numbers) -> float:
    return metrics["kappa_retain"] + metrics["kappa_forget"]


def _log_size(value: float) -> float:
    return math.log(abs(value) + 1e-3)


def stage_features(setting: Numbers, predicted: Mapping[str, Numbers]) -> dict[str, dict[str, float]]:
    """Return the features of both stages of a prediction, without stages that diverged.

    Args:
        setting: the fields of a `TheoryConfig`.
        predicted: "pretrained" and "final" to metrics; None is a missing number.
    """
    pretrained, final = predicted["pretrained"], predicted["final"]
    if pretrained["test_error"] is None:
        return {}
    found = {"pretrained": features_of(setting, pretrained)}
    return found if final["test_error"] is None else found | {"final": features_of(setting, pretrained, final)}


def with_intervals(setting: Numbers, predicted: Mapping[str, Numbers]) -> dict[str, dict[str, Any]]:
    """Return a prediction with the ends of the interval of each error added, `<error>_low` and `<error>_high`.

    Args:
        setting, predicted: as in `stage_features`.
    """
    found, features = {stage: dict(metrics) for stage, metrics in predicted.items()}, stage_features(setting, predicted)
    for quantity, model in MODELS.items():
        stage, name = quantity.split(", ")
        if stage in features:
            low, high = (float(f"{end:.7g}") for end in model.interval(predicted[stage][name], features[stage]))
            found[stage] |= {f"{name}_low": low, f"{name}_high": high}
    return found
