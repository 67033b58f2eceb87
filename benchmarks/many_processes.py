"""What several processes on one store gain: the same grid by one process and by more, in turns, at the same records.

    python benchmarks/many_processes.py [--json] [--store runs] [--processes 2] [--repeats 3] [--device cuda]

On a GPU the processes share the card, and every run is attacked by an SVC on the processor: one process trains while
the other measures. Their records then differ in the last digits, because cuDNN chooses kernels by time.

Every process takes a first step, which loads much of torch, and is then told to start; a time is from there to its end.
On a busy machine that says little, so Linux's own account of each process is kept beside it: seconds on a core, seconds
it was ready but had none, and the rest, in which it waited for leases or the disk. `free_speedup` is what the same
processes would gain with a core each: (seconds on a core + waits) of one, over the largest of the crew.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from training_command import code_digest, device_name, recorded

from repro.records.provenance import collect
from repro.records.store import Store

GOAL = 1.8
SETTINGS = {"n_train": 800, "pretrain_epochs": 12, "epochs": 6, "metrics": ["accuracy", "tow"]}
CELLS = {"method": ["neggrad", "random_label"], "rule": ["sgd", "sam-0.1"], "seed": [0, 1, 2, 3]}
TIMED = ("seconds", "peak")


def settings(device: str) -> dict[str, Any]:
    """Return what the runs are like: on a GPU a larger network, and a metric that keeps the processor busy."""
    if device == "cpu":
        return SETTINGS
    return SETTINGS | {"model": "resnet8-wide", "precision": "bf16", "metrics": ["accuracy", "tow", "mia"]}


def work(folder: str, device: str) -> None:
    """Run the grid when told to, and say what it took: the life of one process."""
    from empirical.settings.run_config import Runtime
    from empirical.studies.grid import run_grid
    from empirical.studies.recipe import Recipe

    # What torch loads with its first step is no part of sharing.
    few = Recipe("warm", defaults=settings(device) | {"n_train": 64, "pretrain_epochs": 1, "epochs": 1}, blocks=({},))
    runtime = Runtime(device=device, engine="eager" if device == "cpu" else "graph")
    run_grid(few, Store(f"{folder}-warm-{os.getpid()}"), runtime=runtime)
    print("ready", flush=True)
    sys.stdin.readline()
    started, before = time.monotonic(), schedule()
    recipe = Recipe("many-processes", defaults=settings(device), blocks=(CELLS,))
    report = run_grid(recipe, Store(folder), runtime=runtime)
    seconds, (on_core, ready) = time.monotonic() - started, schedule()
    on_core, ready = on_core - before[0], ready - before[1]
    counts = {"done": len(report.done), "found": len(report.found)}
    spent = {"on_core_s": on_core, "ready_s": ready, "waits_s": max(0.0, seconds - on_core - ready)}
    print(json.dumps(counts | {name: round(value, 3) for name, value in spent.items()}), flush=True)


def schedule() -> tuple[float, float]:
    """Return the seconds this process's main thread was on a core, and ready without one."""
    on_core, ready, _ = map(int, Path("/proc/self/schedstat").read_text().split())
    return on_core / 1e9, ready / 1e9


def measure(folder: Path, count: int, device: str) -> dict[str, Any]:
    """Return what `count` processes on an empty store take."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    words = [sys.executable, __file__, "--work", str(folder), "--device", device]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    crew = [subprocess.Popen(words, **pipes) for _ in range(count)]
    for one in crew:
        assert one.stdout is not None
        one.stdout.readline()
    started = time.monotonic()
    for one in crew:
        print(file=one.stdin, flush=True)
    said = [json.loads(one.communicate()[0]) for one in crew]
    seconds = time.monotonic() - started
    free = max(one["on_core_s"] + one["waits_s"] for one in said)
    return {"processes": count, "seconds": round(seconds, 2), "free_s": round(free, 2), "each": said}


def content(store: Store) -> dict[str, Any]:
    """Return what the runs and weights of a store are, times apart."""
    numbers = {
        record.run_id: {name: value for name, value in record.result.items() if not name.startswith(TIMED)}
        for record in store.records()
    }
    return numbers | {path.name: (path / "weights.safetensors").read_bytes() for path in store.stages.all()}


def main() -> None:
    """Measure one process and several in turns, compare their records, print and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--store", default="runs", help="store of the record")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--missing", action="store_true", help="skip what is recorded for this card, torch and code")
    parser.add_argument("--work", default="", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.work:
        work(chosen.work, chosen.device)
        return
    config = {"benchmark": "many-processes", "settings": settings(chosen.device), "cells": CELLS,
              "processes": chosen.processes}  # fmt: skip
    config |= {} if chosen.device == "cpu" else {"device": device_name(chosen.device)}
    store = Store(Path(chosen.store))
    if chosen.missing and recorded(store, config):
        print("many-processes (recorded)")
        return
    load, rounds, equal = os.getloadavg()[0], [], True
    for _ in range(chosen.repeats):
        with tempfile.TemporaryDirectory() as folder:
            places = {count: Path(folder) / str(count) for count in (1, chosen.processes)}
            rounds.append([measure(place, count, chosen.device) for count, place in places.items()])
            one, several = (content(Store(place)) for place in places.values())
            equal &= one == several
    ratios = {name: [round(one[name] / more[name], 2) for one, more in rounds] for name in ("seconds", "free_s")}
    result = {
        "benchmark": "many-processes", "cores": os.cpu_count(), "load_before": round(load, 1), "equal_records": equal,
        "speedup": median(ratios["seconds"]), "free_speedup": median(ratios["free_s"]), "ratios": ratios,
        "rounds": rounds, "goal": GOAL,
    }  # fmt: skip
    facts = collect(study="speed", device=device_name(chosen.device), code=code_digest())
    store.save("benchmark", config, result=result, provenance=facts)
    if chosen.json:
        print(json.dumps(result, indent=1))
        return
    print(f"{chosen.processes} processes against 1, {chosen.repeats} pairs, load {load:.1f} on {os.cpu_count()} cores")
    print(f"speed-up {result['speedup']} ({ratios['seconds']}); with a core each {result['free_speedup']}; goal {GOAL}")
    print("records equal, times aside" if equal else "RECORDS DIFFER")


if __name__ == "__main__":
    main()
