"""The most memory that evaluating three models takes, on made-up answers to as many images as ImageNet has.

python benchmarks/evaluation_memory.py [--images 1281167] [--tests 50000] [--classes 1000] [--store runs] [--json]

The models answer with noise, so that no time goes into a network; labels, forget set, metrics and what lies where are
those of a run. Numbers are of this process: resident memory, peak, before and after.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from empirical.data.forget import choose_forget
from empirical.data.images import ImageSet
from empirical.metrics.evaluation import ROLES, Evaluation
from empirical.metrics.outputs import model_outputs
from empirical.runs.evaluations import values_of
from empirical.runs.stages import peak_memory
from empirical.settings.run_config import RunConfig
from repro.records.provenance import collect
from repro.records.store import Store

# Not the SVC attack: the time of its kernel grows with the forget set, a quarter of an hour a model at 64,058 images.
METRICS = ("accuracy", "tow", "attacks", "entanglement", "margins", "klom_margins", "features")
WIDTH = 2048  # features of a ResNet-50


class Noise:
    """A network that answers with noise about the true class."""

    device = torch.device("cpu")

    def __init__(self, classes: int, seed: int) -> None:
        self.classes = classes
        self.generator = torch.Generator().manual_seed(seed)
        self.model = torch.nn.Identity()

    def outputs(self, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits and features; an image is its label here."""
        rows = labels.flatten().long()
        logits = torch.randn(len(rows), self.classes, generator=self.generator)
        logits[torch.arange(len(rows)), rows] += 4
        return logits, torch.randn(len(rows), WIDTH, generator=self.generator)


def labelled(count: int, classes: int) -> torch.Tensor:
    """Return labels `(count,)`, each class as often as any other, in order."""
    return (torch.arange(count) * classes // count).long()


def evaluated(images: int, tests: int, classes: int, folder: Path) -> dict[str, Any]:
    """Return what evaluating three models took: seconds, and the peak of resident memory in bytes."""
    train, test = labelled(images, classes), labelled(tests, classes)
    pictures = [labels[:, None, None, None] for labels in (train, test)]
    data = ImageSet("noise", pictures[0], train, pictures[1], test, classes, (0.5,), (0.5,))
    config = RunConfig(dataset="imagenet", forget_fraction=0.05, metrics=METRICS)
    split = choose_forget(config, train.numpy())
    before, started = peak_memory() or 0, time.perf_counter()
    networks: Any = {role: Noise(classes, seed) for seed, role in enumerate(ROLES)}
    outputs = {role: model_outputs(network, data, split=split, folder=folder) for role, network in networks.items()}
    answered = time.perf_counter()
    evaluation = Evaluation(config, data, split, outputs, {}, pictures[0])
    rows = []
    for name in METRICS:
        began = time.perf_counter()
        evaluation.result.update(values_of(name, evaluation))
        rows.append({"metric": name, "seconds": time.perf_counter() - began, "peak_bytes": peak_memory()})
    held = 4 * classes * (images + tests) * len(ROLES)
    return {
        "benchmark": "evaluation_memory", "rows": rows, "peak_bytes": peak_memory(), "peak_bytes_before": before,
        "logits_bytes": held,
        "seconds": time.perf_counter() - answered, "answer_seconds": answered - started,
        "n_forget": len(split.forget), "test_accuracy": evaluation.result["test_accuracy"],
    }  # fmt: skip


def main() -> None:
    """Measure, print, and write a record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("images", 1_281_167), ("tests", 50_000), ("classes", 1_000)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--store", default="runs")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    store = Store(Path(chosen.store))
    store.ensure_writable()
    config = {
        "benchmark": "evaluation_memory",
        "images": chosen.images,
        "tests": chosen.tests,
        "classes": chosen.classes,
    }
    result = evaluated(chosen.images, chosen.tests, chosen.classes, store.root)
    store.save("benchmark", config, result=result, provenance=collect(study="scale", device="cpu", threads=1))
    if chosen.json:
        print(json.dumps(result, indent=1))
        return
    for row in result["rows"]:
        print(f"{row['metric']:14} {row['seconds']:8.1f} s, peak so far {row['peak_bytes'] / 1e9:.2f} GB")
    held, peak, before = (result[name] / 1e9 for name in ("logits_bytes", "peak_bytes", "peak_bytes_before"))
    print(f"{chosen.images} images x {chosen.classes} classes, three models: {held:.1f} GB of logits, "
          f"peak {peak:.2f} GB, {before:.2f} GB before")  # fmt: skip


if __name__ == "__main__":
    main()
