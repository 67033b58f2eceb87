"""ResNet-18, -34 and -50 (He et al. 2016) with the CIFAR stem or the ImageNet stem."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from empirical.models.resnet import BasicBlock, Classifier, convolution, shortcut


class Bottleneck(nn.Module):
    """1x1, 3x3 (strided), 1x1 convolutions with a residual connection; four times as many channels leave it."""

    expansion = 4

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        wide = outputs * self.expansion
        self.path = nn.Sequential(
            *convolution(inputs, outputs, 1, 1), nn.ReLU(inplace=True),
            *convolution(outputs, outputs, 3, stride), nn.ReLU(inplace=True), *convolution(outputs, wide, 1, 1),
        )  # fmt: skip
        self.skip = shortcut(inputs, wide, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(b, inputs, h, w)` to `(b, 4 outputs, h / stride, w / stride)`."""
        return torch.relu(self.path(x) + self.skip(x))


@dataclass(frozen=True)
class ResNet:
    """A residual network, built by calling it with an image shape and a number of classes.

    Attributes:
        block: `BasicBlock` or `Bottleneck`.
        depths: blocks in each of the four stages (64, 128, 256, 512 channels).
        cifar: 3x3 stem without pooling; False is the 7x7 strided stem with max-pooling.
    """

    block: type[BasicBlock] | type[Bottleneck]
    depths: tuple[int, int, int, int]
    cifar: bool = True

    def __call__(self, shape: Sequence[int], classes: int) -> Classifier:
        """Return the network for images `(c, h, w)`."""
        layers = self.stem(shape[0])
        width = 64
        for place, depth in enumerate(self.depths):
            channels = 64 * 2**place
            for number in range(depth):
                layers.append(self.block(width, channels, 2 if place and number == 0 else 1))
                width = channels * self.block.expansion
        return Classifier(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), width, classes)

    def stem(self, channels: int) -> list[nn.Module]:
        """Return the first layers."""
        if self.cifar:
            return [*convolution(channels, 64, 3, 1), nn.ReLU(inplace=True)]
        return [*convolution(channels, 64, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, padding=1)]


resnet18 = ResNet(BasicBlock, (2, 2, 2, 2))
resnet34 = ResNet(BasicBlock, (3, 4, 6, 3))
resnet50 = ResNet(Bottleneck, (3, 4, 6, 3))
resnet18_imagenet = ResNet(BasicBlock, (2, 2, 2, 2), cifar=False)
resnet34_imagenet = ResNet(BasicBlock, (3, 4, 6, 3), cifar=False)
resnet50_imagenet = ResNet(Bottleneck, (3, 4, 6, 3), cifar=False)
