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
START = r"[\w.-]+\s*(?:==|!=|<=|>=|<|>|in\b)"  # start of a term; an `and` inside a text value is not followed by a term
TERM = re.compile(r"\s*(?P<column>[\w.-]+)\s*(?P<sign>==|!=|<=|>=|<|>|\bin\b)\s*(?P<value>.+?)\s*")


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


def _meets(table: pd.DataFrame, term: str) -> np.ndarray:
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
