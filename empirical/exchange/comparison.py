"""Find the method, rule and learning rate that suit your own model: a small search and a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from empirical.data.memory import GivenExamples, given
from empirical.exchange.arguments import known_arguments, memory_config
from empirical.exchange.in_memory import (
    Model,
    Task,
    Unlearned,
    answers,
    images_of,
    network_of,
    on_device,
    size_of,
    warn,
)
from empirical.metrics.closeness import tow
from empirical.metrics.evaluation import SETS, measured
from empirical.models.network import Network
from empirical.registry import load
from empirical.runs.unlearning import check_run
from empirical.settings.run_config import RunConfig, altered
from repro.base.errors import ConfigError, DivergedError
from repro.base.settings import reject

HALVES = ("validation", "report")
MORE_RATES = 2  # that are tried beyond an end of the grid, as long as the last one is the best
NOTHING = "do nothing"
TEXTS = ("method", "rule", "setting")


@dataclass(frozen=True)
class Comparison:
    """What `compare` returns.

    Attributes:
        rows: one per method and rule at its best rate, with `do nothing` first.
        warnings: what limits their meaning.
        models: the unlearned model of each row, by (method, rule).
        best: arguments of `unlearn` for the highest validation score, `unlearn(model, retain, forget, **best)`; None
            where doing nothing is best.
        target: what accuracies are compared with, in words.
    """

    rows: list[dict[str, Any]]
    warnings: list[str]
    models: dict[tuple[str, str], Unlearned] = field(repr=False)
    best: dict[str, Any] | None
    target: str

    def table(self) -> pd.DataFrame:
        """Return the rows: accuracies and ToW on the report half, cost in gradients and seconds."""
        return pd.DataFrame(self.rows)

    def show(self, console: Console | None = None) -> None:
        """Print the table, the recommendation and the warnings."""
        console = console or Console()
        title = "Each method and rule at its own learning rate"
        shown = Table(box=None, padding=(0, 1, 0, 0), title=title, title_justify="left", header_style="bold underline")
        for name in (first := _shown(self.rows[0])):
            text = name in TEXTS
            shown.add_column(name, justify="left" if text else "right", overflow="fold", no_wrap=not text)
        for row in self.rows:
            best = self.best is not None and all(row[name] == self.best[name] for name in ("method", "rule"))
            shown.add_row(*(_shown(row)[name] for name in first), style="bold" if best else "")
        console.print(shown)
        for line in (self.recommendation, f"ToW: {self.target}.", *(f"Warning: {one}" for one in self.warnings)):
            console.print(Text(line))

    @property
    def recommendation(self) -> str:
        """One sentence: what to use."""
        if self.best is None:
            return "Recommended: do nothing; no method came nearer to the target on the validation half."
        words = ", ".join(f"{name}={value!r}" for name, value in self.best.items())
        return f"Recommended: {words}, the best on the validation half."

    def _repr_html_(self) -> str:
        return pd.DataFrame(self.rows)._repr_html_() + f"<p>{self.recommendation}</p>"  # type: ignore[operator]


def _shown(row: Mapping[str, Any]) -> dict[str, str]:
    """Return a row as texts, with rate and options in one column, so that the table fits 80 characters."""
    real = {name: "" if np.isnan(value) else f"{value:.3g}" for name, value in row.items() if isinstance(value, float)}
    texts = {name: real.get(name, str(value)) for name, value in row.items()}
    rate, options = texts.pop("lr"), texts.pop("options")
    texts["setting"] = ", ".join(filter(None, (rate and f"lr={rate}", options)))
    return {name: texts[name] for name in (*TEXTS, *(name for name in texts if name not in TEXTS))}


@known_arguments
def compare(
    model: Model, retain: Any, forget: Any, test: Any, *,
    methods: str | Sequence[str] = ("finetune", "neggrad", "salun", "scrub", "ssd"),
    rules: str | Sequence[str] = ("sgd", "sam-0.1"), retrained: Model | None = None,
    rates: Sequence[float] = (0.001, 0.004, 0.016), epochs: int = 5, batch_size: int | None = None,
    method_options: Mapping[str, Mapping[str, Any]] | None = None, seed: int = 0,
    device: str | torch.device | None = None, progress: bool = False,
) -> Comparison:  # fmt: skip
    """Compare methods and rules with doing nothing, each at a learning rate that is chosen for it.

    Half of the forget and test examples choose the rates, the other half is reported. A score is the tug of war,
    `prod over retain, forget, test of (1 - |a - a*|)`. With a retrained model a* are its accuracies. Without one they
    are the original model's on retain and test, and on forget its test accuracy: a model that never saw the forget set
    answers it about as well as fresh examples. That does not hold where whole classes or wrong labels are forgotten.

    Args:
        model: the original model, as `unlearn` takes it.
        retain: the examples to keep, as `unlearn` takes them.
        forget: the examples to forget.
        test: held-out examples.
        methods: one name or several.
        rules: one name or several; a pair that does not go together is left out and named.
        retrained: a model trained on the retain set alone.
        rates: learning rates that are tried; up to two more beyond an end where that one is the best. A method that
            takes no step tries strengths of its own.
        epochs: of every unlearning.
        batch_size: of every unlearning, as `unlearn` takes it.
        seed: of every unlearning.
        device: where models are trained; None is where the model is.
        method_options: settings by method, such as `{"scrub": {"beta": 1.0}}`.
        progress: whether a bar is shown for every unlearning.

    Raises:
        ConfigError: for an argument that is unknown or out of range, or where no pair goes together.

    Warns:
        UnlearningWarning: what the result has in `warnings`, and when retain contains forget examples.
    """
    names, labels = (((one,) if isinstance(one, str) else tuple(one)) for one in (methods, rules))
    said: list[str] = []
    settings = {"epochs": epochs, "batch_size": size_of(batch_size, retain), "seed": seed}
    configs = _configs(names, labels, dict(method_options or {}), said, **settings)
    if not rates or not all(rate > 0 for rate in rates):
        raise reject("rates", tuple(rates), "numbers > 0")
    task = Task.from_examples(model, retain, forget, device)
    task.warn_of_poor_fit()
    original, held_out = task.network(), given("test", test)
    reference = (
        network_of(on_device(retrained, original.device), task.images.train_images) if retrained is not None else None
    )
    scores = Scores(task, held_out, original, reference)
    rows = [scores.row({"method": NOTHING}, original)]
    if reference is not None:
        rows.append(scores.row({"method": "retrained"}, reference))
    models: dict[tuple[str, str], Unlearned] = {}
    highest, best = scores.score(original, "validation"), None
    for config in configs:
        tried = _search(task, scores, config, sorted(rates), progress)
        pair = f"{config.method} by {config.rule}"
        if not tried:
            said.append(f"{pair} diverged at every rate; give smaller ones")
            continue
        found = max(tried, key=lambda one: one.score)
        values = [one.value for one in tried]
        if len(values) > 1 and found.value in (min(values), max(values)):
            said.append(f"{pair}: the best of what was searched, {found.value:g}, is an end of it")
        rows.append(scores.row(found.how, network_of(found.made.model, task.images.train_images), found.made))
        models[config.method, config.rule] = found.made
        if found.score > highest:
            highest, best = found.score, found.how
    if best is None:
        said.append("no method was better than doing nothing on the validation half")
    for line in said:
        warn(line)
    return Comparison(rows, said, models, best, scores.target)


def _configs(
    methods: Sequence[str], rules: Sequence[str], options: dict[str, Any], said: list[str], **settings: Any
) -> list[RunConfig]:
    """Return a config for each method and rule; those that do not go together are named in `said`."""
    for name in options:
        if name not in methods:
            raise reject("method_options", name, f"settings of one of {', '.join(methods)}")
    found, refused = [], []
    for name in methods:
        for label in rules:
            config = memory_config(options.get(name, ""), method=name, rule=label, **settings)
            try:
                check_run(config)
                found.append(config)
            except ConfigError as error:
                if len(methods) * len(rules) == 1 or "rule = " not in str(error):
                    raise
                refused.append(f"{name} by {label} is left out: {error}")
    if not found:
        raise ConfigError(f"methods, rules: no pair goes together; {refused[0]}")
    said += refused
    return found


class Scores:
    """Scores of models by their distance to target accuracies: the retrained model's, or the original's without one.

    Args:
        task: the retain and forget examples; test: held-out ones.
        original, retrained: the models by which the target is set.
    """

    def __init__(self, task: Task, test: GivenExamples, original: Network, retrained: Network | None) -> None:
        images_of(original, (task.images.train_images, task.images.train_labels), (test,))  # refuses wrong labels
        self.task, self.images, self.labels = task, test.images, test.labels.numpy()
        self.goal = {half: self.accuracies(retrained or original, half) for half in HALVES}
        self.target = "1 is equal to the retrained model"
        if retrained is None:
            self.goal = {half: found | {"forget": found["test"]} for half, found in self.goal.items()}
            words = (
                "no retrained model was given, so 1 is the original's accuracy on retain and test, and on forget its"
            )
            self.target = f"{words} test accuracy"

    def accuracies(self, network: Network, half: str) -> dict[str, float]:
        """Return a model's accuracy on the retain set and on a half of forget and test set."""
        seen = measured(half, self.task.split.forget, self.labels)
        train, train_labels = self.task.images.train_images, self.task.images.train_labels.numpy()
        parts = {
            "retain": (train, self.task.split.retain, train_labels), "forget": (train, seen.forget, train_labels),
            "test": (self.images, seen.test, self.labels),
        }  # fmt: skip
        return {
            name: float((answers(network, images, rows) == labels[rows]).mean())
            for name, (images, rows, labels) in parts.items()
        }

    def score(self, network: Network, half: str) -> float:
        """Return the tug of war on a half."""
        return tow(self.accuracies(network, half), self.goal[half])

    def row(self, how: Mapping[str, Any], network: Network, made: Unlearned | None = None) -> dict[str, Any]:
        """Return a row of the table."""
        found = self.accuracies(network, "report")
        options = ", ".join(f"{name}={value:g}" for name, value in how.get("method_options", {}).items())
        return {
            "method": how["method"], "rule": how.get("rule", ""), "lr": how.get("lr", np.nan), "options": options,
            **{name: found[name] for name in SETS}, "tow": tow(found, self.goal["report"]),
            "gradients": made.log.gradient_evaluations if made else 0,
            "seconds": round(made.log.seconds, 2) if made else 0.0,
        }  # fmt: skip


