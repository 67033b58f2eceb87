"""Parameter counts of the published architectures, what every model offers, and in which arithmetic it is evaluated."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from empirical.data.images import channel_statistics
from empirical.methods.retain import Retrain
from empirical.models.network import Network, count_parameters, predict
from empirical.models.resnet import Convolution
from empirical.registry import load, names
from empirical.training.batches import Examples
from empirical.training.step import Step
from tests.empirical.tiny import make_stage

COUNTS = {
    "resnet18": 11_220_132, "resnet34": 21_328_292, "resnet50": 23_705_252, "vgg16-bn": 15_334_948,
    "vit-s": 21_376_996, "resnet8-wide": 1_250_724, "resnet8-coarse": 1_253_796,
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts_with_100_classes(name: str) -> None:
    if name == "vit-s":
        pytest.importorskip("timm")
    with torch.device("meta"):
        assert count_parameters(load("models", name)((3, 32, 32), 100)) == COUNTS[name]


@pytest.mark.parametrize("name", [name for name in names("models") if not name.startswith("patch-cnn")])
def test_every_model_maps_images_to_features_and_features_to_scores(name: str) -> None:
    if name.startswith("vit-s"):
        pytest.importorskip("timm")
    edge = 64 if name.endswith("imagenet") else 32
    model = load("models", name)((3, edge, edge), 7).eval()
    images = torch.rand(2, 3, edge, edge)
    features = model.features(images)
    assert features.dim() == 2
    torch.testing.assert_close(model.head(features), model(images))
    assert model(images).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "edge"), [("resnet18", 4), ("resnet18-imagenet", 1), ("resnet8-wide", 4), ("resnet8-coarse", 2)]
)
def test_stems_and_stages_halve_the_image_as_often_as_they_say(name: str, edge: int) -> None:
    """32 pixels: three strided stages after the CIFAR stem; five halvings with the ImageNet stem."""
    model = load("models", name)((3, 32, 32), 7)
    seen: list[torch.Size] = []
    pool = next(m for m in model.modules() if isinstance(m, nn.AdaptiveAvgPool2d))
    pool.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape))
    model(torch.rand(2, 3, 32, 32))
    assert [shape[2:] for shape in seen] == [(edge, edge)]


def test_a_convolution_of_two_by_two_pixels_is_a_product_without_the_padding() -> None:
    """Values and gradients are the convolution's, at half its arithmetic and less."""
    layer = Convolution(256, 260, 3, 1).double()
    images, upstream = (torch.randn(3, width, 2, 2, dtype=torch.float64) for width in (256, 260))
    found: list[tuple[torch.Tensor, ...]] = []
    counted: list[int] = []
    for forward in (layer, partial(nn.functional.conv2d, weight=layer.weight, padding=1)):
        pixels, layer.weight.grad = images.clone().requires_grad_(), None
        with FlopCounterMode(display=False) as counter:
            result = forward(pixels)
            result.backward(upstream)
        assert pixels.grad is not None
        assert layer.weight.grad is not None
        found.append((result.detach(), pixels.grad, layer.weight.grad))
        counted.append(counter.get_total_flops())
    torch.testing.assert_close(*found)
    assert counted[0] == pytest.approx(counted[1] * 4 / 9)


@pytest.mark.parametrize("shape", [(1, 256, 3, 2), (2, 256, 1, 1), (2, 256, 4, 4)])
def test_on_other_maps_it_is_a_convolution(shape: tuple[int, ...]) -> None:
    layer, images = Convolution(256, 256, 3, 1), torch.randn(shape)
    torch.testing.assert_close(layer(images), nn.functional.conv2d(images, layer.weight, padding=1))


@pytest.mark.parametrize("name", ["resnet18", "resnet50-imagenet", "resnet8-wide"])
def test_convolutions_start_with_the_variance_of_their_fan_out(name: str) -> None:
    for layer in load("models", name)((1, 64, 64), 7).modules():
        if isinstance(layer, nn.Conv2d) and layer.weight.numel() > 2000:
            fan_out = layer.out_channels * layer.kernel_size[0] * layer.kernel_size[1]
            assert float(layer.weight.detach().std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)


def tiny(precision: str) -> Network:
    torch.manual_seed(0)
    model = load("models", "resnet8-narrow")((1, 8, 8), 3)
    return Network(model.double() if precision == "fp64" else model, (0.3,), (0.6,), precision=precision)


