"""Claims on networks: which runs are compared, what has a vote, and that the sentence says what the numbers say."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from figures.answers import wishes
from figures.answers.answers import CLAIMS, Answered, assess, portable_models, tally, tow_steps, twice_trained
from figures.answers.found import NOT_RUN, Found, Template, found
from figures.answers.networks import (
    best_cutoff,
    collapse_alpha,
    finer_rates,
    sam_pretrains_better,
    sam_unlearns_better,
    sgd_collapses_first,
    sgd_forgets_more_with_lower_tow,
)
from figures.answers.page import limits_text
from figures.answers.rates import equal_gradients, gains_by_choosing_seed, rates_chosen_again
from figures.answers.runs import rule_effects, run_table
from figures.tables.records import Given, Records, Studies
from repro.records.lists import RunList
from repro.records.record import Record
from repro.records.store import Store
from repro.statistics.answers import NO_DIFFERENCE, ONLY_WHERE, OPEN, OPPOSITE, YES, answer
from tests.figures.conftest import attack_arrays, save_network, studies_in
from tests.repro.test_answers import effects

Run = Callable[..., Record]
Of = Callable[[Sequence[Record]], Records]
SECONDS = {"seconds_unlearn": 10.0, "seconds_retrain": 60.0}
WIGGLE = (0.0, 0.001, -0.001)  # what a seed adds


def accuracies(model: str, seed: int, shift: float = 0.0) -> dict[str, float]:
    """Return accuracies that tell the models of two seeds, or of two machines, apart."""
    return {f"{model}{name}_accuracy": 0.9 + 0.01 * seed + shift for name in ("retain", "forget", "test")}


@pytest.fixture
def study(run: Run) -> Callable[..., list[Record]]:
    def made(gains: dict[str, float], *, machine: float = 0.0, **settings: Any) -> list[Record]:
        """Return NegGrad by SGD and ASAM in three seeds of each forget set, ASAM ahead by a gain."""
        found = []
        for (name, gain), seed, ahead in itertools.product(gains.items(), range(3), (0, 1)):
            number = {"tow": 0.8 + WIGGLE[seed] * (1 + ahead) + ahead * gain, "original_tow": 0.4} | SECONDS
            number |= accuracies("original_", seed, machine) | accuracies("retrained_", seed, machine)
            where = {"rule": ("sgd", "asam-1.0")[ahead], "difficulty": name, "seed": seed, "pretrain": "sgd"} | settings
            found.append(run(**where, number=number | accuracies("", seed)))
        return found

    return made


def test_each_forget_set_is_judged_and_said_by_itself(study: Callable[..., list[Record]], records_of: Of) -> None:
    said = sam_unlearns_better(Given(records_of(study({"high": 0.05, "mid": -0.04, "low": 0.0}))))
    assert said.word == ONLY_WHERE
    assert {one.part: one.word for one in said.effects} == {
        "hardest images": YES, "middle images": OPPOSITE, "easiest images": NO_DIFFERENCE
    }  # fmt: skip
    high, mid, low = said.sentences
    texts = {
        high: ("hardest", "better than SGD, by 0.050 "),
        mid: ("middle", "worse than SGD, by 0.040 "),
        low: ("easiest", "below 0.01"),
    }
    assert all(part in text for text, parts in texts.items() for part in parts)


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str, list[Record]], Studies]:
    """Return a function that adds a study of some runs to a store and returns what the store holds."""
    store = Store(tmp_path)

    def added(name: str, found: list[Record]) -> Studies:
        runs = [store.save("unlearn", one.config, result=one.result) for one in found]
        store.lists.put(name, RunList(tuple(one.run_id for one in runs)))
        return studies_in(store)

    return added


def test_random_forget_sets_are_a_part_where_they_were_run_and_named_where_not(
    study: Callable[..., list[Record]], put: Callable[[str, list[Record]], Studies]
) -> None:
    def lacking(studies: Studies) -> list[str]:
        return [line for line in sam_unlearns_better(studies).beyond if "Random" in line]

    graded = put("cifar10", study({"high": 0.05}))
    assert [one.part for one in sam_unlearns_better(graded).effects] == ["hardest images"]
    assert len(lacking(graded)) == 2
    half = put("cifar10-random", study({"random": -0.04}))
    assert {one.part: one.word for one in sam_unlearns_better(half).effects} == {
        "hardest images": YES, "random images": OPPOSITE
    }  # fmt: skip
    (line,) = lacking(half)
    assert "after ASAM pretraining" in line
    assert "cifar10-random-asam" in line
    whole = put("cifar10-random-asam", study({"random": -0.04}, pretrain="asam-1.0"))
    assert [one.settings for one in sam_unlearns_better(whole).effects] == [1, 2]
    assert not lacking(whole)


def test_the_best_cutoff_stands_beside_asam_of_its_own_study(
    study: Callable[..., list[Record]], run: Run, put: Callable[[str, list[Record]], Studies]
) -> None:
    """Each study chose its own rates, and the released variant is another method."""

    def masked(preset: str, tows: dict[float, float]) -> list[Record]:
        number = accuracies("original_", 0) | accuracies("retrained_", 0) | SECONDS
        return [run(rule="minmax-asam-1.0", difficulty="high", seed=0, pretrain="sgd", preset=preset,
                    mask_fraction=cutoff, number=number | {"tow": tow}) for cutoff, tow in tows.items()]  # fmt: skip

    put("cifar10", study({"high": 0.05}))
    one = put("cifar10-mask", masked("correct", {0.05: 0.7, 0.3: 0.6}))
    assert best_cutoff(one)[1:] == [
        "The best cutoff tried, 0.05, reaches 0.700 ToW on the hardest images; ASAM reaches 0.850.",
        "No smaller cutoff was tried on them; it may do better.",
    ]
    variants = [*masked("correct", {0.01: 0.72, 0.025: 0.75}), *masked("official-release", {0.01: 0.8})]
    both = put("cifar10-variants-high", [*study({"high": 0.01}, preset="correct"), *variants])
    assert best_cutoff(both)[1:] == [
        "The best cutoff tried, 0.025, reaches 0.750 ToW on the hardest images; ASAM reaches 0.810."
    ]
    said = wishes.cutoffs(both)
    assert "cutoff: 0.05 gives 0.700 and 0.3 gives 0.600. In another study" in said
    assert "0.01 gives 0.720 and 0.025 gives 0.750." in said


def test_pretraining_is_judged_on_random_sets_only_after_both_rules(
    study: Callable[..., list[Record]], records_of: Of
) -> None:
    graded, random, after = (study({name: 0.0}, pretrain=rule) for name, rule in
                             (("high", "sgd"), ("random", "sgd"), ("high", "asam-1.0")))  # fmt: skip
    half = sam_pretrains_better(Given(records_of([*graded, *random, *after])))
    assert [one.part for one in half.effects] == ["hardest images"]
    assert not {one.run_id for one in random} & set(half.runs)
    whole = sam_pretrains_better(
        Given(records_of([*graded, *random, *after, *study({"random": 0.0}, pretrain="asam-1.0")]))
    )
    assert [one.part for one in whole.effects] == ["hardest images", "random images"]


def test_rates_are_chosen_on_one_seed_and_read_on_the_others(run: Run, records_of: Of) -> None:
    """Seed 0 prefers the small rate for SGD, the others the large one; ASAM is .1 ahead of SGD's large rate."""
    tow = {("sgd", 0.01): (0.9, 0.6, 0.6), ("sgd", 0.02): (0.8, 0.7, 0.7),
           ("asam-1.0", 0.02): (0.9, 0.8, 0.8), ("asam-1.0", 0.04): (0.5, 0.5, 0.5)}  # fmt: skip
    found = [run(rule=rule, lr=lr, seed=seed, difficulty="high", number={"tow": values[seed], "original_tow": 0.4}
                 | accuracies("original_", seed) | accuracies("retrained_", seed) | accuracies("", seed))
             for (rule, lr), values in tow.items() for seed in range(3)]  # fmt: skip
    table = run_table(records_of(found))
    gains = gains_by_choosing_seed(table)
    assert dict(zip(gains["seed"], gains["gain"], strict=True)) == pytest.approx({0: 0.2, 1: 0.1, 2: 0.1})
    assert dict(zip(gains["seed"], gains["own"], strict=True)) == pytest.approx({0: 0.0, 1: 0.1, 2: 0.1})
    assert gains["sgd"].tolist() == [0.01, 0.02, 0.02]
    (said,) = rates_chosen_again(table)
    own, other = "+0.067 ToW [+0.000 to +0.100 by seed]", "+0.133 ToW [+0.100 to +0.200 by choosing seed]"
    assert [part for part in ("3 seeds", "on the hardest images", own, other) if part not in said] == []
    half = run_table(records_of([one for one in found if (one.config["lr"], one.config["seed"]) != (0.01, 2)]))
    assert set(gains_by_choosing_seed(half)["seed"]) == {0, 1}, "a seed without all rates cannot choose"
    assert not rates_chosen_again(table[table["lr"] == 0.02]), "one rate is no choice"


