"""Fewer bootstrap samples: the tests of claims ask where an interval lies, not for its third digit."""

import pytest

from theory import stats


@pytest.fixture(autouse=True)
def _few_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "REPEATS", 60)
