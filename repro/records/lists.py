"""The list of a study's runs, which is written when the study runs and is published with its records."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from repro.records.identity import plain

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
