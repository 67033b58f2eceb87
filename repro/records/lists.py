"""The list of a study's runs, which is written when the study runs and is published with its records.

<store>/studies/<digest of a name>.json    the list of one study in a store
results/studies.json                       the lists of the studies that are published there
"""

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from repro.base.errors import IntegrityError
from repro.base.files import name_damage, read_bytes, replace_file
from repro.records.folder import as_json
from repro.records.identity import digest, plain
from repro.records.record import Record

PUBLISHED = "studies.json"
Ids = tuple[str, ...]


class RunList(NamedTuple):
    """The ids of a study's runs.

    Attributes:
        runs: the runs that the study compares.
        search: the trials of its learning-rate search, and the noise floors that they are compared with.
        more: records computed from other runs: pooled metrics, memorization scores, matched theory.
        open: number of runs without an id yet, because their learning rate is not chosen or their data are not here.
        metrics: the metrics that each run must have to be done, by its id; a run that is absent here needs none.
    """

    runs: Ids = ()
    search: Ids = ()
    more: Ids = ()
    open: int = 0
    metrics: Mapping[str, Ids] = MappingProxyType({})

    @property
    def ids(self) -> Ids:
        """Every id once."""
        return tuple(dict.fromkeys((*self.runs, *self.search, *self.more)))

    def plain(self) -> dict[str, Any]:
        """Return the list as JSON values, ids in order."""
        return plain({name: value for name, value in self._asdict().items() if name != "metrics" or value})

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> "RunList":
        """Return a list from its JSON values; an absent part is empty.

        Raises:
            TypeError, ValueError: if a part is of another type.
        """
        parts = {name: tuple(map(str, list(found.get(name, ())))) for name in ("runs", "search", "more")}
        metrics = {str(run): tuple(map(str, list(names))) for run, names in dict(found.get("metrics", {})).items()}
        return cls(**parts, open=int(found.get("open", 0)), metrics=metrics)


class StudyLists:
    """The lists of runs in one store.

    Args:
        folder: of their files.
        lease: returns the lease of a name, which a writer holds.
    """

    def __init__(self, folder: Path, lease: Callable[[str], AbstractContextManager[None]]) -> None:
        self._folder, self._lease = folder, lease

    def get(self, study: str) -> RunList | None:
        """Return the list of a study's runs; None if there is none, or if it is damaged, which is named."""
        path = self._path(study)
        return _read(path)[1] if path.is_file() else None

    def all(self) -> dict[str, RunList]:
        """Return the lists of runs by the names of their studies."""
        found = (_read(path) for path in sorted(self._folder.glob("*.json")))
        return {name: runs for name, runs in found if runs is not None}

    def verify(self) -> list[str]:
        """Return one line for every file of a list that is damaged."""
        return [_damage(path) for path in sorted(self._folder.glob("*.json")) if _whole(path) is None]

    def put(self, study: str, found: RunList) -> None:
        """Write the list of a study's runs in place of the one before; what was computed from its runs stays."""
        self._path(study).parent.mkdir(parents=True, exist_ok=True)
        with self._lease(f"study-{self._path(study).stem}"):
            before = self.get(study) or RunList()
            self._write(study, found._replace(more=tuple(sorted({*before.more, *found.more}))))

    def add(self, study: str, found: Iterable[Record]) -> None:
        """Add records that were computed from a study's runs to its list, if it has one."""
        more = {record.run_id for record in found}
        if not more or self.get(study) is None:
            return
        with self._lease(f"study-{self._path(study).stem}"):
            if (listed := self.get(study)) is not None:  # read under the lease: another process may have written it
                self._write(study, listed._replace(more=tuple(sorted({*listed.more, *more}))))

    def _write(self, study: str, found: RunList) -> None:
        known = {"study": study, **found.plain()}
        replace_file(self._path(study), as_json(known | {"digest": digest(known)}))

    def _path(self, study: str) -> Path:
        return self._folder / f"{digest(study)}.json"


def _read(path: Path) -> tuple[str, RunList | None]:
    """Return the name and the list of a study; no list if the file is damaged, which is named."""
    if (found := _whole(path)) is not None:
        return found
    name_damage(_damage(path))
    return "", None


def _whole(path: Path) -> tuple[str, RunList] | None:
    """Return the name and the list of a study; None if the file is damaged."""
    with suppress(OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError, OverflowError):
        found = json.loads(read_bytes(str(path)))
        if found.pop("digest") == digest(found):
            return str(found["study"]), RunList.read(found)
    return None


def _damage(path: Path) -> str:
    return f"studies/{path.name}: damaged; the next run of the study lists its runs anew"


def published_lists(folder: Path) -> dict[str, RunList]:
    """Return the lists of the studies whose records are in a folder.

    Raises:
        IntegrityError: if the file of the lists cannot be read.
    """
    path = folder / PUBLISHED
    if not path.is_file():
        return {}
    try:
        return {str(name): RunList.read(found) for name, found in json.loads(path.read_text(encoding="utf-8")).items()}
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise IntegrityError(f"{path.name}: unreadable; restore it from version control") from error


def publish_list(folder: Path, study: str, found: RunList) -> None:
    """Add runs to the list of a study in the folder of its records."""
    known = published_lists(folder)
    before = known.get(study, RunList())
    runs, search, more = (tuple(sorted({*old, *new})) for old, new in zip(before[:3], found[:3], strict=True))
    every = known | {study: RunList(runs, search, more)}
    lines = (f"{json.dumps(name)}: {json.dumps(runs.plain())}" for name, runs in sorted(every.items()))
    replace_file(folder / PUBLISHED, ("{\n" + ",\n".join(lines) + "\n}\n").encode())
