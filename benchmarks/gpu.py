"""Everything a GPU brings, in order and in slices that go on where they stopped: `make gpu`, or this file.

1. `tests/gpu`: captured steps equal eager ones on the device.
2. `train_step.py` and `epoch.py`: records of the study "speed", ratios to the released path and, for a step, to
   plain bf16 with channels last and torch.compile.
3. One seed of NegGrad of `recipes/gpu-tinyimagenet100-resnet18.toml`, made so short that it fits `--minutes`, by the
   images a second that step 2 measured.
4. The recipe as it stands, `--slice` seconds a call; the hours it will take are printed first.

python benchmarks/gpu.py [--minutes 30] [--slice 3000] [--store runs] [--tiny]

`--tiny` walks the same way on a CPU in minutes: the tests' stand-in for CUDA graphs, one benchmark case, digits.
"""

import argparse
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch

from empirical.data.images import load_dataset
from empirical.settings.run_config import Runtime
from empirical.studies.cost import Rates
from empirical.studies.finished import Finished
from empirical.studies.grid import run_grid
from empirical.studies.plan import plan
from empirical.studies.recipe import Recipe, load_recipe
from repro.base.ending import Ending, Stopped
from repro.base.errors import MissingDataError, ReproError
from repro.commands.cli import run
from repro.records.pack import readers
from repro.records.store import Store

ROOT = Path(__file__).resolve().parents[1]
# From the study as it stands down to what fits a lunch break: epochs of pretraining, subset models, their epochs.
SIZES = [(60, 64, 20), (30, 32, 12), (20, 32, 8), (12, 24, 6), (6, 16, 4), (3, 8, 3)]
SHORT = ({"method": "neggrad", "rule": ["sgd", "sam-0.1", "asam-1.0", "retain-sam-0.1", "minmax-asam-1.0"]},)
TINY = {"dataset": "digits", "model": "resnet8-narrow", "augment": "none", "precision": "fp32", "n_train": 400,
        "n_test": 200, "pretrain_epochs": 1, "subsets": 4, "epochs": 1, "metrics": ["accuracy", "tow"],
        "pretrain": "sgd", "difficulty": "high", "seed": [0], "alpha": 0.9}  # fmt: skip


def call(*command: str) -> None:
    """Run a command from the repository's root; end here with its exit code if it fails."""
    print("$", *command, flush=True)
    done = subprocess.run([sys.executable, *command], cwd=ROOT)
    if done.returncode:
        raise SystemExit(done.returncode)


def shortened(recipe: Recipe, pretrain_epochs: int, subsets: int, subset_epochs: int) -> Recipe:
    """Return one seed of NegGrad on the easiest and the hardest forget set, with a training of this length."""
    smaller = {"pretrain_epochs": pretrain_epochs, "subsets": subsets, "subset_epochs": subset_epochs,
               "forget_batch_size": 32, "epochs": 2, "seed": [0], "pretrain": ["sgd", "asam-1.0"],
               "difficulty": ["low", "high"]}  # fmt: skip
    name, title = "gpu-short", f"{recipe.title}: one short seed of NegGrad"
    choose = dict(recipe.choose) | {"values": [0.003, 0.01, 0.03]}
    return replace(recipe, name=name, title=title, defaults={**recipe.defaults, **smaller}, blocks=SHORT, choose=choose)


def measured_rate(store: Store, card: str) -> float:
    """Return the images a second that the last epoch benchmark on a card measured for ResNet-18 and SGD, else 0."""
    found = [one for one in store.records("benchmark")
             if (one.config.get("benchmark"), one.config.get("device")) == ("epoch", card)]  # fmt: skip
    found.sort(key=lambda one: str(one.provenance.get("finished")))
    rows = [row for one in found for row in one.result["rows"] if row["case"] == "resnet18/sgd"]
    return rows[-1]["images_per_second"] if rows else 0.0


def fitting(recipe: Recipe, store: Store, runtime: Runtime, *, card: str, seconds: float, images: int) -> Recipe:
    """Return the longest short study whose passes fit, counting the first candidates of every choice.

    Raises:
        MissingDataError: when no epoch benchmark has measured a rate yet.
    """
    rate = measured_rate(store, card)
    if not rate:
        raise MissingDataError("no measured rate: python benchmarks/epoch.py")
    for size in SIZES:
        short = shortened(recipe, *size)
        needed = plan(short, store, runtime, Finished(readers(store))).passes * images / rate
        print(f"{size[0]} epochs, {size[1]} subset models: about {needed / 60:.0f} minutes at {rate:.0f} images/s")
        if needed <= seconds:
            return short
    return short


def run_slice(recipe: Recipe, store: Store, runtime: Runtime, seconds: float) -> None:
    """Run a study until the time is up, after saying how long all of it takes."""
    finished = Finished(readers(store))
    found = plan(recipe, store, runtime, finished, Rates.known(store, finished.benchmarks))
    hours = "unknown" if found.unmeasured else f"{found.hours:.1f}"
    print(f"{recipe.name}: {found.passes:.0f} passes, hours: {hours}; now at most {seconds:.0f} s", flush=True)
    report = run_grid(recipe, store, max_seconds=seconds, runtime=runtime)
    print(f"{len(report.done)} computed, {len(report.found)} found, {report.remaining} remaining", flush=True)
    if report.signal:
        raise Stopped(report.signal)
    if report.failed:
        raise ReproError(f"{len(report.failed)} runs failed; the first: {next(iter(report.failed.values()))}")


def main() -> None:
    """Run the four steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="what the short study may take")
    parser.add_argument("--slice", type=float, default=3000.0, help="seconds of the full study in this call")
    parser.add_argument("--store", default="runs")
    parser.add_argument("--data-root", default="", help="folder of the Parquet files (default: REPRO_DATA)")
    parser.add_argument("--tiny", action="store_true", help="the same way on a CPU, in minutes")
    chosen = parser.parse_args()
    if not (0 < chosen.minutes < 1e6 and 0 < chosen.slice < 1e8):
        parser.error("--minutes and --slice: must be > 0 and finite")
    Ending().listen()  # a signal ends at the next checkpoint, and nothing after it starts
    store, device = Store(Path(chosen.store).absolute()), "cpu" if chosen.tiny else "cuda"
    runtime = Runtime(device=device, data_root=chosen.data_root, engine="graph", study="gpu-short")
    study = load_recipe(ROOT / "recipes" / "gpu-tinyimagenet100-resnet18.toml")
    if not chosen.tiny:
        if not torch.cuda.is_available():
            parser.error("no CUDA device: `--tiny` walks the same way on a CPU")
        load_dataset(study.cells()[0], runtime)  # what is missing is said before an hour of benchmarks
    call("-m", "pytest", "-q", "tests/empirical/test_graph.py" if chosen.tiny else "tests/gpu", "-m", "gpu or not gpu")
    only = ["--only", "resnet8/sgd"] if chosen.tiny else []
    for name in ("train_step", "epoch"):
        call(f"benchmarks/{name}.py", "--device", device, "--store", str(store.root), *only)
    if chosen.tiny:
        study = replace(study, name="gpu-tiny", defaults=TINY, blocks=SHORT, choose={"values": [0.01, 0.03, 0.1]})
        run_slice(study, store, runtime, chosen.minutes * 60)
        return
    seconds, card = chosen.minutes * 60, torch.cuda.get_device_name()
    run_slice(fitting(study, store, runtime, card=card, seconds=seconds, images=50_000), store, runtime, seconds)
    run_slice(study, store, runtime, chosen.slice)


if __name__ == "__main__":
    sys.exit(run(main))
