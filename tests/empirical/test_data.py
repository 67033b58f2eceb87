"""Data sets: contents, the patch model's statistics, file formats, and files that are broken."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from empirical.data.builtin import SignalNoise
from empirical.data.images import ImageSet, load_dataset, stratified_subset
from empirical.data.stream import StreamedImages
from empirical.runs.resources import Resources
from empirical.settings.run_config import RunConfig, Runtime
from repro.base.errors import ConfigError, IntegrityError, MissingDataError
from repro.records.store import Store
from tests.empirical.pictures import picture, png, write_folder, write_parquet


def parquet(path: Path, count: int, broken: int | None = None, label: int | None = None) -> None:
    labels = [label if label is not None and i == 3 else i % 10 for i in range(count)]
    write_parquet(path, [b"nonsense" if i == broken else png(i) for i in range(count)], label=labels)


def folder(root: Path) -> None:
    for side, count in (("train", 3), ("val", 2)):
        write_folder(root / "pets" / side, count, classes=("cat", "dog"), size=(24, 24))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REPRO_CACHE", str(tmp_path / "cache"))
    parquet(tmp_path / "cifar10-train.parquet", 20)
    parquet(tmp_path / "cifar10-test.parquet", 10)
    return tmp_path


def load(root: Path, name: str = "cifar10", **settings: object) -> ImageSet:
    return load_dataset(RunConfig(dataset=name, **settings), Runtime(data_root=str(root)))  # type: ignore[arg-type]


def test_digits_are_the_1797_scans_with_every_class_in_both_parts() -> None:
    images = load_dataset(RunConfig(), Runtime())
    assert len(images.train_labels) + len(images.test_labels) == 1797
    assert images.train_images.dtype == torch.uint8
    shares = [torch.bincount(labels).double() / len(labels) for labels in (images.train_labels, images.test_labels)]
    assert torch.allclose(shares[0], shares[1], atol=0.01)


def test_signal_noise_has_the_strength_and_the_noise_it_states() -> None:
    options = SignalNoise(signal_strength=1.5, side=16, n=400)
    text = "signal_strength=1.5, side=16, n=400"
    images = load_dataset(RunConfig(dataset="signal-noise", dataset_options=text, augment="none"), Runtime())
    patches = images.train_images.double()[:, 0].reshape(400, 16, 2, 16).transpose(1, 2).flatten(2)
    sign = (2 * images.train_labels - 1).double()
    signal = patches[:, 0] * sign[:, None]
    assert options.signal_norm == pytest.approx(1.5 * (256 / 400) ** 0.25)
    torch.testing.assert_close(signal[0].norm().item(), options.signal_norm, rtol=1e-6, atol=0)
    assert torch.allclose(signal, signal[0].expand_as(signal))
    assert float((patches[:, 1] @ signal[0]).abs().max()) < 1e-5
    assert float(patches[:, 1].pow(2).sum(1).mean()) == pytest.approx(255, rel=0.02)
    assert int(images.train_labels.sum()) == 200


def patches_of(text: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the patches `(n, P, side^2)` and the labels of a training set of signal-noise images with side 16."""
    images = load_dataset(RunConfig(dataset="signal-noise", dataset_options=text, augment="none"), Runtime())
    return images.train_images[:, 0].unfold(2, 16, 16).transpose(1, 2).flatten(2), images.train_labels


def test_noise_patches_are_independent_or_one_repeated() -> None:
    independent, _ = patches_of("side=16, n=30, patches=4")
    assert float((independent[:, 1] - independent[:, 2]).abs().mean()) > 0.5
    repeated, _ = patches_of("side=16, n=30, patches=4, noise_patches=repeated")
    assert torch.equal(repeated[:, 1], repeated[:, 2])
    assert torch.equal(repeated[:, 1], repeated[:, 3])


def test_labels_are_balanced_or_drawn_one_by_one() -> None:
    counts = [[int(patches_of(f"side=16, n=30, draw={draw}, labels={kind}")[1].sum()) for draw in range(12)]
              for kind in ("balanced", "iid")]  # fmt: skip
    assert counts[0] == [15] * 12
    assert len(set(counts[1])) > 3
    assert 10 < np.mean(counts[1]) < 20


