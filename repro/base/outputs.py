"""Files written into a user's folder; a file is replaced only if its hash shows that it was written here before."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repro.base.errors import ConfigError
from repro.base.files import read_bytes, replace_file
from repro.base.settings import file_name

LIST = "written-by-repro.sha256"  # a line per file, as `sha256sum --check` reads it
FORMULA = ("=", "+", "-", "@", "\t")  # with which a text begins that a spreadsheet runs


def write_outputs(folder: Path, files: Mapping[str, bytes], *, force: bool = False) -> list[Path]:
    """Write files by name into a folder, with a list of their hashes, and return their paths.

    Args:
        folder: made if it is not there.
        files: the content of each file.
        force: also replace files that somebody else wrote or changed.

    Raises:
        ConfigError: before anything is written, naming a file that is not ours, or a name that is a path.
    """
    before = _listed(folder)
    new = {(name, hashlib.sha256(content).hexdigest()) for name, content in files.items()}
    for name in files:
        path = folder / file_name("file", name)
        if not force and os.path.lexists(path) and (name, _sha(path)) not in before | new:
            raise ConfigError(f"{path}: is not as `repro` wrote it; move it, choose another folder, or give --force")
    folder.mkdir(parents=True, exist_ok=True)
    _write_list(folder, before | new)  # first: what is cut off half-way stays ours
    for name, content in files.items():
        replace_file(folder / name, content)
    _write_list(folder, {pair for pair in before if pair[0] not in files} | new)
    return [folder / name for name in files]


def remove_output(path: Path) -> None:
    """Remove a file, and its line in the list beside it."""
    path.unlink(missing_ok=True)
    _write_list(path.parent, {pair for pair in _listed(path.parent) if pair[0] != path.name})


def is_as_written(path: Path, data: bytes) -> bool:
    """Return whether the list beside a file names it with the hash of this content."""
    return (path.name, hashlib.sha256(data).hexdigest()) in _listed(path.parent)


def csv_bytes(table: Any, **options: Any) -> bytes:
    """Return a pandas table as CSV; a text that a spreadsheet would run begins with an apostrophe, numbers stay."""
    from pandas.api.types import is_numeric_dtype

    safe = table.rename(columns=_as_text)
    for column in safe.columns[[not is_numeric_dtype(kind) for kind in table.dtypes]]:
        safe[column] = safe[column].map(_as_text, na_action="ignore")
    return safe.to_csv(index=False, **options).encode()


def _as_text(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    value = value.replace("\r", " ")  # pandas does not quote it: a new row would begin
    return f"'{value}" if value.startswith(FORMULA) and not _is_number(value) else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _listed(folder: Path) -> set[tuple[str, str]]:
    """Return name and hash of every file that was written into a folder."""
    try:
        lines = read_bytes(str(folder / LIST)).decode("utf-8", "replace").splitlines()
    except OSError:
        return set()
    return {(name, sha) for sha, _, name in (line.partition("  ") for line in lines)}


def _write_list(folder: Path, pairs: set[tuple[str, str]]) -> None:
    replace_file(folder / LIST, "".join(f"{sha}  {name}\n" for name, sha in sorted(pairs)).encode())


def _sha(path: Path) -> str:
    try:
        return hashlib.sha256(read_bytes(str(path))).hexdigest()
    except OSError:
        return ""
