"""Trajectories and matched forgetting, on runs whose accuracies are written down by hand."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from figures.networks.trajectories import matched_table
from figures.tables.trajectories import matched_rows, trajectory_rows
from repro.records.record import Record

Make = Callable[..., Record]
LEVELS = {"original": (0.9, 0.9, 0.8), "retrained": (0.5, 0.5, 0.5)}
ENDS = {f"{role}_{name}_accuracy": value for role, values in LEVELS.items()
        for name, value in zip(("retain", "forget", "test"), values, strict=True)}  # fmt: skip


@pytest.fixture
def unlearned(run: Make) -> Make:
    """Make a run with one point an epoch, ten gradient evaluations each; test accuracy is 0.5 throughout."""

    def make(forget: Sequence[float], *, retain: Sequence[float] = (), number: Any = None, **settings: Any) -> Record:
        rows = [{"epoch": place + 1, "accuracies": [{"progress": 1.0, "gradient_evaluations": 10 * (place + 1),
                                                     "retain": r, "forget": f, "test": 0.5}]}
                for place, (f, r) in enumerate(zip(forget, retain or [0.5] * len(forget), strict=True))]  # fmt: skip
        content = "\n".join(map(json.dumps, rows)).encode()
        return replace(run(number={**ENDS, **(number or {})}, **settings), files={"epochs.jsonl": content})

    return make


def test_a_trajectory_starts_at_the_original_and_is_held_against_the_retrained_model(unlearned: Make) -> None:
    rows = trajectory_rows([unlearned([0.7, 0.5])])
    assert rows["gradient_evaluations"].tolist() == [0, 10, 20]
    assert rows["forget"].tolist() == [0.9, 0.7, 0.5]
    assert rows["forgotten"].tolist() == pytest.approx([0.0, 0.5, 1.0])
    assert rows["tow"].tolist() == pytest.approx([0.6 * 0.6 * 0.7, 0.8, 1.0])


def test_a_part_of_the_retain_set_is_put_where_the_whole_ends(unlearned: Make) -> None:
    rows = trajectory_rows([unlearned([0.7, 0.6, 0.5], retain=[0.95, 0.6, 0.7], number={"retain_accuracy": 0.8})])
    original = ENDS["original_retain_accuracy"]
    assert rows["retain"].tolist() == pytest.approx([original, 1.0, 0.7, 0.8])
    (row,) = matched_rows(rows).to_dict("records")
    assert row["retain_end"] == 0.8


def test_runs_without_accuracies_on_the_way_or_without_ends_have_no_trajectory(unlearned: Make, run: Make) -> None:
    plain = replace(run(number=ENDS), files={"epochs.jsonl": b'{"epoch": 1}\n{"epoch": 2, "accuracies": []}'})
    assert len(trajectory_rows([plain, run(number=ENDS)])) == 0
    assert len(trajectory_rows([replace(unlearned([0.7]), result=run().result)])) == 0
    assert len(matched_rows(trajectory_rows([]))) == 0


def test_matched_forgetting_is_where_forget_accuracy_first_comes_halfway(unlearned: Make) -> None:
    # Halfway from 0.9 to 0.5 is 0.7: a third of the way from 0.8 after 10 to 0.5 after 20 evaluations. Later it returns
    # and comes again; no matter.
    run = unlearned([0.8, 0.5, 0.9, 0.5], retain=[0.9, 0.6, 0.5, 0.5])
    (row,) = matched_rows(trajectory_rows([run])).to_dict("records")
    assert row["reached"]
    assert row["gradient_evaluations_matched"] == pytest.approx(10 + 10 / 3)
    assert row["retain_matched"] == pytest.approx(0.8)
    # ToW at the two points: 0.6 * 0.7 and 0.9, and between.
    assert row["tow_matched"] == pytest.approx(0.42 + (0.9 - 0.42) / 3)
    assert (row["gradient_evaluations_end"], row["tow_end"]) == pytest.approx((40.0, 1.0))


def test_a_run_that_never_comes_halfway_is_counted_and_has_no_number(unlearned: Make) -> None:
    rows = matched_rows(trajectory_rows([unlearned([0.85, 0.8]), unlearned([0.7, 0.5], seed=1)]))
    assert rows["reached"].tolist() == [False, True]
    assert math.isnan(rows["tow_matched"][0])
    (cell,) = matched_table(rows).to_dict("records")
    assert (cell["reached"], cell["runs"], cell["tow_matched_seeds"]) == (1, 2, 1)
    same = {f"{role}_forget_accuracy": 0.6 for role in ("original", "retrained")}
    assert matched_rows(trajectory_rows([unlearned([0.5], number=same)]))["reached"].tolist() == [False]


def test_rules_are_compared_with_sgd_of_the_same_seed(unlearned: Make) -> None:
    runs = [unlearned([0.7], retain=[0.6 + 0.1 * seed], seed=seed) for seed in range(3)]
    runs += [unlearned([0.7], retain=[0.5 + 0.1 * seed], rule="sam-0.1", seed=seed) for seed in range(3)]
    table = matched_table(matched_rows(trajectory_rows(runs))).set_index("rule")
    # Retain accuracy is 0.1 nearer to the retrained model's; ToW is 0.8 times one minus the gap.
    assert table.loc["sam-0.1", "tow_matched_minus_sgd_mean"] == pytest.approx(0.08)
    assert table.loc["sam-0.1", "tow_end_minus_sgd_mean"] == pytest.approx(0.08)
    assert table.loc["sgd", "tow_end_minus_sgd_mean"] == pytest.approx(0.0)
