"""No change of the code moves the id of a committed record, or of a stage behind it."""

import pandas as pd
import pytest

from empirical.settings.run_config import RunConfig
from repro.base.settings import build
from tests.golden import ids
from tests.golden.ids import FILE, RUNS, STAGES, committed_records

FROZEN = pd.read_parquet(FILE)
KINDS = sorted(set(FROZEN["kind"]))


def test_the_frozen_records_are_the_committed_ones() -> None:
    committed = {(row["kind"], row["run_id"]) for row in ids.frozen_rows(committed_records().values())}
    frozen = set(zip(FROZEN["kind"], FROZEN["run_id"], strict=True))
    assert frozen - committed == set(), "no longer there"
    assert committed - frozen == set(), "not frozen yet: python -m tests.golden.freeze ids"


@pytest.mark.parametrize("kind", KINDS)
def test_a_frozen_text_hashes_to_its_id(kind: str) -> None:
    rows = FROZEN[FROZEN["kind"] == kind]
    wrong = [own for own, text in zip(rows["run_id"], rows["identity"], strict=True) if ids.hashed(kind, text) != own]
    assert wrong == []


@pytest.mark.parametrize("kind", sorted({*KINDS} - {"theory_sweep", "theory_quadrature"}))  # built by name, see below
def test_todays_code_gives_a_committed_config_its_id(kind: str) -> None:
    records = [record for record in committed_records().values() if record.kind == kind]
    assert records
    assert [record.run_id for record in records if ids.id_of(kind, record.config) != record.run_id] == []


@pytest.mark.parametrize("kind", ids.ASKS)
def test_todays_code_finds_every_committed_record_of_a_kind_by_itself(kind: str) -> None:
    frozen = set(FROZEN[FROZEN["kind"] == kind]["run_id"])
    assert frozen - ids.ids_asked_for(kind) == set()


@pytest.mark.parametrize("kind", RUNS)
def test_todays_code_gives_the_stages_of_a_committed_run_their_ids(kind: str) -> None:
    frozen = FROZEN[FROZEN["kind"] == kind].set_index("run_id")
    wrong = []
    for own, row in frozen.iterrows():
        found = ids.stage_ids(build(RunConfig, committed_records()[str(own)].config))
        wrong += [f"{own} {stage}: {row[stage]}, now {found[stage]}" for stage in STAGES if found[stage] != row[stage]]
    assert wrong == []
