"""Simulations: independent of threads and neighbours, stopped at a forget level, honest about divergence."""

import numpy as np
import pytest

from tests.theory.explicit import Network
from theory.config import TheoryConfig
from theory.draw import draw, generator
from theory.engine import Trajectory, simulate, simulate_many
from theory.measures.measure import measure_network
from theory.measures.metrics import Probe
from theory.steps.dynamics import advance_network
from theory.training import make_rule, pretrain_schedule, start_state, unlearn_schedule

QUICK = TheoryConfig(d=500, n=20, n_forget=4, m=5, pretrain_epochs=20, epochs=20, seeds=4, directions=64)


def assert_equal(one: Trajectory, two: Trajectory) -> None:
    for name, values in one.metrics.items():
        np.testing.assert_array_equal(values, two.metrics[name], err_msg=name)


def test_results_do_not_depend_on_the_number_of_threads(monkeypatch):
    runs = []
    for threads in ("1", "3"):
        monkeypatch.setenv("NUMBA_NUM_THREADS", threads)
        runs.append(simulate(QUICK.changed(unlearn="sam")))
    assert_equal(*runs)


def test_a_seed_does_not_depend_on_the_seeds_and_cells_beside_it():
    together = simulate_many([QUICK, QUICK.changed(unlearn="minmax"), QUICK.changed(pretrain="sam")])[1]
    alone = simulate(QUICK.changed(unlearn="minmax", seeds=1, first_seed=2))
    for name, values in alone.metrics.items():
        np.testing.assert_array_equal(values[0], together.metrics[name][2], err_msg=name)


def test_axes_are_seed_then_epoch_and_a_frame_has_a_row_for_each():
    run = simulate(QUICK.changed(pretrain_epochs=25))
    assert run.seeds.tolist() == [0, 1, 2, 3]
    assert all(values.shape == (4, len(run.epochs)) for values in run.metrics.values())
    assert all(values.shape == (4, len(run.pretrain_epochs)) for values in run.pretrain.values())
    assert all(values.shape == (4,) for values in run.retrained.values())
    for name, values in run.pretrain.items():
        np.testing.assert_array_equal(values[:, -1], run.metrics[name][:, 0], err_msg=name)
    frame = run.to_frame()
    assert len(frame) == 4 * (len(run.epochs) + len(run.pretrain_epochs))
    for phase, seed, epoch, values in (("unlearn", 2, 20, run.metrics), ("pretrain", 1, 25, run.pretrain)):
        row = frame[(frame.phase == phase) & (frame.seed == seed) & (frame.epoch == epoch)]
        assert row.test_error.item() == values["test_error"][seed, -1]


def test_a_run_stops_at_the_first_checkpoint_with_the_forget_level_and_stays_there():
    run = simulate(QUICK.changed(alpha=0.2, epochs=200, stop_forget_error=0.5))
    assert np.all(run.stopped_at > 0)
    free = simulate(QUICK.changed(alpha=0.2, epochs=200))
    first = np.argmax(free.metrics["forget_error"] >= 0.5, axis=1)
    np.testing.assert_array_equal(run.stopped_at, free.epochs[first])
    for name, values in free.metrics.items():
        np.testing.assert_array_equal(run.final(name), values[np.arange(4), first], err_msg=name)


def test_matched_values_are_missing_where_the_level_is_not_reached():
    kept = simulate(QUICK.changed(alpha=1.0, stop_forget_error=0.9))
    assert np.all(kept.stopped_at == -1)
    assert not kept.reached.any()
    assert np.all(np.isnan(kept.epochs_needed))
    assert np.all(np.isnan(kept.final("test_error", matched=True)))
    assert np.all(np.isnan(kept.oracle_gap("forget_error", matched=True)))
    assert np.all(np.isfinite(kept.final("test_error")))


def test_without_pretraining_unlearning_starts_at_initialization():
    run = simulate(QUICK.changed(pretrain_epochs=0, epochs=0))
    assert run.epochs.tolist() == [0]
    assert np.all(run.metrics["kappa_retain"] == 0.0)


def test_without_an_oracle_nothing_else_changes():
    with_oracle, without = (simulate_many([QUICK], oracle=oracle)[0] for oracle in (True, False))
    assert_equal(with_oracle, without)
    assert np.all(np.isnan(without.retrained["test_error"]))