def test_photographs_stand_where_the_noise_was(root: Path) -> None:
    """CIFAR images here are 20 copies of known ones: each is used once, grey, centred and across the signal."""
    text = "n=8, n_test=6, noise=cifar10, signal_strength=1.0"
    config = RunConfig(dataset="signal-noise", dataset_options=text, augment="none")
    images = load_dataset(config, Runtime(data_root=str(root)))
    patches = images.train_images[:, 0].unfold(2, 32, 32).transpose(1, 2).flatten(2)
    tests = images.test_images[:, 0].unfold(2, 32, 32).transpose(1, 2).flatten(2)
    signal = patches[:, 0] * (2 * images.train_labels - 1)[:, None]
    assert float((patches[:, 1] @ signal[0]).abs().max()) < 1e-3
    noise = torch.cat([patches[:, 1], tests[:, 1]])
    apart = torch.cdist(noise, noise) + 1e9 * torch.eye(14)
    assert float(apart.min()) > 1.0
    for text, message in (("n=15, n_test=6, noise=cifar10", "at most 20"), ("side=16, noise=cifar10", "side = 16")):
        with pytest.raises(ConfigError, match=message):
            load_dataset(replace(config, dataset_options=text), Runtime(data_root=str(root)))


def test_a_stratified_subset_has_every_class_in_its_share() -> None:
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    rows = stratified_subset(labels, 33, np.random.default_rng(0))
    assert np.bincount(labels[rows]).tolist() == [16, 10, 7]
    assert len(np.unique(rows)) == 33


def test_hub_parquet_is_decoded_once_and_then_read_from_the_cache(root: Path) -> None:
    first = load(root)
    assert first.train_images.shape == (20, 3, 32, 32)
    expected = np.asarray(picture(4)).transpose(2, 0, 1)
    assert np.array_equal(first.train_images[4].numpy(), expected)
    assert first.mean == (0.4914, 0.4822, 0.4465)  # as published, whatever the pixels
    assert first.std == (0.2470, 0.2435, 0.2616)
    assert len(list((root / "cache").glob("*.sealed"))) == 2
    assert torch.equal(load(root).train_images, first.train_images)
    assert load(root, n_train=10).train_images.shape[0] == 10


