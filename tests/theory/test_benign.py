"""The smallest benign alpha: found where it is, with the forget error there, and said to be absent where it is."""

from typing import Any

import numpy as np
import pytest

from theory.benign import RULES, benign_alpha, thresholds
from theory.config import TheoryConfig
from theory.engine import simulate
from theory.predict import predict

CELLS = [TheoryConfig(), TheoryConfig(unlearn="sam"), TheoryConfig(unlearn="retain_sam"), TheoryConfig(pretrain="sam")]
STEPS = (0.3, 0.8111, 2.0, -1.0)  # the alpha at which each of these cells turns benign


def stepped(cells: Any) -> Any:
    """Test error 0.2 below a cell's step and 0.05 from there on; forget error 1 - alpha, of two seeds."""
    found = []
    for cell, step in zip(cells, STEPS, strict=True):
        error = 0.2 if cell.alpha < step else 0.05
        found.append((np.full(2, error), 1 - cell.alpha + np.array([-0.1, 0.1])))
    return found


def test_bisection_finds_each_step_to_the_tolerance_with_the_errors_there():
    ends: list[Any] = thresholds(CELLS, stepped)
    first, second, none, all_of_them = ends
    for found, step in ((first, 0.3), (second, 0.8111)):
        assert step <= found["alpha"] <= step + 0.005
        assert found["test_error"] == 0.05
        assert found["forget_error"] == pytest.approx(1 - found["alpha"], abs=1e-3)
        assert found["forget_error_se"] == pytest.approx(0.1)
    assert none["alpha"] is None
    assert none["test_error"] == 0.2
    assert none["forget_error"] == pytest.approx(0.0, abs=1e-12)  # at alpha = 1
    assert all_of_them["alpha"] == 0.0
    assert all_of_them["forget_error"] == pytest.approx(1.0)


def test_where_alpha_1_is_harmful_the_errors_are_those_there_though_a_smaller_alpha_is_benign():
    """Bisection of the other cells goes on meanwhile, and looks at this one's middle too."""

    def island(cells: Any) -> Any:
        return [(np.full(2, error), np.full(2, cell.alpha)) for cell, error in zip(cells, errors(cells), strict=True)]

    def errors(cells: Any) -> list[float]:
        here, other = cells
        return [0.05 if 0.4 < here.alpha < 0.9 else 0.2, 0.2 if other.alpha < 0.3 else 0.05]

    none, found = thresholds(CELLS[:2], island)
    assert (none["alpha"], none["test_error"], none["forget_error"]) == (None, 0.2, 1.0)
    assert found["alpha"] == pytest.approx(0.3, abs=0.005)


def test_a_diverged_seed_makes_an_alpha_harmful():
    broken = lambda cells: [(np.array([0.0, np.nan if cell.alpha < 0.5 else 0.0]), np.zeros(2)) for cell in cells]  # noqa: E731
    assert thresholds(CELLS[:1], broken)[0]["alpha"] == pytest.approx(0.5, abs=0.005)


def test_a_record_holds_both_thresholds_and_is_made_once(store):
    small = TheoryConfig(signal_strength=2.0, d=400, n=20, n_forget=4, m=4, pretrain_epochs=30, epochs=60, seeds=3,
                         directions=64)  # fmt: skip
    record = benign_alpha(small, store)
    rows = {(row["pretrain"], row["rule"]): row for row in record.result["rows"]}
    assert set(rows) == {(before, rule) for before in ("sgd", "sam") for rule in RULES.values()}
    row = rows["sgd", "SGD"]
    assert 0 < row["simulated"] < 1
    ends = {name: simulate(small.changed(alpha=alpha, checkpoint_every=10**6)).final("test_error").mean()
            for name, alpha in (("there", row["simulated"]), ("below", row["simulated"] - 0.006))}  # fmt: skip
    assert ends["there"] <= 0.1 < ends["below"]
    there = small.changed(alpha=row["simulated"], checkpoint_every=10**6)
    assert row["simulated_forget_error"] == pytest.approx(simulate(there).final("forget_error").mean(), rel=1e-3)
    foreseen = predict(small.changed(alpha=row["predicted"])).metrics
    for name in ("test_error", "forget_error"):
        assert row[f"predicted_{name}"] == pytest.approx(foreseen[name][-1], rel=1e-3)
    assert row["predicted"] == pytest.approx(row["simulated"], abs=0.1)
    assert benign_alpha(small, store).run_id == record.run_id
    assert benign_alpha(small.changed(alpha=0.3, unlearn="sam"), store).run_id == record.run_id


def test_pretraining_that_stops_at_a_loss_stops_there(store):
    """With the loss looked at only at the last epoch both would be the alpha of a network trained to the end."""
    small = TheoryConfig(signal_strength=2.0, d=400, n=20, n_forget=4, m=4, pretrain_epochs=60, epochs=40, seeds=3,
                         directions=64)  # fmt: skip
    stops = small.changed(pretrain_stop_loss=0.5)
    whole, stopped = ({(row["pretrain"], row["rule"]): row for row in benign_alpha(cell, store).result["rows"]}
                      for cell in (small, stops))  # fmt: skip
    for how in ("predicted", "simulated"):
        assert whole["sgd", "SGD"][how] != stopped["sgd", "SGD"][how]
    there = simulate(stops.changed(alpha=stopped["sgd", "SGD"]["simulated"])).final("test_error").mean()
    assert there == pytest.approx(stopped["sgd", "SGD"]["simulated_test_error"], rel=1e-3)


def test_where_nothing_is_predicted_the_simulated_alpha_stands_alone(store):
    small = TheoryConfig(noise="plain", d=200, n=10, n_forget=2, m=2, batch_size=5, pretrain_epochs=5, epochs=5,
                         seeds=2, directions=64)  # fmt: skip
    row = benign_alpha(small, store).result["rows"][0]
    assert "predicted" not in row
    assert "simulated" in row
