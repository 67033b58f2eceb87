"""How the time of a training step grows with batch, image, model and rule, on one thread of a CPU.

python benchmarks/growth.py [--store runs] [--json]

Seconds are of the processor, not of the clock, so that a busy machine measures the same; the least of several steps.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from training_cases import RULES, Case, engine_steps

from empirical.registry import model_weights, model_work
from repro.records.provenance import collect
from repro.records.store import Store

BASE = Case("resnet8", "sgd", 64, 512)
STEPS = 5


def cases() -> list[tuple[str, Case]]:
    """Return what is varied, and the case."""
    found = [("batch", replace(BASE, batch_size=size)) for size in (16, 32, 64, 128)]
    found += [("image", replace(BASE, size=edge)) for edge in (16, 32, 64)]
    found += [
        ("model", replace(BASE, model=name)) for name in ("resnet8-narrow", "resnet8", "resnet8-wide", "resnet18")
    ]
    forgetting = ("neggrad", "minmax")
    return found + [("rule", replace(BASE, rule=rule, forget=128 * (rule in forgetting))) for rule in RULES]


def processor_seconds(case: Case) -> float:
    """Return the least processor time of a step."""
    take = engine_steps(case, torch.device("cpu"), precision="fp32", engine="eager")
    found = []
    for number in range(STEPS + 1):
        began = time.process_time()
        take(number)
        found.append(time.process_time() - began)
    return min(found[1:])


def main() -> None:
    """Measure, print, and write a record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default="runs")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for varied, case in cases():
        seconds = processor_seconds(case)
        work = 3 * model_work(case.model, case.size)[0] * case.batch_size
        row = {"varied": varied, "model": case.model, "rule": case.rule, "batch_size": case.batch_size}
        row |= {"edge": case.size, "weights": model_weights(case.model), "seconds": seconds}
        row |= {"milliseconds_an_image": 1000 * seconds / case.batch_size, "operations_a_second": work / seconds}
        rows.append(row)
        if not chosen.json:
            print(f"{varied:6} {case.model:15} {case.rule:8} batch {case.batch_size:4}, {case.size:3} pixels: "
                  f"{row['milliseconds_an_image']:8.3f} ms an image", flush=True)  # fmt: skip
    result = {"benchmark": "growth", "rows": rows}
    facts = collect(study="scale", threads=1)
    Store(Path(chosen.store)).save(
        "benchmark", {"benchmark": "growth", "device": "cpu"}, result=result, provenance=facts
    )
    if chosen.json:
        print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
