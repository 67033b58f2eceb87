"""The learning-rate search: a setting of its own each, a grid that grows, a noise floor, and what records say."""

import json
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from empirical.runs.resources import Resources
from empirical.runs.run import run
from empirical.settings.run_config import FLOOR, SEARCH, RunConfig, Runtime
from empirical.studies import grid
from empirical.studies.executors import GridReport
from empirical.studies.finished import Finished
from empirical.studies.grid import _record_search, run_grid
from empirical.studies.plan import plan
from empirical.studies.recipe import Recipe, load_recipe
from empirical.studies.search import (
    EDGE,
    INTERIOR,
    NOTHING,
    Search,
    SearchResult,
    Value,
    argmax,
    curve_of,
    floor_of,
    next_values,
    original_tow,
    place_of,
    search_facts,
)
from repro.base.errors import ConfigError
from repro.commands.cli import app
from repro.records.identity import run_id
from repro.records.publish import write_published
from repro.records.published import PublishedStudy
from repro.records.store import Store
from tests.empirical.conftest import Small
from tests.empirical.run_parts import CPU, recipe_of, save_finished

TWO_RATES = Search(values=(0.01, 0.02), seed=5, finer=True)


def rounds_of(
    search: Search, tow: Callable[[float], float | None], *, untouched: float = 0.0, floor: float = 0.0,
    lost: float = 0.0,
) -> str:  # fmt: skip
    """Run a search against a curve that is known, and return the values in the order of its rounds, and its end.

    `untouched` is ToW of the original model, `lost` what every value costs in accuracy.
    """
    curve: dict[Value, float | None] = {}
    rounds = []
    while wanted := next_values(search, curve, untouched, floor, dict.fromkeys(curve, lost)):
        rounds.append(" ".join(f"{value:g}" for value in wanted))
        curve |= {value: tow(value) for value in wanted}
    place = place_of(search, curve, untouched, floor, dict.fromkeys(curve, lost))
    return f"{' | '.join(rounds)} -> {argmax(curve):g} {place}"


def peak(at: float) -> Callable[[float], float]:
    return lambda value: 1 / (1 + abs(value - at))


def collapse(value: float) -> float:
    """All of 1, 2 and 4 is far past the peak, where a bump of noise would win."""
    return 0.9 if value < 0.3 else 0.97 if value < 0.6 else 0.006 if value == 2 else 0.003


def bump(height: float) -> Callable[[float], float]:
    return lambda value: height if value == 2 else 0.1


TWO, THREE, FAR = Search(values=(1, 2)), Search(values=(1, 2, 4)), Search(values=(1, 2, 8))
FINE, FINE_THREE = Search(values=(1, 4, 16), finer=True), replace(THREE, finer=True)
IDLE = {"untouched": 0.9, "floor": 0.02}  # what doing nothing scores, and by how much two retrained models differ


