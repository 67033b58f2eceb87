"""What the training benchmarks measure: the same cases for the engine and for the released path."""

import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from empirical.augmentation.augment import PLANS
from empirical.methods.forget import NegGrad
from empirical.methods.retain import Retrain
from empirical.models.network import Network
from empirical.registry import load
from empirical.settings.run_config import Hyperparameters
from empirical.training.batches import Arranger, Rows, Sets
from empirical.training.loop import Runner, make_runner
from empirical.training.rules import RuleContext, build_rule
from empirical.training.step import Stage, Step
from repro.commands.doctor import multiplies_bf16

CLASSES = 100
RULES = {"sgd": "sgd", "asam": "asam-1.0", "neggrad": "sgd", "minmax": "minmax-asam-1.0"}


@dataclass(frozen=True)
class Case:
    """One comparison.

    Attributes:
        model: registered model; rule: `sgd`, `asam`, `neggrad` or `minmax`.
        batch_size: rows of a step (and of its forget batch).
        images: training images; forget: how many of them are the forget set.
        size: side of an image in pixels.
    """

    model: str
    rule: str
    batch_size: int
    images: int
    forget: int = 0
    size: int = 32

    @property
    def name(self) -> str:
        """Name of the case in tables and in the `ratios` map."""
        return f"{self.model}/{self.rule}"


GPU_CASES = [Case(model, rule, 256, 45_000, 3_000 if rule in ("neggrad", "minmax") else 0)
             for model in ("resnet18", "resnet50") for rule in RULES]  # fmt: skip
CPU_MODELS = {"resnet8": 64, "resnet8-coarse": 128, "resnet8-wide": 128}
CPU_CASES = [Case(model, rule, batch, 2_048, 256 if rule in ("neggrad", "minmax") else 0)
             for model, batch in CPU_MODELS.items() for rule in RULES]  # fmt: skip

# What `gpu.py --tiny` walks through: seconds a case, and no measurement of anything.
TINY_CASES = [Case("resnet8-narrow", rule, 32, 128) for rule in ("sgd", "asam")]


def fast_precision() -> str:
    """Return the arithmetic of the fastest training this machine can do."""
    return "bf16" if multiplies_bf16() else "fp32"


def random_images(case: Case) -> tuple[Tensor, Tensor]:
    """Return noise images `(n, 3, size, size)` uint8 and labels `(n,)`: speed does not depend on the content."""
    generator = torch.Generator().manual_seed(0)
    shape = (case.images + case.forget, 3, case.size, case.size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return images, torch.randint(0, CLASSES, (len(images),), generator=generator)


def random_mask(network: Network) -> list[Tensor]:
    """Return a boolean mask that is True for three weights in ten."""
    return [torch.rand_like(weight) < 0.3 for weight in network.parameters()]


def build_stage(case: Case, device: torch.device, precision: str) -> tuple[Network, Stage]:
    """Return a network and the stage that trains it, on the device."""
    images, labels = random_images(case)
    model = load("models", case.model)((3, case.size, case.size), CLASSES).to(device)
    model = model.to(memory_format=torch.channels_last)
    network = Network(model, (0.5,) * 3, (0.25,) * 3, precision=precision)
    rule = build_rule(RULES[case.rule], RuleContext(lambda: random_mask(network)))
    flags = torch.arange(len(labels)) >= case.images
    parts = [
        Rows(part.to(device), labels[part].to(device), flags[part].to(device), case.batch_size)
        for part in ((~flags).nonzero()[:, 0], flags.nonzero()[:, 0])
    ]
    method = NegGrad() if case.forget else Retrain()
    recipe = Hyperparameters(1, 0.01, case.batch_size, 0, "sgd", 0.9, 5e-4, "constant", 0, 0.0)
    sets = Sets(parts[0], parts[1], CLASSES)
    return network, Stage(method, rule, sets, recipe, images.to(device), PLANS["crop-flip"])


def engine_steps(case: Case, device: torch.device, *, precision: str, engine: str) -> Callable[[int], None]:
    """Return a function that takes step `i` of an epoch with the engine."""
    network, stage = build_stage(case, device, precision)
    network.model.train()
    step = Step(network, stage)
    runner: Runner = make_runner(step, engine)
    arranger = Arranger(0, stage.augment.columns, device)
    phase = stage.method.phases(stage.sets, 0, arranger.generator("labels"))[0]
    orders = arranger.arrange(phase, "epoch", 0)
    full = case.images // case.batch_size

    def take(number: int) -> None:
        step.set_rate(0.01)
        runner(orders, number % full)

    return take


def median_seconds(take: Callable[[int], object], device: torch.device, *, warm_up: int, steps: int) -> float:
    """Return the median time of a step in seconds: device events on a GPU, the wall clock on a CPU."""
    for number in range(warm_up):
        take(number)
    if device.type != "cuda":
        return statistics.median(_wall(take, number) for number in range(steps))
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(steps + 1)]
    torch.cuda.synchronize()
    marks[0].record()
    for number in range(steps):
        take(number)
        marks[number + 1].record()
    torch.cuda.synchronize()
    return statistics.median(a.elapsed_time(b) for a, b in itertools.pairwise(marks)) / 1000


def _wall(take: Callable[[int], object], number: int) -> float:
    started = time.perf_counter()
    take(number)
    return time.perf_counter() - started
