"""Variables of the environment: one that no library could read is one line, before anything is imported or written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from repro.base import places
from repro.base.environment import check_environment
from repro.base.errors import ConfigError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "environment",
    [{"WORLD_SIZE": "abc"}, {"WORLD_SIZE": "0"}, {"WORLD_SIZE": "2"}, {"WORLD_SIZE": "2", "RANK": "0"},
     {"RANK": "-1"}, {"NUMBA_NUM_THREADS": "0"}, {"NUMBA_NUM_THREADS": "abc"}, {"OMP_NUM_THREADS": ""},
     {"SOURCE_DATE_EPOCH": "abc"}, {"SOURCE_DATE_EPOCH": "9" * 5000}],
    ids=str,
)  # fmt: skip
def test_a_variable_that_is_no_number_is_refused_by_its_name(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=next(iter(environment))) as refused:
        check_environment(environment)
    assert len(str(refused.value)) < 300


def test_what_torchrun_and_users_set_passes() -> None:
    torchrun = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}
    check_environment({**torchrun, "OMP_NUM_THREADS": "1", "SOURCE_DATE_EPOCH": "0"})
    check_environment({})


@pytest.mark.parametrize(("name", "value", "code"), [("NUMBA_NUM_THREADS", "abc", 2), ("MPLBACKEND", "foo", 0)])
def test_the_command_line_looks_first(name: str, value: str, code: int, tmp_path: Path) -> None:
    """A backend for windows says nothing to a command that draws into files."""
    words = ["figures", "fig-theory-trajectories", f"--store={tmp_path / 'runs'}", f"--out={tmp_path / 'figures'}"]
    done = subprocess.run([sys.executable, "-m", "repro", *words], cwd=ROOT, capture_output=True, text=True,
                          env=os.environ | {name: value}, check=False)  # fmt: skip
    assert done.returncode == code, done.stderr
    assert (tmp_path / "figures").exists() == (code == 0)
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr


def test_a_small_limit_on_memory_is_one_line_before_any_library_is_loaded(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    limit = 600 * 2**20
    done = subprocess.run([sys.executable, "-m", "repro", "claims", f"--store={tmp_path}"], cwd=ROOT, timeout=120,
                          capture_output=True, text=True, check=False,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))  # fmt: skip
    assert (done.returncode, done.stdout) == (4, ""), done.stderr
    assert done.stderr.startswith("error: memory limit = 600 MiB")
    assert len(done.stderr.splitlines()) == 1


def test_a_user_without_a_home_has_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some containers run as a number that no passwd entry knows."""
    for name in ("HOME", "REPRO_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_242_424)
    assert places.cache_folder().is_absolute()
