"""A user's files, stored by their content: rows to forget, and published memorization scores.

Rows are listed, or named by a condition on a table of the images, such as `age >= 60 and camera in ["A", "B"]`.
"""

import operator
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from empirical.runs.resources import Resources
from empirical.settings.rule_labels import parse_value
from empirical.settings.run_config import ESTIMATE, RunConfig
from repro.base.errors import ConfigError, MissingDataError
from repro.base.settings import choose, reject
from repro.records.identity import digest
from repro.records.provenance import collect
from repro.records.record import Record
from repro.records.store import Store

WHOLE = re.compile(r"-?[0-9]{1,18}")
LARGEST_FILE = 2**31
COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq, "!=": operator.ne, "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt,
    "in": lambda column, values: column.isin(values),
}  # fmt: skip
START = r"[\w.-]+\s*(?:==|!=|<=|>=|<|>|in\b)"  # start of a term; an `and` inside a text value is not followed by a term
TERM = re.compile(r"\s*(?P<column>[\w.-]+)\s*(?P<sign>==|!=|<=|>=|<|>|\bin\b)\s*(?P<value>.+?)\s*")


def imported_index(config: RunConfig, store: Store) -> np.ndarray:
    """Return the imported row numbers a run forgets."""
    record = store.load(config.forget_index)
    if record.kind != "forget_index":
        remedy = "`repro records import-index FILE` prints the id of one"
        raise reject(
            "forget_index", config.forget_index, f"an imported index, not a run of kind {record.kind!r}", remedy
        )
    return record.arrays()["index"]


def import_index(path: Path, store: Store, *, where: str = "") -> Record:
    """Keep a list of row numbers (`.npy`, or text with one number a line) as a record of its content.

    Args:
        path: the list, or with `where` a table with one row a training image.
        store: where it is stored.
        where: a condition on the table's columns, see `rows_where`; the rows that meet it are forgotten.

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
    if not path.is_file():
        raise MissingDataError(f"index file {path.name}: not found; give the path of a .npy or text file")
    if path.stat().st_size > LARGEST_FILE:
        raise ConfigError(f"{path.name}: {path.stat().st_size / 1e9:.2g} GB: must be at most {LARGEST_FILE / 1e9:g} GB")
    index = _npy(path) if path.suffix == ".npy" else _numbers(path)
    if index.ndim != 1 or not np.issubdtype(index.dtype, np.integer):
        raise ConfigError(f"{path.name}: {index.dtype} of shape {index.shape}: must be one column of whole numbers")
    if not len(index):
        raise ConfigError(f"{path.name}: holds no row numbers")
    if index.min() < 0 or index.max() >= 2**40:
        place = int(np.flatnonzero((index < 0) | (index >= 2**40))[0])
        raise ConfigError(f"{path.name} entry {place}: {index[place]}: row numbers count from 0")
    return index.astype(np.int64)


def _npy(path: Path) -> np.ndarray:
    try:
        found = np.load(path, allow_pickle=False)
    except Exception as error:
        raise ConfigError(f"{path.name}: not readable as .npy ({str(error)[:100]})") from error
    if not isinstance(found, np.ndarray):
        raise ConfigError(f"{path.name}: an archive of arrays: must be one array, a .npy file")
    return found


def _numbers(path: Path) -> np.ndarray:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path.name}: neither .npy nor text ({error.reason} at byte {error.start})") from error
    for number, line in enumerate(lines, 1):
        if line and not WHOLE.fullmatch(line):
            raise ConfigError(f"{path.name} line {number}: {line[:40]!r} is not a whole number")
    return np.array([int(line) for line in lines if line], np.int64)


def rows_where(path: Path, where: str) -> np.ndarray:
    """Return the row numbers of a table that meet all terms of a condition, ascending int64.

    Args:
        path: a CSV or Parquet file with a row for each training image, in the order of the data set.
        where: terms `COLUMN SIGN VALUE` connected by `and`; signs are ==, !=, <, <=, >, >=, in; values are written as
            in TOML, a bare word is text. A missing value meets `!=` with every value, and no other sign.

    Raises:
        MissingDataError: if the file is missing.
        ConfigError: for a term that cannot be read, an unknown column (with the nearest name), a value that cannot be
            compared with it, or a condition that no row meets.
    """
    import pandas as pd

    if not path.is_file():
        raise MissingDataError(f"table {path.name}: not found; give the path of a .csv or .parquet file")
    try:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (ValueError, OSError) as error:  # errors of pandas and Arrow, and text that is not UTF-8
        kind = "Parquet" if path.suffix == ".parquet" else "CSV"
        raise ConfigError(f"table {path.name}: cannot be read as {kind}: {str(error).splitlines()[0]}") from error
    table.columns = table.columns.map(str)  # a Parquet file may have numbers as column names
    met = np.ones(len(table), bool)
    for term in re.split(rf"\s+and\s+(?={START})", where):
        met &= _meets(table, term)
    rows = np.flatnonzero(met).astype(np.int64)
    if not len(rows):
        raise ConfigError(f"where = {where!r}: must match a row of {path.name}; none of {len(table)} does")
    return rows


def _meets(table: Any, term: str) -> np.ndarray:
    match = TERM.fullmatch(term)
    if match is None:
        raise ConfigError(f"where = {term!r}: must be COLUMN SIGN VALUE, such as age >= 60, connected by `and`")
    column, sign, text = match.group("column", "sign", "value")
    choose("where", column, table.columns)
    value = parse_value(text)
    if (sign == "in") != isinstance(value, list):
        raise ConfigError(f"where = {term!r}: `in` takes a list such as [1, 2], every other sign a single value")
    try:
        found = COMPARE[sign](table[column], value)
    except (TypeError, OverflowError):
        raise ConfigError(f"where = {term!r}: column {column} holds {table[column].dtype}, not such a value") from None
    return found.fillna(sign == "!=").to_numpy(bool)  # comparisons with missing values may be missing


def import_scores(path: Path, config: RunConfig, resources: Resources) -> Record:
    """Keep published memorization scores (`tr_mem` of an `.npz`) in the order of the data set.

    A file that names its images (`tr_filenames`, as that of ImageNet does) is matched by name, whatever its order, and
    may name more images than the data set has; any other file must be in the data set's own order. Labels are compared
    either way.

    Raises:
        MissingDataError: when the file is not there.
        ConfigError: when arrays are missing, an image has no score, or a label differs from the data set's, naming
            the first such row.
    """
    if not path.is_file():
        raise MissingDataError(f"score file {path.name}: not found; give the path of the published .npz")
    published, images = _published(path), resources.images(config)
    if published.names is not None and images.train_names:
        published = published.ordered(path.name, images.train_names)
    scores = published.scores
    check_score_labels(path.name, published.labels, images.train_labels.numpy())
    # A digest is of JSON, which has no NaN: the scores that nobody knows are null.
    identity = {
        "dataset": config.dataset,
        "scores": digest([None if np.isnan(one) else one for one in scores.tolist()]),
    }
    found = resources.store.find(ESTIMATE, identity)
    return found or resources.store.save(
        ESTIMATE, identity, result={"n": len(scores), "mean": float(np.nanmean(scores))},
        arrays={"scores": scores}, provenance=collect(),
    )  # fmt: skip


class PublishedScores(NamedTuple):
    """What a score file holds: scores and labels `(n,)`, and the file names of the images or None."""

    scores: np.ndarray
    labels: np.ndarray
    names: list[str] | None

    def ordered(self, name: str, wanted: tuple[str, ...]) -> "PublishedScores":
        """Return scores and labels of the images `wanted`, in that order.

        Names are compared without their endings, and without their folder where the file gives none.

        Raises:
            ConfigError: naming the first image that the file does not have, or that two of its rows stand for.
        """
        theirs = self.names or []
        folders = all("/" in one for one in theirs)
        rows: dict[str, int] = {}
        for row, one in enumerate(theirs):
            if rows.setdefault(_short(one, folders), row) != row:
                raise ConfigError(f"{name} row {row}: tr_filenames = {one[:80]!r} is there twice")
        found = np.array([rows.get(_short(one, folders), -1) for one in wanted], np.int64)
        if (found < 0).any():
            absent = wanted[int(np.flatnonzero(found < 0)[0])]
            raise ConfigError(f"{name}: tr_filenames has no {absent[:80]!r}; the file belongs to other images")
        if len(np.unique(found)) < len(found):
            row = int(np.flatnonzero(np.bincount(found) > 1)[0])
            raise ConfigError(f"{name} row {row}: tr_filenames = {theirs[row][:80]!r} stands for two images")
        return PublishedScores(self.scores[found], self.labels[found], list(wanted))


def _short(path: str, folders: bool) -> str:
    """Return a file's name without its ending, with the folder it stands in if asked for."""
    above, _, base = path.rpartition("/")
    stem = base.rpartition(".")[0] or base
    return f"{above.rpartition('/')[2]}/{stem}" if folders else stem


