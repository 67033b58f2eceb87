"""The settings of theory: data, a two-layer ReLU CNN, pretraining, unlearning; of a sweep and of a claim, too."""

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar

from repro.base.errors import ConfigError
from repro.base.schedule import parse_schedule
from repro.base.settings import LARGEST, check, choose, range_text, refuse_cost, reject, setting

PRETRAIN_RULES = ("sgd", "sam", "asam", "asam_entry")
UNLEARN_RULES = ("sgd", "sam", "asam", "asam_entry", "sharpen", "minmax", "retain_sam")
NEEDS_VECTORS = "asam_entry"  # scales entries of the weights, which inner products do not know
METHODS = ("neggrad", "random_label")
NOISES = ("orthogonal", "plain")
LABELS = ("iid", "balanced")
NOISE_PATCHES = ("repeated", "independent")
DRAWS = ("bartlett", "dense")
SWEEP_NAMES = ("phase", "alpha", "expectations", "drive", "survival", "odds", "angle", "split", "flatness")
SIGNAL_NORMS = {"low": 1e-161, "high": 1e154}  # |phi| whose square is a finite number above 0
LARGEST_POWER = 1e300  # of a deviation: beyond are numbers that are not finite
WIDEST = 20_000  # preactivations of a test point, whose covariance then fills 3 GB
# The pretrained model does not depend on these: settings that differ only in them share their pretraining.
UNLEARN_FIELDS = ("unlearn", "method", "epochs", "alpha", "rho_scale", "retain_batch", "forget_batch",
                  "mask_fraction", "mask_refresh", "stop_forget_error", "probe_rho_scale")  # fmt: skip


