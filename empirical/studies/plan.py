"""A plan: the missing runs of a study, the stages they need, and what these cost.

Nothing here loads torch or an image.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property

from empirical.registry import dataset, forget_set, method, metric, model_weights, needs_shadow_models, rule
from empirical.settings.keys import again_key, forget_set_digest, pretrain_key, retrain_key, subset_key
from empirical.settings.rule_labels import parse_rule, parse_rule_schedule
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
        growing: how many searches still go on; each may need more runs than are listed.
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
    def unmeasured(self) -> set[str]:
        """Models whose rate is unknown."""
        return {work.pace.model for name, work in self.work.items() if self.hours_by_work[name] is None}

    def hours_with(self, tasks: int) -> float:
        """Return the hours that processes take at best without work of unknown rate; it starts after what it needs."""
        return hours_together(self.work, {name: hours or 0.0 for name, hours in self.hours_by_work.items()}, tasks)


def plan(recipe: Recipe, store: Store, runtime: Runtime, finished: Finished, rates: Rates | None = None) -> Plan:
    """Return what is missing of a study, and what it costs.

    A plan does not know the rows of a forget set, so it names a stage that depends on them by the settings that choose
    them. The record of a run tells the real ids of its stages.
    """
    study = recipe.resolve(finished, runtime)
    rows, real = study.rows(finished), {}
    for row in rows:
        if not row.open and (record := finished.look(row.kind, row.config)):
            real |= _real_ids(row, record.result.get("parents", {}))
    found = Plan(growing=sum(not one.place for one in study.searches), rates=rates or Rates.known(store))

    @cache
    def in_store(name: str) -> bool:
        return store.stages.find(real.get(name, name)) is not None

    for row in rows:
        works: list[Work] = []
        if not row.done:
            first = tuple(work_name("measure", *trial) for trial in study.open[row.config].needs) if row.open else ()
            saved = recipe.keep_models and row.kind == KIND
            works = _missing(row, lambda name: name in found.work or in_store(name), finished, first=first, saved=saved)
            found.work |= {work.id: work for work in works}
            found.committed += row.kind == KIND and finished.in_a_committed_study(row.config)
        passes = sum((work.passes for work in works if work.kind != "measure"), 0.0)
        found.rows.append(PlanRow(**vars(row), passes=passes))
    found.unseen = tuple(sorted(finished.unseen))
    found.unscored = tuple(sorted({row.config.dataset for row in rows if _unscored(row.config)}))
    named = {one for row in rows if not row.done for one in _imported(row.config)}
    found.absent = tuple(sorted(one for one in named if not store.starting(one[1])))
    return found


_identity = cache(run_id)  # a run is named as often as another waits for it


def work_name(what: str, kind: str, config: RunConfig) -> str:
    """Return the name of what belongs to one run alone among the work of a plan: `measure` or `unlearn`."""
    return f"{what} {_identity(kind, config)}"


def _real_ids(row: StudyRow, parents: Mapping[str, str]) -> dict[str, str]:
    """Return the ids of a run's stages in its record by the names that a plan gives them."""
    config, rows, found = row.config, forget_set_digest(row.config), {}
    if "unlearn" in parents:
        own = again_key(config, rows).id if config.method == "retrain" else work_name("unlearn", row.kind, config)
        found[own] = parents["unlearn"]
    if "retrain" in parents:
        found[retrain_key(config, rows).id] = parents["retrain"]
    return found


def _imported(config: RunConfig) -> list[tuple[str, str]]:
    """Return the settings of a run that name an imported file, each with the id of the file."""
    reads = {"forget_index": config.difficulty == "index", "scores": forget_set(config.difficulty).graded}
    return [(name, identity) for name, read in reads.items() if read and (identity := getattr(config, name))]


def _unscored(config: RunConfig) -> bool:
    return forget_set(config.difficulty).graded and not config.scores and not dataset(config.dataset).estimates


def _missing(
    row: StudyRow, there: Callable[[str], bool], finished: Finished, *, first: tuple[str, ...], saved: bool
) -> list[Work]:
    """Return the work of a run that is neither done nor planned: its stages, then its measuring.

    Args:
        row: the run; there: whether a stage of a name is.
        finished: the runs that exist.
        first: the trials of its search, which come before; saved: whether its unlearned weights are.
    """
    config, known, stages = row.config, dataset(row.config.dataset), _stages(row.config, finished)
    images, test = config.n_train or known.images, config.n_test or known.test_images
    pace, of_subsets, works = pace_of(config), pace_of(config_for(config)), []

    def named(*kinds: str) -> tuple[str, ...]:
        return tuple(name for kind, name in stages if kind in kinds)

    for (kind, name), passes in stages.items():
        if not there(name):
            own, needs = of_subsets if kind == "subset" else pace, named("subset") if kind == "retrain" else ()
            works.append(Work(name, kind, own, passes, passes * images, needs, 4 * model_weights(own.model)))
    unlearned = work_name("unlearn", row.kind, config)
    if config.method != "retrain" and not there(unlearned):
        passes, size = own_passes(config), config.batch_size
        more = (config.forget_batch_size or size) / size if method(config.method).beside else 0.0
        needs, weights = (*named("pretrain", "subset"), *first), 4 * model_weights(config.model) if saved else 0
        works.append(Work(unlearned, "unlearn", pace, passes, passes * images * (1 + more), needs, weights))
    # Classifying an image costs a third of its gradient. Original and retrained model are measured by the first run
    # that needs them, the unlearned one by its own run.
    models = 1 + sum(work.kind in ("pretrain", "retrain") for work in works)
    passes, needs = models / 3 if images else 0.0, (*named("retrain"), *named("pretrain", "subset"), unlearned)
    looks = passes * (images + test + looks_of_metrics(config))
    return [*works, Work(work_name("measure", row.kind, config), "measure", pace, passes, looks, needs)]


def looks_of_metrics(config: RunConfig) -> int:
    """Return how many more images a model classifies for the metrics of a run, such as a loss landscape."""
    wanted = (metric(name).looks for name in config.metrics)
    return sum(2 * math.prod(getattr(config, name) for name in looks) for looks in wanted if looks)


def _stages(config: RunConfig, finished: Finished) -> dict[Stage, float]:
    """Return the stages that a run shares with others, as (kind, id), and the passes that each takes.

    The rows of a forget set are unknown before its scores are, so the settings that choose them stand for them. With
    scores in the store or published, subset models are needed only by an attack that uses them as shadow models.
    """
    rows, epochs = forget_set_digest(config), config.pretrain_epochs
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
    if needs_shadow_models(config.metrics) or (graded and not finished.estimated(estimate)):
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
    return sum(count * cost_of(rule) for rule, count in parse_rule_schedule(label, epochs))
