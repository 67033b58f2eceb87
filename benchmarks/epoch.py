"""Time a whole epoch end to end, data loading included, and check that speed costs no accuracy.

python benchmarks/epoch.py [--json] [--device cuda] [--accuracy tinyimagenet100 --epochs 10 --seeds 3]
"""

import json
import time
from dataclasses import replace
from typing import Any

import torch
from released_path import Trainer, epoch, loader, released_flags
from training_cases import Case, build_stage, fast_precision, random_images, random_mask
from training_command import arguments, measure_each, prepare

from empirical.augmentation.augment import augmentation
from empirical.data.images import load_dataset
from empirical.methods.retain import Retrain
from empirical.models.network import predict
from empirical.runs.stages import build_network
from empirical.settings.run_config import RunConfig, Runtime
from empirical.training.batches import row_sets
from empirical.training.loop import fit
from empirical.training.rules import RuleContext, build_rule
from empirical.training.step import Stage

SMALL = 5_000


def synchronize(device: torch.device) -> None:
    """Wait until the device is idle."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def engine_seconds(case: Case, device: torch.device, precision: str) -> float:
    """Return the time of one more epoch of the engine: three epochs less one, halved, after a warm-up."""
    times = []
    for epochs in (1, 1, 3):
        network, stage = build_stage(case, device, precision)
        stage = replace(stage, recipe=replace(stage.recipe, epochs=epochs))
        times.append(fit(network, stage, "graph").seconds)
    return (times[2] - times[1]) / 2


def released_seconds(case: Case, device: torch.device) -> float:
    """Return the time of an epoch on the released path, scaled from all steps but the first three.

    The first steps wait for the workers to start, which the released code does every epoch; leaving them out favours
    the baseline.
    """
    network, _ = build_stage(case, device, "fp32")
    trainer = Trainer(network.model, random_mask(network))
    images, labels = random_images(case)
    forget = loader(images[case.images :], labels[case.images :], case.batch_size) if case.forget else None
    retain = loader(images[: case.images], labels[: case.images], case.batch_size)
    with released_flags():
        losses = epoch(trainer, case.rule, retain, forget)
        for _ in range(3):
            next(losses)
        synchronize(device)
        started = time.perf_counter()
        done = sum(1 for _ in losses)
        synchronize(device)
        return (time.perf_counter() - started) / done * (case.images / case.batch_size)


def measure(case: Case, device: torch.device, precision: str) -> dict[str, Any]:
    """Return one row: seconds an epoch of both paths, and their ratio."""
    ours = engine_seconds(case, device, precision)
    base = released_seconds(case, device)
    return {
        "case": case.name, "images": case.images, "precision": precision,
        "seconds": ours, "released_seconds": base, "images_per_second": case.images / ours, "ratio": base / ours,
    }  # fmt: skip


def accuracy(dataset: str, epochs: int, seed: int, device: torch.device) -> dict[str, Any]:
    """Return one row: test accuracy on real images, trained as fast as the device goes and in eager float32."""
    fast, slow = (test_accuracy(dataset, epochs, seed, device, fast=fast) for fast in (True, False))
    return {"dataset": dataset, "epochs": epochs, "seed": seed, "fast": fast, "fp32_eager": slow}


def test_accuracy(dataset: str, epochs: int, seed: int, device: torch.device, *, fast: bool) -> float:
    """Train a ResNet-18 (on a CPU a ResNet-8 on at most 5,000 images) and return its test accuracy in [0, 1]."""
    gpu = device.type == "cuda"
    size = {"model": "resnet18", "batch_size": 256} if gpu else {"model": "resnet8", "n_train": SMALL, "n_test": SMALL}
    precision = fast_precision() if fast else "fp32"
    config = RunConfig(dataset=dataset, seed=seed, precision=precision, augment="crop-flip", **size)
    loaded = load_dataset(config, Runtime())
    images = replace(loaded, train_images=loaded.train_images.to(device), test_images=loaded.test_images.to(device))
    network = build_network(config, images, seed=seed, device=device)
    recipe = replace(config.pretraining(), epochs=epochs, batch_size=config.batch_size)
    everything = torch.arange(len(images.train_labels)).numpy()
    sets = row_sets(images, recipe, everything, everything[:0], device=device)
    rule = build_rule("sgd", RuleContext(list))
    augment = augmentation(config, images.train_images.dtype)
    stage = Stage(Retrain(), rule, sets, recipe, images.train_images, augment, seed)
    fit(network, stage, "graph" if fast else "eager")
    scores, _ = predict(network, images.test_images)
    return float((scores.argmax(1).cpu() == images.test_labels.cpu()).float().mean())


def show(row: dict[str, Any]) -> str:
    """Return the line of a row: of a speed, or of the accuracies of a seed."""
    if "seed" in row:
        return f"seed {row['seed']}: accuracy {row['fast']:.4f}, eager float32 {row['fp32_eager']:.4f}"
    return f"{row['case']:18} {row['images_per_second']:9.0f} images/s end to end, ratio {row['ratio']:.2f}"


def main() -> None:
    """Measure every case, print a table or JSON, and write a record of each."""
    parser = arguments(__doc__)
    parser.add_argument("--accuracy", default="", help="also compare accuracy on this data set")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    device, cases = prepare(chosen)
    by_name = {case.name: case for case in cases}
    result = measure_each(
        chosen, "epoch", by_name, lambda name: measure(by_name[name], device, chosen.precision), show=show
    )
    if chosen.accuracy:
        seeds = [f"seed {seed}" for seed in range(chosen.seeds)]
        found = measure_each(
            chosen, "epoch", seeds, lambda name: accuracy(chosen.accuracy, chosen.epochs, int(name[5:]), device),
            show=show, accuracy=chosen.accuracy, epochs=chosen.epochs,
        )  # fmt: skip
        result["accuracy"] = found["rows"]
    if chosen.json:
        print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
