"""Portable numbers: what may ask for them, what fixes them, and that another processor gives the same ones."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from empirical.portable import ENVIRONMENT, check_portable, prepare_portable
from empirical.runs.resources import Resources
from empirical.settings.keys import pretrain_key, subset_key
from empirical.settings.run_config import RunConfig, config_for
from repro.base.errors import ConfigError
from repro.records.identity import run_id
from tests.empirical.conftest import Small

ROOT = Path(__file__).parents[2]
# Curves, for which numpy chooses vector instructions of its own.
LAST_DIGITS = re.compile("roc_")
EMULATOR = shutil.which("qemu-x86_64")


def program(folder: Path, *prefix: str) -> dict[str, Any]:
    """Return what `portable_runs` prints, run behind the words of `prefix`, in the environment of portable runs."""
    command = [*prefix, sys.executable, "-m", "tests.empirical.portable_runs", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(EMULATOR is None, reason="qemu-x86_64 emulates other processors: apt-get install qemu-user")
def test_an_emulated_processor_gives_the_same_weights_and_numbers(tmp_path: Path) -> None:
    """Haswell has AVX2 and nothing newer; this machine may have AVX-512."""
    here = program(tmp_path / "here")
    there = program(tmp_path / "there", str(EMULATOR), "-cpu", "Haswell-noTSX")
    assert here["dropout"] == there["dropout"]
    for name in here.keys() - {"dropout"}:
        (numbers, arrays), (others, other_arrays) = (
            (one[name]["numbers"], one[name]["arrays"]) for one in (here, there)
        )
        assert numbers["parents"] == others["parents"]  # with the weights' checksums
        same = {key for key in numbers if key.endswith(("accuracy", "tow"))}
        assert {key: numbers[key] for key in same} == {key: others[key] for key in same}
        floats = {key: value for key, value in numbers.items() if isinstance(value, float)}
        assert {key: others[key] for key in floats} == pytest.approx(floats, rel=1e-9)
        curves = {key for key in arrays if LAST_DIGITS.search(key)}
        assert {key: arrays[key] for key in arrays.keys() - curves} == {
            key: other_arrays[key] for key in arrays.keys() - curves
        }


def test_portable_is_part_of_what_a_run_and_its_stages_are() -> None:
    plain, portable = RunConfig(difficulty="high"), RunConfig(difficulty="high", portable=True)
    assert run_id("unlearn", plain) != run_id("unlearn", portable)
    assert pretrain_key(plain).id != pretrain_key(portable).id
    stages = [subset_key(config_for(one).training(), 0.7, 0).id for one in (plain, portable)]
    assert len(set(stages)) == 2


def test_a_portable_run_may_take_an_estimate_that_is_not() -> None:
    """A committed estimate is data, the same everywhere: no subset model has to be trained again."""
    assert config_for(RunConfig(portable=True, subset_portable=False)) == config_for(RunConfig())
    assert config_for(RunConfig(portable=True)).portable


@pytest.mark.parametrize(("ask", "said"), [
    (lambda: RunConfig(portable=True, precision="bf16"), "portable"),
    (lambda: prepare_portable([RunConfig(), RunConfig(portable=True)]), "portable"),  # a process computes one kind
    (lambda: check_portable(device="cuda", threads=1), "device"),
    (lambda: check_portable(device="cpu", threads=2), "threads"),
])  # fmt: skip
def test_what_has_other_bits_elsewhere_is_refused(ask: Callable[[], object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ask()


def test_nothing_is_set_for_runs_that_do_not_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    prepare_portable([RunConfig()])
    assert not ENVIRONMENT.keys() & os.environ.keys()


def test_a_torch_that_chose_its_kernels_already_is_refused(
    small: Small, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process of the tests has imported torch without the environment."""
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="ATEN_CPU_CAPABILITY=avx2"):
        prepare_portable([small(portable=True)])
    from empirical.runs.run import run

    with pytest.raises(ConfigError, match="portable = True"):
        run(small(portable=True), resources.store, resources=resources)


@pytest.mark.slow
def test_the_command_line_sets_the_environment_itself(tmp_path: Path) -> None:
    """A user says `--portable`, and the record says under which kernels it was made, in a worker's process too."""
    recipe = tmp_path / "mine.toml"
    settings = "n_train = 60\nn_test = 20\nforget_fraction = 0.2\npretrain_epochs = 1\nepochs = 1\nportable = true"
    recipe.write_text(f'name = "mine"\n[defaults]\n{settings}\n[[runs]]\nseed = [0, 1]\n')
    words = ["empirical", "grid", str(recipe), "--workers=2", "--device=cpu", f"--store={tmp_path / 'runs'}"]
    clean = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
    done = subprocess.run([sys.executable, "-m", "repro", *words], cwd=ROOT, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = [json.loads(path.read_text()) for path in (tmp_path / "runs" / "runs").glob("*/provenance.json")]
    assert len(said) == 2
    assert all(one["environment"].items() >= ENVIRONMENT.items() for one in said)
