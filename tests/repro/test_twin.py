"""The engine on a torch network's data, weights and batches: float64 curves coincide, settings pass over unchanged."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from empirical.methods.retain import Retrain
from empirical.metrics.coefficients import coefficient_observer
from empirical.models.network import Network, accuracy
from empirical.runs.experiment import Experiment, make_experiment, train_original
from empirical.runs.resources import Resources
from empirical.runs.unlearning import unlearning_stage
from empirical.settings.run_config import RunConfig, Runtime
from empirical.training.batches import row_sets
from empirical.training.loop import fit
from empirical.training.rules import Branches, Rule, RuleContext, Sam, Scope, build_rule
from empirical.training.saliency import forget_gradient
from empirical.training.step import Stage
from repro.base.errors import ConfigError
from repro.commands.twin import departures, theory_config, twin, twin_draw, twin_orders
from repro.records.identity import derive_seed
from repro.records.store import Store
from theory.config import TheoryConfig
from theory.draw import Draw
from theory.engine import Trajectory, replay

BASE = RunConfig(
    dataset="signal-noise", dataset_options="side=16, n=20, n_test=50, signal_strength=0.7, draw=3", model="patch-cnn",
    forget_fraction=0.2, difficulty="random", alpha=0.7, augment="none", momentum=0.0, weight_decay=0.0,
    pretrain_schedule="constant", pretrain_lr=0.16, lr=0.16, pretrain_batch_size=10, batch_size=8,
    forget_batch_size=2, pretrain_epochs=40, epochs=60, precision="fp64", seed=5,
)  # fmt: skip
RADIUS = 0.5
Curves = list[dict[str, float]]


@pytest.fixture
def experiment(tmp_path: Path) -> Callable[..., Experiment]:
    """Make an experiment on 20 images of 16x16 pixels, with settings changed."""

    def make(**changes: Any) -> Experiment:
        return make_experiment(replace(BASE, **changes), Resources(Store(tmp_path), Runtime(device="cpu")))

    return make


def watch(experiment: Experiment, rule: Rule | None = None) -> tuple[Curves, Curves]:
    """Train the network with torch and return what its weights say after every epoch of the two stages."""
    config, images = experiment.config, experiment.images
    learned = coefficient_observer(experiment.initial(), images, experiment.split)
    rows = {"retain": experiment.split.retain, "forget": experiment.split.forget}

    def observe(network: Network, progress: float) -> dict[str, Any]:
        found = learned(network)
        for side, where in rows.items():
            scores = network.logits(network.normalize(images.train_images[where])).detach()
            labels = images.train_labels[where]
            found[f"{side}_loss"] = float(torch.nn.functional.cross_entropy(scores, labels))
            found[f"{side}_error"] = float((scores.argmax(1) != labels).double().mean())
        return found

    network, seed = experiment.initial(), derive_seed(config.seed, "pretrain")
    everything = np.arange(len(images.train_labels))
    sets = row_sets(images, config.pretraining(), everything, everything[:0], device=network.device)
    held = experiment.resources.train_images(config)
    stage = Stage(
        Retrain(), build_rule(config.pretrain, RuleContext(list)), sets, config.pretraining(), held, seed=seed
    )
    before = fit(network, stage, observe=observe)
    original = train_original(experiment).network
    torch.testing.assert_close(network.parameters(), original.parameters(), rtol=0, atol=0)
    stage = unlearning_stage(config, images, held, experiment.split, network, teacher=original.copy())
    after = fit(network, stage if rule is None else replace(stage, rule=rule), observe=observe)
    return by_epoch(before.epochs), by_epoch(after.epochs)


def by_epoch(rows: list[dict[str, Any]]) -> Curves:
    return [row["accuracies"][-1] for row in rows]


def farthest(trajectory: Trajectory, before: Curves, after: Curves) -> dict[str, float]:
    """Return the largest distance of the network from its twin over both stages, by metric."""
    stages = ((trajectory.pretrain, before), (trajectory.metrics, after))
    found: dict[str, float] = {}
    for metrics, curves in stages:
        theory = {name: values[0, 1:] for name, values in metrics.items()}
        for end in ("", "_plus", "_minus"):
            theory[f"kappa{end}"] = theory[f"kappa_retain{end}"] + theory[f"kappa_forget{end}"]
        for name in set(theory) & set(curves[0]):
            gap = np.abs(theory[name] - np.array([point[name] for point in curves])).max()
            found[name] = max(found.get(name, 0.0), float(gap))
    return found


CURVES = {
    *(f"kappa{end}" for end in ("", "_plus", "_minus")),
    *(f"{side}_{name}" for side in ("retain", "forget") for name in ("loss", "error")),
    *(f"zeta_{side}{end}" for side in ("retain", "forget") for end in ("", "_oppose")),
    *(f"active_{side}_{sign}" for side in ("retain", "forget") for sign in ("match", "oppose")),
}


PATCHES = f"{BASE.dataset_options}, patches=4, noise_patches="
SMALL_STEPS = {"lr": 0.03, "pretrain_lr": 0.03, "pretrain": f"sam-{RADIUS}", "rule": f"sam-{RADIUS / 5}"}


@pytest.mark.parametrize("changes", [
    {"pretrain": "sgd", "rule": "sgd"}, {"pretrain": f"sam-{RADIUS}", "rule": f"sam-{RADIUS / 5}"},
    {"pretrain": "sgd", "rule": f"retain-sam-{RADIUS}"}, {"pretrain": f"sam-{RADIUS}", "rule": "sgd"},
    SMALL_STEPS | {"dataset_options": f"{PATCHES}repeated", "rule": f"retain-sam-{RADIUS}"},
    SMALL_STEPS | {"dataset_options": f"{PATCHES}independent"},
    SMALL_STEPS | {"momentum": 0.8}, SMALL_STEPS | {"momentum": 0.8, "weight_decay": 0.02},
], ids=lambda changes: ", ".join(map(str, changes.values())))  # fmt: skip
def test_a_float64_network_and_its_twin_coincide_over_the_whole_run(
    experiment: Callable[..., Experiment], changes: dict[str, Any]
) -> None:
    """Under weight decay kappa and zeta of a network, read off W - W0, also hold what decay took from W0."""
    one = experiment(**changes)
    config, curves = theory_config(one.config).changed(checkpoint_every=1), watch(one)
    found = farthest(replay(config, twin_draw(one), twin_orders(one)), *curves)
    assert set(found) == CURVES
    shown = {name for name in CURVES if "weight_decay" not in changes or not name.startswith(("kappa", "zeta"))}
    assert max(found[name] for name in shown) < 1e-10, found
    for name in {"momentum", "weight_decay"} & set(changes):
        other = replay(config.changed(**{name: 0.0}), twin_draw(one), twin_orders(one))
        assert farthest(other, *curves)["forget_loss"] > 1e-3


def test_a_schedule_of_rules_passes_over(experiment: Callable[..., Experiment]) -> None:
    one = experiment(pretrain=f"sam-{RADIUS}:15, sgd", pretrain_epochs=25)
    found = replay(theory_config(one.config), twin_draw(one), twin_orders(one)).pretrain
    learned = coefficient_observer(one.initial(), one.images, one.split)(train_original(one).network)
    for name in ("zeta_retain", "zeta_forget", "zeta_retain_oppose"):
        assert learned[name] == pytest.approx(found[name][0, -1], abs=1e-10)
    plain = replay(theory_config(replace(one.config, pretrain="sgd")), twin_draw(one), twin_orders(one)).pretrain
    assert abs(plain["zeta_retain"][0, -1] - learned["zeta_retain"]) > 1e-3


def test_sharp_minmax_over_whole_neurons_coincides_with_its_twin(experiment: Callable[..., Experiment]) -> None:
    """The theory knows masks of neurons only, so the network gets one: half of them, by their forget gradient."""
    one = experiment(pretrain="sgd")
    original, rows = train_original(one).network, torch.from_numpy(one.split.forget)
    slope = forget_gradient(original, one.images.train_images, one.images.train_labels, rows)[0]
    order = torch.argsort(slope.pow(2).sum(1), descending=True)
    marked = torch.zeros(len(slope), 1, dtype=torch.bool)
    marked[order[: len(order) // 2]] = True
    mask = [marked.expand_as(slope)]
    retain = Sam(RADIUS, part="retain", scope=Scope([~mask[0]]))
    rule = Branches(retain, Sam(RADIUS, part="forget", sharpness=-1, scope=Scope(mask)))
    config = theory_config(one.config).at_radius(RADIUS).changed(unlearn="minmax", mask_refresh=0, checkpoint_every=1)
    found = farthest(replay(config, twin_draw(one), twin_orders(one)), *watch(one, rule))
    assert max(found.values()) < 1e-10, found


def test_a_float32_network_stays_within_single_precision_of_its_twin(experiment: Callable[..., Experiment]) -> None:
    """2e-4 is a hundred times the rounding of one step: a ReLU that switches a step earlier costs that much."""
    one = experiment(precision="fp32")
    config = replace(theory_config(one.config), checkpoint_every=1)
    found = farthest(replay(config, twin_draw(one), twin_orders(one)), *watch(one))
    smooth = {name: gap for name, gap in found.items() if not name.startswith("active") and "error" not in name}
    assert 1e-9 < max(smooth.values()) < 2e-4, smooth


def test_the_twin_needs_no_training(experiment: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("empirical.runs.stages.fit", None)
    one = experiment()
    found = twin(one)
    assert found.epochs[-1] == one.config.epochs
    assert np.isfinite(found.metrics["test_error"]).all()
    assert np.isnan(found.retrained["test_error"]).all()


def test_another_batch_order_leaves_the_twin(experiment: Callable[..., Experiment]) -> None:
    one, other = experiment(), experiment(unlearn_seed=1)
    config = replace(theory_config(one.config), checkpoint_every=1)
    found = farthest(replay(config, twin_draw(one), twin_orders(other)), *watch(one))
    assert found["forget_loss"] > 1e-3


def test_the_setting_passes_over_unchanged(experiment: Callable[..., Experiment]) -> None:
    data = "side=16, patches=3, n=30, sigma_p=0.5, signal_strength=2.0, noise_patches=repeated, labels=iid"
    config = experiment(dataset_options=data, pretrain="sam-0.2", rule="retain-sam-0.05", momentum=0.5,
                        weight_decay=0.01).config  # fmt: skip
    found = theory_config(config, seeds=7)
    default = theory_config(
        replace(config, dataset_options="patches=3")
    )  # the data set's defaults are not the theory's
    assert (default.noise_patches, default.labels) == ("independent", "balanced")
    expected = TheoryConfig(
        signal_strength=2.0, d=256, n=30, n_forget=6, m=10, patches=3, sigma_p=0.5, labels="iid", sigma_0_scale=0.1,
        eta_scale=0.16 * 256, momentum=0.5, weight_decay=0.01, batch_size=10, retain_batch=8, forget_batch=2,
        alpha=0.7, pretrain="sam",
        pretrain_epochs=40, unlearn="retain_sam", epochs=60, seeds=7,
    ).at_radius(0.05, 0.2)  # fmt: skip
    assert found == expected
    assert (found.eta, found.rho, found.pretrain_rho) == pytest.approx((0.16, 0.05, 0.2))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model": "patch-cnn-bias"}, "model = patch-cnn-bias"),
        ({"optimizer": "adam"}, "optimizer = adam"),
        ({"rule": "asam-1.0"}, "rule = asam-1.0"),
        ({"pretrain": "asam-1.0:5, sgd"}, "pretrain = asam-1.0:5, sgd"),
        ({"method": "scrub"}, "method = scrub"),
        ({"forget_batch_size": 3}, "forget_batch_size = 3"),
        ({"lr": 0.1}, "lr = 0.1"),
        ({"precision": "bf16"}, "precision = bf16"),
        ({"dataset_options": "noise=cifar10"}, "noise = cifar10"),
    ],
)
def test_what_the_theory_cannot_express_is_named(changes: dict[str, Any], named: str) -> None:
    config = replace(BASE, **changes)
    assert [text for text in departures(config) if text.startswith(named)]
    with pytest.raises(ConfigError, match=named):
        theory_config(config)


@pytest.mark.parametrize("changes", [{"m": 3}, {"n_forget": 5}, {"epochs": 7}, {"noise_patches": "independent"}])
def test_a_draw_that_is_not_the_configs_is_refused(experiment: Callable[..., Experiment], changes: Any) -> None:
    one = experiment(dataset_options=f"{PATCHES}repeated")
    (name,) = changes
    with pytest.raises(ConfigError, match=name):
        replay(theory_config(one.config).changed(**changes), twin_draw(one), twin_orders(one))


VECTORS = {"phi": np.eye(4)[0], "xi": np.eye(4)[1:], "w0": np.ones((2, 4)), "y": np.array([1.0, -1.0, 1.0])}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("phi", np.zeros(4)), ("phi", np.ones((2, 4))), ("xi", np.ones((3, 5))), ("xi", np.full((3, 4), np.nan)),
        ("w0", np.ones((3, 4))), ("y", np.array([1.0, 0.0, 1.0])), ("y", np.ones(2)),
    ],
)  # fmt: skip
def test_vectors_that_do_not_fit_are_named(name: str, value: np.ndarray) -> None:
    assert Draw.from_vectors(**VECTORS).problem.n_retain == 3
    with pytest.raises(ValueError, match=name):
        Draw.from_vectors(**{**VECTORS, name: value})


def test_the_example_in_the_docs_runs() -> None:
    text = (Path(__file__).parents[2] / "docs" / "twin.md").read_text()
    names: dict[str, Any] = {}
    exec(text.split("```python\n")[1].split("```")[0], names)
    assert 0.2 < names["found"].final("test_error")[0] < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("more", ["", ", patches=3"])
def test_the_exact_test_error_is_the_networks_on_a_large_test_set(
    experiment: Callable[..., Experiment], more: str
) -> None:
    one = experiment(dataset_options=BASE.dataset_options.replace("n_test=50", "n_test=20000") + more, lr=0.08,
                     pretrain_lr=0.08, epochs=5)  # fmt: skip
    exact = twin(one).pretrain["test_error"][0, -1]
    measured = 1 - accuracy(train_original(one).network, one.images.test_images, one.images.test_labels)
    assert 0.05 < measured < 0.45
    assert measured == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 20_000) ** 0.5)
