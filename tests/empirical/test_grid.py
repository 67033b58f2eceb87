"""Studies: cells of a recipe, dry runs, resuming, time limits, failures."""

import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from empirical.runs.experiment import train_original
from empirical.runs.resources import Resources
from empirical.runs.run import run
from empirical.runs.stages import restore
from empirical.settings.keys import pretrain_key
from empirical.settings.run_config import RunConfig, Runtime
from empirical.studies import grid
from empirical.studies.compare import check_study, diff_runs
from empirical.studies.executors import GridReport, starts
from empirical.studies.finished import Finished, with_data
from empirical.studies.grid import run_grid
from empirical.studies.plan import Plan, plan
from empirical.studies.recipe import Recipe, load_recipe
from empirical.studies.search import Search
from repro.base.errors import ConfigError, IntegrityError, MissingDataError
from repro.commands.studies import _planned
from repro.records.lists import RunList
from repro.records.publish import write_published
from repro.records.published import PublishedStudy
from repro.records.record import Record
from repro.records.store import Store
from tests.empirical.conftest import Small
from tests.empirical.run_parts import CPU, prepared, recipe_of, save_finished

METRICS = ["accuracy", "gap", "mia", "tow"]
RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))


def planned(recipe: Recipe, store: Store) -> Plan:
    return plan(recipe, store, CPU, Finished([store]))


def finished(recipe: Recipe, store: Store) -> list[Record]:
    known = Finished([store])
    return known.usable(recipe.resolve(known, CPU).runs)


def needed(recipe: Recipe, store: Store) -> list[tuple[str, RunConfig]]:
    """Return the runs that the choices of a study want next."""
    return recipe.resolve(Finished([store]), CPU).missing


