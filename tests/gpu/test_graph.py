"""CUDA graphs on a real device: replayed steps are the eager ones, and every kernel can be captured."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from empirical.augmentation.augment import Augment
from empirical.methods.forget import NegGrad
from empirical.methods.retain import Finetune
from empirical.released import Fidelity
from empirical.training.loop import fit
from empirical.training.step import Stage
from tests.empirical.cells import METHODS, PAIRS, build, on_device
from tests.empirical.tiny import make_network, state

pytestmark = [
    pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.usefixtures("same_bits"),
]  # fmt: skip


def train(stage: Stage, engine: str) -> dict[str, Tensor]:
    network = on_device(make_network(), "cuda")
    fit(network, stage, engine)
    return state(network)


def disagreements(stage: Stage) -> list[str]:
    eager, replayed = (train(stage, engine) for engine in ("eager", "graph"))
    return [name for name, tensor in eager.items() if not torch.equal(tensor, replayed[name])]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize(("method", "rule"), PAIRS)
def test_every_method_rule_and_optimizer_replays_bit_for_bit(method: str, rule: str, optimizer: str) -> None:
    assert disagreements(build(METHODS[method], rule, device="cuda", optimizer=optimizer)) == []


def test_steps_of_parts_whose_gradients_are_summed_replay_bit_for_bit() -> None:
    assert disagreements(build(NegGrad(0.8), "minmax-asam-0.5", device="cuda", batch_parts=2)) == []


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_two_optimizers_one_after_the_other_replay_bit_for_bit(optimizer: str) -> None:
    fidelity: Any = Fidelity(minmax_update="double", mask_stage="perturbed", forget_statistics="keep")
    stage = build(NegGrad(0.8), "minmax-sam-0.1", fidelity=fidelity, device="cuda", optimizer=optimizer)
    assert disagreements(stage) == []


def test_randaugment_can_be_captured() -> None:
    torch.use_deterministic_algorithms(False)  # equalize sums floats in an order of the device's own
    stage = build(Finetune(), "sgd", device="cuda")
    pixels = (stage.images * 40 + 128).clamp(0, 255).to(torch.uint8)
    stage = replace(stage, images=pixels, augment=Augment(randaugment=(2, 15)))
    assert fit(on_device(make_network(), "cuda"), stage, "graph").ran["captured"] > 0
