"""Files a user brings: forget index lists and published memorization scores, imported into the store by content."""

from pathlib import Path
from typing import Any

import numpy as np

from empirical.data.memorization import filled
from empirical.data.predicate import rows_where
from empirical.registry import forget_set
from empirical.runs.subset_models import SubsetModels
from empirical.runs.workspace import Workspace
from empirical.settings.run_config import RunConfig, config_for
from repro.records.errors import ConfigError, MissingDataError
from repro.records.identity import digest
from repro.records.provenance import collect
from repro.records.record import Record
from repro.records.store import Store


def memorization_scores(config: RunConfig, workspace: Workspace) -> np.ndarray:
    """Return the memorization scores of a run, `(n,)`: imported ones, or an estimate made here."""
    if not config.scores:
        return filled(SubsetModels(config_for(config), workspace).record().arrays()["scores"])
    scores = workspace.store.load(config.scores).arrays()["scores"]
    expected = len(workspace.dataset(config).train_labels)
    if len(scores) != expected:
        raise ConfigError(f"scores = {config.scores!r}: has {len(scores)} rows, {config.dataset} has {expected}")
    return filled(scores)


def memorization_facts(config: RunConfig, workspace: Workspace) -> dict[str, Any]:
    """Return how far the scores behind a graded forget set can be trusted; nothing where none were estimated here.

    `memorization_reliability` below 0.8 leaves a grading by difficulty undecided; `memorization_ties` is the share of
    images whose place among others of the same score was drawn.
    """
    if config.scores or not forget_set(config.difficulty).graded:
        return {}
    found = SubsetModels(config_for(config), workspace).record().result
    return {f"memorization_{name}": found[name] for name in ("reliability", "ties")}


def imported_index(config: RunConfig, store: Store) -> np.ndarray:
    """Return the imported row numbers a run forgets."""
    return store.load(config.forget_index).arrays()["index"]


def import_index(path: Path, store: Store, *, where: str = "") -> Record:
    """Keep a list of row numbers (`.npy`, or text with one number a line) as a record of its content.

    Args:
        path: the list, or with `where` a table with one row a training image.
        store: where it is kept.
        where: a condition on the table's columns (`empirical.data.predicate`); the rows that meet it are forgotten.

    Raises:
        MissingDataError: when the file is not there.
        ConfigError: naming the line that is not a whole number, or what is wrong with the condition.
    """
    index = rows_where(path, where) if where else _read_index(path)
    identity = {"index": digest(index)}
    found = store.find("forget_index", identity)
    facts = {"n": len(index)} | ({"where": where, "table": path.name} if where else {})
    return found or store.save("forget_index", identity, result=facts, arrays={"index": index}, provenance=collect())


def _read_index(path: Path) -> np.ndarray:
    if not path.exists():
        raise MissingDataError(f"index file {path.name}: not found; give the path of a .npy or text file")
    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False).astype(np.int64)
    lines = [line.strip() for line in path.read_text().splitlines()]
    for number, line in enumerate(lines, 1):
        if line and not line.removeprefix("-").isdigit():
            raise ConfigError(f"{path.name} line {number}: {line!r} is not a whole number")
    return np.array([int(line) for line in lines if line], np.int64)


def import_scores(path: Path, config: RunConfig, workspace: Workspace) -> Record:
    """Keep published memorization scores (`tr_mem` of an `.npz`) after checking its labels against the data set.

    Raises:
        MissingDataError: when the file is not there.
        ConfigError: when arrays are missing, or a label differs from the data set's, naming the first such row.
    """
    if not path.exists():
        raise MissingDataError(f"score file {path.name}: not found; give the path of the published .npz")
    with np.load(path, allow_pickle=False) as archive:
        if "tr_mem" not in archive or "tr_labels" not in archive:
            raise ConfigError(f"{path.name}: needs the arrays tr_mem and tr_labels, has {', '.join(archive)}")
        scores, labels = archive["tr_mem"].astype(float), archive["tr_labels"]
    check_score_labels(path.name, labels, workspace.dataset(config).train_labels.numpy())
    identity = {"dataset": config.dataset, "scores": digest(scores)}
    found = workspace.store.find("memorization", identity)
    return found or workspace.store.save(
        "memorization", identity, result={"n": len(scores), "mean": float(np.nanmean(scores))},
        arrays={"scores": scores}, provenance=collect(),
    )  # fmt: skip


def check_score_labels(name: str, labels: np.ndarray, expected: np.ndarray) -> None:
    """Raise `ConfigError` when a score file was made for another order or another data set."""
    if len(labels) != len(expected):
        raise ConfigError(f"{name}: has {len(labels)} rows, the data set has {len(expected)}")
    wrong = np.flatnonzero(labels != expected)
    if len(wrong):
        row = int(wrong[0])
        message = f"{name} row {row}: label {int(labels[row])} is not the data set's {int(expected[row])}"
        raise ConfigError(f"{message}; the file belongs to another order of the images")
