"""Simulates settings in plain numpy, all seeds at once: what `simulate_many` does, with nothing to compile.

But for `attacks`, which are measured by compiled code.
"""

import math
from collections.abc import Sequence
from itertools import chain

import numpy as np

from theory.attacks import attacks
from theory.config import TheoryConfig, grouped
from theory.curvature import curvature
from theory.draw import draw
from theory.engine import EnginePlan, Group, Phase, Phases, Trajectory, collected
from theory.metrics import Probe, metric_names
from theory.plain import Networks, Seeds, advance
from theory.plain_measure import plain_test_errors, probed, training_numbers
from theory.points import lattice_count, networks_seen, noise_scale, points_of
from theory.training import NetworkState, Schedule, pieces


def simulate_plainly(configs: Sequence[TheoryConfig], *, oracle: bool = True) -> list[Trajectory]:
    """Simulate several settings; those that differ only in unlearning share their draws, pretraining and retraining.

    Those that differ only in their pretraining unlearn together, as if they were seeds of one.
    """
    rows: dict[TheoryConfig, list[Phases]] = {}
    before: dict[TheoryConfig, tuple[Group, list[Phase], list[Phase]]] = {}
    with np.errstate(over="ignore", invalid="ignore"):
        for key in grouped(configs):
            group = PlainGroup(key, [draw(key, seed) for seed in range(key.first_seed, key.first_seed + key.seeds)])
            before[key] = group, *group.trained(oracle=oracle)
        for config, cells in grouped(configs, TheoryConfig.unlearn_key).items():
            groups, *phases = zip(*(before[cell.pretrain_key()] for cell in cells), strict=True)
            pretrained, retrained = (list(chain.from_iterable(each)) for each in phases)
            together = PlainGroup(config, list(chain.from_iterable(group.draws for group in groups)))
            found = list(zip(pretrained, retrained, together.unlearn(config, pretrained), strict=True))
            rows |= {cell: found[place * cell.seeds : (place + 1) * cell.seeds] for place, cell in enumerate(cells)}
    return [collected(config, rows[config]) for config in configs]


class PlainGroup(Group):
    """Seeds that are trained together, as arrays with an axis for them."""

    def train(
        self, config: TheoryConfig, states: list[NetworkState], rows: np.ndarray, plans: list[EnginePlan],
        probing: list[Probe] | None = None,
    ) -> list[Phase]:  # fmt: skip
        """Advance the seeds `rows` from checkpoint to checkpoint; one that ends early, or diverges, stands aside."""
        names, plan = metric_names(config, probing=probing is not None), plans[0]
        per_epoch, epochs = plan.schedule.per_epoch, plan.epochs
        values = np.full((len(rows), len(names), len(epochs)), np.nan)
        ends: dict[int, Phase] = {}
        going, nets = np.arange(len(rows)), Networks.of(states)
        velocity = Networks(*(np.zeros_like(array) for array in nets)) if config.inertial else None
        seeds = Seeds.of([self.draws[row] for row in rows])

        def leave(gone: np.ndarray, stopped_at: int, diverged_at: Sequence[int]) -> None:
            nonlocal going, nets, velocity, seeds
            for place, step in zip(np.flatnonzero(gone), diverged_at, strict=True):
                own = int(going[place])
                ends[own] = Phase(nets.state(int(place)), values[own], stopped_at, int(step))
            going, nets, seeds = going[~gone], nets.only(~gone), seeds.only(~gone)
            velocity = velocity.only(~gone) if velocity is not None else None

        for column, (before, epoch) in enumerate(zip([0, *epochs], epochs, strict=False)):
            for rule, first, last in pieces(plan.legs, before, epoch):
                schedules = [plans[own].schedule for own in going]
                steps = advance(seeds, nets, schedules, rule, first * per_epoch, last * per_epoch, velocity)
                if np.any(steps >= 0):
                    leave(steps >= 0, -1, steps[steps >= 0].tolist())
                if not len(going):
                    break
            if not len(going):
                break
            found = self._measure(config, rows[going], seeds, nets, probing and [probing[own] for own in going])
            columns = np.stack([found[name] for name in names], axis=1)
            wrong = np.logical_not(np.isfinite(columns).all(axis=1))  # the state is finite still, its products are not
            values[going[~wrong], :, column] = columns[~wrong]
            over = np.array([not bad and plans[own].is_over(dict(zip(names, row, strict=True)))
                             for own, bad, row in zip(going, wrong, columns.tolist(), strict=True)])  # fmt: skip
            values[going[over], :, column:] = columns[over][..., None]
            if wrong.any():
                leave(wrong, -1, [max(epoch * per_epoch - 1, 0)] * int(wrong.sum()))
                over = over[~wrong]
            if over.any():
                leave(over, epoch, [-1] * int(over.sum()))
            if not len(going):
                break
        leave(np.ones(len(going), bool), -1, [-1] * len(going))
        return [ends[own] for own in range(len(rows))]

    def _measure(
        self, config: TheoryConfig, rows: np.ndarray, seeds: Seeds, nets: Networks, probing: list[Probe] | None
    ) -> dict[str, np.ndarray]:
        """Return every metric of the seeds `rows`, each of shape `(len(rows),)`."""
        draws = [self.draws[row] for row in rows]
        K, numbers = training_numbers(seeds, nets)
        found = numbers.metrics()
        points = np.stack([points_of(config, one.problem, one.seed) for one in draws])
        problem, lattices = draws[0].problem, lattice_count(config.directions)
        seen = [networks_seen(config, one.problem, u, k) for one, u, k in zip(draws, nets.u, K, strict=True)]
        for name in seen[0]:
            stacks = (
                np.stack([one[name][0] for one in seen]),
                np.stack([one[name][1] for one in seen]),
                seen[0][name][2],
            )
            found[name], found[f"{name}_quadrature"] = plain_test_errors(
                *stacks, noise_scale(config, problem), points, lattices, config.activation_power
            )
        if config.curvature:
            both = [curvature(one, nets.state(place)) for place, one in enumerate(draws)]
            found["retain_curvature_top"], found["retain_curvature_trace"] = np.array(both).T
        if config.attacks:
            each = [attacks(config, one, nets.state(place), K[place]) for place, one in enumerate(draws)]
            found |= {name: np.array([values[name] for values in each]) for name in each[0]}
        if probing is not None:
            schedules: list[Schedule] = [one.schedule for one in probing]
            found |= probed(seeds, nets, schedules, probing[0].rho).metrics()
        return found


def affordable(configs: Sequence[TheoryConfig]) -> bool:
    """Return whether settings are so few that plain numpy is done before the compiler would be."""
    steps = sum(one.seeds * (one.pretrain_epochs + one.epochs) * math.ceil(one.n / one.batch_size) for one in configs)
    return steps * max(one.n * one.m for one in configs) <= 4e7
