"""Models trained from fresh weights: the original, and the retrained one every unlearned model is measured against."""

import numpy as np

from empirical.methods.retain import Retrain
from empirical.models.network import Network
from empirical.runs.build import augmentation, build_network, row_sets
from empirical.runs.stages import Trained, Workspace, trained
from empirical.settings.run_config import Recipe, RunConfig
from empirical.training.loop import Stage
from empirical.training.rules import RuleContext, build_rule
from repro.records.identity import derive_seed, digest, plain


def train_original(config: RunConfig, workspace: Workspace, rows: np.ndarray) -> Trained:
    """Return the model trained on all training rows."""
    return _train(config, workspace, rows, name="pretrain", rule=config.pretrain, recipe=config.pretrain_recipe())


def train_retrained(config: RunConfig, workspace: Workspace, rows: np.ndarray, *, rule: str = "") -> Trained:
    """Return the model trained on the retain rows alone, under the config's retraining rule or another one."""
    recipe = config.retrain_recipe()
    return _train(config, workspace, rows, name="retrain", rule=rule or config.retrain_rule, recipe=recipe)


def _train(
    config: RunConfig, workspace: Workspace, rows: np.ndarray, *, name: str, rule: str, recipe: Recipe
) -> Trained:
    images = workspace.dataset(config)
    seed = derive_seed(config.seed, name)
    identity = {
        "stage": name, "data": images.digest, "rows": digest(rows), "model": config.model, "rule": rule,
        "recipe": plain(recipe), "augment": plain(augmentation(config)), "seed": config.seed,
        "precision": config.precision, "corruption": noise(config),
        "double_normalize": config.fidelity.double_normalize,
    }  # fmt: skip

    def stage(network: Network) -> Stage:
        sets = row_sets(images, recipe, rows, rows[:0], device=workspace.device)
        built = build_rule(rule, RuleContext(list))
        held = workspace.train_images(config)
        return Stage(Retrain(), built, sets, recipe, held, augmentation(config), seed)

    def start() -> Network:
        return build_network(config, images, seed=seed, device=workspace.device)

    key = digest(identity)
    return workspace.remember(key, lambda: trained(workspace, identity, start=start, stage=stage))


def noise(config: RunConfig) -> str:
    """Return what identifies the corruption of the training images."""
    return f"{config.corruption} {config.fidelity.glass_blur}" if config.corruption != "none" else "none"
