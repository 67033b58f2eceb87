"""Every discrepancy switch shows both behaviours, and the presets set what they say."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from empirical.data.corruptions import corrupt
from empirical.data.forget import choose_forget
from empirical.metrics.landscape import directions
from empirical.metrics.published import published_reference
from empirical.models.network import Network
from empirical.runs.build import augmentation, build_network
from empirical.runs.evaluate import evaluate
from empirical.runs.experiment import Experiment
from empirical.runs.method import build_method
from empirical.runs.run import run
from empirical.runs.workspace import Workspace
from empirical.settings.run_config import RunConfig
from empirical.settings.switches import PRESETS, Fidelity, resolve
from empirical.training.loop import Logits, learning_rate
from empirical.training.rules import Branches, Masked, Plain, RuleContext, Sam, Scope, build_rule, phases

Small = Callable[..., RunConfig]
LABELS = np.repeat(np.arange(10), 40)
MASK = [torch.tensor([True, False])]


def single(name: str, value: Any) -> Fidelity:
    return replace(Fidelity(), **{name: value})


def switch_names() -> list[str]:
    return [field.name for field in fields(Fidelity)]


def context(name: str, value: Any) -> RuleContext:
    return RuleContext(lambda: MASK, single(name, value))


def result(small: Small, shared: Workspace, switches: str = "", **changes: Any) -> dict[str, Any]:
    return run(small(switches=switches, **changes), shared.store, workspace=shared).result


def test_every_switch_has_a_test_of_its_own() -> None:
    tests = {name for name in globals() if name.startswith("test_d")}
    assert len(switch_names()) == len(tests) == 24


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_runs_and_says_what_it_set(preset: str, small: Small, shared: Workspace) -> None:
    changes = {"metrics": ("accuracy", "tow", "mia"), "preset": preset, "lr": 0.001}
    labels = result(small, shared, **changes)["labels"]
    assert labels["preset"] == preset


def test_the_default_preset_moves_nothing_and_the_released_one_everything() -> None:
    assert resolve("correct") == Fidelity()
    moved = [name for name in switch_names() if getattr(resolve("official-release"), name) != getattr(Fidelity(), name)]
    assert set(switch_names()) - set(moved) == {"forget_statistics", "minmax_sign"}


def test_single_switches_override_a_preset() -> None:
    fidelity = resolve("official-paper", "tow=absolute, randaugment=true")
    assert (fidelity.tow, fidelity.randaugment, fidelity.mask_polarity) == ("absolute", True, "low")


def test_d1_base_optimizer() -> None:
    for switches, expected in (("", "sgd"), ("base_optimizer=adamw", "adamw")):
        config = RunConfig(switches=switches)
        assert config.unlearn_recipe().optimizer == config.retrain_recipe().optimizer == expected
        assert config.pretrain_recipe().optimizer == "sgd"


def test_d2_randaugment() -> None:
    assert augmentation(RunConfig()).randaugment is None
    assert augmentation(RunConfig(switches="randaugment=true")).randaugment == (2, 15)


def test_d3_mask_polarity(small: Small, shared: Workspace) -> None:
    masks = [Experiment(small(switches=s, rule="minmax"), shared).unlearning for s in ("", "mask_polarity=low")]
    high, low = (unlearning.mask(unlearning.copy_original()) for unlearning in masks)
    share = sum(int(m.sum()) for m in high) / sum(m.numel() for m in high)
    assert share == pytest.approx(0.3, abs=1e-3)
    assert not any((a & b).any() for a, b in zip(high, low, strict=True))


def test_d4_mask_stage() -> None:
    rules = [build_rule("minmax-sam-0.1", context("mask_stage", stage)) for stage in ("combined", "perturbed")]
    gradients = [forget_gradient_outside_the_mask(rule) for rule in rules]
    assert gradients[0] == 0
    assert gradients[1] == pytest.approx(2 * 3.0 * 0.5)


class Bowl(nn.Module):
    """Two weights; retain loss w1^2 + w2^2, forget loss 1.5 w2^2."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([1.0, 0.5], dtype=torch.float64))

    def loss(self, part: str) -> Tensor:
        return {"retain": (self.w**2).sum(), "forget": 1.5 * self.w[1] ** 2}[part]


def forget_gradient_outside_the_mask(rule: Any) -> float:
    model = Bowl()
    assert isinstance(rule, Branches)
    return float(rule.forget(model, model.loss)[0][1])


def test_d5_minmax_update() -> None:
    rule = build_rule("minmax-sam-0.1", context("minmax_update", "owned"))
    assert phases(rule, Fidelity()) == (rule,)
    assert phases(rule, single("minmax_update", "double")) == (rule.retain, rule.forget)  # type: ignore[attr-defined]
    assert phases(Plain(), single("minmax_update", "double")) == (Plain(),)


