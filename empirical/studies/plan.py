"""A plan: the missing runs of a study, the stages they need, and what these cost.

Nothing here loads torch or an image.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property

from empirical.registry import dataset, forget_set, method, metric, model_weights, needs_shadows, rule
from empirical.settings.keys import again_key, forget_choice, pretrain_key, retrain_key, subset_key
from empirical.settings.rule_labels import parse_legs, parse_rule
from empirical.settings.run_config import KIND, MemorizationConfig, RunConfig, Runtime, config_for
from empirical.studies.cost import Rates, Work, hours_at, hours_together, pace_of
from empirical.studies.finished import Finished
from empirical.studies.recipe import Recipe
from empirical.studies.study_runs import StudyRow
from repro.records.identity import run_id
from repro.records.store import Store

Stage = tuple[str, str]


@dataclass(frozen=True)
class PlanRow(StudyRow):
    """A row of a plan: a run and its passes over the training set, with those of stages that no earlier row needs."""

    passes: float


@dataclass
class Plan:
    """What is missing of a study, and what it costs.

    Attributes:
        rows: the trials of searches, then the runs.
        work: what the missing runs need and the store lacks, by id.
        rates: how fast the work is done.
        unseen: digests of the data of records, where the data are not on this machine to compare.
        growing: how many searches still go on; each may ask for more runs than are listed.
        committed: how many of the missing runs a published study has.
        unscored: data sets whose memorization scores have to be imported first.
        absent: what missing runs name and the store lacks, as (setting, id): forget indices and scores.
    """

    rows: list[PlanRow] = field(default_factory=list)
    work: dict[str, Work] = field(default_factory=dict)
    rates: Rates = field(default_factory=Rates)
    unseen: tuple[str, ...] = ()
    growing: int = 0
    committed: int = 0
    unscored: tuple[str, ...] = ()
    absent: tuple[tuple[str, str], ...] = ()

    @property
    def passes(self) -> float:
        """Passes over the training set in all."""
        return sum(row.passes for row in self.rows)

    @property
    def stages(self) -> dict[str, int]:
        """How many different stages are to be trained, by kind."""
        return dict(Counter(work.kind for work in self.work.values() if work.kind != "measure"))

    @property
    def weights_bytes(self) -> int:
        """The size of these stages' weights on the disk, in bytes."""
        return sum(work.weights_bytes for work in self.work.values())

    @cached_property
    def hours_by_work(self) -> dict[str, float | None]:
        """The hours of each piece of work, by id; None if its rate is unknown."""
        rates = {pace: self.rates.of(pace) for pace in {work.pace for work in self.work.values()}}
        return {name: hours_at(work, rates[work.pace]) for name, work in self.work.items()}

    @property
    def hours(self) -> float:
        """Hours of one process, without the work whose rate is unknown."""
        return sum(hours or 0.0 for hours in self.hours_by_work.values())

    @property
    def unmeasured(self) -> set[str]:
        """Models whose rate is unknown."""
        return {work.pace.model for name, work in self.work.items() if self.hours_by_work[name] is None}

    def hours_with(self, tasks: int) -> float:
        """Return the hours that several processes take at best; work starts after the work it needs."""
        return hours_together(self.work, {name: hours or 0.0 for name, hours in self.hours_by_work.items()}, tasks)


