"""Less work: tests of claims ask where an interval lies, not for its third digit, and few ask for a prediction."""

import math

import pytest

from theory import stats
from theory.claims import boundary, comparison


@pytest.fixture(autouse=True)
def _few_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "REPEATS", 60)


@pytest.fixture(autouse=True)
def _no_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "ends", lambda settings: {})
    monkeypatch.setattr(boundary, "boundary", lambda cell: math.nan)
