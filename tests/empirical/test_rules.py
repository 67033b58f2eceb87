"""Gradient rules against closed forms on a quadratic, and against a published implementation."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from empirical.methods.relabel import RandomLabel, SalUn
from empirical.models.network import Network
from empirical.released import Fidelity, resolve_switches
from empirical.settings.run_config import Hyperparameters
from empirical.training.rules import (
    Plain,
    Rule,
    RuleContext,
    Sam,
    Scope,
    build_rule,
    gradient,
    method_rule,
    perturbation,
)
from empirical.training.step import Stage, Step

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


def branch(matrix: Tensor, owned: Tensor, sign: int) -> Tensor:
    """One branch of MinMax by hand: gradient, norm and perturbation see owned weights only."""
    g = torch.where(owned, matrix @ START, 0.0)
    perturbed = torch.where(owned, matrix @ (START + 0.3 * g / g.norm()), 0.0)
    return g + sign * (perturbed - g)


MASK = torch.tensor([True, False, False])


def context(fidelity: Fidelity) -> RuleContext:
    return RuleContext(lambda: [MASK], fidelity)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("stage", ["combined", "result", "perturbed"])
def test_the_three_places_of_the_mask_by_hand(stage: str, sign: int) -> None:
    g = OTHER @ START
    whole = OTHER @ (START + 0.3 * g / g.norm())
    expected = {
        "combined": branch(OTHER, MASK, sign),
        "result": torch.where(MASK, g + sign * (whole - g), 0.0),
        "perturbed": g + sign * (torch.where(MASK, whole, 0.0) - g),
    }
    assert len({round(float(v.norm()), 9) for v in expected.values()}) == (3 if sign < 0 else 2), "they do differ"
    near(apply(Sam(0.3, sharpness=sign, part="forget", scope=Scope([MASK], stage))), expected[stage])


def test_a_label_builds_the_rule_it_names() -> None:
    """Every label against its formula, in the loss parts it reads: nothing may build another rule quietly."""
    a, b = CURVATURE, OTHER
    g, r = (a + b) @ START, a @ START
    adaptive = 0.3 * START**2 * g / (START * g).norm()
    expected = {
        "sgd": g,
        "sam-0.3": (a + b) @ (START + 0.3 * g / g.norm()),
        "asam-0.3": (a + b) @ (START + adaptive),
        "retain-sam-0.3": a @ (START + 0.3 * r / r.norm()) + b @ START,
        "minmax-sam-0.3": torch.where(MASK, branch(b, MASK, -1), branch(a, ~MASK, 1)),
        "masked-sgd": torch.where(MASK, g, 0.0),
        "masked-sam-0.3": branch(a + b, MASK, 1),
    }
    for label, value in expected.items():
        near(apply(build_rule(label, context(Fidelity()))), value)


def test_minmax_may_look_for_the_highest_cross_entropy_instead() -> None:
    """D13: with L = -CE, maximizing the sharpness of CE takes the gradient at eps against the gradient of L."""
    rule = build_rule("minmax-sam-0.3", context(resolve_switches("correct", "minmax_sign=cross-entropy")))
    g = torch.where(MASK, OTHER @ START, 0.0)
    forget = torch.where(MASK, OTHER @ (START - 0.3 * g / g.norm()), 0.0)
    near(apply(rule), torch.where(MASK, forget, branch(CURVATURE, ~MASK, 1)))


class Losses:
    """A method whose losses are those of the quadratic, whatever the batch."""

    parts = ("all", "retain", "forget")

    def __init__(self, model: Quadratic) -> None:
        self.model = model

    def loss(self, part: str, batch: Any, scores: Any) -> Tensor:
        return self.model.loss(part)


LR, MOMENTUM = 0.05, 0.9


def train(rule: Rule, fidelity: Fidelity, *, decay: float, steps: int = 3) -> Tensor:
    """Return the weights after some steps of the loop's own update."""
    model = Quadratic()
    recipe = Hyperparameters(1, LR, 1, 0, "sgd", MOMENTUM, decay, "constant", 0, 0.0)
    method: Any = Losses(model)
    unused: Any = None
    step = Step(Network(model, (0.0,), (1.0,)), Stage(method, rule, unused, recipe, unused, fidelity=fidelity))
    for _ in range(steps):
        step({})
    return model.w.detach()


