"""Time the parts of a step that were made faster, each against what it was before, in one process.

| case | before | now |
|---|---|---|
| perturbation | ASAM's `|w|` tensor by tensor, new tensors for each product | one `_foreach_abs`, products in place |
| randaugment | 14 operations on the whole batch, stacked | one warp for five; on a CPU the images that drew one |
| statistics | BatchNorm of several processes merged layer by layer | as one vector; both without the exchange |
| mask-layout | a step of MinMax under contiguous masks | under masks that lie as their weights do |
| teacher | a step of SCRUB with the original as it is written | with the original compiled (GPU) |
| odd-batch | an epoch of gradient ascent with the odd last batch from Python | with a graph of its own (GPU) |

python benchmarks/step_parts.py [--json] [--device cuda] [--store runs]
"""

# pyright: reportPrivateImportUsage=false

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import Tensor, nn
from training_cases import CLASSES, Case, build_stage, median_seconds
from training_command import arguments, measure_each, prepare

from empirical.augmentation.randaugment import BINS, OPERATIONS, randaugment
from empirical.methods.forget import GradientAscent, Scrub
from empirical.models.network import Network
from empirical.registry import load
from empirical.training import graph
from empirical.training.batches import Arranger
from empirical.training.loop import fit, make_runner
from empirical.training.rules import Branches, multiply, norm, perturbation
from empirical.training.step import Stage, Step, frozen_copy
from empirical.training.together import Processes

Take = Callable[[int], object]
Pair = tuple[Take, Take]  # before, now
ON_GPU = ("teacher", "odd-batch")  # where a processor has nothing to show


def tensor_by_tensor(weights: list[Tensor], grads: list[Tensor]) -> list[Tensor]:
    """Return ASAM's perturbation as it was computed before."""
    with torch.no_grad():
        size = [w.abs() for w in weights]
        scaled = multiply(grads, size)
        length = norm(scaled)
        factor = torch.where(length > 0, 1.0 / length, torch.zeros_like(length))
        return multiply(multiply(scaled, size), factor)


def stacked(images: Tensor, draws: Tensor) -> Tensor:
    """Return RandAugment as it was computed before."""
    result = images.float()
    for place in range(0, draws.shape[1], 2):
        chosen = (draws[:, place] * len(OPERATIONS)).long()
        strength = torch.where(draws[:, place + 1] < 0.5, 1.0, -1.0) * (15 / BINS)
        changed = torch.stack([operation(result, strength) for operation in OPERATIONS.values()])
        result = changed.gather(0, chosen.view(1, -1, 1, 1, 1).expand(1, *result.shape))[0]
    return result.round().clamp(0, 255).to(images.dtype)


