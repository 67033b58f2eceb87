"""Metrics that pool many runs of a study, which differ in their seeds only."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from empirical.metrics.pooled import Pool
from empirical.registry import load, metric
from empirical.settings.keys import EvaluationKey
from repro.records.identity import digest
from repro.records.provenance import collect
from repro.records.record import Record
from repro.records.store import Store

FEWEST = 4  # two runs on either side of a comparison
SEEDS = ("seed", "unlearn_seed")


def pool_runs(records: Iterable[Record], metrics: Sequence[str], store: Store, *, study: str = "") -> list[Record]:
    """Return the pooled evaluations of runs, one a metric and group of runs that differ in their seeds only.

    Args:
        records: finished runs; those that lack what a metric reads, or a retrained model, are not pooled by it, and
            groups of fewer than four are left out. Runs on other forget sets, or measured on other images, form other
            groups. Of several unlearning seeds of a training seed only the first counts, because they share the
            original and the retrained model.
        metrics: names of metrics; those that look at one run are ignored.
        store: where the evaluations are kept.
        study: for their provenance.
    """
    wanted = [name for name in metrics if metric(name).pooled]
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records if wanted else ():
        if record.status == "ok":
            rest = {key: value for key, value in record.identity.items() if key not in SEEDS}
            groups[digest([rest, record.result["parents"]["forget_set"], _scope(record)])].append(record)
    pools = [(name, [one for one in group if _has(one, name)]) for group in groups.values() for name in wanted]
    alone = [(name, _one_a_seed(pool)) for name, pool in pools]
    return [_pooled(name, pool, store, study) for name, pool in alone if len(pool) >= FEWEST]


def _one_a_seed(pool: list[Record]) -> list[Record]:
    """Return one run of each training seed, in their order, that of its lowest unlearning seed."""
    found: dict[int, Record] = {}
    for record in sorted(pool, key=lambda one: [one.config[seed] for seed in SEEDS]):
        found.setdefault(record.config["seed"], record)
    return list(found.values())


def _has(record: Record, name: str) -> bool:
    """Return whether a run was measured in the way that a pooled metric reads, and has a model to compare with."""
    needs, there = metric(name).needs, record.result.get("evaluations", {})
    return "retrain" in record.result["parents"] and all(need in there for need in needs)


def _pooled(name: str, group: list[Record], store: Store, study: str) -> Record:
    parents = [record.result["parents"] for record in group]
    roles = {"original": "pretrain", "retrained": "retrain", "unlearned": "unlearn"}
    stages = {role: sorted(one[stage] for one in parents) for role, stage in roles.items()}
    scope = _scope(group[0])
    settings: dict[str, Any] = scope | _read(group[0], name)
    key = EvaluationKey(name, metric(name).version, stages, parents[0]["forget_set"], settings=settings, pooled=True)
    found = store.find_evaluation(key)
    if found:
        return found
    values = load("metrics", name)(Pool([record.arrays() for record in group]))
    arrays = {key: value for key, value in values.items() if isinstance(value, np.ndarray)}
    labels = {key: value for key, value in group[0].result["labels"].items() if key not in SEEDS}
    numbers = {key: value for key, value in values.items() if key not in arrays}
    result = {"labels": labels, "runs": [record.run_id for record in group], **scope, **numbers}
    return store.save_evaluation(key, result=result, arrays=arrays, provenance=collect(study=study))


def _read(record: Record, name: str) -> dict[str, Any]:
    """Return what else a pooled number depends on: how many test images, and how what it reads was measured."""
    test = {"n_test": count} if (count := record.config.get("n_test", 0)) else {}
    versions = {need: metric(need).version for need in metric(name).needs if metric(need).version > 1}
    return test | versions


def _scope(record: Record) -> dict[str, str]:
    """Return which half of the images a run's numbers are about; nothing where it is all of them."""
    part = record.result.get("rows_measured", "all")
    return {} if part == "all" else {"rows_measured": part}
