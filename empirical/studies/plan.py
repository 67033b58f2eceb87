"""What of a study is there and what a grid would do: missing cells, the stages they need, what that costs.

Nothing here loads torch or an image.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property

from empirical.registry import dataset, forget_set, method, metric, model_weights, needs_shadows, rule
from empirical.settings.keys import again_key, complete, forget_choice, pretrain_key, retrain_key, subset_key
from empirical.settings.rule_labels import parse_legs, parse_rule
from empirical.settings.run_config import KIND, MemorizationConfig, RunConfig, Runtime, altered, config_for
from empirical.studies.cost import Rates, Work, hours_at, hours_together, pace_of
from empirical.studies.finished import Finished, with_data
from empirical.studies.recipe import Recipe
from repro.records.identity import run_id
from repro.records.record import Record
from repro.records.store import Store

Stage = tuple[str, str]


@dataclass(frozen=True)
class PlanRow:
    """One cell in a dry run.

    Attributes:
        cell: its config; run_id: its identity, empty while its value is searched for or its data are not here.
        kind: `unlearn`, `choice` (a trial of a search) or `floor`; open: whether its search still goes on.
        done: whether its record exists, with every metric the cell names: that of a cell in the store, for a grid
            computes those of committed studies again; that of a trial there or in a committed study.
        passes: passes over the training set, those of trained stages that no earlier row needs included.
    """

    cell: RunConfig
    run_id: str
    kind: str
    open: bool
    done: bool
    passes: float


@dataclass
class Plan:
    """What a grid would do.

    Attributes:
        rows: the trials of searches, then the cells.
        work: what the missing ones need, by id, everything once and in an order in which it can be done; what the
            store has is not among it.
        rates: how fast that is done.
        unseen: digests of the data that records were made on, where the data are not here to compare.
        growing: how many searches still go on; each may ask for more runs than are listed.
        committed: how many cells that are to be computed a committed study has.
        unscored: data sets whose memorization scores have to be imported first.
        absent: what missing cells name and the store lacks, as (setting, id): forget indices and scores.
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
        """What the weights of these stages take on the disk, in bytes."""
        return sum(work.weights_bytes for work in self.work.values())

    @cached_property
    def _hours(self) -> dict[str, float | None]:
        rates = {pace: self.rates.of(pace) for pace in {work.pace for work in self.work.values()}}
        return {name: hours_at(work, rates[work.pace]) for name, work in self.work.items()}

    @property
    def hours(self) -> float:
        """Hours of one process, of what can be said."""
        return sum(hours or 0.0 for hours in self._hours.values())

    @property
    def unmeasured(self) -> set[str]:
        """Models of which no rate is known, so that nobody can say."""
        return {work.pace.model for name, work in self.work.items() if self._hours[name] is None}

    def hours_of(self, name: str) -> float | None:
        """Return the hours of one piece of work; None where nobody can say."""
        return self._hours[name]

    def hours_with(self, tasks: int) -> float:
        """Return the hours that several processes take at best: what waits for other work waits for it here too."""
        return hours_together(self.work, {name: hours or 0.0 for name, hours in self._hours.items()}, tasks)