def plan(recipe: Recipe, store: Store, runtime: Runtime, finished: Finished, rates: Rates | None = None) -> Plan:
    """Return what is missing of a study, and what it costs.

    Args:
        recipe: the study.
        store: where trained stages are looked for.
        runtime: names the folder of local data.
        finished: the runs that exist.
        rates: how fast stages train; None takes those of the store's own stages.
    """
    study = recipe.resolve(finished, runtime)
    rows, searching = study.rows(finished), {(KIND, config): one for config, one in study.open.items()}
    growing = sum(not one.place for one in study.searches)
    found = Plan(growing=growing, rates=rates or Rates.known(store))
    shelf = _Shelf(store)
    for row in rows:
        if not row.open and (record := finished.look(row.kind, row.config)):
            shelf.learn((row.kind, row.config), record.result.get("parents", {}))
    seen: set[Stage] = set()
    for row in rows:
        run, config = (row.kind, row.config), row.config
        found.committed += row.kind == KIND and not row.done and finished.in_a_committed_study(config)
        stages = {} if row.done else _stages(config, finished)
        needed = {stage: cost for stage, cost in stages.items() if stage not in seen and not shelf.has(stage[1])}
        seen |= set(needed)
        trained = row.done or config.method == "retrain" or shelf.has(run_name(*run))
        own = 0.0 if trained else own_passes(config)
        if not row.done:
            first = tuple(run_name(*trial) for trial in searching[run].asked) if row.open else ()
            kept = recipe.keep_models and row.kind == KIND
            _add(found, run, stages, list(needed), own=own, first=first, kept=kept)
        found.rows.append(PlanRow(**vars(row), passes=sum(needed.values()) + own))
    found.unseen = tuple(sorted(finished.unseen))
    found.unscored = tuple(sorted({config.dataset for row in rows if _unscored(config := row.config)}))
    named = {one for row in found.rows if not row.done for one in _imported(row.config)}
    found.absent = tuple(sorted(one for one in named if not store.starting(one[1])))
    return found


_identity = cache(run_id)  # a run is named as often as another waits for it


def run_name(kind: str, config: RunConfig) -> str:
    """Return the name of a run's measuring among the work of a plan."""
    return f"measure {_identity(kind, config)}"


class _Shelf:
    """Which trained stages a store has, by the names that a plan gives them.

    A plan does not know the rows of a forget set, so it names a stage that depends on them by the settings that choose
    them. The record of a run tells the real ids of its stages.

    Args:
        store: where the weights are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ids: dict[str, str] = {}
        self._there: dict[str, bool] = {}

    def learn(self, run: tuple[str, RunConfig], parents: Mapping[str, str]) -> None:
        """Take the real ids of a run's stages from its record."""
        config, rows = run[1], forget_choice(run[1])
        if "unlearn" in parents:
            name = again_key(config, rows).id if config.method == "retrain" else run_name(*run)
            self._ids[name] = parents["unlearn"]
        if "retrain" in parents:
            self._ids[retrain_key(config, rows).id] = parents["retrain"]

    def has(self, name: str) -> bool:
        """Return whether the store has the weights of a stage."""
        key = self._ids.get(name, name)
        if key not in self._there:
            self._there[key] = self._store.find_model(key) is not None
        return self._there[key]


def _imported(config: RunConfig) -> list[tuple[str, str]]:
    """Return the settings of a run that name an imported file, each with the id of the file."""
    reads = {"forget_index": config.difficulty == "index", "scores": forget_set(config.difficulty).graded}
    return [(name, identity) for name, read in reads.items() if read and (identity := getattr(config, name))]


def _unscored(config: RunConfig) -> bool:
    return forget_set(config.difficulty).graded and not config.scores and not dataset(config.dataset).estimates