def test_what_sam_gains_at_the_rates_of_the_study_stands_beside_what_it_gains_at_finer_ones(
    run: Run, records_of: Of
) -> None:
    """SGD is .2 worse than ASAM at the rate that the study has for it, and as good at the rate between."""
    tow = {("sgd", 0.01): 0.7, ("sgd", 0.02): 0.9, ("asam-1.0", 0.02): 0.6, ("asam-1.0", 0.04): 0.9}
    finer, main = (run_table(records_of([
        run(rule=rule, lr=lr, seed=seed, difficulty="high", number={"tow": value, "original_tow": 0.4}
            | accuracies("original_", seed) | accuracies("retrained_", seed) | accuracies("", seed))
        for (rule, lr), value in tow.items() if (rule, lr) in rates for seed in range(3)
    ])) for rates in (tow, [("sgd", 0.01), ("asam-1.0", 0.04)]))  # fmt: skip
    (said,) = rates_chosen_again(finer, main)
    (alone,) = rates_chosen_again(finer, main.assign(setting="another"))
    at_first = "+0.200 ToW [+0.200 to +0.200 by seed] at the rates behind the answer, "
    assert said.replace(at_first, "", 1) == alone != said
    assert "gain +0.000 ToW" in alone


def test_finer_rates_are_said_after_each_pretraining_and_named_where_not_run(
    study: Callable[..., list[Record]], put: Callable[[str, list[Record]], Studies]
) -> None:
    def rated(pretrain: str) -> list[Record]:
        return [run for lr in (0.01, 0.02) for run in study({"high": 0.05}, pretrain=pretrain, lr=lr)]

    assert len(finer_rates(put("cifar10", study({"high": 0.05})))) == 2
    said, missing = finer_rates(put("cifar10-rates", rated("sgd")))
    assert "NegGrad after SGD on the hardest images" in said
    assert missing == "Finer rates after ASAM pretraining have not been run: recipes/cifar10-rates-asam.toml."
    both = finer_rates(put("cifar10-rates-asam", rated("asam-1.0")))
    assert [[after in line for after in ("after SGD", "after ASAM")] for line in both] == [[False, True], [True, False]]


