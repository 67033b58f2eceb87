"""Rows of a metadata table that meet a condition, such as `age >= 60 and camera in ["A", "B"]`."""

import operator
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from empirical.settings.rule_labels import parse_value
from repro.base.errors import ConfigError, MissingDataError
from repro.base.settings import choose

COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq, "!=": operator.ne, "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt,
    "in": lambda column, values: column.isin(values),
}  # fmt: skip
START = r"[\w.-]+\s*(?:==|!=|<=|>=|<|>|in\b)"  # of a term: an `and` inside a text is not followed by one
TERM = re.compile(r"\s*(?P<column>[\w.-]+)\s*(?P<sign>==|!=|<=|>=|<|>|\bin\b)\s*(?P<value>.+?)\s*")


def rows_where(path: Path, where: str) -> np.ndarray:
    """Return the row numbers of a table that meet every term of a condition, ascending int64.

    Args:
        path: a CSV or Parquet file with one row a training image, in the order of the data set.
        where: terms `COLUMN SIGN VALUE` joined by `and`; signs are ==, !=, <, <=, >, >=, in; values are written as in
            TOML, a bare word is text. A missing value differs from any other and meets no other sign.

    Raises:
        MissingDataError: when the file is not there.
        ConfigError: for a term that cannot be read, an unknown column (with the nearest name), a value that cannot be
            compared with it, or a condition that no row meets.
    """
    if not path.is_file():
        raise MissingDataError(f"table {path.name}: not found; give the path of a .csv or .parquet file")
    try:
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (ValueError, OSError) as error:  # pandas' and Arrow's own, and text that is no UTF-8
        kind = "Parquet" if path.suffix == ".parquet" else "CSV"
        raise ConfigError(f"table {path.name}: cannot be read as {kind}: {str(error).splitlines()[0]}") from error
    table.columns = table.columns.map(str)  # those of a Parquet file may be numbers
    met = np.ones(len(table), bool)
    for term in re.split(rf"\s+and\s+(?={START})", where):
        met &= _meets(table, term)
    rows = np.flatnonzero(met).astype(np.int64)
    if not len(rows):
        raise ConfigError(f"where = {where!r}: must fit a row of {path.name}; none of {len(table)} does")
    return rows


def _meets(table: pd.DataFrame, term: str) -> np.ndarray:
    match = TERM.fullmatch(term)
    if match is None:
        raise ConfigError(f"where = {term!r}: must be COLUMN SIGN VALUE, such as age >= 60, joined by `and`")
    column, sign, text = match.group("column", "sign", "value")
    choose("where", column, table.columns)
    value = parse_value(text)
    if (sign == "in") != isinstance(value, list):
        raise ConfigError(f"where = {term!r}: `in` takes a list such as [1, 2], every other sign a single value")
    try:
        found = COMPARE[sign](table[column], value)
    except (TypeError, OverflowError):
        raise ConfigError(f"where = {term!r}: column {column} holds {table[column].dtype}, not such a value") from None
    return found.fillna(sign == "!=").to_numpy(bool)  # of a missing value, whose comparison may be missing too