@dataclass(frozen=True)
class TheoryConfig:
    """One setting of the theory: a pretraining rule, an unlearning method and its rule, and the seeds to run.

    The data follow Chen et al. 2023 (arXiv 2310.07269). One patch carries `y phi`. The other `P - 1` patches repeat one
    noise vector `xi ~ N(0, sigma_p^2 I)`, or have a vector each. Noise is orthogonal to `phi` unless `noise` is
    "plain". The first `n - n_forget` samples are the retain set. Every field states its symbol, unit and range in its
    metadata.

    Raises:
        ConfigError: naming the field, its value and the allowed range.
    """

    VERSION: ClassVar[int] = 2  # of the engine's numbers: 2 since the test error is exact along a line

    signal_strength: float = setting(
        0.5, "Signal strength: |phi| in units of (P-1) sigma_p (d/n)^(1/4); about 0.93 is the boundary of SGD",
        symbol="s", unit="dimensionless", low=0.0, open_low=True)  # fmt: skip
    d: int = setting(4000, "Dimension of a patch", symbol="d", unit="count", low=2, high=10**12)
    n: int = setting(40, "Training samples, retain and forget together", symbol="n", unit="count", low=2, high=5000)
    n_forget: int = setting(8, "Samples to forget", symbol="n_F", unit="count", low=1)
    m: int = setting(10, "Neurons of each sign; the network has 2m", symbol="m", unit="count", low=1, high=1000)
    patches: int = setting(2, "Patches of a sample: one signal patch and P-1 noise patches", symbol="P", unit="count",
                           low=2)  # fmt: skip
    sigma_p: float = setting(1.0, "Standard deviation of a noise coordinate", symbol="sigma_p", unit="input units",
                             low=0.0, open_low=True)  # fmt: skip
    noise_patches: str = setting("repeated", "Noise of a sample's P-1 patches: one repeated vector, or a vector each",
                                 choices=NOISE_PATCHES)  # fmt: skip
    noise: str = setting("orthogonal", "Noise model: orthogonal to the signal, or plain", choices=NOISES)
    draw: str = setting("bartlett", "How inner products are drawn: Bartlett decomposition, or explicit d-dim vectors",
                        choices=DRAWS)  # fmt: skip
    labels: str = setting("iid", "Labels: drawn independently, or equally many of each sign",
                          choices=LABELS)  # fmt: skip
    forget_angle: float = setting(
        0.0, "Angle between the signals of retain and forget samples; both have length |phi|", unit="degrees",
        low=0.0, high=180.0)  # fmt: skip
    label_noise: float = setting(
        0.0, "Share of training labels that are flipped, to the nearest sample; the data keep their signal",
        unit="share", low=0.0, high=1.0)  # fmt: skip
    activation_power: float = setting(1.0, "Activation relu(x)^q", symbol="q", unit="dimensionless", low=1.0,
                                      high=10.0)  # fmt: skip
    sigma_0_scale: float = setting(0.1, "Initial weights have standard deviation sigma_0 = scale / sqrt(d)",
                                   symbol="sigma_0 sqrt(d)", unit="dimensionless", low=0.0, open_low=True,
                                   high=1e150)  # fmt: skip
    eta_scale: float = setting(40.0, "Learning rate eta = scale / d", symbol="eta d", unit="dimensionless", low=0.0)
    momentum: float = setting(0.0, "Momentum of pretraining and of unlearning; each begins with zero velocity",
                              symbol="mu", unit="dimensionless", low=0.0, high=1.0, open_high=True)  # fmt: skip
    weight_decay: float = setting(0.0, "Weight decay of pretraining and of unlearning, added to the gradient",
                                  symbol="lambda", unit="loss per squared weight", low=0.0)  # fmt: skip
    sharpness_batch: int = setting(
        0, "m-sharpness: samples in each part of a batch with a separate SAM perturbation; 0: the whole batch",
        unit="count", low=0)  # fmt: skip
    batch_size: int = setting(10, "Batch size of pretraining; it also enters rho_th", symbol="B", unit="count", low=1)
    retain_batch: int = setting(8, "Retain samples of an unlearning batch", symbol="B_R", unit="count", low=1)
    forget_batch: int = setting(4, "Forget samples of an unlearning batch", symbol="B_F", unit="count", low=1)
    alpha: float = setting(0.9, "Weight of the retain loss; the forget loss has 1 - alpha", symbol="alpha",
                           unit="dimensionless", low=0.0, high=1.0)  # fmt: skip
    pretrain: str = setting("sgd", "Rule of pretraining, or a schedule such as 'sam:25, sgd'; sam-0.5 is SAM at half "
                            "rho_th, sam uses pretrain_rho_scale; the same for asam")  # fmt: skip
    pretrain_epochs: int = setting(100, "Epochs of pretraining", symbol="E_0", unit="epochs", low=0)
    pretrain_rho_scale: float = setting(1.0, "SAM radius of pretraining in units of rho_th", symbol="rho_0 / rho_th",
                                        unit="dimensionless", low=0.0)  # fmt: skip
    pretrain_stop_loss: float | None = setting(
        None, "Pretraining ends at the first checkpoint with a mean training loss of at most this value", unit="nats",
        low=0.0)  # fmt: skip
    unlearn: str = setting("sgd", "Rule of unlearning", choices=UNLEARN_RULES)
    method: str = setting("neggrad", "Unlearning method", choices=METHODS)
    epochs: int = setting(200, "Epochs of unlearning, in passes over the retain set", symbol="E", unit="epochs", low=0)
    rho_scale: float = setting(0.1, "SAM radius of unlearning in units of rho_th = m sqrt(B) / (P sigma_p sqrt(d))",
                               symbol="rho / rho_th", unit="dimensionless", low=0.0)  # fmt: skip
    probe_rho_scale: float = setting(1.0, "Radius, in units of rho_th, at which perturbed activations are measured",
                                     symbol="rho_probe / rho_th", unit="dimensionless", low=0.0)  # fmt: skip
    mask_fraction: float = setting(0.5, "Share of neurons, by forget gradient, that Sharp MinMax uses to forget",
                                   unit="dimensionless", low=0.0, high=1.0)  # fmt: skip
    mask_refresh: int = setting(5, "Epochs between two neuron masks of Sharp MinMax; 0 keeps the first", unit="epochs",
                                low=0)  # fmt: skip
    stop_forget_error: float | None = setting(None, "Stop at the first checkpoint with at least this forget error",
                                              unit="share", low=0.0, high=1.0)  # fmt: skip
    checkpoint_every: int = setting(5, "Epochs between checkpoints up to epoch 100; 4 times this up to epoch 500, then "
                                    "10 times", unit="epochs", low=1)  # fmt: skip
    directions: int = setting(512, "Points over which the test error is averaged, a power of two", unit="count", low=4)
    curvature: bool = setting(False, "Measure top eigenvalue and trace of the Hessian of the retain loss")
    attacks: bool = setting(False, "Measure the membership attack on F, and the epochs until F is learned again")
    seeds: int = setting(20, "Independent seeds", unit="count", low=1)
    first_seed: int = setting(0, "First seed", low=0)

    def __post_init__(self) -> None:
        check(self)
        self.pretrain_phases()
        if self.n_forget >= self.n:
            raise reject("n_forget", self.n_forget, f"in [1, n - 1 = {self.n - 1}]")
        check_seeds(self)
        if not SIGNAL_NORMS["low"] <= self.signal_norm <= SIGNAL_NORMS["high"]:
            alone = SIGNAL_NORMS["low"] <= self.signal_unit <= SIGNAL_NORMS["high"]
            name = "signal_strength" if alone else "sigma_p"  # at a unit out of range no strength would do
            raise reject(name, getattr(self, name), f"such that |phi| is {range_text(SIGNAL_NORMS)}",
                         f"|phi| = s (P-1) sigma_p (d/n)^(1/4) is {self.signal_norm:.3g}")  # fmt: skip
        most = LARGEST_POWER ** (1 / max(2.0, self.activation_power))
        if self.sigma_p > most:
            raise reject("sigma_p", self.sigma_p, f"<= {most:.3g} at activation_power = {self.activation_power:g}",
                         f"sigma_p^2 and sigma_p^q must not exceed {LARGEST_POWER:g}")  # fmt: skip
        if 2 * self.m * self.noise_vectors > WIDEST:
            raise reject("patches", self.patches, f"at most {1 + WIDEST // (2 * self.m)} at m = {self.m}",
                         "or take noise_patches = 'repeated': a test point of independent ones has "
                         f"2 m (P-1) <= {WIDEST} preactivations")  # fmt: skip
        if self.forget_angle > 0.0 and self.d < 3:
            raise reject("d", self.d, ">= 3 with two signals", "or leave forget_angle at 0")
        if self.curvature and self.activation_power != 1.0:
            raise reject("curvature", self.curvature, "False unless activation_power = 1",
                         "the Hessian is taken of a piecewise linear network")  # fmt: skip
        if self.directions & (self.directions - 1):
            raise reject("directions", self.directions, "a power of two", "512 or 1024 is enough")
        steps = self.seeds * (self.pretrain_epochs + self.epochs + 1) * (self.n / self.batch_size + 1)
        widest = max(("seeds", "epochs", "pretrain_epochs"), key=lambda name: getattr(self, name))
        refuse_cost(widest, getattr(self, widest), steps * 1e-5 / 3600, 1e5, unit="hours")  # a step takes 10 us or more
        stored = self.seeds * (self.n**2 + self.n * self.m) + self.directions * (self.m + self.n)
        widest = max(("seeds", "directions"), key=lambda name: getattr(self, name))
        refuse_cost(widest, getattr(self, widest), stored * 8e-9, 1e3, unit="GB of memory")
        refuse_cost("patches", self.patches, (self.n * self.noise_vectors) ** 2 * 8e-9, 1e3, unit="GB of memory")
        if self.draw != "dense" and NEEDS_VECTORS in (self.unlearn, *(name for name, _, _ in self.pretrain_phases())):
            raise reject("draw", self.draw, f"'dense' with {NEEDS_VECTORS}", "or take asam, which scales whole neurons")
        if self.draw == "dense" and self.d > 10**6:
            raise reject("draw", self.draw, "'bartlett' when d > 1000000", "explicit vectors would not fit in memory")

    @classmethod
    def with_signal(
        cls, *, signal_strength: float | None = None, signal_norm: float | None = None, **others: Any
    ) -> "TheoryConfig":
        """Build a config from the dimensionless strength or from |phi| itself, whichever is given.

        `s = |phi| / ((P - 1) sigma_p (d / n)^(1/4))`.

        Raises:
            ConfigError: if both are given, or |phi| is not in `SIGNAL_NORMS`.
        """
        if signal_norm is None:
            return cls(**others) if signal_strength is None else cls(signal_strength=signal_strength, **others)
        if signal_strength is not None:
            both = f"signal_strength = {signal_strength} and signal_norm = {signal_norm}"
            raise ConfigError(f"{both}: give one of the two; signal_norm is |phi|, signal_strength its scaled form")
        if not SIGNAL_NORMS["low"] <= signal_norm <= SIGNAL_NORMS["high"]:
            raise reject("signal_norm", signal_norm, range_text(SIGNAL_NORMS))
        return cls(signal_strength=signal_norm / cls(**others).signal_unit, **others)

    def changed(self, **settings: Any) -> "TheoryConfig":
        """Return a copy with some settings changed and every check repeated."""
        return replace(self, **settings)

    def at_radius(self, rho: float | None = None, pretrain_rho: float | None = None) -> "TheoryConfig":
        """Return a copy with SAM radii given in the units of a weight instead of multiples of rho_th.

        Args:
            rho: radius of unlearning, >= 0; unchanged by default.
            pretrain_rho: radius of pretraining, >= 0; unchanged by default.
        """
        scales = {}
        for name, radius in (("rho", rho), ("pretrain_rho", pretrain_rho)):
            if radius is not None and not 0 <= radius / self.rho_th < math.inf:
                raise reject(name, radius, f">= 0 and finite in units of rho_th = {self.rho_th:.3g}")
            scales |= {} if radius is None else {f"{name}_scale": radius / self.rho_th}
        return self.changed(**scales)

    @property
    def signal_unit(self) -> float:
        """Return `(P - 1) sigma_p (d / n)^(1/4)`, the unit of the signal strength."""
        return (self.patches - 1) * self.sigma_p * (self.d / self.n) ** 0.25

    @property
    def signal_norm(self) -> float:
        """Return |phi|."""
        return self.signal_strength * self.signal_unit

    @property
    def sigma_0(self) -> float:
        """Return the standard deviation of an initial weight."""
        return self.sigma_0_scale / self.d**0.5

    @property
    def eta(self) -> float:
        """Return the learning rate."""
        return self.eta_scale / self.d

    @property
    def rho_th(self) -> float:
        """Return the radius of Chen et al. 2023, `m sqrt(B) / (P sigma_p sqrt(d))`; the papers call it tau."""
        return self.m * self.batch_size**0.5 / (self.patches * self.sigma_p * self.d**0.5)

    @property
    def rho(self) -> float:
        """Return the SAM radius of unlearning, in the units of a weight."""
        return self.rho_scale * self.rho_th

    @property
    def pretrain_rho(self) -> float:
        """Return the SAM radius of pretraining, in the units of a weight."""
        return self.pretrain_rho_scale * self.rho_th

    @property
    def noise_vectors(self) -> int:
        """Return how many noise vectors a sample has: 1 if its patches repeat one vector, else P - 1."""
        return self.patches - 1 if self.noise_patches == "independent" else 1

    @property
    def inertial(self) -> bool:
        """Return whether training has momentum or weight decay."""
        return self.momentum > 0.0 or self.weight_decay > 0.0

    @property
    def n_retain(self) -> int:
        """Return the number of retain samples."""
        return self.n - self.n_forget

    def pretrain_phases(self) -> list[tuple[str, float, int]]:
        """Return the rules of pretraining in order, each with its radius in the units of a weight and its epochs.

        Raises:
            ConfigError: for a schedule that cannot be read, an unknown rule or a radius that is not a number >= 0.
        """
        phases = []
        for label, epochs in parse_schedule(self.pretrain, self.pretrain_epochs, "pretrain"):
            name, dash, radius = label.partition("-")
            choose("pretrain", name, PRETRAIN_RULES)
            number = float(radius) if radius.replace(".", "", 1).isdecimal() else math.inf
            if dash and (name == "sgd" or not math.isfinite(number)):
                raise reject(
                    "pretrain", self.pretrain,
                    "sgd, sam, asam, sam-R or asam-R, where R >= 0 is a radius in units of rho_th",
                )  # fmt: skip
            scale = number if dash else self.pretrain_rho_scale
            phases.append((name, scale * self.rho_th, epochs))
        return phases

    def pretrain_key(self) -> "TheoryConfig":
        """Return this config with every unlearning field at its default: equal keys share their pretraining."""
        return TheoryConfig(**{name: value for name, value in asdict(self).items() if name not in UNLEARN_FIELDS})


