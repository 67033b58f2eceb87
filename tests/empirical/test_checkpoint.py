"""A stage cut at any step and gone on from its checkpoint equals the uninterrupted one, bit for bit."""

import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from empirical.methods.retain import Retrain
from empirical.models.network import Network
from empirical.models.resnet import Classifier
from empirical.released import resolve_switches
from empirical.runs import stages
from empirical.runs.resources import Resources
from empirical.runs.subset_models import SubsetModels
from empirical.settings.run_config import MemorizationConfig, Runtime
from empirical.training.checkpoint import Pauses, described, from_bytes, to_bytes
from empirical.training.loop import Log, fit
from empirical.training.rules import Plain, Sam
from empirical.training.step import Stage, Step
from repro.base.ending import Ending, Stopped
from repro.base.files import collect_damage
from repro.records.stages import Checkpoints
from repro.records.store import Store
from tests.empirical.cells import METHODS, PAIRS, build
from tests.empirical.conftest import Small
from tests.empirical.recorded_ops import ReplayOnCpu
from tests.empirical.test_loop import Slope
from tests.empirical.tiny import IMAGES, LABELS, make_network, make_stage, original, state


@dataclass
class Cut(Ending):
    """A signal that comes after so many steps."""

    steps: int = 1

    def __post_init__(self) -> None:
        super().__init__()

    def reason(self, deadline: float | None) -> int | None:
        self.steps -= 1
        return signal.SIGTERM if self.steps < 0 else None


def in_pieces(
    stage: Callable[[], Stage], kept: Checkpoints, steps: int, *,
    start: Callable[[], Network] = original, **options: Any,
) -> tuple[Network, Log]:  # fmt: skip
    """Train a stage in as many pieces as it takes, each with a network, a stage and an optimizer of its own."""
    for _ in range(1000):
        network = start()
        try:
            return network, fit(network, stage(), pauses=Pauses(kept, ending=Cut(steps)), **options)
        except Stopped:
            assert 1 <= len(kept.numbers()) <= 2
    raise AssertionError("it never ends")


