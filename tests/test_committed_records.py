"""The committed records: intact, of today's schema, and small. That none is renamed, tests/golden says."""

import json
from pathlib import Path

import pytest

from repro.records.identity import SCHEMA
from repro.records.published import PublishedStudy

PACKS = sorted((Path(__file__).parents[1] / "results").glob("*.parquet"))


@pytest.mark.parametrize("path", PACKS, ids=lambda path: path.stem)
def test_a_committed_pack_is_intact_and_of_this_schema_and_small(path: Path) -> None:
    pack = PublishedStudy(path)
    assert pack.verify() == []
    assert {head.schema for head in pack.heads()} == {SCHEMA}
    sizes = [len(json.dumps(record.result)) for record in pack.records()]
    assert 0 < max(sizes) < 200_000  # tug-of-war: 216 settings of the theory
