"""Which method, rule and learning rate suit a model of your own: a small search and a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from empirical.data.memory import given
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
from empirical.runs.cell import check_cell
from empirical.settings.run_config import RunConfig, altered
from repro.base.errors import ConfigError, DivergedError
from repro.base.settings import reject

HALVES = ("validation", "report")
MORE_RATES = 2  # that are tried beyond an end of the grid, as long as the last one is the best
NOTHING = "do nothing"


@dataclass(frozen=True)
class Comparison:
    """What `compare` returns.

    Attributes:
        rows: one a method and rule at its recommended rate, with `do nothing` first.
        warnings: what a reader should know of them.
        models: the unlearned model of each row, by (method, rule).
        best: (method, rule, lr) of the row with the highest validation score; None where doing nothing is best.
        target: what the score holds accuracies against, in words.
    """

    rows: list[dict[str, Any]]
    warnings: list[str]
    models: dict[tuple[str, str], Unlearned] = field(repr=False)
    best: tuple[str, str, float] | None
    target: str

    def table(self) -> pd.DataFrame:
        """Return the rows: accuracies and ToW on the report half, cost in gradients and seconds."""
        return pd.DataFrame(self.rows)

    def show(self, console: Console | None = None) -> None:
        """Print the table, the recommendation and the warnings, at the width of the terminal."""
        console = console or Console()
        shown = Table(
            box=SIMPLE, pad_edge=False, title="Each method and rule at its own learning rate", title_justify="left"
        )
        for name in self.rows[0]:
            shown.add_column(name, justify="left" if name in ("method", "rule", "note") else "right", overflow="fold")
        for row in self.rows:
            best = self.best is not None and (row["method"], row["rule"], row["lr"]) == self.best
            shown.add_row(*map(_cell, row.values()), style="bold" if best else "")
        console.print(shown)
        for line in (self.recommendation, f"ToW: {self.target}.", *(f"Warning: {one}" for one in self.warnings)):
            console.print(Text(line))

    @property
    def recommendation(self) -> str:
        """One sentence: what to use."""
        if self.best is None:
            return "Recommended: do nothing; no method came nearer to the target on the validation half."
        name, by, lr = self.best
        rate = "" if np.isnan(lr) else f", lr={lr:g}"
        return f"Recommended: method={name!r}, rule={by!r}{rate}, the best on the validation half."

    def _repr_html_(self) -> str:
        return pd.DataFrame(self.rows)._repr_html_() + f"<p>{self.recommendation}</p>"  # type: ignore[operator]


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.3g}" if value else "0"
    return str(value)


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
    answers it about as well as fresh examples. That does not hold where whole classes are forgotten.

    Args:
        model, retain, forget: as `unlearn` takes them. test: held-out examples.
        methods, rules: one name or several; a pair that does not go together is left out and named.
        retrained: a model trained on the retain set alone.
        rates: learning rates that are tried; up to two more beyond an end where that one is the best.
        epochs, batch_size, seed, device: of every unlearning.
        method_options: settings by method, such as `{"scrub": {"beta": 1.0}}`.
        progress: whether a bar is shown for every unlearning.

    Raises:
        ConfigError: for an argument that is unknown or out of range, or where no pair goes together.

    Warns:
        UnlearningWarning: what the result has in `warnings`, and when retain contains forget examples.
    """
    names, labels = (((one,) if isinstance(one, str) else tuple(one)) for one in (methods, rules))
    said: list[str] = []
    configs = _configs(
        names,
        labels,
        dict(method_options or {}),
        said,
        epochs=epochs,
        batch_size=size_of(batch_size, retain),
        seed=seed,
    )
    if not rates or not all(rate > 0 for rate in rates):
        raise reject("rates", tuple(rates), "numbers > 0")
    task = Task.of(model, retain, forget, device)
    task.warn_of_poor_fit()
    scores = Scores.of(task, given("test", test), retrained)
    rows = [scores.row(NOTHING, "", np.nan, task.network(), None)]
    models: dict[tuple[str, str], Unlearned] = {}
    ranked: dict[tuple[str, str, float], float] = {}
    if retrained is not None:
        rows.append(scores.row("retrained", "", np.nan, scores.networks["retrained"], None))
    for config in configs:
        tried = _searched(task, scores, config, sorted(rates), progress)
        if not tried:
            said.append(f"{config.method} by {config.rule} diverged at every rate; give smaller ones")
            continue
        lr = max(tried, key=lambda rate: tried[rate][0])
        score, made = tried[lr]
        row = scores.row(config.method, config.rule, lr, task_network(task, made), made)
        if not np.isnan(lr) and lr in (min(tried), max(tried)):
            said.append(f"{config.method} by {config.rule}: the best rate, {lr:g}, is an end of those tried")
        rows.append(row)
        models[config.method, config.rule] = made
        ranked[config.method, config.rule, lr] = score
    nothing = scores.score(task.network(), "validation")
    best = max(ranked, key=lambda one: ranked[one], default=None)
    if best is not None and ranked[best] <= nothing:
        best = None
        said.append("no method was better than doing nothing on the validation half")
    for line in said:
        warn(line)
    return Comparison(rows, said, models, best, scores.target)


