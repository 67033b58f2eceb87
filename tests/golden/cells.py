"""The golden cells: four unlearning runs on scanned digits whose numbers are committed, and how they are made anew.

`python -m tests.golden.cells` writes `golden.json`; do so only when a change is meant to change these numbers, and say
in the commit which and why.
"""

import json
import tempfile
from pathlib import Path

from empirical.runs.imports import import_index
from empirical.runs.run import run
from empirical.settings.run_config import RunConfig, Runtime
from repro.records.store import Store

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
    "neggrad sam-0.1": {"method": "neggrad", "rule": "sam-0.1", "lr": 0.035},
    "neggrad minmax-sam-0.1": {"method": "neggrad", "rule": "minmax-sam-0.1", "lr": 0.008},
    "salun sgd": {"method": "salun", "rule": "sgd", "lr": 0.12},
}
NUMBERS = ["tow", "original_tow"] + [
    f"{role}{name}_accuracy" for role in ("", "original_", "retrained_") for name in ("retain", "forget", "test")
]


def golden_numbers(store: Store) -> dict[str, dict[str, float]]:
    """Run the four cells and return their numbers by cell."""
    index = import_index(ROWS, store).run_id
    found = {}
    for name, settings in CELLS.items():
        record = run(RunConfig(**BASE, **settings, forget_index=index), store, Runtime(device="cpu"))  # type: ignore[arg-type]
        found[name] = {number: record.result[number] for number in NUMBERS}
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        numbers = golden_numbers(Store(folder))
    rounded = {cell: {name: round(value, 4) for name, value in found.items()} for cell, found in numbers.items()}
    FILE.write_text(json.dumps(rounded, indent=1) + "\n")
