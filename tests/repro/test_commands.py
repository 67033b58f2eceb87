"""What commands pass on and print, without computing anything: numbers stand where their heads say, options arrive."""

import errno
import importlib.metadata
import json
import signal
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from empirical.runs.resources import Resources
from empirical.runs.subset_models import SubsetModels, memorization_scores
from empirical.settings.run_config import RunConfig, Runtime
from empirical.studies.executors import GridReport
from empirical.studies.status import Status, StatusRow
from repro.base.ending import TIME, Stopped
from repro.base.errors import DivergedError
from repro.base.files import name_damage
from repro.commands import cluster, doctor, studies, theory
from repro.commands.cli import app, run
from repro.commands.cluster import Launch, Wave
from repro.commands.empirical import SETS
from repro.records.publish import write_published
from repro.records.record import Record
from repro.records.store import Store
from theory.config import TheoryConfig


def called(*words: str) -> Any:
    return app(list(words), standalone_mode=False)


def fails(error: BaseException) -> Callable[[], None]:
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (DivergedError("run ab diverged"), 5, "error: run ab diverged"),
        (MemoryError(), 4, "error: out of memory (no more to be had)"),
        (ImportError("x.so: failed to map segment from shared object"), 4, "error: out of memory (x.so: failed"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), 4, "error: out of memory ([Errno 12] Cannot allocate"),
        (RuntimeError("can't start new thread"), 4, "error: out of memory (can't start new thread)"),
        (OSError(errno.ENOSPC, "No space left on device"), 7, "error: no space left on device: free some space"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), 7, "error: disk quota exceeded: free some space"),
        (OSError(errno.EFBIG, "File too large"), 7, "error: file too large: free some space"),
        (OSError(errno.EACCES, "Permission denied", "a"), 2, "error: 'a': Permission denied"),
        (KeyboardInterrupt(), 130, "error: interrupted: finished runs are saved"),
        (Stopped(signal.SIGTERM), 143, "error: ended by SIGTERM: finished runs are saved"),
        (Stopped(TIME), 0, "error: ended by time limit: finished runs are saved"),
    ],
    ids=repr,
)
def test_every_end_of_a_command_has_its_code_and_its_line(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(fails(error)) == code
    assert capsys.readouterr().err.startswith(line)


def test_an_error_nobody_expected_is_one_line_and_its_traceback_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert run(fails(ZeroDivisionError("by hand"))) == 1
    said = capsys.readouterr().err
    (kept,) = tmp_path.iterdir()
    assert said == f"error: unexpected ZeroDivisionError: by hand; its traceback is in {kept}\n"
    assert "in fails" in kept.read_text() or "in command" in kept.read_text()
    with pytest.raises(ZeroDivisionError):
        run(fails(ZeroDivisionError("by hand")), debug=True)


def test_damage_on_the_way_is_6_unless_the_command_ends_in_something_worse(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(lambda: name_damage("runs/ab: torn")) == 6
    assert capsys.readouterr().err.splitlines() == [
        "damaged: runs/ab: torn", "error: 1 damaged, named above; the rest is done"
    ]  # fmt: skip
    assert run(lambda: name_damage("runs/ab: torn") or 3) == 3


def test_a_listing_says_study_end_and_place_of_own_and_packed_runs(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    times = ("2026-11-25T01:02:03+00:00", "2026-11-26T01:02:03+00:00")
    own = store.save("unlearn", {"a": 1}, result={}, status="diverged",
                     provenance={"study": "mine", "finished": times[0]})  # fmt: skip
    packed = Store(tmp_path / "other").save("choice", {"a": 2}, result={},
                                            provenance={"study": "theirs", "finished": times[1]})  # fmt: skip
    path = write_published([packed], tmp_path / "pack.parquet")
    monkeypatch.setattr("repro.commands.records.published_files", lambda: [path])
    expected = [
        {"run": own.run_id, "kind": "unlearn", "status": "diverged", "store": "runs", "study": "mine",
         "finished": times[0]},
        {"run": packed.run_id, "kind": "choice", "status": "ok", "store": "results/pack", "study": "theirs",
         "finished": times[1]},
    ]  # fmt: skip
    for kinds in ([], ["--kind", "choice"]):
        called("list", "--store", str(store.root), "--json", *kinds)
        assert json.loads(capsys.readouterr().out) == expected[bool(kinds) :]


# theory


@pytest.mark.parametrize(
    ("words", "rho", "pretrain_rho", "norm"),
    [
        ([], 0.1, 1.0, None),
        (["--rho", "0.5"], None, 1.0, None),
        (["--pretrain-rho", "0.25"], 0.1, None, None),
        (["--rho", "0", "--pretrain-rho", "0.25", "--signal-norm", "3"], None, None, 3.0),
    ],
)
def test_radii_and_signals_arrive_in_the_units_they_were_given_in(
    words: list[str], rho: float | None, pretrain_rho: float | None, norm: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In units of rho_th where None was asked for in absolute ones."""
    seen: list[TheoryConfig] = []
    monkeypatch.setattr("theory.predict.outlook", lambda config: seen.append(config) or {})
    called("theory", "predict", "--d", "300", "--alpha", "0.6", *words, "--json")
    (config,) = seen
    assert (config.d, config.alpha) == (300, 0.6)
    given = dict(zip(words[::2], map(float, words[1::2]), strict=True))
    assert config.rho == pytest.approx(given["--rho"] if rho is None else rho * config.rho_th)
    expected = given["--pretrain-rho"] if pretrain_rho is None else pretrain_rho * config.rho_th
    assert config.pretrain_rho == pytest.approx(expected)
    assert config.signal_norm == pytest.approx(norm) if norm else config.signal_strength == 0.5


def test_a_line_of_theory_has_each_mean_beside_its_own_error() -> None:
    numbers = {name: (place + 1) / 10 for place, name in enumerate(theory.COLUMNS)}
    row = {"pretrain": "sgd", "unlearn": "sam", "status": "ok", "prediction": {n: v + 1 for n, v in numbers.items()}}
    row["prediction"] |= {"test_error_low": 0.9, "test_error_high": 1.25}
    row |= numbers | {f"{name}_se": value / 100 for name, value in numbers.items()}
    simulated, predicted = theory._pretty(row)
    assert list(simulated.values()) == ["sgd", "sam", "ok", "0.100 ± 0.001", "0.2000", "0.300 ± 0.003", "0.400 ± 0.004",
                                        "0.500 ± 0.005", "0.600 ± 0.006", "0.700 ± 0.007", "0.800 ± 0.008"]  # fmt: skip
    assert list(predicted.values()) == ["", "", "predicted", "1.100 [0.900, 1.250]", "1.2000", "1.300", "1.400",
                                        "1.500", "1.600", "1.700", "1.800"]  # fmt: skip
    assert theory._pretty(row | {"prediction": None, "test_error": None})[0]["test_error"] == "-"


def test_a_line_of_alpha_has_the_forget_error_at_each_of_the_two() -> None:
    row = {"pretrain": "sam", "rule": "SGD", "simulated_test_error": 0.05}
    row |= {"predicted": 0.25, "predicted_forget_error": 0.1, "predicted_forget_error_se": None}
    row |= {"simulated": None, "simulated_forget_error": 0.3, "simulated_forget_error_se": 0.03}
    assert theory._alpha_line(row) == {
        "pretrain": "sam", "rule": "SGD", "alpha predicted": "0.250", "forget error predicted": "0.100",
        "alpha simulated": "none", "forget error simulated": "0.300 ± 0.030", "test error": "0.050",
    }  # fmt: skip


def test_a_sweep_shows_its_axes_and_its_errors_and_to_a_program_every_column(store: Store) -> None:
    names = ("d", "pretrain", "test_error", "test_error_se", "forget_error", "kappa_retain")
    arrays = {name: np.array([place, place + 10]) for place, name in enumerate(names)}
    record = store.save("theory_sweep", {"a": 1}, arrays=arrays,
                        result={"sweep": "phase", "boundaries": [], "axes": ["d", "pretrain"]})  # fmt: skip
    shown = theory._sweep_rows(record, everything=False)
    assert shown == [{name: place + more for place, name in enumerate(names[:-1])} for more in (0, 10)]
    assert [row["kappa_retain"] for row in theory._sweep_rows(record, everything=True)] == [5, 15]


def test_the_theory_starts_no_more_processes_than_there_are_cores_and_takes_seeds_as_given(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a cluster the number stands for a job, whose cores are not those of this machine."""
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr(theory, "cores", lambda: 3)
    monkeypatch.setattr(theory, "readers", lambda store: [])
    monkeypatch.setattr(theory, "_sweep_rows", lambda *_, **__: [])
    record = Record("ab" * 8, "theory_sweep", "ok", {}, {}, {})
    monkeypatch.setattr("theory.claims.claim.run_claims", lambda store, **more: seen.append(more) or [])
    monkeypatch.setattr("theory.claims.sweep.run_sweep", lambda *_, **more: seen.append(more) or record)
    for line in (["claims", "lemma-3.1-activation", "--seeds", "5", "--first-seed", "7"], ["sweep", "phase"]):
        for words in (["--workers", "2"], ["--workers", "100000"], ["--workers", "2", "--executor", "debug"]):
            called("theory", *line, *words, "--store", str(store.root), "--json")
    assert [one["workers"] for one in seen] == [2, 3, 1] * 2
    assert {(*one["names"], one["seeds"], one["first_seed"]) for one in seen[:3]} == {("lemma-3.1-activation", 5, 7)}


# networks


def shown_run(tow: float, **more: Any) -> Record:
    """Return a run whose original model has a ToW of 0.7 and a forget accuracy of 0.4, and the retrained one 0.1."""
    result: dict[str, Any] = {"tow": tow, "original_tow": 0.7, "retrained_forget_accuracy": 0.1}
    for place, model in enumerate(("", "original_", "retrained_")):
        accuracies = {f"{model}{name}_accuracy": (3 * place + k) / 10 for k, name in enumerate(SETS)}
        result = accuracies | result
    return Record("ab" * 8, "unlearn", "ok", {}, result | more, {})


def test_a_run_stands_beside_doing_nothing_and_retraining_and_a_diverged_one_is_5(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = shown_run(0.75, absent_metrics={"mia": "too few"})
    monkeypatch.setattr("empirical.runs.run.run", lambda *_, **__: record)
    called("empirical", "run", "--device", "cpu", "--store", str(tmp_path))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-4:] for line in lines[2:5]] == [
        ["0.7500", "0.0000", "0.1000", "0.2000"],
        ["0.7000", "0.3000", "0.4000", "0.5000"],
        ["1.0000", "0.6000", "0.1000", "0.8000"],
    ]
    assert [line[:10] for line in lines[2:5]] == ["unlearned ", "do nothing", "retrained "]
    assert "nearer to the retrained model than doing nothing by 0.0500 ToW" in lines[5]
    assert lines[6:] == ["no mia: too few", f"record: {'ab' * 8}"]
    diverged = Record("cd" * 8, "unlearn", "diverged", {}, {"diverged_at": {"epoch": 2}}, {})
    monkeypatch.setattr("empirical.runs.run.run", lambda *_, **__: diverged)
    with pytest.raises(DivergedError, match=f"run {'cd' * 8} diverged at .*2.*smaller --lr"):
        called("empirical", "run", "--device", "cpu", "--store", str(tmp_path), "--json")
    assert json.loads(capsys.readouterr().out)["status"] == "diverged"


@pytest.mark.parametrize(
    ("numbers", "why"),
    [
        ({"forget_accuracy": 0.05}, "smaller learning rate"),
        ({"forget_accuracy": 0.4}, "larger learning rate"),
        ({"forget_accuracy": 0.2}, "cost more accuracy elsewhere"),
        ({"retrained_forget_accuracy": 0.39, "forget_accuracy": 0.05}, "little to forget"),
    ],
)
def test_a_run_that_is_no_better_than_doing_nothing_says_so_and_why(
    numbers: dict[str, float], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("empirical.runs.run.run", lambda *_, **__: shown_run(0.7, **numbers))
    called("empirical", "run", "--device", "cpu", "--store", str(tmp_path))
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("Unlearning"))
    assert line.startswith("Unlearning was no better than doing nothing: ToW 0.7000 against 0.7000")
    assert why in line


def test_a_second_retrained_model_of_the_store_is_shown_as_the_noise(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only one that was retrained without the very same images, and that is not the reference itself."""
    parents = {"retrain": "r", "forget_set": "f", "unlearn": "u"}

    def save(seed: int, tow: float, rule: str = "sgd", **more: str) -> None:
        config = RunConfig(method="retrain", unlearn_seed=seed, rule=rule)
        store.save("unlearn", config, result=dict(shown_run(tow).result) | {"parents": parents | more})

    monkeypatch.setattr("empirical.runs.run.run", lambda *_, **__: shown_run(0.75, parents=parents))
    save(1, 0.81, unlearn="r")
    save(2, 0.82, unlearn="other", forget_set="g")
    save(3, 0.83, unlearn="other", rule="sam-0.1")
    called("empirical", "run", "--device", "cpu", "--store", str(store.root))
    assert "another retrained" not in capsys.readouterr().out
    save(4, 0.9, unlearn="other")
    called("empirical", "run", "--device", "cpu", "--store", str(store.root))
    lines = capsys.readouterr().out.splitlines()
    (row,) = (line for line in lines if line.startswith("another retrained model"))
    assert "0.9000" in row
    assert "Two retrained models differ by 0.1000 ToW: a smaller difference is noise." in lines


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        ([], "high"),
        (["--model", "resnet8"], "high"),
        (["--difficulty", "random"], "random"),
        (["--difficulty", "low"], "low"),
        (["--subsets", "8"], "random"),
        (["--forget-seed", "1"], "random"),
        (["--n-train", "200"], "random"),
    ],
    ids=" ".join,
)
def test_a_run_forgets_what_is_hard_to_forget_where_that_trains_nothing_more(
    words: list[str], chosen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[RunConfig] = []
    monkeypatch.setattr("empirical.runs.run.run", lambda config, *_, **__: seen.append(config) or shown_run(0.75))
    called("empirical", "run", "--device", "cpu", "--store", str(tmp_path), *words)
    assert seen[0].difficulty == chosen
    assert RunConfig().difficulty == "random", "ids of records rest on the defaults of the fields"
    if chosen != "high":
        return
    resources = Resources(Store(tmp_path), Runtime(device="cpu"))
    monkeypatch.setattr(SubsetModels, "train", lambda _: pytest.fail("subset models would be trained"))
    assert memorization_scores(resources.identified(seen[0]), resources).shape == (1437,)


def test_the_limits_of_a_grid_arrive_and_to_debug_one_process_does_all(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "empirical.studies.grid.run_grid", lambda study, store, **more: seen.append(more) or GridReport()
    )
    monkeypatch.setattr(studies, "cores", lambda: 3)
    (tmp_path / "r.toml").write_text("[[runs]]\nseed = 0\n")
    line = ["empirical", "grid", str(tmp_path / "r.toml"), "--store", str(store.root), "--device", "cpu", "--quiet"]
    called(*line, "--workers", "2", "--max-seconds", "9", "--search-only")
    called(*line, "--workers", "64")
    called(*line, "--workers", "2", "--executor", "debug", "--threads", "2")
    asked = [(one["workers"], one["max_seconds"], one["search_only"], one["runtime"].threads) for one in seen]
    assert asked == [(2, 9.0, True, 1), (3, None, False, 1), (1, None, False, 2)]
    assert [one["watch"].listeners for one in seen] == [[], [], []]


@pytest.mark.parametrize(
    ("report", "code", "said"),
    [
        (GridReport(done=["a", "b"], diverged=["b"], found=["c"], remaining=4, seconds=7.4), 0,
         "2 computed, 1 found, 1 diverged, 0 failed, 4 remaining, 7 s"),
        (GridReport(interrupted=True), 0, "stopped early: run the same command again for the rest"),
        (GridReport(interrupted=True, signal=signal.SIGTERM), 143, "ended by SIGTERM"),
        (GridReport(failed={"ab": "no file", "cd": "x"}, failure_code=3), 3,
         "2 runs failed; the first, ab: no file"),
        (GridReport(edges=["lr 3", "lr 9"]), 0, "not finished: 2 searches end on an edge of their grid (lr 3; lr 9)"),
    ],
)  # fmt: skip
def test_a_grid_ends_with_its_counts_and_the_code_of_its_first_failure(
    report: GridReport, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(lambda: studies._show_grid(report, False)) == code
    found = capsys.readouterr()
    assert said in found.out + found.err


def test_the_largest_batch_of_a_model_is_that_of_its_most_demanding_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    images = {"sgd": 9, "asam-1.0": 4, "sam-0.1": 7}
    asked: list[float] = []

    def fit(cell: RunConfig, memory: float) -> Any:
        asked.append(memory)
        return SimpleNamespace(images=images[cell.rule] + (cell.model == "resnet18"))

    monkeypatch.setattr("empirical.studies.cost.largest_batch", fit)
    cells = [RunConfig(model=model, rule=rule) for model in ("resnet8", "resnet18") for rule in images]
    assert [(model, found.images) for model, found in studies._batches(cells, 80.0)] == [
        ("resnet8", 4),
        ("resnet18", 5),
    ]
    assert set(asked) == {80e9}


def test_what_is_asked_of_a_measurement_arrives(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The row names the numbers of what was added and of nothing else; of several runs JSON is a list."""
    seen: list[Any] = []
    records = [Record(name * 8, "unlearn", "ok", {}, {"tow": 0.5, "hessian_top": 2.0}, {}) for name in ("ab", "cd")]

    def measure(*given: Any, **limits: Any) -> list[Record]:
        seen.append((given[:2], limits))
        return given[0]

    monkeypatch.setattr("empirical.studies.measure.runs_of", lambda what, *_: records[: int(what)])
    monkeypatch.setattr("empirical.studies.measure.measure_runs", measure)
    line = ["empirical", "evaluate", "--metrics", "hessian,mia", "--device", "cpu", "--store", str(store.root)]
    called(*line, "2", "--set", "landscape_points=25", "--retrain", "--workers", "1", "--json")
    rows = [{"run": name * 8, "kind": "unlearn", "numbers": "hessian_top 2"} for name in ("ab", "cd")]
    assert json.loads(capsys.readouterr().out) == rows
    called(*line, "1", "--json")
    assert json.loads(capsys.readouterr().out)["tow"] == 0.5
    (first, limits), (_, plain) = seen
    assert first == (records, ["hessian", "mia"])
    assert limits == {"settings": ["landscape_points=25"], "retrain": True, "workers": 1}
    assert (plain["settings"], plain["retrain"]) == ([], False)


def test_a_watched_study_is_looked_at_until_nothing_of_it_is_open(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def found(*rows: StatusRow, left: float | None = None) -> Status:
        return Status(list(rows), dict(Counter(row.state for row in rows)), [], left)

    running = StatusRow("ab" * 8, "unlearn", "neggrad sgd", "running", "here 7")
    failed, done = replace(running, state="failed", detail="no file"), replace(running, state="done", detail="")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    for words, looks in (([], 1), (["--watch"], 3)):
        left = iter([found(running, done, left=7.0), found(failed, running), found(failed, done), found(done)])
        monkeypatch.setattr("empirical.studies.status.status_of", lambda *_, left=left: next(left))
        called("empirical", "status", "digits", *words, "--store", str(store.root))
        said = capsys.readouterr().out
        assert said.count("digits: ") == looks
    lines = said.splitlines()
    assert lines[0].startswith("digits: 1 running, 1 done; the last about ")
    assert [line.split()[0] for line in lines if "neggrad sgd" in line] == ["running", "failed", "running", "failed"]
    assert lines[-1].endswith("no file")


def test_a_dry_run_of_tidying_removes_nothing(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    left = store.stages.checkpoints(store.stages.save({"a": 1}, b"w", {}).name)
    left.write(b"of a finished stage")
    for words, key in ((["--dry-run"], "left over"), ([], "removed")):
        assert left.folder.exists()
        called("tidy", *words, "--store", str(store.root), "--json")
        assert json.loads(capsys.readouterr().out) == [{key: f"checkpoints/{left.folder.name}"}]
    assert not left.folder.exists()


# figures, the doctor, a cluster


def test_figures_for_a_wall_have_a_folder_of_their_own(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("repro.commands.figures.studies_in", lambda home, instead: (home, instead))
    monkeypatch.setattr("figures.drawing.files.draw", lambda *given, **more: seen.append((*given, more)) or [])
    line = ["figures", "fig-tow", "--store", str(store.root), "--json"]
    for words in ([], ["--style", "slides", "--study", "digits"], ["--style", "dark", "--out", "wall"]):
        called(*line, *words)
    folders = [store.root / "figures", store.root / "figures-slides", Path("wall")]
    assert seen == [
        (["fig-tow"], (store.root, instead), folder, {"style": style})
        for instead, folder, style in zip(([], ["digits"], []), folders, ("paper", "slides", "dark"), strict=True)
    ]


def test_the_page_rests_on_published_records_and_the_table_on_ones_own_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: dict[str, Any] = {}
    monkeypatch.setattr("figures.answers.answers.assess", lambda studies: read.update(table=studies) or [])
    monkeypatch.setattr("figures.answers.page.write_pages", lambda studies, page: read.update(page=studies) or [page])
    called("claims", "--write", str(tmp_path / "page.md"), "--store", str(tmp_path / "runs"))
    assert read["page"].store is None
    assert read["table"].store.root == tmp_path / "runs"


def test_the_doctor_calls_a_package_missing_or_optional_and_names_what_brings_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def version(name: str) -> str:
        if name in ("timm", "pyarrow"):
            raise importlib.metadata.PackageNotFoundError(name)
        return "9.2.3"

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(doctor, "_device", lambda: doctor._row("device", "cpu", True, ""))
    code = run(lambda: called("doctor", "--json"))
    said = capsys.readouterr()
    rows = {row["check"]: row for row in json.loads(said.out)}
    lacking = {name: (row["state"], row["found"]) for name, row in rows.items() if row["found"] == "not installed"}
    assert lacking == {"timm": ("optional", "not installed"), "pyarrow": ("missing", "not installed")}
    assert rows["timm"]["remedy"] == "pip install 'sharpness-aware-unlearning[networks]' (vit-s, timm:NAME)"
    assert rows["pyarrow"]["remedy"] == "pip install sharpness-aware-unlearning"
    assert (rows["numpy"]["state"], rows["numpy"]["found"], rows["numpy"]["remedy"]) == ("ok", "9.2.3", "")
    assert code == 3
    assert "missing: pyarrow; see" in said.err


class Executor:
    """Stands for submitit: remembers what it is given, and numbers its arrays 10, 11, ..."""

    made: ClassVar[list["Executor"]] = []

    def __init__(self, folder: Path, cluster: str) -> None:
        self.folder, self.tasks = folder, list[Any]()
        self.settings: dict[str, Any] = {"cluster": cluster}
        self.made.append(self)

    def update_parameters(self, **settings: Any) -> None:
        self.settings |= settings

    @contextmanager
    def batch(self) -> Any:
        yield

    def submit(self, task: Any) -> Any:
        self.tasks.append(task)
        return SimpleNamespace(job_id=f"{9 + len(self.made)}_{len(self.tasks) - 1}")


def test_waves_are_arrays_of_which_each_waits_for_the_end_of_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole: Any = ModuleType("submitit")
    utils: Any = ModuleType("submitit.core.utils")
    whole.AutoExecutor, utils.FailedJobError = Executor, OSError
    for name, module in {"submitit": whole, "submitit.core": whole, "submitit.core.utils": utils}.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(Executor, "made", [])
    monkeypatch.setattr("shutil.which", lambda name: name)
    launch = Launch(executor="slurm", partition="p", gpus_per_task=2, time="2:30", max_parallel=1, slurm=("mem=4G",))
    cluster.submit(launch, "digits", tmp_path, [Wave("choices", ("a",), 2), Wave("cells", ("b",), 3)])
    first, second = Executor.made
    assert [len(one.tasks) for one in (first, second)] == [2, 3]
    assert {(task.words, task.seconds) for one in (first, second) for task in one.tasks} == {
        (("a",), 130), (("b",), 130)
    }  # fmt: skip
    assert first.folder == tmp_path / "cluster"
    assert first.settings == {
        "cluster": "slurm", "name": "repro-digits", "timeout_min": 3, "slurm_signal_delay_s": cluster.WARNING,
        "slurm_array_parallelism": 1, "slurm_partition": "p", "slurm_gpus_per_task": 2,
        "slurm_additional_parameters": {"requeue": True, "mem": "4G"},
    }  # fmt: skip
    waits = {"requeue": True, "dependency": "afterany:10", "mem": "4G"}
    assert second.settings == first.settings | {"slurm_additional_parameters": waits}
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["submitted job 10, 2 tasks: choices", "submitted job 11, 3 tasks: cells"]
    cluster.submit(Launch(executor="slurm", account="c"), "digits", tmp_path, [Wave("cells", ("b",), 5)])
    settings = Executor.made[-1].settings
    assert (settings["slurm_array_parallelism"], settings["slurm_account"]) == (5, "c")
    assert settings["timeout_min"] == 60
    assert "slurm_partition" not in settings