def plan(recipe: Recipe, store: Store, runtime: Runtime, finished: Finished, rates: Rates | None = None) -> Plan:
    """Return what a grid would do.

    Args:
        recipe: the study.
        store: where trained stages are looked for.
        runtime: names the folder of local data.
        finished: the runs that exist.
        rates: how fast stages train; None takes those of the store's own stages.
    """
    searches = recipe.searches(finished, runtime)
    known = list({one.setting: one for one in searches.values()}.values())
    asked = list(dict.fromkeys(run for one in known for run in one.asked))
    settled = [(KIND, cell) for cell in with_data(recipe.settled(finished, runtime), runtime, finished)]
    searching = dict.fromkeys((KIND, cell) for cell, one in searches.items() if not one.place)
    everything = [*asked, *settled, *searching]
    found = Plan(growing=sum(not one.place for one in known), rates=rates or Rates.known(store))
    looked = {run: finished.look(*run) for run in (*asked, *settled)}
    shelf = _Shelf(store)
    for run, record in looked.items():
        if record:
            shelf.learn(run, record.result.get("parents", {}))
    seen: set[Stage] = set()
    for kind, cell in everything:
        record, open_ = looked.get((kind, cell)), (kind, cell) in searching
        done = finished.in_store(cell) if kind == KIND else record is not None and complete(record, cell)
        found.committed += kind == KIND and not done and finished.in_a_committed_study(cell)
        stages = {} if done else _stages(cell, finished)
        needed = {stage: cost for stage, cost in stages.items() if stage not in seen and not shelf.has(stage[1])}
        seen |= set(needed)
        trained = done or cell.method == "retrain" or shelf.has(run_name(kind, cell))
        own = 0.0 if trained else own_passes(cell)
        if not done:
            first = tuple(run_name(*run) for run in searches[cell].asked) if open_ else ()
            kept = recipe.keep_models and kind == KIND
            _add(found, (kind, cell), stages, list(needed), own=own, first=first, kept=kept)
        identity = "" if open_ or not cell.data else _identity(kind, cell)
        found.rows.append(PlanRow(cell, identity, kind, open_, done, sum(needed.values()) + own))
    found.unseen = tuple(sorted(finished.unseen))
    found.unscored = tuple(sorted({cell.dataset for _, cell in everything if _unscored(cell)}))
    named = {one for row in found.rows if not row.done for one in _imported(row.cell)}
    found.absent = tuple(sorted(one for one in named if not store.starting(one[1])))
    return found


_identity = cache(run_id)  # a run is named as often as another waits for it


def run_name(kind: str, cell: RunConfig) -> str:
    """Return the name of a run's measuring among the work of a plan."""
    return f"measure {_identity(kind, cell)}"


