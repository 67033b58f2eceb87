"""The saliency mask: every forget image counts, the model is in evaluation mode, the largest gradients are marked."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from empirical.training.rules import where
from empirical.training.saliency import forget_gradient, saliency_mask
from tests.empirical.tiny import IMAGES, LABELS, make_sets, original, state

ROWS = make_sets().forget.index


def test_the_gradient_sums_over_every_forget_image_in_evaluation_mode() -> None:
    network, other = original(), original()
    other.model.eval()
    expected: list[Tensor] = [torch.zeros_like(weight) for weight in other.parameters()]
    for row in ROWS:
        loss = F.cross_entropy(other.logits(other.normalize(IMAGES[row, None])), LABELS[row, None])
        expected = [a + g for a, g in zip(expected, torch.autograd.grad(loss, other.parameters()), strict=True)]
    for batch_size in (2, 4, 256):
        found = forget_gradient(network, IMAGES, LABELS, ROWS, batch_size=batch_size)
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs.abs(), rtol=0, atol=1e-12)


def test_the_gradient_leaves_weights_and_statistics_alone() -> None:
    network = original()
    before = state(network)
    forget_gradient(network, IMAGES, LABELS, ROWS)
    assert all(torch.equal(before[name], tensor) for name, tensor in state(network).items())
    assert network.model.training


@pytest.mark.parametrize("polarity", ["high", "low"])
def test_the_mask_marks_the_stated_share_over_all_parameters_together(polarity: str) -> None:
    magnitude = [torch.tensor([[0.1, 5.0], [0.3, 0.2]]), torch.tensor([4.0, 3.0, 0.05, 2.0])]
    mask = torch.cat([part.flatten() for part in saliency_mask(magnitude, 0.5, polarity=polarity)])
    flat = torch.cat([part.flatten() for part in magnitude])
    expected = {5.0, 4.0, 3.0, 2.0} if polarity == "high" else {0.1, 0.3, 0.2, 0.05}
    assert set(flat[mask].tolist()) == {float(torch.tensor(value)) for value in expected}


def test_a_share_of_nothing_marks_nothing_and_of_everything_all() -> None:
    magnitude = [torch.rand(3, 2), torch.rand(4)]
    assert not any(bool(part.any()) for part in saliency_mask(magnitude, 0.0))
    assert all(bool(part.all()) for part in saliency_mask(magnitude, 1.0))


def test_a_mask_lies_in_memory_as_its_weight_does_so_that_masked_gradients_do_too() -> None:
    weight = torch.rand(8, 4, 3, 3).to(memory_format=torch.channels_last)
    (mask,) = saliency_mask([weight], 0.3)
    assert mask.stride() == weight.stride()
    (kept,) = where([mask], [weight])
    assert kept.stride() == weight.stride()
    (plain,) = saliency_mask([weight.contiguous()], 0.3)
    assert torch.equal(plain, mask)
