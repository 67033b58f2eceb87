"""Damaged files and full disks: nothing damaged is used, nothing finished is lost, everything is made anew."""

import random
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from empirical.settings.run_config import Runtime
from empirical.studies.grid import run_grid
from repro.base.files import collect_damage
from repro.records.store import MARK, Store
from tests.command import environment
from tests.faults.test_kills import content
from tests.faults.victim import recipe

pytestmark = pytest.mark.faults
CORRUPTIONS = 120
DAMAGE = ("flip a bit", "cut the end", "empty", "zeros", "remove", "null", "append", "another's bytes")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished store of two cells."""
    folder = tmp_path_factory.mktemp("base") / "store"
    assert run_grid(recipe(1, 1), Store(folder), runtime=Runtime(device="cpu")).remaining == 0
    return folder


def damage(path: Path, how: str, chance: random.Random, others: list[Path]) -> None:
    raw = bytearray(path.read_bytes())
    if how == "flip a bit":
        raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
    elif how == "another's bytes":
        raw = bytearray(chance.choice(others).read_bytes())
    changed = {"cut the end": raw[: len(raw) // 2], "empty": b"", "zeros": bytes(len(raw)), "null": b"null\n"}
    path.write_bytes(changed.get(how, raw + b"\0" if how == "append" else raw))
    if how == "remove":
        path.unlink()


@pytest.mark.parametrize("number", range(CORRUPTIONS))
def test_no_damaged_file_reaches_a_number(number: int, base: Path, tmp_path: Path) -> None:
    chance = random.Random(number)
    store = Store(tmp_path / "store")
    shutil.copytree(base, store.root)
    files = sorted(path for path in store.root.rglob("*") if path.is_file() and path.parent.name != "locks")
    kinds = sorted({(path.parent.parent.name, path.name) for path in files})
    kind = kinds[number % len(kinds)]
    path = chance.choice([one for one in files if (one.parent.parent.name, one.name) == kind])
    before = path.read_bytes()
    damage(path, DAMAGE[number // len(kinds) % len(DAMAGE)], chance, files)
    untouched = path.exists() and path.read_bytes() == before
    named = store.verify()
    with collect_damage() as lines:
        store.records()
        report = run_grid(recipe(1, 1), store, runtime=Runtime(device="cpu"))
    assert (report.failed, report.remaining) == ({}, 0)
    noticed = named or lines or report.done or not path.exists()
    # No number comes from the lists of runs and of studies, nor from the mark of a store: they are made anew.
    listed_anew = path.parent.name == "studies" and path.exists() and path.read_bytes() == before
    assert untouched or noticed or listed_anew or path.name in ("index.jsonl", MARK)
    listed = [[head.run_id for head in one.heads()] for one in (store, Store(base))]
    assert listed[0] == listed[1]
    assert content(store)["runs"] == content(Store(base))["runs"]
    with collect_damage() as again:
        store.records()
    assert again == []


@pytest.mark.parametrize("kilobytes", [1, 20, 60, 200])
def test_a_limit_on_file_sizes_is_one_line_and_exit_code_7(kilobytes: int, tmp_path: Path) -> None:
    words = ["empirical", "run", "--pretrain-epochs", "1", "--epochs", "1", "--n-train", "200", "--metrics", "accuracy"]
    start = "from repro.commands.cli import main; main()"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1024, kilobytes * 1024))

    cramped = subprocess.run(
        [sys.executable, "-B", "-c", start, *words], cwd=tmp_path, env=environment(), capture_output=True, text=True,
        timeout=300, preexec_fn=limit,
    )  # fmt: skip
    if cramped.returncode != 0:
        assert (cramped.returncode, len(cramped.stderr.strip().splitlines())) == (7, 1), cramped.stderr
        assert "free some space" in cramped.stderr
    else:
        assert kilobytes == 200
    assert Store(tmp_path / "runs").verify() == []
    assert not list((tmp_path / "runs").rglob(".*.*"))


def test_a_full_file_system_keeps_what_is_finished(base: Path, tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        store = Store(place / "store")
        shutil.copytree(base, store.root)
        finished = content(store)["runs"]
        filler = place / "filler"
        with pytest.raises(OSError, match="space"):
            filler.write_bytes(bytes(2**22))
        report = run_grid(recipe(1, 3), store, runtime=Runtime(device="cpu"))
        assert (report.failure_code, report.interrupted) == (7, True)
        assert content(store)["runs"] == finished
        assert store.verify() == []
        filler.unlink()
        report = run_grid(recipe(1, 2), store, runtime=Runtime(device="cpu"))
        assert (report.failed, report.remaining, len(report.found)) == ({}, 0, len(finished))
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