def test_runs_on_two_sets_of_weights_are_not_paired(study: Callable[..., list[Record]], records_of: Of) -> None:
    sgd, asam = (study({"high": 0.05}, machine=shift) for shift in (0.0, 0.001))
    mixed = [one for one in sgd if one.config["rule"] == "sgd"] + [one for one in asam if one.config["rule"] != "sgd"]
    assert sam_unlearns_better(Given(records_of(sgd))).word == YES
    assert sam_unlearns_better(Given(records_of(mixed))).word == NOT_RUN


def test_a_floor_is_of_the_retrained_models_of_one_setting(study: Callable[..., list[Record]], records_of: Of) -> None:
    one, other = study({"high": 0.05}), study({"high": 0.05}, machine=0.5, method="salun")
    alone = run_table(records_of(one))["floor"].iloc[0]
    both = run_table(records_of([*one, *other]))
    assert both[both["method"] == "neggrad"]["floor"].iloc[0] == pytest.approx(alone)
    assert alone > 0


def test_sgd_at_as_many_gradients_is_compared_on_the_same_models(
    study: Callable[..., list[Record]], records_of: Of
) -> None:
    """SGD of twice the epochs is .02 behind ASAM, that of three times the epochs is not asked for."""
    once = run_table(records_of(study({"high": 0.05}, epochs=2)))
    longer = [one for epochs, ahead in ((4, 0.03), (6, 0.3))
              for one in study({"high": 0.0}, epochs=epochs) if one.config["rule"] == "sgd"
              for _ in [one.result.update(tow=one.result["tow"] + ahead)]]  # fmt: skip
    (line,) = equal_gradients(once, run_table(records_of(longer)))
    assert [part for part in ("NegGrad after SGD", "the hardest images", "+0.020 ToW") if part not in line] == []
    apart = [one for one in study({"high": 0.0}, epochs=4, machine=0.02) if one.config["rule"] == "sgd"]
    assert equal_gradients(once, run_table(records_of(apart))) == [], "other models"
    assert equal_gradients(once, run_table(records_of([]))) == []


