"""Checks that every method, rule, metric and forget set must pass, built-in or a user's."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from empirical.data.forget import choose_forget
from empirical.runs.evaluations import make_evaluation, numbers_of
from empirical.runs.experiment import Experiment, Models, make_experiment, train_models
from empirical.runs.resources import Resources, use_threads
from empirical.runs.unlearning import build_method, check_run
from empirical.settings.keys import ordered_metrics
from empirical.settings.run_config import RunConfig
from empirical.training.rules import RuleContext, build_rule
from repro.base.settings import reject

TINY = RunConfig(
    dataset="signal-noise", dataset_options="side=8, n=48, n_test=40, signal_strength=2.0", forget_fraction=0.25,
    pretrain_epochs=2, epochs=1, batch_size=16, pretrain_batch_size=16, augment="none", pretrain_lr=0.05, lr=0.005,
)  # fmt: skip


def check_method(name: str, rule: str, resources: Resources) -> None:
    """Train an epoch with a method and a rule, and check the method.

    Its loss parts must include `all`, at least one weight must move, and no weight may become infinite.

    Raises:
        ConfigError: if method and rule do not fit together, or if a check fails.
    """
    use_threads(1)
    config = replace(TINY, method=name, rule=rule)
    check_run(config)
    method = build_method(config)
    if "all" not in method.parts:
        raise reject(f"{name}.parts", method.parts, "a tuple that holds 'all'")
    models = train_models(make_experiment(resources.identified(config), resources))
    before, after = (list(stage.network.model.parameters()) for stage in (models.original, models.unlearned))
    if all(torch.equal(a, b) for a, b in zip(before, after, strict=True)):
        raise reject(f"{name} x {rule}", "no weight moved", "an update")
    if not all(bool(torch.isfinite(weight).all()) for weight in after):
        raise reject(f"{name} x {rule}", "infinite weights", "finite on the contract's tiny run")


class _Bowls(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.w = nn.Parameter(torch.randn(4, 3, generator=generator))
        self.b = nn.Parameter(torch.randn(3, generator=generator))

    def loss(self, part: str) -> Tensor:
        retain, forget = (self.w**2).sum() + (self.b - 1).pow(2).sum(), 0.5 * (self.w.sum(0) * self.b).pow(2).sum()
        return {"retain": retain, "forget": -forget, "all": retain - forget}[part]


def check_rule(label: str) -> None:
    """Apply a rule to a small loss: it must return a finite gradient of each weight's shape and not change the weights.

    Raises:
        ConfigError: if a check fails.
    """
    model = _Bowls()
    before = [weight.detach().clone() for weight in model.parameters()]
    rule = build_rule(label, RuleContext(lambda: [weight > 0 for weight in before]))
    grads = rule(model, model.loss)
    if [g.shape for g in grads] != [w.shape for w in before]:
        raise reject(f"rule {label}", [tuple(g.shape) for g in grads], "one gradient per weight, of its shape")
    if not all(bool(torch.isfinite(g).all()) for g in grads):
        raise reject(f"rule {label}", "an infinite gradient", "finite")
    if not all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)):
        raise reject(f"rule {label}", "weights that moved", "a rule that leaves the weights to the optimizer")


def check_metric(name: str, resources: Resources, **settings: Any) -> dict[str, Any]:
    """Run a metric (after the metrics it needs) twice on a finished run and return its numbers and arrays.

    Its numbers must be finite and the same both times, and it must not change the weights of the unlearned model.

    Args:
        name: name of the metric; resources: resources of the run.
        settings: settings of the run that differ from `TINY`, such as the model.

    Raises:
        ConfigError: if a check fails.
    """
    use_threads(1)
    experiment = make_experiment(resources.identified(replace(TINY, landscape_points=3, **settings)), resources)
    models = train_models(experiment)
    weights = [weight.detach().clone() for weight in models.unlearned.network.model.parameters()]
    (first, arrays), (second, others) = (_measured(name, experiment, models) for _ in range(2))
    if broken := [key for key, value in (first | arrays).items() if not _is_finite(value)]:
        raise reject(f"metric {name}", f"no finite value of {', '.join(broken)}", "finite on the contract's tiny run")
    if first != second or not all(np.array_equal(arrays[key], others[key]) for key in arrays):
        raise reject(f"metric {name}", "other numbers the second time", "seeded by evaluation.seed")
    after = models.unlearned.network.model.parameters()
    if not all(torch.equal(a, b) for a, b in zip(weights, after, strict=True)):
        raise reject(f"metric {name}", "weights that moved", "a metric that leaves the models alone")
    return first | arrays


def _is_finite(value: Any) -> bool:
    """Return whether a number, list or array holds neither NaN nor infinity; None is what a record has for these."""
    return value is not None and (np.asarray(value).dtype.kind != "f" or bool(np.isfinite(value).all()))


def _measured(name: str, experiment: Experiment, models: Models) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    evaluation = make_evaluation(experiment, models)
    numbers, arrays = {}, {}
    for one in ordered_metrics((name,)):
        numbers, arrays = numbers_of(one, evaluation)
        evaluation.result.update(numbers)
    return numbers, arrays


def check_forget_set(name: str) -> np.ndarray:
    """Choose a forget set twice on made-up labels and scores and return its rows.

    Both times it must give the same rows, without repetition, all from `candidates.rows`, and not all of those.

    Raises:
        ConfigError: if a check fails.
    """
    generator = np.random.default_rng(0)
    labels, scores = generator.integers(0, 4, 200), generator.random(200)
    config = replace(TINY, difficulty=name, forget_index="made up", forget_fraction=0.1)
    splits = [
        choose_forget(config, labels, memorization=lambda: scores, index=lambda: np.arange(5, 25)) for _ in range(2)
    ]
    first, second = (split.forget for split in splits)
    if not np.array_equal(first, second):
        raise reject(f"forget set {name}", "other rows the second time", "drawn from candidates.generator")
    if len(np.unique(first)) != len(first) or not np.isin(first, splits[0].train).all():
        raise reject(f"forget set {name}", first.tolist(), "rows of candidates.rows, each once")
    return first