def task_network(task: Task, made: Unlearned) -> Network:
    """Return an unlearned model as the pipeline sees it."""
    return network_of(made.model, task.images.train_images)


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
                check_cell(config)
                found.append(config)
            except ConfigError as error:
                if len(methods) * len(rules) == 1 or "rule = " not in str(error):
                    raise
                refused.append(f"{name} by {label} is left out: {error}")
    if not found:
        raise ConfigError(f"methods, rules: no pair goes together; {refused[0]}")
    said += refused
    return found


@dataclass(frozen=True)
class Scores:
    """How near models come to what is aimed at.

    Attributes:
        task: the examples; test: their answers are on its images.
        networks: the retrained model, where there is one; goal: the accuracies aimed at, by half and set.
        target: the same in words.
    """

    task: Task
    images: Any
    labels: np.ndarray
    networks: dict[str, Network]
    goal: dict[str, dict[str, float]]
    target: str

    @classmethod
    def of(cls, task: Task, test: Any, retrained: Model | None) -> "Scores":
        """Read the target off the retrained model, or off the original where there is none."""
        original = task.network()
        images_of(original, (task.images.train_images, task.images.train_labels), (test,))  # refuses wrong labels
        here = cls(task, test.images, test.labels.numpy(), {}, {}, "")
        if retrained is not None:
            there = network_of(on_device(retrained, original.device), task.images.train_images)
            goal = {half: here.accuracies(there, half) for half in HALVES}
            return cls(task, here.images, here.labels, {"retrained": there}, goal, "1 is equal to the retrained model")
        goal = {half: here.accuracies(original, half) for half in HALVES}
        goal = {half: found | {"forget": found["test"]} for half, found in goal.items()}
        words = "no retrained model was given, so 1 is the original's accuracy on retain and test, and on forget its"
        return cls(task, here.images, here.labels, {}, goal, f"{words} test accuracy")

    def accuracies(self, network: Network, half: str) -> dict[str, float]:
        """Return a model's accuracy on the retain set and on a half of forget and test set."""
        seen = measured(half, self.task.split.forget, self.labels)
        train, train_labels = self.task.images.train_images, self.task.images.train_labels.numpy()
        parts = {
            "retain": (train, self.task.split.retain, train_labels), "forget": (train, seen.forget, train_labels),
            "test": (self.images, seen.test, self.labels),
        }  # fmt: skip
        found = {}
        for name, (images, rows, labels) in parts.items():
            found[name] = float((answers(network, images, rows) == labels[rows]).mean())
        return found

    def score(self, network: Network, half: str) -> float:
        """Return the tug of war on a half."""
        return tow(self.accuracies(network, half), self.goal[half])

    def row(self, method: str, rule: str, lr: float, network: Network, made: Unlearned | None) -> dict[str, Any]:
        """Return a row of the table."""
        found = self.accuracies(network, "report")
        cost = (made.log.gradient_evaluations, made.log.seconds) if made else (0, 0.0)
        return {
            "method": method, "rule": rule, "lr": lr, **{name: found[name] for name in SETS},
            "tow": tow(found, self.goal["report"]), "gradients": cost[0], "seconds": round(cost[1], 2),
        }  # fmt: skip


def _searched(
    task: Task, scores: Scores, config: RunConfig, rates: list[float], progress: bool
) -> dict[float, tuple[float, Unlearned]]:
    """Return the validation score and the model of each rate that did not diverge.

    The grid goes on beyond an end, by the factor between its last two rates, while that end is the best.
    """
    if not getattr(load("methods", config.method), "steps", True):  # a method of no steps has no rate
        made = task.unlearned(config, progress=progress)
        return {np.nan: (scores.score(task_network(task, made), "validation"), made)}
    found: dict[float, tuple[float, Unlearned]] = {}

    def attempt(rate: float) -> None:
        try:
            made = task.unlearned(altered(config, lr=rate), progress=progress)
        except DivergedError:
            return
        found[rate] = (scores.score(task_network(task, made), "validation"), made)

    for rate in rates:
        attempt(rate)
    factor = rates[-1] / rates[-2] if len(rates) > 1 else 4.0
    for _ in range(MORE_RATES if found else 0):
        best = max(found, key=lambda rate: found[rate][0])
        if min(found) < best < max(found):
            break
        attempt(best / factor if best == min(found) else best * factor)
    return found