def test_who_keeps_a_higher_forget_accuracy_forgets_less(study: Callable[..., list[Record]], records_of: Of) -> None:
    def judged(forget: float) -> Found:
        runs = study({"high": 0.05})
        for one in runs:
            one.result["forget_accuracy"] = 0.5 + (forget + 0.1 * one.result["tow"]) * (one.config["rule"] == "sgd")
        return sgd_forgets_more_with_lower_tow(Given(records_of(runs)))

    less, more = judged(0.2), judged(-0.2)
    assert (less.word, more.word) == (OPPOSITE, YES)
    assert ["forgets less" in " ".join((one.short, *one.sentences)) for one in (less, more)] == [True, False]


def test_two_settings_that_decide_by_their_own_seeds_are_said_and_how_many_settings_each_part_has() -> None:
    one, two = effects({"high": 0.05}), effects({"mid": 0.05, "high": 0.05})
    settings = sorted(set(two["setting"]))
    both = pd.concat([one[one["setting"] == settings[0]],
                      two[(two["forget_set"] == "mid") & two["setting"].isin(settings[:2])]])  # fmt: skip
    both["value"] += np.where(both["setting"] == settings[0], 0.1, 0.0)  # far apart: pooled, two settings say nothing
    said = found(answer(both), both, Template("on {part} +{size}", "on {part} -{size}", "ToW"))
    assert said.sure.startswith("low, 1 to 2 settings")
    (line,) = (line for line in said.beyond if "both settings" in line)
    assert ("middle" in line, "hardest" in line) == (True, False)


def test_a_run_that_diverged_counts_as_0_beside_the_models_of_its_seed(
    study: Callable[..., list[Record]], run: Run, records_of: Of
) -> None:
    runs = [one for one in study({"high": 0.05}) if one.config["rule"] == "sgd"]
    lost = [run(rule="asam-1.0", difficulty="high", seed=seed, pretrain="sgd", status="diverged") for seed in range(3)]
    pairs = rule_effects(run_table(records_of([*runs, *lost])), "tow", ["asam-1.0"])
    assert sorted(pairs["value"]) == pytest.approx(sorted(-0.8 - wiggle for wiggle in WIGGLE))


def test_what_did_not_unlearn_or_has_a_strength_nobody_chose_has_no_vote(
    study: Callable[..., list[Record]], records_of: Of
) -> None:
    idle = study({"high": -0.3}, method="salun")
    for one in idle:
        one.result["original_tow"] = 0.9  # doing nothing was better
    for silent in (idle, study({"high": -0.3}, method="scrub")):
        said = sam_unlearns_better(Given(records_of([*study({"high": 0.05}), *silent])))
        assert said.word == YES
        assert any("no vote" in line for line in said.beyond)
        assert (said.forest["no_vote"] != "").sum() == 1


def test_a_pretraining_is_held_against_all_retrained_models_and_not_its_own(
    study: Callable[..., list[Record]], records_of: Of
) -> None:
    """ToW as recorded says 0.3 more after ASAM, but the accuracies are the same: there is nothing to gain."""
    after = study({"high": 0.0}, pretrain="asam-1.0")
    for one in after:
        one.result["tow"] += 0.3
    said = sam_pretrains_better(Given(records_of([*study({"high": 0.0}), *after])))
    (effect,) = said.effects
    assert effect.value == pytest.approx(0.0)
    assert said.word != YES


@pytest.mark.parametrize(
    ("tow", "alpha"),
    [((0.1, 0.4, 0.6), 0.65), ((0.6, 0.4, 0.6), 0.65), ((0.6, 0.7, 0.8), None), ((0.1, 0.2, 0.3), None)],
)
def test_the_alpha_of_collapse_lies_between_the_last_below_and_the_next(
    tow: tuple[float, ...], alpha: float | None
) -> None:
    assert collapse_alpha(np.array([0.4, 0.6, 0.7]), np.array(tow)) == pytest.approx(alpha or np.nan, nan_ok=True)


