"""Gradient rules against closed forms on a quadratic, and against a published implementation."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from empirical.training.rules import Branches, Masked, Plain, Sam, Scope, gradient, perturbation, restrict

CURVATURE = torch.tensor([[3.0, 0.5, 0.0], [0.5, 2.0, 0.2], [0.0, 0.2, 1.0]], dtype=torch.float64)
START = torch.tensor([0.7, -1.1, 0.4], dtype=torch.float64)
OTHER = torch.tensor([[1.0, 0.3, 0.1], [0.3, 4.0, 0.0], [0.1, 0.0, 0.5]], dtype=torch.float64)


class Quadratic(nn.Module):
    """Weights w; the retain loss is w'Aw/2, the forget loss w'Bw/2."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(START.clone())

    def loss(self, part: str) -> Tensor:
        retain, forget = (0.5 * self.w @ matrix @ self.w for matrix in (CURVATURE, OTHER))
        return {"retain": retain, "forget": forget, "all": retain + forget}[part]


def apply(rule: Callable[..., list[Tensor]]) -> Tensor:
    model = Quadratic()
    (found,) = rule(model, model.loss)
    assert torch.equal(model.w.detach(), START), "the rule must leave the weights as they were"
    return found


def near(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_plain_is_the_gradient() -> None:
    near(apply(Plain(part="retain")), CURVATURE @ START)


def test_sam_is_the_gradient_at_the_end_of_the_normalized_step() -> None:
    g = CURVATURE @ START
    near(apply(Sam(0.3, part="retain")), CURVATURE @ (START + 0.3 * g / g.norm()))


def test_asam_scales_the_step_by_the_squared_weights() -> None:
    g = CURVATURE @ START
    shift = 0.3 * START**2 * g / (START * g).norm()
    near(apply(Sam(0.3, adaptive=True, part="retain")), CURVATURE @ (START + shift))


def test_sharpness_maximization_is_twice_the_gradient_less_the_perturbed_one() -> None:
    g = CURVATURE @ START
    near(apply(Sam(0.3, sharpness=-1, part="retain")), 2 * g - CURVATURE @ (START + 0.3 * g / g.norm()))


def test_descending_perturbation_looks_against_the_gradient() -> None:
    g = CURVATURE @ START
    near(apply(Sam(0.3, ascent=-1, part="retain")), CURVATURE @ (START - 0.3 * g / g.norm()))


def branch(matrix: Tensor, owned: Tensor, sign: int) -> Tensor:
    """One branch of MinMax by hand: gradient, norm and perturbation see owned weights only."""
    g = torch.where(owned, matrix @ START, 0.0)
    perturbed = torch.where(owned, matrix @ (START + 0.3 * g / g.norm()), 0.0)
    return g + sign * (perturbed - g)


def test_minmax_gives_each_weight_the_gradient_of_the_branch_that_owns_it() -> None:
    mask = torch.tensor([True, False, False])
    retain = Sam(0.3, part="retain", scope=Scope([~mask]))
    forget = Sam(0.3, sharpness=-1, part="forget", scope=Scope([mask]))
    near(apply(Branches(retain, forget)), torch.where(mask, branch(OTHER, mask, -1), branch(CURVATURE, ~mask, 1)))


def test_retain_sam_adds_sam_on_retain_to_the_plain_forget_gradient() -> None:
    g = CURVATURE @ START
    rule = Branches(Sam(0.3, part="retain"), Plain(part="forget"))
    near(apply(rule), CURVATURE @ (START + 0.3 * g / g.norm()) + OTHER @ START)


def test_the_released_mask_stage_doubles_the_forget_gradient_outside_the_mask() -> None:
    mask = torch.tensor([True, False, False])
    released = apply(Sam(0.3, sharpness=-1, part="forget", scope=Scope([mask], "perturbed")))
    near(released[1:], 2 * (OTHER @ START)[1:])
    assert torch.all(apply(Sam(0.3, sharpness=-1, part="forget", scope=Scope([mask])))[1:] == 0)


def test_a_mask_restricts_norm_and_perturbation_too() -> None:
    mask = torch.tensor([True, True, False])
    found = apply(Masked(restrict(Sam(0.3, part="retain"), [mask]), [mask]))
    near(found, branch(CURVATURE, mask, 1))


@pytest.mark.parametrize("adaptive", [False, True])
def test_a_zero_gradient_gives_no_perturbation(adaptive: bool) -> None:
    (shift,) = perturbation([START], [torch.zeros(3, dtype=torch.float64)], rho=0.3, adaptive=adaptive)
    assert torch.equal(shift, torch.zeros(3, dtype=torch.float64))


class Small(nn.Module):
    """A convolution, BatchNorm and a linear layer, float32."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
        self.images = torch.randn(6, 1, 8, 8)
        self.labels = torch.tensor([0, 1, 2, 0, 1, 2])

    def loss(self, part: str) -> Tensor:
        return nn.functional.cross_entropy(self.body(self.images), self.labels)


def test_radius_zero_is_the_plain_rule_bit_for_bit() -> None:
    plain, sam = Small(), Small()
    expected, found = Plain()(plain, plain.loss), Sam(0.0)(sam, sam.loss)
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(plain.state_dict().values(), sam.state_dict().values(), strict=True))


def test_batch_statistics_move_in_the_first_pass_only() -> None:
    model = Small()
    Sam(0.5)(model, model.loss)
    norm = model.body[1]
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.num_batches_tracked == 1
    assert norm.track_running_stats


@pytest.mark.parametrize("adaptive", [False, True])
def test_sam_takes_the_step_of_a_published_implementation(adaptive: bool) -> None:
    published = pytest.importorskip("pytorch_optimizer").SAM
    ours, theirs = Small().double(), Small().double()
    for model in (ours, theirs):
        model.images = model.images.double()
    base = torch.optim.SGD(ours.parameters(), lr=0.1)
    other = published(theirs.parameters(), torch.optim.SGD, rho=0.3, adaptive=adaptive, lr=0.1)
    for weight, grad in zip(ours.parameters(), Sam(0.3, adaptive=adaptive)(ours, ours.loss), strict=True):
        weight.grad = grad
    base.step()
    theirs.loss("all").backward()
    other.first_step(zero_grad=True)
    theirs.loss("all").backward()
    other.second_step(zero_grad=True)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-8)  # theirs sums the norm in float32


def test_gradients_of_unused_parameters_are_zero() -> None:
    model = Quadratic()
    model.unused = nn.Parameter(torch.ones(2))
    assert torch.equal(gradient(model, model.loss("all"))[1], torch.zeros(2))
