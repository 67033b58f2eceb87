"""Images that are read from disk while a network trains: by other processes, in the same order, with the same crops."""

import io
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from empirical.augmentation.augment import PLANS, boxes, resized_crops
from empirical.data.files import decode_image, scaled
from empirical.data.folders import load_imagenet
from empirical.data.source import file_digest
from empirical.data.stream import Readers, StreamedImages, decode_file, fitting_readers, random_crop, read_image
from empirical.methods.forget import NegGrad
from empirical.models.network import Network
from empirical.models.resnet import Classifier
from empirical.settings.run_config import Runtime
from empirical.training.batches import Arranger, Feed, Rows, Sets
from empirical.training.loop import fit
from empirical.training.rules import Plain
from empirical.training.step import Stage, Step
from repro.base.errors import IntegrityError
from tests.empirical.recorded_ops import ReplayOnCpu
from tests.empirical.tiny import RECIPE, state

COUNT, SIZE, CLASSES = 22, 8, 2


@pytest.fixture
def images(tmp_path: Path) -> StreamedImages:
    return StreamedImages(tmp_path, tuple(picture(tmp_path / f"{row}.jpg", row) for row in range(COUNT)), SIZE)


def picture(path: Path, seed: int, size: tuple[int, int] = (20, 16)) -> str:
    """Write a smooth picture and return its name."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path, quality=95)
    return path.name


def stage_of(images: Any, plan: str = "resized-crop") -> Stage:
    """Return NegGrad on twenty images, the last five of which are forgotten, in batches of four."""
    labels = torch.arange(COUNT) % CLASSES

    def rows(index: Tensor, forget: bool) -> Rows:
        return Rows(index, labels[index], torch.full((len(index),), forget), 4)

    sets = Sets(rows(torch.arange(17), False), rows(torch.arange(17, COUNT), True), CLASSES)
    return Stage(NegGrad(0.8), Plain(), sets, replace(RECIPE, epochs=2), images, PLANS[plan], seed=3)


def network() -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten())
        return Network(Classifier(body, 108, CLASSES), (0.5,) * 3, (0.5,) * 3)


@pytest.mark.parametrize("plan", ["resized-crop", "crop-flip"])
def test_readers_change_nothing_and_graphs_take_batches_that_were_read(images: StreamedImages, plan: str) -> None:
    found = []
    for readers, engine in ((0, "eager"), (2, "eager"), (2, "graph")):
        own, graphs = network(), ReplayOnCpu() if engine == "graph" else None
        log = fit(own, stage_of(replace(images, readers=readers), plan), engine, graphs=graphs)
        found.append((state(own), [row["loss"] for row in log.epochs]))
        assert graphs is None or graphs.recordings
    for weights, losses in found[1:]:
        assert losses == found[0][1]
        assert all(torch.equal(tensor, found[0][0][name]) for name, tensor in weights.items())


def test_a_batch_is_the_rows_of_its_step_cut_by_their_draws(images: StreamedImages) -> None:
    stage, arranger = stage_of(images), Arranger(3, PLANS["resized-crop"].columns)
    phase = stage.method.phases(stage.sets, 0, arranger.generator("labels"))[0]
    orders = arranger.arrange(phase, "epoch", 0)
    feed = Feed(images, crops=True, device=torch.device("cpu"), own=lambda size: slice(1, size))
    for number in (0, 1, 4, 2):  # an interrupted epoch begins in its middle
        for name, (read, labels, *_) in feed(orders, number).items():
            index, whole, _, draws = orders[name].inputs(number)
            assert torch.equal(labels, whole[1:])
            expected = [
                random_crop(images.root / f"{row}.jpg", SIZE, own) for row, own in zip(index, draws, strict=True)
            ]
            assert torch.equal(read, torch.stack(expected)[1:])


def test_images_are_read_ahead_once_for_every_step(images: StreamedImages, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    read = Readers.__call__
    monkeypatch.setattr(Readers, "__call__", lambda self, steps: started.append(len(steps)) or read(self, steps))
    fit(network(), stage_of(images))
    assert started == [5, 5], "one reading an epoch, none a batch"


def test_readers_stay_from_epoch_to_epoch_and_after_one_that_was_not_read_to_its_end(images: StreamedImages) -> None:
    readers = Readers(replace(images, readers=2))
    seen = []
    for length in (3, 1, 3):  # the second reading ends early
        wanted = [{"": (np.arange(at, at + 4), None)} for at in range(0, 12, 4)]
        found = readers(wanted)
        batches = [next(found)[""] for _ in range(length)]
        assert torch.equal(torch.cat(batches), images[slice(0, 4 * length)])
        assert readers._loader is not None
        seen.append([one.pid for one in readers._loader._iterator._workers])  # type: ignore[union-attr]
    assert seen[0] == seen[1] == seen[2]


def test_readers_leave_the_generator_of_the_model_alone(images: StreamedImages) -> None:
    """Dropout draws from torch's own: how many readers there are must change no number."""
    torch.manual_seed(0)
    expected = torch.rand(1)
    for readers in (0, 1):
        torch.manual_seed(0)
        list(Readers(replace(images, readers=readers))([{"": (np.arange(4), None)}]))
        assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(("free", "asked", "found"), [
    (10_000, 16, (16, 3)), (4_900, 16, (16, 3)), (1_900, 16, (16, 1)), (900, 16, (8, 1)), (100, 16, (0, 1)),
    (0, 0, (0, 3)),
])  # fmt: skip
def test_no_more_is_read_ahead_than_shared_memory_holds(
    free: int, asked: int, found: tuple[int, int], monkeypatch: pytest.MonkeyPatch, caplog: Any, tmp_path: Path
) -> None:
    """Batches of 100 bytes, one more than those ahead; a container's 64 MB would kill readers by a bus error."""
    monkeypatch.setattr("empirical.data.stream.SHARED", tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    assert fitting_readers(asked, 100) == found
    lines = [record.getMessage() for record in caplog.records]
    assert bool(lines) == (found[0] < asked)
    assert all("--shm-size" in line for line in lines)


def test_a_random_crop_is_the_part_its_draws_name(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg", 0, (32, 32))
    whole = decode_file(tmp_path / "a.jpg")
    everything = torch.tensor([0.0, 0.0, 0.0, 1.0, 0.5])
    assert torch.equal(random_crop(tmp_path / "a.jpg", 32, everything), whole)
    mirrored = random_crop(tmp_path / "a.jpg", 32, everything + torch.tensor([0, 0, 0.5, 0, 0]))
    assert torch.equal(mirrored, whole.flip(2))
    quarter = torch.tensor([1.0, 1.0, 0.0, (0.25 - 0.08) / 0.92, 0.5])
    corner = random_crop(tmp_path / "a.jpg", 16, quarter)
    assert torch.equal(corner, whole[:, 16:, 16:])


def test_parts_lie_inside_their_image_and_have_the_area_and_aspect_they_should() -> None:
    draws = torch.rand(4000, 5, generator=torch.Generator().manual_seed(0))
    top, left, tall, wide = boxes(draws, 100, 100).unbind(1)
    assert float(torch.stack([top, left]).min()) >= 0
    assert float(torch.stack([top + tall, left + wide]).max()) <= 100 + 1e-3
    fits = (tall < 100) & (wide < 100)
    share = (tall * wide / 1e4)[fits]
    assert float(share.min()) == pytest.approx(0.08, abs=0.01)
    assert torch.allclose(share, (0.08 + 0.92 * draws[:, 3])[fits], atol=1e-5)
    aspect = (wide / tall)[fits]
    assert float(aspect.min()) == pytest.approx(3 / 4, abs=0.01)
    assert float(aspect.max()) == pytest.approx(4 / 3, abs=0.01)


def test_images_in_memory_are_cut_alike(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg", 1, (32, 32))
    whole = decode_file(tmp_path / "a.jpg")
    draws = torch.rand(40, 5, generator=torch.Generator().manual_seed(1))
    held = resized_crops(whole.expand(40, -1, -1, -1), draws).int()
    read = torch.stack([random_crop(tmp_path / "a.jpg", 32, own) for own in draws]).int()
    assert float((held - read).abs().float().mean()) < 6, "parts of whole pixels, of 256 levels"
    assert float((held.flip(3) - read).abs().float().mean()) > 20


def test_a_file_that_cannot_be_decoded_is_named_by_a_reader(images: StreamedImages) -> None:
    (images.root / "18.jpg").write_bytes(b"nonsense")
    for readers in (0, 1):
        with pytest.raises(IntegrityError, match=r"18\.jpg: the image cannot be decoded") as caught:
            fit(network(), stage_of(replace(images, readers=readers)))
        assert "\n" not in str(caught.value), "one line, no traceback of a reader"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("read", [decode_file, lambda path: read_image(path, 8), file_digest])
def test_a_pipe_among_the_images_is_named_and_not_waited_for(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    found: list[str] = []

    def attempt() -> None:
        try:
            read(tmp_path / "a.jpg")
        except IntegrityError as error:
            found.append(str(error))

    reader = threading.Thread(target=attempt, daemon=True)
    reader.start()
    reader.join(30)
    assert len(found) == 1, "waited for a pipe"
    assert "a.jpg: " in found[0]
    assert "no regular file" in found[0]


def test_what_was_cut_as_it_was_read_is_not_cut_again(images: StreamedImages) -> None:
    read, draws = torch.zeros(3, 3, SIZE, SIZE, dtype=torch.uint8), torch.rand(3, 5)
    assert Step(network(), stage_of(images)).augment(read, draws) is read
    held = torch.randint(0, 256, (COUNT, 3, SIZE, SIZE), dtype=torch.uint8)
    assert not torch.equal(Step(network(), stage_of(held)).augment(held[:3], draws), held[:3])


def test_grey_of_16_bits_is_scaled_however_it_is_read(tmp_path: Path) -> None:
    """An X-ray: Pillow's own conversion would cut everything above 255 off."""
    ramp = np.linspace(0, 65535, 64).round().astype(np.uint16).reshape(8, 8)
    expected = np.repeat((ramp / 257).round()[None], 3, 0)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        read = [scaled(image, 8), decode_image(data, "a.png"), decode_file(tmp_path / "a.png").numpy()]
    assert all(one.dtype == np.uint8 and np.array_equal(one, expected) for one in read)


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_numbers_of_32_bits_are_refused_because_no_file_names_their_range(tmp_path: Path, kind: type) -> None:
    Image.fromarray(np.zeros((8, 8), kind)).save(tmp_path / "a.tiff")
    with pytest.raises(IntegrityError, match=r"a\.tiff: the image cannot be decoded \(mode ., 32 bits per pixel"):
        decode_image((tmp_path / "a.tiff").read_bytes(), "a.tiff")


def test_a_picture_that_torch_does_not_know_is_read_by_pillow(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "BMP")
    (tmp_path / "a.bmp").write_bytes(data.getvalue())
    assert np.array_equal(decode_file(tmp_path / "a.bmp").permute(1, 2, 0).numpy(), pixels)


def test_imagenet_is_scaled_to_256_and_cut_to_224_and_keeps_that_ratio_at_other_sizes(tmp_path: Path) -> None:
    for side in ("train", "val"):
        for name in ("n1", "n2"):
            (tmp_path / "imagenet" / side / name).mkdir(parents=True)
            picture(tmp_path / "imagenet" / side / name / "a.JPEG", 0)
    for options, (size, short) in (({"memory": 0}, (224, 256)), ({"memory": 0, "size": 56}, (56, 64))):
        held: Any = load_imagenet(options, Runtime(device="cpu", readers=3, data_root=str(tmp_path)))
        assert (held.train_images.size, held.train_images.short, held.train_images.readers) == (size, short, 3)
