"""A study as SLURM jobs: whatever happens to them, the store is that of one process here, times aside."""

import json
import os
import signal
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from empirical.portable import ENVIRONMENT
from empirical.runs.resources import Resources
from empirical.settings.keys import pretrain_key
from empirical.settings.run_config import Runtime
from empirical.studies.grid import run_grid
from empirical.studies.recipe import load_recipe
from repro.records.store import Store
from tests.cluster.conftest import Slurm
from tests.faults.test_kills import content
from tests.faults.victim import SMALL

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("slurm")]  # one SLURM, whatever the number of workers


def write_recipe(path: Path, *, epochs: int, seeds: int, choose: bool = True, **settings: Any) -> Path:
    """Write a study of two cells a seed whose stages take `epochs`; with `choose` their rate is chosen first."""
    defaults = {**SMALL, "pretrain_epochs": epochs, **({} if choose else {"lr": 0.02}), **settings}
    lines = ["[defaults]", *(f"{name} = {json.dumps(value)}" for name, value in defaults.items())]
    lines += ["[[runs]]", 'method = "neggrad"', 'rule = ["sgd", "sam-0.1"]', f"seed = {list(range(seeds))}"]
    lines += ["[search]", "values = [0.01, 0.02]", "seed = 50", "furthest = 0"] if choose else []
    path.write_text("\n".join(lines) + "\n")
    return path


def alone(recipe: Path, folder: Path) -> dict[str, Any]:
    """Return what one process here makes of a study."""
    report = run_grid(load_recipe(recipe), Store(folder), runtime=Runtime(device="cpu"))
    assert (report.failed, report.remaining) == ({}, 0)
    return content(Store(folder))


def hold_up(store: Store, recipe: Path, seed: int) -> ExitStack:
    """Hold the pretraining of a seed, so that no job can end before it is given back, however fast this machine is."""
    resources = Resources(store, Runtime(device="cpu"))
    (first, *_) = [cell for cell in load_recipe(recipe).runs() if cell.seed == seed]
    held = ExitStack()
    held.enter_context(store.lease(pretrain_key(resources.identified(first)).id))
    return held


def test_a_grid_as_an_array_survives_a_cancel_a_kill_and_a_requeue(slurm: Slurm, tmp_path: Path) -> None:
    recipe, store = write_recipe(tmp_path / "tiny.toml", epochs=2, seeds=3), Store(tmp_path / "store")
    ours = ["repro", "empirical", "grid", str(recipe), "--store", str(store.root), "--device", "cpu"]
    status = ["repro", "empirical", "status", str(recipe), "--store", str(store.root), "--json"]
    with hold_up(store, recipe, seed=2) as held:
        said = slurm.call(*ours, "--executor", "slurm", "--tasks", "3", "--time", "20")
        waves = [line.split()[2].rstrip(",") for line in said.splitlines() if line.startswith("submitted job")]
        assert len(waves) == 2, said
        names = [f"{waves[1]}_{number}" for number in range(3)]
        assert {"PENDING"} == {state for name, state in slurm.jobs().items() if name in names}  # after the choices
        slurm.wait(lambda jobs: [jobs.get(name) for name in names] == ["RUNNING"] * 3, "the cells never ran")
        pids = [pid_of(slurm, name) for name in names]
        limit = time.monotonic() + 300
        while left_of(seen := json.loads(slurm.call(*status))) > 2:  # the two cells that are held up
            assert time.monotonic() < limit, seen["counts"]
            time.sleep(1)
        assert seen["workers"]
        slurm.call("scancel", names[0])
        os.kill(pids[1], signal.SIGKILL)
        slurm.call("scontrol", "requeue", names[2])
        held.close()
        slurm.wait(lambda jobs: not jobs, "the jobs never ended")
    assert "Restarts=1" in slurm.call("scontrol", "show", "job", names[2])
    assert content(store) == alone(recipe, tmp_path / "alone")
    assert store.verify() == []
    assert store.leases.all() == []
    assert "nothing to submit" in slurm.call(*ours, "--executor", "slurm")
    found = json.loads(slurm.call(*status))
    assert (found["counts"], found["workers"]) == ({"done": len(found["rows"])}, [])


def left_of(status: dict[str, Any]) -> int:
    return len(status["rows"]) - status["counts"].get("done", 0)


def pid_of(slurm: Slurm, job: str) -> int:
    """Return the process of a job that computes."""
    shown = slurm.call("scontrol", "show", "job", job)
    raw = next(word.partition("=")[2] for word in shown.split() if word.startswith("JobId="))
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        lines = [line.split() for line in slurm.run("scontrol", "listpids", raw).stdout.splitlines()[1:]]
        for pid in (int(line[0]) for line in lines if line[0].isdigit()):
            with suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if b"submitit.core._submit" in words and b"srun" not in words[0]:
                    return pid
        time.sleep(0.2)
    raise AssertionError(f"job {job} has no process")