def test_two_full_optimizers_give_other_weights(small: Small, shared: Workspace) -> None:
    """With no gradient at all, two optimizers over all weights decay twice as much."""
    shrink = {}
    for update in ("owned", "double"):
        changes = {"rule": "minmax-sam-0.1", "momentum": 0.0, "weight_decay": 0.01, "lr": 1e-4}
        experiment = Experiment(small(switches=f"minmax_update={update}", **changes), shared)
        before = experiment.unlearning.copy_original().parameters()
        after = experiment.unlearned.network.parameters()
        shrink[update] = [a - b for a, b in zip(after, before, strict=True)]
    assert any(not torch.equal(a, b) for a, b in zip(*shrink.values(), strict=True))


def test_d6_tow(small: Small, shared: Workspace) -> None:
    for switches, key in (("", "tow"), ("tow=signed", "tow_signed")):
        found = result(small, shared, switches, lr=0.2, epochs=3)
        assert found["tow_reported"] == found[key]
    assert found["tow"] != found["tow_signed"]


def test_d7_tow_reference(small: Small, shared: Workspace) -> None:
    assert result(small, shared, "tow_reference=published")["tow_reported"] == 0.0
    assert published_reference(RunConfig(dataset="cifar100", difficulty="high")) == pytest.approx(
        {"retain": 0.99964, "forget": 0.033, "test": 0.7496}
    )
    assert published_reference(RunConfig(dataset="cifar100", model="vit-s", difficulty="low"))["test"] == 0.6111  # type: ignore[index]
    assert published_reference(RunConfig(dataset="cifar100")) is None


def test_d8_forget_split() -> None:
    shared, released = (choose_forget(RunConfig(seed=2, switches=s), LABELS) for s in ("", "forget_split=reseeded"))
    assert np.isin(shared.forget, shared.train).all()
    assert len(released.train) == 360
    assert len(released.validation) == 40
    assert not np.isin(np.concatenate([released.forget, released.retain]), released.train).all()


def test_d9_m_entropy(small: Small, shared: Workspace) -> None:
    for switches, key in (("", "per_row"), ("m_entropy=released", "released")):
        found = result(small, shared, switches, metrics=("accuracy", "mia"))
        assert found["mia_m_entropy"] == found[f"mia_m_entropy_{key}"]


def test_d10_mia_members(small: Small, shared: Workspace) -> None:
    from empirical.metrics.svc_attack import attack_rows
    from empirical.runs.evaluate import make_evaluation

    members = []
    for switches in ("", "mia_members=first"):
        evaluation = make_evaluation(Experiment(small(switches=switches, attack_size=10), shared))
        members.append(attack_rows(evaluation, np.random.default_rng(0))[0].tolist())
    assert members[0] != list(range(10)) == members[1]


def test_d11_forget_cycle(small: Small) -> None:
    assert not build_method(small()).cached  # type: ignore[attr-defined]
    assert build_method(small(switches="forget_cycle=cached")).cached  # type: ignore[attr-defined]


def test_d12_forget_statistics(small: Small, shared: Workspace) -> None:
    images = shared.dataset(small())
    moved = []
    for keep in (False, True):
        network = build_network(small(), images, seed=0, device=torch.device("cpu"))
        before = network.model.state_dict()["body.1.running_mean"].clone()
        Logits(network, None, torch.zeros(()), keep).forget(network.prepare(images.train_images[:8]))
        moved.append(not torch.equal(before, network.model.state_dict()["body.1.running_mean"]))
    assert moved == [True, False]


def test_d13_minmax_sign() -> None:
    released = build_rule("minmax-sam-0.1", context("minmax_sign", "negated-loss"))
    other = build_rule("minmax-sam-0.1", context("minmax_sign", "cross-entropy"))
    assert released.forget == Sam(0.1, sharpness=-1, part="forget", scope=Scope(MASK))  # type: ignore[attr-defined]
    assert other.forget == Sam(0.1, ascent=-1, part="forget", scope=Scope(MASK))  # type: ignore[attr-defined]


def test_d14_retrain_schedule() -> None:
    assert RunConfig().retrain_recipe() == RunConfig().pretrain_recipe()
    assert RunConfig(switches="retrain_schedule=multistep").retrain_recipe().schedule == "multistep"


def test_d15_warmup_target() -> None:
    config = RunConfig(lr=0.01, pretrain_lr=0.1, warmup_epochs=2)
    own = config.unlearn_recipe()
    other = replace(config, switches="warmup_target=pretrain").unlearn_recipe()
    assert learning_rate(own, 4, 0) == pytest.approx(0.01)
    assert learning_rate(other, 4, 0) == pytest.approx(0.1)


