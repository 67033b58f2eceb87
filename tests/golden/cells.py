"""The golden cells: four unlearning runs on scanned digits whose numbers are committed, and how they are made anew.

`python -m tests.golden.freeze runs` writes them; do so only when a change is meant to change these numbers, and say in
the commit which and why.

Single cells on 72 forget images move by up to 0.15 of ToW when a processor with wider vectors sums in another order. So
they are portable runs, in a process of their own: under one version of torch every x86-64 processor with AVX2 gives the
same weights, to the bit, and the same numbers.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from empirical.portable import prepare_portable
from empirical.settings.run_config import RunConfig

ROOT = Path(__file__).parents[2]
FILE = Path(__file__).parent / "golden.json"
# The hardest twentieth of the images by memorization: the original is right about all of them, the retrained model
# about three quarters. A model that did nothing, or lost everything, is far from the goal.
ROWS = Path(__file__).parent / "forget_rows.txt"
BASE = {
    "dataset": "digits", "model": "resnet8-narrow", "difficulty": "index", "pretrain_epochs": 12, "epochs": 3,
    "augment": "none", "batch_size": 64, "forget_batch_size": 16, "alpha": 0.9, "portable": True,
}  # fmt: skip
CELLS = {
    "neggrad sgd": {"method": "neggrad", "rule": "sgd", "lr": 0.012},
    "neggrad sam-0.1": {"method": "neggrad", "rule": "sam-0.1", "lr": 0.04},
    "neggrad minmax-sam-0.1": {"method": "neggrad", "rule": "minmax-sam-0.1", "lr": 0.008},
    "salun sgd": {"method": "salun", "rule": "sgd", "lr": 0.06},
}
STAGES = ("pretrain", "retrain", "unlearn")
NUMBERS = ["tow", "original_tow"] + [
    f"{role}{name}_accuracy" for role in ("", "original_", "retrained_") for name in ("retain", "forget", "test")
]


def golden_numbers() -> dict[str, Any]:
    """Run the four cells in a process of their own; return torch's version, their numbers and checksums of weights."""
    command = [sys.executable, "-m", "tests.golden.cells"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _compute() -> dict[str, Any]:
    import torch

    from empirical.runs.imports import import_index
    from empirical.runs.run import run
    from empirical.settings.run_config import Runtime
    from repro.records.store import Store

    found = {}
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        index = import_index(ROWS, store).run_id
        for name, settings in CELLS.items():
            record = run(RunConfig(**BASE, **settings, forget_index=index), store, Runtime(device="cpu"))  # type: ignore[arg-type]
            checksums = {stage: record.result["parents"][f"{stage}_checksum"] for stage in STAGES}
            found[name] = {number: record.result[number] for number in NUMBERS} | {"checksums": checksums}
    return {"torch": torch.__version__.partition("+")[0], "cells": found}


if __name__ == "__main__":
    prepare_portable([RunConfig(forget_index="of the golden cells", **BASE)])  # type: ignore[arg-type]
    sys.stdout.write(json.dumps(_compute(), indent=1) + "\n")
