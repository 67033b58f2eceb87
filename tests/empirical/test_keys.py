"""What identifies stages and numbers: everything the weights depend on, nothing that only measures them."""

import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from empirical import registry
from empirical.registry import Metric
from empirical.runs import evaluations, stages
from empirical.runs.resources import Resources
from empirical.runs.run import run
from empirical.settings.keys import (
    absent_metrics,
    again_key,
    evaluation_keys,
    forget_set_digest,
    ordered_metrics,
    pretrain_key,
    retrain_key,
)
from empirical.settings.run_config import RunConfig, Runtime
from empirical.studies import executors
from empirical.studies.finished import Finished, with_data
from empirical.studies.measure import measure_runs
from repro.base.ending import Stopped
from repro.base.errors import ConfigError, MissingDataError
from repro.records.store import Store
from tests.empirical.conftest import Small
from tests.empirical.pictures import png, write_parquet
from tests.empirical.run_parts import CPU, PARENTS, prepared


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function after which training anything fails the test."""

    def forbidden(*arguments: object, **options: object) -> None:
        raise AssertionError("something was trained")

    return lambda: monkeypatch.setattr(stages, "fit", forbidden)


def test_more_metrics_train_nothing_and_change_no_identity(
    small: Small, store: Store, no_training: Callable[[], None]
) -> None:
    first = run(small(metrics=("accuracy",)), store, CPU)
    no_training()
    second = run(small(metrics=("margins", "gap")), store, CPU)
    assert second.run_id == first.run_id
    assert second.config["metrics"] == ["accuracy", "margins", "gap"]
    assert {"accuracy", "mia", "gap", "margins"} <= set(second.result["evaluations"])
    assert second.result["average_gap"] >= 0
    assert len(second.arrays()["margin_unlearned"]) == second.result["n_forget"]
    assert second.provenance["finished"] == first.provenance["finished"]


def test_a_metric_runs_after_what_it_needs_without_being_told(small: Small, store: Store) -> None:
    """`tow` alone used to die after training, and `accuracy` alone to crash the printing."""
    assert ordered_metrics(("gap", "accuracy")) == ["accuracy", "mia", "gap"]
    assert 0 < run(small(metrics=("tow",)), store, CPU).result["tow"] <= 1


def test_a_setting_of_a_metric_is_part_of_its_numbers_only(
    small: Small, store: Store, no_training: Callable[[], None]
) -> None:
    coarse = run(small(metrics=("landscape", "accuracy"), landscape_points=3), store, CPU)
    no_training()
    fine = run(small(metrics=("landscape", "accuracy"), landscape_points=5), store, CPU)
    assert fine.run_id == coarse.run_id
    ids = [record.result["evaluations"] for record in (coarse, fine)]
    assert ids[0]["accuracy"] == ids[1]["accuracy"]
    assert ids[0]["landscape"] != ids[1]["landscape"]
    assert len(fine.arrays()["landscape_axis"]) == 5
    # The record says how it was measured last, and keeps how it was made.
    assert (coarse.config["landscape_points"], fine.config["landscape_points"]) == (3, 5)
    assert fine.provenance == coarse.provenance
    assert fine.epochs() == coarse.epochs()


def test_a_new_version_of_a_metric_is_measured_again_and_so_is_what_reads_it(
    small: Small, store: Store, no_training: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = run(small(metrics=("tow", "margins")), store, CPU)
    no_training()
    accuracy = registry.METRICS["accuracy"]
    monkeypatch.setitem(registry.METRICS, "accuracy", replace(accuracy, version=accuracy.version + 1))
    new = run(small(metrics=("tow", "margins")), store, CPU)
    before, after = old.result["evaluations"], new.result["evaluations"]
    assert before["accuracy"] != after["accuracy"]
    assert before["tow"]["id"] != after["tow"]["id"]
    assert before["margins"] == after["margins"]


@pytest.mark.parametrize("change", [{"n_test": 100}, {"rows_measured": "report"}], ids=str)
def test_other_images_measured_are_other_numbers_of_the_same_models(change: dict[str, Any]) -> None:
    whole, part = RunConfig(metrics=("tow", "margins")), RunConfig(metrics=("tow", "margins"), **change)
    assert pretrain_key(whole).id == pretrain_key(part).id
    ids = [{name: key.id for name, key in evaluation_keys(one, PARENTS).items()} for one in (whole, part)]
    assert all(ids[0][name] != ids[1][name] for name in ids[0])


TOGETHER = [{"batch_parts": 2}, {"perturbation": "local"}, {"sync_batchnorm": True}]  # how processes share a step


@pytest.mark.parametrize("change", [
    *TOGETHER, {"data": "other"}, {"model": "resnet8"}, {"pretrain": "sam-0.1"}, {"seed": 1}, {"pretrain_lr": 0.2},
    {"pretrain_epochs": 3}, {"pretrain_batch_size": 8}, {"pretrain_optimizer": "adam"}, {"momentum": 0.5},
    {"weight_decay": 0.1}, {"pretrain_schedule": "constant"}, {"augment": "none"}, {"corruption": "snow-3"},
    {"precision": "fp64"}, {"n_train": 500}, {"dataset": "cifar10"}, {"switches": "randaugment=true"},
    {"switches": "double_normalize=true"}, {"switches": "forget_split=reseeded"},
    {"corruption": "glass_blur-3", "switches": "glass_blur=copy"},
], ids=str)  # fmt: skip
def test_whatever_reaches_the_weights_of_the_original_identifies_it(change: dict[str, Any]) -> None:
    same = RunConfig(**{name: value for name, value in change.items() if len(change) > 1 and name != "switches"})
    assert pretrain_key(RunConfig(**change)).id != pretrain_key(same).id


@pytest.mark.parametrize("change", [
    {"lr": 0.5}, {"method": "scrub"}, {"alpha": 0.5}, {"difficulty": "class"}, {"unlearn_seed": 3}, {"n_test": 10},
    {"metrics": ("hessian",)}, {"switches": "mask_polarity=low"}, {"switches": "tow=signed"}, {"epochs": 9},
], ids=str)  # fmt: skip
def test_what_comes_after_pretraining_does_not_identify_the_original(change: dict[str, Any]) -> None:
    assert pretrain_key(RunConfig(**change)).id == pretrain_key(RunConfig()).id


UNLEARNING = [
    *TOGETHER,
    {"lr": 0.5}, {"alpha": 0.5}, {"unlearn_seed": 3}, {"epochs": 2}, {"rule": "asam-1.0"}, {"batch_size": 8},
    {"switches": "mask_polarity=low"}, {"switches": "forget_cycle=cached"}, {"schedule": "cosine"},
    {"switches": "forget_statistics=keep"}, {"mask_fraction": 0.1}, {"optimizer": "adamw"}, {"momentum": 0.1},
    {"forget_batch_size": 4}, {"method": "random_label"}, {"forget_fraction": 0.1}, {"forget_seed": 2},
    {"pretrain": "sam-0.1"}, {"pretrain_epochs": 1}, {"weight_decay": 0.1}, {"warmup_epochs": 1},
]  # fmt: skip


MEASURING = ("tow=signed", "m_entropy=released", "mia_members=first", "landscape_norm=layer")


@pytest.mark.parametrize("change", [*UNLEARNING, *({"switches": switch} for switch in MEASURING)], ids=str)
def test_whatever_reaches_the_unlearned_weights_identifies_them(
    change: dict[str, Any], small: Small, shared: Resources
) -> None:

    keys = [prepared(c, shared).unlearn_key() for c in (small(), small(**change))]
    assert (keys[0].id == keys[1].id) == (change.get("switches") in MEASURING), "what only measures keeps the models"


def test_retraining_is_identified_by_what_chooses_its_rows() -> None:
    configs = [RunConfig(), RunConfig(difficulty="high"), RunConfig(forget_fraction=0.2), RunConfig(forget_seed=4)]
    configs += [RunConfig(difficulty="class"), RunConfig(difficulty="class", forget_class=1)]
    configs += [RunConfig(difficulty="index", forget_index=name) for name in ("one", "other")]
    configs += [RunConfig(difficulty="high", subsets=8), RunConfig(difficulty="high", scores="theirs")]
    assert len({retrain_key(config, forget_set_digest(config)).id for config in configs}) == len(configs)
    same = RunConfig(method="scrub", rule="sam-0.1", lr=0.3)
    assert retrain_key(same, forget_set_digest(same)).id == retrain_key(configs[0], forget_set_digest(configs[0])).id


def test_the_method_retrain_trains_the_reference_under_the_runs_rule() -> None:
    cell = RunConfig(method="retrain", pretrain="sgd", rule="sgd")
    rows = forget_set_digest(cell)
    assert again_key(cell, rows).id == retrain_key(cell, rows).id
    assert again_key(replace(cell, unlearn_seed=1), rows).id != retrain_key(cell, rows).id
    under_sam = replace(cell, rule="sam-0.1")
    assert again_key(under_sam, rows).id == retrain_key(replace(cell, retrain="sam-0.1"), rows).id
    assert again_key(under_sam, rows).id != again_key(cell, rows).id


def test_a_run_without_a_metric_that_is_asked_for_is_not_finished(small: Small, store: Store) -> None:
    record = run(small(metrics=("accuracy",)), store, CPU)
    (cell,) = with_data([small(metrics=("accuracy",))], CPU, Finished([]))
    found = Finished([store]).find("unlearn", cell)
    assert found is not None
    assert found.run_id == record.run_id
    assert Finished([store]).find("unlearn", replace(cell, metrics=("accuracy", "margins"))) is None


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Runtime]:
    monkeypatch.setenv("REPRO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("REPRO_DATA", raising=False)

    def written(name: str, first: int = 0) -> Runtime:
        for side, count in (("train", 40), ("test", 20)):
            images = [png(first + number) for number in range(count)]
            write_parquet(tmp_path / name / f"cifar10-{side}.parquet", images, label=[one % 10 for one in range(count)])
        return Runtime(device="cpu", data_root=str(tmp_path / name))

    return written


CIFAR = RunConfig(
    dataset="cifar10", model="resnet8-strided", pretrain_epochs=1, epochs=1, augment="none", metrics=("accuracy",)
)


def test_the_same_config_on_other_pixels_is_another_run(pictures: Callable[..., Runtime], store: Store) -> None:
    first, again, other = pictures("a"), pictures("b"), pictures("c", 100)
    records = [run(CIFAR, store, runtime) for runtime in (first, again, other)]
    assert records[0].run_id == records[1].run_id
    assert records[0].run_id != records[2].run_id
    assert records[0].result["parents"]["pretrain"] != records[2].result["parents"]["pretrain"]
    assert records[2].config["data"] == records[2].result["data_digest"] != records[0].config["data"]


def test_a_file_that_changes_is_read_again(pictures: Callable[..., Runtime]) -> None:
    from empirical.data.source import data_digest

    runtime = pictures("a")
    before = data_digest(CIFAR, runtime)
    assert data_digest(CIFAR, runtime) == before
    path = Path(runtime.data_root) / "cifar10-train.parquet"
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1  # of the same size
    path.write_bytes(damaged)
    assert data_digest(CIFAR, runtime) != before


def test_data_that_a_config_pins_must_be_those_that_are_there(pictures: Callable[..., Runtime], store: Store) -> None:
    with pytest.raises(ConfigError, match=r"data = 'feed': must be [0-9a-f]{16}, the digest of cifar10 here"):
        run(replace(CIFAR, data="feed"), store, pictures("a"))


def test_without_the_data_records_are_found_by_the_rest_and_their_data_are_named(
    pictures: Callable[..., Runtime], store: Store, tmp_path: Path
) -> None:
    runtime = pictures("a")
    record = run(CIFAR, store, runtime)
    shutil.rmtree(runtime.data_root)
    gone = Runtime(device="cpu", data_root=str(tmp_path / "nowhere"))
    finished = Finished([store])
    (cell,) = with_data([CIFAR], gone, finished)
    assert cell.data == ""
    found = finished.find("unlearn", cell)
    assert found is not None
    assert found.run_id == record.run_id
    assert finished.unseen == {record.config["data"]}
    assert finished.find("unlearn", replace(cell, lr=0.5)) is None
    assert finished.find("unlearn", replace(cell, data="feed")) is None


def test_weights_that_are_gone_are_trained_again_only_when_asked(small: Small, store: Store) -> None:
    record = run(small(rule="sam-0.1"), store, CPU)
    shutil.rmtree(store.root / "models" / record.result["parents"]["unlearn"])
    with pytest.raises(MissingDataError, match=r"weights of 1 models of 1 runs are gone.* 2 passes .* --retrain"):
        measure_runs([record], ["hessian"], store, CPU)
    (measured,) = measure_runs([record], ["hessian"], store, CPU, retrain=True)
    assert measured.run_id == record.run_id
    assert measured.result["hessian_top"] is not None
    assert measured.result["tow"] == record.result["tow"]


def test_a_signal_ends_a_measurement_and_no_run_passes_for_measured(
    small: Small, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = run(small(), store, CPU)

    def stop(*_: object) -> None:
        raise Stopped(signal.SIGTERM)

    monkeypatch.setattr(executors, "compute_run", stop)
    with pytest.raises(Stopped, match="SIGTERM"):
        measure_runs([record], ["hessian"], store, CPU)


def test_what_is_asked_for_is_checked_before_any_work(small: Small, store: Store) -> None:
    record = run(small(), store, CPU)
    with pytest.raises(ConfigError, match="did you mean 'hessian'"):
        measure_runs([record], ["hesian"], store, CPU)
    with pytest.raises(ConfigError, match="set = 'lr': must be one of rows_measured, attack_size"):
        measure_runs([record], ["hessian"], store, CPU, settings=["lr=3"])
    with pytest.raises(ConfigError, match=r"set = 'attack_size=9': .* attack_size = 8 is given too"):
        measure_runs([record], ["hessian"], store, CPU, settings=["attack-size=8", "attack_size=9"])


def test_two_runs_that_share_their_models_share_the_numbers_of_these(
    small: Small, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []
    real = evaluations.numbers_of
    monkeypatch.setattr(evaluations, "numbers_of", lambda name, *rest: measured.append(name) or real(name, *rest))
    run(small(metrics=("accuracy",)), store, CPU)
    run(small(metrics=("accuracy",), switches="landscape_norm=layer"), store, CPU)
    assert measured == ["accuracy"]


def test_what_a_user_declares_of_a_metric_is_read_from_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.METRICS, "mine", Metric("somewhere:mine", version=3, needs=("tow",)))
    keys = evaluation_keys(RunConfig(metrics=("mine",)), PARENTS)
    assert list(keys) == ["accuracy", "tow", "mine"]
    assert keys["mine"].version == 3
    assert keys["mine"].needs == (keys["tow"].id,)
    alone = RunConfig(metrics=("mine", "accuracy"), retrain="none")
    assert list(evaluation_keys(alone, PARENTS)) == ["accuracy"]
    assert set(absent_metrics(alone)) == {"mine", "tow"}, "what needs a number that needs a retrained model"


def test_a_run_without_a_retrained_model_and_one_that_is_retrained_by_several_rules_are_measured_later(
    small: Small, store: Store
) -> None:
    bare = run(small(retrain="none", metrics=("accuracy",)), store, CPU)
    legs = run(small(method="retrain", rule="sam-0.1:1, sgd", pretrain_epochs=3, epochs=1), store, CPU)
    for record in measure_runs([bare, legs], ["hessian"], store, CPU):
        assert record.result["hessian_top"] is not None
