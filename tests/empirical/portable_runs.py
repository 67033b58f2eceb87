"""Portable runs of every kind, as a program: `python -m tests.empirical.portable_runs FOLDER` prints what came of them.

Its caller sets the environment of `empirical.portable`, and runs it on this processor and on emulated ones.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

METRICS = (
    "accuracy", "tow", "mia", "attacks", "lira", "gap", "entanglement", "distances", "margins", "klom_margins",
    "features", "landscape", "hessian", "relearning",
)  # fmt: skip
BASE: dict[str, Any] = {
    "n_train": 160, "n_test": 60, "pretrain_epochs": 1, "epochs": 1, "subsets": 4, "subset_epochs": 1,
    "forget_fraction": 0.2, "attack_size": 40, "landscape_points": 3, "landscape_images": 32, "portable": True,
}  # fmt: skip
CELLS: dict[str, dict[str, Any]] = {
    "asam on memorized images, every metric": {"rule": "asam-1.0", "difficulty": "high", "metrics": METRICS},
    "sharp minmax": {"rule": "minmax-asam-1.0", "pretrain": "asam-1.0"},
}


def outcome(folder: Path) -> dict[str, Any]:
    """Return the checksums, the numbers and the arrays' digests of each cell, and of a network with dropout."""
    from empirical.runs.run import run
    from empirical.settings.run_config import RunConfig, Runtime
    from repro.records.store import Store

    store, found = Store(folder), {}
    for name, settings in CELLS.items():
        record = run(RunConfig(**BASE | settings), store, Runtime(device="cpu", threads=1))
        timed = ("seconds", "peak_memory")
        numbers = {key: value for key, value in record.result.items() if not any(one in key for one in timed)}
        found[name] = {"numbers": numbers, "arrays": {key: _digest(one) for key, one in record.arrays().items()}}
    return found | {"dropout": _with_dropout()}


def _with_dropout() -> str:
    import torch
    from torch import nn
    from torch.utils.data import TensorDataset

    import empirical

    torch.set_num_threads(1)
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(288, 4)
    images, labels = torch.randn(96, 1, 8, 8), torch.arange(96) % 4
    retain, forget = TensorDataset(images[:64], labels[:64]), TensorDataset(images[64:], labels[64:])
    done = empirical.unlearn(nn.Sequential(*layers), retain, forget, rule="sam-0.1", epochs=2, portable=True)
    return _digest(torch.cat([weight.detach().flatten() for weight in done.model.parameters()]).numpy())


def _digest(array: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(outcome(Path(sys.argv[1])), sort_keys=True, indent=1) + "\n")
