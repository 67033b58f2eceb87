"""Which training images are forgotten, and which the models were trained on."""

from dataclasses import dataclass

import numpy as np

from empirical.settings.run_config import RunConfig
from repro.records.errors import ConfigError
from repro.records.identity import derive_seed, digest
from repro.records.settings import reject

RELEASED_VALIDATION = 0.1
RELEASED_SPLIT_SEED = 1


@dataclass(frozen=True)
class Split:
    """Row numbers of the training images, each ascending.

    Attributes:
        train: rows the original model is trained on.
        retain, forget: rows to keep and to forget; inside `train` unless D8 asks for the released code's split.
        validation: rows held out of training.
    """

    train: np.ndarray
    retain: np.ndarray
    forget: np.ndarray
    validation: np.ndarray

    @property
    def identity(self) -> str:
        """Digest of the forget and retain rows, 16 hex digits."""
        return digest([self.forget, self.retain])


def hold_out(labels: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (training rows, validation rows), with `fraction` of every class held out."""
    generator = np.random.RandomState(seed)
    rows = [np.flatnonzero(labels == c) for c in np.unique(labels)]
    held = [generator.choice(r, int(fraction * len(r)), replace=False) for r in rows]
    validation = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(labels)), validation), validation


def train_rows(config: RunConfig, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (training rows, validation rows): everything, unless the released code's split (D8) is asked for."""
    if config.fidelity.forget_split == "reseeded":
        return hold_out(labels, RELEASED_VALIDATION, RELEASED_SPLIT_SEED)
    return np.arange(len(labels)), np.arange(0)


def choose_forget(
    config: RunConfig, labels: np.ndarray, *, scores: np.ndarray | None = None, index: np.ndarray | None = None
) -> Split:
    """Return the split a config asks for.

    Args:
        config: names the difficulty and the size.
        labels: `(n,)` training labels.
        scores: `(n,)` memorization scores, for low, mid and high.
        index: row numbers of an imported file, for `index`.

    Raises:
        ConfigError: when the class does not exist, or an index is out of range or doubled.
    """
    train, validation = train_rows(config, labels)
    pool = train
    if config.fidelity.forget_split == "reseeded" and config.difficulty in ("random", "class", "class-part"):
        pool, _ = hold_out(labels, RELEASED_VALIDATION, config.seed)
    count = max(1, round(config.forget_fraction * len(train)))
    # Graded sets are one and the same for all training seeds, as the paper's are: ties too are broken alike.
    generator = np.random.default_rng(derive_seed(0 if scores is not None else config.seed, "forget"))
    if config.difficulty == "index" and index is not None:
        forget = check_index(index, pool, len(labels))
    elif scores is not None:
        forget = by_score(scores[pool], count, config.difficulty, generator, pool)
    else:
        rows = pool if config.difficulty == "random" else _of_class(config, labels, pool)
        size = {"class": len(rows), "class-part": min(count, len(rows) - 1)}.get(config.difficulty, count)
        forget = generator.permutation(rows)[:size]
    forget = np.sort(forget)
    if not 0 < len(forget) < len(pool):
        raise reject("forget_fraction", config.forget_fraction, "such that 1 to n - 1 images are forgotten")
    return Split(train, np.setdiff1d(pool, forget), forget, validation)


def _of_class(config: RunConfig, labels: np.ndarray, pool: np.ndarray) -> np.ndarray:
    rows = pool[labels[pool] == config.forget_class]
    if not len(rows):
        raise reject("forget_class", config.forget_class, f"a label in [0, {labels.max()}]")
    return rows


def by_score(
    scores: np.ndarray, count: int, level: str, generator: np.random.Generator, rows: np.ndarray
) -> np.ndarray:
    """Return `count` rows of the lowest, the middle or the highest scores; ties in random order.

    The middle rows are those nearest 0.5, as in the paper, but never any that are also among the lowest or the highest:
    where few images are memorized, as on an easy set, nearest 0.5 would otherwise mean the highest once more.
    """
    shuffled = generator.permutation(len(rows))
    ranked = shuffled[np.argsort(scores[shuffled], kind="stable")]
    if level == "low":
        return rows[ranked[:count]]
    if level == "high":
        return rows[ranked[::-1][:count]]
    between = ranked[count:-count] if 3 * count <= len(rows) else ranked
    return rows[between[np.argsort(np.abs(scores[between] - 0.5), kind="stable")[:count]]]


def check_index(index: np.ndarray, pool: np.ndarray, total: int) -> np.ndarray:
    """Return the rows of an index file, refusing rows out of range, doubled, or outside the training rows."""
    values, counts = np.unique(index, return_counts=True)
    outside = values[(values < 0) | (values >= total)]
    if len(outside):
        raise reject("forget_index entry", int(outside[0]), f"in [0, {total - 1}]", "rows count from 0")
    if counts.max() > 1:
        raise ConfigError(f"forget_index entry {int(values[counts > 1][0])} is doubled: every row may stand once")
    unseen = np.setdiff1d(values, pool)
    if len(unseen):
        raise ConfigError(f"forget_index entry {int(unseen[0])} is a validation row: it was never trained on")
    return values