def _published(path: Path) -> PublishedScores:
    """Return what a published file holds."""
    try:
        with zipfile.ZipFile(path) as packed:
            size = sum(part.file_size for part in packed.infolist())
            if size > LARGEST_FILE:
                raise ConfigError(f"{path.name}: unpacks to {size / 1e9:.2g} GB: at most {LARGEST_FILE / 1e9:g} GB")
        with np.load(path, allow_pickle=False) as archive:
            if "tr_mem" not in archive or "tr_labels" not in archive:
                names = ", ".join(archive)[:200]
                raise ConfigError(f"{path.name}: needs the arrays tr_mem and tr_labels, has {names}")
            scores, labels = archive["tr_mem"], archive["tr_labels"]
            names = _names(path.name, archive["tr_filenames"], len(labels)) if "tr_filenames" in archive else None
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"{path.name}: not readable as .npz ({str(error)[:100]})") from error
    for name, array, kind in (("tr_mem", scores, np.floating), ("tr_labels", labels, np.integer)):
        if array.ndim != 1 or not np.issubdtype(array.dtype, kind):
            raise ConfigError(f"{path.name}: {name} is {array.dtype} of shape {array.shape}: must be (n,) numbers")
    if np.isinf(scores).any() or np.isnan(scores).all():
        row = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise ConfigError(f"{path.name} row {row}: tr_mem = {scores[row]}: must be a number, NaN where it is not known")
    return PublishedScores(scores.astype(float), labels, names)


def _names(name: str, found: np.ndarray, count: int) -> list[str]:
    """Return file names that are stored as texts or as bytes."""
    if found.shape != (count,) or found.dtype.kind not in "US":
        said = f"{found.dtype} of shape {found.shape}"
        raise ConfigError(f"{name}: tr_filenames is {said}: must be ({count},) texts, one a label")
    return [one.decode("utf-8", "replace") if isinstance(one, bytes) else one for one in found.tolist()]


def check_score_labels(name: str, labels: np.ndarray, expected: np.ndarray) -> None:
    """Raise `ConfigError` when a score file was made for another order or another data set."""
    if len(labels) != len(expected):
        raise ConfigError(f"{name}: has {len(labels)} rows, the data set has {len(expected)}")
    wrong = np.flatnonzero(labels != expected)
    if len(wrong):
        row = int(wrong[0])
        message = f"{name} row {row}: label {int(labels[row])} is not the data set's {int(expected[row])}"
        raise ConfigError(f"{message}; the file belongs to another order of the images")
