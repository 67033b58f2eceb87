"""What a grid does with cells that fail, signals that come and processes that die."""

import json
import multiprocessing
import signal
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from empirical.runs import stages
from empirical.runs.resources import Resources
from empirical.runs.run import compute_run, run
from empirical.runs.subset_models import SubsetModels
from empirical.settings.keys import pretrain_key, subset_key
from empirical.settings.run_config import RunConfig, Runtime, config_for
from empirical.studies import executors
from empirical.studies.executors import GridReport, one_a_gpu, run_all, run_groups
from empirical.studies.finished import with_data
from empirical.training.loop import fit
from empirical.training.together import Processes
from repro.base.ending import Ending, Stopped
from repro.base.errors import ConfigError, MissingDataError, OutOfMemoryError_
from repro.base.files import collect_damage
from repro.commands.empirical import processes
from repro.records import leases
from repro.records.identity import run_id
from repro.records.record import Record
from repro.records.store import Store
from tests.empirical.conftest import Small
from tests.empirical.run_parts import CPU, prepared


@pytest.fixture
def cells(small: Small) -> list[RunConfig]:
    return [small(metrics=("accuracy",), seed=seed) for seed in range(3)]


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException, seed: int = 1) -> None:
    """Let the cell of one seed end in an error."""
    real = executors.compute_run

    def compute(config: RunConfig, resources: Resources) -> Any:
        if config.seed == seed:
            raise error
        return real(config, resources)

    monkeypatch.setattr(executors, "compute_run", compute)


def untimed(record: Record) -> dict[str, Any]:
    return {name: value for name, value in record.result.items() if not name.startswith(("seconds", "peak"))}


def compute_all(cells: list[RunConfig], store: Store, runtime: Runtime = CPU, **more: Any) -> GridReport:
    return run_all(cells, Resources(store, runtime, **more))


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


def test_a_run_that_fails_again_is_tried_once_by_all_workers_of_a_grid_together(
    cells: list[RunConfig], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, ZeroDivisionError("by a method of mine"))
    retry = replace(CPU, retry_failed=True)
    compute_all(cells[1:2], store)
    assert "--retry-failed" in next(iter(compute_all(cells[1:2], store, retry, since=1.0).failed.values()))
    assert "--retry-failed" not in next(
        iter(compute_all(cells[1:2], store, retry, since=time.time() + 9).failed.values())
    )


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


@pytest.mark.parametrize(("end", "number"), [
    *((Stopped(number), number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT)),
    (KeyboardInterrupt(), signal.SIGINT),
])  # fmt: skip
def test_a_signal_ends_the_grid_and_names_itself_and_keeps_what_is_finished(
    cells: list[RunConfig], store: Store, monkeypatch: pytest.MonkeyPatch, end: BaseException, number: int
) -> None:
    failing(monkeypatch, end)
    report = compute_all(cells, store)
    assert (len(report.done), report.signal, report.remaining, report.interrupted) == (1, number, 2, True)
    assert report.failed == {}
    monkeypatch.undo()
    assert len(compute_all(cells[:1], store).found) == 1


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


def test_a_signal_that_is_held_off_is_heard_once_at_the_end_or_at_the_checkpoint_that_waits_for_it() -> None:
    ending, passed = Ending(), []

    def twice() -> None:
        with ending.held_off():
            ending(signal.SIGINT, None)
            ending(signal.SIGINT, None)  # not even the second Ctrl-C
            passed.append(ending.came)

    with pytest.raises(Stopped, match="SIGINT"):
        twice()
    assert passed == [None]
    stage = Ending()
    with stage.at_checkpoints():
        with stage.held_off():
            stage(signal.SIGINT, None)
        assert stage.reason(None) == signal.SIGINT


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
    for folder in store.stages.all():
        path = folder / "weights.safetensors"
        raw = bytearray(path.read_bytes())
        raw[-200:-100] = bytes(100)
        path.write_bytes(raw)
    added = replace(cell, metrics=("accuracy", "tow"))
    with collect_damage() as lines:
        compute_all([added], store)
    assert len(lines) == len(list((store.root / "damaged").iterdir())) == 3
    (record,) = store.records("unlearn")
    assert record.result["forget_accuracy"] == expected.result["forget_accuracy"]
    whole = Store(store.root.with_name("whole"))
    compute_all([added], whole)
    assert record.result["tow"] == whole.records("unlearn")[0].result["tow"]
    assert store.verify() == []


