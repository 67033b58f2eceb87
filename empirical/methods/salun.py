"""SalUn: random labels, with only the salient weights free to move."""

from dataclasses import dataclass

from empirical.methods.random_label import RandomLabel


@dataclass(frozen=True)
class SalUn(RandomLabel):
    """The loss of random labels (Fan et al. 2024); the saliency mask wraps whatever rule the run names.

    Weights outside the mask never move, weight decay and momentum included.
    """

    masked = True