IMAGES = torch.randint(0, 256, (9, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_a_model_trained_in_bf16_is_evaluated_in_fp32_and_one_in_fp64_in_fp64() -> None:
    half, single, double = (predict(tiny(precision), IMAGES) for precision in ("bf16", "fp32", "fp64"))
    assert all(torch.equal(a, b) for a, b in zip(half, single, strict=True))
    assert double[0].dtype == torch.float64
    torch.testing.assert_close(double[0].float(), single[0], rtol=1e-4, atol=1e-5)
    network = tiny("bf16")
    training = network.logits(network.normalize(IMAGES))
    assert not torch.equal(training, tiny("fp32").logits(network.normalize(IMAGES))), "training does round to bf16"


def test_a_model_trained_in_bf16_computes_its_loss_in_fp32() -> None:
    """A loss rounded to bf16 has three digits: its gradients, and the mean loss of an epoch, would have no more."""
    network, stage = tiny("bf16"), make_stage(Retrain())
    rows, labels = torch.zeros(9, dtype=torch.bool), torch.arange(9) % 3
    logits = tiny("bf16").logits(network.normalize(IMAGES)).detach()
    loss = Step(network, stage)({"retain": Examples(IMAGES, labels, rows, torch.zeros(9, 0))})
    assert torch.equal(logits, logits.bfloat16().float()), "the layers do compute in bf16"
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(nn.functional.cross_entropy(logits.double(), labels)), rel=1e-6)


def test_prediction_uses_running_statistics_and_leaves_them_and_the_mode_alone() -> None:
    network = tiny("fp32")
    network.model.train()
    before = {name: value.clone() for name, value in network.model.state_dict().items()}
    whole, parts = predict(network, IMAGES)[0], predict(network, IMAGES, batch_size=2)[0]
    torch.testing.assert_close(whole, parts)
    assert network.model.training
    assert all(torch.equal(before[name], value) for name, value in network.model.state_dict().items())


def test_images_enter_scaled_and_normalized_once_or_twice() -> None:
    network = tiny("fp32")
    white = torch.full((1, 1, 8, 8), 255, dtype=torch.uint8)
    once = (1 - 0.3) / 0.6
    torch.testing.assert_close(network.normalize(white), torch.full((1, 1, 8, 8), once))
    network.repeats = 2
    torch.testing.assert_close(network.normalize(white), torch.full((1, 1, 8, 8), (once - 0.3) / 0.6))
    assert Network(nn.Linear(1, 1), (0.1,), (0.5,), normalize_twice=True).repeats == 2


def test_images_that_are_numbers_already_are_normalized_and_left_as_they_were() -> None:
    network = Network(torch.nn.Linear(1, 1), (0.1,) * 3, (0.5,) * 3)
    images = torch.full((2, 3, 4, 4), 0.3).to(memory_format=torch.channels_last)  # nothing has to be changed of it
    for _ in range(2):
        torch.testing.assert_close(network.normalize(images), torch.full((2, 3, 4, 4), 0.2 / 0.5))
    assert images.unique().tolist() == pytest.approx([0.3])


@pytest.mark.parametrize("shape", [(300, 3, 32, 32), (5, 1, 7, 9), (3, 2, 1100, 1000)])
def test_channel_statistics_are_those_of_all_pixels_at_once(shape: tuple[int, ...]) -> None:
    """The last shape has more than a million pixels an image and channel."""
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images[:, -1] //= 3
    std, mean = torch.std_mean(images.double() / 255, dim=(0, 2, 3), correction=0)
    found = channel_statistics(images)
    assert found == (pytest.approx(mean.tolist(), abs=1e-12), pytest.approx(std.tolist(), abs=1e-12))


def test_channel_statistics_need_less_memory_than_the_images_themselves() -> None:
    images = torch.zeros(20_000, 3, 32, 32, dtype=torch.uint8)
    assert max_copied(images) <= 2**20


def max_copied(images: torch.Tensor) -> int:
    """Return the most bytes that one operation on tensors makes while the statistics are computed."""
    sizes: list[int] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            copied = isinstance(out, torch.Tensor) and not func.is_view
            sizes.append(out.numel() * out.element_size() if copied else 0)
            return out

    with Watch():
        channel_statistics(images)
    return max(sizes)


def test_the_patch_network_is_the_theorys_formula() -> None:
    torch.manual_seed(0)
    model = load("models", "patch-cnn")((1, 4, 12), 2)
    images = torch.randn(3, 1, 4, 12)
    patches = [images[:, 0, :, 4 * p : 4 * (p + 1)].reshape(3, 16) for p in range(3)]
    activations = torch.stack([torch.relu(patch @ model.weight.T) for patch in patches]).sum(0)
    expected = torch.stack([activations[:, :10].mean(1), activations[:, 10:].mean(1)], 1)
    torch.testing.assert_close(model(images), expected)
    torch.manual_seed(0)
    mean = load("models", "patch-cnn-mean")((1, 4, 12), 2)
    torch.testing.assert_close(3 * mean(images), expected)  # pooling by the mean divides by the patches


@pytest.mark.parametrize("name", ["patch-cnn-bias", "patch-cnn-head", "patch-cnn-deep"])
def test_a_step_away_from_the_theory_starts_as_the_same_function_and_trains_more(name: str) -> None:
    torch.manual_seed(0)
    plain = load("models", "patch-cnn")((1, 4, 8), 2)
    torch.manual_seed(0)
    changed = load("models", name)((1, 4, 8), 2)
    images = torch.randn(5, 1, 4, 8)
    torch.testing.assert_close(changed(images), plain(images))
    assert count_parameters(changed) > count_parameters(plain)
    gradient = torch.autograd.grad(changed(images).pow(2).sum(), list(changed.parameters()))
    assert all(part.abs().max() > 0 for part in gradient)
