"""Everything a GPU brings, in slices that go on where they stopped: `make gpu`, or this file.

1. The steps of ResNet-18 under SGD and ASAM (`train_step.py`): a record of each after about a minute.
2. `tests/gpu`: captured steps equal eager ones on the device.
3. One seed of NegGrad of `recipes/gpu-tinyimagenet100-resnet18.toml`, made so short that it fits `--minutes`, by the
   images a second that step 1 measured. Without the images of that recipe the digits take their place.
4. The other benchmarks, a record a case.
5. The recipe as it stands, in the time that is left; the hours it will take are printed first.

A benchmark or test that this card, this torch and this code have a record of is not repeated. What fails stops nothing
but itself; it is named at the end, and the exit code is 1.

python benchmarks/gpu.py [--max-seconds 7200] [--minutes 30] [--store runs] [--tar store.tar] [--tiny]

`--tiny` walks the same way on a CPU in minutes: the tests' stand-in for CUDA graphs, small benchmark cases, digits.
"""

import argparse
import importlib.util
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from training_command import ROOT, device_name, recorded, save

from empirical.data.source import data_digest
from empirical.registry import load
from empirical.settings.run_config import Runtime
from empirical.studies.cost import Rates
from empirical.studies.finished import Finished
from empirical.studies.grid import run_grid
from empirical.studies.plan import plan
from empirical.studies.recipe import Recipe, load_recipe
from empirical.studies.search import Search
from repro.base.ending import Ending, Stopped
from repro.base.errors import MissingDataError, ReproError
from repro.commands.cli import run
from repro.commands.doctor import packages
from repro.commands.gpu import why_no_device
from repro.records.published import readers
from repro.records.store import Store

# From the study as it stands down to what fits a lunch break: epochs of pretraining, subset models, their epochs.
SIZES = [(60, 64, 20), (30, 32, 12), (20, 32, 8), (12, 24, 6), (6, 16, 4), (3, 8, 3)]
SHORT = ({"method": "neggrad", "rule": ["sgd", "sam-0.1", "asam-1.0", "retain-sam-0.1", "minmax-asam-1.0"]},)
DIGITS = {"dataset": "digits", "augment": "shift", "batch_size": 64, "pretrain_batch_size": 64}
TINY = {"dataset": "digits", "model": "resnet8-narrow", "augment": "none", "precision": "fp32", "n_train": 400,
        "n_test": 200, "pretrain_epochs": 1, "subsets": 4, "epochs": 1, "metrics": ["accuracy", "tow"],
        "pretrain": "sgd", "difficulty": "high", "seed": [0], "alpha": 0.9}  # fmt: skip
BENCHMARKS = ("train_step", "epoch", "step_parts")
TEST = ("-m", "pytest", "-q", "-m", "not slow", "-W", "default")  # another torch's warnings are no failure
RESERVE = 15.0  # seconds kept back for the last checkpoint and the tar


