"""Jobs of a cluster without one: what is submitted, when a job queues itself again, and what is refused."""

import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from empirical.settings.run_config import RunConfig, Runtime
from repro.base.ending import SIGNALS
from repro.base.errors import ConfigError, MissingDataError
from repro.base.settings import build
from repro.commands import cli, cluster, studies
from repro.commands import theory as theory_commands
from repro.commands.cluster import ClusterTask, Launch, Wave
from repro.terminal.options import words_of
from theory.config import SweepConfig


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1", 60), ("90", 5400), ("2:30", 150), ("1:00:00", 3600), ("1-0", 86_400), ("2-03:04:05", 183_845),
     ("1-2:30", 95_400)],
)  # fmt: skip
def test_a_time_limit_reads_as_sbatch_reads_it(text: str, seconds: int) -> None:
    launch = Launch(executor="slurm", time=text)
    assert launch.seconds == seconds
    assert 20 <= seconds - launch.working_seconds <= 300
    assert seconds - launch.working_seconds > cluster.WARNING  # the command ends before it is warned


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"executor": "condor"}, "must be one of local, debug, slurm"),
        ({"tasks": 4}, "tasks = 4: must be left out; it is for --executor slurm"),
        ({"executor": "debug", "partition": "a"}, "partition = 'a': must be left out"),
        ({"executor": "slurm", "tasks": 0}, "tasks = 0: must be in"),
        ({"executor": "slurm", "time": "0:30"}, "at least one minute"),
        ({"executor": "slurm", "time": "1h"}, "time = '1h': must be minutes"),
        ({"executor": "slurm", "time": "9" * 5000}, r"time = '9+\.\.\.: must be minutes"),
        ({"executor": "slurm", "time": "1-2-3"}, "time = '1-2-3': must be minutes"),
        ({"executor": "slurm", "slurm": ("mem",)}, "slurm = 'mem': must be KEY=VALUE"),
        ({"executor": "slurm", "slurm": ("cpus-per-task=all",)}, "must be a whole number of cores"),
        ({"executor": "slurm", "partition": "gpu\nrm -r x"}, "partition = .*: must be printable"),
        ({"executor": "slurm", "account": "a\rb"}, "account = .*: must be printable"),
        ({"executor": "slurm", "slurm": ("comment=a\nrm -r x",)}, "slurm = .*: must be printable"),
        ({"executor": "slurm", "slurm": ("comment=a\u2028b",)}, "slurm = .*: must be printable"),
    ],
)
def test_bad_settings_of_a_launch_are_one_clear_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Launch(**settings)