def test_a_curve_that_joins_two_sets_of_weights_has_no_vote(run: Run, records_of: Of) -> None:
    def curves(joined: bool) -> list[Record]:
        found = []
        for rule, edge in (("sgd", 0.8), ("asam-1.0", 0.7)):
            for seed in range(3):
                for alpha in (0.5, 0.6, 0.9):
                    number = {"tow": 0.5 + alpha - edge + WIGGLE[seed], "original_tow": 0.1} | accuracies("", seed)
                    number |= accuracies("original_", seed, 0.001 * joined * (alpha == 0.9))
                    found.append(run(rule=rule, seed=seed, alpha=alpha, pretrain="sgd", difficulty="high",
                                     number=number | accuracies("retrained_", seed) | SECONDS))  # fmt: skip
        return found

    said = sgd_collapses_first(Given(records_of(curves(joined=False))))
    assert [(one.part, one.word) for one in said.effects] == [("SGD before ASAM", YES)]
    assert said.effects[0].value == pytest.approx(0.1)
    assert sgd_collapses_first(Given(records_of(curves(joined=True)))).word == NOT_RUN


def test_what_is_open_is_told_with_what_would_decide_it() -> None:
    rows = effects({"high": 0.01})
    rows["value"] += np.repeat([0.02, -0.02, 0.01, 0.0], 3)
    say = Template("on {part} +{size}", "on {part} -{size}", "ToW")
    said = found(answer(rows), rows, say)
    assert (said.word, said.sure.partition(",")[0]) == (OPEN, "not known")
    rows["seconds"] = 3600.0
    said = found(answer(rows), rows, say)
    (line,) = (line for line in said.beyond if "an answer needs" in line)
    assert line.endswith("core-hours.")  # in the sentence beside it and where the answer says how sure it is
    assert said.sure.removeprefix("not known, hardest needs ") == line.removesuffix(".").partition(" needs ")[2]


def test_sets_that_are_open_alone_and_decide_together_are_said_together() -> None:
    rows = effects({"high": 0.0, "low": 0.0})
    for name, order in (("high", (0.01, 0.03, 0.05, 0.2)), ("low", (0.2, 0.05, 0.03, 0.01))):
        rows.loc[rows["forget_set"] == name, "value"] += np.repeat(order, 3)
    said = found(answer(rows), rows, Template("on {part} it gains {size}", "on {part} it loses {size}", "ToW"))
    assert said.word == YES
    assert said.sentences[0].startswith("On all of them together it gains 0.07")
    assert said.sure.startswith("moderate, 4 settings")


def test_of_two_settings_the_brackets_span_both_only_where_each_decides() -> None:
    rows = effects({"high": 0.1})
    rows = rows[rows["setting"].isin(["0", "1"])].reset_index(drop=True)
    for shift, margin, both in ((0.0, 0.01, True), (-0.1, 0.01, True), (-0.1, None, False)):
        say = Template("on {part} +{size}", "on {part} -{size}", "ToW", margin=margin)
        moved = rows.assign(value=rows["value"] + shift)
        told = found(answer(moved, margin=margin), moved, say)
        *settings, pooled = told.forest[["low", "high"]].to_numpy(float)
        expected = (np.min(settings), np.max(settings)) if both else tuple(pooled)
        assert (told.effects[0].low, told.effects[0].high) == pytest.approx(expected)


def test_models_trained_twice_are_counted_and_said(study: Callable[..., list[Record]], records_of: Of) -> None:
    once, twice = study({"high": 0.05}), study({"high": 0.05}, machine=0.001, method="salun")
    for one in (*once, *twice):
        one.result["parents"] = {"pretrain": f"p{one.config['seed']}", "retrain": f"r{one.config['seed']}"}
    assert twice_trained(Given(records_of(once))) == ""
    assert twice_trained(Given(records_of([*once, *twice]))).startswith("6 of 6 ")


