"""Matched theory: the exact theory at a network's own setting, or on its own data, weights and batches.

The packages `theory` and `empirical` do not know each other. Only values pass between them here: settings, vectors,
labels and the order of the batches.
"""

from collections.abc import Iterator

import numpy as np

from empirical.data.builtin import SignalNoise
from empirical.data.forget import train_rows
from empirical.methods.retain import Retrain
from empirical.models.others import NEURONS, SCALE, PatchCNN
from empirical.runs.experiment import Experiment
from empirical.runs.unlearning import build_method
from empirical.settings.rule_labels import parse_rule, parse_rule_schedule
from empirical.settings.run_config import RunConfig
from empirical.training.batches import Arranger, Sets, row_sets
from empirical.training.step import Method
from repro.base.errors import ConfigError
from repro.base.settings import build
from repro.records.identity import derive_seed
from theory.config import TheoryConfig
from theory.draw import Draw
from theory.engine import Orders, Trajectory, replay

RULES = {"sgd": "sgd", "sam": "sam", "retain-sam": "retain_sam"}
# Settings that the theory has one value of, and what another value is called.
EXPRESSED = {
    "model": "patch-cnn", "method": "neggrad", "method_options": "",
    "optimizer": "sgd", "pretrain_optimizer": "sgd", "schedule": "constant", "pretrain_schedule": "constant",
    "warmup_epochs": 0, "augment": "none", "corruption": "none", "difficulty": "random", "n_train": 0,
    "preset": "correct", "switches": "",
}  # fmt: skip


def departures(config: RunConfig) -> list[str]:
    """Return what of a network on signal-noise images the theory cannot express, as `setting = value`."""
    data = data_of(config)
    found = [f"{name} = {getattr(config, name)}" for name, own in EXPRESSED.items() if getattr(config, name) != own]
    if config.pretrain_lr != config.lr:
        found.append(f"lr = {config.lr} after pretrain_lr = {config.pretrain_lr}")
    if config.precision == "bf16":
        found.append("precision = bf16")
    known = all(parse_rule(label).name in ("sgd", "sam") for label, _ in pretrain_phases(config))
    found += [] if known else [f"pretrain = {config.pretrain}"]
    found += [] if parse_rule(config.rule).name in RULES else [f"rule = {config.rule}"]
    if data.noise != "gaussian":
        found.append(f"noise = {data.noise}")
    if n_forget_of(config) % (config.forget_batch_size or config.batch_size):
        found.append(f"forget_batch_size = {config.forget_batch_size}, whose batches run across two passes over F")
    return found


def theory_config(config: RunConfig, *, seeds: int = 1) -> TheoryConfig:
    """Return the theory's config at a network's own setting: d, n, n_F, m, P, sigma_p, eta, batches, radii, epochs,
    momentum and weight decay.

    Raises:
        ConfigError: naming what the theory cannot express.
    """
    if missing := departures(config):
        raise ConfigError(f"theory: has no {'; no '.join(missing)}")
    data, d = data_of(config), data_of(config).side ** 2
    noise = data.noise_patches if data.patches > 2 else "repeated"  # of a single patch both are the same
    plain = TheoryConfig(
        signal_strength=data.signal_strength, d=d, n=data.n, n_forget=n_forget_of(config),
        m=NEURONS, patches=data.patches, sigma_p=data.sigma_p, labels=data.labels, noise_patches=noise,
        sigma_0_scale=SCALE, eta_scale=config.lr * d, momentum=config.momentum, weight_decay=config.weight_decay,
        alpha=config.alpha, batch_size=config.pretrain_batch_size, retain_batch=config.batch_size,
        forget_batch=config.forget_batch_size or config.batch_size, pretrain_epochs=config.pretrain_epochs,
        unlearn=RULES[parse_rule(config.rule).name], epochs=config.epochs, seeds=seeds,
    )  # fmt: skip
    plain = plain.at_radius(parse_rule(config.rule).rho)
    if config.pretrain == "sgd":
        return plain
    *early, (last, _) = pretrain_phases(config)
    if not early:
        return plain.at_radius(plain.rho, parse_rule(last).rho).changed(pretrain="sam")
    phases = [f"{_in_units(label, plain.rho_th)}:{epochs}" for label, epochs in early]
    return plain.changed(pretrain=", ".join([*phases, _in_units(last, plain.rho_th)]))


