"""Which runs a study has: those that its recipe names, with the values that its searches found."""

from dataclasses import dataclass

from empirical.registry import forget_set
from empirical.settings.keys import present_metrics
from empirical.settings.run_config import ESTIMATE, KIND, RunConfig, config_for
from empirical.studies.finished import Finished
from empirical.studies.search import SearchResult
from repro.records.identity import run_id
from repro.records.lists import RunList


@dataclass(frozen=True)
class StudyRow:
    """A run of a study, or a trial of its searches.

    Attributes:
        config: of the run; run_id: its id, empty while its value is searched for or its data are not on this machine.
        kind: `unlearn`, `choice` (a trial of a search) or `floor`; open: whether its search still goes on.
        done: whether its record exists with every metric that it names. A run must be in the store, because a grid
            computes published runs again; a trial may be in a published study.
    """

    config: RunConfig
    run_id: str
    kind: str
    open: bool
    done: bool


@dataclass(frozen=True)
class StudyRuns:
    """Which runs a study has, as far as its searches have ended.

    Attributes:
        runs: those that can be computed, with the values that were found; those that share stages are neighbours.
        found: of the runs whose value was searched for, the search that found it.
        open: the runs whose search goes on, at the default of the value, each with its search.
        searches: every search once.
    """

    runs: list[RunConfig]
    found: dict[RunConfig, SearchResult]
    open: dict[RunConfig, SearchResult]
    searches: list[SearchResult]

    @property
    def every(self) -> list[RunConfig]:
        """Every run of the study, also those whose search goes on."""
        return list(dict.fromkeys([*self.runs, *self.open]))

    def rows(self, finished: Finished) -> list[StudyRow]:
        """Return the trials of the searches, then the runs."""
        trials = dict.fromkeys(run for one in self.searches for run in one.needs)
        listed = [*trials, *((KIND, config) for config in self.runs)]
        rows = []
        for (kind, config), open_ in [*((run, False) for run in listed), *(((KIND, run), True) for run in self.open)]:
            there = finished.in_store(config) if kind == KIND else finished.find(kind, config) is not None
            identity = "" if open_ or not config.data else run_id(kind, config)
            rows.append(StudyRow(config, identity, kind, open_, there and not open_))
        return rows

    def run_list(self, finished: Finished) -> RunList:
        """Return the ids of the runs, of all that the searches rest on, and of estimated memorization scores."""
        runs = [_identity(KIND, config, finished) for config in self.runs]
        search = {_identity(kind, run, finished) for one in self.searches for kind, run in one.needs}
        graded = (config for config in self.runs if forget_set(config.difficulty).graded and not config.scores)
        scores = {run_id(ESTIMATE, estimate) for estimate in {config_for(config) for config in graded if config.data}}
        ids = (tuple(sorted({*found} - {""})) for found in (runs, search, scores))
        metrics = {run: tuple(present_metrics(config)) for run, config in zip(runs, self.runs, strict=True) if run}
        return RunList(*ids, open=len(self.open) + runs.count(""), metrics=metrics)

    @property
    def missing(self) -> list[tuple[str, RunConfig]]:
        """The trials that the searches need next, each with its kind."""
        return list(dict.fromkeys(run for one in self.searches for run in one.missing))


def _identity(kind: str, config: RunConfig, finished: Finished) -> str:
    """Return the id of a run: without its data, the id of its record, else an empty text."""
    if config.data:
        return run_id(kind, config)
    record = finished.look(kind, config)
    return record.run_id if record else ""