@pytest.mark.parametrize(
    "config",
    [
        RunConfig(method="salun", rule="sam-0.1", lr=1e-7, metrics=("accuracy", "hessian"), trajectory=True),
        Runtime(device="cpu", keep_models=False, checkpoint_seconds=1.5, data_root="a folder"),
        SweepConfig(d=(100, 10**9), signal_strength=(0.1, 1e-9), seeds=3),
    ],
)
def test_the_words_of_a_config_give_it_again(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import typer

    from repro.terminal.options import with_settings

    app, read = typer.Typer(), []

    @app.command()
    @with_settings(type(config), skip=("sweep",))
    def command(config: Any) -> None:
        read.append(config)

    result = CliRunner().invoke(app, words_of(config, skip=("sweep",)))
    assert result.exit_code == 0, result.output
    assert read == [config]
    assert words_of(build(type(config), {})) == []


@pytest.mark.parametrize(("name", "folder"), [("digits\nrm -r x", "runs"), ("digits", "runs\nrm -r x")])
def test_a_line_break_in_a_name_or_a_path_never_reaches_a_batch_script(
    name: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster.shutil, "which", lambda program: program)
    with pytest.raises(ConfigError, match="must be printable"):
        cluster.submit(Launch(executor="slurm"), name, tmp_path / folder, [Wave("cells", ("list",), 1)])
    assert not list(tmp_path.iterdir())


@pytest.fixture
def waves(monkeypatch: pytest.MonkeyPatch) -> list[Wave]:
    """Return the waves that commands submit from here on."""
    found: list[Wave] = []
    for module in (studies, theory_commands):
        monkeypatch.setattr(module, "submit", lambda launch, name, store, waves: found.extend(waves))
    return found


RECIPE = """
[defaults]
dataset = "signal-noise"
dataset_options = "side=8, n=48, n_test=40, signal_strength=2.0"
forget_fraction = 0.25
augment = "none"
[[runs]]
rule = ["sgd", "sam-0.1"]
seed = [0, 1, 2]
[search]
values = [0.01, 0.02]
seed = 50
"""


def called(*words: str) -> int:
    return cli.run(lambda: cli.app([*words], standalone_mode=False))


def submit_grid(folder: Path, *words: str) -> None:
    """Submit the study of the recipe above."""
    (folder / "study.toml").write_text(RECIPE)
    away = ["--store", str(folder / "s"), "--executor", "slurm"]
    assert called("empirical", "grid", str(folder / "study.toml"), *away, *words) == 0


def test_a_grid_is_two_waves_of_its_own_command_line(tmp_path: Path, waves: list[Wave]) -> None:
    words = ["--tasks", "8", "--time", "2:00:00", "--where", "seed=0", "--engine", "graph", "--gpus-per-task", "2"]
    submit_grid(tmp_path, *words)
    choose, cells = waves
    assert (choose.jobs, cells.jobs) == (5, 2)  # two values a rule and a floor; two cells of seed 0
    assert choose.words == (*cells.words, "--search-only")
    assert cells.words[:3] == ("empirical", "grid", str(tmp_path / "study.toml"))
    rest = {"--where=seed=0", "--engine=graph", "--require-gpu", "--max-seconds=6900", "--workers=0", "--track=none"}
    assert rest | {f"--store={tmp_path / 's'}"} == set(cells.words[3:])


def test_only_the_runs_that_choose_are_submitted_where_nothing_else_is_asked_for(
    tmp_path: Path, waves: list[Wave], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "digits").mkdir()  # a folder is no recipe: the shipped one of that name is meant
    monkeypatch.chdir(tmp_path)
    submit_grid(tmp_path, "--search-only")
    assert waves[0].jobs
    assert "--search-only" in waves[0].words
    assert not any(wave.jobs for wave in waves[1:])
    assert called("empirical", "grid", "digits", "--store", str(tmp_path / "s"), "--executor", "slurm") == 0
    assert waves[-1].words[2] == "digits"


def test_what_a_user_limits_holds_for_jobs_too(tmp_path: Path, waves: list[Wave]) -> None:
    asked = ["--max-seconds=90.5", "--workers=3", "--shard=1/3", "--quiet", "--device=cpu", "--without=accuracy",
             "--skip-committed"]  # fmt: skip
    submit_grid(tmp_path, *asked)
    assert set(asked) < set(waves[-1].words)
    assert [wave.jobs for wave in waves] == [1, 1]


def test_jobs_of_the_theory_are_its_own_command_lines(tmp_path: Path, waves: list[Wave]) -> None:
    away = ["--store", str(tmp_path), "--executor", "slurm", "--tasks", "3", "--slurm", "cpus-per-task=4"]
    assert called("theory", "claims", "--seeds", "2", *away) == 0
    sweep = ["theory", "sweep", "phase", "--d", "300", *away]
    assert called(*sweep) == 0
    store = f"--store={tmp_path}"
    assert [wave.jobs for wave in waves] == [3, 3]
    assert waves[0].words == ("theory", "claims", "--seeds=2", "--first-seed=0", store, "--workers=4")
    assert waves[1].words == ("theory", "sweep", "phase", "--d=300", store, "--workers=4")
    assert called(*sweep, "--alpha", "0.5") == 2  # before it is submitted
    assert called("theory", "claims", "lema", *away) == 2
    assert len(waves) == 2


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the log of a stand-in for `scontrol`, and let this process look like the third task of an array."""
    log, script = tmp_path / "scontrol.log", tmp_path / "scontrol"
    script.write_text(f'#!/bin/sh\necho "$@" >> {log}\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for name, value in {"ARRAY_JOB_ID": "7", "ARRAY_TASK_ID": "3", "JOB_ID": "11"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    before = {
        number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)
    }
    monkeypatch.setattr(signal, "getsignal", lambda number: before.get(number))
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    log.write_text("")
    return log


@pytest.mark.parametrize(
    ("code", "seconds", "restarts", "again"),
    [(0, 1e9, 2, False), (0, 0, 2, True), (128 + signal.SIGUSR2, 1e9, 2, True), (128 + signal.SIGTERM, 0, 2, False),
     (1, 0, 2, True), (4, 0, 2, True), (1, 1e9, 2, False), (2, 0, 2, False), (0, 0, cluster.RESTARTS, False)],
)  # fmt: skip
def test_a_job_queues_itself_again_when_its_time_ended_it_and_not_for_ever(
    code: int, seconds: float, restarts: int, again: bool, queue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "run_program", lambda words: code)
    monkeypatch.setenv("SLURM_RESTART_COUNT", str(restarts))
    with pytest.raises(SystemExit) if code else nullcontext() as ended:
        ClusterTask(("list",), seconds)()
    assert ended is None or ended.value.code == code
    assert queue.read_text() == ("requeue 7_3\n" if again else "")


def test_the_program_of_a_job_is_that_of_the_command_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["job"])
    heard = {number: signal.getsignal(number) for number in (signal.SIGINT, *SIGNALS)}
    try:
        assert cluster.run_program(["explain", "tow"]) == 0
        assert "tug of war" in capsys.readouterr().out.lower()
        assert cluster.run_program(["explain", "no-such-term"]) == 2
    finally:
        for number, handler in heard.items():
            signal.signal(number, handler)


def test_without_slurm_there_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    with pytest.raises(MissingDataError, match="no sbatch here"):
        cluster.submit(Launch(executor="slurm"), "study", tmp_path, [Wave("cells", ("list",), 1)])
