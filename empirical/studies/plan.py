"""What of a study is there and what a grid would do: missing cells, the stages they need, what that costs.

Nothing here loads torch or an image.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from statistics import median

from empirical.registry import dataset, forget_set, model_weights
from empirical.settings.keys import again_key, forget_choice, pretrain_key, retrain_key, subset_key
from empirical.settings.rule_labels import parse_legs, parse_rule
from empirical.settings.run_config import KIND, MemorizationConfig, RunConfig, Runtime, config_for
from empirical.studies.finished import Finished, with_data
from empirical.studies.recipe import Recipe
from repro.records.identity import run_id
from repro.records.record import Record
from repro.records.store import Store

Stage = tuple[str, str]
Pace = tuple[str, str, str]  # data set, model, precision


@dataclass(frozen=True)
class PlanRow:
    """One cell in a dry run.

    Attributes:
        cell: its config; run_id: its identity, empty while its open setting is not chosen or its data are not here.
        kind: `unlearn`, `choice` or `floor`; open: whether its open setting is not chosen yet.
        done: whether its record exists, with every metric the cell names.
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
        rows: the runs that choose, then the cells.
        stages: how many different stages the missing cells need, by kind; those in the store are not among them.
        weights_bytes: what the weights of these stages take on the disk, in bytes.
        unseen: digests of the data that records were made on, where the data are not here to compare.
        growing: how many choices are still to be made; each may ask for more runs than are listed.
        hours: hours of one process to train what is missing, at the rates of the store's own stages; unmeasured: the
            models that it has no stage of, so that nobody can say.
    """

    rows: list[PlanRow] = field(default_factory=list)
    stages: dict[str, int] = field(default_factory=dict)
    weights_bytes: int = 0
    unseen: tuple[str, ...] = ()
    growing: int = 0
    hours: float = 0.0
    unmeasured: set[str] = field(default_factory=set)

    @property
    def passes(self) -> float:
        """Passes over the training set in all."""
        return sum(row.passes for row in self.rows)


def plan(recipe: Recipe, store: Store, runtime: Runtime, finished: Finished) -> Plan:
    """Return what a grid would do.

    Args:
        recipe: the study.
        store: where trained stages are looked for.
        runtime: names the folder of local data.
        finished: the runs that exist.
    """
    decisions = recipe.decisions(finished, runtime)
    known = list({one.case: one for one in decisions.values()}.values())
    asked = list(dict.fromkeys(run for one in known for run in one.asked))
    settled = [(KIND, cell) for cell in with_data(recipe.settled(finished, runtime), runtime)]
    undecided = dict.fromkeys((KIND, cell) for cell, one in decisions.items() if not one.place)
    everything = [*asked, *settled, *undecided]
    found, rates = Plan(growing=sum(not one.place for one in known)), measured_rates(store)
    # The stages of finished cells were trained; whoever needs them again finds their weights.
    there = {run for run in (*asked, *settled) if finished.find(*run)}
    seen = {stage for _, cell in there for stage in _stages(cell)}
    for kind, cell in everything:
        done, open_ = (kind, cell) in there, (kind, cell) in undecided
        needed = {} if done else {key: cost for key, cost in _stages(cell).items() if key not in seen}
        needed = {key: cost for key, cost in needed.items() if store.find_model(key[1]) is None}
        seen |= set(needed)
        _count(found, cell, needed, own=not done, kept=recipe.keep_models and kind == KIND)
        own = 0.0 if done or cell.method == "retrain" else float(passes_of(cell.rule, cell.epochs))
        _time(found, cell, needed, own=own, rates=rates)
        identity = "" if open_ or not cell.data else run_id(kind, cell)
        found.rows.append(PlanRow(cell, identity, kind, open_, done, sum(needed.values()) + own))
    found.unseen = tuple(sorted(finished.unseen))
    return found


def measured_rates(store: Store) -> dict[Pace, float]:
    """Return gradient evaluations a second by what sets the pace: the median over the store's finished stages."""
    seen: dict[Pace, list[float]] = defaultdict(list)
    for folder in store.models():
        key = json.loads((folder / "config.json").read_text())["config"]
        facts = json.loads((folder / "provenance.json").read_text())
        if facts.get("seconds") and facts.get("gradient_evaluations"):
            pace = key["dataset"], key["model"], key["precision"]
            seen[pace].append(facts["gradient_evaluations"] / facts["seconds"])
    return {pace: median(rates) for pace, rates in seen.items()}