def grouped(
    configs: Iterable[TheoryConfig], key: Callable[[TheoryConfig], Any] = TheoryConfig.pretrain_key
) -> dict[Any, list[TheoryConfig]]:
    """Group configs by a key; each config appears once."""
    groups: dict[Any, list[TheoryConfig]] = {}
    for config in dict.fromkeys(configs):
        groups.setdefault(key(config), []).append(config)
    return groups


def check_seeds(config: "TheoryConfig | SweepConfig | ClaimConfig") -> None:
    """Refuse seeds of 2^63 or more.

    Raises:
        ConfigError: if `first_seed + seeds` exceeds the largest seed.
    """
    most = LARGEST - config.seeds
    if config.first_seed > most:
        raise reject("first_seed", config.first_seed, f"at most {most} with seeds = {config.seeds}")


def checkpoint_epochs(epochs: int, every: int = 5) -> list[int]:
    """Return the measured epochs: 0, each `every` to 100, each `4 every` to 500, then each `10 every`, and the last."""
    dense = range(0, min(epochs, 100) + 1, every)
    middle = range(100, min(epochs, 500) + 1, 4 * every)
    sparse = range(500, epochs + 1, 10 * every)
    return sorted({*dense, *middle, *sparse, epochs})


# How learning rate and epochs follow the dimension where d varies: a sweep or claim names one.
# As in Chen et al. 2023; beyond d = 16000 a step then overshoots, eta d / (m B) > 1.
CHEN_LEARNING_RATE = 0.01


