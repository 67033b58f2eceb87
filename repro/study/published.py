"""The published studies: those that come with the toolkit, and those in `results/` of the working directory."""

import json
from collections.abc import Collection, Iterable
from functools import cached_property
from pathlib import Path

from repro.base.errors import IntegrityError
from repro.records.folder import replace_file
from repro.records.lists import RunList
from repro.records.pack import PackedStore
from repro.records.record import Record
from repro.records.shipped import packs

LISTS = "studies.json"  # beside the files of records: which runs each study has


class Published:
    """Every published study, read like a store.

    Args:
        files: the files of records, those of the user first; by default all.
    """

    title = "published"

    def __init__(self, files: Iterable[Path] | None = None) -> None:
        self._files = list(packs() if files is None else files)

    @cached_property
    def lists(self) -> dict[str, RunList]:
        """The list of every study by its name; if two folders have one, the user's counts."""
        found: dict[str, RunList] = {}
        for folder in dict.fromkeys(path.parent for path in self._files):
            found = read_lists(folder) | found
        return found

    def run_list(self, study: str) -> RunList | None:
        """Return the list of a study's runs; None if it is not published."""
        return self.lists.get(study)

    def records_of(self, study: str, ids: Collection[str]) -> list[Record]:
        """Return some runs of a study, ordered by id; of two copies, its own file's, else the one with more metrics."""
        found: dict[str, tuple[tuple[bool, int], Record]] = {}
        for path in self._files:
            for record in PackedStore(path).records(ids=ids):
                rank = path.stem == study, len(record.result.get("evaluations", ()))
                if record.run_id not in found or rank > found[record.run_id][0]:
                    found[record.run_id] = rank, record
        return [found[one][1] for one in sorted(found)]


def read_lists(folder: Path) -> dict[str, RunList]:
    """Return the lists of the studies whose records are in a folder.

    Raises:
        IntegrityError: if the file of the lists cannot be read.
    """
    path = folder / LISTS
    if not path.is_file():
        return {}
    try:
        return {str(name): RunList.read(found) for name, found in json.loads(path.read_text(encoding="utf-8")).items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise IntegrityError(f"{path.name}: unreadable; restore it from version control") from error


def write_list(folder: Path, study: str, found: RunList) -> None:
    """Add runs to the list of a study beside the file of its records."""
    known = read_lists(folder)
    before = known.get(study, RunList())
    runs, search, more = (tuple(sorted({*old, *new})) for old, new in zip(before[:3], found[:3], strict=True))
    every = known | {study: RunList(runs, search, more)}
    lines = (f"{json.dumps(name)}: {json.dumps(runs.plain())}" for name, runs in sorted(every.items()))
    replace_file(folder / LISTS, ("{\n" + ",\n".join(lines) + "\n}\n").encode())
