"""The list of a study's runs: written down when the study runs, published with its records, and read from there."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from repro.records.identity import plain

Ids = tuple[str, ...]


class RunList(NamedTuple):
    """The ids of a study's runs.

    Attributes:
        runs: the runs that the study compares.
        search: the runs that choose its learning rates, and the noise floors they are held against.
        more: what was computed from other runs: pooled metrics, memorization scores, matched theory.
        open: how many runs have no id yet, because their learning rate is not chosen or their data are not here.
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
        return plain(self._asdict())

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> "RunList":
        """Return a list that was written as JSON; a part that is absent is empty.

        Raises:
            TypeError, ValueError: when a part is of another type.
        """
        parts = {name: tuple(map(str, list(found.get(name, ())))) for name in ("runs", "search", "more")}
        metrics = {str(run): tuple(map(str, list(names))) for run, names in dict(found.get("metrics", {})).items()}
        return cls(**parts, open=int(found.get("open", 0)), metrics=metrics)
