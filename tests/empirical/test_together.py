"""Two processes train what one does that sums the gradients of the same half-batches, and what a whole batch gives."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from empirical.training.loop import normalize_alone, refuse_empty_parts
from empirical.training.rules import RuleContext, build_rule
from empirical.training.together import Processes, cut, torchrun_processes
from repro.base.errors import ConfigError
from repro.records.store import Store
from tests.empirical.tiny import make_network, make_stage
from tests.empirical.together import CASES, EPOCHS, METHODS, NETWORKS, trained

# What two processes trained is made once, not once in every process of the tests.
pytestmark = pytest.mark.xdist_group("together")
ROOT = Path(__file__).parents[2]
State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[State, dict[str, Any]]]:
    """Return what two processes trained: weights, statistics and log by case."""
    folder = tmp_path_factory.mktemp("together")
    command = [sys.executable, "-m", "tests.empirical.together", str(folder)]
    started = [subprocess.Popen([*command, str(rank), "2"], cwd=ROOT) for rank in range(2)]
    assert [one.wait(timeout=600) for one in started] == [0, 0]
    first, second = (torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2))
    for name, (state, _) in first.items():
        assert all(torch.equal(tensor, second[name][0][key]) for key, tensor in state.items()), name
    return first


def close(left: State, right: State) -> None:
    for name, tensor in left.items():
        if tensor.is_floating_point():
            apart = (tensor - right[name]).norm() / right[name].norm()
            assert apart < 1e-5, (name, float(apart))
            assert torch.allclose(tensor, right[name], rtol=1e-5, atol=1e-10), name


@pytest.mark.slow
@pytest.mark.parametrize(("method", "rule"), CASES)
def test_two_processes_equal_one_that_accumulates(method: str, rule: str, together: Any) -> None:
    """Weights and BatchNorm's running statistics, over 18 steps; the batches do not halve evenly."""
    one, log = trained("normalized", method, rule)
    two, logged = together[f"normalized {method} {rule}"]
    close(two, one)
    assert any("running_var" in name for name in one)
    assert logged["gradient_evaluations"] == log.gradient_evaluations
    assert [row["loss"] for row in logged["epochs"]] == pytest.approx([row["loss"] for row in log.epochs], rel=1e-9)
    assert len(log.epochs) == EPOCHS


@pytest.mark.slow
@pytest.mark.parametrize(("method", "rule"), CASES)
def test_without_normalization_they_equal_one_process_on_the_whole_batch(method: str, rule: str, together: Any) -> None:
    whole, log = trained("plain", method, rule, parts=1)
    two, logged = together[f"plain {method} {rule}"]
    close(two, whole)
    assert [row["loss"] for row in logged["epochs"]] == pytest.approx([row["loss"] for row in log.epochs], rel=1e-6)


@pytest.mark.slow
def test_two_processes_of_two_parts_each_equal_one_of_four(together: Any) -> None:
    close(together["four parts"][0], trained("normalized", "neggrad", "minmax-asam-0.5", parts=4)[0])


@pytest.mark.slow
def test_a_second_process_with_weights_of_its_own_takes_those_of_the_first(together: Any) -> None:
    close(together["apart"][0], trained("normalized", "neggrad", "sgd", start=make_network)[0])


@pytest.mark.slow
def test_a_local_perturbation_is_that_of_the_part_and_another_training(together: Any) -> None:
    local, _ = trained("plain", "neggrad", "asam-0.5", perturbation="local")
    close(together["local"][0], local)
    whole, _ = trained("plain", "neggrad", "asam-0.5")
    assert not torch.allclose(local["head.weight"], whole["head.weight"], rtol=1e-3)
    plain = [trained("plain", "neggrad", "sgd", perturbation=how)[0] for how in ("local", "global")]
    close(*plain)


@pytest.mark.slow
def test_all_end_where_one_hears_a_signal_and_go_on_from_the_state_that_the_first_wrote(together: Any) -> None:
    state, log = together["interrupted"]
    whole, _ = together["normalized neggrad asam-0.5"]
    assert all(torch.equal(tensor, whole[name]) for name, tensor in state.items())
    assert log["resumed"] == 1


def test_without_normalization_the_parts_of_a_batch_train_what_the_whole_batch_does() -> None:
    (parts, log), (whole, once) = (trained("plain", "neggrad", "asam-0.5", parts=count) for count in (2, 1))
    close(parts, whole)
    assert log.gradient_evaluations == once.gradient_evaluations
    assert [row["loss"] for row in log.epochs] == pytest.approx([row["loss"] for row in once.epochs], rel=1e-6)


