"""The loop: schedules, order of data, determinism, divergence."""

from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest
import torch

from empirical.models.network import Network, can_generate_code, frozen_statistics
from empirical.runs.resources import Resources
from empirical.runs.run import run
from empirical.settings.run_config import Runtime
from empirical.training.batches import Arranger, Phase, Rows
from repro.records.store import Store
from tests.empirical.conftest import Small, small_resnet


@pytest.fixture
def small() -> Small:
    return small_resnet


def rows(count: int, batch_size: int) -> Rows:
    labels, forget = torch.zeros(count, dtype=torch.long), torch.zeros(count, dtype=torch.bool)
    return Rows(torch.arange(count), labels, forget, batch_size)


def test_cached_streams_repeat_order_and_augmentation() -> None:
    streams = {"retain": rows(12, 3), "forget": rows(3, 3)}
    fresh, cached = (Arranger(0, 3).arrange(Phase(streams, flag), "epoch", 0)["forget"] for flag in (False, True))
    assert torch.equal(cached.index[:3], cached.index[9:])
    assert torch.equal(cached.draws[:3], cached.draws[9:])
    assert not torch.equal(fresh.draws[:3], fresh.draws[9:])
    rounds = [tuple(fresh.index[start : start + 3].tolist()) for start in (0, 3, 6, 9)]
    assert len(set(rounds)) > 1


def test_gradient_evaluations_count_every_example_of_every_pass(small: Small, shared: Resources) -> None:
    counts = {
        rule: run(small(rule=rule, forget_batch_size=4), shared.store, resources=shared).result["gradient_evaluations"]
        for rule in ("sgd", "sam-0.1", "retain-sam-0.1", "minmax-sam-0.1")
    }
    retain, forget = 36, 3 * 4
    assert counts == {
        "sgd": retain + forget, "sam-0.1": 2 * (retain + forget), "retain-sam-0.1": 2 * retain + forget,
        "minmax-sam-0.1": 2 * (retain + forget),
    }  # fmt: skip


@pytest.mark.parametrize(("retrain", "passes"), [("sgd", 1), ("sam-0.1", 2)])
def test_gradient_evaluations_of_retraining_are_those_of_its_own_epochs_and_rule(
    retrain: str, passes: int, small: Small, shared: Resources
) -> None:
    epochs, n_retain = 2, 36
    result = run(small(retrain=retrain, metrics=("accuracy",)), shared.store, resources=shared).result
    assert result["retrain_gradient_evaluations"] == epochs * n_retain * passes


def test_without_triton_or_a_c_compiler_the_plain_model_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    for triton, compiler in ((None, "/usr/bin/gcc"), (object(), None)):
        monkeypatch.setattr("importlib.util.find_spec", lambda _, found=triton: found)
        monkeypatch.setattr("shutil.which", lambda _, found=compiler: found)
        assert not can_generate_code()
        network = Network(torch.nn.Conv2d(1, 1, 1), (0.0,), (1.0,))
        network.compile()
        assert network._forward is network.model
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/gcc")
    assert can_generate_code()


def test_more_models_than_torch_allows_by_default_are_compiled_and_one_too_many_says_that_it_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nine sizes of a batch through one `forward`, as nine models would go; SAM asks for two variants of each."""
    torch._dynamo.reset()
    monkeypatch.setattr("empirical.models.network.can_generate_code", lambda: True)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    network = Network(torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), torch.nn.BatchNorm2d(1)), (0.0,), (1.0,))
    network.compile()
    for size in range(2, 11):
        for still in (frozen_statistics(network.model), nullcontext()):
            with still:
                network.logits(torch.ones(size, 1, 2, 2))
    assert network.compiled
    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", 1)
    network.logits(torch.ones(11, 1, 2, 2))
    assert not network.compiled
    torch._dynamo.reset()


def test_the_graph_engine_on_a_cpu_is_the_eager_one(small: Small, tmp_path: Path) -> None:
    records = [
        run(small(), Store(tmp_path / engine), Runtime(device="cpu", engine=engine)) for engine in ("eager", "graph")
    ]
    eager, graph = ({k: v for k, v in r.result.items() if not k.startswith(("seconds", "peak"))} for r in records)
    assert eager == graph
    steps = records[0].provenance["ran"]
    assert set(steps) == {"eager"}
    assert records[1].provenance["ran"] == steps, "what was asked for is not what ran"
