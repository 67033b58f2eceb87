"""The GPU engine without a GPU: replayed steps are the eager ones, bit for bit, and the stand-in would notice."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from empirical.augmentation.augment import Augment
from empirical.methods.forget import NegGrad
from empirical.methods.retain import Finetune
from empirical.released import Fidelity
from empirical.runs.run import memory_named
from empirical.settings.run_config import RunConfig
from empirical.training import graph, step
from empirical.training.batches import Examples
from empirical.training.checkpoint import Pauses
from empirical.training.graph import CudaGraphs, Recording
from empirical.training.loop import Log, fit, search_kernels
from empirical.training.rules import Plain, gradient
from empirical.training.step import Logits, Stage, Step
from repro.base.ending import Stopped
from repro.base.errors import OutOfMemoryError_
from repro.records.stages import Checkpoints
from tests.empirical.cells import METHODS, PAIRS, build
from tests.empirical.recorded_ops import ReplayOnCpu
from tests.empirical.tiny import make_network, state

SAMPLE = [("scrub", "sam-0.1"), ("neggrad", "minmax-asam-0.5"), ("salun", "sgd"), ("l1_sparse", "sgd")]


def train(stage: Stage, engine: str) -> tuple[dict[str, Tensor], Log]:
    network, graphs = make_network(), ReplayOnCpu()
    log = fit(network, stage, engine, graphs=graphs)
    assert bool(graphs.recordings) == (engine == "graph")
    return state(network), log


def disagreements(stage: Stage) -> list[str]:
    """Return what differs between an eager and a replayed run: weights and statistics by name, losses, counts."""
    (eager, first), (replayed, second) = (train(stage, engine) for engine in ("eager", "graph"))
    found = [name for name, tensor in eager.items() if not torch.equal(tensor, replayed[name])]
    found += [name for name in ("epochs", "gradient_evaluations") if getattr(first, name) != getattr(second, name)]
    return found


@pytest.mark.parametrize(("method", "rule"), SAMPLE)
def test_a_replayed_run_is_the_eager_one_bit_for_bit(method: str, rule: str) -> None:
    assert disagreements(build(METHODS[method], rule)) == []


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize(("method", "rule"), PAIRS)
def test_every_method_rule_and_optimizer_replays_bit_for_bit(method: str, rule: str, optimizer: str) -> None:
    assert disagreements(build(METHODS[method], rule, optimizer=optimizer)) == []


class OnePool(ReplayOnCpu):
    """A stand-in that counts the recordings which hold memory, and those that do while work runs eagerly."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[int] = []  # at every eager step
        self.alive: set[int] = set()

    def execute(self, work: Callable[[], Tensor]) -> Tensor:
        self.held.append(len(self.alive))
        return super().execute(work)

    def capture(self, work: Callable[[], Tensor]) -> Recording:
        recording = super().capture(work)
        self.alive.add(id(self.recordings[-1]))
        return recording

    def release(self) -> None:
        self.alive.clear()


def test_every_step_is_replayed_after_its_warm_up_and_eager_ones_have_the_memory_of_the_graphs() -> None:
    """SCRUB: two forget batches, six retain batches and an odd one, in each of three epochs."""
    graphs = OnePool()
    log = fit(make_network(), build(METHODS["scrub"], "sgd"), "graph", graphs=graphs)
    assert log.ran == {"eager": 3 + 3 + 1, "captured": 3 * 9 - 7}
    assert graphs.held == [0] * 7
    assert len(graphs.alive) == 3, "forget, retain and the odd last batch"


def test_what_really_ran_is_counted_without_graphs_and_after_a_resume(tmp_path: Path) -> None:
    assert fit(make_network(), build(Finetune(), "sgd"), "eager").ran == {"eager": 3 * 7}
    pauses = Pauses(Checkpoints(tmp_path), seconds=0, deadline=1.0)  # every step is the last of its process
    for _ in range(9):
        with pytest.raises(Stopped):
            fit(make_network(), build(Finetune(), "sgd"), "graph", graphs=ReplayOnCpu(), pauses=pauses)
    pauses.deadline = None
    log = fit(make_network(), build(Finetune(), "sgd"), "graph", graphs=ReplayOnCpu(), pauses=pauses)
    assert sum(log.ran.values()) == 3 * 7
    assert log.resumed == 9