@pytest.mark.parametrize(("search", "tow", "idle", "found"), [
    # A winner between two values ends the search; at an end the grid grows until another value wins.
    (THREE, peak(2), {}, "1 2 4 -> 2 interior"),
    (THREE, peak(17), {}, "1 2 4 | 8 | 16 | 32 -> 16 interior"),
    (FAR, peak(0.2), {}, "1 2 8 | 0.5 | 0.25 | 0.125 -> 0.25 interior"),
    # It grows by the ratio at its end or by the factor that it is told, and no further than it may.
    (FAR, peak(30), {}, "1 2 8 | 32 | 128 -> 32 interior"),
    (replace(FAR, factor=3.0), peak(30), {}, "1 2 8 | 24 | 72 -> 24 interior"),
    (replace(THREE, furthest=2), peak(100), {}, "1 2 4 | 8 | 16 -> 16 edge"),
    (replace(THREE, furthest=0), peak(0.1), {}, "1 2 4 -> 1 edge"),
    # Finer: one value more halfway on each side of the winner. Of a lowest value that is as good as doing nothing, on
    # the one side that it has.
    (FINE, peak(7), {}, "1 4 16 | 2 8 -> 8 interior"),
    (FINE, peak(63), {}, "1 4 16 | 64 | 256 | 32 128 -> 64 interior"),
    (FINE, peak(1.8), {"untouched": 0.5, "floor": 0.1}, "1 4 16 | 2 -> 2 interior"),
    (FINE, peak(1.0), {"untouched": 0.95, "floor": 0.1}, f"1 4 16 | 2 -> 1 {NOTHING}"),
    (replace(TWO, finer=True), peak(2.1), {"untouched": 0.5, "floor": 0.1}, "1 2 | 4 | 1.41 2.83 -> 2 interior"),
    # A lowest value that is no better than doing nothing ends the search.
    (TWO, peak(0.1), {"untouched": 0.5, "floor": 0.05}, f"1 2 -> 1 {NOTHING}"),
    (TWO, peak(0.1), {"untouched": 0.9, "floor": 0.05}, f"1 2 | 0.5 | 0.25 -> 0.25 {NOTHING}"),
    # But one that destroys as much as it forgets has the same ToW: it does not count as doing nothing.
    (TWO, peak(0.3), {"untouched": 0.6, "floor": 0.05, "lost": 0.1}, "1 2 | 0.5 | 0.25 | 0.125 -> 0.25 interior"),
    # A winner that is worse than doing nothing, by more than the noise, sends the search to smaller values.
    (THREE, collapse, {}, "1 2 4 -> 2 interior"),  # as far as nobody knows what doing nothing gives
    (THREE, collapse, IDLE, "1 2 4 | 0.5 | 0.25 -> 0.5 interior"),
    (THREE, bump(0.89), IDLE, "1 2 4 -> 2 interior"),
    (THREE, bump(0.5), IDLE, "1 2 4 | 0.5 | 0.25 | 0.125 | 0.0625 -> 2 edge"),
    (FINE_THREE, collapse, IDLE, "1 2 4 | 0.5 | 0.25 | 0.354 0.707 -> 0.354 interior"),
    # A run that diverged loses; epochs stay whole numbers of at least one.
    (TWO, lambda value: None if value > 0.3 else peak(0.25)(value), {}, "1 2 | 0.5 | 0.25 | 0.125 -> 0.25 interior"),
    (Search(name="epochs", values=(2, 3), finer=True), peak(0), {}, "2 3 | 1 -> 1 edge"),
])  # fmt: skip
def test_a_search_tries_values_until_its_winner_stands_between_two(
    search: Search, tow: Callable[[float], float | None], idle: dict[str, float], found: str
) -> None:
    assert rounds_of(search, tow, **idle) == found


def test_of_two_equal_values_the_lesser_wins_and_one_that_diverged_never_does() -> None:
    for curve in ({0.1: None, 0.01: 0.2}, {0.1: 0.5, 0.01: 0.5}, {0.01: 0.5, 0.1: 0.5}):
        assert argmax(curve) == 0.01


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"factor": 1e300}, r"furthest = 4: must be such that all values of the grid are finite; or make factor"),
        ({"values": (1e-300, 1.0)}, r"furthest = 4: must be such that all values"),
        ({"values": (1, 2), "furthest": 10**9}, r"furthest = 1000000000: must be in \[0, 1000\]"),
    ],
)
def test_a_grid_that_grows_beyond_all_numbers_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Search(**settings)