def pretrain_phases(config: RunConfig) -> list[tuple[str, int]]:
    """Return the rules of a run's pretraining in order, each with its epochs."""
    return parse_rule_schedule(config.pretrain, config.pretrain_epochs, "pretrain")


def _in_units(label: str, rho_th: float) -> str:
    """Return a rule with its radius in units of rho_th, as the theory writes it in a schedule."""
    rule = parse_rule(label)
    return rule.name if rule.name == "sgd" else f"sam-{rule.rho / rho_th:.17f}"


def data_of(config: RunConfig) -> SignalNoise:
    """Return the settings of a config's signal-noise images."""
    return build(SignalNoise, config.data_settings, where="dataset_options")


def n_forget_of(config: RunConfig) -> int:
    """Return how many samples a run forgets, n_F, as `empirical.data.forget` counts them."""
    return max(1, round(config.forget_fraction * data_of(config).n))


def on_own_data(experiment: Experiment) -> Trajectory:
    """Return the exact theory on the data, the initial weights and the batches of a network, which need not be trained.

    Raises:
        ConfigError: naming what the theory cannot express.
    """
    config = experiment.config
    setting = theory_config(config)
    return replay(setting, vectors_of(experiment), orders_of(experiment))


def vectors_of(experiment: Experiment) -> Draw:
    """Return the vectors of a network's data and initial weights: retain samples first, neurons of sign +1 first."""
    model = experiment.initial().model
    if not isinstance(model, PatchCNN):
        raise ConfigError(f"model = {experiment.config.model}: must be patch-cnn for the theory on its data")
    images, rows = experiment.images, _order(experiment)
    patches = model.patches(images.train_images.double())[rows].numpy()
    labels = 2.0 * images.train_labels.numpy()[rows] - 1.0
    weights = np.roll(model.weight.detach().double().numpy(), model.neurons, axis=0)
    phi = np.mean(labels[:, None] * patches[:, 0], axis=0)
    noise, sizes = patches[:, 1:], {"n_retain": len(experiment.split.retain), "seed": experiment.config.seed}
    if data_of(experiment.config).noise_patches == "independent" and noise.shape[1] > 1:
        return Draw.from_vectors(phi, noise, weights, labels, **sizes)
    return Draw.from_vectors(phi, noise[:, 0], weights, labels, noise_patches=noise.shape[1], **sizes)


def orders_of(experiment: Experiment) -> Orders:
    """Return the batches that a network reads in pretraining and in unlearning, in the indices of `vectors_of`."""
    config, images, split = experiment.config, experiment.images, experiment.split
    everything, _ = train_rows(config, images.train_labels.numpy())
    device = experiment.resources.device
    whole = row_sets(images, config.pretraining(), everything, everything[:0], device=device)
    parts = row_sets(images, config.unlearning(), split.retain, split.forget, device=device)
    place = np.argsort(_order(experiment))
    seeds = derive_seed(config.seed, "pretrain"), derive_seed(config.seed, "unlearn", config.unlearn_seed)
    return Orders(_batches(Retrain(), whole, seeds[0], place), _batches(build_method(config), parts, seeds[1], place))


def _order(experiment: Experiment) -> np.ndarray:
    return np.concatenate([experiment.split.retain, experiment.split.forget])


def _batches(method: Method, sets: Sets, seed: int, place: np.ndarray) -> np.ndarray:
    """Return the rows of every step of a stage as places in the vectors, shape `(steps, width)`, filled up with n."""
    steps = [place[rows] for rows in _steps(method, sets, seed)]
    width = max(map(len, steps))
    return np.array([np.pad(rows, (0, width - len(rows)), constant_values=len(place)) for rows in steps])


def _steps(method: Method, sets: Sets, seed: int) -> Iterator[np.ndarray]:
    """Yield the rows of each step, as `empirical.training.loop` reads them."""
    arranger = Arranger(seed, 0)
    for epoch in range(sets.epochs):
        phases = method.phases(sets, epoch, arranger.generator("labels", epoch))
        for number, phase in enumerate(phases):
            orders = arranger.arrange(phase, "epoch", epoch, number)
            for step in range(phase.steps):
                yield np.concatenate([order.inputs(step)[0].cpu().numpy() for order in orders.values()])
