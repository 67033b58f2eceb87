"""The five answers, each from effects that leave no doubt about it, and what an open one lacks."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks.intervals import TRUTHS, answers
from repro.statistics.answers import (
    ANSWERS,
    NO_DIFFERENCE,
    ONLY_WHERE,
    OPEN,
    OPPOSITE,
    YES,
    answer,
    bracket,
    judge,
    missing,
)
from repro.statistics.effects import Pooled, combine_seeds, pool

TIGHT = np.array([-0.001, 0.0, 0.001])  # errors of three seeds
SHIFTS = np.array([-0.002, 0.0, 0.001, 0.001])  # of settings


def effects(sets: Mapping[str, float]) -> Any:
    """Return four settings of three seeds a forget set, each with originals of its own; a seed of one takes an hour."""
    return pd.DataFrame(
        {"setting": str(k), "forget_set": name, "contrast": "sam", "block": f"{name} {k} {s}",
         "value": mean + shift + error, "seconds": 3600.0}
        for name, mean in sets.items() for k, shift in enumerate(SHIFTS) for s, error in enumerate(TIGHT)
    )  # fmt: skip


def one(mean: float) -> Pooled:
    return pool(combine_seeds(effects({"high": mean})))


@pytest.mark.parametrize(
    ("sets", "word"),
    [
        ({"high": 0.05, "mid": 0.04, "low": 0.03}, YES),
        ({"high": 0.05, "mid": 0.0, "low": 0.0}, ONLY_WHERE),
        ({"high": 0.05, "mid": 0.0, "low": -0.05}, ONLY_WHERE),
        ({"high": 0.0, "mid": 0.001, "low": 0.0}, NO_DIFFERENCE),
        ({"high": -0.05, "mid": -0.04, "low": -0.03}, OPPOSITE),
        ({"high": -0.05, "mid": 0.0, "low": 0.0}, OPPOSITE),
    ],
)
def test_an_answer_follows_from_what_each_forget_set_says(sets: dict[str, float], word: str) -> None:
    assert answer(effects(sets)).word == word


def test_two_settings_decide_where_each_does_by_itself() -> None:
    """Pooled they are open: two values do not tell how far settings differ."""
    rows = effects({"high": 0.1})
    rows = rows[rows["setting"].isin(["0", "1"])].reset_index(drop=True)
    rows.loc[rows["setting"] == "1", "value"] += 0.2
    pooled = pool(combine_seeds(rows))
    assert pooled.interval()[0] < 0
    assert (judge(pooled), judge(pooled, sign=-1)) == (YES, OPPOSITE)
    rows.loc[rows["setting"] == "1", "value"] -= 0.4
    assert judge(pool(combine_seeds(rows))) == OPEN  # they say the opposite of each other


def test_the_bracket_of_two_settings_without_a_difference_spans_theirs() -> None:
    rows = effects({"high": 0.0})
    rows = rows[rows["setting"].isin(["0", "1"])]
    pooled = pool(combine_seeds(rows))
    low, high = pooled.setting_intervals()
    assert (low < 0).all()
    assert (high > 0).all()
    assert judge(pooled) == NO_DIFFERENCE
    assert bracket(pooled) == pytest.approx((low.min(), high.max()))
    assert bracket(pooled, margin=None) == pytest.approx(pooled.interval()), "nothing is decided: they are pooled"


def test_measures_that_are_not_alike_are_not_averaged() -> None:
    assert answer(effects({"basin": 0.05, "hessian": 0.03}), alike=False).average is None


def test_a_set_that_is_open_keeps_a_claim_from_being_a_plain_yes() -> None:
    rows = effects({"high": 0.05, "low": 0.0})
    rows.loc[rows["forget_set"] == "low", "value"] += np.repeat([0.1, -0.1, 0.2, -0.2], 3)
    found = answer(rows)
    assert (found.word, found.words) == (ONLY_WHERE, {"high": YES, "low": OPEN})
    assert list(found.missing) == ["low"]


def test_sets_that_agree_are_averaged_and_others_are_not() -> None:
    agreed = answer(effects({"high": 0.05, "low": 0.03}))
    assert agreed.average is not None
    assert agreed.average.value == pytest.approx(0.04)
    assert answer(effects({"high": 0.05, "low": 0.0})).average is None


def test_the_average_decides_where_every_set_alone_is_open() -> None:
    means = np.array([0.01, 0.03, 0.05, 0.2])  # each set alone: an interval that reaches below 0
    rows = effects({"high": 0.0, "low": 0.0})
    for name, order in (("high", means), ("low", means[::-1])):
        rows.loc[rows["forget_set"] == name, "value"] += np.repeat(order, 3)
    found = answer(rows)
    assert set(found.words.values()) == {OPEN}
    assert found.word == YES
    rows.loc[rows["forget_set"] == "low", "value"] *= -1  # they do not lean the same way
    assert (answer(rows).word, answer(rows).average) == (OPEN, None)


def test_no_difference_needs_a_margin_and_an_interval_within_it() -> None:
    assert judge(one(0.0)) == NO_DIFFERENCE
    assert judge(one(0.0), margin=None) == judge(one(0.0), margin=0.001) == OPEN
    # An effect that is clear of 0 and yet smaller than the margin is none that matters.
    assert judge(one(0.006)) == NO_DIFFERENCE
    assert judge(one(0.006), margin=0.005) == YES


def test_the_two_one_sided_tests_are_those_of_student() -> None:
    values = np.array([0.001, 0.004, 0.006, 0.003])
    rows = [
        {"setting": "a", "forget_set": "high", "contrast": "sam", "block": s, "value": v} for s, v in enumerate(values)
    ]
    found = pool(combine_seeds(pd.DataFrame(rows)))
    for margin in (0.004, 0.005, 0.006, 0.007, 0.01):
        tests: Any = (stats.ttest_1samp(values, margin, alternative="less"),
                      stats.ttest_1samp(values, -margin, alternative="greater"))  # fmt: skip
        assert (judge(found, margin=margin) == NO_DIFFERENCE) == (max(test.pvalue for test in tests) < 0.05)


def test_a_claim_that_says_smaller_has_the_other_sign() -> None:
    assert judge(one(-0.05), sign=-1) == YES
    assert judge(one(0.05), sign=-1) == OPPOSITE


def test_a_forget_set_without_three_seeds_is_named_and_not_judged() -> None:
    rows = effects({"high": 0.05, "low": 0.05})
    rows = rows[(rows["forget_set"] == "high") | ~rows["block"].str.endswith("2")]
    assert answer(rows).unjudged == ("low",)
    assert answer(rows.iloc[:0], forget_sets=["high"]).word == OPEN


class TestMissing:
    def test_one_setting_lacks_the_seeds_at_which_its_interval_leaves_0(self) -> None:
        values = np.array([-0.02, 0.03, 0.08])
        rows = [{"setting": "a", "forget_set": "high", "contrast": "sam", "block": s, "value": v, "seconds": 1800.0}
                for s, v in enumerate(values)]  # fmt: skip
        seeds = 3
        while stats.t.ppf(0.975, seeds - 1) * values.std(ddof=1) / np.sqrt(seeds) > values.mean():
            seeds += 1
        found = missing(pool(combine_seeds(pd.DataFrame(rows))))
        assert found == (seeds - 3, None, (seeds - 3) * 0.5)
        assert seeds > 4

    def test_settings_that_differ_are_not_brought_together_by_seeds(self) -> None:
        rows = effects({"high": 0.02})
        rows["value"] += np.repeat([-0.03, 0.03, -0.03, 0.03], 3)
        found = missing(pool(combine_seeds(rows)))
        assert found.seeds is None
        count = 4
        spread = rows.groupby("setting")["value"].mean().std()
        while stats.t.ppf(0.975, count - 1) * spread / np.sqrt(count) > 0.02:
            count += 1
        assert found.settings == count - 4
        assert found.core_hours == pytest.approx(3 * (count - 4))  # three seeds of an hour each


@pytest.mark.parametrize(("truth", "word"), [(TRUTHS[0], YES), (TRUTHS[1], ONLY_WHERE), (TRUTHS[3], OPPOSITE)])
def test_the_answer_to_a_clear_truth_is_found_in_nine_of_ten_studies(truth: tuple[float, ...], word: str) -> None:
    means: dict[str, float] = dict(zip(("high", "mid", "low"), truth, strict=True))
    assert answers(means, tau=0.014, seeds=3, repeats=20)[word] >= 0.9


def test_no_effect_is_found_with_ten_seeds_and_open_with_three() -> None:
    none: dict[str, float] = dict.fromkeys(("high", "mid", "low"), 0.0)
    few, many = (answers(none, tau=0.004, seeds=seeds, repeats=20) for seeds in (3, 10))
    assert max(few, key=few.__getitem__) == OPEN
    assert many[NO_DIFFERENCE] > few[NO_DIFFERENCE]
    assert set(few) == set(ANSWERS)