def layer_by_layer(model: nn.Module) -> None:
    """Merge the statistics of two processes as it was done before, without the exchange."""
    layers: list[Any] = [one for one in model.modules() if isinstance(one, nn.BatchNorm2d)]
    held = [tensor for one in layers for tensor in (one.running_mean, one.running_var)]
    start, seen = [tensor.clone() for tensor in held], layers[0].num_batches_tracked.clone()
    updates = torch.zeros(2, dtype=torch.long, device=seen.device)
    later = updates.flip(0).cumsum(0).flip(0) - updates
    with torch.no_grad():
        for place, (tensor, old) in enumerate(zip(held, start, strict=True)):
            keep = torch.as_tensor(1 - layers[place // 2].momentum, dtype=old.dtype, device=old.device)
            own = tensor - keep ** updates[0] * old
            tensor.copy_(keep ** later[0] * own + keep ** updates.sum() * old)
        for layer in layers:
            layer.num_batches_tracked.copy_(seen + updates.sum())
    torch.cat([tensor.flatten() for tensor in held])


def merged(model: nn.Module) -> None:
    """Merge them as it is done now, without the exchange."""
    with patch.object(dist, "all_reduce", lambda tensor: None), Processes(0, 2).merged_statistics(model):
        pass


def steps_of(network: Network, stage: Stage, engine: str) -> Take:
    """Return a function that takes step `i` of an epoch of a stage."""
    network.model.train()
    step, arranger = Step(network, stage), Arranger(0, stage.augment.columns, network.device)
    runner = make_runner(step, engine)
    phase = stage.method.phases(stage.sets, 0, arranger.generator("labels"))[-1]
    orders = arranger.arrange(phase, "epoch", 0)
    lead = next(iter(orders.values()))
    full = len(lead.index) // lead.batch_size
    return lambda number: runner(orders, number % full)


def contiguous(stage: Stage) -> Stage:
    """Return a stage of MinMax whose masks are contiguous."""
    rule: Any = stage.rule
    assert isinstance(rule, Branches)
    sides = {}
    for name in ("retain", "forget"):
        side = getattr(rule, name)
        sides[name] = replace(side, scope=replace(side.scope, mask=[one.contiguous() for one in side.scope.mask]))
    return replace(stage, rule=Branches(**sides))


def epochs_of(case: Case, device: torch.device, precision: str) -> Take:
    """Return a function that unlearns by five epochs of gradient ascent."""

    def take(number: int) -> None:
        network, stage = build_stage(case, device, precision)
        recipe = replace(stage.recipe, epochs=5)
        fit(network, replace(stage, method=GradientAscent(), recipe=recipe), "graph")

    return take


def pair(name: str, device: torch.device, precision: str, *, tiny: bool) -> Pair:
    """Return how a part was done before and how it is done now, as functions of the number of the call."""
    gpu = device.type == "cuda"
    size = (256, 512) if gpu else (16, 64) if tiny else (64, 256)
    model = "resnet18" if gpu else "resnet8-narrow" if tiny else "resnet8-wide"
    engine = "graph" if gpu else "eager"
    if name == "randaugment":
        images = torch.randint(0, 256, (size[0], 3, 32, 32), dtype=torch.uint8, device=device)
        draws = torch.rand(size[0], 4, device=device)
        return lambda _: stacked(images, draws), lambda _: randaugment(images, draws, 15, fixed=gpu)
    if name in ("perturbation", "statistics"):
        made = load("models", model)((3, 32, 32), CLASSES).to(device).to(memory_format=torch.channels_last)
        if name == "statistics":
            return lambda _: layer_by_layer(made), lambda _: merged(made)
        weights: list[Tensor] = list(made.parameters())
        grads = [torch.randn_like(weight) for weight in weights]
        return (lambda _: tensor_by_tensor(weights, grads),
                lambda _: perturbation(weights, grads, rho=1.0, adaptive=True))  # fmt: skip
    if name == "odd-batch":
        take = epochs_of(Case(model, "sgd", 256, 256, 3_000), device, precision)

        def from_python(number: int) -> None:
            with patch.object(graph, "ODD_WARMUP_STEPS", 10**9):
                take(number)

        return from_python, take
    case = Case(model, "minmax" if name == "mask-layout" else "sgd", size[0], 4 * size[0], size[0])
    network, stage = build_stage(case, device, precision)
    if name == "mask-layout":
        other, _ = build_stage(case, device, precision)
        return steps_of(other, contiguous(stage), engine), steps_of(network, stage, engine)
    other, stage = network.copy(), replace(stage, method=Scrub(), teacher=frozen_copy(network.copy()))
    written = frozen_copy(network.copy())
    with patch.object(written, "compile", lambda: None):
        before = steps_of(other, replace(stage, teacher=written), engine)
    return before, steps_of(network, stage, engine)


def measure(name: str, device: torch.device, precision: str, *, tiny: bool) -> dict[str, Any]:
    """Return one row: median seconds before and now, in turns, and their ratio."""
    before, now = pair(name, device, precision, tiny=tiny)
    slow = tiny or name == "odd-batch" or (name == "mask-layout" and device.type == "cpu")
    count = {"warm_up": 1, "steps": 3} if slow else {"warm_up": 8, "steps": 40}
    rounds = []
    for _ in range(1 if tiny else 5):
        rounds.append([median_seconds(take, device, **count) for take in (before, now)])
    old, new = (sorted(times)[len(times) // 2] for times in zip(*rounds, strict=True))
    ratios = sorted(one / other for one, other in rounds)
    return {"case": name, "before": old, "seconds": new, "ratio": ratios[len(ratios) // 2]}


def show(row: dict[str, Any]) -> str:
    """Return the line of a row."""
    return f"{row['case']:14} {1e3 * row['before']:9.3f} ms before, {1e3 * row['seconds']:9.3f} now: {row['ratio']:.2f}"


def main() -> None:
    """Measure every part, print a table or JSON, and write a record of each."""
    chosen = arguments(__doc__).parse_args()
    device, _ = prepare(chosen)
    names = ["perturbation", "randaugment", "statistics", "mask-layout", *ON_GPU]
    names = [name for name in names if device.type == "cuda" or name not in ON_GPU]
    names = [name for name in names if any(text in name for text in chosen.only.split(","))]
    result = measure_each(
        chosen, "step_parts", names, lambda name: measure(name, device, chosen.precision, tiny=chosen.tiny), show=show
    )
    if chosen.json:
        print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