def test_the_page_names_studies_on_portable_models_and_the_regime_of_the_main_study(
    study: Callable[..., list[Record]], put: Callable[[str, list[Record]], Studies]
) -> None:
    plain = put("cifar10", study({"high": 0.05}, alpha=0.8, epochs=2))
    assert portable_models(plain) == ""
    assert "alpha 0.8 for 2 epochs" in limits_text(plain)
    said = portable_models(put("cifar10-random", study({"random": 0.05}, portable=True)))
    assert [name for name in ("`cifar10-random`", "`cifar10-rates`") if name in said] == ["`cifar10-random`"]


def test_grades_are_compared_from_the_same_original(study: Callable[..., list[Record]], records_of: Of) -> None:
    """After SGD the hardest images stand on an original of another machine: only ASAM tells that step."""

    def graded(pretrain: str, tows: dict[str, float], machine: float = 0.0) -> list[Record]:
        found = [one for name in tows for one in study({name: 0.0}, machine=machine * (name == "high"),
                                                       pretrain=pretrain)]  # fmt: skip
        for one in found:
            one.result["tow"] = tows[one.config["difficulty"]] + WIGGLE[one.config["seed"]]
        return found

    after_sgd, after_asam = {"low": 0.9, "mid": 0.8, "high": 0.2}, {"low": 0.9, "mid": 0.8, "high": 0.7}
    together = wishes.grades(Given(records_of(graded("sgd", after_sgd) + graded("asam-1.0", after_asam))))
    assert "originals" not in together
    assert "hardest images ToW falls by 0.350" in together
    apart = wishes.grades(Given(records_of(graded("sgd", after_sgd, 0.001) + graded("asam-1.0", after_asam))))
    assert "hardest images ToW falls by 0.100" in apart
    assert apart.endswith(
        "NegGrad after SGD has no part in the step from the middle to the hardest images: the two have different "
        "originals."
    )


def test_maps_without_features_of_sharp_minmax_say_so(empty: Store) -> None:
    def answered(*rules: str) -> str:
        for rule in rules:
            save_network(empty, 0.9, rule=rule, seed=0, difficulty="high", metrics=["features"], method="neggrad",
                         pretrain="sgd", arrays=attack_arrays(0, 0.1))  # fmt: skip
        return wishes.maps(Given(Records(empty.records())))

    assert "Sharp MinMax" in answered("sgd", "asam-1.0")
    assert answered("minmax-asam-1.0") == wishes.DONE


def test_the_time_of_a_rule_is_a_multiple_of_sgds(study: Callable[..., list[Record]], records_of: Of) -> None:
    runs = study({"high": 0.05})
    for one in runs:
        one.result["seconds_unlearn"] *= 1 + (one.config["rule"] != "sgd") * (1 + one.config["seed"])
    runs[-1].result["seconds_unlearn"] *= 100  # a process that waited for an hour moves no median
    assert "ASAM 3.0." in wishes.cost(Given(records_of(runs)))


def test_without_records_every_claim_and_wish_says_so(records_of: Of) -> None:
    nothing = Given(records_of([]))
    assert {one.found.word for one in assess(nothing)} == {NOT_RUN}
    assert {wish.answer(nothing) for wish in wishes.WISHES.values()} == {NOT_RUN}
    assert tally(assess(nothing)) == f"{len(CLAIMS)} not run"
    assert tow_steps(nothing) == {}


def test_a_store_with_some_of_the_numbers_is_answered_as_far_as_it_goes(golden: Store) -> None:
    studies = studies_in(golden)
    words = {one.claim.name: one.found.word for one in assess(studies)}
    assert words["1a"] != NOT_RUN
    assert NOT_RUN in words.values()
    assert all(wish.answer(studies) for wish in wishes.WISHES.values())


def test_the_committed_entanglement_disagrees_by_measure(committed: Studies, assessed: list[Answered]) -> None:
    """E_Wp is lower in every seed; E_Var within classes is higher in every seed after SGD."""
    said = {one.claim.name: one.found for one in assessed}["5b"]
    rows = run_table(committed.of("cifar10"))
    signs = {name: set(np.sign(rule_effects(rows[rows["pretrain"] == "sgd"], name, ["sam-0.1", "asam-1.0"])["value"]))
             for name in ("entanglement_wp", "entanglement_var_class_scaled")}  # fmt: skip
    assert signs == {"entanglement_wp": {-1.0}, "entanglement_var_class_scaled": {1.0}}
    assert said.word == ONLY_WHERE
    assert any("E_Var within classes" in line for line in said.beyond)
