"""What the runs of one process share: the store, the device, and the data sets already loaded."""

import logging
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from empirical.data.images import ImageSet, load_dataset
from empirical.data.source import data_digest
from empirical.models.network import can_generate_code
from empirical.portable import check_portable
from empirical.settings.run_config import RunConfig, Runtime
from empirical.training.together import ALONE, Processes
from repro.base.errors import MissingDataError
from repro.base.settings import reject
from repro.records.provenance import collect
from repro.records.store import Store

LOG = logging.getLogger("repro.fallback")  # without a handler of the user's own, a line on standard error
NVIDIA = Path("/proc/driver/nvidia/version")
T = TypeVar("T")
CACHED = 24


@dataclass
class Resources:
    """Shared state of consecutive runs.

    Attributes:
        store: where runs and trained stages are stored.
        runtime: device, data folder and engine.
        deadline: when stages end at a checkpoint, in seconds since the epoch; None is never.
        patient: whether to wait for a run or stage that another process computes; otherwise it raises `Held`, so
            that a grid goes on with another run.
        group: the processes that train every stage of a run together; the first of them writes.
        since: when this work began, in seconds since the epoch; what failed before it may be tried again.
    """

    store: Store
    runtime: Runtime = field(default_factory=Runtime)
    deadline: float | None = None
    patient: bool = True
    group: Processes = ALONE
    since: float = field(default_factory=time.time)
    _cache: dict[Any, Any] = field(default_factory=dict, repr=False)
    _said: set[str] = field(default_factory=set, repr=False)

    @property
    def device(self) -> torch.device:
        """The device runs compute on.

        Raises:
            MissingDataError: when a GPU is asked for and there is none of that number, or none at all.
        """
        wanted, gpus = self.runtime.device, torch.cuda.device_count() if torch.cuda.is_available() else 0
        required = self.runtime.require_gpu or wanted.startswith("cuda")
        if required and wanted != "cpu" and not gpus:
            raise MissingDataError(f"device = {wanted!r}: torch finds no GPU; use --device cpu, or `repro doctor`")
        if wanted.startswith("cuda:") and int(wanted[5:]) >= gpus:
            raise MissingDataError(f"device = {wanted!r}: torch finds {gpus} GPUs, the last is cuda:{gpus - 1}")
        if wanted == "auto":
            if not gpus and NVIDIA.exists():
                self._fall_back("device = 'auto': the CPU, for torch cannot use the GPU: see `repro doctor`")
            return torch.device("cuda" if gpus else "cpu")
        return torch.device(wanted)

    def take_device(self, *, portable: bool = False) -> None:
        """Set the threads and the GPU of this process, before anything trains.

        Raises:
            ConfigError: when portable numbers are asked for and this process cannot give them.
        """
        use_threads(self.runtime.threads)
        if portable:
            check_portable(device=self.device.type, threads=torch.get_num_threads())
        if self.device.index is not None:
            torch.cuda.set_device(self.device)

    @property
    def device_name(self) -> str:
        """The name of the GPU, or `cpu`."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"

    def engine(self, images: torch.Tensor) -> str:
        """Return how a stage on these images takes its steps.

        `graph` falls back to `compiled` where processes train together, and to `eager` elsewhere; a line says so, once.

        Raises:
            MissingDataError: when it would fall back and a GPU is required.
        """
        together, on_gpu = self.group.size > 1, self.device.type == "cuda"
        fits = images.is_cuda or (on_gpu and getattr(images, "ahead", False))
        if self.runtime.engine != "graph" or (fits and not together):
            return self.runtime.engine
        why = "processes exchange gradients" if together else "images are read one by one, not ahead"
        why = why if on_gpu else "there is no GPU"
        if self.runtime.require_gpu:
            raise MissingDataError(f"engine = 'graph': {why}; use --engine eager, or leave --require-gpu out")
        how = "compiled" if fits else "eager"
        self._fall_back(f"engine = 'graph': {why}; steps run from Python{', compiled' if fits else ''}")
        return how

    def _fall_back(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            LOG.warning(line)

    def provenance(self, **extra: Any) -> dict[str, Any]:
        """Return the provenance of a run or stage that ends now."""
        together = {"processes": self.group.size} if self.group.size > 1 else {}
        facts = {"device": self.device_name, "threads": torch.get_num_threads(), **together}
        engine = "compiled" if together and self.runtime.engine == "graph" else self.runtime.engine
        return collect(study=self.runtime.study, **facts, **arithmetic(engine, self.device), **extra)

    def lease(self, name: str) -> AbstractContextManager[None]:
        """Return the lease on a run or stage; the first process of a group holds it for all.

        Raises:
            Held: on entering, if another process holds it and this one does not wait.
            Stopped: if it waited until the deadline.
        """
        return self.store.lease(name, wait=self.patient, deadline=self.deadline) if self.group.first else nullcontext()

    def alone(self) -> "Resources":
        """Return the same resources for work of a single process."""
        return replace(self, group=ALONE)

    def identified(self, config: RunConfig) -> RunConfig:
        """Return the config with the digest of its data and the id of its imported model, which identify the run.

        Raises:
            MissingDataError: when the data set is not there, or no imported model of that name.
            ConfigError: when the config asks for other files than those that are there.
        """

        def digest() -> str:
            if found := data_digest(config, self.runtime):
                return found
            self.images(config)  # raises, naming what is missing and how to bring it, or downloads it
            return data_digest(config, self.runtime)

        found = self.remember(("digest", config.dataset, config.dataset_options), digest)
        if config.data not in ("", found):
            raise reject("data", config.data, f"{found}, the digest of {config.dataset} here", "or left empty")
        original = self.store.stages.imported(config.original)
        if config.original and not original:
            remedy = "no model of that name or id; `repro models import` keeps one"
            raise MissingDataError(f"original = {config.original!r}: {remedy}")
        return replace(config, data=found, original=original)

    def images(self, config: RunConfig) -> ImageSet:
        """Return the (CPU) data set of a config, loaded once."""
        key = ("data", config.dataset, config.dataset_options, config.n_train, config.n_test)
        return self.remember(key, lambda: load_dataset(config, self.runtime))

    def train_images(self, config: RunConfig) -> torch.Tensor:
        """Return the images a config trains on, on the device, `(n, c, h, w)`: corrupted once, if it says so."""
        images = self.images(config)
        key = ("train images", config.dataset, config.dataset_options, config.n_train, config.corruption)
        key = (*key, config.fidelity.glass_blur)
        if config.corruption == "none":
            return self.remember(key, lambda: images.train_images.to(self.device))
        from empirical.augmentation.corruptions import corrupted_images

        return self.remember(key, lambda: corrupted_images(config, images).to(self.device))

    def remember(self, key: Any, make: Callable[[], T]) -> T:
        """Return the value of a key; it is made once while it is among the last 24 keys used."""
        value = self._cache.pop(key) if key in self._cache else make()
        self._cache[key] = value
        while len(self._cache) > CACHED:
            self._cache.pop(next(iter(self._cache)))
        return value


def arithmetic(engine: str, device: torch.device) -> dict[str, Any]:
    """Return what the last digits depend on besides versions: engine, compiler, TF32 and cuDNN's settings."""
    engine = engine if device.type == "cuda" else "eager"
    cudnn = torch.backends.cudnn
    flags = {"matmul_tf32": torch.backends.cuda.matmul.allow_tf32, "cudnn_tf32": cudnn.allow_tf32,
             "cudnn_benchmark": cudnn.benchmark, "cudnn_deterministic": cudnn.deterministic,
             "cudnn": cudnn.version()}  # fmt: skip
    compiled = engine != "eager" and can_generate_code()
    return {"engine": engine, "compile": compiled} | (flags if device.type == "cuda" else {})


def use_threads(count: int) -> None:
    """Give this process `count` threads, 0 for one a core.

    One is the default, because sums then have the same order on every machine, and several processes use all cores.
    """
    torch.set_num_threads(count or os.cpu_count() or 1)
