"""What listing, judging and planning cost in a store of many finished cells, each of a run and two evaluations.

python benchmarks/large_store.py [--cells 10000] [--store runs] [--json]

The store is made up: every cell of a recipe with that many seeds has a finished run, written as a run writes it.
Commands are processes of their own, as a person starts them; `seconds` are of the clock, `processor_seconds` of the
processor, which a busy machine does not change, bytes the most one of them held.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from empirical.data.source import data_digest
from empirical.settings.keys import evaluation_keys
from empirical.settings.run_config import KIND, RunConfig, Runtime
from empirical.studies.recipe import Recipe, load_recipe
from repro.records.provenance import collect
from repro.records.store import Store

RULES = ("sgd", "sam-0.1", "asam-1.0", "minmax-asam-1.0", "retain-sam-0.1")
TEXT = """name = "many"
[defaults]
metrics = ["accuracy", "tow"]
seed = {seeds}
[[cells]]
rule = {rules}
alpha = [0.5, 0.9]
"""


def write_recipe(path: Path, count: int) -> Recipe:
    """Write a recipe of about `count` cells and return it."""
    seeds = list(range(max(1, count // (2 * len(RULES)))))
    path.write_text(TEXT.format(seeds=seeds, rules=json.dumps(RULES)))
    return load_recipe(path)


def fill(store: Store, recipe: Recipe) -> float:
    """Write a finished run of every cell and return the seconds a run took."""
    cells = recipe.cells()
    digest = data_digest(cells[0], Runtime())
    facts = collect(study=recipe.name)
    started = time.perf_counter()
    for place, cell in enumerate(cells):
        _finish(store, cell, digest, place, facts)
    return (time.perf_counter() - started) / len(cells)


def _finish(store: Store, cell: RunConfig, digest: str, place: int, facts: dict[str, Any]) -> None:
    cell = replace(cell, data=digest)
    parents = {
        "pretrain": f"{place:016x}",
        "retrain": f"{place:016x}",
        "unlearn": f"{place:016x}",
        "forget_set": "f" * 16,
    }
    numbers = {name: store.save_evaluation(key, result={"tow": 0.5}).run_id
               for name, key in evaluation_keys(cell, parents).items()}  # fmt: skip
    result = {"labels": cell.labels(), "parents": parents, "n_forget": 72}
    store.save(KIND, cell, result=result, evaluations=numbers, provenance=facts)


def timed(words: Sequence[str]) -> dict[str, float]:
    """Return the seconds a command takes and the most memory it holds, in bytes."""
    started = time.perf_counter()
    done = subprocess.Popen([sys.executable, "-m", "repro", *words], stdout=subprocess.DEVNULL)
    _, status, usage = _wait(done.pid)
    done.returncode = status
    if status:
        raise SystemExit(f"{' '.join(words)}: exit code {status}")
    clock, busy = time.perf_counter() - started, usage.ru_utime + usage.ru_stime
    return {"seconds": clock, "processor_seconds": busy, "bytes": usage.ru_maxrss * 1024}


def _wait(pid: int) -> tuple[int, int, resource.struct_rusage]:
    found, status, usage = os.wait4(pid, 0)
    return found, os.waitstatus_to_exitcode(status), usage


def main() -> None:
    """Measure, print, and write a record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--store", default="runs")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, store = Path(folder) / "many.toml", Store(Path(folder) / "store")
        store.ensure_writable()
        recipe = write_recipe(path, chosen.cells)
        count, saving = len(recipe.cells()), fill(store, recipe)
        where = ["--store", str(store.root), "--json"]
        one = min(path.name for path in store.root.glob("runs/*"))
        commands = {
            "list, first": ["list", *where], "list, again": ["list", *where], "show": ["show", one, *where],
            "claims, first": ["claims", *where], "claims, again": ["claims", *where],
            "plan": ["empirical", "plan", str(path), *where], "check": ["check", str(path), *where],
        }  # fmt: skip
        rows = [{"command": name, **timed(words)} for name, words in commands.items()]
        size = sum(one.stat().st_size for one in store.root.rglob("*") if one.is_file())
    result = {
        "benchmark": "large_store",
        "cells": count,
        "save_seconds": saving,
        "bytes_a_cell": size / count,
        "rows": rows,
    }
    config = {"benchmark": "large_store", "cells": count}
    Store(Path(chosen.store)).save("benchmark", config, result=result, provenance=collect(study="scale", threads=1))
    if chosen.json:
        print(json.dumps(result, indent=1))
        return
    print(f"{count} cells: {1000 * saving:.1f} ms to write one, {size / count:.0f} bytes each")
    for row in rows:
        print(f"{row['command']:12} {row['seconds']:7.1f} s, {row['processor_seconds']:7.1f} s of the processor, "
              f"{row['bytes'] / 1e9:.2f} GB")  # fmt: skip


if __name__ == "__main__":
    main()
