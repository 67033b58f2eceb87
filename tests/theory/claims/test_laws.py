"""The page of laws is what the published records of the claims say."""

from pathlib import Path

import pytest

from figures.tables.records import Records
from figures.tables.theory import claim_records
from repro.commands.theory import laws
from repro.records.pack import readers
from repro.records.record import read_records
from theory.bounds import OVERLAP, S_0, crossover_strength
from theory.claims.laws import LAWS, page

PAGE = Path(__file__).parents[3] / "docs" / "laws.md"


def test_the_page_is_generated_from_the_published_records(store, tmp_path):
    laws(output=tmp_path / "laws.md", store=store.root)
    assert (tmp_path / "laws.md").read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8")


def test_every_law_has_a_published_claim_and_stands_with_its_answer_and_hypothesis(store):
    found = Records(read_records(readers(store), "theory_claim", "theory_measurement"))
    records = claim_records(found) | claim_records(found, kind="theory_measurement")
    results = {name: record.result for name, record in records.items()}
    text = page(results)
    for law in LAWS:
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {law.title} |")]
        cells = line.strip("| ").split(" | ")
        assert cells[1] == ("–" if law.own else results[law.claim]["answer"])
        assert cells[5] == (law.own or results[law.claim]["hypothesis"])
    assert page({}).count("\n| ") < text.count("\n| ")


@pytest.mark.parametrize("m", [1, 10, 40])
def test_start_noise_moves_the_boundary_only_where_it_exceeds_learned_noise(m):
    """Without it s* is that of learned noise; far beyond, s* grows as the root of the ratio."""
    assert crossover_strength(0.0, m) == S_0
    far = 1e4
    assert crossover_strength(4 * far, m) / crossover_strength(far, m) == pytest.approx(2.0, rel=1e-3)
    assert crossover_strength(far, m) == pytest.approx(S_0 * far**0.5 / (1 + (m - 1) * OVERLAP) ** 0.25, rel=1e-3)
