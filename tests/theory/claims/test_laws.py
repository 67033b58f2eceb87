"""The page of laws is what the published records of the claims say."""

from pathlib import Path

import pytest

from repro.commands.theory import laws
from theory.claims.bounds import OVERLAP, S_0, crossover_strength

PAGE = Path(__file__).parents[3] / "docs" / "laws.md"


def test_the_page_is_generated_from_the_published_records(store, tmp_path):
    laws(output=tmp_path / "laws.md", store=store.root)
    assert (tmp_path / "laws.md").read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("m", [1, 10, 40])
def test_start_noise_moves_the_boundary_only_where_it_exceeds_learned_noise(m):
    """Without it s* is that of learned noise; far beyond, s* grows as the root of the ratio."""
    assert crossover_strength(0.0, m) == S_0
    far = 1e4
    assert crossover_strength(4 * far, m) / crossover_strength(far, m) == pytest.approx(2.0, rel=1e-3)
    assert crossover_strength(far, m) == pytest.approx(S_0 * far**0.5 / (1 + (m - 1) * OVERLAP) ** 0.25, rel=1e-3)