def test_d16_double_normalize(small: Small, shared: Workspace) -> None:
    images = shared.dataset(small())
    repeats = [
        build_network(replace(small(switches=s), dataset=d), images, seed=0, device=torch.device("cpu")).repeats
        for s in ("", "double_normalize=true") for d in ("tinyimagenet100", "cifar10")
    ]  # fmt: skip
    assert repeats == [1, 1, 2, 1]


def test_d17_validation_images(shared: Workspace) -> None:
    changes = {"pretrain_epochs": 2, "epochs": 1, "metrics": ("accuracy",)}
    base = RunConfig(switches="forget_split=reseeded", **changes)  # type: ignore[arg-type]
    found = {}
    for switches in ("forget_split=reseeded", "forget_split=reseeded, validation_images=train"):
        numbers, _ = evaluate(Experiment(replace(base, switches=switches), shared))
        found[switches] = numbers["original_validation_accuracy"]
    assert len(set(found.values())) == 2
    assert "original_validation_accuracy" not in evaluate(Experiment(replace(base, switches=""), shared))[0]


def test_d18_corrupted_evaluation(shared: Workspace) -> None:
    config = RunConfig(corruption="gaussian_noise-5", pretrain_epochs=1, epochs=1, metrics=("accuracy",))
    both = run(config, shared.store, workspace=shared).result
    clean = run(replace(config, switches="corrupted_evaluation=false"), shared.store, workspace=shared).result
    assert both["corrupted_retain_accuracy"] != both["retain_accuracy"]
    assert "corrupted_retain_accuracy" not in clean


def test_d19_relabel_all() -> None:
    config = RunConfig(dataset="tiny-imagenet", method="random_label")
    assert build_method(config).relabel  # type: ignore[attr-defined]
    released = replace(config, switches="relabel_all=false")
    assert not build_method(released).relabel  # type: ignore[attr-defined]
    assert build_method(replace(released, dataset="cifar10")).relabel  # type: ignore[attr-defined]


def test_d21_joint_mask() -> None:
    applied, ignored = (build_rule("masked-sam-0.1", context("joint_mask", v)) for v in ("applied", "ignored"))
    assert isinstance(applied, Masked)
    assert ignored == Sam(0.1)


def test_d22_entanglement_scale(small: Small, shared: Workspace) -> None:
    metrics = ("accuracy", "entanglement")
    fixed, released = (result(small, shared, s, metrics=metrics) for s in ("", "entanglement_scale=released"))
    assert released["entanglement_wp"] < fixed["entanglement_wp"]
    assert released["entanglement_var_raw"] == fixed["entanglement_var_raw"]


def test_d23_landscape_norm() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    network = Network(model, (0.0,), (1.0,))
    by_filter, by_layer = (
        directions(network, torch.Generator().manual_seed(0), norm=norm)[0] for norm in ("filter", "layer")
    )
    weight = model[0].weight
    filters = [d[0].flatten(1).norm(dim=1) / weight.flatten(1).norm(dim=1) for d in (by_filter, by_layer)]  # type: ignore[union-attr,operator]
    assert torch.allclose(filters[0], torch.ones(2))
    assert not torch.allclose(filters[1], torch.ones(2))
    torch.testing.assert_close(by_layer[0].norm(), weight.detach().norm())  # type: ignore[operator]
    assert not by_filter[3].any()
    assert by_layer[3].any()


def test_d24_glass_blur() -> None:
    image = np.zeros((1, 1, 8, 8), np.uint8)
    image[0, 0] = np.arange(64).reshape(8, 8) * 4
    swapped, copied = (
        corrupt(image, "glass_blur-1", generator=np.random.default_rng(0), swap=swap) for swap in (True, False)
    )
    assert sorted(swapped.ravel()) == sorted(image.ravel())
    assert sorted(copied.ravel()) != sorted(image.ravel())


def test_d25_scrub_max_epochs() -> None:
    exact, more = (build_method(RunConfig(method="scrub", switches=s)) for s in ("", "scrub_max_epochs=plus-one"))
    counts = [sum(len(m.segments(sets(), epoch, torch.Generator())) == 2 for epoch in range(5)) for m in (exact, more)]
    assert counts == [2, 3]


def sets() -> Any:
    from empirical.training.batches import Rows, Sets

    rows = Rows(torch.arange(4), torch.zeros(4, dtype=torch.long), torch.zeros(4, dtype=torch.bool), 2)
    return Sets(rows, rows, 2, 5)
