"""The law in the committed CIFAR-10 study, from today's tables; its intervals are worked out again by numpy alone.

NegGrad by SAM or ASAM gains about .05 ToW on the hardest forget set in every setting; on the easiest, rules differ by
less than .01.
"""

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from scipy import stats

from figures.answers.networks import SAM, main_runs
from figures.answers.runs import rule_effects
from figures.tables.records import Studies
from repro.statistics.answers import NO_DIFFERENCE, ONLY_WHERE, OPEN, YES, answer
from repro.statistics.effects import NO_UNLEARNING, NOT_CHOSEN, combine_seeds, pool, voting


@pytest.fixture(scope="module")
def runs(committed: Studies) -> Any:
    return main_runs(committed)


@pytest.fixture(scope="module")
def effects(runs: Any) -> Any:
    return rule_effects(runs, "tow", SAM)


def test_every_pair_stands_on_one_original_and_one_reference(runs: Any, effects: Any) -> None:
    assert len(effects) == runs["rule"].isin(SAM).sum()
    assert runs.groupby(["pretrain", "seed"])["original"].nunique().max() == 2  # two machines; pairs stay within one
    assert effects.groupby(["setting", "forget_set", "seed"])["block"].nunique().max() == 1


def test_neggrad_gains_five_hundredths_on_the_hardest_set_in_every_setting(runs: Any, effects: Any) -> None:
    """The setting's interval by numpy: means over SAM and ASAM, whose errors have a covariance for they share SGD."""
    rows = effects[effects["setting"].str.startswith("NegGrad")]
    found = combine_seeds(rows[rows["forget_set"] == "high"])
    assert found.names == ("NegGrad after ASAM 1.0", "NegGrad after SGD")
    for place, pretrain in enumerate(("asam-1.0", "sgd")):
        mine = runs[(runs["method"] == "neggrad") & (runs["pretrain"] == pretrain) & (runs["forget_set"] == "high")]
        tow = {(row.rule, row.seed): row.tow for row in mine.itertuples()}
        sam, asam = ([tow[rule, seed] - tow["sgd", seed] for seed in range(5) if (rule, seed) in tow] for rule in SAM)
        shared = np.cov(sam, asam[:3])[0, 1] / len(asam)
        variance = (np.var(sam, ddof=1) / len(sam) + np.var(asam, ddof=1) / len(asam) + 2 * shared) / 4
        mean, half = (np.mean(sam) + np.mean(asam)) / 2, stats.t.ppf(0.975, len(sam) - 1) * np.sqrt(variance)
        low, high = pool(found).setting_intervals()[:, place]
        assert (low, high) == pytest.approx((mean - half, mean + half))
        assert low > 0
        assert mean == pytest.approx(0.05, abs=0.01)


def test_nothing_is_gained_on_the_easiest_set(effects: Any) -> None:
    """The pooled interval by numpy: settings' means, and the covariance of the two that share an original."""
    rows = voting(effects)
    rows = rows[rows["forget_set"] == "low"]
    values: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows.itertuples():
        values[row.setting][row.contrast][row.block] = row.value
    means = np.array([np.mean([np.mean([*cell.values()]) for cell in cells.values()]) for cells in values.values()])
    shared = [(one, other) for one in values for other in values if one < other
              and {*values[one]["asam-1.0"]} & {*values[other]["asam-1.0"]}]  # fmt: skip
    assert shared == [("Random label after SGD", "SalUn after SGD")]
    pair = [[value for _, value in sorted(values[name]["asam-1.0"].items())] for name in shared[0]]
    common = max(0.0, 2 * np.cov(pair)[0, 1] / 3 / (4 * 3))
    assert common == 0.0  # then Student's t of the four means is the whole of it
    half = stats.t.ppf(0.95, 3) * means.std(ddof=1) / 2
    found = pool(combine_seeds(rows))
    assert found.interval(0.9) == pytest.approx((means.mean() - half, means.mean() + half))
    assert -0.01 < found.interval(0.9)[0] < found.interval(0.9)[1] < 0.01


def test_the_claim_on_unlearning_rules_holds_on_the_hardest_set_alone(effects: Any) -> None:
    found = answer(voting(effects), forget_sets=("low", "mid", "high"))
    assert found.words == {"low": NO_DIFFERENCE, "mid": OPEN, "high": YES}
    assert found.word == ONLY_WHERE
    assert found.average is None
    assert found.missing["mid"].seeds is None  # settings disagree there, which no further seed changes


def test_who_has_no_vote_and_what_all_runs_say_beside(effects: Any) -> None:
    silent = effects[effects["no_vote"] != ""].groupby("no_vote")["setting"].unique()
    assert {name.split()[0] for name in silent[NOT_CHOSEN]} == {"L1-sparse", "SCRUB"}
    assert NO_UNLEARNING not in silent  # by their floors every other cell beats doing nothing
    assert answer(effects).words == {"low": NO_DIFFERENCE, "mid": OPEN, "high": OPEN}
