"""Who computes: this process (`debug`), processes here (`local`), or an array of SLURM jobs that share the store.

A job runs the same command line on the same store, with `--executor local`. The store's records and leases alone tell
which runs are done, being computed or missing. Submitit writes and starts the batch script, and pickles that line.
"""

import io
import math
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, fields
from pathlib import Path

from repro.base.errors import ConfigError, MissingDataError
from repro.base.settings import check, reject, setting
from repro.records.store import Store
from repro.terminal.options import with_settings
from repro.terminal.output import say

EXECUTORS = ("local", "debug", "slurm")
WARNING = 15  # seconds before the limit that SLURM sends SIGUSR2, should a job still be at work
RESTARTS = 100  # of one job; otherwise a stage that never reaches a checkpoint would be queued for ever
TIME = re.compile(r"(?:(?P<days>\d{1,9})-(?=\d))?(?P<rest>\d{1,9}(?::\d{1,9}){0,2})")


@dataclass(frozen=True)
class Launch:
    """Where the work of a command is done. All settings except `executor` are for SLURM."""

    executor: str = setting("local", "who computes: processes here, this process, or jobs", choices=EXECUTORS)
    partition: str = setting("", "SLURM partition")
    account: str = setting("", "SLURM account")
    tasks: int = setting(1, "jobs of the array, which share the work", low=1, high=10_000)
    gpus_per_task: int = setting(0, "GPUs of a job; with any, a job that finds none ends", low=0, high=64)
    time: str = setting("1:00:00", "time limit of a job: minutes, H:MM:SS or D-HH; what is left is queued again")
    max_parallel: int = setting(0, "jobs that run at once, 0 is all", low=0)
    slurm: tuple[str, ...] = setting((), "a further option of sbatch, KEY=VALUE; repeatable")

    def __post_init__(self) -> None:
        check(self)
        for one in fields(self) if self.executor != "slurm" else ():
            if one.name != "executor" and getattr(self, one.name) != one.default:
                raise reject(one.name, getattr(self, one.name), "left out", "it is for --executor slurm")
        if self.seconds < 60:
            raise reject("time", self.time, "minutes, H:MM:SS, D-HH or D-HH:MM:SS, at least one minute")
        for name in ("partition", "account"):
            _check_printable(name, getattr(self, name))
        for text in self.slurm:
            _check_printable("slurm", text)
            if not re.fullmatch(r"[A-Za-z][\w-]*=\S(?:.*\S)?", text):
                raise reject("slurm", text, "KEY=VALUE, such as cpus-per-task=4")

        cores = self.options.get("cpus-per-task", "1")
        if not re.fullmatch(r"[1-9]\d{0,3}", cores):
            raise reject("slurm", f"cpus-per-task={cores}", "a whole number of cores")

    @property
    def seconds(self) -> int:
        """The time limit of a job in seconds; 0 if the text is no time."""
        match = TIME.fullmatch(self.time)
        if match is None:
            return 0
        parts = [int(one) for one in match["rest"].split(":")]
        units = (60, 1) if match["days"] is None and len(parts) < 3 else (3600, 60, 1)
        return int(match["days"] or 0) * 86_400 + sum(n * unit for n, unit in zip(parts, units, strict=False))

    @property
    def working_seconds(self) -> int:
        """Seconds that a job may spend on runs; a tenth of its limit, 20 s to 5 minutes, is left for start and end."""
        return self.seconds - min(300, max(20, self.seconds // 10))

    @property
    def options(self) -> dict[str, str]:
        """The further options of sbatch by name."""
        return dict(text.split("=", 1) for text in self.slurm)

    @property
    def workers(self) -> int:
        """Processes of a job, unless stated: one per GPU, or one per requested core."""
        return 0 if self.gpus_per_task else int(self.options.get("cpus-per-task", "1"))


def _check_printable(field: str, text: str) -> None:
    """Refuse a text with line breaks: a batch script would run what follows them."""
    if not text.isprintable():
        raise reject(field, text, "printable characters, without line breaks")


with_launch = with_settings(Launch)


@dataclass(frozen=True)
class Wave:
    """An array of jobs.

    Attributes:
        title: what it does, for people.
        words: the command line of each job.
        jobs: how many.
    """

    title: str
    words: tuple[str, ...]
    jobs: int


def submit(launch: Launch, name: str, store: Path, waves: list[Wave]) -> None:
    """Submit waves of jobs, each after the end of the one before, and print their numbers.

    Raises:
        MissingDataError: if there is no SLURM.
        ModuleNotFoundError: without the extra `cluster`.
        ConfigError: for a name or a path with a line break, before anything is written; or if SLURM refuses the job,
            with its answer.
    """
    import submitit
    from submitit.core.utils import FailedJobError

    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise MissingDataError("executor = 'slurm': no sbatch here; submit from a login node, or use --executor local")
    _check_printable("name", name)
    _check_printable("store", str(store.absolute()))
    Store(store).ensure_writable()
    before = ""
    for wave in waves:
        executor = submitit.AutoExecutor(store.absolute() / "cluster", cluster="slurm")
        after = {"dependency": f"afterany:{before}"} if before else {}
        named = {"partition": launch.partition, "account": launch.account, "gpus_per_task": launch.gpus_per_task}
        given = {f"slurm_{key}": value for key, value in named.items() if value}
        executor.update_parameters(
            name=f"repro-{name}", timeout_min=math.ceil(launch.seconds / 60), slurm_signal_delay_s=WARNING,
            slurm_array_parallelism=launch.max_parallel or wave.jobs,
            slurm_additional_parameters={"requeue": True, **after, **launch.options}, **given,
        )  # fmt: skip
        task = ClusterTask(wave.words, launch.working_seconds)
        try:
            with redirect_stderr(io.StringIO()), executor.batch():  # what sbatch says comes with the error
                jobs = [executor.submit(task) for _ in range(wave.jobs)]
        except (subprocess.CalledProcessError, FailedJobError) as error:
            said = " ".join(str(error).split())
            raise ConfigError(f"executor = 'slurm': sbatch refused the job: {said[-300:]}") from error
        before = str(jobs[0].job_id).partition("_")[0]
        say(f"submitted job {before}, {wave.jobs} tasks: {wave.title}")
    say(f"logs: {store / 'cluster'}; state: `repro study status`, `repro records list`")


@dataclass(frozen=True)
class ClusterTask:
    """The command line of a job. A job that reaches its time limit queues itself again and resumes at its checkpoint.

    A preempted job ends at its next checkpoint, and SLURM queues it again; a cancelled job ends.

    Attributes:
        words: the command line.
        seconds: after which the command ends by itself, or gets SIGUSR2 as a warning.
    """

    words: tuple[str, ...]
    seconds: float

    def __call__(self) -> None:
        """Run the command line; the job's exit code is its own."""
        started = time.monotonic()
        code = run_program(self.words)
        # After a failed run (1, or a code of its own) the rest is still computed; after bad input nothing is.
        late = time.monotonic() - started >= self.seconds and code != ConfigError.exit_code and code < 128
        if late or code == 128 + signal.SIGUSR2:
            self._again()
        if code:
            sys.exit(code)

    @staticmethod
    def _again() -> None:
        array, number = (os.environ.get(f"SLURM_ARRAY_{name}_ID", "") for name in ("JOB", "TASK"))
        job = f"{array}_{number}" if array else os.environ.get("SLURM_JOB_ID", "")
        if int(os.environ.get("SLURM_RESTART_COUNT", "0")) < RESTARTS:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which SLURM sends now; this process is about to end
            subprocess.run(["scontrol", "requeue", job], check=True, timeout=60)


def run_program(words: Sequence[str]) -> int:
    """Run a command line in this process, as `python -m repro` does, and return its exit code."""
    sys.argv[1:] = words
    try:
        runpy.run_module("repro", run_name="__main__")
    except SystemExit as end:
        return int(end.code or 0)
    return 0
