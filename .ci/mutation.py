"""Mutants of the core modules by cosmic-ray: which share of a sample do the module's own tests notice?

    make mutation                                         # 200 mutants a module: about half an hour each on one core
    make mutation MUTANTS="empirical/data/forget.py 20"   # a few of one module

It works in a copy of the tree and shows the survivors as diffs.
"""

import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SEED = 0
SECONDS = 300  # after so many, a mutant hangs and is killed
NETWORKS, THEORY = "tests/empirical/test_", "tests/theory/test_"
METHODS = [f"{NETWORKS}methods.py"]
# Module to the tests that are its own.
MODULES = {
    "empirical/training/rules.py": [f"{NETWORKS}rules.py", f"{NETWORKS}train.py", *METHODS],
    "empirical/training/step.py": [f"{NETWORKS}loop.py", f"{NETWORKS}train.py", *METHODS],
    "empirical/training/loop.py": [f"{NETWORKS}loop.py", f"{NETWORKS}schedule.py", f"{NETWORKS}checkpoint.py"],
    "empirical/methods/forget.py": METHODS,
    "empirical/methods/relabel.py": METHODS,
    "empirical/methods/retain.py": METHODS,
    "empirical/metrics/closeness.py": [f"{NETWORKS}metrics.py"],
    "empirical/metrics/attacks.py": [f"{NETWORKS}metrics.py"],
    "empirical/data/forget.py": [f"{NETWORKS}forget.py"],
    "empirical/data/memorization.py": [f"{NETWORKS}data.py", f"{NETWORKS}forget.py"],
    "theory/steps/dynamics.py": [f"{THEORY}dynamics.py", f"{THEORY}autograd.py"],
    "theory/measures/measure.py": [f"{THEORY}measure.py"],
}
# In this code `|` stands between types, `*` and `/` in signatures; mutants of those are dead before a test begins.
LEFT_OUT = ("BitOr", "BitAnd", "BitXor")


def run(module: str, sample: int) -> float:
    """Try a sample of a module's mutants, say which survive, and return the share that the tests notice."""
    from cosmic_ray.commands import init
    from cosmic_ray.mutating import mutate_and_test
    from cosmic_ray.work_db import use_db

    tests = f'{sys.executable} -m pytest -x -q -n 0 -p no:cacheprovider -m "not slow" {" ".join(MODULES[module])}'
    if subprocess.run(tests, shell=True, capture_output=True).returncode:
        raise SystemExit(f"{module}: its tests fail without a mutant: {tests}")
    with use_db("mutants.sqlite") as db:
        init([Path(module)], db, {})
        mutants = [one.mutations for one in db.work_items]
    mutants = [one for one in mutants if not any(name in one[0].operator_name for name in LEFT_OUT)]
    mutants.sort(key=lambda one: (one[0].operator_name, one[0].occurrence))  # their ids are drawn anew every time
    chosen = random.Random(SEED).sample(mutants, min(sample, len(mutants)))
    tried = [mutate_and_test(one, tests, SECONDS) for one in chosen]
    for survivor in (one for one in tried if not one.is_killed):
        print(survivor.diff)
    killed = sum(one.is_killed for one in tried)
    print(f"{module}: {killed} of {len(tried)} mutants noticed ({len(mutants)} there are)", flush=True)
    return killed / len(tried)


def main(words: list[str]) -> None:
    """Try the modules named, all by default, in a copy of what git knows."""
    modules = [word for word in words if not word.isdigit()] or list(MODULES)
    sample = next((int(word) for word in words if word.isdigit()), 200)
    with tempfile.TemporaryDirectory() as place:
        subprocess.run(f"git ls-files -z | xargs -0 cp --parents -t {place}", shell=True, cwd=ROOT, check=True)
        os.chdir(place)
        os.environ |= {"PYTHONPATH": place, "OMP_NUM_THREADS": "1"}
        for module in modules:
            # What is compiled would not be compiled anew for every mutant.
            os.environ["NUMBA_DISABLE_JIT"] = str(int(module.startswith("theory/")))
            run(module, sample)


if __name__ == "__main__":
    main(sys.argv[1:])
