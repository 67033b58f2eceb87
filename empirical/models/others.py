"""VGG-16 with BatchNorm, a small vision transformer, the theory's two-layer CNN, and classifiers of timm by name."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from empirical.models.resnet import Classifier, convolution
from repro.base.errors import ConfigError, MissingDataError
from repro.base.settings import nearest, reject

NEURONS = 10  # m: neurons of each sign in the theory's network
SCALE = 0.1  # sigma_0 sqrt(d): initial weights of the theory's network have deviation SCALE / side
VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def vgg16_bn(shape: Sequence[int], classes: int) -> Classifier:
    """Return VGG-16 with BatchNorm: four max-poolings, pooled to 2x2, two hidden layers of 256, no dropout."""
    layers: list[nn.Module] = []
    channels = shape[0]
    for place, group in enumerate(VGG16):
        for width in group:
            layers += [*convolution(channels, width, 3, 1), nn.ReLU(inplace=True)]
            channels = width
        layers.append(nn.MaxPool2d(2) if place < 4 else nn.AdaptiveAvgPool2d(2))
    hidden = [nn.Linear(4 * channels, 256), nn.ReLU(inplace=True), nn.Linear(256, 256), nn.ReLU(inplace=True)]
    return Classifier(nn.Sequential(*layers, nn.Flatten(), *hidden), 256, classes)


def vit_s(shape: Sequence[int], classes: int) -> Classifier:
    """Return ViT-S with patches of an eighth of the image (4 pixels at 32): width 384, depth 12, 6 heads.

    Raises:
        MissingDataError: if timm is not installed.
    """
    try:
        from timm.models.vision_transformer import VisionTransformer
    except ImportError as error:
        raise MissingDataError("model vit-s: needs timm: pip install 'sharpness-aware-unlearning[networks]'") from error
    patch = max(1, shape[1] // 8)
    body = VisionTransformer(
        img_size=(shape[1], shape[2]), patch_size=patch, in_chans=shape[0], num_classes=0, embed_dim=384, depth=12,
        num_heads=6,
    )  # fmt: skip
    return Classifier(body, 384, classes)


class PatchCNN(nn.Module):
    """The theory's network: `F_j(x) = (1/m) sum_r sum_p relu(<w_{j,r}, x^(p)>)`, j in {-1, +1}; logits (F_-1, F_+1).

    Cross entropy over the two logits is the theory's logistic loss of `f = F_+1 - F_-1`. The second layer is fixed.
    Each option departs from the theory in a single aspect; except for `pool`, the network starts as the same function.

    Args:
        shape: `(1, side, patches * side)`: patches next to each other.
        neurons: m, per sign.
        bias: add a bias to every neuron, initially 0.
        pool: "sum" over the patches, or "mean".
        trained_head: train the second layer, a matrix `(2, 2 m)`, initially 1/m on the neurons of a sign.
        deep: add a ReLU layer `(2 m, 2 m)` on every patch, initially the identity.
    """

    def __init__(
        self, shape: Sequence[int], neurons: int = NEURONS, *,
        bias: bool = False, pool: str = "sum", trained_head: bool = False, deep: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.side = shape[1]
        self.neurons = neurons
        self.pool = pool
        self.weight = nn.Parameter(torch.randn(2 * neurons, self.side**2) * SCALE / self.side)
        self.bias = nn.Parameter(torch.zeros(2 * neurons)) if bias else None
        self.hidden = nn.Parameter(torch.eye(2 * neurons)) if deep else None
        own = torch.eye(2).repeat_interleave(neurons, 1) / neurons
        self.second = nn.Parameter(own) if trained_head else None

    def features(self, images: Tensor) -> Tensor:
        """Return the pooled activations `(b, 2 m)`, neurons of j = -1 first."""
        before = self.patches(images) @ self.weight.T
        active = torch.relu(before if self.bias is None else before + self.bias)
        if self.hidden is not None:
            active = torch.relu(active @ self.hidden.T)
        return active.sum(1) if self.pool == "sum" else active.mean(1)

    def patches(self, images: Tensor) -> Tensor:
        """Return the patches `(b, P, d)` of images `(b, 1, side, P * side)`; the first carries the signal."""
        return images[:, 0].unfold(2, self.side, self.side).transpose(1, 2).flatten(2)

    def head(self, features: Tensor) -> Tensor:
        """Return `(F_-1, F_+1)`, shape `(b, 2)`."""
        if self.second is not None:
            return features @ self.second.T
        return features.view(len(features), 2, self.neurons).mean(2)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits `(b, 2)` of images `(b, 1, side, patches * side)`."""
        return self.head(self.features(images))


def patch_cnn(shape: Sequence[int], classes: int, **changes: Any) -> PatchCNN:
    """Return the theory's two-layer CNN with 10 neurons per sign, for `signal-noise` images."""
    if classes != 2 or shape[0] != 1 or shape[2] % shape[1]:
        raise reject("model", "patch-cnn", "used on signal-noise images", "choose a ResNet for other data sets")
    return PatchCNN(shape, **changes)


# Variants that change the theory's network in a single aspect.
patch_cnn_bias = partial(patch_cnn, bias=True)
patch_cnn_mean = partial(patch_cnn, pool="mean")
patch_cnn_head = partial(patch_cnn, trained_head=True)
patch_cnn_deep = partial(patch_cnn, deep=True)


class TimmClassifier(nn.Module):
    """A timm model; its features are `forward_head(pre_logits=True)`, the inputs of its classifier.

    Args:
        net: the model, with `classes` outputs.
    """

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def features(self, images: Tensor) -> Tensor:
        """Return the pooled features `(b, f)`."""
        return self.net.forward_head(self.net.forward_features(images), pre_logits=True)

    def head(self, features: Tensor) -> Tensor:
        """Return the logits `(b, classes)` of features."""
        return self.net.get_classifier()(features)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits `(b, classes)`."""
        return self.head(self.features(images))


def timm_model(shape: Sequence[int], classes: int, *, name: str) -> TimmClassifier:
    """Return a timm classifier for images `(c, h, w)` with random weights from torch's global generator.

    Raises:
        ConfigError: for a name that timm does not know, with the nearest name, or a model that cannot take such images.
    """
    import timm

    if not timm.is_model(name):
        raise ConfigError(f"model = 'timm:{name}': timm has no such model{nearest(name, timm.list_models())}")
    common: dict[str, Any] = {"pretrained": False, "num_classes": classes, "in_chans": shape[0]}
    try:
        net = timm.create_model(name, **common, img_size=(shape[1], shape[2]))
    except TypeError:  # convolutional models take images of any size
        net = timm.create_model(name, **common)
    model = TimmClassifier(net).eval()
    try:
        with torch.no_grad():
            images = torch.zeros(1, *shape)
            fits = torch.allclose(model(images), net(images)) and model(images).shape == (1, classes)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise reject("model", f"timm:{name}", f"a model of {'x'.join(map(str, shape))} images", str(error)) from error
    if not fits:
        raise reject("model", f"timm:{name}", "a classifier whose head follows forward_head(pre_logits=True)")
    return model.train()
