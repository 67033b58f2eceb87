"""The stages of one run, each computed when first asked for."""

from dataclasses import dataclass
from functools import cached_property

from empirical.data.forget import Split, choose_forget, train_rows
from empirical.data.images import ImageSet
from empirical.runs.imports import forget_index, forget_scores
from empirical.runs.reference import train_original, train_retrained
from empirical.runs.stages import Trained
from empirical.runs.unlearning import Unlearning
from empirical.runs.workspace import Workspace
from empirical.settings.run_config import GRADED, RunConfig


@dataclass
class Experiment:
    """A run's data, forget set and three models.

    Attributes:
        config: the run.
        workspace: where stages are kept and computed.
    """

    config: RunConfig
    workspace: Workspace

    @cached_property
    def images(self) -> ImageSet:
        """The data set, on the CPU."""
        return self.workspace.dataset(self.config)

    @cached_property
    def split(self) -> Split:
        """Which rows are retained and forgotten."""
        config = self.config
        scores = forget_scores(config, self.workspace) if config.difficulty in GRADED else None
        index = forget_index(config, self.workspace.store) if config.difficulty == "index" else None
        return choose_forget(config, self.images.train_labels.numpy(), scores=scores, index=index)

    @cached_property
    def original(self) -> Trained:
        """The model trained on everything."""
        train, _ = train_rows(self.config, self.images.train_labels.numpy())
        return train_original(self.config, self.workspace, train)

    @cached_property
    def retrained(self) -> Trained:
        """The model trained on the retain set from fresh weights."""
        return train_retrained(self.config, self.workspace, self.split.retain)

    @cached_property
    def unlearning(self) -> Unlearning:
        """The unlearning stage, not yet run."""
        return Unlearning(self.config, self.workspace, self.original, self.split.retain, self.split.forget)

    @cached_property
    def unlearned(self) -> Trained:
        """The original after unlearning; for the method `retrain`, a model trained afresh under the run's rule."""
        if self.config.method == "retrain":
            return train_retrained(self.config, self.workspace, self.split.retain, rule=self.config.rule)
        return self.unlearning.run()

    def parents(self) -> dict[str, str]:
        """Return the identities of the stages behind the record."""
        return {
            "pretrain": self.original.stage_id, "retrain": self.retrained.stage_id,
            "unlearn": self.unlearned.stage_id, "forget_set": self.split.identity,
        }  # fmt: skip
