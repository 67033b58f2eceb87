"""An id says how a model is made; the checksum beside it says what came of it."""

import hashlib
from pathlib import Path

from safetensors.torch import load_file, save

from empirical.runs.resources import Resources
from empirical.runs.run import run
from empirical.settings.keys import pretrain_key
from empirical.settings.run_config import Runtime
from repro.records.record import Record
from repro.records.stages import same_weights
from repro.records.store import Store
from tests.empirical.conftest import Small
from tests.empirical.run_parts import CPU


def weights_file(record: Record, store: Store, stage: str) -> Path:
    return store.root / "models" / record.result["parents"][stage] / "weights.safetensors"


def test_a_record_names_the_weights_it_is_about(small: Small, resources: Resources) -> None:
    """Anybody can compare: the checksum is the beginning of the file's sha256."""
    record = run(small(), resources.store, resources=resources)
    for stage in ("pretrain", "retrain", "unlearn"):
        file = weights_file(record, resources.store, stage).read_bytes()
        assert record.result["parents"][f"{stage}_checksum"] == hashlib.sha256(file).hexdigest()[:16]


def test_weights_that_are_not_kept_have_a_checksum_too(small: Small, store: Store, tmp_path: Path) -> None:
    kept = run(small(), store, CPU)
    lean = Store(tmp_path / "lean")
    record = run(small(), lean, Runtime(device="cpu", keep_models=False))
    assert not weights_file(record, lean, "unlearn").exists()
    assert record.result["parents"] == kept.result["parents"]


def test_numbers_of_other_weights_are_measured_again(small: Small, store: Store) -> None:
    """The original is trained anew elsewhere: its id is the same, its weights and its accuracy are others."""
    config = Resources(store, Runtime()).identified(small())
    first = run(config, store, CPU)
    weights = {name: 0 * tensor for name, tensor in load_file(weights_file(first, store, "pretrain")).items()}
    store.stages.save(pretrain_key(config), save(weights), {})
    (store.root / "runs" / first.run_id).rename(store.root / "gone")
    again = run(config, store, CPU)
    assert again.run_id == first.run_id
    assert again.result["evaluations"] == first.result["evaluations"]
    assert again.result["parents"]["pretrain_checksum"] != first.result["parents"]["pretrain_checksum"]
    assert again.result["original_retain_accuracy"] != first.result["original_retain_accuracy"]


def test_what_is_not_known_is_taken_for_the_same() -> None:
    """Records of before checksums were kept have none."""
    old, new = {"pretrain": "a"}, {"pretrain": "a", "pretrain_checksum": "1"}
    assert same_weights(old, new)
    assert same_weights(new | {"pretrain_checksum": None}, new)
    assert not same_weights(new, new | {"pretrain_checksum": "2"})
    assert not same_weights(old, {"pretrain": "b"})