def test_a_batch_is_cut_into_parts_that_differ_by_one_row() -> None:
    assert [one.stop - one.start for one in cut(7, 3, range(3))] == [3, 2, 2]
    assert cut(7, 3, range(1, 3)) == [slice(3, 5), slice(5, 7)]
    assert [one.stop - one.start for one in cut(1, 2, range(2))] == [1, 0]


def test_processes_that_do_not_share_the_parts_evenly_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"batch_parts = 3: must be a multiple of the 2 processes"):
        Processes(0, 2).own_parts(3)


def test_synchronized_batchnorm_is_refused_without_a_gpu() -> None:
    with pytest.raises(ConfigError, match=r"sync_batchnorm = True: must be false on a CPU"):
        trained("normalized", "finetune", "sgd", sync_batchnorm=True)


def test_one_gpu_for_all_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with (
        pytest.raises(ConfigError, match=r"device = 'cuda:0': must be cuda under torchrun"),
        torchrun_processes("cuda:0"),
    ):
        pass


def test_only_what_the_first_process_tells_is_waited_for_for_days(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that died is noticed by the others within the half hour of an exchange of gradients."""
    waits: dict[str, Any] = {}
    monkeypatch.setenv("WORLD_SIZE", "2")
    fakes = {
        "init_process_group": lambda backend, timeout: waits.update(exchange=timeout),
        "new_group": lambda backend, timeout: waits.update(told=(backend, timeout)) or "patient",
        "get_rank": lambda: 1, "get_world_size": lambda: 2, "destroy_process_group": lambda: None,
        "broadcast_object_list": lambda told, src, device, group: told.__setitem__(0, group),
    }  # fmt: skip
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.distributed, name, fake)
    with torchrun_processes("cpu") as group:
        assert group.broadcast(lambda: "nothing") == "patient"
    assert waits["exchange"].total_seconds() == 1800
    assert (waits["told"][0], waits["told"][1].days) == ("gloo", 7)


def test_a_batch_without_an_image_for_every_process_is_refused_with_synchronized_batchnorm() -> None:
    """Twenty retain images in batches of 19 leave one image for two processes."""
    rule = build_rule("sgd", RuleContext(list))
    refuse_empty_parts(make_stage(METHODS["neggrad"], rule, batch_size=18, batch_parts=2))
    with pytest.raises(ConfigError, match=r"batch_parts = 2: .* the last batch has 1 images"):
        refuse_empty_parts(make_stage(METHODS["neggrad"], rule, batch_size=19, batch_parts=2))
    with pytest.raises(ConfigError, match=r"batch_parts = 7: .* has 6 images"):
        refuse_empty_parts(make_stage(METHODS["scrub"], rule, batch_size=20, batch_parts=7))


@pytest.mark.slow
def test_torchrun_makes_the_record_of_one_process(tmp_path: Path) -> None:
    cell = ["empirical", "run", "--n-train", "200", "--pretrain-epochs", "2", "--epochs", "1", "--batch-parts", "2",
            "--rule", "sam-0.1", "--difficulty", "high", "--subsets", "4", "--device", "cpu", "--json"]  # fmt: skip
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0", "--standalone"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    found = []
    for name, start in (("one", []), ("two", launch)):
        words = [sys.executable, *start, "-m", "repro", *cell, "--store", str(tmp_path / name)]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))  # one object: only the first process prints
    one, two = found
    assert one["run"] == two["run"]
    ids = [{name: value for name, value in result["parents"].items() if not name.endswith("_checksum")}
           for result in (one, two)]  # fmt: skip
    assert ids[0] == ids[1]  # the weights differ in their last digits: gradients are summed in another order
    for name in ("retain_accuracy", "forget_accuracy", "test_accuracy", "tow"):
        assert one[name] == pytest.approx(two[name], abs=0.02)
    stores = [Store(tmp_path / name) for name in ("one", "two")]
    models = [{folder.name for folder in store.stages.all()} for store in stores]
    assert models[0] == models[1]
    assert len(stores[1].records("unlearn")) == 1
    assert stores[1].records("unlearn")[0].provenance["processes"] == 2


def test_a_network_trained_together_may_be_used_by_one_process_alone() -> None:
    """SyncBatchNorm waits for all processes whenever it trains, also where only the first one measures."""
    network = NETWORKS["normalized"]()
    network.replace_model(torch.nn.SyncBatchNorm.convert_sync_batchnorm(network.model))
    before = {name: value.clone() for name, value in network.model.state_dict().items()}
    assert any(isinstance(one, torch.nn.SyncBatchNorm) for one in network.model.modules())
    normalize_alone(network, SimpleNamespace(group=SimpleNamespace(size=2)))  # type: ignore[arg-type]
    assert not any(isinstance(one, torch.nn.SyncBatchNorm) for one in network.model.modules())
    after = network.model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(value, after[name]) for name, value in before.items())