@dataclass
class Walk:
    """One call's way through the steps.

    Attributes:
        store: what is measured and trained.
        runtime: device, data folder and engine of the studies.
        deadline: when the call ends, in seconds since the epoch.
        failed: what went wrong, a line each.
    """

    store: Store
    runtime: Runtime
    deadline: float
    failed: list[str] = field(default_factory=list)

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - RESERVE - time.time()

    def call(self, *command: str, seconds: float = float("inf")) -> int | None:
        """Run a Python program from the repository's root and return its exit code; None when its time ran out."""
        if self.left <= 0:
            return None
        print("$", *command, flush=True)
        try:
            return subprocess.run([sys.executable, *command], cwd=ROOT, timeout=min(seconds, self.left)).returncode
        except subprocess.TimeoutExpired:
            return None

    def benchmark(self, name: str, only: str = "") -> None:
        """Measure the cases of a benchmark that have no record yet."""
        words = ["--device", self.runtime.device, "--store", str(self.store.root), "--missing", "--only", only]
        words += ["--tiny"] if self.runtime.device == "cpu" else []
        if self.call(f"benchmarks/{name}.py", *words):
            self.failed.append(f"benchmarks/{name}.py: a case failed, see above")

    def processes(self) -> None:
        """Measure what two processes on one card gain, unless there is a record of it."""
        words = ["--device", self.runtime.device, "--store", str(self.store.root), "--missing"]
        if self.call("benchmarks/many_processes.py", *words):
            self.failed.append("benchmarks/many_processes.py: failed, see above")

    def tests(self, files: list[Path], seconds: float) -> None:
        """Run test files that have not passed yet, those that were never run first, for `seconds` together."""
        if importlib.util.find_spec("pytest") is None:
            print("pytest is not installed: the tests are left out", flush=True)
            return
        ends, card = time.time() + seconds, device_name(self.runtime.device)
        about = {file: {"benchmark": "tests", "device": card, "cases": [file.name]} for file in files}
        known = {file: recorded(self.store, config) for file, config in about.items()}
        codes: dict[Path, Any] = {
            file: record and record.result["rows"][0]["exit_code"] for file, record in known.items()
        }
        for file in sorted(files, key=lambda file: codes[file] is not None):
            if codes[file] == 0:
                print(f"{file.name}: passed (recorded)", flush=True)
                continue
            allowed = max(0.0, ends - time.time())
            late = allowed > self.left
            code = self.call(*TEST, str(file), seconds=allowed) if allowed else None
            if code is None and late:
                continue  # the call's own time is up: the next one runs it first
            if code is None:
                self.failed.append(f"{file.name}: not finished within the {seconds:.0f} s of all tests")
            elif code:
                self.failed.append(f"{file.name}: tests failed, see above")
            save(self.store, about[file], {"rows": [{"exit_code": -1 if code is None else code}]})

    def study(self, recipe: Recipe) -> None:
        """Run a study until the time is up, after saying how long all of it takes."""
        if self.left <= 0:
            return
        finished = Finished(readers(self.store))
        found = plan(recipe, self.store, self.runtime, finished, Rates.known(self.store, finished.benchmarks))
        hours = "unknown" if found.unmeasured else f"{found.hours_with(1):.1f}"
        print(f"{recipe.name}: {found.passes:.0f} passes, hours: {hours}; now at most {self.left:.0f} s", flush=True)
        try:
            report = run_grid(recipe, self.store, max_seconds=self.left, runtime=self.runtime)
        except ReproError as error:
            self.failed.append(f"{recipe.name}: {error}")
            return
        print(f"{len(report.done)} computed, {len(report.found)} found, {report.remaining} remaining", flush=True)
        if report.signal:
            raise Stopped(report.signal)
        if report.failed:
            first = next(iter(report.failed.values()))
            self.failed.append(f"{recipe.name}: {len(report.failed)} runs failed; the first: {first}")


def shortened(recipe: Recipe, pretrain_epochs: int, subsets: int, subset_epochs: int) -> Recipe:
    """Return one seed of NegGrad on the easiest and the hardest forget set, with a training of this length."""
    smaller = {"pretrain_epochs": pretrain_epochs, "subsets": subsets, "subset_epochs": subset_epochs,
               "forget_batch_size": 32, "epochs": 2, "seed": [0], "pretrain": ["sgd", "asam-1.0"],
               "difficulty": ["low", "high"]}  # fmt: skip
    name, title = "gpu-short", f"{recipe.title}: one short seed of NegGrad"
    search = replace(recipe.search or Search(), values=(0.003, 0.01, 0.03))
    return replace(recipe, name=name, title=title, defaults={**recipe.defaults, **smaller}, blocks=SHORT, search=search)


def measured_rate(store: Store, card: str) -> float:
    """Return the images a second that a step of ResNet-18 under SGD takes on a card by its last record, else 0."""
    found = [one for one in store.records("benchmark")
             if (one.config.get("benchmark"), one.config.get("device")) == ("train_step", card)]  # fmt: skip
    found.sort(key=lambda one: str(one.provenance.get("finished")))
    rows = [row for one in found for row in one.result["rows"] if row["case"] == "resnet18/sgd"]
    return rows[-1]["images_per_second"] if rows else 0.0


def fitting(recipe: Recipe, store: Store, runtime: Runtime, *, card: str, seconds: float, images: int) -> Recipe:
    """Return the longest short study whose passes fit, counting the first candidates of every choice.

    Raises:
        MissingDataError: when no benchmark has measured a rate yet.
    """
    rate = measured_rate(store, card)
    if not rate:
        raise MissingDataError("no measured rate: python benchmarks/train_step.py --only resnet18/sgd")
    for size in SIZES:
        short = shortened(recipe, *size)
        needed = plan(short, store, runtime, Finished(readers(store))).passes * images / rate
        print(f"{size[0]} epochs, {size[1]} subset models: about {needed / 60:.0f} minutes at {rate:.0f} images/s")
        if needed <= seconds:
            return short
    return short


def installed_only(recipe: Recipe) -> Recipe:
    """Return the recipe without the metrics whose package is not installed, saying which in a line each."""
    lists = [recipe.defaults, *recipe.blocks]
    lacking: dict[str, str] = {}
    for name in dict.fromkeys(name for one in lists for name in one.get("metrics", ())):
        try:
            load("metrics", name)
        except ModuleNotFoundError as error:
            lacking[name] = str(error.name)
            print(f"{name}: {error.name} is not installed; this metric is left out", flush=True)

    def kept(one: dict[str, Any]) -> dict[str, Any]:
        return {**one, "metrics": [m for m in one["metrics"] if m not in lacking]} if "metrics" in one else one

    return replace(recipe, defaults=kept(dict(recipe.defaults)), blocks=tuple(kept(dict(one)) for one in recipe.blocks))