def test_a_job_warned_of_its_time_limit_is_queued_again_and_goes_on_from_its_checkpoint(
    slurm: Slurm, tmp_path: Path
) -> None:
    recipe, store = write_recipe(tmp_path / "long.toml", epochs=300, seeds=1, choose=False), Store(tmp_path / "store")
    line = ["repro", "empirical", "grid", str(recipe), "--store", str(store.root), "--device", "cpu"]
    slurm.call(*line, "--executor", "slurm", "--time", "20", "--checkpoint-seconds", "0.1")
    (name,) = slurm.jobs()
    slurm.wait(lambda _: any(store.root.glob("checkpoints/*/*.sealed")), "no checkpoint was written")
    slurm.call("scancel", "--signal", "USR2", name)  # as SLURM itself does before the limit
    slurm.wait(lambda jobs: not jobs, "the job never ended")
    assert "Restarts=1" in slurm.call("scontrol", "show", "job", name)
    assert content(store) == alone(recipe, tmp_path / "alone")
    known = [found[1]["resumed"] for one in store.stages.all() if (found := store.stages.read(one.name))]
    assert sum(known) >= 1


def test_a_job_that_reaches_its_own_time_limit_is_queued_again(slurm: Slurm, tmp_path: Path) -> None:
    recipe, store = write_recipe(tmp_path / "tiny.toml", epochs=1, seeds=1, choose=False), Store(tmp_path / "store")
    line = ["repro", "empirical", "grid", str(recipe), "--store", str(store.root), "--device", "cpu"]
    with hold_up(store, recipe, seed=0):  # a minute has to pass, whatever the cells take
        slurm.call(*line, "--executor", "slurm", "--time", "1")
        (name,) = slurm.jobs()
        slurm.wait(lambda _: "Restarts=1" in slurm.call("scontrol", "show", "job", name), "it was not queued again")
        assert list(store.records("unlearn")) == []
    slurm.wait(lambda jobs: not jobs, "the job never ended")
    assert "JobState=COMPLETED" in slurm.call("scontrol", "show", "job", name)  # SLURM never had to end it
    assert content(store) == alone(recipe, tmp_path / "alone")


def test_portable_jobs_run_under_portable_kernels(slurm: Slurm, tmp_path: Path) -> None:
    """A job is a process of its own, which has to set the environment before it imports torch."""
    recipe = write_recipe(tmp_path / "tiny.toml", epochs=1, seeds=1, choose=False, portable=True)
    line = ["repro", "empirical", "grid", str(recipe), "--store", str(tmp_path / "store"), "--device", "cpu"]
    slurm.call(*line, "--executor", "slurm", "--threads", "1", "--time", "20")
    slurm.wait(lambda jobs: not jobs, "the jobs never ended")
    found = list(Store(tmp_path / "store").records("unlearn"))
    assert [one.status for one in found] == ["ok"] * 2
    assert all(one.provenance["environment"].items() >= ENVIRONMENT.items() for one in found)


def test_a_sweep_of_the_theory_runs_as_jobs(slurm: Slurm, tmp_path: Path) -> None:
    words = ["theory", "sweep", "phase", "--d=300", "--signal-strength=0.5", "--signal-strength=2", "--seeds=2"]
    slurm.call("repro", *words, "--store", str(tmp_path / "jobs"), "--executor", "slurm", "--tasks", "2")
    slurm.wait(lambda jobs: not jobs, "the jobs never ended")
    slurm.call("repro", *words, "--store", str(tmp_path / "here"))
    there, here = (Store(tmp_path / name).records() for name in ("jobs", "here"))
    assert [one.run_id for one in there] == [one.run_id for one in here] != []
    # One may have been computed by compiled code and the other by plain numpy.
    assert [nine_digits(one.result) for one in there] == [nine_digits(one.result) for one in here]


def nine_digits(value: Any) -> Any:
    """Return JSON values with numbers of nine significant digits."""
    if isinstance(value, dict):
        return {name: nine_digits(one) for name, one in value.items()}
    if isinstance(value, list):
        return [nine_digits(one) for one in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def test_what_slurm_refuses_is_one_line(slurm: Slurm, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "tiny.toml", epochs=1, seeds=1)
    line = ["repro", "empirical", "grid", str(recipe), "--store", str(tmp_path / "store"), "--executor", "slurm"]
    refused = slurm.run(*line, "--partition", "none-of-that-name")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1), refused.stderr
    assert "sbatch refused the job" in refused.stderr
    assert "partition" in refused.stderr