def _add(
    found: Plan, run: tuple[str, RunConfig], stages: Mapping[Stage, float], needed: list[Stage], *,
    own: float, first: tuple[str, ...], kept: bool,
) -> None:  # fmt: skip
    """Add the work of a run.

    Args:
        found: the plan; run: its kind and config.
        stages: all it shares with others, and their passes; needed: those that nothing before it has.
        own: passes of its unlearning; first: the trials of its search; kept: whether its weights are kept.
    """
    config = run[1]
    images, test = (
        config.n_train or dataset(config.dataset).images,
        config.n_test or dataset(config.dataset).test_images,
    )
    pace, subset = pace_of(config), pace_of(config_for(config))
    grades = tuple(name for (stage, name) in stages if stage == "subset")
    for stage, name in needed:
        passes = stages[stage, name]
        one, needs = (subset, ()) if stage == "subset" else (pace, grades if stage == "retrain" else ())
        weights = 4 * model_weights(one.model)
        found.work[name] = Work(name, stage, one, passes, passes * images, needs, weights)
    shared = [name for (stage, name) in stages if stage in ("pretrain", "subset")]
    beside = (
        (config.forget_batch_size or config.batch_size) / config.batch_size if method(config.method).beside else 0.0
    )
    measured = run_name(*run)
    trained = measured.replace("measure", "unlearn")
    if own:
        weights = 4 * model_weights(config.model) if kept else 0
        examples = own * images * (1 + beside)
        found.work[trained] = Work(trained, "unlearn", pace, own, examples, (*shared, *first), weights)
    against = [name for (stage, name) in stages if stage == "retrain"]
    # Classifying an image costs a third of its gradient. Original and retrained model are measured by the first run
    # that needs them, the unlearned one by its own run.
    models = 1 + sum(stage in ("pretrain", "retrain") for stage, _ in needed)
    looks = models / 3 * (images + test + looks_of_metrics(config)) if images else 0.0
    passes = models / 3 if images else 0.0
    found.work[measured] = Work(measured, "measure", pace, passes, looks, (*against, *shared, trained))


def looks_of_metrics(config: RunConfig) -> int:
    """Return how many more images a model classifies for the metrics of a run, such as a loss landscape."""
    wanted = (metric(name).looks for name in config.metrics)
    return sum(2 * math.prod(getattr(config, name) for name in looks) for looks in wanted if looks)


def _stages(config: RunConfig, finished: Finished) -> dict[Stage, float]:
    """Return the stages that a run shares with others, as (kind, id), and the passes that each takes.

    The rows of a forget set are unknown before its scores are, so the settings that choose them stand for them. With
    scores in the store or published, subset models are needed only by an attack that uses them as shadow models.
    """
    rows, epochs = forget_choice(config), config.pretrain_epochs
    found: dict[Stage, float] = {}
    if not config.original:
        found["pretrain", pretrain_key(config).id] = passes_of(config.pretrain, epochs)
    if config.retrain != "none":
        found["retrain", retrain_key(config, rows).id] = passes_of(config.retrain_rule, epochs)
    if config.method == "retrain":
        found["retrain", again_key(config, rows).id] = passes_of(config.rule, epochs)
    estimate, graded = (
        config_for(config),
        forget_set(config.difficulty).graded and not config.scores and not _unscored(config),
    )
    if needs_shadows(config.metrics) or (graded and not finished.estimated(estimate)):
        found |= subset_stages(estimate)
    return found


@cache
def subset_stages(estimate: MemorizationConfig) -> dict[Stage, float]:
    """Return the subset models of an estimate, as (kind, id), and the passes each takes."""
    keys = (subset_key(estimate.training(), estimate.fraction, number) for number in range(estimate.subsets))
    return {("subset", key.id): estimate.epochs * estimate.fraction for key in keys}


def cost_of(label: str) -> int:
    """Return the gradient evaluations a step of a rule takes, in passes over its batch."""
    spec = parse_rule(label)
    return cost_of(spec.inner) if spec.inner else rule(spec.name).passes


def own_passes(config: RunConfig) -> float:
    """Return the passes over the training images of a run's own stage: retraining, or an unlearning."""
    share = config.forget_fraction if method(config.method).reads == ("forget",) else 1.0
    return share * passes_of(config.rule, config.pretrain_epochs if config.method == "retrain" else config.epochs)


def passes_of(label: str, epochs: int) -> int:
    """Return the gradient evaluations of a stage under a rule or a schedule of rules, in passes over its data."""
    return sum(count * cost_of(rule) for rule, count in parse_legs(label, epochs))