@pytest.mark.slow
def test_workers_give_the_report_of_one_process(
    cells: list[RunConfig], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = run_groups([[cell] for cell in cells], store, CPU, workers=2)
    assert (len(report.done), report.remaining, report.failed) == (3, 0, {})
    alone = Store(store.root.with_name("alone"))
    compute_all(cells, alone)
    found, expected = ({one.run_id: untimed(one) for one in made.records("unlearn")} for made in (store, alone))
    assert found == expected
    monkeypatch.setattr(executors, "Worker", lambda *_: pytest.fail("a process was started for nothing"))
    again = run_groups([with_data(cells, CPU, store.stages)], store, CPU, workers=2)
    assert (len(again.found), again.remaining) == (3, 0)


def test_processes_that_die_before_they_come_to_a_run_leave_all_of_them_to_their_parent(
    cells: list[RunConfig], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dead(*_: object) -> Any:
        connection, theirs = multiprocessing.Pipe(duplex=False)
        theirs.close()
        return SimpleNamespace(connection=connection, config=None)

    monkeypatch.setattr(executors, "Worker", dead)
    report = run_groups([[cell] for cell in cells[:2]], store, CPU, workers=2)
    assert (len(report.done), report.remaining, report.failed) == (2, 0, {})


def test_a_run_that_kills_its_process_is_tried_once_by_each_and_the_others_are_computed(
    cells: list[RunConfig], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run with numbers is not recorded as failed when a further metric kills its process."""
    compute_all(cells, store)
    asked, tried = [replace(cell, metrics=("accuracy", "tow")) for cell in cells], []

    def dying(resources: Resources, configs: list[RunConfig]) -> Any:
        connection, theirs = multiprocessing.Pipe(duplex=False)
        tried.extend(configs[:1])
        assert len(tried) < 20
        theirs.send((configs[0] if configs else None, GridReport(), []))
        theirs.close()
        killed = executors.Killed("its process was killed")
        return SimpleNamespace(
            connection=connection, config=None, resources=resources, configs=configs, killed=lambda: killed,
            end=lambda: None,
        )  # fmt: skip

    monkeypatch.setattr(executors, "Worker", dying)
    report = run_groups([[cell] for cell in asked], store, CPU, workers=2)
    assert (len(report.failed), report.remaining, report.failure_code) == (3, 0, 1)
    assert max(map(tried.count, asked)) <= 2
    assert {one.status for one in store.records("unlearn")} == {"ok"}


def test_of_a_run_that_several_processes_tried_done_counts_most_and_then_what_came_first() -> None:
    report = GridReport(failed={"a": "no memory"}, failure_code=4)
    report.merge(GridReport(failed={"a": "no file", "b": "no file"}, failure_code=3))
    report.merge(GridReport(found=["c"]))
    report.merge(GridReport(done=["c"]))
    assert (report.failed, report.failure_code) == ({"a": "no memory", "b": "no file"}, 4)
    assert (report.done, report.found) == (["c"], [])
    report.merge(GridReport(done=["a", "b"]))
    assert (report.failed, report.failure_code, report.ended) == ({}, 0, {"a", "b", "c"})


@pytest.mark.slow
def test_a_run_that_two_blocks_ask_for_different_metrics_is_one_run(cells: list[RunConfig], store: Store) -> None:
    asked = [*cells[:2], replace(cells[0], metrics=("accuracy", "tow"))]
    report = run_groups([[cell] for cell in asked], store, CPU, workers=2)
    assert (len(report.ended), report.remaining, report.failed) == (2, 0, {})
    assert "tow" in store.load(identity(cells[0], store)).result


class Elsewhere:
    """Another process on the same store: it holds leases, computes a cell, and gives its leases back."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store, self.held = Store(store.root), ExitStack()
        self.cell: RunConfig | None = None
        monkeypatch.setattr(leases.time, "sleep", lambda _: self.end())  # while this process waits

    def hold(self, name: str) -> None:
        self.held.enter_context(self.store.lease(name))

    def end(self) -> None:
        """Give everything back, the cell computed."""
        self.held.close()
        if self.cell is not None:
            run(self.cell, self.store, CPU)


def identity(cell: RunConfig, store: Store) -> str:
    return run_id("unlearn", Resources(store, CPU).identified(cell))


@pytest.fixture
def elsewhere(store: Store, monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    return Elsewhere(store, monkeypatch)


def test_a_cell_that_another_process_has_comes_last_and_is_found(
    cells: list[RunConfig], store: Store, elsewhere: Elsewhere
) -> None:
    elsewhere.hold(identity(cells[0], store))
    elsewhere.cell = cells[0]
    report = compute_all(cells, store, patient=False)
    assert report.done == [identity(cell, store) for cell in cells[1:]]
    assert report.found == [identity(cells[0], store)]
    assert (report.remaining, report.interrupted) == (0, False)


def test_a_cell_that_appears_between_the_look_and_the_lease_is_found(
    cells: list[RunConfig], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, other = Resources.lease, Store(store.root)

    def lease(resources: Resources, name: str) -> Any:
        if name == identity(cells[0], store) and resources.store is store:
            run(cells[0], other, CPU)
        return real(resources, name)

    monkeypatch.setattr(Resources, "lease", lease)
    report = compute_all(cells[:1], store)
    assert (report.done, len(report.found)) == ([], 1)


def test_cells_whose_stage_another_process_trains_come_after_those_of_another_stage(
    small: Small, store: Store, elsewhere: Elsewhere
) -> None:
    cells = [small(metrics=("accuracy",), seed=seed, rule=rule) for seed in (0, 1) for rule in ("sgd", "sam-0.1")]
    known = Resources(store, CPU).identified(cells[0])
    elsewhere.hold(pretrain_key(known).id)
    report = compute_all(cells, store, patient=False)
    assert report.done == [identity(cell, store) for cell in [*cells[2:], *cells[:2]]]


def test_a_stage_that_nobody_has_is_trained_while_another_process_trains_its_neighbour(
    cells: list[RunConfig], store: Store, elsewhere: Elsewhere
) -> None:
    """Two processes share a single cell: one pretrains, the other trains the reference."""
    resources = Resources(store, CPU, patient=False)
    elsewhere.hold(pretrain_key(resources.identified(cells[0])).id)
    with pytest.raises(leases.Held):
        compute_run(resources.identified(cells[0]), resources)
    stages = [json.loads((path / "config.json").read_text())["config"]["stage"] for path in store.stages.all()]
    assert stages == ["retrain"]


def test_no_unlearning_is_lost_to_a_reference_in_other_hands(
    cells: list[RunConfig], store: Store, elsewhere: Elsewhere
) -> None:
    """The weights of an unlearning that is not kept exist once: what the cell needs besides is asked for before."""
    resources = Resources(store, replace(CPU, keep_models=False), patient=False)
    config = resources.identified(cells[0])
    elsewhere.hold(prepared(config, Resources(Store(store.root.with_name("other")), CPU)).retrain_key().id)
    trained: list[str] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stages, "fit", lambda *args, **more: trained.append("a stage") or fit(*args, **more))
        with pytest.raises(leases.Held):
            compute_run(config, resources)
    assert trained == ["a stage"]  # the original


@pytest.mark.parametrize("patient", [True, False])
def test_the_time_limit_ends_a_wait_for_another_process(cells: list[RunConfig], store: Store, patient: bool) -> None:
    with Store(store.root).lease(identity(cells[0], store)):
        report = compute_all(cells[:1], store, patient=patient, deadline=time.time() + 0.5)
    assert (report.interrupted, report.signal, report.remaining, report.done) == (True, 0, 1, [])


def test_subset_models_in_other_hands_come_last_and_what_is_known_is_not_computed_again(
    small: Small, store: Store, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    resources = Resources(store, CPU, patient=False)
    estimate = config_for(resources.identified(small(difficulty="high")))
    elsewhere.hold(subset_key(estimate.training(), estimate.fraction, 0).id)
    order: list[int] = []
    real = SubsetModels.correct

    def correct(models: SubsetModels, number: int, subset: Any) -> Any:
        found = real(models, number, subset)
        order.append(number)
        return found

    monkeypatch.setattr(SubsetModels, "correct", correct)
    with pytest.raises(leases.Held):
        SubsetModels(estimate, resources).record()
    elsewhere.end()
    record = SubsetModels(estimate, resources).record()
    assert order == [1, 2, 3, 0]
    alone = SubsetModels(estimate, Resources(Store(store.root.with_name("alone")), CPU)).record()
    assert (record.arrays()["correct"] == alone.arrays()["correct"]).all()


def test_workers_take_the_visible_gpus_in_turn(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    resources = Resources(store, Runtime(device="cuda"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert [one.device for one in one_a_gpu(resources, 4)] == [torch.device("cuda", n) for n in (0, 1, 2, 0)]
    assert processes(resources.runtime) == 3
    assert processes(Runtime(device="cuda:2")) == 1
    chosen = Resources(store, Runtime(device="cuda:2"))
    assert [one.device for one in one_a_gpu(chosen, 2)] == [torch.device("cuda", 2)] * 2
    with pytest.raises(MissingDataError, match="cuda:2"):
        _ = Resources(store, Runtime(device="cuda:3")).device
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(12)), raising=False)
    assert [one.runtime.readers for one in one_a_gpu(resources, 4)] == [3] * 4, "cores are shared by processes"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert [one.device for one in one_a_gpu(resources, 2)] == [torch.device("cuda")] * 2
    assert [one.device for one in one_a_gpu(Resources(store, CPU), 2)] == [torch.device("cpu")] * 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to fall back from")
def test_falling_back_is_said_once_and_refused_where_a_gpu_is_required(
    cells: list[RunConfig], store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    asked = Runtime(engine="graph")
    monkeypatch.setattr("empirical.runs.resources.NVIDIA", tmp_path)
    report = compute_all(cells[:1], store, asked)
    (record,) = [store.load(one) for one in report.done]
    assert (record.provenance["engine"], record.provenance["compile"]) == ("eager", False)
    lines = [one.getMessage() for one in caplog.records]
    assert [line.split(":")[0] for line in lines] == ["device = 'auto'", "engine = 'graph'"]
    required = replace(asked, require_gpu=True)
    report = compute_all(cells[1:2], store, required)
    assert (report.failure_code, report.done) == (3, [])
    assert "no GPU" in next(iter(report.failed.values()))
    with pytest.raises(MissingDataError, match="no GPU"):
        _ = Resources(store, Runtime(require_gpu=True)).device
    monkeypatch.setattr(Resources, "device", torch.device("cuda"))
    with pytest.raises(MissingDataError, match="one by one"):
        Resources(store, required).engine(torch.zeros(1))
    monkeypatch.setattr(Resources, "device_name", "a card")
    together = Resources(store, asked, group=Processes(0, 2))
    ahead: Any = SimpleNamespace(is_cuda=False, ahead=True)  # images that a graph could take
    assert Resources(store, asked).engine(ahead) == Resources(store, asked).provenance()["engine"] == "graph"
    assert together.engine(ahead) == together.provenance()["engine"] == "compiled"
    said = "engine = 'graph': processes exchange gradients; steps run from Python, compiled"
    assert caplog.records[-1].getMessage() == said
    with pytest.raises(MissingDataError, match="exchange gradients"):
        Resources(store, required, group=Processes(0, 2)).engine(torch.zeros(1))
    with pytest.raises(ConfigError, match="require_gpu"):
        Runtime(device="cpu", require_gpu=True)


@pytest.mark.slow
def test_a_parent_postpones_what_others_hold_and_its_workers_go_on(cells: list[RunConfig], store: Store) -> None:
    names, held = [identity(cell, store) for cell in cells], ExitStack()
    held.enter_context(Store(store.root).lease(names[0]))

    def give_back() -> None:
        while not all((store.root / "runs" / name / "result.json").exists() for name in names[1:]):
            time.sleep(0.05)
        held.close()

    threading.Thread(target=give_back, daemon=True).start()
    report = run_groups([[cell] for cell in cells], store, CPU, workers=2)
    assert sorted(report.done) == sorted(names)
    assert report.done[-1] == names[0]
    assert (report.remaining, report.found, report.failed) == (0, [], {})
