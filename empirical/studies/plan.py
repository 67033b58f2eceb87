"""What of a study is there and what a grid would do: missing cells, the stages they need, what that costs.

Nothing here loads torch or an image.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from empirical.registry import forget_set, model_weights
from empirical.settings.keys import forget_choice, pretrain_key, retrain_key, subset_key
from empirical.settings.rule_labels import parse_rule
from empirical.settings.run_config import CHOICE, KIND, MemorizationConfig, RunConfig, Runtime, config_for
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
        cell: its config; run_id: its identity, empty while its open setting is not chosen or its data are not here.
        kind: `unlearn` or `choice`; open: whether its open setting is not chosen yet.
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
    """

    rows: list[PlanRow] = field(default_factory=list)
    stages: dict[str, int] = field(default_factory=dict)
    weights_bytes: int = 0
    unseen: tuple[str, ...] = ()

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
    found = Plan()
    seen: set[Stage] = set()
    candidates = with_data(recipe.candidates(), runtime)
    settled = all(finished.find(CHOICE, cell) for cell in candidates)
    cells = with_data(recipe.settled(finished, runtime) if settled else recipe.cells(), runtime)
    undecided = set() if settled else set(with_data(recipe.undecided(), runtime))
    everything = [(CHOICE, cell) for cell in candidates] + [(KIND, cell) for cell in cells]
    # The stages of finished cells were trained; whoever needs them again finds their weights.
    for kind, cell in everything:
        if cell not in undecided and finished.find(kind, cell):
            seen |= set(_stages(cell))
    for kind, cell in everything:
        open_ = cell in undecided and kind == KIND
        done = not open_ and finished.find(kind, cell) is not None
        needed = {} if done else {key: cost for key, cost in _stages(cell).items() if key not in seen}
        needed = {key: cost for key, cost in needed.items() if store.find_model(key[1]) is None}
        seen |= set(needed)
        _count(found, cell, needed, own=not done, kept=recipe.keep_models and kind == KIND)
        passes = sum(needed.values()) + (0 if done else cell.epochs * cost_of(cell.rule))
        identity = "" if open_ or not cell.data else run_id(kind, cell)
        found.rows.append(PlanRow(cell, identity, kind, open_, done, passes))
    found.unseen = tuple(sorted(finished.unseen))
    return found


def _stages(cell: RunConfig) -> dict[Stage, float]:
    """Return the stages a cell shares with others, as (kind, id), and the passes each takes.

    The rows of a forget set are not known before its scores are: what chooses them stands in their place.
    """
    rows, epochs = forget_choice(cell), cell.pretrain_epochs
    found: dict[Stage, float] = {
        ("pretrain", pretrain_key(cell).id): epochs * cost_of(cell.pretrain),
        ("retrain", retrain_key(cell, rows).id): epochs * cost_of(cell.retrain_rule),
    }
    if cell.method == "retrain":
        found["retrain", retrain_key(cell, rows, cell.rule).id] = epochs * cost_of(cell.rule)
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


def finished_cells(recipe: Recipe, finished: Finished, runtime: Runtime) -> list[Record]:
    """Return the finished cells of a recipe, from the store or the committed studies, whichever study ran them."""
    candidates = with_data(recipe.candidates(), runtime)
    if not all(finished.find(CHOICE, cell) for cell in candidates):
        return []
    found = (finished.find(KIND, cell) for cell in with_data(recipe.settled(finished, runtime), runtime))
    return [record for record in found if record is not None]