def test_a_sweep_takes_for_all_of_its_points_the_value_chosen_at_one(study: Recipe, store: Store) -> None:
    points = {**study.defaults, "alpha": [0.5, 0.9], "pretrain": "sgd"}
    block = {"method": "neggrad", "rule": ["sgd", "sam-0.1"]}
    sweep = replace(study, defaults=points, blocks=(block,), search=replace(TWO_RATES, at={"alpha": 0.9}))
    assert len(sweep.runs()) == 4
    assert {(one.rule, one.alpha) for one in sweep.first_trials()} == {("sgd", 0.9), ("sam-0.1", 0.9)}
    assert len(sweep.first_trials()) == 2 * 2  # two values a rule
    own = replace(sweep, defaults={**points, "alpha": 0.9}, search=study.search)
    fill(own, store, {"sgd": peak(0.04)})  # the study that was there before has made the choice
    found = sweep.resolve(Finished([store]), CPU)
    assert not found.missing
    assert {(one.alpha, one.lr) for one in found.runs} == {(0.5, 0.04), (0.9, 0.04)}


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ({"alhpa": 0.9}, r"search.at: unknown setting 'alhpa' \(did you mean 'alpha'\?\)"),
        ({"alpha": 2.0}, r"search.at: alpha = 2.0: must be in \[0, 1\]"),
        ({"lr": 0.1}, r"search.at = 'lr': must be one of "),
        ({"dataset": "digits"}, r"search.at = 'dataset': must be one of "),
        (3, r"search.at: expected a table"),
    ],
)
def test_settings_to_choose_at_are_checked(at: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Search(at=at)
    assert Search(at={"alpha": 1}).setting_of(RunConfig()) == Search(at={"alpha": 1.0}).setting_of(RunConfig())


def test_without_a_retrained_model_there_is_nothing_to_choose_by(study: Recipe, store: Store) -> None:
    alone = replace(study, defaults={**study.defaults, "retrain": "none"})
    with pytest.raises(ConfigError, match=r"retrain = 'none': must be a rule of retraining; \[search\] goes by ToW"):
        alone.first_trials()


def test_a_case_is_all_of_a_cell_but_its_seeds_and_what_it_measures(small: Small) -> None:
    search, cell = Search(), small(lr=RunConfig().lr)
    same = [
        {"seed": 1},
        {"unlearn_seed": 2},
        {"metrics": ("hessian",)},
        {"rows_measured": "report"},
        {"trajectory": True},
    ]
    other = [
        {"pretrain": "sam-0.1"}, {"rule": "sam-0.1"}, {"method": "scrub"}, {"difficulty": "class"}, {"alpha": 0.5},
        {"method_options": "beta=0.1"}, {"model": "resnet8"}, {"dataset": "digits"}, {"forget_seed": 1},
    ]  # fmt: skip
    setting = search.setting_of(cell)
    assert all(search.setting_of(replace(cell, **change)) == setting for change in same)
    assert len({search.setting_of(replace(cell, **change)) for change in other} | {setting}) == len(other) + 1
    assert (setting.seed, setting.pretrain, setting.rows_measured) == (9, cell.pretrain, "validation")


def test_cases_that_share_a_retrained_model_share_their_noise_floor(small: Small) -> None:
    search = Search()
    settings = [
        search.setting_of(small(**change)) for change in ({}, {"method": "scrub", "rule": "sam-0.1"}, {"alpha": 0.5})
    ]
    floors = {search.retrained(setting) for setting in settings}
    assert len(floors) == 1
    assert (next(iter(floors)).method, next(iter(floors)).unlearn_seed) == ("retrain", 10)
    assert search.retrained(search.setting_of(small(pretrain="sam-0.1"))).rule == "sam-0.1"


def test_the_noise_floor_is_a_second_model_retrained_from_another_seed(small: Small, shared: Resources) -> None:
    same, second = (run(small(method="retrain", unlearn_seed=seed), shared.store, resources=shared) for seed in (0, 3))
    assert same.result["tow"] == 1.0
    assert same.result["parents"]["unlearn"] == same.result["parents"]["retrain"] == second.result["parents"]["retrain"]
    assert second.result["parents"]["unlearn"] != same.result["parents"]["unlearn"]
    assert second.result["tow"] < 1.0


@pytest.fixture
def study(small: Small) -> Recipe:
    """One rule after two pretraining rules, its rate left open."""
    block = {"method": "neggrad", "rule": "sgd", "pretrain": ["sgd", "sam-0.1"]}
    return replace(recipe_of(small(rows_measured="report"), block, leave_open="lr"), name="growing", search=TWO_RATES)


def fill(
    study: Recipe, store: Store, tow: Mapping[Any, Callable[[float], float | None]], *, rounds: int = 20,
    **more: float,
) -> list[int]:  # fmt: skip
    """Save what a choice asks for, as if it had been run, and return how many runs each round asked for.

    Args:
        study: the study; store: where to; rounds: most of them.
        tow: curve of each pretraining rule, or of each seed.
        more: further numbers of every run.
    """
    counts = []
    for _ in range(rounds):
        missing = study.resolve(Finished([store]), CPU).missing
        if not missing:
            break
        counts.append(len(missing))
        for kind, cell in missing:
            curve = tow.get(cell.seed) or tow[cell.pretrain]
            numbers = {"tow": 0.98 - cell.unlearn_seed / 1000 if kind == FLOOR else curve(cell.lr)}
            status = "diverged" if numbers["tow"] is None else "ok"
            save_finished(store, cell, kind, status=status, **numbers, **more, original_tow=0.3 + cell.seed / 100)
    return counts


def decided(study: Recipe, store: Store) -> dict[str, SearchResult]:
    return {one.setting.pretrain: one for one in study.resolve(Finished([store]), CPU).searches}


def test_every_pretraining_rule_has_a_choice_of_its_own_and_only_what_needs_it_runs_more(
    study: Recipe, store: Store
) -> None:
    counts = fill(study, store, {"sgd": peak(0.04), "sam-0.1": peak(0.0)})
    assert counts == [4 + 2, 2, 2, 2 + 1, 1, 1]  # two finer of one setting; of the other one lower, then one finer
    found = decided(study, store)
    assert found["sgd"].value == 0.04
    assert found["sgd"].place == INTERIOR
    assert found["sam-0.1"].place == EDGE
    assert (floor_of(found["sgd"].table), original_tow(found["sgd"].table)) == (
        pytest.approx(0.026),
        pytest.approx(0.35),
    )
    assert {cell.pretrain: cell.lr for cell in study.resolve(Finished([store]), CPU).runs}["sgd"] == 0.04


@pytest.mark.parametrize(("retain_accuracy", "found"), [(0.89, (0.01, NOTHING)), (0.7, (0.005, INTERIOR))])
def test_a_lowest_rate_with_the_originals_tow_ends_the_search_unless_it_lost_retained_images(
    study: Recipe, store: Store, retain_accuracy: float, found: tuple[float, str]
) -> None:
    part = replace(study, search=replace(TWO_RATES, finer=False), blocks=({**study.blocks[0], "pretrain": "sgd"},))
    curve = {0.02: 0.2, 0.01: 0.35, 0.005: 0.9, 0.0025: 0.6}  # 0.35: of the original model
    fill(part, store, {"sgd": curve.__getitem__}, original_retain_accuracy=0.9, retain_accuracy=retain_accuracy)
    one = decided(part, store)["sgd"]
    assert (one.value, one.place) == found


def test_of_several_seeds_the_mean_chooses_once_all_of_them_have_run(study: Recipe, store: Store) -> None:
    several = replace(study, search=replace(TWO_RATES, more_seeds=(7, 9), finer=False))
    assert {run.seed for run in several.first_trials()} == {5, 7, 9}
    # Two seeds are best at 0.04, where the third diverged; of the rest the mean prefers 0.02, seed 5 alone 0.01.
    curves = {5: {0.01: 0.9, 0.02: 0.8, 0.04: 1.0}, 7: {0.01: 0.2, 0.02: 0.5, 0.04: None},
              9: {0.01: 0.4, 0.02: 0.8, 0.04: 1.0}}  # fmt: skip
    part = fill(replace(several, blocks=({**study.blocks[0], "pretrain": "sgd"},)), store,
                {seed: curve.__getitem__ for seed, curve in curves.items()})  # fmt: skip
    assert part == [3 * 2 + 3, 3]
    one = decided(several, store)["sgd"]
    assert (one.value, one.place) == (0.02, INTERIOR)
    assert curve_of(one.table) == {0.01: pytest.approx(0.5), 0.02: pytest.approx(0.7), 0.04: None}
    assert (floor_of(one.table), original_tow(one.table)) == (pytest.approx(0.028), pytest.approx(0.37))
    assert len(one.runs) == 3 * 3 + 3
    assert several.search is not None
    assert search_facts(several.search, one)["choice_details"]["more_seeds"] == [7, 9]
    alone = decided(replace(several, search=replace(TWO_RATES, finer=False, more_seeds=())), store)["sgd"]
    assert curve_of(alone.table)[0.01] == 0.9
    # A value counts when every seed has tried it.
    more = decided(replace(several, search=replace(TWO_RATES, finer=False, more_seeds=(7, 9, 11))), store)["sgd"]
    assert (curve_of(more.table), more.value, floor_of(more.table), len(more.missing)) == ({}, None, None, 2 + 1)


@pytest.mark.parametrize(("seeds", "said"), [
    ({"more_seeds": [5]}, r"more_seeds = \[5\]: must be seeds that differ from each other and from 5"),
    ({"more_seeds": [7, 7]}, r"more_seeds = \[7, 7\]: must be seeds that differ"),
    ({"more_seeds": [-1]}, r"more_seeds = .*-1.*: must be >= 0"),
    ({"more_seeds": [1, 6]}, r"search.seed = 1: must be a seed outside the study"),
])  # fmt: skip
def test_seeds_that_choose_differ_from_each_other_and_from_the_studys(
    seeds: dict[str, Any], said: str, study: Recipe
) -> None:
    with pytest.raises(ConfigError, match=said):
        replace(study, search=replace(TWO_RATES, **seeds), defaults={**study.defaults, "seed": 1}).first_trials()


def test_a_plan_lists_the_first_trials_and_says_that_more_may_follow(study: Recipe, store: Store) -> None:
    before = plan(study, store, CPU, Finished([store]))
    assert [row.kind for row in before.rows] == [SEARCH] * 2 + [FLOOR] + [SEARCH] * 2 + [FLOOR] + ["unlearn"] * 2
    assert before.growing == 2
    assert all(row.open for row in before.rows[6:])
    assert before.stages["retrain"] == 2 + 2 + 2  # of each pretraining rule: of both seeds, and a second one
    fill(study, store, {"sgd": peak(0.04), "sam-0.1": peak(0.0)}, rounds=1)
    assert plan(study, store, CPU, Finished([store])).growing == 2


def test_a_signal_while_trials_run_ends_the_grid_before_its_next_phase(
    study: Recipe, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []

    def stopped(groups: list[list[RunConfig]], _: Store, runtime: Runtime, **limits: object) -> GridReport:
        begun.append(runtime.kind)
        return GridReport(remaining=sum(map(len, groups)), interrupted=True, signal=signal.SIGTERM)

    monkeypatch.setattr(grid, "run_groups", stopped)
    report = run_grid(study, store, runtime=CPU)
    assert begun == [SEARCH]
    assert (report.interrupted, report.signal) == (True, signal.SIGTERM)
    assert report.remaining == len(plan(study, store, CPU, Finished([store])).rows), "the floor's runs among them"


def test_what_a_record_says_of_its_choice_is_no_part_of_what_it_is_and_follows_the_choice(
    study: Recipe, store: Store, tmp_path: Path
) -> None:
    report = run_grid(study, store, runtime=CPU)
    assert not report.failed
    before = {record.run_id: record for record in store.records("unlearn")}
    searches = decided(study, store)
    for record in before.values():
        one, told = searches[record.config["pretrain"]], record.result["choice_details"]
        assert (record.result["choice"], told["value"]) == (one.place, record.config["lr"])
        curve = curve_of(one.table)
        assert dict(map(tuple, told["curve"])) == curve
        assert told["tow"] == max(tow for tow in curve.values() if tow is not None)
        assert record.result["rows_measured"] == "report"
    assert {record.result["rows_measured"] for record in store.records("choice")} == {"validation"}
    assert len(report.edges) == sum(one.place == EDGE for one in searches.values())
    packed = PublishedStudy(write_published(store.records(), tmp_path / "growing.parquet"))
    assert all(one.result["choice"] == before[one.run_id].result["choice"] for one in packed.records("unlearn"))
    found = study.resolve(Finished([store]), CPU).found
    _record_search(study, {cell: replace(one, place="elsewhere") for cell, one in found.items()}, store)
    after = {record.run_id: record for record in store.records("unlearn")}
    assert before.keys() == after.keys()
    assert {record.result["choice"] for record in after.values()} == {"elsewhere"}
    assert all(one.provenance == after[identity].provenance for identity, one in before.items())
    assert all(one.result["tow"] == after[identity].result["tow"] for identity, one in before.items())
    assert store.verify() == []


def test_a_study_with_a_winner_on_an_edge_is_not_called_finished(
    study: Recipe, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(study, store, {"sgd": peak(0.04), "sam-0.1": peak(9.0)})
    path = tmp_path / "growing.toml"
    lists = {name: list(v) if isinstance(v, tuple) else v for name, v in study.defaults.items()}
    text = "\n".join(f"{name} = {json.dumps(value)}" for name, value in lists.items())
    block = "\n".join(f"{name} = {json.dumps(value)}" for name, value in study.blocks[0].items())
    choose = "[search]\nvalues = [0.01, 0.02]\nseed = 5\nfiner = true\n"
    path.write_text(f"{choose}[defaults]\n{text}\n[[runs]]\n{block}\n")
    assert len(load_recipe(path).runs()) == 2
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(app, ["check", str(path), "--store", str(store.root)])
    assert found.exit_code == 6 or getattr(found.exception, "exit_code", None) == 6
    said = found.output + str(found.exception)
    assert "not finished: 1 searches end on an edge" in said
    assert "neggrad sgd on random after sam-0.1: 0.32" in said


def test_a_trial_is_the_config_that_states_its_value() -> None:
    search = Search(values=(1, 2))  # whole numbers, as a recipe may write rates
    setting = search.setting_of(RunConfig())
    for value in search.values:
        stated = replace(setting, lr=value)
        assert run_id("choice", search.trial(setting, value)) == run_id("choice", stated)
    with pytest.raises(ConfigError, match=r"epochs = 0.5: must be of type int"):
        Search(name="epochs", values=(0.5, 1)).trial(setting, 0.5)
