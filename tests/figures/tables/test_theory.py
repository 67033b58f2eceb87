"""Records of the theory: which cells and claims are shown, and their tables."""

from typing import Any

import numpy as np

from figures.tables.records import Records
from figures.tables.theory import (
    claim_records,
    middle_strength,
    theory_runs,
    trajectory_summary,
    trajectory_table,
)
from repro.records.record import Record
from repro.records.store import Store
from repro.statistics.seeds import summarize
from tests.figures.conftest import save_theory


def test_trajectories_keep_every_seed_and_epoch(golden: Store) -> None:
    record = golden.records("theory")[0]
    table = trajectory_table(record, ["kappa_retain", "never_recorded"])
    assert set(table["metric"]) == {"kappa_retain"}
    wide = table.pivot(index="seed", columns="epoch", values="value").to_numpy()
    np.testing.assert_allclose(wide, record.arrays()["trajectory_kappa_retain"], rtol=1e-12)


def test_summaries_of_trajectories_are_those_of_their_rows_with_the_prediction_beside(store: Store) -> None:
    record = save_theory(store, "sgd", "sam", 0.5, predicted=0.02)
    found = trajectory_summary(record, ["kappa_retain", "test_error", "never_recorded"])
    plain = summarize(trajectory_table(record, ["kappa_retain", "test_error"]), ["metric", "epoch"])
    for name in ("metric", "epoch", "seeds"):
        assert found[name].tolist() == plain[name].tolist()
    for name in ("mean", "sd", "low", "high"):
        np.testing.assert_allclose(found[name], plain[name].astype(float), rtol=1e-12, err_msg=name)
    predicted = record.arrays()["predicted_test_error"]
    assert found[found["metric"] == "test_error"]["predicted"].tolist() == predicted.tolist()
    assert found[found["metric"] == "kappa_retain"]["predicted"].isna().all()  # as in records made before


def test_a_figure_shows_the_cells_of_one_setting_and_the_strength_nearest_to_a_half(golden: Store) -> None:
    cells = theory_runs(Records(golden.records()))
    assert len(cells) == 12
    assert {cell.config["signal_strength"] for cell in middle_strength(cells)} == {0.5}
    assert {cell.config["unlearn"] for cell in cells} == {"sgd", "sam"}


def claim(name: str, seeds: int, first: int = 0) -> Any:
    config = {"claim": name, "seeds": seeds, "first_seed": first}
    result = {"claim": name, "seeds": seeds, "parts": []}
    return Record(f"{name}{seeds}{first}", "theory_claim", "ok", config, result, {})


def test_of_several_records_of_a_claim_the_one_with_most_seeds_counts() -> None:
    records = Records([claim("b", 2), claim("b", 20), claim("b", 20, first=100), claim("a", 5)])
    found = claim_records(records)
    assert {name: record.run_id for name, record in found.items()} == {"a": "a50", "b": "b200"}
    assert list(claim_records(records, ["b", "never run"])) == ["b"]