class Broken:
    """`torch.cuda` of a card whose memory ends inside a capture, whose end then raises an error of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.current = "the stream of the caller"
        self.pool: Any = None

        @contextmanager
        def capturing(graph: Any, **how: Any) -> Iterator[None]:
            self.pool, self.current = how["pool"], how["stream"]
            try:
                yield
            finally:
                raise RuntimeError("operation failed due to a previous error during capture")

        fakes = {
            "Stream": lambda device: "a side stream", "graph_pool_handle": object, "CUDAGraph": object,
            "current_stream": lambda device: self.current, "graph": capturing, "empty_cache": lambda: None,
            "set_stream": lambda stream: setattr(self, "current", stream),
        }  # fmt: skip
        for name, fake in fakes.items():
            monkeypatch.setattr(torch.cuda, name, fake)


def test_out_of_memory_inside_a_capture_is_named_and_the_stream_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Broken(monkeypatch)

    def too_large() -> Tensor:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has ...")

    graphs = CudaGraphs(torch.device("cuda"))
    with pytest.raises(RuntimeError, match="previous error during capture") as caught:
        graphs.capture(too_large)
    assert card.current == "the stream of the caller"
    assert card.pool is graphs.pool
    said = r"a request of 2\.50 GiB failed; the largest batch tried is batch_size = 512; .*batch_parts"
    with pytest.raises(OutOfMemoryError_, match=said), memory_named(RunConfig(batch_size=512)):
        raise caught.value
    graphs.release()
    assert card.pool is not graphs.pool, "torch refuses a pool whose graphs are gone"
    with pytest.raises(RuntimeError, match="illegal"), memory_named(RunConfig()):
        raise RuntimeError("an illegal memory access")


def test_kernels_are_searched_for_unless_the_same_bits_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    search_kernels()
    assert torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    search_kernels()
    torch.use_deterministic_algorithms(False)
    assert not torch.backends.cudnn.benchmark


class SlowToRecord(ReplayOnCpu):
    def capture(self, work: Callable[[], Tensor]) -> Recording:
        time.sleep(0.3)
        return super().capture(work)


def test_recording_is_timed_apart_from_training() -> None:
    stage, started = build(METHODS["scrub"], "sgd"), time.perf_counter()
    log = fit(make_network(), stage, "graph", graphs=SlowToRecord())
    assert log.seconds_preparing > 2 * 0.3
    assert log.seconds + log.seconds_preparing <= time.perf_counter() - started
    assert fit(make_network(), stage, "eager").seconds_preparing == 0


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_two_optimizers_one_after_the_other_replay_bit_for_bit(optimizer: str) -> None:
    fidelity = Fidelity(minmax_update="double", mask_stage="perturbed", forget_statistics="keep")
    stage = build(NegGrad(0.8), "minmax-sam-0.1", fidelity=fidelity, optimizer=optimizer)
    assert disagreements(stage) == []


def test_randaugment_replays_bit_for_bit() -> None:
    stage = build(Finetune(), "sgd")
    pixels = (stage.images * 40 + 128).clamp(0, 255).to(torch.uint8)
    assert disagreements(replace(stage, images=pixels, augment=Augment(randaugment=(2, 15)))) == []


def test_recording_executes_nothing_and_each_replay_is_one_step() -> None:
    weight = torch.ones(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=torch.tensor(0.1, dtype=torch.float64), momentum=0.9, fused=True)

    def work() -> Tensor:
        loss = (weight**2).sum()
        (weight.grad,) = torch.autograd.grad(loss, [weight])
        optimizer.step()
        return loss.detach()

    work()
    before = weight.detach().clone()
    recording = ReplayOnCpu().capture(work)
    assert torch.equal(weight, before)
    recording.replay()
    assert float(recording.result) == pytest.approx(float((before**2).sum()))
    assert not torch.equal(weight, before)


@dataclass(frozen=True)
class Careless(Finetune):
    """Methods that a graph would freeze: each does with Python what belongs on the device."""

    factor: Callable[[Logits], Any] = lambda logits: 1.0

    def loss(self, part: str, batch: Mapping[str, Examples], logits: Logits) -> Tensor:
        return self.factor(logits) * super().loss(part, batch, logits)


class Counting:
    """A rule whose gradient depends on how often Python called it."""

    passes, parts = 1, ("all",)

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, model: Any, loss: Any) -> list[Tensor]:
        self.calls += 1
        return [g / self.calls for g in gradient(model, loss("all"))]


def test_the_stand_in_notices_python_state_that_a_graph_would_freeze() -> None:
    def stage() -> Stage:
        return replace(build(Finetune(), "sgd"), rule=Counting())

    (eager, _), (replayed, _) = (train(stage(), engine) for engine in ("eager", "graph"))
    assert any(not torch.equal(tensor, replayed[name]) for name, tensor in eager.items())


@pytest.mark.parametrize("factor", [
    lambda logits: 1 + float(logits.epoch), lambda logits: 1 if logits.epoch < 1 else 2,
    lambda logits: torch.tensor([2.0]).sum(),
])  # fmt: skip
def test_the_stand_in_refuses_what_cuda_refuses_inside_a_capture(factor: Callable[[Logits], Any]) -> None:
    with pytest.raises(RuntimeError, match="not permitted while capturing"):
        train(build(Careless(factor), "sgd"), "graph")


def test_the_stand_in_notices_a_learning_rate_that_is_a_python_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_numbers(recipe: Any, weights: list[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.SGD(weights, lr=recipe.lr, momentum=recipe.momentum, foreach=True)

    def set_number(step: Any, lr: float) -> None:
        step.optimizers[0].param_groups[0]["lr"] = lr

    monkeypatch.setattr(step, "make_optimizer", with_numbers)
    monkeypatch.setattr(Step, "set_rate", set_number)
    assert "head.weight" in disagreements(build(Finetune(), "sgd"))


def test_the_stand_in_notices_a_capture_before_the_optimizer_has_its_momentum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "WARMUP_STEPS", 0)
    assert "head.weight" in disagreements(build(Finetune(), "sgd"))


def test_an_epoch_that_a_method_reads_on_the_device_follows_the_replays() -> None:
    stage = build(Careless(lambda logits: 1 + logits.epoch), "sgd")
    assert disagreements(stage) == []
    constant = replace(stage, method=Finetune(), rule=Plain())
    assert not torch.equal(train(stage, "graph")[0]["head.weight"], train(constant, "graph")[0]["head.weight"])