class _Shelf:
    """Which trained stages a store has, under the names that a plan gives them.

    What depends on the rows of a forget set is named in a plan by what chooses these; a run that is there, with all of
    its metrics or not, says under which id it is kept.

    Args:
        store: where the weights are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ids: dict[str, str] = {}
        self._there: dict[str, bool] = {}

    def learn(self, run: tuple[str, RunConfig], parents: Mapping[str, str]) -> None:
        """Take from a run, and the stages that its record names, what no config tells."""
        cell, rows = run[1], forget_choice(run[1])
        if "unlearn" in parents:
            name = again_key(cell, rows).id if cell.method == "retrain" else run_name(*run)
            self._ids[name] = parents["unlearn"]
        if "retrain" in parents:
            self._ids[retrain_key(cell, rows).id] = parents["retrain"]

    def has(self, name: str) -> bool:
        """Return whether the store has the weights of a stage."""
        key = self._ids.get(name, name)
        if key not in self._there:
            self._there[key] = self._store.find_model(key) is not None
        return self._there[key]


def _imported(cell: RunConfig) -> list[tuple[str, str]]:
    """Return the settings of a cell that name an imported file of the store, with its id."""
    reads = {"forget_index": cell.difficulty == "index", "scores": forget_set(cell.difficulty).graded}
    return [(name, identity) for name, read in reads.items() if read and (identity := getattr(cell, name))]


def _unscored(cell: RunConfig) -> bool:
    return forget_set(cell.difficulty).graded and not cell.scores and not dataset(cell.dataset).estimates


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
    cell = run[1]
    images, test = cell.n_train or dataset(cell.dataset).images, cell.n_test or dataset(cell.dataset).test_images
    pace, subset = pace_of(cell), pace_of(config_for(cell))
    grades = tuple(name for (stage, name) in stages if stage == "subset")
    for stage, name in needed:
        passes = stages[stage, name]
        one, needs = (subset, ()) if stage == "subset" else (pace, grades if stage == "retrain" else ())
        weights = 4 * model_weights(one.model)
        found.work[name] = Work(name, stage, one, passes, passes * images, needs, weights)
    shared = [name for (stage, name) in stages if stage in ("pretrain", "subset")]
    beside = (cell.forget_batch_size or cell.batch_size) / cell.batch_size if method(cell.method).beside else 0.0
    measured = run_name(*run)
    trained = measured.replace("measure", "unlearn")
    if own:
        weights = 4 * model_weights(cell.model) if kept else 0
        examples = own * images * (1 + beside)
        found.work[trained] = Work(trained, "unlearn", pace, own, examples, (*shared, *first), weights)
    against = [name for (stage, name) in stages if stage == "retrain"]
    # Looking at an image costs a third of its gradient. Original and retrained model are looked at by who needs them
    # first, the unlearned one by its own run.
    models = 1 + sum(stage in ("pretrain", "retrain") for stage, _ in needed)
    looks = models / 3 * (images + test + looks_of_metrics(cell)) if images else 0.0
    passes = models / 3 if images else 0.0
    found.work[measured] = Work(measured, "measure", pace, passes, looks, (*against, *shared, trained))


def looks_of_metrics(cell: RunConfig) -> int:
    """Return how many more images a model answers for the metrics of a cell, such as those of a loss landscape."""
    wanted = (metric(name).looks for name in cell.metrics)
    return sum(2 * math.prod(getattr(cell, name) for name in looks) for looks in wanted if looks)


def _stages(cell: RunConfig, finished: Finished) -> dict[Stage, float]:
    """Return the stages a cell shares with others, as (kind, id), and the passes each takes.

    The rows of a forget set are not known before its scores are: what chooses them stands in their place. Scores that
    are there, committed ones included, need no subset models; an attack with these as its shadows does.
    """
    rows, epochs = forget_choice(cell), cell.pretrain_epochs
    found: dict[Stage, float] = {}
    if not cell.original:
        found["pretrain", pretrain_key(cell).id] = passes_of(cell.pretrain, epochs)
    if cell.retrain != "none":
        found["retrain", retrain_key(cell, rows).id] = passes_of(cell.retrain_rule, epochs)
    if cell.method == "retrain":
        found["retrain", again_key(cell, rows).id] = passes_of(cell.rule, epochs)
    estimate, graded = config_for(cell), forget_set(cell.difficulty).graded and not cell.scores and not _unscored(cell)
    if needs_shadows(cell.metrics) or (graded and not finished.estimated(estimate)):
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


def own_passes(cell: RunConfig) -> float:
    """Return the passes over the training images of a run's own stage: retraining, or an unlearning."""
    share = cell.forget_fraction if method(cell.method).reads == ("forget",) else 1.0
    return share * passes_of(cell.rule, cell.pretrain_epochs if cell.method == "retrain" else cell.epochs)


def passes_of(label: str, epochs: int) -> int:
    """Return the gradient evaluations of a stage under a rule or a schedule of rules, in passes over its data."""
    return sum(count * cost_of(rule) for rule, count in parse_legs(label, epochs))


def finished_cells(recipe: Recipe, finished: Finished, runtime: Runtime) -> list[Record]:
    """Return the runs of a recipe's cells, from the store or the committed studies, whichever study ran them.

    A run that lacks some of its cell's metrics is among them: its other numbers stand, and the rest can be measured.
    """
    cells = with_data(recipe.settled(finished, runtime), runtime, finished)
    found = ((cell, finished.look(KIND, cell)) for cell in cells)
    return [record for cell, record in found if record and _stands(record, cell)]


def every_cell(recipe: Recipe, finished: Finished, runtime: Runtime) -> list[RunConfig]:
    """Return all cells of a study: those that can be run, and those whose search still goes on."""
    searching = [cell for cell, one in recipe.searches(finished, runtime).items() if not one.place]
    return list(dict.fromkeys([*with_data(recipe.settled(finished, runtime), runtime, finished), *searching]))


def _stands(record: Record, cell: RunConfig) -> bool:
    """Return whether the numbers that a run has are measured as its cell asks."""
    there = tuple(name for name in cell.metrics if name in record.result.get("evaluations", {}))
    return complete(record, altered(cell, metrics=there) if there else cell)
