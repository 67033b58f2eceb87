"""What makes two trained stages, or two numbers, the same: the values whose hashes name them in the store."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from empirical.registry import forget_set, metric
from empirical.settings.run_config import Hyperparameters, RunConfig
from repro.records.identity import digest, identifying, run_id
from repro.records.record import EVALUATION, Record


@dataclass(frozen=True)
class StageKey:
    """Everything the weights of one stage depend on; its hash is the stage's id.

    Attributes:
        stage: `pretrain`, `retrain`, `unlearn` or `subset`.
        data, dataset, dataset_options, n_train: the training images (digest of the files, and what is taken of them).
        model, precision, portable: the network, and how it is computed.
        rows: what is trained on: `all`, or a digest of row numbers.
        rule: gradient rule; hyperparameters, augment, seed: how it trains.
        randaugment, double_normalize, corruption: what else happens to the images.
        parent: id of the stage an unlearning starts from.
        method, method_options, unlearn_seed, mask_fraction: how it unlearns.
        switches: the discrepancy switches that are not at their defaults and reach the weights by no other field.
        number: which subset model.
    """

    stage: str
    data: str
    dataset: str
    model: str
    rule: str
    hyperparameters: Hyperparameters
    seed: int
    rows: str = "all"
    dataset_options: str = ""
    n_train: int = 0
    augment: str = "none"
    precision: str = "fp32"
    portable: bool = False
    randaugment: bool = False
    double_normalize: bool = False
    corruption: str = "none"
    parent: str = ""
    method: str = ""
    method_options: Mapping[str, Any] = field(default_factory=dict)
    unlearn_seed: int = 0
    mask_fraction: float = 0.3
    switches: Mapping[str, Any] = field(default_factory=dict)
    number: int = 0

    @property
    def id(self) -> str:
        """The stage's identity: 16 hex digits."""
        return run_id("model", self)


def pretrain_key(config: RunConfig) -> StageKey:
    """Return what the original model depends on; D8 trains it on the rows of the released code's split."""
    rows = "all" if config.fidelity.forget_split == "shared" else "released-split"
    return _key(config, "pretrain", rows=rows, rule=config.pretrain, hyperparameters=config.pretraining())


def original_id(config: RunConfig) -> str:
    """Return the id of the original model: that of an imported one, or of the pretraining stage."""
    return config.original or pretrain_key(config).id


def retrain_key(config: RunConfig, rows: str, rule: str = "") -> StageKey:
    """Return what the model trained on the retain rows depends on.

    Args:
        config: the run.
        rows: digest of the retain rows, or of what chooses them (`forget_choice`) where they are not known yet.
        rule: in place of the config's retraining rule.
    """
    rule = rule or config.retrain_rule
    return _key(config, "retrain", rows=rows, rule=rule, hyperparameters=config.retraining())


def again_key(config: RunConfig, rows: str) -> StageKey:
    """Return what the model of the method `retrain` depends on: trained afresh on the retain rows under the run's rule.

    Under the retraining rule it is the reference itself, except that another `unlearn_seed` than 0 trains a second one:
    how far two retrained models differ is the noise floor of everything that is measured against one.
    """
    return replace(retrain_key(config, rows, config.rule), unlearn_seed=config.unlearn_seed)


def unlearn_key(config: RunConfig, parent: str, rows: str, options: Any) -> StageKey:
    """Return what the unlearned model depends on.

    Args:
        config: the run.
        parent: id of the original model.
        rows: digest of the retain and the forget rows.
        options: the method, as built.
    """
    method = {"method": config.method, "method_options": identifying(options)}
    more = {"parent": parent, "unlearn_seed": config.unlearn_seed, "mask_fraction": config.mask_fraction}
    return _key(
        config, "unlearn", rows=rows, rule=config.rule, hyperparameters=config.unlearning(),
        switches=config.fidelity.of_weights(), **method, **more,
    )  # fmt: skip


def subset_key(training: RunConfig, fraction: float, number: int) -> StageKey:
    """Return what a subset model depends on: how it is trained, and which subset of the images it sees.

    Args:
        training: its training, as the pretraining of a run.
        fraction: share of the images in a subset.
        number: which one; subset k is the same whether 24 or 32 are drawn.
    """
    settings = {"rows": f"subset of {fraction}", "rule": "sgd", "hyperparameters": training.pretraining()}
    return _key(training, "subset", number=number, **settings)


def _key(config: RunConfig, stage: str, **more: Any) -> StageKey:
    fidelity = config.fidelity
    noise = "none" if config.corruption == "none" else f"{config.corruption} {fidelity.glass_blur}"
    same = ("data", "dataset", "dataset_options", "n_train", "model", "augment", "seed", "precision", "portable")
    return StageKey(
        stage, **{name: getattr(config, name) for name in same}, corruption=noise, randaugment=fidelity.randaugment,
        double_normalize=fidelity.double_normalize, **more,
    )  # fmt: skip


