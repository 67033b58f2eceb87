"""Trajectories as records: simulated once, shared by claims and sweeps, kept after a kill, by several processes.

    <store>/cells/runs/<run id>/      one setting; a store of its own, so that they do not bury the runs in a list

Processes that work on one store share the work out by locks, a group of settings with the same pretraining at a time.
"""

import os
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from typing import Any

import numpy as np

from repro.base.progress import track
from repro.records.identity import run_id
from repro.records.leases import in_turn
from repro.records.provenance import collect
from repro.records.record import Record
from repro.records.store import SHARED, Store
from theory.config import TheoryConfig, grouped
from theory.engine import Trajectory, simulate_many
from theory.metrics import metric_names

KIND = "theory_cell"
ENDS = ("stopped_at", "diverged_at", "pretrained_at")
Groups = list[list[TheoryConfig]]


def identity(cell: TheoryConfig, oracle: bool) -> dict[str, Any]:
    """Return what a record is identified by: its settings, and whether it has no model retrained on R."""
    return {"cell": cell} | ({} if oracle else {"oracle": False})


@lru_cache(maxsize=100_000)
def cell_id(cell: TheoryConfig, oracle: bool) -> str:
    """Return the run id of a record; it is kept, as hashing all fields costs as much as a hundred steps."""
    return run_id(KIND, identity(cell, oracle))


def cell_store(store: Store) -> Store:
    """Return the store in which a store keeps its simulated settings."""
    return Store(store.root / SHARED)


def run_cells(
    cells: Iterable[TheoryConfig], store: Store, *, oracle: bool = True, label: str = "", workers: int = 1
) -> dict[TheoryConfig, Trajectory]:
    """Return the trajectory of every setting, simulating those the store does not have; each is saved when it is done.

    Args:
        cells: settings; repeated ones are run once.
        store: where records are kept.
        oracle: whether a model is retrained on R; a setting that has one serves where none is asked for, too.
        label: what the progress bar says; none without it.
        workers: processes; one runs a thread a core instead. More of them, here or started elsewhere on the same store,
            change no number.
    """
    wanted = list(dict.fromkeys(cells))
    own = cell_store(store)
    found = {cell: run for cell in wanted if (run := find_cell(own, cell, oracle))}
    missing = [cell for cell in wanted if cell not in found]
    if missing:
        own.ensure_writable()
        found |= _share_out(list(grouped(missing).values()), own, oracle, label=label, workers=workers)
        found |= {cell: run for cell in missing if cell not in found and (run := find_cell(own, cell, oracle))}
    return {cell: found[cell] for cell in wanted}


def find_cell(own: Store, cell: TheoryConfig, oracle: bool) -> Trajectory | None:
    """Return the trajectory of a setting, or None where it is not there or was measured before a metric existed."""
    for has_oracle in (True, False)[: 1 if oracle else 2]:
        there = (own.root / "runs" / cell_id(cell, has_oracle)).is_dir()  # cheaper than to hash the settings again
        record = own.find(KIND, identity(cell, has_oracle)) if there else None
        if record is not None and set(metric_names(cell)) <= set(record.result["metrics"]):
            return read_cell(record, cell)
    return None


def read_cell(record: Record, cell: TheoryConfig) -> Trajectory:
    """Return the trajectory that a record holds."""
    arrays, result = record.arrays(), record.result
    return Trajectory(
        cell,
        seeds=np.array(result["seeds"]),
        epochs=np.array(result["epochs"]),
        metrics=dict(zip(result["metrics"], arrays["unlearn"], strict=True)),
        pretrain_epochs=np.array(result["pretrain_epochs"]),
        pretrain=dict(zip(result["training_metrics"], arrays["pretrain"], strict=True)),
        retrained=dict(zip(result["training_metrics"], arrays["retrained"], strict=True)),
        **{name: arrays[name] for name in ENDS},
    )


def save_cell(run: Trajectory, own: Store, *, oracle: bool, study: str, seconds: float) -> Record:
    """Write a trajectory: metrics as arrays `(metric, seed, checkpoint)`, in the order of `metric_names`."""
    names, trained = metric_names(run.config), metric_names(run.config, probing=False)
    arrays = {"unlearn": np.stack([run.metrics[name] for name in names]),
              "pretrain": np.stack([run.pretrain[name] for name in trained]),
              "retrained": np.stack([run.retrained[name] for name in trained])}  # fmt: skip
    result = {"metrics": names, "training_metrics": trained, "seeds": run.seeds, "epochs": run.epochs,
              "pretrain_epochs": run.pretrain_epochs}  # fmt: skip
    return own.save(
        KIND, identity(run.config, oracle), result=result, status=run.status,
        arrays=arrays | {name: getattr(run, name) for name in ENDS}, provenance=collect(study=study, seconds=seconds),
    )  # fmt: skip


def _share_out(groups: Groups, own: Store, oracle: bool, *, label: str, workers: int) -> dict[TheoryConfig, Trajectory]:
    """Return the trajectories that this very process simulated."""
    if workers <= 1 or len(groups) == 1:
        return work(groups, own.root, oracle, label)
    # spawned: threads and compiled code do not survive a fork; each process takes one thread
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_one_thread) as pool:
        for done in [pool.submit(_work_away, groups, own.root, oracle, label * (i == 0)) for i in range(workers)]:
            done.result()
    return {}


def _one_thread() -> None:
    os.environ["NUMBA_NUM_THREADS"] = "1"


def _work_away(*arguments: Any) -> None:
    """Work in a process of its own, whose trajectories stay in the store: they are not sent to who asked."""
    work(*arguments)


def work(groups: Groups, root: Any, oracle: bool, label: str) -> dict[TheoryConfig, Trajectory]:
    """Simulate the groups, those that somebody else has in hand last: they are waited for, and taken over if he died.

    Returns:
        The settings that were simulated here.
    """
    own, found = Store(root), {}

    def attempt(group: list[TheoryConfig]) -> None:
        with own.lease(cell_id(group[0].pretrain_key(), oracle), wait=False):
            found.update(_simulate(group, own, oracle, label))

    in_turn(track(groups, label) if label else groups, attempt)
    return found


def _simulate(group: list[TheoryConfig], own: Store, oracle: bool, label: str) -> dict[TheoryConfig, Trajectory]:
    cells = [cell for cell in group if find_cell(own, cell, oracle) is None]
    if not cells:
        return {}
    begin = time.perf_counter()
    runs = simulate_many(cells, oracle=oracle)
    seconds = round((time.perf_counter() - begin) / len(cells), 3)
    for run in runs:
        save_cell(run, own, oracle=oracle, study=label or "cells", seconds=seconds)
    return {run.config: run for run in runs}
