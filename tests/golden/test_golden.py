"""Four whole runs against committed numbers: what no unit test sees, wired wrongly, moves these."""

import json
import platform
from pathlib import Path
from typing import Any

import pytest

from tests.golden.cells import CELLS, FILE, golden_numbers

ROOT = Path(__file__).parents[2]
FROZEN = json.loads(FILE.read_text())
GOLDEN = FROZEN["cells"]
# Another torch, or a processor that is no x86-64, sums in another order: there three of the four cells, not each, must
# come near.
NEAR = 0.05


@pytest.fixture(scope="module")
def numbers() -> dict[str, Any]:
    return golden_numbers()


@pytest.mark.slow
@pytest.mark.xdist_group("golden")
@pytest.mark.parametrize("cell", CELLS)
def test_a_golden_cell_gives_its_committed_numbers(cell: str, numbers: dict[str, Any]) -> None:
    if numbers["torch"] != FROZEN["torch"] or platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip(f"frozen under torch {FROZEN['torch']} on x86-64; the test of nearness runs here")
    assert numbers["cells"][cell] == GOLDEN[cell]  # the checksums of its weights among them


@pytest.mark.slow
@pytest.mark.xdist_group("golden")
def test_the_golden_cells_come_near_under_any_torch(numbers: dict[str, Any]) -> None:
    near = [numbers["cells"][cell]["tow"] == pytest.approx(GOLDEN[cell]["tow"], abs=NEAR) for cell in CELLS]
    assert sum(near) >= 3


@pytest.mark.parametrize("cell", CELLS)
def test_the_golden_numbers_themselves_tell_unlearning_from_doing_nothing(cell: str) -> None:
    found = GOLDEN[cell]
    assert found["original_forget_accuracy"] > found["retrained_forget_accuracy"] + 0.2
    assert found["tow"] > found["original_tow"] + 2 * NEAR
    assert found["tow"] > 0.8
