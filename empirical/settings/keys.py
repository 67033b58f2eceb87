"""The values that identify a trained stage or an evaluation; their hash is its name in the store."""

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
        data, dataset, dataset_options, n_train: the training images: digest of the files, and which of them are used.
        model, precision, portable: the network and its arithmetic.
        rows: the training rows: `all`, or a digest of row numbers.
        rule: gradient rule; hyperparameters, augment, seed: how it trains.
        randaugment, double_normalize, corruption: what else happens to the images.
        parent: id of the stage that unlearning starts from.
        method, method_options, unlearn_seed, mask_fraction: how it unlearns.
        switches: the discrepancy switches off their defaults that affect the weights through no other field.
        number: number of the subset model.
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
    """Return the key of the original model; D8 trains it on the rows of the released code's split."""
    rows = "all" if config.fidelity.forget_split == "shared" else "released-split"
    return _key(config, "pretrain", rows=rows, rule=config.pretrain, hyperparameters=config.pretraining())


def original_id(config: RunConfig) -> str:
    """Return the id of the original model: the imported model's, or the pretraining stage's."""
    return config.original or pretrain_key(config).id


def retrain_key(config: RunConfig, rows: str, rule: str = "") -> StageKey:
    """Return the key of the model that is trained on the retain rows.

    Args:
        config: the run.
        rows: digest of the retain rows; if they are not known yet, `forget_set_digest`.
        rule: replaces the config's retraining rule.
    """
    rule = rule or config.retrain_rule
    return _key(config, "retrain", rows=rows, rule=rule, hyperparameters=config.retraining())


def again_key(config: RunConfig, rows: str) -> StageKey:
    """Return the key of the model of the method `retrain`: fresh weights trained on the retain rows by the run's rule.

    With the retraining rule and `unlearn_seed = 0` it is the reference model itself. Any other `unlearn_seed` trains a
    second model: the distance between the two is the noise floor of all metrics that compare with the reference.
    """
    return replace(retrain_key(config, rows, config.rule), unlearn_seed=config.unlearn_seed)


def unlearn_key(config: RunConfig, parent: str, rows: str, options: Any) -> StageKey:
    """Return the key of the unlearned model.

    Args:
        config: the run.
        parent: id of the original model.
        rows: digest of the retain and the forget rows.
        options: the method object.
    """
    method = {"method": config.method, "method_options": identifying(options)}
    more = {"parent": parent, "unlearn_seed": config.unlearn_seed, "mask_fraction": config.mask_fraction}
    return _key(
        config, "unlearn", rows=rows, rule=config.rule, hyperparameters=config.unlearning(),
        switches=config.fidelity.of_weights(), **method, **more,
    )  # fmt: skip


def subset_key(training: RunConfig, fraction: float, number: int) -> StageKey:
    """Return the key of a subset model: how it is trained, and which subset of the images it sees.

    Args:
        training: its training, as the pretraining of a run.
        fraction: share of the images in a subset.
        number: number of the subset; subset k is the same whether 24 or 32 are drawn.
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


def _not_default(settings: Any, only: tuple[str, ...]) -> dict[str, Any]:
    """Return those of some settings that are not at their defaults."""
    named = ((field, getattr(settings, field.name)) for field in fields(settings) if field.name in only)
    return {field.name: value for field, value in named if value != field.default}


def forget_set_digest(config: RunConfig) -> str:
    """Return a digest of everything that determines a run's forget set, its memorization scores included."""
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
        stages: ids of the models it measures, by role; for a metric that pools runs, a list of ids for each role.
        forget_set: digest of the forget rows.
        seed, unlearn_seed: seeds of its random numbers.
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
    """Return the keys of the metrics a run asks for and of the metrics they need; each comes after what it needs."""
    stages = {role: parents[stage] for role, stage in ROLE_STAGES.items() if stage in parents}
    keys: dict[str, EvaluationKey] = {}
    for name in present_metrics(config):
        facts = metric(name)
        # n_test and rows_measured identify no stage, but every number depends on them.
        settings = _not_default(config, (*facts.reads, "n_test", "rows_measured")) | _not_default(
            config.fidelity, facts.switches
        )
        needs = tuple(keys[need].id for need in facts.needs)
        seeds = (config.seed, config.unlearn_seed)
        keys[name] = EvaluationKey(name, facts.version, stages, parents["forget_set"], *seeds, settings, needs)
    return keys


def absent_metrics(config: RunConfig) -> dict[str, str]:
    """Return the metrics that need a retrained model, each with the reason, if the run has none (`retrain = none`)."""
    if config.retrain != "none":
        return {}
    asked = dict.fromkeys((*config.metrics, *ordered_metrics(config.metrics)))
    return {name: "needs a retrained model, and retrain = none" for name in asked if _compares(name)}


def present_metrics(config: RunConfig) -> list[str]:
    """Return the metrics that a finished run of a config has: those it names and those they need, in this order."""
    absent = absent_metrics(config)
    return [name for name in ordered_metrics(config.metrics) if name not in absent]


def _compares(name: str) -> bool:
    """Return whether a metric, or one it needs, compares with a retrained model."""
    facts = metric(name)
    return facts.reference or facts.pooled or any(_compares(need) for need in facts.needs)


def complete(record: Record, config: RunConfig) -> bool:
    """Return whether a record has every metric that the config names, with the current version and settings.

    The config in the record must name the same metric settings; otherwise the record has to be written again.
    """
    if record.status != "ok":
        return record.status != "failed"  # a divergence is a result, an error is not
    found = record.result.get("evaluations", {})
    wanted = evaluation_keys(config, record.result["parents"])
    read = {"rows_measured", *(setting for name in wanted for setting in metric(name).reads)}
    recorded = {field.name: record.config.get(field.name, field.default) for field in fields(config)}
    same = all(recorded[name] == getattr(config, name) for name in read)
    return same and all(found.get(name, {}).get("id") == key.id for name, key in wanted.items())


def ordered_metrics(wanted: tuple[str, ...]) -> list[str]:
    """Return metrics and the metrics they need, each after what it needs.

    A metric that pools many runs is left out; what it needs from each run is not.

    Raises:
        ConfigError: for an unknown metric, with the nearest name.
    """
    found: dict[str, None] = {}

    def visit(name: str) -> None:
        for need in metric(name).needs:
            visit(need)
        if not metric(name).pooled:
            found[name] = None

    for name in wanted:
        visit(name)
    return list(found)
