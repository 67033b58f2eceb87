"""The identities that no change may move: those of every committed record and of the stages among its parents.

`type` and `kind` inside a hash are literals of these files, whatever the classes of the code are called.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from empirical.data.forget import choose_forget
from empirical.data.memorization import filled
from empirical.registry import forget_set
from empirical.runs.unlearning import build_method
from empirical.settings.keys import EvaluationKey, again_key, original_id, retrain_key, unlearn_key
from empirical.settings.run_config import MemorizationConfig, RunConfig, config_for
from empirical.studies.measure import pool_runs
from figures.tables.matched_theory import setting_of
from repro.base.settings import build
from repro.commands.compare import Beside, Twin
from repro.records.identity import digest, run_id
from repro.records.published import readers
from repro.records.record import Record, read_records
from repro.records.store import Store
from theory.checks.accuracy import run_accuracy
from theory.checks.validity import run_validity
from theory.claims.claim import CLAIMS, MEASUREMENTS, run_claims
from theory.claims.sweep import SWEEPS, run_sweep
from theory.config import ClaimConfig, SweepConfig, TheoryConfig

ROOT = Path(__file__).parents[2]
FILE = Path(__file__).parent / "ids.parquet"
STAGES = ("pretrain", "retrain", "unlearn", "forget_set")
RUNS = ("unlearn", "choice", "floor")
CONFIGS: dict[str, Any] = {
    **dict.fromkeys(RUNS, RunConfig), "memorization": MemorizationConfig, "theory": TheoryConfig,
    **dict.fromkeys(("theory_claim", "theory_measurement"), ClaimConfig),
    "beside": Beside, "twin": Twin, "evaluation": EvaluationKey,
}  # fmt: skip
ROWS = {"digits": 1437, "cifar10": 50_000, "signal-noise": 40}  # training images of the data sets of committed runs


@cache
def committed_records() -> dict[str, Record]:
    """Return every committed record by its id."""
    return {record.run_id: record for record in read_records(readers(Store(ROOT / "none"), ROOT / "results")[1:])}


def frozen_rows(records: Iterable[Record]) -> list[dict[str, str]]:
    """Return what is frozen of records, by kind and id: the text that is hashed, and the ids of the parents."""
    rows = [
        {"kind": one.kind, "run_id": one.run_id, "identity": json.dumps(one.identity, sort_keys=True)}
        | {stage: one.result.get("parents", {}).get(stage, "") for stage in STAGES}
        for one in records
    ]
    return sorted(rows, key=lambda row: (row["kind"], row["run_id"]))


def hashed(kind: str, identity: str) -> str:
    """Return the id of a record from the frozen text alone, by no function of the project."""
    values = {"kind": kind, "schema": 2, "config": json.loads(identity)}
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


def id_of(kind: str, config: Mapping[str, Any]) -> str:
    """Return the id that today's code gives a config: of one of its classes, or of plain values."""
    plain = {name: tuple(value) if name == "needs" else value for name, value in config.items() if name != "type"}
    return run_id(kind, build(CONFIGS[kind], plain) if kind in CONFIGS else plain)


def stage_ids(config: RunConfig) -> dict[str, str]:
    """Return the ids of a run's stages and of its forget set, from its config and the committed memorization scores.

    No image is read: the forget sets of committed runs depend on how many images there are, and on their scores.
    """
    rows = rows_of(config)
    parent = original_id(config)
    if config.method == "retrain":
        unlearned = again_key(config, rows.retain)
    else:
        unlearned = unlearn_key(config, parent, rows.both, build_method(config))
    retrained = retrain_key(config, rows.retain)
    return {"pretrain": parent, "retrain": retrained.id, "unlearn": unlearned.id, "forget_set": rows.forget_set}


class Rows(NamedTuple):
    """Digests of a run's rows: its forget set, the retain rows, and both."""

    forget_set: str
    retain: str
    both: str


_ROWS: dict[tuple[object, ...], Rows] = {}  # a digest is of 50,000 numbers


def rows_of(config: RunConfig) -> Rows:
    """Return the digests of the rows that a run retains and forgets."""
    graded = forget_set(config.difficulty).graded
    scores = run_id("memorization", config_for(config)) if graded else ""
    key = config.dataset, config.difficulty, config.forget_fraction, config.forget_seed, scores
    if key not in _ROWS:
        found = filled(committed_records()[scores].arrays()["scores"]) if graded else np.zeros(0)
        split = choose_forget(config, np.zeros(ROWS[config.dataset], int), memorization=lambda: found)
        _ROWS[key] = Rows(split.identity, digest(split.retain), digest([split.retain, split.forget]))
    return _ROWS[key]


class Asked(Store):
    """A store that has everything, and notes what was asked for."""

    def __init__(self) -> None:
        super().__init__(ROOT / "none")
        self.ids: set[str] = set()

    def ensure_writable(self) -> None: ...

    def find(self, kind: str, config: Any) -> Record:
        self.ids.add(run_id(kind, config))
        if kind == "theory_sweep":
            raise LookupError  # of a sweep it has, the code would write the table
        return Record(run_id(kind, config), kind, "ok", {}, {}, {})

    def find_evaluation(self, key: EvaluationKey) -> Record:
        return self.find("evaluation", key)


def _claims(store: Store) -> None:
    for seeds in {record.config["seeds"] for record in _of("theory_claim")}:
        run_claims(store, seeds=seeds, names=list(CLAIMS))


def _measurements(store: Store) -> None:
    for seeds in {record.config["seeds"] for record in _of("theory_measurement")}:
        run_claims(store, seeds=seeds, names=list(MEASUREMENTS))


def _sweeps(store: Store) -> None:
    for record in _of("theory_sweep"):
        config = SweepConfig(seeds=record.config["base"]["seeds"])
        with suppress(LookupError):
            run_sweep(record.config["sweep"], config, store)
    assert {record.config["sweep"] for record in _of("theory_sweep")} == set(SWEEPS)


def _validity(store: Store) -> None:
    run_validity(store)


def _pools(store: Store) -> None:
    runs = [record for record in _of("unlearn") if "klom_margins" in record.result["evaluations"]]
    pool_runs(runs, ["klom", "klom_easydub", "ulira"], store)


def _settings(store: Store) -> None:
    for record in _of("unlearn"):
        if record.config["dataset"] == "signal-noise":
            store.find("beside", Beside(setting_of(record.config)))


def _of(kind: str) -> list[Record]:
    return [record for record in committed_records().values() if record.kind == kind]


# Kind of record to what asks the code for all of that kind, by their names or from the runs behind them.
ASKS: dict[str, Callable[[Store], object]] = {
    "theory_claim": _claims, "theory_measurement": _measurements, "theory_sweep": _sweeps,
    "theory_validity": _validity, "theory_quadrature": run_accuracy, "evaluation": _pools, "beside": _settings,
}  # fmt: skip


def ids_asked_for(kind: str) -> set[str]:
    """Return the ids that today's code looks up when it is asked for the records of a kind."""
    store = Asked()
    ASKS[kind](store)
    return store.ids
