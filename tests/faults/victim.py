"""Grids to be killed: a process that imports torch once and forks a child a grid, in a session of its own.

It reads one JSON line a request from standard input (`{"store", "workers", "epochs"}`) and answers with the child's
pid at once and its exit code at its end, so that a hundred kills take minutes.
"""

import json
import multiprocessing
import os
import signal
import sys

import torch

from empirical.settings.run_config import Runtime
from empirical.studies import executors
from empirical.studies.grid import run_grid
from empirical.studies.recipe import Recipe
from repro.base.ending import Ending, Stopped
from repro.records.store import Store

SMALL = {
    "dataset": "signal-noise", "dataset_options": "side=8, n=48, n_test=40, signal_strength=2.0",
    "forget_fraction": 0.25, "epochs": 1, "batch_size": 16, "pretrain_batch_size": 16, "augment": "none",
    "pretrain_lr": 0.05, "metrics": ["accuracy", "tow"],
}  # fmt: skip


def recipe(epochs: int, seeds: int) -> Recipe:
    """Return two cells a seed; `epochs` of pretraining say how long a stage takes."""
    cells = ({"method": "neggrad", "rule": ["sgd", "sam-0.1"], "seed": list(range(seeds))},)
    return Recipe("faults", defaults={**SMALL, "pretrain_epochs": epochs}, blocks=cells)


def compute(store: str, workers: int, epochs: int, seeds: int, seconds: float | None) -> int:
    """Run the grid in this process and return its exit code."""
    fork = multiprocessing.get_context("fork")  # a worker then starts at once, with torch imported
    executors.multiprocessing.get_context = lambda _: fork  # type: ignore[assignment]
    runtime = Runtime(device="cpu", checkpoint_seconds=0.1)
    Ending().listen()
    try:
        report = run_grid(recipe(epochs, seeds), Store(store), runtime=runtime, workers=workers, max_seconds=seconds)
    except Stopped as stopped:
        return 128 + stopped.signal if stopped.signal else 0
    return 128 + report.signal if report.signal else report.failure_code


def main() -> None:
    torch.set_num_threads(1)
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os.setsid()
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may have had them ignored
            signal.signal(signal.SIGINT, signal.default_int_handler)
            sys.stdin.close()
            os.close(1)
            os.dup2(2, 1)
            os._exit(compute(**request))
        os.write(1, f"{pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        os.write(1, f"{os.waitstatus_to_exitcode(status)}\n".encode())


if __name__ == "__main__":
    main()