def test_the_hubs_cifar100_is_read_by_its_hundred_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files have two columns of labels: `fine_label`, the class, and `coarse_label`, one of 20 groups of them."""
    monkeypatch.setenv("REPRO_CACHE", str(tmp_path / "cache"))
    classes = {"train": [99, 0, 42, 57], "test": [3, 98]}
    for order in (("coarse_label", "fine_label"), ("fine_label", "coarse_label")):
        root = tmp_path / order[0]
        for side, fine in classes.items():
            columns: dict[str, Any] = {"fine_label": fine, "coarse_label": [label // 5 for label in fine]}
            images = [png(label) for label in fine]
            write_parquet(root / f"cifar100-{side}.parquet", images, **{name: columns[name] for name in order})
        for _ in ("decoded", "from the cache"):
            found = load(root, "cifar100")
            assert (found.train_labels.tolist(), found.test_labels.tolist()) == (classes["train"], classes["test"])
            assert found.classes == 100
            published = (0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)
            assert (found.mean, found.std) == published, "of its own"


@pytest.mark.parametrize("archive", ["CIFAR10", "CIFAR100"])
def test_torchvisions_archive_is_read_where_there_are_no_parquet_files(
    archive: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pixels are rows of columns of colours, its labels a list; nothing is fetched unasked."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)

    class Archive:
        def __init__(self, root: str, *, train: bool, download: bool) -> None:
            assert (root, download) == (str(tmp_path), False)
            self.data, self.targets = (pixels[:4], [3, 1, 4, 1]) if train else (pixels[4:], [5, 9])

    monkeypatch.setattr(f"torchvision.datasets.{archive}", Archive)
    images = load(tmp_path, archive.lower())
    for found, given in ((images.train_images, pixels[:4]), (images.test_images, pixels[4:])):
        assert np.array_equal(found.numpy(), np.moveaxis(given, 3, 1))
    assert (images.train_labels.tolist(), images.test_labels.tolist()) == ([3, 1, 4, 1], [5, 9])
    assert images.classes == int(archive.removeprefix("CIFAR"))


def test_folders_of_one_process_are_told_apart_by_their_options(tmp_path: Path, store: Store) -> None:
    folder(tmp_path)
    (tmp_path / "pets").rename(tmp_path / "others")
    folder(tmp_path)
    (tmp_path / "pets" / "train" / "cat" / "0.png").write_bytes(png(77, 0, (24, 24)))
    resources = Resources(store, Runtime(device="cpu", data_root=str(tmp_path)))
    configs = [RunConfig(dataset="folder", dataset_options=f"folder={name}, size=16") for name in ("pets", "others")]
    assert len({resources.identified(config).data for config in configs} - {""}) == 2
    shown = [resources.images(config).train_images[0] for config in configs]
    assert not torch.equal(shown[0], shown[1])


def test_shards_of_a_hub_are_joined_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPRO_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cifar10" / "data"
    folder.mkdir(parents=True)
    for name, count in (("train-00000-of-00002", 12), ("train-00001-of-00002", 5), ("test-00000-of-00001", 4)):
        parquet(folder / f"{name}.parquet", count)
    images = load(tmp_path)
    assert images.train_labels.tolist() == [*range(10), 0, 1, *range(5)]
    assert len(images.test_labels) == 4


def changed(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(("spoil", "error", "said"), [
    (lambda path: parquet(path, 20, broken=13), IntegrityError, r"cifar10-train.parquet row 13"),
    (lambda path: parquet(path, 20, label=10), ConfigError, r"label of row 3 = 10: must be in \[0, 9\]"),
    (lambda path: changed(path, lambda raw: raw[:-100]), IntegrityError, r"cifar10-train\.parquet"),
    *((lambda path, name=name: changed(path, lambda raw: raw.replace(name, b"\x80" + name[1:])), IntegrityError,
       r"cifar10-train\.parquet: not a complete Parquet file") for name in (b"img", b"label")),
])  # fmt: skip
def test_a_damaged_parquet_file_is_named(spoil: Callable[[Path], None], error: type, said: str, root: Path) -> None:
    """Its row where one image or label is wrong; names of columns may be no text."""
    spoil(root / "cifar10-train.parquet")
    with pytest.raises(error, match=said):
        load(root)


def test_missing_data_names_the_ways_to_bring_it(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"cifar10-train.parquet.*--allow-download"):
        load(tmp_path)
    with pytest.raises(MissingDataError, match=r"train/<class>"):
        load(tmp_path, "tiny-imagenet")


def test_a_folder_reads_the_same_in_memory_and_streamed(tmp_path: Path) -> None:
    folder(tmp_path)
    held = load(tmp_path, "folder", dataset_options="folder=pets, size=16")
    streamed = load(tmp_path, "folder", dataset_options="folder=pets, size=16, memory=0")
    assert isinstance(streamed.train_images, StreamedImages)
    assert held.train_labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert held.train_names == tuple(f"{name}/{number}.png" for name in ("cat", "dog") for number in range(3))
    index = torch.tensor([4, 0])
    assert torch.equal(held.train_images[index], streamed.train_images[index])
    assert [len(chunk) for chunk in streamed.train_images.split(4)] == [4, 2]
    (tmp_path / "pets" / "train" / "dog" / "1.png").write_bytes(b"nonsense")
    with pytest.raises(IntegrityError, match=r"dog/1.png"):
        load(tmp_path, "folder", dataset_options="folder=pets, size=16")


@pytest.mark.parametrize("shape", [(20, 40), (40, 20)])
def test_the_middle_is_cut_out_of_an_image_that_is_no_square(tmp_path: Path, shape: tuple[int, int]) -> None:
    folder(tmp_path)
    pixels = np.zeros(shape, np.uint8)
    middle = tuple(slice(edge // 2 - 10, edge // 2 + 10) for edge in shape)
    pixels[middle] = 255
    Image.fromarray(pixels).save(tmp_path / "pets" / "train" / "cat" / "0.png")
    seen = load(tmp_path, "folder", dataset_options="folder=pets, size=10").train_images[0]
    assert seen.shape == (3, 10, 10)
    assert bool((seen[:, 1:-1, 1:-1] == 255).all()), "its black ends are left out"