def write_tar(store: Path, target: Path, *, weights: bool) -> None:
    """Write a store as one tar; without `weights`, the models and the states of unfinished stages stay behind."""
    aside = () if weights else ("models", "checkpoints")
    with tarfile.open(target, "w") as tar:
        for path in sorted(store.iterdir()):
            if path.name not in aside:
                tar.add(path, path.name)
    print(f"{target}: {target.stat().st_size / 2**20:.1f} MB; unpack it into an empty store", flush=True)


def follow(walk: Walk, chosen: argparse.Namespace) -> None:
    """Take the five steps, each as far as time and its own failures allow."""
    recipe = installed_only(load_recipe(ROOT / "recipes" / "gpu-tinyimagenet100-resnet18.toml"))
    tiny, card = chosen.tiny, device_name(walk.runtime.device)
    walk.benchmark("train_step", "resnet8-narrow" if tiny else "resnet18/sgd,resnet18/asam")
    folder = ROOT / "tests" / ("empirical" if tiny else "gpu")
    walk.tests(sorted(folder.glob("test_graph.py" if tiny else "test_*.py")), chosen.test_seconds)
    there = tiny or bool(data_digest(recipe.runs()[0], walk.runtime))
    if tiny:
        search = Search(values=(0.01, 0.03, 0.1))
        walk.study(replace(recipe, name="gpu-tiny", defaults=TINY, blocks=SHORT, search=search))
    elif walk.left > 0:
        study = recipe if there else replace(recipe, defaults={**recipe.defaults, **DIGITS})
        images = 50_000 if there else 1_437
        try:
            size = {"seconds": chosen.minutes * 60, "images": images}
            walk.study(fitting(study, walk.store, walk.runtime, card=card, **size))
        except MissingDataError as error:
            walk.failed.append(f"gpu-short: {error}")
    for name in BENCHMARKS:
        walk.benchmark(name)
    if not tiny:
        walk.processes()
    if not there:
        walk.failed.append(f"{recipe.name}: its images are not here (--data-root or REPRO_DATA); left out")
    elif not tiny:
        walk.study(recipe)


def main() -> int:
    """Follow the way for `--max-seconds` and name what failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--max-seconds", type=float, default=7200.0, help="when this call ends; the next one goes on")
    parser.add_argument("--minutes", type=float, default=30.0, help="what the short study may take in all")
    parser.add_argument("--test-seconds", type=float, default=240.0, help="what all tests together may take in a call")
    parser.add_argument("--store", default="runs")
    parser.add_argument("--data-root", default="", help="folder of the Parquet files (default: REPRO_DATA)")
    parser.add_argument("--tar", default="", help="write the store as one tar to this file at the end, however it ends")
    parser.add_argument("--tar-weights", action="store_true", help="the weights too, 45 MB a ResNet-18")
    parser.add_argument("--tiny", action="store_true", help="the same way on a CPU, in minutes")
    chosen = parser.parse_args()
    if not all(0 < value < 1e8 for value in (chosen.minutes, chosen.max_seconds, chosen.test_seconds)):
        parser.error("--minutes, --max-seconds and --test-seconds: must be > 0 and finite")
    Ending().listen()  # a signal ends at the next checkpoint, and nothing after it starts
    if not (chosen.tiny or torch.cuda.is_available()):
        raise MissingDataError(f"{why_no_device()}; `--tiny` walks the same way on a CPU")
    for row in packages():
        if row["state"] != "ok":
            print(f"{row['check']}: {row['found']}; {row['remedy']}", flush=True)
        if row["check"] == "filelock" and row["state"] != "ok":
            raise MissingDataError("no store without it: put its wheel into a folder and name that, WHEELS=FOLDER")
    store = Store(Path(chosen.store).absolute())
    device = "cpu" if chosen.tiny else "cuda"
    runtime = Runtime(device=device, data_root=chosen.data_root, engine="graph", study="gpu-short")
    walk = Walk(store, runtime, time.time() + chosen.max_seconds)
    store.ensure_writable()
    try:
        follow(walk, chosen)
    finally:
        if chosen.tar:
            write_tar(store.root, Path(chosen.tar), weights=chosen.tar_weights)
    if walk.left <= 0:
        print("the time is up; the same command goes on")
    if walk.failed:
        raise ReproError("; ".join(walk.failed))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