def same(left: Network, right: Network) -> bool:
    pairs = zip(state(left).values(), state(right).values(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


def told(log: Log) -> dict[str, Any]:
    return {"epochs": log.epochs, "evaluations": log.gradient_evaluations, "diverged": log.diverged_at}


def resumes(
    stage: Callable[[], Stage], folder: Path, *steps: int, start: Callable[[], Network] = original, **options: Any
) -> Log:
    """Check that a stage cut after every so many steps ends as the uninterrupted one; return the log of the latter."""
    straight = start()
    log = fit(straight, stage(), **options)
    for count in steps:
        pieces, pieced = in_pieces(stage, Checkpoints(folder / str(count)), count, start=start, **options)
        assert pieced.resumed >= 1
        assert same(straight, pieces)
        assert told(pieced) == told(log)
    return log


@pytest.mark.parametrize(("method", "rule"), PAIRS)
def test_every_method_with_every_rule_resumes_bit_for_bit(method: str, rule: str, tmp_path: Path) -> None:
    resumes(lambda: build(METHODS[method], rule), tmp_path, 2)


def test_a_resumed_stage_goes_on_under_the_rule_of_its_epoch_and_ends_where_it_would(tmp_path: Path) -> None:
    def stage(stop: float = 0.0) -> Stage:
        schedule = {1: Plain(), 2: Sam(0.3, adaptive=True)}  # the last of them holds for two epochs
        return replace(make_stage(Retrain(), epochs=4, stop_loss=stop), rule=Sam(0.5), later=schedule)

    losses = [row["loss"] for row in resumes(stage, tmp_path / "all", 0, 2, 4, start=make_network).epochs]
    short = partial(stage, (losses[1] + losses[0]) / 2)
    stopped = resumes(short, tmp_path / "short", 0, 2, 4, start=make_network)
    assert [row["loss"] for row in stopped.epochs] == losses[:2]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_every_optimizer_resumes_at_any_step_of_an_epoch(optimizer: str, tmp_path: Path) -> None:
    """Of seven steps."""
    resumes(lambda: build(METHODS["neggrad"], "sam-0.1", optimizer=optimizer), tmp_path, 0, 1, 6, 7, 8)


def test_a_recorded_step_resumes_bit_for_bit(tmp_path: Path) -> None:
    resumes(lambda: build(METHODS["neggrad"], "minmax-sam-0.1"), tmp_path, 9, engine="graph", graphs=ReplayOnCpu())


@pytest.mark.parametrize("preset", ["official-paper", "official-release"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_released_presets_resume_with_the_optimizers_of_both_branches(
    preset: str, optimizer: str, tmp_path: Path
) -> None:
    """They step on R, then on F, each with moments of its own; a cut after any step loses neither."""

    def stage() -> Stage:
        return build(METHODS["neggrad"], "minmax-sam-0.1", fidelity=resolve_switches(preset), optimizer=optimizer)

    assert len(Step(original(), stage()).optimizers) == 2
    resumes(stage, tmp_path, 1, 7)


def test_a_model_that_draws_goes_on_with_the_same_draws(tmp_path: Path) -> None:
    def network() -> Network:
        torch.manual_seed(7)
        body = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.Dropout(0.5))
        return Network(Classifier(body, 12, 3).double(), (0.5,), (2.0,))

    resumes(lambda: make_stage(METHODS["finetune"]), tmp_path, 2, start=network)


def test_what_was_seen_on_the_way_is_part_of_the_state(tmp_path: Path) -> None:
    def look(network: Network, progress: float) -> dict[str, float]:
        return {"loss": float(nn.functional.cross_entropy(network.logits(IMAGES), LABELS).detach())}

    log = resumes(lambda: make_stage(METHODS["finetune"]), tmp_path, 1, observe=look)
    assert len(log.epochs[0]["accuracies"]) == 4


def test_a_state_nobody_looked_at_is_of_no_use_to_who_looks(tmp_path: Path) -> None:
    kept, stage = Checkpoints(tmp_path), make_stage(METHODS["finetune"])
    with pytest.raises(Stopped):
        fit(original(), stage, pauses=Pauses(kept, ending=Cut(6)))
    log = fit(original(), stage, pauses=Pauses(kept), observe=lambda network, progress: {"x": progress})
    assert log.resumed == 0
    assert len(log.epochs) == 3
    assert all("accuracies" in row for row in log.epochs)


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_counts(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path / "stage")
    assert [kept.write(text) for text in (b"one", b"two", b"three")] == [True] * 3
    assert kept.numbers() == [2, 3]
    newest = kept.folder / "3.sealed"
    newest.write_bytes(newest.read_bytes()[:-1])
    with collect_damage() as lines:
        assert kept.latest() == b"two"
    assert ["stage/3.sealed" in line for line in lines] == [True]
    kept.clear()
    assert kept.latest() is None
    kept.clear()


def test_a_checkpoint_that_cannot_be_written_costs_nothing_but_itself(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    straight, network = original(), original()
    fit(straight, make_stage(METHODS["finetune"]))
    fit(network, make_stage(METHODS["finetune"]), pauses=Pauses(Checkpoints(tmp_path / "file" / "stage"), seconds=0))
    assert same(straight, network)


@pytest.mark.parametrize("data", [b"", b"\x05\0\0\0\0\0\0\0null", b"\xff" * 40, b"\x02\0\0\0\0\0\0\0[]"])
def test_what_is_no_state_is_not_gone_on_from(data: bytes, tmp_path: Path) -> None:
    assert described(data) == {}
    kept = Checkpoints(tmp_path)
    kept.write(data)
    assert fit(original(), make_stage(METHODS["finetune"]), pauses=Pauses(kept)).resumed == 0


def test_a_state_holds_weights_moments_losses_and_words(tmp_path: Path) -> None:
    first, second = (Step(make_network(seed), make_stage(METHODS["finetune"])) for seed in (0, 1))
    fit(first.network, make_stage(METHODS["finetune"], epochs=1))
    for weight in first.weights:
        weight.grad = torch.ones_like(weight)
    first.optimizers[0].step()
    losses = [torch.tensor(0.25, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64)]
    data = to_bytes(first.network.model, first.optimizers, losses, {"epoch": 2})
    found, said = from_bytes(data, second.network.model, second.optimizers, second.network.device)
    assert (found, said) == (losses, {"epoch": 2})
    assert same(first.network, second.network)
    for one, other in zip(first.weights, second.weights, strict=True):
        moments = [step.optimizers[0].state[w]["momentum_buffer"] for step, w in ((first, one), (second, other))]
        assert torch.equal(*moments)
        assert moments[1].stride() == other.stride()


def test_states_are_written_by_time_and_by_epochs(tmp_path: Path) -> None:
    for name, seconds, epochs, expected in (("never", 300.0, 0, 0), ("always", 0.0, 0, 2), ("epochs", 300.0, 2, 1)):
        kept = Checkpoints(tmp_path / name)
        fit(original(), make_stage(METHODS["finetune"]), pauses=Pauses(kept, seconds, epochs))
        assert len(kept.numbers()) == expected
    data = kept.latest()  # every second of three epochs
    assert data is not None
    assert described(data)["said"]["epoch"] == 2


def test_the_end_of_a_long_stage_that_is_kept_nowhere_else_is_a_checkpoint(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    first, again = original(), original()
    log = fit(first, make_stage(METHODS["finetune"]), pauses=Pauses(kept, seconds=0, only_copy=True))
    found = fit(again, make_stage(METHODS["finetune"]), pauses=Pauses(kept, seconds=1e9, only_copy=True))
    assert same(first, again)
    assert (told(found), found.resumed) == (told(log), 1)
    assert found.seconds >= log.seconds > 0, "the time of the process before is part of it"


def test_a_deadline_ends_a_stage_with_its_state_written(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    with pytest.raises(Stopped, match="time limit"):
        fit(original(), make_stage(METHODS["finetune"]), pauses=Pauses(kept, deadline=1.0))
    assert kept.numbers() == [1]


def test_weights_that_the_last_step_made_infinite_are_a_divergence() -> None:
    log = fit(original(), make_stage(Slope(1e10), batch_size=26, epochs=1, lr=1e305))
    assert log.diverged_at == {"epoch": 1, "step": 0}


class Once(Ending):
    """A signal that comes once in a process, after so many questions."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def reason(self, deadline: float | None) -> int | None:
        self.steps -= 1
        return signal.SIGUSR1 if self.steps == 0 else None


def test_subset_models_resume_bit_for_bit_and_leave_no_checkpoint(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = small()
    config = MemorizationConfig(
        dataset=run.dataset, dataset_options=run.dataset_options, subsets=4, epochs=2, batch_size=16
    )
    whole, cut = (Resources(Store(tmp_path / name), Runtime(device="cpu")) for name in ("whole", "cut"))
    expected = SubsetModels(config, whole).record()
    for _ in range(3):
        monkeypatch.setattr(stages, "Pauses", partial(Pauses, ending=Once(2)))
        with pytest.raises(Stopped):
            SubsetModels(config, cut).record()
    assert list((cut.store.root / "checkpoints").iterdir())
    monkeypatch.undo()
    found = SubsetModels(config, cut).record()
    assert {name: values.tobytes() for name, values in found.arrays().items()} == {
        name: values.tobytes() for name, values in expected.arrays().items()
    }
    assert not list((cut.store.root / "checkpoints").iterdir())
    assert [folder.name for folder in cut.store.stages.all()] == [folder.name for folder in whole.store.stages.all()]
    for folder in cut.store.stages.all():
        known = [resources.store.stages.read(folder.name) for resources in (cut, whole)]
        assert known[0]
        assert known[1]
        assert known[0][0] == known[1][0]