@pytest.fixture
def recipe(small: Small) -> Recipe:
    return recipe_of(
        small(), {"method": "neggrad", "rule": ["sgd", "sam-0.1"]}, {"method": "random_label", "seed": [0, 1]}
    )


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_we_ship_is_valid(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert recipe.title
    cells = recipe.runs()
    assert len(cells) == len(set(cells)) > 0


def test_lists_are_multiplied_and_blocks_are_added(recipe: Recipe) -> None:
    cells = recipe.runs()
    assert [(cell.seed, cell.method, cell.rule) for cell in cells] == [
        (0, "neggrad", "sgd"), (0, "neggrad", "sam-0.1"), (0, "random_label", "sgd"), (1, "random_label", "sgd")
    ]  # fmt: skip


def test_the_seed_of_a_cell_stands_where_its_data_ask_for_it(recipe: Recipe) -> None:
    drawn = {"dataset_options": "draw={seed}, n=48", "seed": [0, 3], "rule": "sgd"}
    cells = replace(recipe, blocks=(drawn, {**drawn, "dataset_options": "n=48", "rule": "sam-0.1"})).runs()
    assert {(cell.rule, cell.seed): cell.dataset_options for cell in cells} == {
        ("sgd", 0): "draw=0, n=48", ("sgd", 3): "draw=3, n=48", ("sam-0.1", 0): "n=48", ("sam-0.1", 3): "n=48"
    }  # fmt: skip


@pytest.mark.parametrize("search", [None, Search(values=(0.1, 0.01), seed=10**9)])
def test_the_time_to_read_many_blocks_grows_with_their_number_alone(store: Store, search: Search | None) -> None:
    """Eight times the blocks take about eight times as long; comparing each with each would take 64 times."""

    def seconds(count: int) -> float:
        settings = {"dataset": "digits", **({"lr": 0.5} if search else {})}
        many = Recipe("many", blocks=tuple({**settings, "seed": seed} for seed in range(count)), search=search)
        began = time.process_time()
        assert len(many.runs()) == len(many.resolve(Finished([store]), CPU).runs) == count
        return time.process_time() - began

    seconds(100)
    assert seconds(8_000) < 24 * min(seconds(1_000) for _ in range(3))


def test_more_cells_than_anybody_runs_are_refused_before_they_are_listed() -> None:
    Recipe("most", blocks=({"seed": list(range(100_000))},))
    for blocks in ([{"seed": list(range(100_001))}], [{"seed": list(range(1000)), "lr": [0.1] * 1000}], [{}] * 100_001):
        with pytest.raises(ConfigError, match=r"^runs = \d+: must be at most 100000 in a recipe; split it"):
            Recipe("more", blocks=tuple(blocks))


def test_a_dry_run_computes_nothing(recipe: Recipe, store: Store) -> None:
    rows = planned(recipe, store).rows
    assert not any(row.done for row in rows)
    assert rows[0].passes == 1 + 2 + 2
    assert rows[1].passes == 2
    assert not (store.root / "runs").exists()


def test_a_grid_runs_once_and_then_finds_everything(recipe: Recipe, store: Store) -> None:
    first = run_grid(recipe, store, runtime=CPU)
    second = run_grid(recipe, store, runtime=CPU)
    assert (len(first.done), len(first.found)) == (4, 0)
    assert (len(second.done), len(second.found)) == (0, 4)
    assert {record.provenance["study"] for record in store.records("unlearn")} == {"tiny"}
    assert store.verify() == []
    assert all(row.done and not row.passes for row in planned(recipe, store).rows)
    stages = [json.loads((folder / "config.json").read_text())["config"]["stage"] for folder in store.stages.all()]
    assert Counter(stages) == {"pretrain": 2, "retrain": 2, "unlearn": 4}, "of two seeds, shared by their runs"
    # Asked for one number more the runs are there and not done: it is measured, and nothing is trained for it.
    asks_more = replace(recipe, defaults={**recipe.defaults, "metrics": [*recipe.defaults["metrics"], "distances"]})
    asked = planned(asks_more, store)
    assert not any(row.done for row in asked.rows)
    assert {work.kind for work in asked.work.values()} == {"measure"}
    assert asked.passes == 0
    run_grid(asks_more, store, runtime=CPU)
    assert all(row.done for row in planned(asks_more, store).rows)


def test_a_study_has_the_finished_cells_of_its_recipe_whichever_study_ran_them(recipe: Recipe, store: Store) -> None:
    run_grid(replace(recipe.select(["seed=0"]), name="other"), store, runtime=CPU)
    found = {record.run_id for record in finished(recipe, store)}
    assert found == {record.run_id for record in store.records("unlearn")}
    assert len(found) == 3
    rest = run_grid(recipe, store, runtime=CPU)
    assert (len(rest.done), len(rest.found)) == (1, 3)
    listed = store.lists.get("tiny")
    runs = tuple(sorted({*rest.done, *rest.found}))
    assert listed == RunList(runs, metrics=dict.fromkeys(runs, recipe.runs()[0].metrics))
    assert store.lists.get("other") == listed, "a part of a study that is run is no study of its own"


def test_a_recipe_that_names_an_imported_model_finds_its_runs(recipe: Recipe, store: Store) -> None:
    model = store.stages.save({"made": "elsewhere"}, b"", {"name": "mine"}).name
    named = replace(recipe, defaults={**recipe.defaults, "original": "mine"})
    for cell in with_data(recipe.runs(), CPU, Finished([store])):
        save_finished(store, replace(cell, original=model))
    assert [row.done for row in planned(recipe, store).rows] == [False] * 4
    assert [row.done for row in planned(named, store).rows] == [True] * 4
    assert len(finished(named, store)) == 4


def test_cells_whose_choice_is_not_made_remain(choosing: Recipe, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid, "run_groups", lambda *_, **__: GridReport())  # no trial is ever computed
    study = replace(choosing, blocks=choosing.blocks[:1])
    assert run_grid(study, store, runtime=CPU).remaining == len(study.runs()) == 2
    listed = store.lists.get(study.name)
    assert listed is not None
    assert (listed.runs, listed.open) == ((), 2)


def test_a_cell_that_lacks_one_of_its_metrics_counts_with_the_numbers_it_has(recipe: Recipe, store: Store) -> None:
    one = recipe.select(["rule=sgd", "method=neggrad"])
    run_grid(one, store, runtime=CPU)
    more = replace(one, defaults={**one.defaults, "metrics": [*one.runs()[0].metrics, "hessian"]})
    [row] = planned(more, store).rows
    assert not row.done
    [record] = store.records("unlearn")
    assert [one.run_id for one in finished(more, store)] == [record.run_id]
    halves = replace(more, defaults={**more.defaults, "rows_measured": "report"})
    assert finished(halves, store) == [], "measured on other rows than the cell asks for"
    store.save("unlearn", row.config, result={"error": "broken"}, status="failed")
    assert finished(more, store) == [], "an error has no numbers"


@pytest.fixture
def choosing(recipe: Recipe) -> Recipe:
    """The tiny study with its rate left open, and a block that names its own."""
    defaults = {name: value for name, value in recipe.defaults.items() if name != "lr"}
    fixed = {"method": "gradient_ascent", "lr": 0.004}
    search = Search(values=(0.01, 0.1), seed=5, furthest=0)
    return replace(recipe, defaults=defaults, blocks=(recipe.blocks[0], fixed), search=search)


def test_a_rate_is_chosen_on_a_seed_of_its_own_before_the_study(choosing: Recipe, store: Store) -> None:
    before = planned(choosing, store)
    assert [(row.kind, row.open, row.config.lr) for row in before.rows[5:]] == [
        ("unlearn", False, 0.004), ("unlearn", True, 0.02), ("unlearn", True, 0.02)
    ]  # fmt: skip
    assert [row.kind for row in before.rows[:5]].count("choice") == 4
    assert before.growing == 2
    report = run_grid(choosing, store, runtime=CPU)
    assert (len(report.done), report.failed) == (4 + 1 + 3, {})  # a second retrained model gives the noise floor
    tow = {(run.config["rule"], run.config["lr"]): run.result["tow"] for run in store.records("choice")}
    winners = {rule: max((0.01, 0.1), key=lambda lr: tow[rule, lr]) for rule in ("sgd", "sam-0.1")}
    lrs = {(run.config["method"], run.config["rule"]): run.config["lr"] for run in store.records("unlearn")}
    assert lrs == {("neggrad", rule): lr for rule, lr in winners.items()} | {("gradient_ascent", "sgd"): 0.004}
    assert {run.config["seed"] for run in store.records("unlearn")} == {0}
    assert all(row.done for row in planned(choosing, store).rows)
    assert not any(store.stages.find(run.result["parents"]["unlearn"]) for run in store.records("choice"))
    assert len(run_grid(choosing, store, runtime=CPU).found) == 3


def test_a_block_that_states_the_default_takes_no_search_from_another_that_leaves_it_open(
    choosing: Recipe, store: Store
) -> None:
    open_block = {**choosing.blocks[0], "rule": "sgd"}
    recipe = replace(choosing, blocks=(open_block, {**open_block, "lr": RunConfig.lr}))
    assert [(row.open, row.config.lr) for row in planned(recipe, store).rows if row.kind == "unlearn"] == [
        (False, RunConfig.lr), (True, RunConfig.lr)
    ]  # fmt: skip
    run_grid(replace(recipe, blocks=recipe.blocks[1:], search=None), store, runtime=CPU)
    assert [row.done for row in planned(recipe, store).rows if row.kind == "unlearn"] == [True, False]
    for kind, cell in needed(recipe, store):
        save_finished(store, cell, kind, tow={0.01: 0.1, 0.1: 0.2}.get(cell.lr, 0.9), original_tow=0.0)
    assert [cell.lr for cell in recipe.resolve(Finished([store]), CPU).runs] == [0.1, RunConfig.lr]


def test_a_choice_cut_short_leaves_the_whole_study(choosing: Recipe, store: Store) -> None:
    cut = run_grid(choosing, store, runtime=CPU, max_seconds=1e-6)
    assert cut.interrupted
    assert cut.remaining == 4 + 1 + 3
    assert not store.records("unlearn")
    assert finished(choosing, store) == []
    own = choosing.select(["method=gradient_ascent"])  # whose rate is its own: nothing is searched for
    cut = run_grid(own, store, runtime=CPU, max_seconds=1e-6)
    assert (cut.interrupted, cut.remaining) == (True, 1)
    assert run_grid(own, store, runtime=CPU).remaining == 0


def test_the_study_must_not_see_the_seed_that_chose_and_guessed_settings_must_exist(choosing: Recipe) -> None:
    with pytest.raises(ConfigError, match=r"search\.seed = 0"):
        replace(choosing, search=Search(seed=0)).first_trials()
    with pytest.raises(ConfigError, match="values"):
        replace(choosing, search=Search(values=())).first_trials()
    with pytest.raises(ConfigError, match=r"guessed = 'lrr'.*did you mean 'lr'"):
        replace(choosing, guessed=("lrr",))


def test_every_process_begins_at_a_group_of_its_own_or_shares_the_runs_of_too_few(small: Small) -> None:
    cells = [small(seed=seed) for seed in range(6)]
    assert starts([cells[:1], cells[1:3], cells[3:]], 2) == [0, 1]
    assert starts([cells[:1], cells[1:3], cells[3:]], 3) == [0, 1, 3]
    assert starts([cells], 3) == [0, 2, 4]


@pytest.mark.parametrize(("text", "message"), [
    ("[defaults]\nmethd = 'neggrad'\n[[runs]]\n", "unknown setting 'methd'.*did you mean 'method'"),
    ("[[runs]]\nepochs = 'many'\n", "epochs = 'many': must be of type int"),
    ("[[cells]\n", "not readable as TOML"),
    ("[defaults]\n", "must name at least one run"),
    ("cell = []\n", "cell: is no key of a recipe.*known: name, .*runs"),
    ("only = { seed = 0 }\n[[runs]]\nseed = 0\n", "only: is no key of a recipe"),
    ("shard = '1/2'\n[[runs]]\nseed = 0\n", "shard: is no key of a recipe"),
    ("[[runs]]\nseed = 0\n[[blocks]]\nseed = 1\n", "blocks: is no key of a recipe"),
    ("[[runs]]\nseed = 0\n[[expected]]\nwhere = 'neggrad'\n", "where = 'neggrad': must be a table of labels"),
])  # fmt: skip
def test_a_bad_recipe_is_refused_by_name(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    with pytest.raises(MissingDataError, match=r"mine\.toml"):
        load_recipe(path)
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"(?s)mine.*{message}"):
        load_recipe(path)


@pytest.mark.parametrize(("block", "message"), [
    ({"method": "finetune", "rule": "minmax"}, "rule = 'minmax'"),
    ({"dataset": "imagenet", "difficulty": "high", "subsets": 64}, r"scores = ''.*import-scores.*64 models"),
])  # fmt: skip
def test_a_run_that_cannot_be_stops_the_grid_before_any_work(block: dict[str, Any], message: str, store: Store) -> None:
    with pytest.raises(ConfigError, match=message):
        run_grid(Recipe("bad", blocks=(block,)), store, runtime=CPU)
    assert not store.records()


@pytest.mark.parametrize(("conditions", "message"), [
    (["rul=sgd"], "did you mean 'rule'"),
    (["rule"], "where = .*must be SETTING=VALUE"),
    (["rule=asam-1.0"], "must fit a run of tiny"),
    (["seed=0", "rule=sgd", "seed=1"], "'seed=1': .* seed = 0 is given too"),
    (["seed=" + "9" * 5000], "at most 4300 digits"),
    (["seed=" + "[" * 5000], "at most 4300 digits"),
])  # fmt: skip
def test_a_part_of_a_study_is_chosen_by_settings(
    conditions: list[str], message: str, recipe: Recipe, choosing: Recipe
) -> None:
    with pytest.raises(ConfigError, match=message):
        recipe.select(conditions)
    part = recipe.select(["method=random_label", "seed=1"])
    assert [(cell.method, cell.seed) for cell in part.runs()] == [("random_label", 1)]
    assert len(choosing.select(["rule=sam-0.1"]).first_trials()) == 2
    assert recipe.select([]).runs() == recipe.runs()


def test_unlearned_weights_are_kept_unless_a_recipe_says_no(recipe: Recipe, store: Store, tmp_path: Path) -> None:
    run_grid(recipe, store, runtime=CPU)
    assert all(store.stages.find(record.result["parents"]["unlearn"]) for record in store.records("unlearn"))
    lean = Store(tmp_path / "lean")
    run_grid(replace(recipe, keep_models=False), lean, runtime=CPU)
    assert not any(lean.stages.find(record.result["parents"]["unlearn"]) for record in lean.records("unlearn"))
    assert {r.run_id: r.result["tow"] for r in lean.records("unlearn")} == {
        r.run_id: r.result["tow"] for r in store.records("unlearn")
    }


def test_weights_of_another_architecture_are_refused(small: Small, resources: Resources) -> None:
    stage = train_original(prepared(small(), resources)).stage_id
    known = resources.store.stages.read(stage)
    assert known
    other = train_original(prepared(small(model="resnet8-narrow"), resources)).network
    for weights in (known[0], b"nonsense"):
        with pytest.raises(IntegrityError, match=f"{stage}.*do not fit"):
            restore(other, weights, stage)


def test_diff_names_every_setting_in_which_two_runs_differ(small: Small, shared: Resources) -> None:
    left, right = (run(small(**c), shared.store, resources=shared) for c in ({}, {"seed": 1, "switches": "tow=signed"}))
    assert {d.setting for d in diff_runs(left, right)} == {"seed", "switches", "switch tow"}
    assert diff_runs(left, left) == []
    with pytest.raises(ConfigError, match=r"failed; .* --retry-failed"):
        diff_runs(left, replace(right, status="failed", result={"error": "", "traceback": ""}))


def test_check_compares_means_with_expected_values(small: Small, shared: Resources) -> None:
    record = run(small(), shared.store, resources=shared)
    where = {"method": "neggrad", "seed": 0}
    entries = [
        {"metric": "tow", "value": record.result["tow"], "tolerance": 1e-9, "where": where},
        {"metric": "tow", "value": record.result["tow"] + 0.1, "where": where},
        {"metric": "tow", "value": 1.0, "where": {"method": "scrub"}},
    ]
    rows = check_study(entries, [record])
    assert [row.passes for row in rows] == [True, False, False]
    assert [row.runs for row in rows] == [1, 1, 0]


@pytest.mark.slow
def test_a_process_takes_one_thread_unless_told_otherwise(small: Small, tmp_path: Path) -> None:
    run(small(), Store(tmp_path / "one"), CPU)
    assert torch.get_num_threads() == 1
    run(small(), Store(tmp_path / "two"), Runtime(device="cpu", threads=2))
    assert torch.get_num_threads() == 2


def test_processes_times_threads_fill_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    from repro.commands.empirical import processes

    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    counts = {threads: processes(Runtime(device="cpu", threads=threads)) for threads in (1, 2, 3, 8, 16, 0)}
    assert counts == {1: 8, 2: 4, 3: 2, 8: 1, 16: 1, 0: 1}


def test_a_recipe_takes_from_the_one_it_extends_what_it_does_not_state(tmp_path: Path) -> None:
    search = "[search]\nvalues = [0.01, 0.1]\nseed = 5\n"
    settings = "guessed = ['lr']\n[defaults]\nalpha = 0.7\nn_train = 100\n[[runs]]\nmethod = 'scrub'\n"
    (tmp_path / "base.toml").write_text(settings + search + "[[expected]]\nvalue = 1.0\n")
    (tmp_path / "more.toml").write_text("extends = 'base.toml'\n[defaults]\nalpha = 0.8\nseed = [1, 2]\n")
    base, more = (load_recipe(tmp_path / f"{name}.toml") for name in ("base", "more"))
    assert (more.name, more.guessed, more.expected, more.search) == ("more", ("lr",), (), base.search)
    assert [(c.method, c.alpha, c.n_train, c.seed) for c in more.runs()] == [("scrub", 0.8, 100, s) for s in (1, 2)]
    (tmp_path / "own.toml").write_text("extends = 'base.toml'\n[[runs]]\nmethod = 'salun'\n")
    (tmp_path / "at.toml").write_text("extends = 'base.toml'\n[search]\nseed = 6\nat = { alpha = 0.9 }\n")
    assert load_recipe(tmp_path / "at.toml").search == Search(values=(0.01, 0.1), seed=6, at={"alpha": 0.9})
    assert [cell.method for cell in load_recipe(tmp_path / "own.toml").runs()] == ["salun"]


@pytest.mark.parametrize("name", ["../base.toml", "mine.toml", "3"])
def test_a_recipe_extends_another_one_beside_it_only(name: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(f"extends = {name if name == '3' else repr(name)}\n[[runs]]\n")
    with pytest.raises(ConfigError, match="must name another recipe file in its folder"):
        load_recipe(tmp_path / "mine.toml")


def test_a_metric_that_is_left_out_is_measured_later_of_the_same_runs(recipe: Recipe, store: Store) -> None:
    whole = replace(recipe.select(["rule=sgd", "method=neggrad"]), defaults={**recipe.defaults, "metrics": METRICS})
    run_grid(whole.leave_out(["gap", "mia"]), store, runtime=CPU)
    [less] = store.records("unlearn")
    assert set(less.result["evaluations"]) == {"accuracy", "tow"}
    report = run_grid(whole, store, runtime=CPU)
    [more] = store.records("unlearn")
    assert (more.run_id, set(more.result["evaluations"])) == (less.run_id, set(METRICS))
    assert len(report.done) == 1


def test_cells_of_a_committed_study_are_computed_again_or_left_out(
    recipe: Recipe, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = recipe.select(["method=neggrad", "rule=sgd"])
    both = recipe.select(["method=neggrad"])
    elsewhere = Store(tmp_path / "elsewhere")
    run_grid(part, elsewhere, runtime=CPU)
    packed = PublishedStudy(write_published(elsewhere.records(), tmp_path / "tiny.parquet"))
    monkeypatch.setattr(grid, "readers", lambda own: [own, packed])

    def rows(study: Recipe) -> list[tuple[str, bool]]:
        found = plan(study, store, CPU, Finished([store, packed]))
        assert found.committed == sum(one.config.rule == "sgd" and not one.done for one in found.rows)
        return [(one.config.rule, one.done) for one in found.rows]

    rest = replace(both, skip_committed=True)
    assert (rows(both), rows(rest)) == ([("sgd", False), ("sam-0.1", False)], [("sam-0.1", False)])
    assert plan(both, store, CPU, Finished([store, packed])).stages["pretrain"] == 1
    assert len(run_grid(rest, store, runtime=CPU).done) == 1
    assert [record.config["rule"] for record in store.records("unlearn")] == ["sam-0.1"]
    assert len(run_grid(both, store, runtime=CPU).done) == 1, "a study is reproduced, whoever has its records"
    assert (rows(both), rows(rest)) == ([("sgd", True), ("sam-0.1", True)], [("sam-0.1", True)])
    # A metric that the committed run lacks is no reason to leave the cell out.
    more = replace(rest, defaults={**rest.defaults, "metrics": [*recipe.defaults["metrics"], "gap"]})
    found = plan(more, store, CPU, Finished([store, packed]))
    assert (found.committed, [one.done for one in found.rows]) == (0, [False, False])


@pytest.mark.parametrize(("metrics", "message"), [
    (["ga"], "did you mean 'gap'"), (["hessian"], "must be one of accuracy, gap, mia, tow"),
    (METRICS, "fewer than every metric of a run of tiny"),
])  # fmt: skip
def test_what_is_left_out_is_a_metric_of_the_study_and_not_all_of_it(
    metrics: list[str], message: str, recipe: Recipe
) -> None:
    whole = replace(recipe, defaults={**recipe.defaults, "metrics": METRICS})
    with pytest.raises(ConfigError, match=f"without = .*{message}"):
        whole.leave_out(metrics)
    assert whole.leave_out([]).runs() == whole.runs()
    some = replace(whole, blocks=(*whole.blocks, {"seed": 5, "metrics": ["tow"]}))
    with pytest.raises(ConfigError, match="fewer than every metric of a run"):
        some.leave_out(["tow"])
    # The same words do for every part of the study, also for one that does not measure it.
    part = some.select(["seed=5"])
    assert part.leave_out(["gap"]).runs() == part.runs()


def test_a_part_without_cells_is_planned_like_any_other(recipe: Recipe, store: Store) -> None:
    empty = replace(recipe, shard="1/1000")
    assert empty.runs() == []
    assert _planned(empty, store, CPU).rows == []


def test_a_plan_tells_hours_by_the_rate_of_the_stores_own_stages_or_that_none_is_known(store: Store) -> None:
    """A stage that took a second for 143.7 gradients: a pass over the 1,437 digits takes ten seconds."""
    recipe = Recipe("timed", blocks=({"method": "neggrad", "seed": 1, "pretrain_epochs": 10, "epochs": 3},))
    before = planned(recipe, store)
    assert (before.hours_with(1), before.unmeasured) == (0.0, {"resnet8-narrow"})
    for seed, rate in ((7, 143.7), (8, 143.7), (9, 9e9)):
        key = pretrain_key(RunConfig(seed=seed))
        store.stages.save(key, b"", {"seconds": 1.0, "gradient_evaluations": rate})
    after = planned(recipe, store)
    assert after.unmeasured == set()
    # NegGrad reads a forget batch beside each. Looking at an image costs a third of its gradient, with three models.
    assert after.hours_with(1) == pytest.approx(((10 + 10 + 2 * 3) * 10 + 1797 / 143.7) / 3600)


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1/0", "1", "a/b", "1/2/3", "-1/2", "1/1000000"])
def test_a_shard_that_is_none_is_one_clear_line(recipe: Recipe, shard: str) -> None:
    with pytest.raises(ConfigError, match=r"shard = .*must be i/n"):
        replace(recipe, shard=shard)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_shards_are_runs_of_neighbours_that_add_up_to_the_study(recipe: Recipe, count: int) -> None:
    parts = [replace(recipe, shard=f"{number}/{count}").runs() for number in range(1, count + 1)]
    assert [cell for part in parts for cell in part] == recipe.runs()
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_shard_runs_its_own_cells_and_their_choices_only(recipe: Recipe, store: Store) -> None:
    defaults = {name: value for name, value in recipe.defaults.items() if name != "lr"}
    open_ = replace(recipe, defaults=defaults, search=Search(values=(0.01, 0.02), seed=5, furthest=0))
    half = replace(open_, shard="2/2")
    assert len(half.first_trials()) == 2 < len(open_.first_trials())
    report = run_grid(half, store, runtime=CPU)
    assert {record.config["method"] for record in store.records() if record.kind != "floor"} == {"random_label"}
    assert (len(store.records("unlearn")), report.remaining) == (2, 0)


def test_the_last_shard_pools_the_seeds(small: Small, store: Store) -> None:
    seeds = recipe_of(small(metrics=("klom",)), {"seed": [0, 1, 2, 3, 4]})
    for number in range(1, 6):
        assert store.records("evaluation") == []  # four would do for a pool, which is not the study's
        run_grid(replace(seeds, shard=f"{number}/5"), store, runtime=CPU)
    assert len(store.records("evaluation")) == 1


def test_the_last_shard_pools_the_seeds_although_searches_ended_after_it_began(
    small: Small, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = recipe_of(small(metrics=("klom",)), {"rule": ["sgd", "sam-0.1"], "seed": [0, 1, 2, 3]}, leave_open="lr")
    whole = replace(seeds, search=Search(values=(0.01, 0.03), furthest=0))
    first, *others = (replace(whole, shard=f"{number}/8") for number in range(1, 9))
    run_groups = grid.run_groups

    def others_end_first(groups: Any, store: Store, runtime: Runtime, **limits: Any) -> GridReport:
        if runtime.kind == "unlearn":
            monkeypatch.setattr(grid, "run_groups", run_groups)
            for part in others:
                run_grid(part, store, runtime=CPU)
        return run_groups(groups, store, runtime, **limits)

    monkeypatch.setattr(grid, "run_groups", others_end_first)
    run_grid(first, store, runtime=CPU)
    assert len(store.records("unlearn")) == 8
    pooled = [record for record in store.records("evaluation") if record.config["pooled"]]
    assert [record.config["metric"] for record in pooled] == ["klom"] * 2
