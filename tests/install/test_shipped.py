"""Where recipes and records come from, what the doctor says of a GPU, and imports on other systems."""

import subprocess
import sys
from pathlib import Path

import pytest

from repro.base import places
from repro.base.errors import MissingDataError
from repro.commands import doctor, gpu
from repro.commands.cli import run
from repro.records.publish import write_published
from repro.records.store import Store

ROOT = Path(__file__).parents[2]


def install(root: Path, names: tuple[str, ...] = ("a.parquet", "b.parquet")) -> Path:
    folder = root / "bundled" / "results"
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    (folder / places.LIST).write_text("".join(f"{name}\n" for name in names))
    return folder


def test_an_installed_folder_is_whole_or_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = install(tmp_path)
    monkeypatch.setattr(places, "PACKAGE", tmp_path / "bundled")
    assert places.bundled("results") == folder
    (folder / "b.parquet").unlink()
    with pytest.raises(MissingDataError, match=r"results/b.parquet: belongs to this version and is not there"):
        places.bundled("results")
    (folder / places.LIST).unlink()
    with pytest.raises(MissingDataError, match=r"contents.txt"):
        places.bundled("results")


def test_a_checkout_without_its_records_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "CHECKOUT", tmp_path)
    with pytest.raises(MissingDataError, match="restore it from version control"):
        places.bundled("results")


def test_a_users_own_packs_stand_before_the_committed_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store(tmp_path / "runs")
    record = store.save("benchmark", {"a": 1}, result={})
    write_published([record], tmp_path / "results" / "mine.parquet")
    (tmp_path / "results" / "other.parquet").write_bytes((ROOT / "results" / "claims.parquet").read_bytes())
    found = places.published_files()
    assert [path.name for path in found[:2]] == ["mine.parquet", "other.parquet"]
    assert found[2].parent == ROOT / "results"


def test_a_shipped_recipe_is_known_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("digits", "digits.toml", "recipes/digits.toml"):
        assert places.recipe_file(name) == ROOT / "recipes" / "digits.toml"
    (tmp_path / "digits.toml").touch()
    assert places.recipe_file("digits.toml") == Path("digits.toml")
    assert places.recipe_file("elsewhere/digits.toml") == Path("elsewhere/digits.toml")


