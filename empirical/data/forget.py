"""The split of the training images: which are forgotten, which retained, which held out."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from empirical.registry import forget_set, load
from empirical.settings.run_config import RunConfig
from repro.base.errors import ConfigError
from repro.base.settings import reject
from repro.records.identity import derive_seed, digest

RELEASED_VALIDATION = 0.1
RELEASED_SPLIT_SEED = 1


@dataclass(frozen=True)
class Split:
    """Row numbers of the training images, each ascending.

    Attributes:
        train: rows that the original model is trained on.
        retain, forget: rows to retain and to forget; inside `train`, except with the released code's split (D8).
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
    """Return (training rows, validation rows): all and none, except with the released code's split (D8)."""
    if config.fidelity.forget_split == "reseeded":
        return hold_out(labels, RELEASED_VALIDATION, RELEASED_SPLIT_SEED)
    return np.arange(len(labels)), np.arange(0)


@dataclass(frozen=True)
class Candidates:
    """The inputs of a function that chooses the forget set.

    Attributes:
        config: the run; it names the size and the class.
        labels: `(n,)` labels of all training images.
        rows: row numbers that may be forgotten, ascending; `pool`, their older name, works until 0.4.
        count: number of rows to forget.
        generator: orders ties and draws rows; its seed is the config's `forget_seed`, not the training seed.
        memorization: returns the memorization scores `(n,)`, estimated or imported.
        index: returns the imported row numbers.
    """

    config: RunConfig
    labels: np.ndarray
    rows: np.ndarray
    count: int
    generator: np.random.Generator
    memorization: Callable[[], np.ndarray]
    index: Callable[[], np.ndarray]

    @property
    def pool(self) -> np.ndarray:
        """The older name of `rows`."""
        return self.rows

    def of_class(self) -> np.ndarray:
        """Return the rows of the config's class, ascending."""
        rows = self.rows[self.labels[self.rows] == self.config.forget_class]
        if not len(rows):
            raise reject("forget_class", self.config.forget_class, f"a label in [0, {self.labels.max()}]")
        return rows

    def ranked(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows from the least to the most memorized, with ties in random order, and their scores."""
        scores = self.memorization()[self.rows]
        shuffled = self.generator.permutation(len(self.rows))
        order = shuffled[np.argsort(scores[shuffled], kind="stable")]
        return self.rows[order], scores[order]


def choose_forget(
    config: RunConfig, labels: np.ndarray, *,
    memorization: Callable[[], np.ndarray] | None = None, index: Callable[[], np.ndarray] | None = None,
) -> Split:  # fmt: skip
    """Return the split that a config asks for.

    Args:
        config: names the forget set and its size.
        labels: `(n,)` training labels.
        memorization: returns memorization scores `(n,)`, for low, mid and high.
        index: returns the row numbers of an imported file, for `index`.

    Raises:
        ConfigError: if the class does not exist, or a row is out of range or repeated.
    """
    train, validation = train_rows(config, labels)
    reseeded = config.fidelity.forget_split == "reseeded" and not forget_set(config.difficulty).graded
    redrawn = reseeded and config.difficulty != "index"
    allowed = hold_out(labels, RELEASED_VALIDATION, config.seed)[0] if redrawn else train
    count = max(1, round(config.forget_fraction * len(train)))
    generator = np.random.default_rng(derive_seed(config.forget_seed, "forget"))

    def missing() -> np.ndarray:
        raise ConfigError(f"difficulty = {config.difficulty!r}: needs memorization scores or an index; give one")

    found = Candidates(config, labels, allowed, count, generator, memorization or missing, index or missing)
    what = "forget_index entry" if config.difficulty == "index" else f"forget set {config.difficulty}: row"
    forget = check_rows(load("forget_sets", config.difficulty)(found), allowed, len(labels), what=what)
    if not 0 < len(forget) < len(allowed):
        raise reject("forget_fraction", config.forget_fraction, "such that 1 to n - 1 images are forgotten")
    return Split(train, np.setdiff1d(allowed, forget), forget, validation)


def random_rows(candidates: Candidates) -> np.ndarray:
    """Return rows drawn at random."""
    return candidates.generator.permutation(candidates.rows)[: candidates.count]


def least_memorized(candidates: Candidates) -> np.ndarray:
    """Return the rows with the lowest memorization scores."""
    return candidates.ranked()[0][: candidates.count]


def most_memorized(candidates: Candidates) -> np.ndarray:
    """Return the rows with the highest memorization scores."""
    return candidates.ranked()[0][::-1][: candidates.count]


def half_memorized(candidates: Candidates) -> np.ndarray:
    """Return the rows with scores nearest 0.5, as in the paper, without rows of the lowest or highest set.

    If few images are memorized, as in an easy data set, the highest scores would otherwise be nearest to 0.5.
    """
    (rows, scores), count = candidates.ranked(), candidates.count
    between = slice(count, -count) if 3 * count <= len(rows) else slice(None)
    return rows[between][np.argsort(np.abs(scores[between] - 0.5), kind="stable")[:count]]


def whole_class(candidates: Candidates) -> np.ndarray:
    """Return all rows of the class."""
    return candidates.of_class()


def part_of_class(candidates: Candidates) -> np.ndarray:
    """Return random rows of the class, never all of them."""
    rows = candidates.generator.permutation(candidates.of_class())
    return rows[: min(candidates.count, len(rows) - 1)]


def listed_rows(candidates: Candidates) -> np.ndarray:
    """Return the rows of an imported index file."""
    return candidates.index()


def check_rows(rows: np.ndarray, allowed: np.ndarray, total: int, *, what: str) -> np.ndarray:
    """Return rows in ascending order after checking them.

    Args:
        rows: row numbers from an index file or a user's forget set; what: the name of a row in an error.
        allowed: the rows that may be forgotten; total: number of training images.

    Raises:
        ConfigError: for a row that is out of range, repeated, or not in `allowed`.
    """
    values, counts = np.unique(np.asarray(rows), return_counts=True)
    outside = values[(values < 0) | (values >= total)]
    if len(outside):
        raise reject(what, int(outside[0]), f"in [0, {total - 1}]", "rows count from 0")
    if (counts > 1).any():
        raise ConfigError(f"{what} {int(values[counts > 1][0])} is repeated: every row may appear only once")
    unseen = np.setdiff1d(values, allowed)
    if len(unseen):
        raise ConfigError(f"{what} {int(unseen[0])} is a validation row: it was never trained on")
    return values