def _time(
    found: Plan, cell: RunConfig, needed: Mapping[Stage, float], *, own: float, rates: Mapping[Pace, float]
) -> None:
    """Add the hours of a cell's stages: passes times images, at the measured rates."""
    images = cell.n_train or dataset(cell.dataset).images
    # NegGrad reads a forget batch beside every retain batch.
    beside = (cell.forget_batch_size or cell.batch_size) / cell.batch_size if cell.method == "neggrad" else 0.0
    small = config_for(cell)
    work = [(small if kind == "subset" else cell, passes) for (kind, _), passes in needed.items()]
    for one, passes in [*work, *([(cell, own * (1 + beside))] if own else [])]:
        pace = one.dataset, one.model, one.precision
        if pace in rates and images:
            found.hours += passes * images / rates[pace] / 3600
        else:
            found.unmeasured.add(one.model)


def _stages(cell: RunConfig) -> dict[Stage, float]:
    """Return the stages a cell shares with others, as (kind, id), and the passes each takes.

    The rows of a forget set are not known before its scores are: what chooses them stands in their place.
    """
    rows, epochs = forget_choice(cell), cell.pretrain_epochs
    found: dict[Stage, float] = {}
    if not cell.original:
        found["pretrain", pretrain_key(cell).id] = passes_of(cell.pretrain, epochs)
    if cell.retrain != "none":
        found["retrain", retrain_key(cell, rows).id] = passes_of(cell.retrain_rule, epochs)
    if cell.method == "retrain":
        found["retrain", again_key(cell, rows).id] = passes_of(cell.rule, epochs)
    if forget_set(cell.difficulty).graded and not cell.scores:
        found |= _subset_stages(config_for(cell))
    return found


@cache
def _subset_stages(estimate: MemorizationConfig) -> dict[Stage, float]:
    keys = (subset_key(estimate.training(), estimate.fraction, number) for number in range(estimate.subsets))
    return {("subset", key.id): estimate.epochs * estimate.fraction for key in keys}


def _count(found: Plan, cell: RunConfig, needed: Mapping[Stage, float], *, own: bool, kept: bool) -> None:
    for kind, _ in needed:
        model = config_for(cell).model if kind == "subset" else cell.model
        found.stages[kind] = found.stages.get(kind, 0) + 1
        found.weights_bytes += 4 * model_weights(model)
    if own and cell.method != "retrain":
        found.stages["unlearn"] = found.stages.get("unlearn", 0) + 1
        found.weights_bytes += 4 * model_weights(cell.model) if kept else 0


def cost_of(label: str) -> int:
    """Return the gradient evaluations a step of a rule takes, in passes over its batch."""
    spec = parse_rule(label)
    return cost_of(spec.inner) if spec.inner else 1 if spec.name == "sgd" else 2


def passes_of(label: str, epochs: int) -> int:
    """Return the gradient evaluations of a stage under a rule or a schedule of rules, in passes over its data."""
    return sum(count * cost_of(rule) for rule, count in parse_legs(label, epochs))


def finished_cells(recipe: Recipe, finished: Finished, runtime: Runtime) -> list[Record]:
    """Return the finished cells of a recipe, from the store or the committed studies, whichever study ran them."""
    found = (finished.find(KIND, cell) for cell in with_data(recipe.settled(finished, runtime), runtime))
    return [record for record in found if record is not None]