def default_clock(config: TheoryConfig) -> TheoryConfig:
    """Return the setting unchanged: its learning rate is proportional to 1/d, its epochs do not depend on d."""
    return config


def fixed_clock(config: TheoryConfig) -> TheoryConfig:
    """Return the setting at the learning rate of Chen et al. 2023, whatever d is."""
    return config.changed(eta_scale=CHEN_LEARNING_RATE * config.d)


def scaled_clock(config: TheoryConfig, power: float = 0.5) -> TheoryConfig:
    """Return the setting at a learning rate proportional to 1/d, trained longer in proportion to d^power.

    A signal of fixed strength s learns in `1 / (eta |phi|^2) ~ sqrt(d)` epochs, a signal of fixed |phi| in `~ d`.
    """
    longer = (config.d / 4000) ** power
    return config.changed(pretrain_epochs=round(config.pretrain_epochs * longer), epochs=round(config.epochs * longer))


def linear_clock(config: TheoryConfig) -> TheoryConfig:
    """Return the setting at a learning rate proportional to 1/d, trained longer in proportion to d."""
    return scaled_clock(config, power=1.0)


@dataclass(frozen=True)
class SweepConfig:
    """A grid of settings; an empty axis keeps the sweep's own values.

    Raises:
        ConfigError: naming the field, its value and the allowed range.
    """

    sweep: str = setting("phase", "Which sweep", choices=SWEEP_NAMES)
    d: tuple[int, ...] = setting((), "Dimensions", symbol="d", unit="count", low=2)
    signal_strength: tuple[float, ...] = setting(
        (), "Signal strengths", symbol="s", unit="dimensionless", low=0.0, open_low=True
    )
    alpha: tuple[float, ...] = setting((), "Retain weights", symbol="alpha", low=0.0, high=1.0)
    probe_rho_scale: tuple[float, ...] = setting((), "Radii of the activation probe, in units of rho_th", low=0.0)
    forget_angle: tuple[float, ...] = setting((), "Angles between the signals of R and F", unit="degrees", low=0.0,
                                              high=180.0)  # fmt: skip
    mask_fraction: tuple[float, ...] = setting((), "Neuron shares of Sharp MinMax", low=0.0, high=1.0)
    pretrain_epochs: tuple[int, ...] = setting((), "Epochs of pretraining", symbol="E_0", unit="epochs", low=0)
    seeds: int = setting(20, "Independent seeds of every setting", unit="count", low=1)
    first_seed: int = setting(0, "First seed", low=0)

    def __post_init__(self) -> None:
        check(self)
        check_seeds(self)

    def given_axes(self) -> dict[str, tuple]:
        """Return the axes that were given values."""
        return {f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), tuple)
                and getattr(self, f.name)}  # fmt: skip


@dataclass(frozen=True)
class ClaimConfig:
    """Identity of one check: which claim, on which seeds.

    Raises:
        ConfigError: naming the field, its value and the allowed range.
    """

    claim: str = setting("", "Identifier of the claim")
    version: int = setting(1, "Version of the claims' analyses; another version needs new records", low=1)
    seeds: int = setting(20, "Independent seeds of every setting", unit="count", low=2)
    first_seed: int = setting(0, "First seed", low=0)

    def __post_init__(self) -> None:
        check(self)
        check_seeds(self)
