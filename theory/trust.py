"""How far a prediction may be trusted: an interval for the simulated error of any setting, from what is known before.

The mean y over simulated seeds lies about its prediction p by a location-scale model, fitted by `theory/validity.py`:

    y = p + exp(a.x) (b.x + noise),    interval  p + exp(a.x) (b.x ± factor), cut to [0, 1]

x are features of the setting and of its prediction. `b.x` is there because errors have a sign: the mean over seeds is
drawn towards 1/2, as seeds differ and the prediction is that of a mean network. Each feature is cut to the range of the
fitted settings, so that nothing is extrapolated.
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
        """Return the model that a record or `error_models.json` tells of."""
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


# As `repro theory validity` has fitted them; the published record holds the same.
_FILE = Path(__file__).with_name("error_models.json")
MODELS = {quantity: ErrorModel.of(told) for quantity, told in json.loads(_FILE.read_text(encoding="utf-8")).items()}


def features_of(setting: Numbers, pretrained: Numbers, final: Numbers | None = None) -> dict[str, float]:
    """Return the features of a prediction after unlearning, or without `final` those of a prediction of pretraining.

    Args:
        setting: the fields of a `TheoryConfig`.
        pretrained, final: metrics predicted at the end of pretraining, and of unlearning.
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
    """Return the features of both stages of a prediction, of those that did not diverge.

    Args:
        setting: the fields of a `TheoryConfig`.
        predicted: "pretrained" and "final" to metrics, None where there is no number.
    """
    pretrained, final = predicted["pretrained"], predicted["final"]
    if pretrained["test_error"] is None:
        return {}
    found = {"pretrained": features_of(setting, pretrained)}
    return found if final["test_error"] is None else found | {"final": features_of(setting, pretrained, final)}


def with_intervals(setting: Numbers, predicted: Mapping[str, Numbers]) -> dict[str, dict[str, Any]]:
    """Return a prediction with the ends of its interval beside each error, `<error>_low` and `<error>_high`.

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