def _not_default(settings: Any, only: tuple[str, ...] | None = None) -> dict[str, Any]:
    found = {field.name: getattr(settings, field.name) for field in fields(settings)}
    defaults = {field.name: field.default for field in fields(settings)}
    return {name: value for name, value in found.items() if value != defaults[name] and (only is None or name in only)}


def forget_choice(config: RunConfig) -> str:
    """Return a digest of everything a run's forget set is chosen by, its memorization scores included."""
    chosen = ["data", "dataset", "dataset_options", "n_train", "difficulty", "forget_fraction", "forget_seed"]
    chosen += ["forget_class", "forget_index", "scores"]
    if forget_set(config.difficulty).graded and not config.scores:
        chosen += ["subsets", "model", "pretrain_epochs", "pretrain_batch_size", "subset_model", "subset_epochs"]
        chosen += ["subset_precision", *(["portable", "subset_portable"] if config.portable else [])]
    if config.fidelity.forget_split == "reseeded":
        chosen += ["seed"]
    return digest([config.fidelity.forget_split, {name: getattr(config, name) for name in chosen}])


@dataclass(frozen=True)
class EvaluationKey:
    """Everything the numbers of one metric depend on; its hash is the evaluation's id.

    Attributes:
        metric, version: the metric.
        stages: ids of the models it looks at, by role; of a metric that pools runs, each role's ids in order.
        forget_set: digest of the rows it looks at.
        seed, unlearn_seed: roots of what it draws.
        settings: its settings and switches that are not at their defaults.
        needs: ids of the evaluations whose numbers it reads.
        pooled: whether it pools many runs.
    """

    metric: str
    version: int
    stages: Mapping[str, Any]
    forget_set: str
    seed: int = 0
    unlearn_seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    pooled: bool = False

    @property
    def id(self) -> str:
        """The evaluation's identity: 16 hex digits."""
        return run_id(EVALUATION, self)


ROLE_STAGES = {"original": "pretrain", "retrained": "retrain", "unlearned": "unlearn"}


def evaluation_keys(config: RunConfig, parents: Mapping[str, str]) -> dict[str, EvaluationKey]:
    """Return the key of every metric a run asks for, and of those these need, in an order in which they can run.

    Args:
        config: the run.
        parents: ids of its stages and of its forget set, as its record has them.
    """
    stages = {role: parents[stage] for role, stage in ROLE_STAGES.items() if stage in parents}
    keys: dict[str, EvaluationKey] = {}
    left_out = absent_metrics(config)
    for name in (name for name in ordered_metrics(config.metrics) if name not in left_out):
        one = metric(name)
        # Which images are looked at is no part of a stage, but of every number.
        settings = _not_default(config, (*one.reads, "n_test", "rows_measured")) | _not_default(
            config.fidelity, one.switches
        )
        needs = tuple(keys[need].id for need in one.needs)
        seeds = (config.seed, config.unlearn_seed)
        keys[name] = EvaluationKey(name, one.version, stages, parents["forget_set"], *seeds, settings, needs)
    return keys


def absent_metrics(config: RunConfig) -> dict[str, str]:
    """Return the metrics a run asks for and cannot have, and why: those that compare with a retrained model."""
    if config.retrain != "none":
        return {}
    asked = dict.fromkeys((*config.metrics, *ordered_metrics(config.metrics)))
    return {name: "needs a retrained model, and retrain = none" for name in asked if _compares(name)}


def _compares(name: str) -> bool:
    """Return whether a metric, or one it needs, compares with a retrained model."""
    one = metric(name)
    return one.reference or one.pooled or any(_compares(need) for need in one.needs)


def complete(record: Record, config: RunConfig) -> bool:
    """Return whether a finished run has every metric its config names, in today's version and with its settings.

    Its record must say so too: a run that was measured in another way before is written anew.
    """
    if record.status != "ok":
        return record.status != "failed"  # a divergence is an outcome, an error is none
    there = record.result.get("evaluations", {})
    wanted = evaluation_keys(config, record.result["parents"])
    read = {"rows_measured", *(setting for name in wanted for setting in metric(name).reads)}
    said = {field.name: record.config.get(field.name, field.default) for field in fields(config)}
    told = all(said[name] == getattr(config, name) for name in read)
    return told and all(there.get(name, {}).get("id") == key.id for name, key in wanted.items())


def ordered_metrics(wanted: tuple[str, ...]) -> list[str]:
    """Return the metrics of a single run and those they need, each after what it needs.

    Of a metric that pools runs only what it needs of each run.

    Raises:
        ConfigError: for an unknown metric, with the nearest name.
    """
    found: dict[str, None] = {}

    def add(name: str) -> None:
        for need in metric(name).needs:
            add(need)
        if not metric(name).pooled:
            found[name] = None

    for name in wanted:
        add(name)
    return list(found)
