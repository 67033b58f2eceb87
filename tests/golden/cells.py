"""The golden cells: four unlearning runs on scanned digits whose numbers are committed, and how they are made anew.

`python -m tests.golden.freeze runs` writes them; do so only when a change is meant to change these numbers, and say in
the commit which and why.

Single cells on 72 forget images move by up to 0.15 of ToW when a processor with wider vectors sums in another order
(0.803 where it is 0.950 here), so they are run in a process of their own that uses the instructions every x86-64
processor has. There they come out the same to the last digit, run by run.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SAME_EVERYWHERE = {
    "ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE", "OMP_NUM_THREADS": "1",
}  # fmt: skip
FILE = Path(__file__).parent / "golden.json"
# The hardest twentieth of the images by memorization: the original is right about all of them, the retrained model
# about three quarters. A model that did nothing, or lost everything, is far from the goal.
ROWS = Path(__file__).parent / "forget_rows.txt"
BASE = {
    "dataset": "digits", "model": "resnet8-narrow", "difficulty": "index", "pretrain_epochs": 12, "epochs": 3,
    "augment": "none", "batch_size": 64, "forget_batch_size": 16, "alpha": 0.9,
}  # fmt: skip
CELLS = {
    "neggrad sgd": {"method": "neggrad", "rule": "sgd", "lr": 0.012},
    "neggrad sam-0.1": {"method": "neggrad", "rule": "sam-0.1", "lr": 0.045},
    "neggrad minmax-sam-0.1": {"method": "neggrad", "rule": "minmax-sam-0.1", "lr": 0.008},
    "salun sgd": {"method": "salun", "rule": "sgd", "lr": 0.06},
}
NUMBERS = ["tow", "original_tow"] + [
    f"{role}{name}_accuracy" for role in ("", "original_", "retrained_") for name in ("retain", "forget", "test")
]


def golden_numbers() -> dict[str, Any]:
    """Run the four cells in a process of their own; return torch's version and their numbers, to four digits."""
    command = [sys.executable, "-m", "tests.golden.cells"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _compute() -> dict[str, Any]:
    import torch

    from empirical.runs.imports import import_index
    from empirical.runs.run import run
    from empirical.settings.run_config import RunConfig, Runtime
    from repro.records.store import Store

    found = {}
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        index = import_index(ROWS, store).run_id
        for name, settings in CELLS.items():
            record = run(RunConfig(**BASE, **settings, forget_index=index), store, Runtime(device="cpu"))  # type: ignore[arg-type]
            found[name] = {number: round(record.result[number], 4) for number in NUMBERS}
    return {"torch": torch.__version__.partition("+")[0], "cells": found}


if __name__ == "__main__":
    os.environ.update(SAME_EVERYWHERE)  # before torch is imported
    sys.stdout.write(json.dumps(_compute(), indent=1) + "\n")
