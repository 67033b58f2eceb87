"""ImageNet as it is published: scores ordered by file name, forget sets of 64,058 images, a mask of 5 %, the recipe."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from empirical.data.folders import _cores
from empirical.data.forget import choose_forget
from empirical.data.images import ImageSet
from empirical.data.stream import StreamedImages
from empirical.registry import load
from empirical.runs.imports import import_scores
from empirical.runs.resources import Resources
from empirical.runs.run import run
from empirical.runs.subset_models import memorization_scores
from empirical.settings.run_config import RunConfig, Runtime
from empirical.studies.recipe import load_recipe
from empirical.training.saliency import saliency_mask
from repro.base.errors import ConfigError
from repro.records.store import Store

IMAGES, FORGOTTEN, CLASSES = 1_281_167, 64_058, 1_000
RECIPE = Path(__file__).parents[2] / "recipes" / "paper-imagenet-resnet50.toml"


def named_set(names: list[str], labels: np.ndarray) -> ImageSet:
    """Return images that are only names: nothing of them is read."""
    shown = StreamedImages(Path(), tuple(names), 8)
    few = StreamedImages(Path(), ("a.JPEG",), 8)
    where = torch.from_numpy(labels)
    return ImageSet("imagenet", shown, where, few, where[:1], CLASSES, (0.5,) * 3, (0.5,) * 3, tuple(names))  # type: ignore[arg-type]


def prepared(resources: Resources, config: RunConfig, images: ImageSet) -> None:
    resources.remember(("data", config.dataset, config.dataset_options, 0, 0), lambda: images)


def score_file(path: Path, names: list[str], scores: np.ndarray, labels: np.ndarray, *, as_bytes: bool = False) -> Path:
    kept = np.array(names, "S" if as_bytes else "U")
    np.savez(path, tr_filenames=kept, tr_mem=scores, tr_labels=labels)
    return path


@pytest.mark.parametrize("as_bytes", [False, True])
@pytest.mark.parametrize("folders", [False, True])
def test_scores_in_another_order_are_put_right_by_the_names_of_their_files(
    folders: bool, as_bytes: bool, resources: Resources, tmp_path: Path
) -> None:
    names, labels = ["n1/n1_0.JPEG", "n1/n1_1.JPEG", "n2/n2_0.JPEG"], np.array([0, 0, 1])
    config = RunConfig(dataset="imagenet")
    prepared(resources, config, named_set(names, labels))
    listed = ["n2/n2_0.jpg", "n2/n2_9.jpg", "n1/n1_1.jpg", "n1/n1_0.jpg"]
    listed = [f"train/{name}" for name in listed] if folders else [name.partition("/")[2] for name in listed]
    path = score_file(
        tmp_path / "s.npz", listed, np.array([0.2, 0.9, 0.1, 0.0]), np.array([1, 1, 0, 0]), as_bytes=as_bytes
    )
    assert import_scores(path, config, resources).arrays()["scores"].tolist() == [0.0, 0.1, 0.2]


def test_a_score_file_of_other_images_is_refused_by_name(resources: Resources, tmp_path: Path) -> None:
    names, labels = ["n1/a.JPEG", "n2/b.JPEG"], np.array([0, 1])
    config = RunConfig(dataset="imagenet")
    prepared(resources, config, named_set(names, labels))

    def refused(listed: list[str], numbers: list[int], message: str) -> None:
        path = score_file(tmp_path / "s.npz", listed, np.linspace(0, 1, len(listed)), np.array(numbers))
        with pytest.raises(ConfigError, match=message):
            import_scores(path, config, resources)

    refused(["a.JPEG", "c.JPEG"], [0, 1], r"no 'n2/b\.JPEG'")
    refused(["a.JPEG", "a.JPEG", "b.JPEG"], [0, 0, 1], r"row 1.*there twice")
    refused(["b.JPEG", "a.JPEG"], [0, 0], r"row 1: label 0 is not the data set's 1")
    resources._cache.clear()
    prepared(resources, config, named_set(["n1/a.JPEG", "n2/a.JPEG"], labels))
    refused(["a.JPEG"], [0], "stands for two images")


@pytest.mark.slow
def test_published_scores_of_all_of_imagenet_give_three_forget_sets_of_64_058(
    resources: Resources, tmp_path: Path
) -> None:
    labels = np.sort(np.arange(IMAGES) % CLASSES)
    names = [f"n{label:08d}/n{label:08d}_{row}.JPEG" for row, label in enumerate(labels)]
    generator = np.random.default_rng(0)
    scores, order = generator.beta(0.3, 1.2, IMAGES), generator.permutation(IMAGES)
    config = RunConfig(dataset="imagenet", forget_fraction=0.05)
    prepared(resources, config, named_set(names, labels))
    listed = [names[row].partition("/")[2] for row in order]
    path = score_file(tmp_path / "s.npz", listed, scores[order], labels[order], as_bytes=True)
    kept = import_scores(path, config, resources)
    config = replace(config, scores=kept.run_id)
    found = memorization_scores(config, resources)
    assert np.array_equal(found, scores)
    low, mid, high = (
        choose_forget(replace(config, difficulty=level), labels, memorization=lambda: found).forget
        for level in ("low", "mid", "high")
    )
    assert [len(rows) for rows in (low, mid, high)] == [FORGOTTEN] * 3
    assert len(np.unique(np.concatenate([low, mid, high]))) == 3 * FORGOTTEN
    ranked = np.sort(scores)
    assert scores[low].max() == ranked[FORGOTTEN - 1]
    assert scores[high].min() == ranked[-FORGOTTEN]
    rest = np.setdiff1d(np.arange(IMAGES), np.concatenate([low, mid, high]))
    assert np.abs(scores[mid] - 0.5).max() <= np.abs(scores[rest] - 0.5).min()


@pytest.mark.parametrize("memory", [0, 1])
def test_a_small_network_goes_the_way_of_the_recipe_on_disk_and_in_memory(
    memory: int, tmp_path: Path, store: Store
) -> None:
    from PIL import Image

    generator, names = np.random.default_rng(0), []
    for label in range(3):
        for side, count in (("train", 6), ("val", 2)):
            folder = tmp_path / "imagenet" / side / f"n{label}"
            folder.mkdir(parents=True)
            for place in range(count):
                pixels = generator.integers(0, 256, (20, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"n{label}_{place}.JPEG")
                names += [f"n{label}_{place}.JPEG"] if side == "train" else []
    resources = Resources(store, Runtime(device="cpu", data_root=str(tmp_path)))
    shape = f"size=16, memory={memory}"
    order = generator.permutation(len(names))
    labels, scores = np.repeat(np.arange(3), 6), np.linspace(0, 1, len(names))
    path = score_file(tmp_path / "s.npz", [names[row] for row in order], scores[order], labels[order])
    kept = import_scores(path, RunConfig(dataset="imagenet", dataset_options=shape), resources)
    cells = {cell.method: cell for cell in load_recipe(RECIPE).runs() if cell.rule in ("sgd", "minmax-asam-1.0")}
    assert set(cells) == {"neggrad", "random_label", "salun", "scrub", "l1_sparse"}
    # bf16 is emulated, hundreds of times slower, on a CPU that does not multiply it; a landscape is 625 evaluations.
    small = {"model": "resnet8-narrow", "scores": kept.run_id, "epochs": 1, "pretrain_epochs": 1, "precision": "fp32",
             "batch_size": 4, "forget_fraction": 0.2, "metrics": ("accuracy", "tow", "mia", "relearning")}  # fmt: skip
    for cell in cells.values() if memory else [cells["neggrad"]]:
        record = run(replace(cell, **small, dataset_options=shape), store, resources=resources)
        assert record.status == "ok"
        assert record.result["n_forget"] == 4
        assert (cell.augment, cell.rule == "sgd") == ("resized-crop", cell.method != "neggrad")


@pytest.mark.slow
def test_the_mask_of_the_paper_marks_five_percent_of_a_resnet_50() -> None:
    with torch.device("meta"):
        shapes = [weight.shape for weight in load("models", "resnet50-imagenet")((3, 224, 224), CLASSES).parameters()]
    generator = torch.Generator().manual_seed(0)
    mask = saliency_mask([torch.rand(shape, generator=generator) for shape in shapes], 0.05)
    assert sum(int(part.sum()) for part in mask) == int(0.05 * 25_557_032)


def test_the_cores_that_decode_are_shared_by_the_processes_of_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(12)), raising=False)
    assert _cores() == 12
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert _cores() == 3
