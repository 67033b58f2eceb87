"""Attacks at equal forgetting: whose value is taken, what it is compared with, and which cells are run."""

import numpy as np
import pytest

from tests.theory.claims.synthetic import made, seeded
from theory.claims.attacks import AUC, COMPARED, EPOCHS, PRETRAINS, STRENGTHS, analyse, attacks_section, grid
from theory.config import ClaimConfig
from theory.measures.attacks import MOST_EPOCHS

SEEDS = 4
CONFIG = ClaimConfig(claim="x", seeds=SEEDS)
LEVELS = {"SGD": 0.4, "SAM 0.1": 0.6, "SAM 1": 0.7, "ASAM 0.1": 0.4, "MinMax 0.1": 0.3}


def runs_with(metric: str, missed: str = "", seeds_missed: int = 0) -> dict:
    """Return runs with 0.5 at the start, 0.9 before unlearning, the rule's level at its end, and 0.55 retrained."""
    noise = 0.001 * np.arange(SEEDS)[:, None]
    found = {}
    for name, cell in seeded(grid({}), SEEDS).items():
        lost = np.arange(SEEDS) < seeds_missed * (name[2] == missed)
        run = made(cell, epochs=(0, 5), stopped_at=np.where(lost, -1, 5), retrained=0.55, forget_error=[[0.0, 0.25]])
        curve = np.concatenate([0.9 + noise, LEVELS[name[2]] + noise + 9.0 * lost[:, None]], axis=1)
        run.metrics.update({metric: curve, f"{metric}_quadrature": np.full((SEEDS, 2), 0.002)})
        run.pretrain[metric] = np.concatenate([0.5 + noise, 0.9 + noise], axis=1)
        run.retrained[metric] = np.full(SEEDS, 0.55)
        found[name] = run
    return found


def row_of(rows: list[dict], before: str, s: float, name: str) -> dict:
    return next(row for row in rows if (row["pretrain"], row["signal_strength"]) == (before, s)
                and name in (row["stage"], row["rule"]))  # fmt: skip


@pytest.mark.parametrize("metric", [AUC, EPOCHS])
def test_stages_and_rules_stand_beside_the_retrained_model_and_sgd(metric):
    finding = analyse(metric, runs_with(metric), CONFIG)
    assert len(finding.rows) == len(PRETRAINS) * len(STRENGTHS) * (3 + len(COMPARED))
    expected = {"start": 0.5, "pretrained": 0.9, "retrained": 0.55} | LEVELS
    for name, level in expected.items():
        row = row_of(finding.rows, "sam", 1.0, name)
        shift = 0.0 if name == "retrained" else 0.0015
        assert row["value"] == pytest.approx(level + shift, abs=1e-4)
        assert row["minus_retrained"] == pytest.approx(level + shift - 0.55, abs=1e-4)
        assert row["stage"] == (name if name not in COMPARED else "unlearned")
    sam = row_of(finding.rows, "sgd", 0.5, "SAM 0.1")
    assert (sam["minus_sgd"], sam["minus_sgd_low"]) == (pytest.approx(0.2), pytest.approx(0.2))  # paired: no scatter
    assert finding.estimate.value == pytest.approx(0.2)
    assert row_of(finding.rows, "sgd", 0.5, "SGD")["minus_sgd"] is None
    assert (sam["forget_error"], sam["reached"]) == (0.25, 1.0)
    assert sam.get("quadrature") == (pytest.approx(0.001) if metric == AUC else None)  # 0.002 over four seeds
    assert (finding.answer, finding.regime) == ("", "")
    assert "0.6 [0.6, 0.6] by SAM 0.1" in finding.sentence
    assert sam.get("back") == (1.0 if metric == EPOCHS else None)


@pytest.mark.parametrize("missed, value", [(1, 0.602), (3, None)])
def test_a_seed_that_forgot_less_is_left_out_and_a_rule_that_mostly_did_has_no_value(missed, value):
    finding = analyse(AUC, runs_with(AUC, "SAM 0.1", missed), CONFIG)
    row = row_of(finding.rows, "sgd", 0.5, "SAM 0.1")
    assert row["value"] == (None if value is None else pytest.approx(value, abs=1e-4))
    assert row["reached"] == 1 - missed / SEEDS
    assert ("not measured by SAM 0.1" in finding.sentence) == (value is None)


def test_epochs_are_medians_which_those_that_never_relearn_hardly_move():
    runs = runs_with(EPOCHS)
    for before in PRETRAINS:
        runs[before, 0.5, "SAM 0.1"].metrics[EPOCHS][:, -1] = [1.0, 2.0, 3.0, MOST_EPOCHS]
    row = row_of(analyse(EPOCHS, runs, CONFIG).rows, "sgd", 0.5, "SAM 0.1")
    assert (row["value"], row["back"]) == (2.5, 0.75)
    assert row["minus_retrained"] == pytest.approx(2.5 - 0.55)
    assert row["minus_sgd"] == pytest.approx(2.5 - 0.4015, abs=1e-3)


def test_the_section_has_a_line_a_network_with_both_attacks_after_both_pretrainings():
    runs = runs_with(EPOCHS)
    for run in runs.values():
        run.metrics[EPOCHS][:, -1] = [1.0, 2.0, 3.0, MOST_EPOCHS]
    for metric_runs in (runs, aucs := runs_with(AUC)):
        metric_runs["sam", 0.5, "SAM 1"].stopped_at[1:] = -1
    results = [{"rows": analyse(metric, found, CONFIG).rows, "seeds": SEEDS}
               for metric, found in ((AUC, aucs), (EPOCHS, runs))]  # fmt: skip
    lines = [line.strip("| ").split(" | ") for line in attacks_section(*results).splitlines() if line.startswith("| ")]
    table = {cells[0]: cells[1:] for cells in lines}
    assert len(table) == 1 + 3 + len(COMPARED)
    assert table["unlearned by SAM 0.1"][0] == table["unlearned by SAM 0.1"][3] == "0.6 [0.6, 0.6]"
    assert table["unlearned by SAM 0.1"][2] == "0.25"
    assert table["unlearned by SAM 0.1"][1].startswith("2.5 [")
    assert table["unlearned by SAM 0.1"][1].endswith("] (75%)")
    assert table["unlearned by SAM 1"][3:] == ["–"] * 3
    assert table["retrained on R"] == ["0.55 [0.55, 0.55]", "0.55 [0.55, 0.55]", "0.55"] * 2
