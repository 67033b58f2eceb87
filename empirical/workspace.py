"""What the cells of one process share: the store, the device, and the data sets already loaded."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from empirical.config import RunConfig, Runtime
from empirical.data import ImageSet, load_dataset
from repro.errors import MissingDataError
from repro.provenance import collect
from repro.store import Store

T = TypeVar("T")
KEPT = 12


@dataclass
class Workspace:
    """Shared state of consecutive runs.

    Attributes:
        store: where runs and trained stages are kept.
        runtime: device, data folder and engine.
    """

    store: Store
    runtime: Runtime = field(default_factory=Runtime)
    _kept: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def device(self) -> torch.device:
        """The device runs compute on.

        Raises:
            MissingDataError: when `cuda` is asked for and there is none.
        """
        wanted = self.runtime.device
        if wanted == "cuda" and not torch.cuda.is_available():
            raise MissingDataError("device = 'cuda': torch finds no GPU; use --device cpu")
        return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")

    @property
    def device_name(self) -> str:
        """The device as a person would call it."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"

    def provenance(self, **extra: Any) -> dict[str, Any]:
        """Return the provenance of something that ends now."""
        return collect(study=self.runtime.study, device=self.device_name, **extra)

    def dataset(self, config: RunConfig) -> ImageSet:
        """Return the (CPU) data set of a config, loaded once."""
        key = ("data", config.dataset, config.dataset_options, config.n_train)
        return self.remember(key, lambda: load_dataset(config, self.runtime))

    def train_images(self, config: RunConfig) -> torch.Tensor:
        """Return the training images of a config on the device, `(n, c, h, w)`."""
        images = self.dataset(config)
        return self.remember(("train images", images.digest), lambda: images.train_images.to(self.device))

    def remember(self, key: Any, make: Callable[[], T]) -> T:
        """Return the value of a key, made at most once while it is among the last few used."""
        value = self._kept.pop(key) if key in self._kept else make()
        self._kept[key] = value
        while len(self._kept) > KEPT:
            self._kept.pop(next(iter(self._kept)))
        return value


def use_one_thread() -> None:
    """Give each process one thread, so that sums are taken in one order whatever the machine; processes scale out."""
    torch.set_num_threads(1)