def test_a_cache_is_where_the_user_says_else_in_the_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable says nothing; an installed package is never written into."""
    for ours, theirs, folder in (
        ("a", "b", "a"),
        ("", "b", "b/repro-unlearning"),
        ("", "", "h/.cache/repro-unlearning"),
    ):
        for name, value in {"REPRO_CACHE": ours, "XDG_CACHE_HOME": theirs, "HOME": "h"}.items():
            monkeypatch.setenv(name, value)
        assert places.cache_folder() == Path(folder)


def test_a_command_without_its_extra_names_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    def lacking() -> None:
        raise ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")

    assert run(lacking) == 3
    assert "pip install 'sharpness-aware-unlearning[networks]'" in capsys.readouterr().err


DRIVER = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  {}  Thu Jul 1 2026\nGCC version: gcc 12.2.0\n"


def machine(root: Path, driver: str) -> Path:
    (root / "proc/driver/nvidia").mkdir(parents=True)
    (root / "proc/driver/nvidia/version").write_text(DRIVER.format(driver))
    return root


def test_the_doctor_sees_a_cpu_only_torch_beside_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "torch_cuda", lambda: None)
    assert gpu.gpu_warnings(tmp_path) == []
    [(check, found, remedy)] = gpu.gpu_warnings(machine(tmp_path, "550.54.15"))
    assert check == "torch for the GPU"
    assert "CPU-only" in found
    assert "pytorch.org" in remedy


@pytest.mark.parametrize(
    ("driver", "cuda", "old"),
    [("550.54.15", (13, 0), True), ("580.65.06", (13, 0), False), ("525.60.13", (12, 8), False),
     ("520.61.05", (12, 8), True), ("550.54", (14, 0), False)],
)  # fmt: skip
def test_the_doctor_sees_a_driver_too_old_for_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str, cuda: tuple[int, int], old: bool
) -> None:
    monkeypatch.setattr(gpu, "torch_cuda", lambda: cuda)
    monkeypatch.setattr(gpu, "compiler_warning", lambda: None)
    found = gpu.gpu_warnings(machine(tmp_path, driver))
    assert bool(found) == old
    assert not old or f"driver {'.'.join(driver.split('.')[:2])} is older than" in found[0][1]


def test_the_doctor_reads_versions_and_blames_no_driver_that_says_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for said, version in (("12.8", (12, 8)), ("13.0.1", (13, 0)), (None, None)):
        monkeypatch.setattr("torch.version.cuda", said)
        assert gpu.torch_cuda() == version
    assert gpu.installed_driver(tmp_path) is None
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidia0").touch()
    assert gpu.installed_driver(tmp_path) == (0, 0)
    assert gpu.driver_warning((0, 0), (13, 0)) is None
    assert gpu.installed_driver(machine(tmp_path, "550.54.15")) == (550, 54)


def test_the_doctor_sees_what_torch_compile_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sysconfig.get_paths", lambda: {"include": str(tmp_path)})
    found = gpu.compiler_warning()
    assert found
    assert found[1] == "lacks a C compiler and Python.h"
    (tmp_path / "Python.h").touch()
    (tmp_path / "gcc").touch(mode=0o755)
    assert gpu.compiler_warning() is None


def test_without_a_device_the_driver_and_the_cuda_of_torch_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "torch_cuda", lambda: (13, 0))
    assert "no NVIDIA driver is loaded" in gpu.why_no_device(tmp_path)
    assert "CUDA 13.0" in gpu.why_no_device(tmp_path)
    old = gpu.why_no_device(machine(tmp_path / "old", "550.54.15"))
    assert "driver 550.54 is older than 580.65, which CUDA 13.0 needs" in old
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert "CUDA_VISIBLE_DEVICES = '7'" in gpu.why_no_device(machine(tmp_path / "new", "580.65.06"))
    monkeypatch.setattr(gpu, "torch_cuda", lambda: None)
    assert "CPU-only" in gpu.why_no_device(machine(tmp_path / "plain", "580.65.06"))


def test_the_doctor_sees_a_package_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: "3.18.0")
    found = {row["check"]: row for row in doctor.packages()}
    assert (found["filelock"]["state"], found["scipy"]["state"]) == ("missing", "ok")
    assert found["filelock"]["found"] == "3.18.0, older than 4.2.6"


# What a POSIX system has and Windows does not, modules and names in modules.
POSIX_MODULES = ("resource", "fcntl", "pwd", "grp", "termios", "tty", "pty")
POSIX_NAMES = {
    "signal": ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGKILL", "SIGALRM", "setitimer", "alarm", "pthread_sigmask"),
    "os": ("fork", "getuid", "geteuid", "sched_getaffinity", "statvfs", "O_DIRECTORY", "O_NOFOLLOW", "register_at_fork",
           "uname", "killpg", "setsid", "getloadavg", "sysconf", "fchmod"),
}  # fmt: skip


@pytest.mark.slow
def test_everything_imports_as_on_windows() -> None:
    """The packages of others are imported first: they know their systems; macOS has `resource` and counts in bytes."""
    folders = [ROOT / top for top in ("repro", "theory", "empirical", "figures")]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for top in folders for path in top.rglob("*.py")]
    code = f"""
import importlib, os, signal, sys
import matplotlib, numba, numpy, pandas, pyarrow, scipy.stats, sklearn, timm, torch, torchvision
sys.modules.update(dict.fromkeys({POSIX_MODULES!r}))
for module, gone in {POSIX_NAMES!r}.items():
    for name in gone:
        vars(sys.modules[module]).pop(name, None)
for name in {names!r}:
    if not name.endswith("__main__"):
        importlib.import_module(name)
from empirical.runs.stages import peak_memory
assert peak_memory() is None
from repro.base.ending import Ending
Ending().listen()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("platform", "unit"), [("darwin", 1), ("linux", 1024)])
def test_memory_is_in_bytes_on_every_system(monkeypatch: pytest.MonkeyPatch, platform: str, unit: int) -> None:
    import resource

    from empirical.runs.stages import peak_memory

    monkeypatch.setattr(sys, "platform", platform)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert peak_memory() == pytest.approx(used * unit, rel=0.05)
