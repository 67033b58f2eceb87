"""What `repro theory` costs: processes as a multiple of their bare imports, a part against another.

    python benchmarks/theory_command.py [--json] [--store runs] [--cold]

CPU seconds (user and system), best of several repeats, on one thread. Every command is a process of its own, followed
by one that only imports what it must (numpy, numba, scipy.special, typer; matplotlib and pandas for a figure): on a
busy machine seconds grow, their ratio hardly. `--cold` adds a first command with an empty cache of compiled code.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from repro.records.provenance import collect
from repro.records.store import Store
from theory.config import TheoryConfig
from theory.engine import simulate_many
from theory.predict import predict_many
from theory.study import CELLS

COMMAND = [sys.executable, "-c", "from repro.commands.cli import main; main()", "theory", "--signal-strength", "0.5"]
IMPORTS = "import numpy, scipy.special, typer, numba; numba.njit(lambda x: x + 1)(1)"
GOALS = {"json": 1.2, "figure": 2.2, "cold": 8.0}  # CPU seconds on a quiet machine


def process_time(words: list[str], **environment: str) -> float:
    """Return the CPU seconds of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    settings = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"} | environment
    subprocess.run(words, check=True, capture_output=True, env=dict(os.environ) | settings)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def commands(repeats: int, cold: bool) -> dict[str, dict[str, float]]:
    """Return, for the command with and without its figure, seconds, those of its imports, and the ratio."""
    ways = {"json": (["--json"], IMPORTS), "figure": ([], IMPORTS + "; import matplotlib.figure, pandas")}
    found: dict[str, dict[str, float]] = {}
    for name, (words, imports) in ways.items():
        took, bare = [], []
        for _ in range(repeats + 1):  # the first fills the cache of compiled code
            with tempfile.TemporaryDirectory() as folder:
                took.append(process_time([*COMMAND, *words, "--store", folder]))
            bare.append(process_time([sys.executable, "-c", imports]))
        found[name] = _row(min(took[1:]), min(bare[1:]), GOALS[name])
    if cold:
        with tempfile.TemporaryDirectory() as cache, tempfile.TemporaryDirectory() as folder:
            took = [process_time([*COMMAND, "--json", "--store", folder], NUMBA_CACHE_DIR=cache)]
        found["cold"] = _row(took[0], found["json"]["imports_s"], GOALS["cold"])
    return found


def _row(seconds: float, imports: float, goal: float) -> dict[str, float]:
    return {"seconds": round(seconds, 3), "imports_s": round(imports, 3), "ratio": round(seconds / imports, 2),
            "goal_s": goal}  # fmt: skip


def best(function: Callable[[], Any], repeats: int) -> float:
    """Return the least CPU seconds of a call, the first left out."""
    function()
    times = []
    for _ in range(repeats):
        begin = time.process_time()
        function()
        times.append(time.process_time() - begin)
    return min(times)


def parts(repeats: int) -> dict[str, float]:
    """Return the ratio of parts: the simulation of a study against its prediction."""
    cells = [TheoryConfig(pretrain=before, unlearn=after) for before, after in CELLS]
    return {
        "simulation_over_prediction": round(
            best(lambda: simulate_many(cells), repeats) / best(lambda: predict_many(cells), repeats), 2
        ),
    }


def main() -> None:
    """Measure, print, and write a record of kind "benchmark"."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--store", default="runs", help="where the record goes")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cold", action="store_true", help="compile everything once more")
    arguments = parser.parse_args()
    os.environ.setdefault("NUMBA_NUM_THREADS", "1")
    result = {"commands": commands(arguments.repeats, arguments.cold), "ratios": parts(arguments.repeats)}
    config = {"benchmark": "theory_command", "repeats": arguments.repeats, "cold": arguments.cold}
    provenance = collect(study="benchmark", threads=1)
    record = Store(Path(arguments.store)).save("benchmark", config, result=result, provenance=provenance)
    print(json.dumps({**record.result, "run_id": record.run_id}, indent=1 if not arguments.json else None))


if __name__ == "__main__":
    main()
