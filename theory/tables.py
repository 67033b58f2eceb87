"""A table as the arrays of a record, one array for each column, and back."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from repro.records.record import Record


def columns(rows: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Return a table as one array for each column, NaN for a missing number; a record stores it as its arrays."""
    names = dict.fromkeys(name for row in rows for name in row)
    values = {name: [row.get(name) for row in rows] for name in names}
    return {name: np.array(column if isinstance(column[0], str) else [np.nan if v is None else v for v in column])
            for name, column in values.items()}  # fmt: skip


def rows_of(record: Record) -> list[dict[str, Any]]:
    """Return the rows of a record's table, None for a missing number."""
    table = {name: column.tolist() for name, column in record.arrays().items()}
    return [{name: None if value != value else value for name, value in zip(table, row, strict=True)}
            for row in zip(*table.values(), strict=True)]  # fmt: skip


def rounded(value: Any) -> Any:
    """Return a number with four digits, None for NaN; lists and arrays element by element, anything else unchanged."""
    if isinstance(value, list | np.ndarray):
        return [rounded(one) for one in value]
    if not isinstance(value, float):
        return value
    return float(f"{value:.4g}") if np.isfinite(value) else None
