"""The settings in which two runs differ, and whether a study's numbers are the expected ones."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from statistics import fmean
from typing import Any

from empirical.settings.run_config import RunConfig
from repro.base.errors import ConfigError
from repro.base.settings import build, check, choose, reject, setting
from repro.records.identity import plain
from repro.records.record import Record
from repro.records.stages import known_weights, require_one_set


@dataclass(frozen=True)
class Difference:
    """One setting in which two runs differ."""

    setting: str
    left: Any
    right: Any


def settings_of(record: Record) -> dict[str, Any]:
    """Return every setting of a run by name: its config, its resolved discrepancy switches, its data and forget set.

    How a run is measured is left out, because metrics can be added to a run.

    Raises:
        ConfigError: for a run of another kind, and for a failed run, whose data and forget set are unknown.
    """
    if record.kind != "unlearn":
        raise ConfigError(f"run {record.run_id}: is of kind {record.kind!r}; only network runs can be compared")
    if record.status == "failed":
        raise ConfigError(f"run {record.run_id}: failed; it can be compared once it is there: grid --retry-failed")
    config = build(RunConfig, record.config)
    switches = {f"switch {name}": value for name, value in plain(config.fidelity).items() if name != "type"}
    found = {"data": record.result.get("data_digest"), "forget set": record.result["parents"]["forget_set"]}
    names = [field.name for field in fields(config) if field.metadata.get("identifies", True)]
    own = {name: getattr(config, name) for name in names}
    return own | switches | found


def diff_runs(left: Record, right: Record) -> list[Difference]:
    """Return the settings in which two network runs differ, in the config's order, then stages of other weights."""
    ours, theirs = settings_of(left), settings_of(right)
    found = [Difference(name, ours[name], theirs[name]) for name in ours if ours[name] != theirs[name]]
    weights = [dict(known_weights(record.result.get("parents") or {})) for record in (left, right)]
    shared = [stage for stage in weights[0] if weights[0][stage] != weights[1].get(stage, weights[0][stage])]
    return found + [Difference(f"weights of stage {stage}", *(known[stage] for known in weights)) for stage in shared]


@dataclass(frozen=True)
class Expected:
    """A value a study should reproduce.

    Attributes:
        metric: name in the records' results; where: labels the runs must have.
        value: the expected mean over the matching runs; tolerance: the largest difference that passes.
    """

    metric: str = setting("tow", "name of the number")
    value: float = setting(1.0, "expected mean over the matching runs")
    tolerance: float = setting(0.05, "largest accepted difference", low=0)
    where: Mapping[str, Any] = setting((), "labels the runs must have")

    def __post_init__(self) -> None:
        check(self)
        if self.where and not isinstance(self.where, Mapping):
            raise reject("where", self.where, "a table of labels", "such as { method = 'neggrad' }")

    def fits(self, labels: Mapping[str, Any]) -> bool:
        """Return whether a run with these labels is one that the value is about."""
        return all(labels.get(name) == value for name, value in dict(self.where).items())


@dataclass(frozen=True)
class CheckRow:
    """An expected value and the observed one.

    Attributes:
        expected: the value, its tolerance and the labels it is about.
        observed: the mean over the runs; None when no run matches.
        runs: how many there are; of: how many the study has.
        source: where these runs stand: your own store (`runs`), or a published study (`results/digits`).
    """

    expected: Expected
    observed: float | None
    runs: int
    of: int
    source: str

    @property
    def passes(self) -> bool:
        """Whether the observed mean lies within the tolerance."""
        return self.observed is not None and abs(self.observed - self.expected.value) <= self.expected.tolerance


def check_study(
    expected: Iterable[Mapping[str, Any]], records: Iterable[Record], configs: Iterable[RunConfig] = ()
) -> list[CheckRow]:
    """Return one row per expected value of a recipe.

    Args:
        expected: its entries.
        records: the runs that are there; runs: all that the study has.

    Raises:
        IntegrityError: when runs stand on two sets of weights of one stage.
    """
    records = list(records)
    require_one_set(records, "not judged")
    known = [record for record in records if record.kind == "unlearn" and record.status == "ok"]
    labels = [config.tags() for config in configs]
    return [_check_row(build(Expected, entry, where="expected"), known, labels) for entry in expected]


def _check_row(expected: Expected, records: list[Record], configs: list[dict[str, Any]]) -> CheckRow:
    matching = [record for record in records if expected.fits(record.result["labels"])]
    values = [record.result[expected.metric] for record in matching if record.result.get(expected.metric) is not None]
    if not all(isinstance(value, int | float) for value in values):
        numbers = sorted({name for one in matching for name, value in one.result.items() if isinstance(value, float)})
        choose("expected.metric", expected.metric, numbers)
    source = ", ".join(sorted({record.source for record in matching}))
    return CheckRow(expected, fmean(values) if values else None, len(values), sum(map(expected.fits, configs)), source)
