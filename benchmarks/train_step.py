"""Time one training step: the engine against the step of the paper's released code, in one process.

python benchmarks/train_step.py [--json] [--device cuda] [--store runs]
"""

import argparse
import json
from itertools import cycle
from pathlib import Path

import torch
from released_path import Trainer, released_flags
from training_cases import (
    CPU_CASES,
    GPU_CASES,
    Case,
    build_stage,
    engine_steps,
    median_seconds,
    random_images,
    random_mask,
)

from repro.provenance import collect
from repro.store import Store


def baseline_seconds(case: Case, device: torch.device, *, warm_up: int, steps: int) -> float:
    """Return the median time of the released code's step on batches that are ready in memory, float32."""
    network, _ = build_stage(case, device, "fp32")
    trainer = Trainer(network.model, random_mask(network))
    images, labels = random_images(case)
    parts = zip(images.split(case.batch_size)[:8], labels.split(case.batch_size)[:8], strict=True)
    ready = [(part.float() / 255, label) for part, label in parts]
    batches = cycle([{"retain": batch, "forget": batch} for batch in ready])
    with released_flags():
        return median_seconds(lambda _: trainer.step(case.rule, next(batches)), device, warm_up=warm_up, steps=steps)


def measure(case: Case, device: torch.device) -> dict[str, object]:
    """Return one row: images a second of both, and their ratio."""
    gpu = device.type == "cuda"
    count = {"warm_up": 8 if gpu else 3, "steps": 60 if gpu else 15}
    precision, engine = ("bf16", "graph") if gpu else ("fp32", "eager")
    ours = median_seconds(engine_steps(case, device, precision=precision, engine=engine), device, **count)
    base = baseline_seconds(case, device, **count)
    return {
        "case": case.name, "batch_size": case.batch_size, "precision": precision, "engine": engine,
        "images_per_second": case.batch_size / ours, "released_images_per_second": case.batch_size / base,
        "ratio": base / ours,
    }  # fmt: skip


def main() -> None:
    """Measure every case, print a table or JSON, and write a record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--store", default="runs", help="store of the record")
    parser.add_argument("--only", default="", help="only cases whose name contains this text")
    chosen = parser.parse_args()
    device = torch.device(chosen.device)
    torch.backends.cudnn.benchmark = True
    cases = [case for case in (GPU_CASES if device.type == "cuda" else CPU_CASES) if chosen.only in case.name]
    rows = []
    for case in cases:
        rows.append(measure(case, device))
        if not chosen.json:
            row = rows[-1]
            print(f"{row['case']:18} {row['images_per_second']:9.0f} images/s, released path "
                  f"{row['released_images_per_second']:9.0f}, ratio {row['ratio']:.2f}", flush=True)  # fmt: skip
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    result = {"benchmark": "train_step", "rows": rows, "ratios": {str(row["case"]): row["ratio"] for row in rows}}
    config = {"benchmark": "train_step", "device": name, "cases": [case.name for case in cases]}
    Store(Path(chosen.store)).save("benchmark", config, result=result, provenance=collect(study="speed", device=name))
    if chosen.json:
        print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
