"""Pooled effects: against other derivations of the same numbers, and their intervals against a known truth."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks.intervals import LAYOUTS, balanced, coverage, draw_effects, every_effect, inverse_variance, ours
from repro.base.errors import ConfigError
from repro.statistics.effects import (
    NO_UNLEARNING,
    NOT_CHOSEN,
    Settings,
    combine_seeds,
    forest,
    paired_effects,
    pool,
    unpaired,
    voting,
    with_votes,
)


def run(rule: str, seed: int, tow: float, **more: Any) -> dict[str, Any]:
    shared = {"setting": "neggrad", "forget_set": "high", "original": f"original {seed}", "reference": f"other {seed}"}
    return shared | {"rule": rule, "seed": seed, "tow": tow, "untouched": 0.5} | more


def effect(setting: str, block: str, value: float, contrast: str = "sam", forget_set: str = "high") -> dict[str, Any]:
    return {"setting": setting, "forget_set": forget_set, "contrast": contrast, "block": block, "value": value}


def table_of(values: np.ndarray, *, contrast: str = "sam", forget_set: str = "high") -> pd.DataFrame:
    """Return effects `(settings, seeds)`, all settings of one original, as rows."""
    rows = [
        effect(f"setting {k}", f"seed {s}", value, contrast, forget_set) for (k, s), value in np.ndenumerate(values)
    ]
    return pd.DataFrame(rows)


def t_interval(values: np.ndarray) -> tuple[float, float]:
    found = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    return float(found.low), float(found.high)


class TestPairs:
    def test_only_runs_of_one_original_and_one_reference_are_compared(self) -> None:
        runs = [run("sgd", 0, 0.8), run("sam", 0, 0.9), run("sam", 1, 0.9), run("sgd", 1, 0.7, original="another")]
        runs += [run("sgd", 2, 0.7), run("sam", 2, 0.9, reference="another")]
        found = paired_effects(pd.DataFrame(runs), "tow")
        assert list(found["seed"]) == [0]
        assert found["value"][0] == pytest.approx(0.1)
        assert (found["gain"][0], found["base_gain"][0]) == (pytest.approx(0.4), pytest.approx(0.3))

    def test_rows_together_cost_what_runs_and_shared_models_cost(self) -> None:
        cost = {"seconds": 10.0, "shared_seconds": 100.0}
        runs = [run(rule, 0, 0.8, **cost) for rule in ("sgd", "sam", "asam")]
        runs += [run(rule, 0, 0.8, setting="salun", **cost) for rule in ("sgd", "sam")]
        assert paired_effects(pd.DataFrame(runs), "tow")["seconds"].sum() == pytest.approx(5 * 10 + 100)

    def test_two_base_runs_of_one_seed_are_refused(self) -> None:
        runs = pd.DataFrame([run("sgd", 0, 0.8), run("sgd", 0, 0.7), run("sam", 0, 0.9)])
        with pytest.raises(ConfigError, match="one run with rule = sgd per seed"):
            paired_effects(runs, "tow")

    def test_a_missing_column_is_named(self) -> None:
        with pytest.raises(ConfigError, match="'reference'"):
            paired_effects(pd.DataFrame([run("sgd", 0, 0.8)]).drop(columns="reference"), "tow")


class TestVotes:
    def test_a_cell_in_which_neither_run_beats_doing_nothing_has_no_vote(self) -> None:
        def votes(sgd: float, sam: float) -> list[str]:
            runs = [run(rule, seed, tow) for seed in range(3) for rule, tow in (("sgd", sgd), ("sam", sam))]
            effects = paired_effects(pd.DataFrame(runs), "tow")
            assert set(with_votes(effects.assign(floor=np.nan))["no_vote"]) == {""}  # nobody knows a floor
            return sorted(set(with_votes(effects.assign(floor=0.02))["no_vote"]))

        assert votes(0.51, 0.515) == [NO_UNLEARNING]
        assert votes(0.51, 0.6) == votes(0.6, 0.51) == [""]

    def test_a_strength_that_nobody_chose_has_no_vote(self) -> None:
        runs = [run(rule, 0, 0.9, setting=name) for rule in ("sgd", "sam") for name in ("neggrad", "scrub")]
        found = with_votes(paired_effects(pd.DataFrame(runs), "tow").assign(floor=0.02), unchosen=["scrub"])
        assert list(voting(found)["setting"]) == ["neggrad"]
        assert set(found["no_vote"]) == {"", NOT_CHOSEN}


class TestSeeds:
    def test_rules_that_share_an_sgd_run_count_once_a_seed(self) -> None:
        rng = np.random.default_rng(0)
        sgd, sam, asam = rng.standard_normal((3, 6))
        effects = pd.concat([table_of((sam - sgd)[None]), table_of((asam - sgd)[None], contrast="asam")])
        found = pool(combine_seeds(effects))
        assert found.interval() == pytest.approx(t_interval((sam + asam) / 2 - sgd))

    def test_a_rule_of_more_seeds_has_the_covariance_of_those_that_both_have(self) -> None:
        sam, asam = np.array([0.1, 0.2, 0.4]), np.array([0.3, 0.1, 0.5, 0.2, 0.7])
        effects = pd.concat([table_of(sam[None]), table_of(asam[None], contrast="asam")])
        found = combine_seeds(effects)
        assert found.values == pytest.approx([(sam.mean() + asam.mean()) / 2])
        both = np.cov(sam, asam[:3])[0, 1] * 3 / (3 * 5)
        assert found.covariance[0, 0] == pytest.approx((sam.var(ddof=1) / 3 + asam.var(ddof=1) / 5 + 2 * both) / 4)
        assert (found.seeds[0], found.freedom[0]) == (3, 2)

    def test_cells_of_two_seeds_are_left_out(self) -> None:
        three = table_of(np.array([[0.1, 0.2, 0.3]]))
        two = pd.DataFrame([effect("of two seeds", "seed 0", 9.0), effect("of two seeds", "seed 1", 9.0)])
        assert combine_seeds(pd.concat([three, two])).names == ("setting 0",)
        assert combine_seeds(two).names == ()
        with pytest.raises(ConfigError, match="at least 1"):
            pool(combine_seeds(two))

    def test_an_average_over_forget_sets_takes_settings_that_have_all(self) -> None:
        high, low = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.9]]), np.array([[0.0, 0.1, 0.5]])
        effects = pd.concat([table_of(high), table_of(low, forget_set="low")])
        found = combine_seeds(effects)
        assert found.names == ("setting 0",)
        assert pool(found).interval() == pytest.approx(t_interval((high[0] + low[0]) / 2))

    def test_unlearning_seeds_of_one_original_are_one_training_seed(self) -> None:
        rows = [effect("neggrad", f"original {s}", value + shift) for s, value in enumerate((0.1, 0.2, 0.6))
                for shift in (-0.01, 0.01)]  # fmt: skip
        assert pool(combine_seeds(pd.DataFrame(rows))).interval() == pytest.approx(
            t_interval(np.array([0.1, 0.2, 0.6]))
        )


class TestPool:
    def test_settings_and_seeds_are_the_mean_squares_of_a_crossed_table(self) -> None:
        values = draw_effects(np.random.default_rng(3), [0] * 5, 4, tau=0.01, share=0.6)
        count, seeds = values.shape
        rows, columns, mean = values.mean(axis=1), values.mean(axis=0), values.mean()
        rest = values - rows[:, None] - columns + mean
        of_settings = seeds * ((rows - mean) ** 2).sum() / (count - 1)
        of_seeds = count * ((columns - mean) ** 2).sum() / (seeds - 1)
        left = (rest**2).sum() / ((count - 1) * (seeds - 1))
        assert of_seeds > left  # else the common part is 0 and nothing is tested
        one, two = of_settings / values.size, (of_seeds - left) / values.size
        freedom = (one + two) ** 2 / (one**2 / (count - 1) + two**2 / (seeds - 1))
        half = stats.t.ppf(0.975, freedom) * np.sqrt(one + two)
        found = pool(combine_seeds(table_of(values)))
        assert found.interval() == pytest.approx((mean - half, mean + half))
        assert found.tau2 == pytest.approx(max(0.0, (of_settings - left) / seeds))
        assert found.i2 == pytest.approx(max(0.0, 1 - left / of_settings))

    def test_settings_without_a_shared_original_have_the_interval_of_their_means(self) -> None:
        values = draw_effects(np.random.default_rng(4), range(5), 3, tau=0.02, share=0.0)
        rows = table_of(values)
        found = pool(combine_seeds(rows.assign(block=rows["setting"] + rows["block"])))
        assert found.interval() == pytest.approx(t_interval(values.mean(axis=1)))
        means = values.mean(axis=1)
        half = stats.t.ppf(0.975, 4) * means.std(ddof=1) * np.sqrt(1 + 1 / 5)
        assert found.prediction() == pytest.approx((means.mean() - half, means.mean() + half))

    def test_one_setting_knows_nothing_of_others(self) -> None:
        found = pool(combine_seeds(table_of(np.array([[0.1, 0.3, 0.2]]))))
        assert np.isnan([found.tau2, found.i2, *found.prediction()]).all()

    def test_the_fast_way_of_the_simulation_is_the_same(self) -> None:
        originals = LAYOUTS[4]
        values = draw_effects(np.random.default_rng(5), originals, 3, tau=0.01, share=0.5)
        rows = [effect(str(k), f"{originals[k]} {s}", value) for (k, s), value in np.ndenumerate(values)]
        one, other = combine_seeds(pd.DataFrame(rows)), balanced(values, originals)
        assert one.names == other.names
        for name in ("values", "covariance", "freedom", "seeds"):
            assert getattr(one, name) == pytest.approx(getattr(other, name))

    def test_a_forest_has_a_row_a_setting_and_the_pooled_effect_last(self) -> None:
        found = pool(combine_seeds(table_of(np.array([[0.1, 0.2, 0.3], [-0.4, -0.41, -0.39]]))))
        rows = forest(found)
        assert list(rows["pooled"]) == [False, False, True]
        assert tuple(rows[["low", "high"]].iloc[0]) == pytest.approx(t_interval(np.array([0.1, 0.2, 0.3])))
        for prefix, ends in (
            ("", found.interval()),
            ("inner_", found.interval(0.9)),
            ("predicted_", found.prediction()),
        ):
            assert tuple(rows[[f"{prefix}low", f"{prefix}high"]].iloc[-1]) == pytest.approx(ends)
        assert tuple(rows[["i2", "above", "below"]].iloc[-1]) == pytest.approx((found.i2, 0.0, 0.5))


class TestUnpaired:
    def test_it_is_the_interval_of_welch(self) -> None:
        rng = np.random.default_rng(6)
        first, second = rng.normal(0.9, 0.01, 3), rng.normal(0.8, 0.05, 5)
        found = pool(unpaired(combine_seeds(table_of(first[None])), combine_seeds(table_of(second[None]))))
        other: Any = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
        assert found.interval() == pytest.approx((other.low, other.high))

    def test_settings_of_one_side_are_left_out(self) -> None:
        one = combine_seeds(table_of(np.arange(6.0).reshape(2, 3)))
        other = combine_seeds(table_of(np.array([[1.0, 5.0, 3.0]])))
        assert unpaired(one, other).names == unpaired(other, one).names == ("setting 0",)


class TestCoverage:
    """The intervals against a known truth; `benchmarks/intervals.py` has the whole grid."""

    @pytest.mark.parametrize(
        ("count", "share", "tau"), [(3, 0.3, 0.014), (4, 0.3, 0.007), (6, 0.3, 0.0), (12, 0.0, 0.014)]
    )
    def test_95_of_100_intervals_contain_the_truth(self, count: int, share: float, tau: float) -> None:
        assert 0.935 <= coverage(ours, LAYOUTS[count], 3, tau=tau, share=share, repeats=2000) <= 0.985

    def test_simpler_intervals_do_not(self) -> None:
        drawn: dict[str, Any] = {"tau": 0.007, "share": 0.3, "repeats": 1000}
        assert coverage(inverse_variance, LAYOUTS[4], 3, **drawn) < 0.92
        assert coverage(every_effect, LAYOUTS[4], 3, **drawn) < 0.88

    def test_two_rules_and_one_sgd_run_do_not_count_twice(self) -> None:
        """Runs are drawn, not effects: SAM and ASAM of a seed are held against one SGD run."""
        rng = np.random.default_rng(7)
        sgd, sam, asam = rng.normal(0, [[[0.01]], [[0.005]], [[0.005]]], (3, 1000, 3))  # 1,000 settings of three seeds
        effects = [table_of(rule - sgd, contrast=name) for name, rule in (("sam", sam), ("asam", asam))]
        low, high = pool(combine_seeds(pd.concat(effects))).setting_intervals()
        assert 0.93 <= ((low <= 0) & (high >= 0)).mean() <= 0.97
        naive = stats.ttest_1samp(np.hstack([sam - sgd, asam - sgd]), 0.0, axis=1).confidence_interval(0.95)
        assert ((naive.low <= 0) & (naive.high >= 0)).mean() < 0.9


def test_settings_of_no_seconds_cost_nobody_knows_what() -> None:
    assert np.isnan(combine_seeds(table_of(np.array([[0.1, 0.2, 0.3]]))).seconds).all()


def test_seconds_of_a_setting_are_those_of_its_cells_together() -> None:
    both = pd.concat([table_of(np.zeros((1, 3))).assign(seconds=10.0),
                      table_of(np.zeros((1, 3)), contrast="asam").assign(seconds=20.0)])  # fmt: skip
    found: Settings = combine_seeds(both)
    assert found.seconds == pytest.approx([30.0])