def test_the_oracle_is_the_finished_model_trained_on_retain_that_never_learned_the_forget_samples():
    run, untrained = simulate(QUICK), simulate(QUICK.changed(pretrain_epochs=0))
    assert np.all(run.retrained["zeta_forget"] == 0.0)
    assert np.all(run.retrained["kappa_forget"] == 0.0)
    assert np.all(run.retrained["retain_error"] == 0.0)
    assert np.all(run.retrained["kappa_retain"] > 0.0)
    assert np.all(run.retrained["weight_norm"] > untrained.retrained["weight_norm"])
    gap = np.abs(run.metrics["forget_error"][:, -1] - run.retrained["forget_error"])
    np.testing.assert_array_equal(run.oracle_gap("forget_error"), gap)
    assert gap.max() > 0.0


@pytest.mark.parametrize("changes, first, last, pretrained", [
    ({"eta_scale": 1e308}, 0, 200, False),
    ({"eta_scale": 1e308, "pretrain_epochs": 0}, 0, 200, True),
    ({"unlearn": "sam", "rho_scale": 1e308}, 40, 80, True),  # after 20 epochs of 2 batches
    ({"unlearn": "sam", "rho_scale": 1e308, "pretrain_stop_loss": 5.0}, 0, 40, True),  # random weights have ln 2
])  # fmt: skip
def test_leaving_the_finite_range_is_a_row_with_its_step_counted_from_the_start(changes, first, last, pretrained):
    run = simulate(QUICK.changed(**changes))
    assert run.status == "diverged"
    assert np.all((run.diverged_at >= first) & (run.diverged_at < last))
    assert np.all(np.isfinite(run.pretrain["test_error"][:, -1]) == pretrained)
    assert np.all(np.isnan(run.final("test_error")))
    assert set(run.pretrained_at) == ({0} if "pretrain_stop_loss" in changes else {-1})


def test_stronger_signal_lowers_the_test_error():
    weak, strong = simulate_many([QUICK.changed(signal_strength=s) for s in (0.25, 2.0)])
    assert strong.pretrain["test_error"][:, -1].mean() < weak.pretrain["test_error"][:, -1].mean() - 0.2


@pytest.mark.parametrize("rules, data", [
    (("sgd", "sam"), {}), (("sam", "minmax"), {"momentum": 0.8}),
    (("sgd", "sam"), {"label_noise": 0.3, "forget_angle": 40.0}),
])  # fmt: skip
def test_a_seed_is_explicit_training_on_its_own_draw_and_batches(rules, data):
    """Training reads the labels it is given, of which some may be wrong, and each phase begins at rest."""
    config = QUICK.changed(draw="dense", pretrain=rules[0], unlearn=rules[1], rho_scale=0.7, pretrain_rho_scale=0.4,
                           **data)  # fmt: skip
    run = simulate(config.changed(seeds=1, first_seed=3))
    drawn = draw(config, 3)
    labels, network = drawn.problem.labels, Network(config, drawn)
    first = pretrain_schedule(config, labels, generator(3, "pretrain"), members=np.arange(config.n))
    second = unlearn_schedule(config, labels, generator(3, "unlearn"))
    for schedule, unlearning, values in ((first, False, run.pretrain), (second, True, run.metrics)):
        network.train(rules[unlearning], schedule, unlearning=unlearning)
        assert values["weight_norm"][0, -1] == pytest.approx(float(network.W.norm()), rel=1e-9)


@pytest.mark.parametrize("changes", [{"unlearn": "sam"}, {"unlearn": "minmax", "mask_refresh": 2},
                                     {"momentum": 0.9, "eta_scale": 4.0}])  # fmt: skip
def test_how_often_a_run_is_measured_changes_no_number(changes):
    often, rarely = (simulate(QUICK.changed(checkpoint_every=every, **changes)) for every in (1, 1000))
    for name in often.metrics:
        np.testing.assert_array_equal(often.final(name), rarely.final(name), err_msg=name)


def test_a_setting_that_changes_pretraining_is_never_shared():
    tiny = QUICK.changed(pretrain="sam", seeds=1, pretrain_epochs=5, epochs=1)
    changes = {"signal_strength": 0.7, "d": 400, "n": 21, "n_forget": 5, "m": 4, "patches": 3, "sigma_p": 2.0,
               "noise": "plain", "draw": "dense", "sigma_0_scale": 0.2, "eta_scale": 30.0, "batch_size": 5,
               "pretrain": "sgd", "pretrain_epochs": 6, "pretrain_rho_scale": 0.5, "first_seed": 1,
               "labels": "balanced", "forget_angle": 40.0, "label_noise": 0.3, "activation_power": 2.0, "momentum": 0.5,
               "weight_decay": 0.1, "sharpness_batch": 3, "pretrain_stop_loss": 5.0}  # fmt: skip
    cells = [tiny, *(tiny.changed(**{name: value}) for name, value in changes.items())]
    together = [run.pretrain["weight_norm"][0, -1] for run in simulate_many(cells)]
    alone = [simulate(cell).pretrain["weight_norm"][0, -1] for cell in cells]
    assert together == alone
    assert len(set(together) - {together[0]}) == len(changes) - 1  # which samples are F changes no pretraining


