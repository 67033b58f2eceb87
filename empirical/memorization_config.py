"""How memorization scores are estimated: settings only, so that building a command line costs nothing."""

from dataclasses import dataclass

from empirical.config import RunConfig
from repro.fields import check, setting

# Small models without augmentation fit their subset well before the original's epochs are over.
LONGEST = 20


@dataclass(frozen=True)
class MemorizationConfig:
    """How scores are estimated; the defaults suit `digits`."""

    dataset: str = setting("digits", "data set")
    dataset_options: str = setting("", "settings of the data set")
    n_train: int = setting(0, "stratified subset of the training images; 0 is all", low=0)
    model: str = setting("resnet8-narrow", "architecture of the subset models")
    subsets: int = setting(24, "subset models", low=4)
    fraction: float = setting(0.7, "share of the images in a subset", low=0, high=1, open_low=True, open_high=True)
    epochs: int = setting(10, "epochs of a subset model", low=1)
    lr: float = setting(0.1, "learning rate", low=0, open_low=True)
    batch_size: int = setting(64, "batch size", low=1)
    augment: str = setting("none", "augmentation; none, so that every image inside a subset is fitted")
    seed: int = setting(0, "seed of subsets and models", low=0)

    def __post_init__(self) -> None:
        check(self)

    def training(self) -> RunConfig:
        """Return how one subset model is trained, as the pretraining of a run."""
        same = {name: getattr(self, name) for name in ("dataset", "dataset_options", "n_train", "model", "augment")}
        return RunConfig(**same, pretrain_epochs=self.epochs, pretrain_lr=self.lr, pretrain_batch_size=self.batch_size)


def config_for(config: RunConfig) -> MemorizationConfig:
    """Return the estimate a run uses: small models on its own data, trained as long as its original or 20 epochs."""
    same = {name: getattr(config, name) for name in ("dataset", "dataset_options", "n_train", "subsets")}
    small = config.model if config.model.startswith("resnet8") else "resnet8"
    epochs = min(config.pretrain_epochs, LONGEST)
    return MemorizationConfig(**same, model=small, epochs=epochs, batch_size=config.pretrain_batch_size)
