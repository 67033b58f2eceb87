"""Shared by the tests of a real device: kernels that give the same bits every time."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture
def same_bits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Kernels that give the same bits each time, and the model as it is written: compiled code rounds differently."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    monkeypatch.setattr("empirical.models.network.can_generate_code", lambda: False)
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)
