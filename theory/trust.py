"""How far a prediction may be trusted: an interval for the simulated error of any setting, from what is known before.

The mean y over simulated seeds lies about its prediction p by a location-scale model, fitted by `theory/validity.py`:

    y = p + exp(a.x) (b.x + noise),    interval  p + exp(a.x) (b.x ± factor), cut to [0, 1]

x are features of the setting and of its prediction. `b.x` is there because errors have a sign: the mean over seeds is
drawn towards 1/2, as seeds differ and the prediction is that of a mean network. Each feature is cut to the range of the
fitted settings, so that nothing is extrapolated.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

LEVEL = 0.9  # nine of ten intervals contain the simulation
QUANTITIES = ("pretrained, test_error", "final, test_error", "final, forget_error")
Numbers = Mapping[str, Any]


class Term(NamedTuple):
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
        terms: from the name of a feature to its term.
    """

    factor: float
    shift: float
    log_scale: float
    terms: Mapping[str, Term]

    def interval(self, predicted: float, features: Numbers) -> tuple[float, float]:
        """Return the ends of the interval about a prediction, in [0, 1]."""
        shift, log_scale = self.shift, self.log_scale
        for name, term in self.terms.items():
            value = min(max(features[name], term.low), term.high)
            shift, log_scale = shift + term.shift * value, log_scale + term.log_scale * value
        scale = math.exp(log_scale)
        low, high = (min(max(predicted + scale * (shift + side), 0.0), 1.0) for side in (-self.factor, self.factor))
        return low, high


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


# As `repro theory validity` has fitted them; the published record holds the same.
MODELS: dict[str, ErrorModel] = {
    "pretrained, test_error": ErrorModel(1.8, 1.971, -2.916, {
        "log m": Term(1.386, 3.689, 0.02032, -0.2521),
        "log n": Term(2.996, 5.075, -0.1729, -0.2376),
        "log pretrained error's variance": Term(-6.908, -1.382, 0.2208, 0.5611),
        "log pretrained kappa": Term(-6.775, 1.666, 0.01657, 0.1452),
        "log pretrained loss": Term(-6.122, -0.3979, 0.1689, 0.2868),
        "log pretraining epochs": Term(3.434, 5.707, -0.03801, 0.03216),
        "patches": Term(2.0, 3.0, 0.01966, -0.001322),
        "pretrained error": Term(0.0, 0.4963, -1.692, -2.458),
        "pretrained error's distance from chance": Term(0.003713, 0.5, 1.692, 2.458),
        "pretrained zeta": Term(0.00363, 2.5, 0.3279, 0.6453),
    }),
    "final, test_error": ErrorModel(3.023, 1.227, -1.77, {
        "active share of F where j = -y": Term(0.0, 0.7587, 2.217, 0.8355),
        "error": Term(0.0, 1.0, -2.727, -0.1182),
        "error's distance from chance": Term(0.0003965, 0.5, 2.759, 0.4143),
        "forget error": Term(0.0, 1.0, -0.75, -0.2616),
        "forget error squared": Term(0.0, 1.0, -0.6041, 0.04134),
        "log change of error": Term(-6.908, 0.0009995, 0.006899, 0.4742),
        "log change of kappa": Term(-6.903, 2.581, -0.04811, -0.008018),
        "log forget kappa": Term(-6.903, 2.646, 0.07253, 0.04955),
        "log forget loss": Term(-5.995, 5.777, 0.09926, -0.05654),
        "log m": Term(1.386, 3.689, 0.01297, -0.2556),
        "log n": Term(2.996, 5.075, 0.0004608, -0.3224),
        "log pretrained kappa": Term(-6.775, 1.666, -0.1016, 0.05187),
        "log pretraining epochs": Term(3.434, 5.707, -0.224, -0.2289),
        "log s": Term(-2.293, 0.6831, -0.2271, 0.02792),
        "patches": Term(2.0, 3.0, -0.1045, 0.01157),
        "pretrained by SAM": Term(0.0, 1.0, 0.3748, 0.413),
        "pretrained error's distance from chance": Term(0.003713, 0.5, -1.007, 1.757),
        "pretrained zeta": Term(0.00363, 2.5, 0.4286, 0.5562),
        "share of forget kappa": Term(-0.8976, 0.4084, -0.5583, -0.7344),
        "sharpness maximized": Term(0.0, 1.0, -0.1156, 0.1216),
    }),
    "final, forget_error": ErrorModel(2.334, 0.05155, -1.309, {
        "active share of F where j = -y": Term(0.0, 0.7587, 1.667, -1.241),
        "error": Term(0.0, 1.0, -0.2163, -0.9753),
        "error's distance from chance": Term(0.0003965, 0.5, 0.717, -3.516),
        "forget error": Term(0.0, 1.0, -0.6241, 2.344),
        "forget error squared": Term(0.0, 1.0, -2.336, -2.669),
        "log change of error": Term(-6.908, 0.0009995, 0.05432, 0.03055),
        "log change of kappa": Term(-6.903, 2.581, -0.02577, -0.06869),
        "log forget kappa": Term(-6.903, 2.646, 0.008669, -0.09509),
        "log forget loss": Term(-5.995, 5.777, 0.0223, 0.09811),
        "log m": Term(1.386, 3.689, 0.0354, -0.03778),
        "log n": Term(2.996, 5.075, 0.07843, -0.1914),
        "log pretrained kappa": Term(-6.775, 1.666, 0.05455, 0.2548),
        "log pretraining epochs": Term(3.434, 5.707, 0.08633, -0.09336),
        "log s": Term(-2.293, 0.6831, -0.2188, 0.03298),
        "patches": Term(2.0, 3.0, -0.1879, -0.1799),
        "pretrained by SAM": Term(0.0, 1.0, 0.2478, 0.3255),
        "pretrained error's distance from chance": Term(0.003713, 0.5, -0.05215, 1.398),
        "pretrained zeta": Term(0.00363, 2.5, 0.1241, 0.2655),
        "share of forget kappa": Term(-0.8976, 0.4084, -2.137, -1.19),
        "sharpness maximized": Term(0.0, 1.0, 0.1643, 0.31),
    }),
}  # fmt: skip
