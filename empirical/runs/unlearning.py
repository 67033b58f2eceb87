"""The unlearning of a run or of a user's own model: its method, the rules that go with it, and its stage."""

import time
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from empirical.augmentation.augment import augmentation
from empirical.data.forget import Split
from empirical.data.images import ImageSet
from empirical.models.network import Network
from empirical.registry import dataset, forget_set, load, needs_shadow_models
from empirical.settings.rule_labels import parse_rule_schedule
from empirical.settings.run_config import ONE_LOSS, RunConfig
from empirical.training.batches import row_sets
from empirical.training.rules import RuleContext, build_rule, method_rule
from empirical.training.saliency import forget_gradient, saliency_mask
from empirical.training.step import Method, Stage, Start, frozen_copy
from empirical.training.together import ALONE, Processes
from repro.base.settings import build, reject
from repro.records.identity import derive_seed


def build_method(config: RunConfig) -> Method:
    """Return the method of a run: its own options, the shared alpha, and the switches that concern methods.

    Raises:
        ConfigError: for an option the method does not have, with the nearest name.
    """
    method: Any = load("methods", config.method)
    if not hasattr(method, "__dataclass_fields__"):
        raise reject("method", config.method, "a dataclass with phases and loss, see empirical/methods/")
    own = next((vars(one) for one in method.__mro__ if {"phases", "segments"} & vars(one).keys()), {})
    if "segments" in own and "phases" not in own:  # the older name, until 0.4
        method.phases = method.segments
    known = {"alpha": config.alpha, "epochs": config.epochs} | config.fidelity.of_methods(config.dataset)
    shared = {field.name: known[field.name] for field in fields(method) if field.name in known}
    return build(method, shared | config.method_settings, where="method_options")


def check_run(config: RunConfig) -> None:
    """Refuse a run whose rule needs losses that its method does not have, or whose scores are out of reach.

    Raises:
        ConfigError: naming the setting, what it allows, and the remedy.
    """
    method, context = build_method(config), RuleContext(list, config.fidelity)

    def parts_read(schedule: str) -> set[str]:
        rules = parse_rule_schedule(schedule, config.pretrain_epochs)
        return {part for label, _ in rules for part in build_rule(label, context).parts}

    for field, schedule in {"pretrain": config.pretrain, "retrain": config.retrain_rule}.items():
        if parts_read(schedule) != {"all"}:
            raise reject(field, schedule, ONE_LOSS, "there is no forget set to train on")
    if not parts_read(config.rule) <= set(method.parts):
        allowed = "a rule of one loss (sgd, sam-..., asam-..., masked-...)"
        raise reject("rule", config.rule, allowed, f"{config.method} has no separate retain and forget loss")
    estimates, graded = dataset(config.dataset).estimates, forget_set(config.difficulty).graded
    if needs_shadow_models(config.metrics) and (config.scores or not estimates):
        name = next(name for name in config.metrics if needs_shadow_models([name]))
        remedy = "its shadow models are the subset models of scores that are estimated, not imported"
        raise reject("metrics", name, "left out", remedy)
    if graded and not estimates and not config.scores:
        remedy = f"`repro records import-scores FILE --dataset {config.dataset}` prints one; estimating would train "
        raise reject("scores", "", f"the id of imported scores on {config.dataset}", f"{remedy}{config.subsets} models")


def unlearning_stage(
    config: RunConfig, images: ImageSet, held: Tensor, split: Split, network: Network, *, teacher: Network,
    group: Processes = ALONE,
) -> Stage:  # fmt: skip
    """Return the stage that turns a network into the unlearned model; its mask and preparation are computed now.

    Args:
        config: method, rule, hyper-parameters and seeds.
        images: the clean images and their labels.
        held: the images that are trained on, `(n, c, h, w)`: corrupted, or on the device, where the caller wants that.
        split: the rows to retain and to forget.
        network: a copy of the original, to be trained in place.
        teacher: another copy, for methods that compare with the original; it is frozen.
        group: the processes that train together; the first one's mask is everybody's.
    """
    seconds = 0.0

    def mask() -> list[Tensor]:
        nonlocal seconds
        started = time.perf_counter()
        found = group.broadcast(lambda: forget_mask(config, images, held, split, network))
        seconds += time.perf_counter() - started
        return [part.to(network.device) for part in found]

    method: Any = build_method(config)
    context = RuleContext(mask, config.fidelity)
    rule = method_rule(method, build_rule(config.rule, context), context)
    settings = config.unlearning()
    sets = row_sets(images, settings, split.retain, split.forget, device=network.device)
    seed = derive_seed(config.seed, "unlearn", config.unlearn_seed)
    stage = Stage(
        method, rule, sets, settings, held, augmentation(config, held.dtype), seed, frozen_copy(teacher),
        config.fidelity, group=group, mask_seconds=seconds,
    )  # fmt: skip
    if not hasattr(method, "prepare"):
        return stage
    started = time.perf_counter()
    start = Start(network, rule, sets, held, seed)
    network.model.eval()
    made = method.prepare(start)
    network.model.train()
    evaluated = start.evaluated if group.first else 0  # every process makes the same; they add what they count
    return replace(stage, prepared=made, evaluated=evaluated, seconds=time.perf_counter() - started)


def forget_mask(config: RunConfig, images: ImageSet, held: Tensor, split: Split, network: Network) -> list[Tensor]:
    """Return the saliency mask of the original model by the images it trains on: see `saliency_mask`, on the CPU."""
    gradient = forget_gradient(network, held, images.train_labels, torch.from_numpy(split.forget))
    mask = saliency_mask(gradient, config.mask_fraction, polarity=config.fidelity.mask_polarity)
    return [part.cpu() for part in mask]
