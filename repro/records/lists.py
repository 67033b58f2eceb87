"""The list of a study's runs: written down when the study runs, published with its records, and read from there."""

from collections.abc import Mapping
from typing import Any, NamedTuple

Ids = tuple[str, ...]


class RunList(NamedTuple):
    """The ids of a study's runs.

    Attributes:
        runs: the runs that the study compares.
        search: the runs that choose its learning rates, and the noise floors they are held against.
        more: what was computed from other runs: pooled metrics, memorization scores, matched theory.
        open: how many runs have no id yet, because their learning rate is not chosen or their data are not here.
    """

    runs: Ids = ()
    search: Ids = ()
    more: Ids = ()
    open: int = 0

    @property
    def ids(self) -> Ids:
        """Every id once."""
        return tuple(dict.fromkeys((*self.runs, *self.search, *self.more)))

    def plain(self) -> dict[str, Any]:
        """Return the list as JSON values, ids in order."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self._asdict().items()}

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> "RunList":
        """Return a list that was written as JSON; a part that is absent is empty.

        Raises:
            TypeError, ValueError: when a part is of another type.
        """
        parts = {name: tuple(map(str, list(found.get(name, ())))) for name in ("runs", "search", "more")}
        return cls(**parts, open=int(found.get("open", 0)))
