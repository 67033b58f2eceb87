"""Shared by the network tests: one thread, small runs, and resources whose trained stages are reused."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from empirical.runs.resources import Resources
from empirical.settings.run_config import RunConfig, Runtime
from repro.records.store import Store

Small = Callable[..., RunConfig]  # the fixture `small`
SMALL = RunConfig(
    dataset="signal-noise", dataset_options="side=8, n=48, n_test=40, signal_strength=2.0", forget_fraction=0.25,
    pretrain_epochs=2, epochs=1, batch_size=16, pretrain_batch_size=16, augment="none", pretrain_lr=0.05, subsets=4,
)  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def resources(store: Store) -> Resources:
    return Resources(store, Runtime(device="cpu"))


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Resources:
    """Resources for tests that only read results: equal stages are trained once in the whole session."""
    return Resources(Store(Path(tmp_path_factory.mktemp("shared"))), Runtime(device="cpu"))


def small_resnet(**changes: Any) -> RunConfig:
    """Return a run on 48 tiny two-class images, with settings changed."""
    return replace(SMALL, **changes)


@pytest.fixture
def small() -> Small:
    """Return a run of a two-layer network, for files that do not look at networks: it takes a third of the time."""
    return lambda **changes: small_resnet(**{"model": "patch-cnn", **changes})
