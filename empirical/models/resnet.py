"""Residual networks (He et al. 2016) with `features(x)` and `head`: small networks, ResNet-18, -34, -50."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


class Classifier(nn.Module):
    """A feature extractor and a linear head: `forward(x) = head(features(x))`.

    Args:
        body: maps images `(b, c, h, w)` to features `(b, f)`.
        width: f.
        classes: outputs of the head.
    """

    def __init__(self, body: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(width, classes)

    def features(self, images: Tensor) -> Tensor:
        """Return the pooled features `(b, f)`."""
        return self.body(images)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits `(b, classes)`."""
        return self.head(self.features(images))


class Convolution(nn.Conv2d):
    """A square convolution padded by half its kernel; a CPU computes it as a matrix product if that is faster.

    On 2x2 maps an output pixel sees each of the four input pixels through a different tap of a 3x3 kernel; the other
    five taps fall on the padding. A matrix product skips those. With 256 channels it takes less than half the time of
    the convolution and its gradients.
    """

    # TAPS[p][q]: the tap of the flat kernel between output pixel p and input pixel q, both in reading order.
    TAPS = tuple(tuple(3 * (q // 2 - p // 2 + 1) + q % 2 - p % 2 + 1 for q in range(4)) for p in range(4))

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        self.multiplies = (kernel, stride) == (3, 1) and min(inputs, outputs) >= 256

    def forward(self, x: Tensor) -> Tensor:
        """Map `(b, inputs, h, w)` to `(b, outputs, h / stride, w / stride)`."""
        if not self.multiplies or x.device.type != "cpu" or x.shape[2:] != (2, 2):
            return super().forward(x)
        taps = self.weight.flatten(2).unbind(2)
        matrix = torch.cat([torch.cat([taps[tap] for tap in row], 1) for row in self.TAPS])
        pixels = nn.functional.linear(x.permute(0, 2, 3, 1).flatten(1), matrix)
        return pixels.view(-1, 2, 2, self.out_channels).permute(0, 3, 1, 2)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a residual connection, which is a 1x1 convolution if the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            *convolution(inputs, outputs, 3, stride), nn.ReLU(inplace=True), *convolution(outputs, outputs, 3, 1)
        )
        same = stride == 1 and inputs == outputs
        self.skip = nn.Identity() if same else nn.Sequential(*convolution(inputs, outputs, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        """Map `(b, inputs, h, w)` to `(b, outputs, h / stride, w / stride)`."""
        return torch.relu(self.path(x) + self.skip(x))


def convolution(inputs: int, outputs: int, kernel: int, stride: int) -> list[nn.Module]:
    """Return a convolution without bias and its BatchNorm."""
    layer = Convolution(inputs, outputs, kernel, stride)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return [layer, nn.BatchNorm2d(outputs)]


def small_resnet(
    shape: Sequence[int], classes: int, widths: Sequence[int], *, stride: int = 1, kernel: int = 3
) -> Classifier:
    """Return a ResNet with a basic block per stage; every stage after the first halves the image.

    Args:
        shape: `(c, h, w)` of an image.
        classes: outputs.
        widths: channels of the stages.
        stride: stride of the first convolution.
        kernel: its width in pixels.
    """
    layers = [*convolution(shape[0], widths[0], kernel, stride), nn.ReLU(inplace=True)]
    previous = widths[0]
    for place, width in enumerate(widths):
        layers.append(BasicBlock(previous, width, 1 if place == 0 else 2))
        previous = width
    return Classifier(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), previous, classes)


# ResNet-8. A strided first convolution shrinks the image, for 32-pixel images on CPUs: a quarter of the work.
resnet8 = partial(small_resnet, widths=(16, 32, 64))
resnet8_narrow = partial(small_resnet, widths=(8, 16, 32))
resnet8_strided = partial(small_resnet, widths=(16, 32, 64), stride=2)
resnet8_wide = partial(small_resnet, widths=(64, 128, 256), stride=2)  # 1.2 million weights
resnet8_coarse = partial(small_resnet, widths=(64, 128, 256), stride=4, kernel=5)  # a quarter of resnet8_wide's work


def deep_resnet(shape: Sequence[int], classes: int, *, name: str, cifar: bool = True) -> Classifier:
    """Return torchvision's ResNet of four stages (64, 128, 256, 512 channels) with its initialization.

    Args:
        shape: `(c, h, w)` of an image.
        classes: outputs.
        name: `resnet18`, `resnet34` or `resnet50`.
        cifar: a 3x3 stem without pooling; False: the 7x7 strided stem with max-pooling.
    """
    import torchvision.models.resnet as published  # takes a second, so runs of small networks skip it

    body: Any = getattr(published, name)()
    kernel, stride = (3, 1) if cifar else (7, 2)
    body.conv1, _ = convolution(shape[0], 64, kernel, stride)
    if cifar:
        body.maxpool = nn.Identity()
    width = body.fc.in_features
    body.fc = nn.Identity()
    return Classifier(body, width, classes)


resnet18, resnet34, resnet50 = (partial(deep_resnet, name=name) for name in ("resnet18", "resnet34", "resnet50"))
resnet18_imagenet, resnet34_imagenet, resnet50_imagenet = (
    partial(deep_resnet, name=name, cifar=False) for name in ("resnet18", "resnet34", "resnet50")
)
