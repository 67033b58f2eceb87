"""`make gpu`: the short study is the longest one that fits the measured rate, and the whole way can be walked."""

import importlib
import os
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from empirical.settings.run_config import Runtime
from empirical.studies.recipe import load_recipe
from repro.base.errors import MissingDataError
from repro.records.store import Store

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "recipes" / "gpu-tinyimagenet100-resnet18.toml"


@pytest.mark.parametrize(("rate", "epochs"), [(1e9, 60), (60_000.0, 30), (1.0, 3)])
def test_the_short_study_is_the_longest_that_fits_the_measured_rate(
    rate: float, epochs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu, store = script(monkeypatch), Store(tmp_path)
    with pytest.raises(MissingDataError, match=r"benchmarks/train_step\.py"):
        gpu.fitting(load_recipe(RECIPE), store, Runtime(), card="H100", seconds=1800.0, images=50_000)
    # Another card, a processor and another network say nothing.
    others = (("cpu", "resnet18/sgd", 2e9), ("H100", "resnet50/sgd", 3e9))
    for card, case, speed in (("H100", "resnet18/sgd", rate), *others):
        rows = [{"case": case, "images_per_second": speed}]
        config = {"benchmark": "train_step", "device": card, "cases": [case]}
        store.save("benchmark", config, result={"rows": rows})
    short = gpu.fitting(load_recipe(RECIPE), store, Runtime(), card="H100", seconds=1800.0, images=50_000)
    assert short.defaults["pretrain_epochs"] == epochs
    assert {cell.method for cell in short.runs()} == {"neggrad"}
    assert {cell.seed for cell in short.runs()} == {0}
    stand_in = replace(load_recipe(RECIPE), defaults={**load_recipe(RECIPE).defaults, **gpu.DIGITS})
    digits = gpu.fitting(stand_in, store, Runtime(), card="H100", seconds=1800.0, images=1_437)
    assert {(cell.dataset, cell.model) for cell in digits.runs()} == {("digits", "resnet18")}


def walk(store: Path, *words: str) -> subprocess.Popen[str]:
    """Start `gpu.py --tiny` on a store, in a session of its own, so that it can be killed with what it has started."""
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--tiny", "--store", str(store), *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True, cwd=ROOT, start_new_session=True)


def ids(store: Path) -> set[str]:
    return {record.run_id for record in Store(store).records()} if (store / "runs").is_dir() else set()


@pytest.mark.slow
def test_the_whole_way_is_walked_on_a_cpu_after_a_kill_and_a_signal_and_nothing_measured_is_lost(
    tmp_path: Path,
) -> None:
    store = tmp_path / "runs"
    killed = walk(store)
    deadline = time.monotonic() + 300
    while not ids(store):
        assert killed.poll() is None, killed.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.killpg(killed.pid, signal.SIGKILL)  # after the first case of the first benchmark
    killed.communicate()
    first = ids(store)
    assert {record.kind for record in Store(store).records()} == {"benchmark"}

    ended = walk(store, "--tar", str(tmp_path / "slice.tar"))
    assert ended.stdout is not None
    said = ""
    while "passes, hours" not in said:  # the study begins
        line = ended.stdout.readline()
        assert line, said
        said += line
    ended.send_signal(signal.SIGTERM)
    rest, _ = ended.communicate(timeout=300)
    assert "resnet8-narrow/sgd" in said
    assert "(recorded)" in said, "a case that was measured before the kill is not measured again"
    assert ended.returncode == 128 + signal.SIGTERM, said + rest
    with tarfile.open(tmp_path / "slice.tar") as tar:
        tar.extractall(tmp_path / "elsewhere", filter="data")
    assert first <= ids(tmp_path / "elsewhere")

    last = walk(tmp_path / "elsewhere")  # from the tar, as on another machine
    said, _ = last.communicate(timeout=900)
    assert last.returncode == 0, said
    assert "0 remaining" in said
    cases = {
        (one.config["benchmark"], *one.config["cases"]) for one in Store(tmp_path / "elsewhere").records("benchmark")
    }
    assert {("train_step", "resnet8-narrow/asam"), ("epoch", "resnet8-narrow/sgd"), ("tests", "test_graph.py")} <= cases
    assert {"unlearn", "choice"} <= {record.kind for record in Store(tmp_path / "elsewhere").records()}


def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return `benchmarks/gpu.py` as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("gpu")


def test_what_another_torch_or_other_code_measured_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu, store, config = script(monkeypatch), Store(tmp_path), {"benchmark": "tests", "device": "cpu", "cases": ["a"]}
    gpu.save(store, config, {"rows": [{"exit_code": 0}]})
    assert gpu.recorded(store, config) is not None
    command = sys.modules["training_command"]
    monkeypatch.setattr(command, "code_digest", lambda: "other")
    assert gpu.recorded(store, config) is None
    monkeypatch.undo()
    monkeypatch.setattr("torch.__version__", "0.1")
    assert gpu.recorded(store, config) is None


@pytest.mark.slow
def test_a_failing_test_stops_nothing_and_one_that_hangs_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gpu = script(monkeypatch)
    for name, body in {
        "test_1.py": "assert False",
        "test_2.py": "pass",
        "test_3.py": "import time; time.sleep(60)",
    }.items():
        (tmp_path / name).write_text(f"def test_it():\n    {body}\n")
    files = sorted(tmp_path.glob("test_*.py"))
    found = gpu.Walk(Store(tmp_path / "runs"), Runtime(device="cpu"), time.time() + 600)
    found.tests(files, 30.0)
    assert found.failed == [
        "test_1.py: tests failed, see above",
        "test_3.py: not finished within the 30 s of all tests",
    ]
    again = gpu.Walk(found.store, found.runtime, time.time() + 600)
    again.tests(files[1:2], 30.0)
    assert again.failed == []
    assert "test_2.py: passed (recorded)" in capfd.readouterr().out


def test_a_metric_whose_package_is_not_installed_is_left_out_with_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu, recipe = script(monkeypatch), load_recipe(RECIPE)
    monkeypatch.setitem(sys.modules, "ot", None)
    monkeypatch.delitem(sys.modules, "empirical.metrics.entanglement", raising=False)
    cells = gpu.installed_only(recipe).runs()
    assert {name for cell in recipe.runs() for name in cell.metrics} - {
        name for cell in cells for name in cell.metrics
    } == {"entanglement"}
    assert capsys.readouterr().out.count("\n") == 1
