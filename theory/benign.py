"""The smallest retain weight alpha that leaves a network benign: predicted, and by bisection in simulation."""

from collections.abc import Callable, Sequence

import numpy as np

from repro.records.provenance import collect
from repro.records.record import Record
from repro.records.store import Store
from theory.config import TheoryConfig
from theory.predict import ERROR_LEVEL, predict_many, unpredictable
from theory.stats import bisect, mean_and_error

KIND = "theory_alpha"
TOLERANCE = 0.005
RULES = {"sgd": "SGD", "sam": "SAM", "retain_sam": "SAM on R only"}
Ends = tuple[np.ndarray, np.ndarray]  # test and forget errors after unlearning, of every seed
Measure = Callable[[Sequence[TheoryConfig]], list[Ends]]


def benign_alpha(config: TheoryConfig, store: Store) -> Record:
    """Return the record of the smallest benign alpha of SGD, SAM and SAM on R only, from both pretrainings.

    An alpha is benign if the mean test error after unlearning is at most 0.1. Bisection to 0.005 between a harmful and
    a benign alpha finds one crossing; there may be others if the test error does not always fall with alpha.

    Args:
        config: its pretraining rule, unlearning rule and alpha are replaced.
        store: where the record is written.

    Returns:
        A record with `rows`, one for each pretraining and rule: `predicted` and `simulated` alpha, and the test and
            forget errors there. Alpha is 0.0 if every alpha is benign, None if no alpha is.
    """
    every = 10**6 if config.pretrain_stop_loss is None else config.checkpoint_every  # where the loss is looked at
    base = config.changed(alpha=TheoryConfig.alpha, pretrain="sgd", unlearn="sgd", checkpoint_every=every)
    identity = {"cell": base, "level": ERROR_LEVEL, "tolerance": TOLERANCE}
    found = store.find(KIND, identity)
    if found is None:
        store.ensure_writable()
        settings = [base.changed(pretrain=before, unlearn=rule) for before in ("sgd", "sam") for rule in RULES]
        predicted = thresholds(settings, _predicted) if not unpredictable(base) else [{} for _ in settings]
        simulated = thresholds(settings, _simulated)
        rows = [{"pretrain": setting.pretrain, "rule": RULES[setting.unlearn]} | _named(ours, "predicted")
                | _named(theirs, "simulated")
                for setting, ours, theirs in zip(settings, predicted, simulated, strict=True)]  # fmt: skip
        found = store.save(KIND, identity, result={"rows": rows}, provenance=collect(study="theory-alpha"))
    return found


def thresholds(settings: Sequence[TheoryConfig], measure: Measure) -> list[dict[str, float | None]]:
    """Return the smallest benign alpha of each setting, with the errors there; all settings are measured together.

    Args:
        settings: their alpha is replaced.
        measure: from settings to their test and forget errors.

    Returns:
        `alpha`, `test_error`, `forget_error` and `forget_error_se`; the errors at alpha = 1 if no alpha is benign. A
        diverged seed makes an alpha harmful.
    """
    there = _errors(settings, np.ones(len(settings)), measure)
    none = np.array([not found["test_error"] <= ERROR_LEVEL for found in there])

    def is_harmful(alphas: np.ndarray) -> np.ndarray:
        found = _errors(settings, alphas, measure)
        harmful = np.array([not one["test_error"] <= ERROR_LEVEL for one in found])
        for place in np.flatnonzero(~harmful & ~none):
            there[place] = found[place]
        return harmful

    highest = np.where(is_harmful(np.zeros(len(settings))) | none, 1.0, 0.0)
    _, alphas = bisect(is_harmful, np.where(none, 1.0, 0.0), highest, TOLERANCE)
    return [{"alpha": None if missing else float(alpha)} | _plain(found)
            for missing, alpha, found in zip(none, alphas, there, strict=True)]  # fmt: skip


def _errors(settings: Sequence[TheoryConfig], alphas: np.ndarray, measure: Measure) -> list[dict[str, float]]:
    ends = measure([setting.changed(alpha=float(alpha)) for setting, alpha in zip(settings, alphas, strict=True)])
    found = []
    for test, forget in ends:
        mean, error = mean_and_error(forget.tolist())
        found.append({"test_error": float(np.mean(test)), "forget_error": np.nan if mean is None else mean,
                      "forget_error_se": np.nan if error is None else error})  # fmt: skip
    return found


def _simulated(settings: Sequence[TheoryConfig]) -> list[Ends]:
    from theory.engine import simulate_many

    runs = simulate_many(settings, oracle=False)
    return [(run.final("test_error"), run.final("forget_error")) for run in runs]


def _predicted(settings: Sequence[TheoryConfig]) -> list[Ends]:
    return [(found.metrics["test_error"][-1:], found.metrics["forget_error"][-1:]) for found in predict_many(settings)]


def _plain(found: dict[str, float]) -> dict[str, float | None]:
    return {name: float(f"{value:.4g}") if np.isfinite(value) else None for name, value in found.items()}


def _named(found: dict[str, float | None], how: str) -> dict[str, float | None]:
    """Return the numbers under `<how>`, the alpha itself, and `<how>_test_error` and so on."""
    return {how if name == "alpha" else f"{how}_{name}": value for name, value in found.items()}
