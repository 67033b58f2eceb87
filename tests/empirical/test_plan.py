"""What work costs: rates by records, memory of a step, and several processes that wait for each other."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from empirical.data.source import data_digest
from empirical.registry import MODELS, load, model_weights, model_work
from empirical.runs.imports import import_index
from empirical.settings.keys import StageKey, pretrain_key
from empirical.settings.run_config import ESTIMATE, RunConfig, Runtime, config_for
from empirical.studies.cost import Pace, Rate, Rates, Work, copies_of, hours_at, hours_together, largest_batch
from empirical.studies.finished import Finished
from empirical.studies.plan import Plan, plan
from empirical.studies.recipe import Recipe
from empirical.studies.search import Search
from repro.records.store import Store
from tests.empirical.run_parts import CPU

PACE = Pace("cifar10", "resnet18", "bf16", 32)


def benchmark(store: Store, device: str, rates: dict[str, float], precision: str = "bf16") -> None:
    """Save the measured images per second of steps, by network and rule."""
    rows = [{"case": case, "images_per_second": rate, "precision": precision} for case, rate in rates.items()]
    store.save("benchmark", {"benchmark": "train_step", "device": device}, result={"rows": rows})


def finished_stage(store: Store, model: str, examples: int, precision: str = "bf16", device: str = "cpu") -> None:
    """Save a pretrained model that took ten seconds for so many gradients."""
    key: StageKey = pretrain_key(RunConfig(dataset="cifar10", model=model, precision=precision))
    store.stages.save(key, b"", {"seconds": 10.0, "gradient_evaluations": examples, "device": device})


def made(name: str, *needs: str) -> Work:
    return Work(name, "unlearn", PACE, 1.0, 1.0, needs)


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if model.mega])
def test_arithmetic_and_memory_of_every_model_are_those_torch_counts(name: str) -> None:
    edge = MODELS[name].edge
    with torch.device("meta"):
        model, images = load("models", name)((3, edge, edge), 10), torch.empty(2, 3, edge, edge)
    kept: dict[Any, tuple[int, torch.Tensor]] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if not (tensor.is_leaf and tensor.requires_grad):
            kept[tensor.untyped_storage()._cdata] = (tensor.numel(), tensor)
        return tensor

    with FlopCounterMode(display=False) as counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda one: one):
        model(images)
    operations, numbers = model_work(name, edge)
    assert operations == pytest.approx(counter.get_total_flops() / 2, rel=0.01)
    assert numbers == pytest.approx(sum(size for size, _ in kept.values()) / 2, rel=0.01)
    assert model_work(name, 2 * edge) == pytest.approx((4 * operations, 4 * numbers))


def test_a_plan_names_the_imported_files_that_missing_cells_need_and_the_store_lacks(
    store: Store, tmp_path: Path
) -> None:
    (tmp_path / "rows.txt").write_text("1\n2\n")
    lacking = {"difficulty": "index", "forget_index": "0" * 16}, {"difficulty": "high", "scores": "1" * 16}
    known = {"difficulty": "index", "forget_index": import_index(tmp_path / "rows.txt", store).run_id}
    unread = {"difficulty": "random", "forget_index": "2" * 16}

    def absent(*blocks: dict[str, str]) -> tuple[tuple[str, str], ...]:
        return plan(Recipe("mine", blocks=blocks), store, Runtime(), Finished([store])).absent

    assert absent(*lacking, known, unread) == (("forget_index", "0" * 16), ("scores", "1" * 16))
    assert absent(known, unread) == ()


def test_scores_that_are_there_need_no_subset_models(store: Store) -> None:
    cell = RunConfig(difficulty="high", subsets=4)
    study = Recipe("graded", blocks=({"difficulty": "high", "subsets": 4},))

    def stages() -> dict[str, int]:
        return plan(study, store, Runtime(), Finished([store])).stages

    without = stages()
    assert without["subset"] == 4
    estimate = replace(config_for(cell), data=data_digest(cell, Runtime()))
    store.save(ESTIMATE, estimate, result={"mean": 0.1})  # of before its reliability was known: made again
    assert stages() == without
    store.save(ESTIMATE, estimate, result={"mean": 0.1, "reliability": 0.9})
    assert stages() == {kind: count for kind, count in without.items() if kind != "subset"}


def test_the_rate_of_a_plan_is_that_of_its_own_stages_then_of_a_record_then_of_arithmetic(store: Store) -> None:
    benchmark(store, "a card", {"resnet18/sgd": 4000.0, "resnet18/asam": 2000.0})
    benchmark(store, "cpu", {"resnet50/sgd": 1.0}, "fp32")
    benchmarks = store.records("benchmark")
    known = Rates.known(store, benchmarks)
    scaled = known.of(Pace("cifar10", "resnet50", "bf16", 32))
    assert scaled is not None
    assert scaled.per_second == pytest.approx(4000 * 1111 / 2596), "the card counts, the processor does not"
    assert (scaled.device, scaled.scaled) == ("a card", True)
    assert any(record.run_id[:8] in scaled.source for record in benchmarks)
    assert known.of(Pace("cifar10", "timm:unheard", "bf16", 32)) is None
    finished_stage(store, "resnet50", 9000, device="mine")
    own = Rates.known(store, benchmarks).of(Pace("cifar10", "resnet50", "bf16", 32))
    assert own == Rate(900.0, "a finished stage", "mine", False)
    processor = Rates.known(store, [one for one in benchmarks if one.config["device"] == "cpu"])
    processor.measured = {pace: rate for pace, rate in processor.measured.items() if "record" in rate.source}
    alone = [processor.of(Pace("cifar10", "resnet50", precision, 64)) for precision in ("fp32", "bf16")]
    assert [one and one.per_second for one in alone] == [pytest.approx(0.25), None], "its own network in its arithmetic"
    assert processor.of(Pace("cifar10", "resnet18", "fp32", 32)) is None, "this machine's may be another"
    stated = Rates.known(store, benchmarks, example=PACE, per_second=100.0).of(Pace("cifar10", "resnet18", "fp32", 64))
    assert stated is not None
    assert stated.per_second == pytest.approx(25), "four times the pixels"


def test_a_rate_of_the_network_itself_counts_before_that_of_a_larger_one(store: Store) -> None:
    benchmark(store, "a card", {"resnet18/sgd": 20_000.0, "resnet50/sgd": 9000.0})
    benchmark(store, "cpu", {"resnet18/sgd": 1.0})
    known = Rates.known(store, store.records("benchmark"))
    found = known.of(Pace("cifar10", "resnet18", "bf16", 32))
    assert found is not None
    assert (found.per_second, found.device, found.scaled) == (20_000.0, "a card", False)
    finished_stage(store, "resnet18", 70)
    assert Rates.known(store, store.records("benchmark")).of(Pace("cifar10", "resnet18", "bf16", 32)) == Rate(
        7.0, "a finished stage", "cpu", False
    )


def test_ascent_takes_the_passes_of_the_forget_images_alone(store: Store) -> None:
    cells = {"model": "resnet8", "pretrain_epochs": 4, "epochs": 2, "forget_fraction": 0.1, "rule": "sam-0.1"}
    recipe = Recipe("ascent", defaults=cells, blocks=({"method": ["finetune", "gradient_ascent"]},))
    found = plan(recipe, store, CPU, Finished([store]))
    assert [work.passes for work in found.work.values() if work.kind == "unlearn"] == pytest.approx([4.0, 0.4])


def test_a_cards_rate_is_scaled_before_a_processors_however_large_the_network_there(store: Store) -> None:
    finished_stage(store, "resnet50", 90, "fp32")
    benchmark(store, "a card", {"resnet18/sgd": 4000.0})
    unseen = Pace("cifar10", "resnet8", "bf16", 32)
    scaled = Rates.known(store, store.records("benchmark")).of(unseen)
    assert scaled is not None
    assert (scaled.device, scaled.scaled) == ("a card", True)
    alone = Rates.known(store).of(unseen)
    assert alone is not None
    assert alone.device == "cpu", "where nothing else is known"


def test_hours_are_examples_over_their_rate_and_unknown_where_either_is() -> None:
    rate = Rate(2.0, "a record", "cpu", False)
    assert hours_at(Work("a", "pretrain", PACE, 1, 7200), rate) == 1.0
    assert hours_at(Work("a", "pretrain", PACE, 1, 7200), None) is None
    assert hours_at(Work("a", "pretrain", PACE, 1, 0), rate) is None, "nobody knows how many images"
    assert hours_at(Work("a", "measure", PACE, 0, 0), None) == 0.0, "nothing to do"


def test_processes_wait_for_what_they_need_and_share_the_rest() -> None:
    """One original of 5 hours, two unlearnings after it, and four subset models of an hour beside it."""
    works = {name: made(name) for name in ("original", "s1", "s2", "s3", "s4")}
    works |= {name: made(name, "original") for name in ("u1", "u2")}
    hours = {"original": 5.0, "u1": 2.0, "u2": 2.0} | {f"s{number}": 1.0 for number in range(1, 5)}
    assert hours_together(works, hours, 1) == sum(hours.values())
    assert hours_together(works, hours, 2) == 7.0, "an equal share is 6.5 hours, and the chain longer"
    assert hours_together(works, hours, 64) == 7.0, "nothing is shorter than the longest chain"
    works = {name: made(name) for name in ("long 1", "long 2", "short")} | {"after": made("after", "short")}
    hours = {"long 1": 2.0, "long 2": 2.0, "short": 1.0, "after": 10.0}
    assert hours_together(works, hours, 2) == 11.0, "the chain again"


def test_a_choice_is_waited_for_and_retraining_is_needed_to_measure_only(store: Store) -> None:
    cells = {"model": "resnet8", "pretrain_epochs": 4, "epochs": 1}
    fixed = Recipe("fixed", defaults=cells, blocks=({"lr": 0.1},))
    choosing = Recipe("choosing", defaults=cells, blocks=({},), search=Search(values=(0.1,), furthest=0))
    rates = Rates({Pace("", "resnet8", "fp32"): Rate(1e12, "stated", "a card", False)})

    def planned(recipe: Recipe) -> Plan:
        return plan(recipe, store, CPU, Finished([store]), rates)

    one, both = planned(fixed), planned(choosing)
    by_kind = {work.kind: work for work in one.work.values()}
    assert set(by_kind["unlearn"].needs) == {by_kind["pretrain"].id}
    assert {by_kind["retrain"].id, by_kind["unlearn"].id} <= set(by_kind["measure"].needs)
    waiting = [work for work in both.work.values() if work.kind == "unlearn" and len(work.needs) > 1]
    assert len(waiting) == 1
    kinds = sorted(both.work[need].kind for need in waiting[0].needs)
    assert kinds == ["measure", "measure", "pretrain"], "a candidate and the noise floor, and the cell's own original"
    assert both.hours_with(1) == pytest.approx(sum(hours or 0.0 for hours in both.hours_by_work.values()))
    assert both.hours_with(64) < both.hours_with(1)


def test_a_landscape_is_looked_at_point_by_point(store: Store) -> None:
    def looks(**changes: Any) -> float:
        recipe = Recipe("one", defaults={"model": "resnet8"}, blocks=(changes,))
        rates = Rates({Pace("", "resnet8", "fp32"): Rate(1e12, "stated", "a card", False)})
        found = plan(recipe, store, CPU, Finished([store]), rates)
        return next(work.examples for work in found.work.values() if work.kind == "measure")

    more = looks(metrics=["tow", "landscape"], landscape_points=5) - looks(metrics=["tow"])
    assert more == pytest.approx(3 * 25 * 1024 / 3), "three models, 25 points, 512 forget and 512 test images"


def test_the_largest_batch_is_what_is_left_beside_the_weights() -> None:
    config = RunConfig(dataset="cifar10", model="resnet18", precision="bf16", method="finetune", rule="sam-0.1")
    fit = largest_batch(config, 10e9)
    assert fit is not None
    assert fit.fixed_bytes == 4 * 6 * model_weights("resnet18")
    assert fit.image_bytes == 2 * model_work("resnet18", 32)[1]
    assert fit.images == int((9e9 - fit.fixed_bytes) / fit.image_bytes)
    beside = largest_batch(RunConfig(dataset="cifar10", model="resnet18", precision="bf16", rule="sam-0.1"), 10e9)
    assert beside is not None
    assert beside.images == fit.images // 2, "NegGrad holds a forget image beside each retained one"
    assert largest_batch(RunConfig(model="timm:resnet18"), 10e9) is None
    for precision, size in (("fp32", 4), ("fp64", 8)):
        full = largest_batch(replace(config, precision=precision), 10e9)
        assert full is not None
        assert full.image_bytes == size * model_work("resnet18", 32)[1]
        assert full.fixed_bytes == size * 6 * model_weights("resnet18")


def test_copies_of_the_weights_grow_with_the_rule() -> None:
    assert copies_of("sgd") < copies_of("masked-sgd") < copies_of("sam-0.1") < copies_of("minmax-sam-0.1")
    assert copies_of("sgd", "scrub") == copies_of("sgd") + 1
    # Weights, momentum, gradient; SAM's three; a branch's result; a mask of a byte a weight, and its complement.
    exact = {"sgd": 3, "sam-0.1": 6, "asam-1.0": 6, "retain-sam-0.1": 7, "minmax-sam-0.1": 7.5, "masked-sgd": 4.25}
    assert {rule: copies_of(rule) for rule in exact} == exact
    assert copies_of("sgd", "salun") == exact["masked-sgd"]


@pytest.mark.parametrize("kept", [True, False])
def test_a_plan_counts_the_forget_batch_beside_each_other_and_the_weights_that_are_kept(
    kept: bool, store: Store
) -> None:
    cells = {"model": "resnet8", "pretrain_epochs": 4, "epochs": 2, "batch_size": 64, "forget_batch_size": 16}
    recipe = Recipe("beside", defaults=cells, blocks=({},), keep_models=kept)
    found = plan(recipe, store, CPU, Finished([store]))
    examples = {work.kind: work.examples for work in found.work.values()}
    assert (examples["unlearn"], examples["retrain"]) == (2 * 1437 * (1 + 16 / 64), 4 * 1437)
    assert found.weights_bytes == 4 * (2 + kept) * model_weights("resnet8")


def test_a_large_store_is_not_read_whole_for_its_rates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    for seed in range(30):
        store.stages.save(pretrain_key(RunConfig(seed=seed)), b"", {"seconds": 1.0, "gradient_evaluations": 5})
    monkeypatch.setattr("empirical.studies.cost.LOOKED_AT", 10)
    rate = Rates.known(store).of(Pace("digits", "resnet8-narrow", "fp32", 8))
    assert rate is not None
    assert rate.source == "the median of 10 finished stages"


def test_a_stage_that_cannot_be_read_tells_no_rate_and_stops_no_plan(store: Store) -> None:
    facts = {"seconds": 1.0, "gradient_evaluations": 5}
    folders = [store.stages.save(pretrain_key(RunConfig(seed=seed)), b"", facts) for seed in range(5)]
    (folders[0] / "config.json").write_text("")
    (folders[1] / "config.json").unlink()
    (folders[2] / "config.json").write_text("[]")
    (folders[3] / "config.json").write_text('{"config": {"dataset": "of-a-plug-in"}}')
    rate = Rates.known(store).of(Pace("digits", "resnet8-narrow", "fp32", 8))
    assert rate is not None
    assert rate.source == "a finished stage"
