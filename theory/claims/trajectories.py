"""Stored trajectories: simulated once, by one or several processes, shared by claims and sweeps, safe against kills.

    <store>/cells/runs/<run id>/      one setting; a separate store, so that lists of runs do not show them

Processes on one store share the work by leases on groups of settings with the same pretraining.
"""

import os
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from repro.base.errors import IntegrityError
from repro.base.progress import track
from repro.records.identity import run_id
from repro.records.leases import in_turn
from repro.records.provenance import collect
from repro.records.record import Record
from repro.records.store import SHARED, Store
from theory.config import TheoryConfig, grouped
from theory.engine import Trajectory, simulate_many
from theory.measures.metrics import metric_names

KIND = "theory_cell"
ENDS = ("stopped_at", "diverged_at", "pretrained_at")
Groups = list[list[TheoryConfig]]


def identity(setting: TheoryConfig, oracle: bool) -> dict[str, Any]:
    """Return the identity of a record: its setting, and whether it lacks a model retrained on R."""
    return {"cell": setting} | ({} if oracle else {"oracle": False})


@lru_cache(maxsize=100_000)
def setting_id(setting: TheoryConfig, oracle: bool) -> str:
    """Return the run id of a record; cached, as hashing all fields costs as much as a hundred steps."""
    return run_id(KIND, identity(setting, oracle))


def trajectory_store(store: Store) -> Store:
    """Return the store of trajectories inside a store."""
    return Store(store.root / SHARED)


def run_settings(
    settings: Iterable[TheoryConfig], store: Store, *, oracle: bool = True, label: str = "", workers: int = 1
) -> dict[TheoryConfig, Trajectory]:
    """Return the trajectory of every setting; those that the store lacks are simulated and saved one by one.

    Args:
        settings: repeated ones run once.
        store: where the trajectories are stored.
        oracle: whether a model is retrained on R; without it, stored trajectories with such a model are used too.
        label: what the progress bar says; none without it.
        workers: processes; 1 uses one thread for each core instead. The number of processes, here or elsewhere on the
            same store, changes no result.
    """
    wanted, own = list(dict.fromkeys(settings)), trajectory_store(store)
    found = {setting: run for setting in wanted if (run := find_trajectory(own, setting, oracle))}
    missing = [setting for setting in wanted if setting not in found]
    if missing:
        own.ensure_writable()
        _share_out(list(grouped(missing).values()), own, oracle, label=label, workers=workers)
        found |= {setting: run for setting in missing if (run := find_trajectory(own, setting, oracle))}
    for setting in wanted:
        if setting not in found:
            name = setting_id(setting, oracle)
            raise IntegrityError(f"theory setting {name}: its record cannot be read back; run the same command again")
    return {setting: found[setting] for setting in wanted}


def find_trajectory(own: Store, setting: TheoryConfig, oracle: bool) -> Trajectory | None:
    """Return the trajectory of a setting; None if it is missing or lacks a newer metric."""
    for has_oracle in (True, False)[: 1 if oracle else 2]:
        there = (own.root / "runs" / setting_id(setting, has_oracle)).is_dir()  # cheaper than hashing the setting again
        record = own.find(KIND, identity(setting, has_oracle)) if there else None
        if record is not None and set(metric_names(setting)) <= set(record.result["metrics"]):
            return read_trajectory(record, setting)
    return None


def read_trajectory(record: Record, setting: TheoryConfig) -> Trajectory:
    """Return the trajectory that a record holds."""
    arrays, result = record.arrays(), record.result
    return Trajectory(
        setting,
        seeds=np.array(result["seeds"]),
        epochs=np.array(result["epochs"]),
        metrics=dict(zip(result["metrics"], arrays["unlearn"], strict=True)),
        pretrain_epochs=np.array(result["pretrain_epochs"]),
        pretrain=dict(zip(result["training_metrics"], arrays["pretrain"], strict=True)),
        retrained=dict(zip(result["training_metrics"], arrays["retrained"], strict=True)),
        **{name: arrays[name] for name in ENDS},
    )


def save_trajectory(run: Trajectory, own: Store, *, oracle: bool, study: str, seconds: float) -> Record:
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


def _share_out(groups: Groups, own: Store, oracle: bool, *, label: str, workers: int) -> None:
    if workers <= 1 or len(groups) == 1:
        return work(groups, own.root, oracle, label)
    # spawned: threads and compiled code do not survive a fork; each process takes one thread
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_one_thread) as pool:
        for done in [pool.submit(work, groups, own.root, oracle, label * (i == 0)) for i in range(workers)]:
            done.result()
    return None


def _one_thread() -> None:
    os.environ["NUMBA_NUM_THREADS"] = "1"


def work(groups: Groups, root: Path, oracle: bool, label: str) -> None:
    """Simulate and save the groups. Groups of other processes come last: they are waited for, or taken over."""
    own = Store(root)

    def attempt(group: list[TheoryConfig]) -> None:
        with own.lease(setting_id(group[0].pretrain_key(), oracle), wait=False):
            _simulate_missing(group, own, oracle, label)

    in_turn(track(groups, label) if label else groups, attempt)


def _simulate_missing(group: list[TheoryConfig], own: Store, oracle: bool, label: str) -> None:
    settings = [setting for setting in group if find_trajectory(own, setting, oracle) is None]
    if not settings:
        return
    begin = time.perf_counter()
    runs = simulate_many(settings, oracle=oracle)
    seconds = round((time.perf_counter() - begin) / len(settings), 3)
    for run in runs:
        save_trajectory(run, own, oracle=oracle, study=label or "cells", seconds=seconds)
