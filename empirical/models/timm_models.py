"""Classifiers of timm by name, such as `timm:resnet10t`, freshly initialized for a data set."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from repro.base.errors import ConfigError
from repro.base.settings import nearest, reject


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
