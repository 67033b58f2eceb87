"""A SLURM of one node, started by hand in a temporary folder: munge, controller and node daemon, without systemd."""

import getpass
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol")
CPUS = 4  # more than this machine may have, so that several jobs run side by side
CONFIG = """
ClusterName=testing
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={controller}
SlurmdPort={node}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,batch_sched_delay=0,bf_interval=2
MinJobAge=3600
KillWait=10
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@dataclass(frozen=True)
class Slurm:
    """A running SLURM.

    Attributes:
        environment: of the commands that talk to it.
    """

    environment: dict[str, str]

    def call(self, *words: str, check: bool = True) -> str:
        """Return what a command of SLURM, or of ours (`repro`), prints."""
        line = [sys.executable, "-c", "from repro.commands.cli import main; main()"] if words[0] == "repro" else []
        done = subprocess.run(
            [*line, *words[len(line) > 0 :]], env=self.environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0 or not check, done.stderr + done.stdout
        return done.stdout

    def jobs(self) -> dict[str, str]:
        """Return the state of every job of an array that is not over, by `array_task`."""
        lines = self.call("squeue", "--all", "--array", "--noheader", "--format", "%i %T").splitlines()
        return {
            name: state for name, state in map(str.split, lines) if state not in ("COMPLETED", "CANCELLED", "FAILED")
        }

    def wait(self, until: Callable[[dict[str, str]], bool], what: str, seconds: float = 420) -> dict[str, str]:
        """Return the jobs once they are as `until` says."""
        limit = time.monotonic() + seconds
        while not until(jobs := self.jobs()):
            assert time.monotonic() < limit, f"{what}: {jobs}"
            time.sleep(0.3)
        return jobs


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def missing() -> str:
    """Return why no SLURM can be started here; an empty text where it can."""
    absent = [name for name in DAEMONS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None]
    if absent:
        return f"no {', '.join(absent)} here: apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "its daemons need root here"


def start(words: list[str], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as file:
        return subprocess.Popen(words, env=environment, stdout=file, stderr=subprocess.STDOUT)


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    pytest.importorskip("submitit")
    if why := missing():
        pytest.skip(why)
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # sockets have short names
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        host = socket.gethostname().partition(".")[0]
        ports = {"controller": free_port(), "node": free_port()}
        text = CONFIG.format(host=host, user=getpass.getuser(), folder=folder, cpus=CPUS, **ports)
        for name in ("state", "spool"):
            (folder / name).mkdir()
        (folder / "slurm.conf").write_text(text)
        (folder / "cgroup.conf").write_text("CgroupPlugin=disabled\n")
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "REPRO"))}
        environment |= {
            "SLURM_CONF": str(folder / "slurm.conf"), "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
            "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore",
        }  # fmt: skip
        places = [f"--{name}={folder}/munge.{end}" for name, end in
                  (("key-file", "key"), ("socket", "socket"), ("pid-file", "pid"), ("log-file", "log"),
                   ("seed-file", "seed"))]  # fmt: skip
        daemons.append(start(["munged", "--foreground", "--force", *places], environment, folder / "out"))
        wait_for(lambda: (folder / "munge.socket").exists(), folder)
        daemons.append(start(["slurmctld", "-D"], environment, folder / "out"))
        daemons.append(start(["slurmd", "-D", "-N", host], environment, folder / "out"))
        found = Slurm(environment)
        wait_for(lambda: "idle" in found.call("sinfo", "-h", "-o", "%T", check=False), folder)
        yield found
    finally:
        for one in reversed(daemons):
            one.terminate()
        for one in daemons:
            one.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(ready: Callable[[], bool], folder: Path, seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > limit:
            logs = [path.read_text(errors="replace")[-2000:] for path in sorted(folder.glob("*.log"))]
            raise AssertionError("SLURM does not start:\n" + "\n".join([*logs, (folder / "out").read_text()[-2000:]]))
        time.sleep(0.1)
