"""What a grid does with cells that fail, signals that come and processes that die."""

import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from empirical.runs.workspace import Workspace
from empirical.settings.run_config import RunConfig, Runtime
from empirical.studies import executors
from empirical.studies.executors import GridReport, run_cells, run_groups
from repro.base.ending import Ending, Stopped
from repro.base.errors import ConfigError, MissingDataError, OutOfMemoryError_
from repro.records.damage import collected
from repro.records.store import Store

CPU = Runtime(device="cpu")


@pytest.fixture
def cells(small: Callable[..., RunConfig]) -> list[RunConfig]:
    return [small(metrics=("accuracy",), seed=seed) for seed in range(3)]


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException, seed: int = 1) -> None:
    """Let the cell of one seed end in an error."""
    real = executors.compute

    def compute(config: RunConfig, workspace: Workspace) -> Any:
        if config.seed == seed:
            raise error
        return real(config, workspace)

    monkeypatch.setattr(executors, "compute", compute)


def compute_all(cells: list[RunConfig], store: Store, runtime: Runtime = CPU, **more: Any) -> GridReport:
    return run_cells(cells, Workspace(store, runtime, **more))


def test_an_error_nobody_expected_is_a_failed_record_and_the_rest_goes_on(
    cells: list[RunConfig], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, ZeroDivisionError("by a method of mine"))
    report = compute_all(cells, store)
    assert (len(report.done), list(report.failed.values())) == (2, ["ZeroDivisionError: by a method of mine"])
    assert (report.failure_code, report.remaining, report.interrupted) == (1, 0, False)
    (record,) = [one for one in store.records("unlearn") if one.status == "failed"]
    assert record.config["seed"] == 1
    assert "executors.py" in record.result["traceback"]
    monkeypatch.undo()
    again = compute_all(cells, store)
    assert (len(again.done), len(again.found), len(again.failed)) == (0, 2, 1)
    assert "--retry-failed" in next(iter(again.failed.values()))
    retried = compute_all(cells, store, replace(CPU, retry_failed=True))
    assert (len(retried.done), len(retried.found), retried.failed) == (1, 2, {})
    assert {one.status for one in store.records("unlearn")} == {"ok"}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MissingDataError("no file"), 3),
        (ConfigError("no such thing"), 2),
        (OutOfMemoryError_("too large"), 4),
        (OSError(13, "Permission denied", "somewhere"), 2),
    ],
)
def test_an_error_that_names_its_remedy_is_no_record(
    cells: list[RunConfig], store: Store, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    failing(monkeypatch, error)
    report = compute_all(cells, store)
    assert (len(report.done), len(report.failed), report.failure_code) == (2, 1, code)
    assert len(store.records("unlearn")) == 2


def test_a_full_disk_ends_the_grid_with_its_own_code_and_loses_nothing_finished(
    cells: list[RunConfig], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, OSError(28, "No space left on device"))
    report = compute_all(cells, store)
    assert (len(report.done), report.failure_code, report.remaining, report.interrupted) == (1, 7, 1, True)
    assert "free some space" in next(iter(report.failed.values()))
    assert store.verify() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_the_grid_and_names_itself(
    cells: list[RunConfig], store: Store, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    failing(monkeypatch, Stopped(number))
    report = compute_all(cells, store)
    assert (len(report.done), report.signal, report.remaining, report.interrupted) == (1, number, 2, True)
    assert report.failed == {}


def test_data_that_are_missing_after_the_deadline_cost_their_cell_only(
    cells: list[RunConfig], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute_all(cells[:1], store)
    absent = replace(cells[0], dataset="cifar10", dataset_options="")
    monkeypatch.setenv("REPRO_DATA", str(store.root))
    report = compute_all([absent, *cells], store, deadline=1.0)
    assert (len(report.failed), report.failure_code, len(report.found)) == (1, 3, 1)
    assert (report.remaining, report.interrupted, report.signal) == (2, True, 0)


def test_a_signal_waits_for_a_checkpoint_inside_a_stage_and_is_heard_at_once_outside() -> None:
    ending = Ending()
    with ending.at_checkpoints():
        ending(signal.SIGTERM, None)
        assert ending.reason(None) == signal.SIGTERM
        with pytest.raises(Stopped):
            ending(signal.SIGINT, None)  # the second Ctrl-C never waits
    with pytest.raises(Stopped, match="SIGHUP"):
        ending(signal.SIGHUP, None)
    assert Ending().reason(1.0) == 0
    assert Ending().reason(None) is None


def test_signals_that_were_ignored_at_the_start_stay_ignored() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1)}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        ending = Ending().listen(interrupt=False)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        assert Ending.here() is ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert Ending.here() is not ending


def test_damaged_weights_never_reach_a_record(cells: list[RunConfig], store: Store) -> None:
    cell = cells[0]
    compute_all([cell], store)
    (expected,) = store.records("unlearn")
    for folder in store.models():
        path = folder / "weights.safetensors"
        raw = bytearray(path.read_bytes())
        raw[-200:-100] = bytes(100)
        path.write_bytes(raw)
    added = replace(cell, metrics=("accuracy", "tow"))
    with collected() as lines:
        compute_all([added], store)
    assert len(lines) == len(list((store.root / "damaged").iterdir())) == 3
    (record,) = store.records("unlearn")
    assert {name: record.result[name] for name in ("forget_accuracy", "retained") if name in record.result} == {
        name: expected.result[name] for name in ("forget_accuracy", "retained") if name in expected.result
    }
    whole = Store(store.root.with_name("whole"))
    compute_all([added], whole)
    assert record.result["tow"] == whole.records("unlearn")[0].result["tow"]
    assert store.verify() == []


@pytest.mark.slow
def test_workers_give_the_report_of_one_process(cells: list[RunConfig], store: Store) -> None:
    report = run_groups([[cell] for cell in cells], store, CPU, workers=2)
    assert (len(report.done), report.remaining, report.failed) == (3, 0, {})
    again = run_groups([cells], store, CPU, workers=2)
    assert (len(again.found), again.remaining) == (3, 0)
