"""Simulates settings in plain numpy, all seeds and rules at once: like `simulate_many`, with nothing to compile.

`theory.study.run_study` uses it if no machine code is stored yet and the settings are `affordable`. Only `attacks` are
measured by compiled code here, too.
"""

import math
from collections.abc import Sequence

import numpy as np

from theory.config import TheoryConfig, grouped
from theory.draw import draw
from theory.engine import (
    RulePhases,
    SeedResults,
    SeedRun,
    StagePlan,
    StageResult,
    Trajectory,
    collected,
    from_the_start,
    pretrain_plan,
    pretrain_rules,
    retrain_plan,
    unlearn_plan,
    unlearn_rules,
)
from theory.measures.metrics import metric_names
from theory.measures.plain_measure import measure_networks
from theory.steps.plain import Draws, Networks, advance_networks
from theory.training import NetworkState, phases_between, start_state


def simulate_plainly(configs: Sequence[TheoryConfig]) -> list[Trajectory]:
    """Simulate settings; those that differ only in their rules share draws, and those with similar rules train
    together."""
    found: dict[TheoryConfig, list[SeedResults]] = {}
    with np.errstate(over="ignore", invalid="ignore"):
        for settings in grouped(configs, lambda setting: setting.changed(pretrain="sgd", unlearn="sgd")).values():
            found |= _simulate_group(settings)
    return [collected(config, found[config]) for config in configs]


def _simulate_group(settings: list[TheoryConfig]) -> dict[TheoryConfig, list[SeedResults]]:
    """Return pretraining, retraining and unlearning of every seed, for settings that share their draws."""
    one = settings[0].pretrain_key()
    seeds = [SeedRun(one, draw(one, number)) for number in range(one.first_seed, one.first_seed + one.seeds)]
    starts = [start_state(seed.drawn.start) for seed in seeds]
    plans = [make(seed) for make in (pretrain_plan, retrain_plan) for seed in seeds]
    trained: dict[TheoryConfig, list[StageResult]] = {}  # of every seed on all samples, then of every seed on R
    for keys in _alike(pretrain_rules, [setting.pretrain_key() for setting in settings]):
        phases, results = [pretrain_rules(key) for key in keys], np.empty((len(keys), len(plans)), object)
        for per_epoch in {plan.schedule.per_epoch for plan in plans}:
            rows = [row for row, plan in enumerate(plans) if plan.schedule.per_epoch == per_epoch]
            states = [[starts[row % len(seeds)]] * len(keys) for row in rows]
            results[:, rows] = _train(one, [seeds[row % len(seeds)] for row in rows], [plans[row] for row in rows],
                                      phases, states)  # fmt: skip
        trained |= dict(zip(keys, results.tolist(), strict=True))
    found: dict[TheoryConfig, list[SeedResults]] = {}
    for together in _alike(unlearn_rules, settings):
        earlier = [trained[setting.pretrain_key()] for setting in together]
        states = [[start if results[s].diverged_at >= 0 else results[s].state for results in earlier]
                  for s, start in enumerate(starts)]  # fmt: skip
        plans = [unlearn_plan(seed, together[0]) for seed in seeds]
        after = _train(together[0], seeds, plans, [unlearn_rules(setting) for setting in together], states)
        for setting, results, unlearned in zip(together, earlier, after, strict=True):
            pretrained, retrained = results[: len(seeds)], results[len(seeds) :]
            ends = [from_the_start(setting, *both) for both in zip(pretrained, unlearned, strict=True)]
            found[setting] = list(zip(pretrained, retrained, ends, strict=True))
    return found


def _alike(rules_of, configs: Sequence[TheoryConfig]) -> list[list[TheoryConfig]]:
    """Group settings by rules that differ only in their radii; in a group small radii come first."""

    def rules(config: TheoryConfig) -> tuple:
        return tuple((*(tuple(column) for column in (rule.samples, rule.neurons, rule.sharpness)),
                      rule.mask_size, rule.scaled, epochs) for rule, epochs in rules_of(config))  # fmt: skip

    def radius(config: TheoryConfig) -> float:
        return max(rule.rho.max() for rule, _ in rules_of(config))

    return [sorted(group, key=radius) for group in grouped(configs, rules).values()]


