"""A phase as data: mini-batches without replacement, weighted as the loss says; states that share nothing."""

from dataclasses import replace

import numpy as np
import pytest

from theory.config import TheoryConfig
from theory.draw import draw, generator
from theory.training import LANES, copy_state, pretrain_schedule, start_state, unlearn_schedule

CONFIG = TheoryConfig(n=23, n_forget=5, batch_size=7, retain_batch=4, forget_batch=3, pretrain_epochs=6, epochs=6)
LABELS = np.where(np.arange(23) % 3, 1.0, -1.0)


def test_every_pretraining_epoch_reads_each_sample_once():
    schedule = pretrain_schedule(CONFIG, LABELS, generator(0, "x"), members=np.arange(23))
    assert schedule.per_epoch == 4
    for epoch in range(6):
        steps = range(4 * epoch, 4 * epoch + 4)
        read = np.concatenate([schedule.samples[t, : schedule.size[t]] for t in steps])
        assert sorted(read) == list(range(23))
    np.testing.assert_allclose(schedule.weights.sum(axis=1), 1.0, rtol=1e-12)


def test_unlearning_reads_retain_once_an_epoch_and_cycles_the_forget_set_across_epochs():
    schedule = unlearn_schedule(CONFIG, LABELS, generator(0, "x"))
    reads = [schedule.samples[t, : schedule.size[t]] for t in range(len(schedule.size))]
    first = np.concatenate(reads[: schedule.per_epoch])
    assert sorted(first[first < 18]) == list(range(18))
    for t in range(0, len(reads) - 1, 2):  # two batches of three and two samples make a pass
        read = np.concatenate(reads[t : t + 2])
        assert sorted(read[read >= 18]) == list(range(18, 23))


@pytest.mark.parametrize("method, sign", [("neggrad", -1.0), ("random_label", 1.0)])
def test_weights_are_alpha_on_retain_and_the_rest_on_forget_whose_labels_random_label_flips(method, sign):
    schedule = unlearn_schedule(replace(CONFIG, method=method, alpha=0.7), LABELS, generator(0, "x"))
    in_retain = schedule.samples < 18
    np.testing.assert_allclose(np.where(in_retain, schedule.weights, 0).sum(axis=1), 0.7, rtol=1e-12)
    np.testing.assert_allclose(np.where(in_retain, 0, schedule.weights).sum(axis=1), sign * 0.3, rtol=1e-12)
    np.testing.assert_array_equal(schedule.loss_labels[:18], LABELS[:18])
    np.testing.assert_array_equal(schedule.loss_labels[18:], -sign * LABELS[18:])


def test_batches_are_padded_to_whole_registers_with_weight_zero():
    schedule = unlearn_schedule(CONFIG, LABELS, generator(0, "x"))
    assert schedule.samples.shape[1] % LANES == 0
    for size, weights in zip(schedule.size, schedule.weights, strict=True):
        assert np.all(weights[size:] == 0.0)


def test_a_batch_larger_than_its_set_is_the_set():
    large, whole = (unlearn_schedule(replace(CONFIG, retain_batch=size, forget_batch=size), LABELS, generator(0, "x"))
                    for size in (3 * 10**9, 18))  # fmt: skip
    for one, other in zip(large, whole, strict=True):
        np.testing.assert_array_equal(one, other)
    pretrained = pretrain_schedule(replace(CONFIG, batch_size=3 * 10**9), LABELS, generator(0, "x"),
                                   members=np.arange(23))  # fmt: skip
    assert pretrained.samples.shape == (6, 24)
    np.testing.assert_array_equal(pretrained.size, 23)


def test_one_seed_fixes_the_schedule():
    one, same = (unlearn_schedule(CONFIG, LABELS, generator(5, "x")) for _ in range(2))
    other = unlearn_schedule(CONFIG, LABELS, generator(6, "x"))
    np.testing.assert_array_equal(one.samples, same.samples)
    assert np.any(one.samples != other.samples)


def test_every_epoch_has_an_order_of_its_own():
    for schedule in (
        pretrain_schedule(CONFIG, LABELS, generator(0, "x"), members=np.arange(23)),
        unlearn_schedule(CONFIG, LABELS, generator(0, "x")),
    ):
        epochs = schedule.samples.reshape(6, schedule.per_epoch, -1)
        assert len({epoch.tobytes() for epoch in epochs}) == 6


def test_a_copied_state_is_independent():
    state = start_state(draw(CONFIG, 0).start)
    copied = copy_state(state)
    for array in copied:
        array += 1.0
    assert not any(np.any(one == two) for one, two in zip(state, copied, strict=True))
    assert np.all(state.p == 0.0)
    assert np.all(state.q == 0.0)
