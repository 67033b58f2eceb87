"""Data sets and models by a name of their own: folder:PATH, hub:NAME, timm:NAME; forget sets by a condition."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from empirical.data.images import load_dataset
from empirical.data.source import data_digest
from empirical.registry import load
from empirical.runs.imports import import_index, rows_where
from empirical.runs.run import run
from empirical.settings.run_config import RunConfig, Runtime
from repro.base.errors import ConfigError, MissingDataError
from repro.records.store import Store
from tests.empirical.pictures import picture, png, write_folder, write_parquet


def folder_config(root: Path) -> RunConfig:
    return RunConfig(
        dataset=f"folder:{root}", dataset_options="size=8", pretrain_epochs=2, epochs=1, batch_size=8,
        pretrain_batch_size=8, forget_fraction=0.25, augment="flip",
    )  # fmt: skip


def test_a_folder_without_sides_holds_out_a_fifth_of_each_class(tmp_path: Path) -> None:
    images = load_dataset(folder_config(write_folder(tmp_path / "pets")), Runtime())
    assert [int((images.test_labels == k).sum()) for k in (0, 1)] == [2, 2]
    assert images.train_images.shape == (16, 3, 8, 8)
    assert float(images.train_images[images.train_labels == 1][:, 1].float().mean()) > 140


def test_another_picture_is_another_data_set_and_a_class_without_one_is_refused(tmp_path: Path) -> None:
    """It would shift the labels; to test on fewer classes is no fault."""
    config = folder_config(write_folder(tmp_path / "pets"))
    before = data_digest(config, Runtime())
    picture(99).save(tmp_path / "pets" / "cats" / "0.png")
    assert data_digest(config, Runtime()) not in ("", before)
    (tmp_path / "pets" / "ants").mkdir()
    with pytest.raises(MissingDataError, match="ants: holds no images"):
        load_dataset(config, Runtime())
    with pytest.raises(MissingDataError, match="nor a folder for each class"):
        load_dataset(replace(config, dataset=f"folder:{tmp_path / 'nothing'}"), Runtime())
    for side in ("train", "val"):
        write_folder(tmp_path / "sides" / side)
    for path in (tmp_path / "sides" / "val" / "dogs").iterdir():
        path.unlink()
    images = load_dataset(folder_config(tmp_path / "sides"), Runtime())
    assert (images.classes, set(images.test_labels.tolist())) == (2, {0})


@pytest.mark.parametrize(
    ("dataset", "options"), [("hub:x", "test=[1]"), ("tiny-imagenet", "folder=5"), ("hub:x", "test=5")]
)
def test_an_option_of_the_wrong_kind_is_named_before_files_are_looked_for(
    dataset: str, options: str, tmp_path: Path
) -> None:
    config = RunConfig(dataset=dataset, dataset_options=options)
    runtime = Runtime(data_root=str(tmp_path))
    assert data_digest(config, runtime) == ""
    with pytest.raises(ConfigError, match=options.split("=")[0]):
        load_dataset(config, runtime)


def hub_file(path: Path, kinds: list[int], size: tuple[int, int] = (8, 8)) -> None:
    images = [png(number, kind, size) for number, kind in enumerate(kinds)]
    write_parquet(path, images, image="image", label=kinds, age=[10 * number for number in range(len(kinds))])


def test_a_hubs_parquet_files_are_read_where_they_are(tmp_path: Path) -> None:
    hub_file(tmp_path / "me" / "pets" / "data" / "train-00000-of-00002.parquet", [0, 1])
    hub_file(tmp_path / "me" / "pets" / "data" / "train-00001-of-00002.parquet", [2])
    hub_file(tmp_path / "me" / "pets" / "data" / "validation-00000.parquet", [1])
    config, runtime = RunConfig(dataset="hub:me/pets"), Runtime(data_root=str(tmp_path))
    images = load_dataset(config, runtime)
    assert images.train_labels.tolist() == [0, 1, 2]
    assert images.test_labels.tolist() == [1]
    assert images.classes == 3
    assert len(data_digest(config, runtime)) == 16
    smaller = load_dataset(replace(config, dataset_options="size=4"), runtime)
    assert smaller.train_images.shape == (3, 3, 4, 4)


def test_a_hub_set_says_what_is_missing_and_never_fetches_unasked(tmp_path: Path) -> None:
    runtime = Runtime(data_root=str(tmp_path))
    with pytest.raises(MissingDataError, match=r"train side not found; .*--allow-download"):
        load_dataset(RunConfig(dataset="hub:me/pets"), runtime)
    with pytest.raises(ConfigError, match="hub:OWNER/NAME"):
        load_dataset(RunConfig(dataset="hub:../secret"), runtime)
    hub_file(tmp_path / "p" / "train.parquet", [0, 1])
    hub_file(tmp_path / "p" / "test.parquet", [1], size=(9, 8))
    hub_file(tmp_path / "p" / "test-2.parquet", [1])
    with pytest.raises(ConfigError, match="2 different sizes"):
        load_dataset(RunConfig(dataset="hub:p"), runtime)
    with pytest.raises(ConfigError, match=r"size = 100000: would take about 30 GB per image"):
        load_dataset(RunConfig(dataset="hub:p", dataset_options="size=100000"), runtime)


def test_a_timm_model_is_unlearned_end_to_end(tmp_path: Path, store: Store) -> None:
    config = replace(folder_config(write_folder(tmp_path / "pets")), model="timm:mobilenetv3_small_050")
    record = run(replace(config, dataset_options="size=32", rule="sam-0.1"), store, Runtime(device="cpu"))
    assert record.status == "ok"
    assert record.result["parameters"] > 100_000
    assert record.result["n_forget"] + record.result["n_retain"] == 16
    assert 0 <= record.result["tow"] <= 1
    with pytest.raises(ConfigError, match=r"timm has no such model .did you mean 'resnet18'"):
        load("models", "timm:resnet_18")((3, 32, 32), 5)


@pytest.mark.parametrize("name", ["resnet10t", "vit_tiny_patch16_224", "convnext_atto"])
def test_features_and_head_of_a_timm_model_are_timms_own(name: str) -> None:
    torch.manual_seed(0)
    model = load("models", f"timm:{name}")((3, 32, 32), 5).eval()
    images = torch.rand(2, 3, 32, 32)
    assert torch.allclose(model.head(model.features(images)), model.net(images), atol=1e-6)
    assert torch.equal(
        model.features(images), model.net.forward_head(model.net.forward_features(images), pre_logits=True)
    )


TABLE = pd.DataFrame({"age": [10, 70, 65, 70], "sex": ["F", "F", "M", "M"], "note": ["a and b", "c", "c", "d"]})


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ("age >= 65", [1, 2, 3]),
        ("age > 65 and sex == F", [1]),
        ("age != 70 and sex == 'M'", [2]),
        ('sex in ["F"]', [0, 1]),
        ('note == "a and b"', [0]),
        ("age <= 10", [0]),
        ("age < 70 and age > 10", [2]),
    ],
)
def test_rows_that_meet_a_condition(tmp_path: Path, where: str, rows: list[int]) -> None:
    TABLE.to_csv(tmp_path / "people.csv", index=False)
    TABLE.to_parquet(tmp_path / "people.parquet")
    for name in ("people.csv", "people.parquet"):
        assert rows_where(tmp_path / name, where).tolist() == rows


@pytest.mark.parametrize(
    ("where", "rows"), [("age >= 20", [2]), ("age != 10", [1, 2]), ("age in [20, 30]", [2]), ("age == 10", [0])]
)
def test_a_missing_value_is_unlike_any_other_whatever_kind_of_table_holds_it(
    tmp_path: Path, where: str, rows: list[int]
) -> None:
    """Of whole numbers with a gap pandas makes real ones where it reads text, and keeps its own kind in Parquet."""
    table = pd.DataFrame({"age": pd.array([10, None, 20], dtype="Int64"), "fit": pd.array([True, None, False])})
    table.to_csv(tmp_path / "people.csv", index=False)
    table.to_parquet(tmp_path / "people.parquet")
    for name in ("people.csv", "people.parquet"):
        assert rows_where(tmp_path / name, where).tolist() == rows
    assert rows_where(tmp_path / "people.parquet", "fit == true").tolist() == [0]


def test_columns_that_are_numbered_have_their_numbers_for_names(tmp_path: Path) -> None:
    pd.DataFrame({0: [1, 2], 7: [5, 9]}).to_parquet(tmp_path / "plain.parquet")
    assert rows_where(tmp_path / "plain.parquet", "7 >= 9").tolist() == [1]
    with pytest.raises(ConfigError, match="where = '8': must be one of 0, 7"):
        rows_where(tmp_path / "plain.parquet", "8 >= 9")


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("ages > 3", "did you mean 'age'"),
        (f"weight > 1{'0' * 400}", "column weight holds float64, not such a value"),
        ("age", "COLUMN SIGN VALUE"),
        ("age > 99", "none of 4 does"),
        ("age > old", "column age holds int64"),
        ("age in 3", "takes a list"),
        ("__import__('os').system('x')", "COLUMN SIGN VALUE"),
    ],
)
def test_a_condition_that_says_nothing_is_refused(tmp_path: Path, where: str, said: str) -> None:
    TABLE.assign(weight=60.5).to_csv(tmp_path / "people.csv", index=False)
    with pytest.raises(ConfigError, match=said):
        rows_where(tmp_path / "people.csv", where)


@pytest.mark.parametrize(
    ("name", "content"), [("a.csv", b""), ("a.csv", b"\xff\xfe\x00age"), ("a.parquet", b"PAR1 and no more")]
)
def test_a_table_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=f"table {name}: cannot be read as"):
        rows_where(tmp_path / name, "age > 3")


def test_the_rows_of_a_condition_are_forgotten(tmp_path: Path, store: Store) -> None:
    ages = pd.DataFrame({"age": np.arange(48)})
    ages.to_csv(tmp_path / "ages.csv", index=False)
    kept = import_index(tmp_path / "ages.csv", store, where="age < 5")
    assert kept.result == {"n": 5, "where": "age < 5", "table": "ages.csv"}
    config = RunConfig(
        dataset="signal-noise", dataset_options="side=8, n=48, n_test=40", augment="none", pretrain_epochs=1, epochs=1,
        difficulty="index", forget_index=kept.run_id,
    )  # fmt: skip
    assert run(config, store, Runtime(device="cpu")).result["n_forget"] == 5