def test_activation_is_probed_over_one_epoch_of_batches_of_its_own():
    config = QUICK.changed(seeds=1, first_seed=3, epochs=2, probe_rho_scale=0.8)
    drawn = draw(config, 3)
    state, labels = start_state(drawn.start), drawn.problem.labels
    schedule = pretrain_schedule(config, labels, generator(3, "pretrain"), members=np.arange(config.n))
    advance_network(drawn.problem, state, schedule, make_rule("sgd", config, rho=0.0), 0, len(schedule.size))
    batches = unlearn_schedule(config.changed(epochs=1), labels, generator(3, "probe"))
    expected = measure_network(config, drawn, state, Probe(batches, 0.8 * config.rho_th))
    assert {name: values[0, 0] for name, values in simulate(config).metrics.items()} == expected


def test_a_schedule_of_rules_is_the_one_rule_and_then_the_other():
    """SAM for 10 epochs, then SGD: up to the switch SAM alone, and after it by SGD's step from there."""
    base = TheoryConfig(d=300, n=12, n_forget=3, m=3, pretrain_epochs=15, epochs=0, seeds=2, directions=64)
    both, sam, sgd = (simulate(base.changed(pretrain=rule)) for rule in ("sam:10, sgd", "sam", "sgd"))
    for name in ("kappa_retain", "retain_loss"):
        np.testing.assert_array_equal(both.pretrain[name][:, :3], sam.pretrain[name][:, :3])
        assert np.all(both.pretrain[name][:, 3] != sam.pretrain[name][:, 3])
        assert np.all(both.pretrain[name][:, 3] != sgd.pretrain[name][:, 3])
    early = simulate(base.changed(pretrain="sam:7, sgd", checkpoint_every=15))  # a switch between two checkpoints
    fine = simulate(base.changed(pretrain="sam:7, sgd", checkpoint_every=1))
    np.testing.assert_array_equal(early.pretrain["retain_loss"][:, -1], fine.pretrain["retain_loss"][:, -1])


def test_pretraining_ends_at_the_first_checkpoint_with_a_small_loss_and_unlearning_starts_there():
    base = TheoryConfig(d=300, n=12, n_forget=3, m=3, pretrain_epochs=60, epochs=5, seeds=3, directions=64)
    whole = simulate(base)
    loss = 0.75 * whole.pretrain["retain_loss"] + 0.25 * whole.pretrain["forget_loss"]  # of all 12 samples
    level = float(loss[:, -3].max())  # every seed comes there, not all at the same checkpoint
    stopped = simulate(base.changed(pretrain_stop_loss=level))
    for seed in range(3):
        first = int(np.argmax(loss[seed] <= level))
        assert stopped.pretrained_at[seed] == whole.pretrain_epochs[first]
        np.testing.assert_array_equal(
            stopped.pretrain["test_error"][seed, first:], whole.pretrain["test_error"][seed, first]
        )
        assert stopped.metrics["test_error"][seed, 0] == whole.pretrain["test_error"][seed, first]
    assert set(whole.pretrained_at) == {-1}
    retrained = simulate(base.changed(pretrain_stop_loss=1e-9)).retrained["retain_loss"]
    assert np.any(stopped.retrained["retain_loss"] > retrained)  # the model retrained on R stops as early


def test_cells_that_share_their_pretraining_read_the_batches_each_would_draw_alone():
    base = TheoryConfig(d=300, n=12, n_forget=3, m=3, pretrain_epochs=3, epochs=4, seeds=2, directions=64)
    cells = [base.changed(alpha=0.6), base.changed(unlearn="sam"), base.changed(epochs=6), base.changed(forget_batch=2),
             base.changed(retain_batch=4), base.changed(method="random_label")]  # fmt: skip
    for together, cell in zip(simulate_many(cells), cells, strict=True):
        np.testing.assert_array_equal(together.metrics["retain_loss"], simulate(cell).metrics["retain_loss"])
