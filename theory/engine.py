"""Simulates settings: draw, pretrain, retrain on R, unlearn, and measure at checkpoints; seeds run in parallel.

A job is one seed of one pretraining. Retraining starts where pretraining did; each unlearning starts from a copy of the
pretrained state, and settings of equal sizes and epochs read the same batches. A stage can end early only at a
checkpoint, or when it diverges.

Steps are compiled code; only ASAM by entry runs in numpy. If nothing is compiled yet and the settings are few,
`theory.study.run_study` calls `theory.steps.plain_run` instead: the same stages in numpy, with the same numbers up to
rounding.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from repro.base.progress import track
from repro.base.settings import reject
from theory.config import TheoryConfig, checkpoint_epochs, grouped
from theory.draw import Draw, draw, generator
from theory.measures.metrics import Probe, metric_names
from theory.training import (
    BY_ENTRY,
    NetworkState,
    NeuronRule,
    Schedule,
    copy_state,
    forgetting_schedule,
    make_rule,
    phases_between,
    plain_schedule,
    pretrain_schedule,
    start_state,
    unlearn_schedule,
    zero_velocity,
)

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Trajectory:
    """Everything that was measured in one setting.

    Attributes:
        config: its settings.
        seeds: seed of each row, shape `(seeds,)`.
        epochs: measured epochs of unlearning, 0 being the pretrained model, shape `(checkpoints,)`.
        metrics: name to values, axes ("seed", "epoch"), shape `(seeds, checkpoints)`.
        pretrain_epochs: measured epochs of pretraining, shape `(pretrain checkpoints,)`.
        pretrain: name to values, shape `(seeds, pretrain checkpoints)`.
        retrained: name to values of the model trained on R alone from the same start, shape `(seeds,)`.
        pretrained_at: epoch at which pretraining reached its training loss, or -1, shape `(seeds,)`.
        stopped_at: epoch at which the forget level was reached, or -1, shape `(seeds,)`; values stay as they were then.
        diverged_at: step, counted from the start of pretraining, at which the loss left the finite range, or -1.
    """

    config: TheoryConfig
    seeds: np.ndarray
    epochs: np.ndarray
    metrics: dict[str, np.ndarray]
    pretrain_epochs: np.ndarray
    pretrain: dict[str, np.ndarray]
    retrained: dict[str, np.ndarray]
    stopped_at: np.ndarray
    diverged_at: np.ndarray
    pretrained_at: np.ndarray

    @property
    def status(self) -> str:
        """Return "diverged" when any seed left the finite range, else "ok"."""
        return "diverged" if np.any(self.diverged_at >= 0) else "ok"

    @property
    def reached(self) -> np.ndarray:
        """Return which seeds reached the forget level at which the setting stops, shape `(seeds,)`."""
        return self.stopped_at >= 0

    @property
    def epochs_needed(self) -> np.ndarray:
        """Return the epoch at which each seed reached the forget level, NaN where it did not, shape `(seeds,)`."""
        return np.where(self.reached, self.stopped_at.astype(float), np.nan)

    def final(self, name: str, *, matched: bool = False) -> np.ndarray:
        """Return a metric at the last checkpoint, shape `(seeds,)`; with `matched`, NaN for seeds that missed the
        forget level."""
        values = self.metrics[name][:, -1]
        return np.where(self.reached, values, np.nan) if matched else values

    def oracle_gap(self, name: str, *, matched: bool = False) -> np.ndarray:
        """Return `|metric - metric of the retrained model|` at the last checkpoint, shape `(seeds,)`."""
        return np.abs(self.final(name, matched=matched) - self.retrained[name])

    def to_frame(self) -> pandas.DataFrame:
        """Return one row for each seed, `phase` (pretrain or unlearn) and epoch, and one column for each metric."""
        import pandas as pd

        stages = {"pretrain": (self.pretrain_epochs, self.pretrain), "unlearn": (self.epochs, self.metrics)}
        frames = []
        for stage, (epochs, metrics) in stages.items():
            index = pd.MultiIndex.from_product([self.seeds, epochs], names=("seed", "epoch"))
            frame = pd.DataFrame({name: values.ravel() for name, values in metrics.items()}, index=index)
            frames.append(frame.reset_index().assign(phase=stage))
        return pd.concat(frames, ignore_index=True)


@dataclass(frozen=True)
class StageResult:
    """One stage of one seed: its values at every checkpoint, and how it ended."""

    state: NetworkState
    values: np.ndarray  # (metrics, checkpoints)
    stopped_at: int = -1
    diverged_at: int = -1


SeedResults = tuple[StageResult, StageResult, StageResult]  # of one seed: pretraining, retraining on R, unlearning


def simulate(config: TheoryConfig) -> Trajectory:
    """Simulate one setting for all its seeds."""
    return simulate_many([config], description="simulating")[0]


def simulate_many(configs: Sequence[TheoryConfig], *, description: str = "", oracle: bool = True) -> list[Trajectory]:
    """Simulate several settings; those that differ only in unlearning share their draw, pretraining and retraining.

    A description shows a progress bar. Each job is one seed of one pretraining. Its numbers depend only on its config
    and seed, not on the number of threads or on other jobs. The compiled step releases the interpreter lock, so threads
    suffice. Without `oracle` nothing is retrained on R, and `retrained` is NaN.
    """
    groups = grouped(configs)
    jobs = [(key, key.first_seed + i) for key in groups for i in range(key.seeds)]
    rows: dict[TheoryConfig, list[SeedResults]] = {config: [] for config in configs}

    def simulate_seed(job: tuple[TheoryConfig, int]) -> list[SeedResults]:
        key, seed = job[0], SeedRun(job[0], draw(*job))
        pretrained = train(seed, key, start_state(seed.drawn.start), pretrain_plan(seed))
        retrained = nothing_retrained(key, pretrained)
        if oracle:
            retrained = train(seed, key, start_state(seed.drawn.start), retrain_plan(seed))
        return [(pretrained, retrained, unlearn(seed, config, pretrained)) for config in groups[key]]

    with ThreadPoolExecutor(thread_count()) as pool:
        done = pool.map(simulate_seed, jobs)
        shown = track(done, description, total=len(jobs)) if description else done
        for (key, _), found in zip(jobs, shown, strict=True):
            for config, results in zip(groups[key], found, strict=True):
                rows[config].append(results)
    return [collected(config, rows[config]) for config in configs]


class Orders(NamedTuple):
    """The batches of a run made elsewhere, as sample indices of its draw, retain samples first.

    Attributes:
        pretrain: samples of each step, shape `(steps, B)`; a short batch is padded with n.
        unlearn: the same, shape `(steps, B_R + B_F)`.
    """

    pretrain: np.ndarray
    unlearn: np.ndarray


def replay(config: TheoryConfig, drawn: Draw, orders: Orders) -> Trajectory:
    """Simulate one setting on a given draw and given batches, for example of a network trained elsewhere.

    Nothing is retrained.

    Args:
        config: the setting; its `n`, `n_forget`, `m` and epochs must agree with draw and batches.
        drawn: data and initial weights, such as `Draw.from_vectors` makes.
        orders: the batches.

    Returns:
        A trajectory of one row, the seed `config.first_seed`; `retrained` is NaN.

    Raises:
        ConfigError: naming the setting that draw or batches contradict.
    """
    neurons, n = drawn.start.V.shape
    vectors = drawn.problem.vectors
    given = {"n": n // vectors, "n_forget": (n - drawn.problem.n_retain) // vectors, "m": neurons // 2}
    for name in ("forget_angle", "label_noise", "activation_power"):
        if getattr(config, name) != getattr(TheoryConfig, name):
            raise reject(name, getattr(config, name), f"{getattr(TheoryConfig, name):g}, as in the draw")
    if config.noise_vectors != vectors:
        raise reject("noise_patches", config.noise_patches, f"such that a sample has {vectors} noise vectors")
    for name, value in given.items():
        if getattr(config, name) != value:
            raise reject(name, getattr(config, name), f"{value}, as in the draw")
    config, labels, schedules = replace(config, seeds=1), drawn.problem.labels, []
    for stage, make in (("pretrain", plain_schedule), ("unlearn", forgetting_schedule)):
        rows, name = getattr(orders, stage), {"pretrain": "pretrain_epochs", "unlearn": "epochs"}[stage]
        epochs = max(getattr(config, name), 1)
        if len(rows) % epochs:
            raise reject(name, epochs, f"a divisor of the {len(rows)} given steps")
        schedules.append(make(config, labels, rows, per_epoch=len(rows) // epochs))
    seed = SeedRun(config, drawn, given=schedules[1])
    plan = trained_plan(config, schedules[0], np.arange(config.n))
    pretrained = train(seed, config, start_state(drawn.start), plan)
    return collected(config, [(pretrained, nothing_retrained(config, pretrained), unlearn(seed, config, pretrained))])


def thread_count() -> int:
    """Return the threads to use: `NUMBA_NUM_THREADS` if set, else the cores this process may run on."""
    allowed = os.environ.get("NUMBA_NUM_THREADS")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(allowed) if allowed else cores


@dataclass
class SeedRun:
    """One draw of a pretraining, and its batches; settings that read the same batches share one schedule.

    Attributes:
        key: the settings of the pretraining.
        drawn: data and initial weights.
        given: the batches of unlearning, if they were made elsewhere.
    """

    key: TheoryConfig
    drawn: Draw
    given: Schedule | None = None
    _schedules: dict[tuple, Schedule] = field(default_factory=dict)

    def schedule(self, config: TheoryConfig, purpose: str) -> Schedule:
        """Return the schedule of a setting for "unlearn", or one epoch of batches for "probe"."""
        if purpose == "unlearn" and self.given is not None:
            return self.given
        epochs = config.epochs if purpose == "unlearn" else 1
        asked = purpose, epochs, config.retain_batch, config.forget_batch, config.method, config.alpha
        if asked not in self._schedules:
            rng, labels = generator(self.drawn.seed, purpose), self.drawn.problem.labels
            self._schedules[asked] = unlearn_schedule(replace(config, epochs=epochs), labels, rng)
        return self._schedules[asked]


RulePhases = list[tuple[NeuronRule, int]]  # the rules of a stage in order, each with its epochs


class StagePlan(NamedTuple):
    """A stage before it begins.

    Attributes:
        schedule: its batches.
        phases: its rules in order, each with its epochs.
        epochs: checkpoints, at which it is measured.
        is_over: from the metrics of a checkpoint, whether the stage ends there.
        probing: where to measure activations; None leaves them out.
    """

    schedule: Schedule
    phases: RulePhases
    epochs: list[int]
    is_over: Callable[[dict[str, Any]], Any]
    probing: Probe | None = None


def pretrain_plan(seed: SeedRun) -> StagePlan:
    """Return the pretraining of a seed, on all samples."""
    return trained_plan(seed.key, *_plain_training(seed, seed.key.n))


def retrain_plan(seed: SeedRun) -> StagePlan:
    """Return the same training on the retain samples alone; only its end is measured."""
    plan = trained_plan(seed.key, *_plain_training(seed, seed.key.n_retain))
    return plan if seed.key.pretrain_stop_loss is not None else plan._replace(epochs=plan.epochs[-1:])


def _plain_training(seed: SeedRun, count: int) -> tuple[Schedule, np.ndarray]:
    rng, members = generator(seed.drawn.seed, "pretrain"), np.arange(count)
    return pretrain_schedule(seed.key, seed.drawn.problem.labels, rng, members=members), members


def trained_plan(key: TheoryConfig, schedule: Schedule, members: np.ndarray) -> StagePlan:
    """Return a pretraining on given batches of `members`; it ends at the training loss of `pretrain_stop_loss`."""
    shares = np.array([np.mean(members < key.n_retain), np.mean(members >= key.n_retain)])

    def is_trained(found: dict[str, Any]) -> Any:
        loss = shares[0] * found["retain_loss"] + shares[1] * found["forget_loss"]
        return key.pretrain_stop_loss is not None and loss <= key.pretrain_stop_loss

    epochs = checkpoint_epochs(key.pretrain_epochs, key.checkpoint_every)
    return StagePlan(schedule, pretrain_rules(key), epochs, is_trained)


def pretrain_rules(key: TheoryConfig) -> RulePhases:
    """Return the rules of pretraining in order, each with its epochs."""
    return [(make_rule(name, key, rho=rho), epochs) for name, rho, epochs in key.pretrain_phases()]


def unlearn_rules(config: TheoryConfig) -> RulePhases:
    """Return the rule of unlearning with its epochs."""
    return [(make_rule(config.unlearn, config, rho=config.rho), config.epochs)]


def unlearn_plan(seed: SeedRun, config: TheoryConfig) -> StagePlan:
    """Return the unlearning of a seed; it ends at the forget error of `stop_forget_error`."""
    level = config.stop_forget_error
    epochs = checkpoint_epochs(config.epochs, config.checkpoint_every)
    probing = Probe(seed.schedule(config, "probe"), config.probe_rho_scale * config.rho_th)
    return StagePlan(seed.schedule(config, "unlearn"), unlearn_rules(config), epochs,
                lambda found: level is not None and found["forget_error"] >= level, probing)  # fmt: skip


def nothing_retrained(config: TheoryConfig, pretrained: StageResult) -> StageResult:
    """Return the result of a retraining that does not run: NaN."""
    return StageResult(pretrained.state, np.full((len(metric_names(config, probing=False)), 1), np.nan))


def nothing_unlearned(config: TheoryConfig, pretrained: StageResult) -> StageResult:
    """Return the result of unlearning after a pretraining that diverged: NaN."""
    epochs = checkpoint_epochs(config.epochs, config.checkpoint_every)
    return replace(pretrained, values=np.full((len(metric_names(config)), len(epochs)), np.nan), stopped_at=-1)


def from_the_start(config: TheoryConfig, pretrained: StageResult, result: StageResult) -> StageResult:
    """Return a result of unlearning whose step of divergence is counted from the start of pretraining.

    After a diverged pretraining there is nothing to unlearn.
    """
    if pretrained.diverged_at >= 0:
        return nothing_unlearned(config, pretrained)
    if result.diverged_at < 0:
        return result
    trained = pretrained.stopped_at if pretrained.stopped_at >= 0 else config.pretrain_epochs
    return replace(result, diverged_at=result.diverged_at + trained * -(-config.n // config.batch_size))


def unlearn(seed: SeedRun, config: TheoryConfig, pretrained: StageResult) -> StageResult:
    """Unlearn from a copy of a pretrained state; after a diverged pretraining there is nothing to unlearn."""
    if pretrained.diverged_at >= 0:
        return nothing_unlearned(config, pretrained)
    result = train(seed, config, copy_state(pretrained.state), unlearn_plan(seed, config))
    return from_the_start(config, pretrained, result)


def train(seed: SeedRun, config: TheoryConfig, state: NetworkState, plan: StagePlan) -> StageResult:
    """Train a state in place from checkpoint to checkpoint, until the last one, the plan's condition or divergence."""
    from theory.measures.measure import measure_network

    drawn, schedule, epochs = seed.drawn, plan.schedule, plan.epochs
    names, velocity = metric_names(config, probing=plan.probing is not None), zero_velocity(config, state)
    values = np.full((len(names), len(epochs)), np.nan)
    for column, (before, epoch) in enumerate(zip([0, *epochs], epochs, strict=False)):
        for rule, first, last in phases_between(plan.phases, before, epoch):
            steps = first * schedule.per_epoch, last * schedule.per_epoch
            diverged_at = advance(drawn, state, schedule, rule, steps, velocity)
            if diverged_at >= 0:
                return StageResult(state, values, -1, diverged_at)
        with np.errstate(over="ignore", invalid="ignore"):
            found = measure_network(config, drawn, state, plan.probing)
        if not all(map(math.isfinite, found.values())):  # the state is finite still, its products are not
            return StageResult(state, values, -1, max(epoch * schedule.per_epoch - 1, 0))
        values[:, column] = [found[name] for name in names]
        if plan.is_over(found):
            values[:, column:] = values[:, column : column + 1]
            return StageResult(state, values, epoch)
    return StageResult(state, values)