def _train(
    config: TheoryConfig, seeds: Sequence[SeedRun], plans: Sequence[StagePlan], phases: Sequence[RulePhases],
    states: Sequence[Sequence[NetworkState]],
) -> list[list[StageResult]]:  # fmt: skip
    """Advance K networks of each of S seeds from checkpoint to checkpoint; return K results of each seed.

    Networks that end early or diverge go on with the others, but are measured no longer.

    Args:
        config: the setting.
        seeds: draws.
        plans: one for each seed, with the same number of steps in an epoch; their own phases are not used.
        phases: of each of the K networks.
        states: K for each of S seeds; they are not changed.
    """
    drawn = [seed.drawn for seed in seeds]
    probing = [plan.probing for plan in plans if plan.probing is not None] or None
    draws, nets, schedules = Draws.of(drawn), Networks.of(states), [plan.schedule for plan in plans]
    velocity, names = nets.at_rest() if config.inertial else None, metric_names(config, probing=probing is not None)
    shape = len(phases), len(seeds)
    values = [np.full((len(phases), len(names), len(plan.epochs)), np.nan) for plan in plans]
    stopped, diverged, going = np.full(shape, -1), np.full(shape, -1), np.full(shape, True)
    ends = np.empty(shape, object)
    epochs = sorted({epoch for plan in plans for epoch in plan.epochs})
    for before, epoch in zip([0, *epochs], epochs, strict=False):
        for phases_now in zip(*(phases_between(own, before, epoch) for own in phases), strict=True):
            _, first, last = phases_now[0]
            steps = first * schedules[0].per_epoch, last * schedules[0].per_epoch
            lost_at = advance_networks(draws, nets, schedules, [rule for rule, _, _ in phases_now], *steps, velocity)
            diverged, going = np.where(going, lost_at, diverged), going & (lost_at < 0)
        rows = np.array([s for s, plan in enumerate(plans) if epoch in plan.epochs])
        if not going.any():
            break
        asked = probing and [probing[s] for s in rows]
        some = (draws, nets) if len(rows) == len(seeds) else (Draws.of([drawn[s] for s in rows]), nets.only(rows))
        found = measure_networks(config, [drawn[s] for s in rows], *some, asked)
        table = np.stack([found[name] for name in names], axis=1)  # (K, metrics, S)
        wrong = going[:, rows] & ~np.isfinite(table).all(axis=1)  # the state is still finite, but its products are not
        for s, numbers, bad in zip(rows, table.transpose(2, 0, 1), wrong.T, strict=True):
            column, measured = plans[s].epochs.index(epoch), going[:, s] & ~bad
            over = measured & plans[s].is_over(dict(zip(names, numbers.T, strict=True)))
            values[s][measured, :, column] = numbers[measured]
            values[s][over, :, column:] = numbers[over][..., None]
            diverged[bad, s], stopped[over, s] = max(epoch * schedules[0].per_epoch - 1, 0), epoch
            going[:, s] &= ~(bad | over)
        if (stopped == epoch).any():
            _keep(ends, nets.states(draws), stopped == epoch)
    _keep(ends, nets.states(draws), stopped < 0)
    return [[StageResult(ends[k, s], values[s][k], int(stopped[k, s]), int(diverged[k, s])) for s in range(len(seeds))]
            for k in range(len(phases))]  # fmt: skip


def _keep(ends: np.ndarray, states: list[list[NetworkState]], which: np.ndarray) -> None:
    for k, s in np.argwhere(which):
        ends[k, s] = states[s][k]


def affordable(configs: Sequence[TheoryConfig]) -> bool:
    """Return whether plain numpy would finish before the compiler; attacks always need the compiler.

    The limit is on steps x n x m. An epoch of unlearning counts as many steps as an epoch of pretraining.
    """
    steps = sum(one.seeds * (one.pretrain_epochs + one.epochs) * math.ceil(one.n / one.batch_size) for one in configs)
    return steps * max(one.n * one.m for one in configs) <= 2e8 and not any(one.attacks for one in configs)
