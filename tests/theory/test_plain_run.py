"""A study in plain numpy: the trajectories of the compiled engine, and a first command that compiles nothing."""

import os
import subprocess
import sys

import numpy as np
import pytest

from repro.records.store import Store
from theory.config import TheoryConfig
from theory.engine import simulate_many
from theory.predict import predict_many
from theory.steps.plain_run import affordable, simulate_plainly
from theory.study import KIND, RULE_PAIRS

QUICK = TheoryConfig(d=500, n=20, n_forget=4, m=5, pretrain_epochs=20, epochs=20, seeds=3, directions=64)
GROUPS = {
    "default cells": [QUICK.changed(pretrain=before, unlearn=after) for before, after in RULE_PAIRS],
    "a forget level": [QUICK.changed(alpha=0.2, epochs=60, stop_forget_error=level) for level in (0.25, 1.0)],
    "a training loss": [QUICK.changed(pretrain="sam:5, sgd", pretrain_stop_loss=0.6, momentum=0.5)],
    "angle, labels, curvature, attacks": [
        QUICK.changed(forget_angle=40.0, label_noise=0.2, curvature=True, attacks=True, unlearn="minmax")
    ],
    "plain independent noise": [QUICK.changed(noise="plain", noise_patches="independent", patches=3, unlearn="sam")],
    "a short retraining, parts of batches": [
        QUICK.changed(n_forget=12, sharpness_batch=3, pretrain=before, unlearn=after)
        for before, after in RULE_PAIRS[1:]
    ],
    "pretraining diverges": [QUICK.changed(eta_scale=1e308)],
    "unlearning diverges": [QUICK.changed(unlearn="sam", rho_scale=1e308), QUICK],
    "nothing is trained": [QUICK.changed(pretrain_epochs=0, epochs=0, first_seed=7)],
}


@pytest.mark.parametrize("name", GROUPS)
def test_trajectories_are_those_of_the_compiled_engine(name):
    cells = GROUPS[name]
    for plain, compiled in zip(simulate_plainly(cells), simulate_many(cells), strict=True):
        for ends in ("stopped_at", "diverged_at", "pretrained_at", "seeds", "epochs", "pretrain_epochs"):
            np.testing.assert_array_equal(getattr(plain, ends), getattr(compiled, ends), err_msg=ends)
        for stage in ("pretrain", "metrics", "retrained"):
            ours, theirs = getattr(plain, stage), getattr(compiled, stage)
            assert ours.keys() == theirs.keys()
            for metric, values in theirs.items():
                np.testing.assert_allclose(ours[metric], values, rtol=1e-9, atol=1e-10, err_msg=f"{stage} {metric}")


def test_a_seed_does_not_depend_on_the_seeds_and_cells_beside_it():
    together = simulate_plainly(GROUPS["default cells"])[1]
    alone = simulate_plainly([GROUPS["default cells"][1].changed(seeds=1, first_seed=2)])[0]
    for name, values in alone.metrics.items():
        np.testing.assert_allclose(values[0], together.metrics[name][2], rtol=1e-11, atol=1e-12, err_msg=name)


def test_the_default_command_is_affordable_and_the_claims_are_not():
    assert affordable([TheoryConfig(pretrain=before, unlearn=after) for before, after in RULE_PAIRS])
    assert not affordable([TheoryConfig(seeds=40, signal_strength=0.1 + i / 100) for i in range(100)])
    assert not affordable([TheoryConfig(attacks=True)])


def test_a_process_without_machine_code_writes_the_numbers_of_one_with_it(tmp_path):
    """The first command on a machine computes in numpy and loads no compiler, a later one runs what was compiled."""
    small = TheoryConfig(d=300, n=12, n_forget=3, m=3, pretrain_epochs=5, epochs=5, seeds=2, directions=64)
    cells = [small.changed(pretrain=before, unlearn=after) for before, after in RULE_PAIRS]
    simulate_many(cells)  # machine code is kept now, and that of the mean field
    predict_many(cells)
    words = ["theory", "--json", "--d=300", "--n=12", "--n-forget=3", "--m=3", "--pretrain-epochs=5", "--epochs=5",
             "--seeds=2", "--directions=64"]  # fmt: skip
    code = ("import sys; from repro.commands.cli import main\ntry:\n    main()\nexcept SystemExit as end:\n"
            "    assert not end.code\nassert ('numba' in sys.modules) == {warm}")  # fmt: skip
    path = {"PYTHONPATH": ":".join(sys.path)}
    nothing = {"NUMBA_CACHE_DIR": str(tmp_path), "PATH": "", "HOME": str(tmp_path)} | path
    for warm, environment in ((False, nothing), (True, dict(os.environ) | path)):
        store = f"--store={tmp_path / str(warm)}"
        subprocess.run([sys.executable, "-c", code.format(warm=warm), *words, store], check=True, env=environment,
                       capture_output=True)  # fmt: skip
    stores = [Store(tmp_path / str(warm)) for warm in (False, True)]
    for cell in cells:
        cold, warm = (store.find(KIND, cell) for store in stores)
        assert cold is not None
        assert warm is not None
        ours, theirs = cold.arrays(), warm.arrays()
        assert ours.keys() == theirs.keys()
        for name, values in ours.items():
            np.testing.assert_allclose(values, theirs[name], rtol=1e-9, atol=1e-11, err_msg=name)