class Tried(NamedTuple):
    """A value that was tried, its validation score, the model, and the arguments of `unlearn` that make it."""

    value: float
    score: float
    made: Unlearned
    how: dict[str, Any]


def _search(task: Task, scores: Scores, config: RunConfig, rates: list[float], progress: bool) -> list[Tried]:
    """Return the trials that did not diverge: of learning rates, or of strengths of a method that takes no step.

    While the best rate is at an end, further rates beyond it are tried, by the factor between the last two.
    """
    method: Any = load("methods", config.method)
    own = config.method_settings
    same = {"method": config.method, "rule": config.rule}
    found: list[Tried] = []

    def try_value(value: float, how: dict[str, Any], **settings: Any) -> None:
        try:
            made = task.unlearned(altered(config, **settings), progress=progress)
        except DivergedError:
            return
        score = scores.score(network_of(made.model, task.images.train_images), "validation")
        found.append(Tried(value, score, made, ({"method_options": own} if own else {}) | same | how))

    if not getattr(method, "steps", True):
        name, values = method.strengths
        for value in [own[name]] if name in own else values:
            options = own | {name: value}
            text = ", ".join(f"{key}={one}" for key, one in options.items())
            try_value(value, {"method_options": options}, method_options=text)
        return found
    for rate in rates:
        try_value(rate, {"lr": rate, "epochs": config.epochs}, lr=rate)
    factor = rates[-1] / rates[-2] if len(rates) > 1 else 4.0
    for _ in range(MORE_RATES if found else 0):
        best, tried = max(found, key=lambda one: one.score).value, [one.value for one in found]
        if min(tried) < best < max(tried):
            break
        rate = best / factor if best == min(tried) else best * factor
        try_value(rate, {"lr": rate, "epochs": config.epochs}, lr=rate)
    return found
