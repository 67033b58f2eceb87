"""The numbers of every figure and table drawn from the committed records, as they are frozen.

A small table is kept as the CSV that a user gets. Of a large one are kept a digest of every column and of every row, so
that a cell that moves is found by its row and its column.
"""

import hashlib
import io
import json
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from figures.catalogue import find, studies_of
from figures.drawing.drawing import Drawing
from figures.drawing.style import Theme
from figures.tables.records import Studies
from repro.records.published import Published

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent / "tables"
INDEX = FOLDER / "index.json"
WHOLE = 10_000  # bytes of a CSV that is kept as it is
DIGITS = 6  # significant ones that a digest sees; what is nearer to 0 than TINY is 0
TINY = 1e-9
SAME = 1e-8  # of two numbers of a whole CSV, relative: these are computed again from the same records
ROW = 4  # digits of the digest of a row
MANY = 20  # rows that are named one by one
# Coordinates of a UMAP are those of one processor and one version of numba; the distances beside them are compared.
UNSTABLE = {"fig-umap": ("x", "y")}
# What is known to be wrong today, and which issue moves it: a change of the entry then names that issue.
WRONG = {
    **dict.fromkeys(
        ["fig-alpha", "fig-mask", "tab-neggrad", "tab-minmax", "tab-differences", "tab-draws", "fig-pareto"],
        "15: on CIFAR-10 NegGrad after SGD on `high` stands on other weights than the rest under the same ids",
    ),
}  # fmt: skip


def published_studies() -> Studies:
    """Return the committed records, as an empty store shows them."""
    return Studies(None, Published(sorted((ROOT / "results").glob("*.parquet"))))


def drawn(name: str, studies: Studies) -> Drawing:
    """Return a figure of the studies that it names."""
    return find(name)(studies.of(*studies_of(name)), Theme())


def entry(drawing: Drawing, name: str) -> dict[str, Any]:
    """Return what is frozen of a figure or table beside its CSV."""
    table = stable(drawing.data, name)
    found: dict[str, Any] = {"rows": len(table), "missing": len(drawing.missing), "runs": len(drawing.run_ids)}
    found["run_ids"] = _short("".join(drawing.run_ids), 16)
    return found if len(as_csv(table)) <= WHOLE else found | digests(table)


def digests(table: pd.DataFrame) -> dict[str, Any]:
    """Return a digest of each column, and those of the rows in one text."""
    texts = table.map(_text)
    columns = {column: _short("\n".join(texts[column]), 12) for column in texts}
    rows = [_short("\t".join(row), ROW) for row in texts.itertuples(index=False)]
    return {"columns": columns, "digests": "".join(rows)}


def stable(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return a table without the columns that another processor would draw elsewhere."""
    return table.drop(columns=list(UNSTABLE.get(name, ())))


def as_csv(table: pd.DataFrame) -> str:
    """Return a table as its user gets it."""
    return table.to_csv(index=False, float_format="%.10g")


def _text(value: Any) -> str:
    if pd.isna(value):  # a text that is missing is None or NaN, by the version of pandas
        return ""
    if isinstance(value, float | np.floating):
        return "0" if abs(value) < TINY else f"{value:.{DIGITS}g}"
    return str(value)


def _short(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def freeze(names: list[str]) -> None:
    """Write the entries of some figures anew."""
    index = json.loads(INDEX.read_text()) if INDEX.exists() else {}
    FOLDER.mkdir(exist_ok=True)
    studies = published_studies()
    for name in names:
        drawing = drawn(name, studies)
        index[name] = entry(drawing, name)
        path = FOLDER / f"{name}.csv"
        path.unlink(missing_ok=True)
        if "columns" not in index[name]:
            path.write_text(as_csv(stable(drawing.data, name)))
    INDEX.write_text(json.dumps(dict(sorted(index.items())), indent=1) + "\n")


def differences(drawing: Drawing, name: str) -> list[str]:
    """Return one line for everything of a figure that is not as frozen: its cells by row and column."""
    frozen, found = json.loads(INDEX.read_text())[name], entry(drawing, name)
    table = stable(drawing.data, name)
    lines = [f"{key}: was {frozen[key]}, is {found[key]}" for key in ("rows", "missing", "runs", "run_ids")
             if frozen[key] != found[key]]  # fmt: skip
    if "columns" in frozen:
        lines += _moved_digests(frozen, digests(table))
    else:
        lines += _moved_cells(pd.read_csv(FOLDER / f"{name}.csv"), pd.read_csv(io.StringIO(as_csv(table))))
    return [f"{name}: {line}" for line in lines]


def _moved_digests(frozen: dict[str, Any], found: dict[str, Any]) -> list[str]:
    columns = {*frozen["columns"], *found["columns"]}
    moved = [column for column in sorted(columns) if frozen["columns"].get(column) != found["columns"].get(column)]
    rows = [row for row, (was, now) in enumerate(zip(_rows(frozen), _rows(found), strict=False)) if was != now]
    return (
        [f"columns {', '.join(moved)} in rows {rows[:20]}{' ...' if len(rows) > 20 else ''}"] if moved or rows else []
    )


def _rows(found: dict[str, Any]) -> list[str]:
    return textwrap.wrap(found["digests"], ROW)


def _moved_cells(frozen: pd.DataFrame, found: pd.DataFrame) -> list[str]:
    if list(frozen.columns) != list(found.columns) or len(frozen) != len(found):
        return [
            f"columns and rows: was {list(frozen.columns)} x {len(frozen)}, is {list(found.columns)} x {len(found)}"
        ]
    return [
        f"row {row}, {column}: was {was}, is {now}"
        for column in frozen
        for row, (was, now) in enumerate(zip(frozen[column], found[column], strict=True))
        if not _same(was, now)
    ]


def _same(was: Any, now: Any) -> bool:
    if isinstance(was, float | int) and isinstance(now, float | int):
        return bool(np.isclose(was, now, rtol=SAME, atol=TINY, equal_nan=True))
    return was == now