class Momentum:
    """SGD with momentum and weight decay, written out."""

    def __init__(self, decay: float) -> None:
        self.decay, self.velocity = decay, torch.zeros(3, dtype=torch.float64)

    def __call__(self, w: Tensor, g: Tensor) -> Tensor:
        self.velocity = MOMENTUM * self.velocity + g + self.decay * w
        return w - LR * self.velocity


@pytest.mark.parametrize("stage", ["result", "perturbed"])
def test_minmax_in_two_half_steps_that_perturb_the_whole_network(stage: str) -> None:
    """`mask_stage` and `minmax_update` together: retain, then forget at the moved weights, each with an optimizer of
    all weights; the mask acts on the result of SAM, or, as released, on its second gradient alone."""
    fidelity = resolve_switches("correct", f"mask_stage={stage}, minmax_update=double")
    found = train(build_rule("minmax-sam-0.3", context(fidelity)), fidelity, decay=0.1)
    w, first, second = START, Momentum(0.1), Momentum(0.1)
    for _ in range(3):
        g = CURVATURE @ w
        w = first(w, torch.where(MASK, 0.0, CURVATURE @ (w + 0.3 * g / g.norm())))
        g = OTHER @ w
        perturbed = OTHER @ (w + 0.3 * g / g.norm())
        released = 2 * g - torch.where(MASK, perturbed, 0.0)
        w = second(w, released if stage == "perturbed" else torch.where(MASK, 2 * g - perturbed, 0.0))
    near(found, w)


def test_minmax_in_one_step_follows_for_each_weight_the_branch_that_owns_it() -> None:
    found = train(build_rule("minmax-sam-0.3", context(Fidelity())), Fidelity(), decay=0.1)
    w, optimizer = START, Momentum(0.1)
    for _ in range(3):
        sides = []
        for matrix, owned, sign in ((OTHER, MASK, -1), (CURVATURE, ~MASK, 1)):
            g = torch.where(owned, matrix @ w, 0.0)
            sides.append(g + sign * (torch.where(owned, matrix @ (w + 0.3 * g / g.norm()), 0.0) - g))
        w = optimizer(w, torch.where(MASK, *sides))
    near(found, w)


@pytest.mark.parametrize("preset", ["correct", "official-paper"])
def test_saluns_mask_acts_where_the_preset_says(preset: str) -> None:
    """The release perturbs the whole network and masks the perturbed gradient; ours perturbs salient weights only."""
    fidelity = resolve_switches(preset)
    rule = method_rule(SalUn(), build_rule("sam-0.3", context(fidelity)), context(fidelity))
    g = (CURVATURE + OTHER) @ START
    released = torch.where(MASK, (CURVATURE + OTHER) @ (START + 0.3 * g / g.norm()), 0.0)
    near(apply(rule), released if preset == "official-paper" else branch(CURVATURE + OTHER, MASK, 1))


def test_only_salun_masks_whatever_rule_it_runs_under() -> None:
    plain = build_rule("sgd", context(Fidelity()))
    assert method_rule(RandomLabel(), plain, context(Fidelity())) == plain
    near(apply(method_rule(SalUn(), plain, context(Fidelity()))), torch.where(MASK, (CURVATURE + OTHER) @ START, 0.0))


@pytest.mark.parametrize("label", ["sgd", "sam-0.3", "asam-0.3", "retain-sam-0.3"])
def test_weights_outside_the_mask_keep_their_bits(label: str) -> None:
    rule = method_rule(SalUn(), build_rule(label, context(Fidelity())), context(Fidelity()))
    found = train(rule, Fidelity(), decay=0.1)
    assert torch.equal(found[~MASK], START[~MASK])
    assert not torch.isclose(found[MASK], START[MASK]).any()


@pytest.mark.parametrize("label", ["masked-sgd", "masked-sam-0.3"])
def test_the_release_lets_weight_decay_alone_move_weights_outside_the_mask(label: str) -> None:
    fidelity = resolve_switches("official-paper", "joint_mask=applied")
    rule = build_rule(label, context(fidelity))
    decayed, optimizer = START, Momentum(0.1)
    for _ in range(3):
        decayed = optimizer(decayed, torch.zeros(3, dtype=torch.float64))
    near(train(rule, fidelity, decay=0.1)[~MASK], decayed[~MASK])
    assert torch.equal(train(rule, fidelity, decay=0.0)[~MASK], START[~MASK])


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
