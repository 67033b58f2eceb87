"""Parameter counts of the published architectures, and what every model offers."""

import pytest
import torch

from empirical.models.network import count_parameters
from empirical.registry import load, names

COUNTS = {
    "resnet18": 11_220_132, "resnet34": 21_328_292, "resnet50": 23_705_252, "vgg16-bn": 15_334_948, "vit-s": 21_376_996
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts_with_100_classes(name: str) -> None:
    if name == "vit-s":
        pytest.importorskip("timm")
    with torch.device("meta"):
        assert count_parameters(load("models", name)((3, 32, 32), 100)) == COUNTS[name]


@pytest.mark.parametrize("name", [name for name in names("models") if name not in ("patch-cnn", "vit-s")])
def test_every_model_maps_images_to_features_and_features_to_scores(name: str) -> None:
    edge = 64 if name.endswith("imagenet") else 32
    model = load("models", name)((3, edge, edge), 7).eval()
    images = torch.rand(2, 3, edge, edge)
    features = model.features(images)
    assert features.dim() == 2
    torch.testing.assert_close(model.head(features), model(images))
    assert model(images).shape == (2, 7)


def test_vit_has_features_too() -> None:
    pytest.importorskip("timm")
    model = load("models", "vit-s")((3, 32, 32), 7).eval()
    images = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(model.head(model.features(images)), model(images))


def test_the_patch_network_is_the_theorys_formula() -> None:
    torch.manual_seed(0)
    model = load("models", "patch-cnn")((1, 4, 12), 2)
    images = torch.randn(3, 1, 4, 12)
    patches = [images[:, 0, :, 4 * p : 4 * (p + 1)].reshape(3, 16) for p in range(3)]
    activations = torch.stack([torch.relu(patch @ model.weight.T) for patch in patches]).sum(0)
    expected = torch.stack([activations[:, :10].mean(1), activations[:, 10:].mean(1)], 1)
    torch.testing.assert_close(model(images), expected)
