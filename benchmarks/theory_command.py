"""What `repro theory` costs: processes as a multiple of their bare imports, a part against another.

    python benchmarks/theory_command.py [--json] [--store runs] [--repeats 3]

CPU seconds (user and system), best of several repeats, on one thread. Every command is a process of its own, followed
by one that only imports what it must: on a busy machine seconds grow, their ratio hardly. Cold is without any machine
code, which the command then does not make; warm is with the code of a sweep before.
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
from theory.study import RULE_PAIRS

COMMAND = [sys.executable, "-c", "from repro.commands.cli import main; main()", "theory", "--signal-strength", "0.5"]
FIGURE = "; import matplotlib.figure, pandas"
# By case: the words, whether machine code is there, whether its records are, the imports that it cannot do without, and
# the goal in CPU seconds on a quiet machine.
CASES = {
    "cold json": (["--json"], False, False, "import numpy, scipy.special, typer", 1.3),
    "cold figure": ([], False, False, "import numpy, scipy.special, typer" + FIGURE, 2.5),
    "warm json": (["--json"], True, False, "import numpy, scipy.special, typer, numba", 1.4),
    "warm figure": ([], True, False, "import numpy, scipy.special, typer, numba" + FIGURE, 2.2),
    "records there": (["--json"], True, True, "import numpy, typer", 0.3),
}
COMPILE = (
    "from theory.engine import simulate_many; from theory.predict import predict_many; from theory.config import *; "
    "cells = [TheoryConfig(seeds=1, unlearn=rule) for rule in ('sgd', 'sam')]; "
    "simulate_many(cells); predict_many(cells)"
)


def process_time(words: list[str], **environment: str) -> float:
    """Return the CPU seconds of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    settings = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"} | environment
    subprocess.run(words, check=True, capture_output=True, env=dict(os.environ) | settings)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def commands(repeats: int) -> dict[str, dict[str, float]]:
    """Return, for each case, the least seconds of its process, those of its imports, the ratio and the goal."""
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as compiled, tempfile.TemporaryDirectory() as nothing:
        seconds = process_time([sys.executable, "-c", COMPILE], NUMBA_CACHE_DIR=compiled)
        found["compiling"] = {"seconds": round(seconds, 3)}
        for name, (words, warm, there, imports, goal) in CASES.items():
            took, bare = [], []
            for _ in range(repeats):
                with tempfile.TemporaryDirectory() as store:
                    command = [*COMMAND, *words, "--store", store]
                    for _ in range(2 if there else 1):
                        seconds = process_time(command, NUMBA_CACHE_DIR=compiled if warm else nothing)
                took.append(seconds)
                bare.append(process_time([sys.executable, "-c", imports]))
            found[name] = _row(min(took), min(bare), goal)
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
    cells = [TheoryConfig(pretrain=before, unlearn=after) for before, after in RULE_PAIRS]
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
    arguments = parser.parse_args()
    os.environ.setdefault("NUMBA_NUM_THREADS", "1")
    result = {"commands": commands(arguments.repeats), "ratios": parts(arguments.repeats)}
    config = {"benchmark": "theory_command", "repeats": arguments.repeats}
    provenance = collect(study="benchmark", threads=1)
    record = Store(Path(arguments.store)).save("benchmark", config, result=result, provenance=provenance)
    print(json.dumps({**record.result, "run_id": record.run_id}, indent=1 if not arguments.json else None))


if __name__ == "__main__":
    main()