def advance(
    drawn: Draw, state: NetworkState, schedule: Schedule, rule: NeuronRule, steps: tuple[int, int],
    velocity: NetworkState | None,
) -> int:  # fmt: skip
    """Advance one network and its velocity in place; return the step whose output left the finite range, or -1.

    The compiled step is used; a rule that needs explicit vectors runs in numpy.
    """
    from theory.steps import dynamics, plain

    if rule.scaled != BY_ENTRY:
        return dynamics.advance_network(drawn.problem, state, schedule, rule, *steps, velocity, drawn.start)
    draws, states = plain.Draws.of([drawn]), [state] if velocity is None else [state, velocity]
    nets, *moving = (plain.Networks.of([[one]]) for one in states)
    diverged_at = int(plain.advance_networks(draws, nets, [schedule], [rule], *steps, *moving)[0, 0])
    for one, moved in zip(states, (nets, *moving), strict=True):
        for array, values in zip(one, moved.states(draws)[0][0], strict=True):
            array[:] = values
    return diverged_at


def collected(config: TheoryConfig, rows: list[SeedResults]) -> Trajectory:
    """Return the trajectory of a setting from the (pretrained, retrained, unlearned) results of its seeds."""
    pretrained, retrained, unlearned = (list(column) for column in zip(*rows, strict=True))
    trained, names = metric_names(config, probing=False), metric_names(config)
    oracle = {name: values[:, -1] for name, values in _stack(retrained, trained).items()}
    return Trajectory(
        config,
        seeds=np.arange(config.first_seed, config.first_seed + config.seeds),
        epochs=np.array(checkpoint_epochs(config.epochs, config.checkpoint_every)),
        metrics=_stack(unlearned, names),
        pretrain_epochs=np.array(checkpoint_epochs(config.pretrain_epochs, config.checkpoint_every)),
        pretrain=_stack(pretrained, trained),
        retrained=oracle,
        stopped_at=np.array([result.stopped_at for result in unlearned]),
        diverged_at=np.array([result.diverged_at for result in unlearned]),
        pretrained_at=np.array([result.stopped_at for result in pretrained]),
    )


def _stack(results: list[StageResult], names: Sequence[str]) -> dict[str, np.ndarray]:
    return {name: np.stack([result.values[row] for result in results]) for row, name in enumerate(names)}
