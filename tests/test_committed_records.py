"""The committed records: intact, of today's schema, and not renamed by settings that come later."""

from dataclasses import fields, make_dataclass
from pathlib import Path
from typing import Any

import pytest

from empirical.settings.run_config import RunConfig
from repro.base.settings import build
from repro.records.identity import SCHEMA, run_id
from repro.records.pack import PackedStore
from repro.records.record import Record
from theory.config import TheoryConfig

PACKS = sorted((Path(__file__).parents[1] / "results").glob("*.parquet"))
CONFIGS: dict[str, Any] = {"unlearn": RunConfig, "choice": RunConfig, "theory": TheoryConfig}


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return [record for path in PACKS for record in PackedStore(path).records() if record.kind in CONFIGS]


@pytest.mark.parametrize("path", PACKS, ids=lambda path: path.stem)
def test_a_committed_pack_is_intact_and_of_this_schema(path: Path) -> None:
    pack = PackedStore(path)
    assert pack.verify() == []
    assert {head.schema for head in pack.heads()} == {SCHEMA}
    assert pack.records()


def test_a_setting_added_later_changes_the_identity_of_no_committed_record(records: list[Record]) -> None:
    for cls in set(CONFIGS.values()):
        later = make_dataclass(cls.__name__, [("added", str, "off")], bases=(cls,), frozen=True)
        own = [record for record in records if CONFIGS[record.kind] is cls]
        assert own
        for record in own:
            built = build(cls, record.config)
            values = {field.name: getattr(built, field.name) for field in fields(cls)}
            assert run_id(record.kind, later(**values)) == record.run_id
            assert run_id(record.kind, later(**values, added="on")) != record.run_id
