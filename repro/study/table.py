"""The runs of a study as a table: a row per run, plain columns, each number from one version of its metric."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from repro.base.glossary import metric_of
from repro.records.record import Record

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
PLAIN = (int, float, str)


def table_of(records: Iterable[Record]) -> "pd.DataFrame":
    """Return one row per run, see `row_of`."""
    import pandas as pd

    return pd.DataFrame([row_of(record) for record in records])


def row_of(record: Record) -> Row:
    """Return a run as a row of plain values: what it is, its settings and its numbers.

    Columns: those of `facts_of`; `forget_set`, the identity of its forget set or ""; every setting of its config and
    its data set by name, where lists and tables become text; every number and text of its result. An interval is two
    numbers, `<name>_low` and `<name>_high`. Numbers from an outdated version of their metric (see `current`) are left
    out.
    """
    settings = flat_settings({**record.config, **(record.result.get("labels") or {})})
    outdated = bool(record.result.get("outdated"))
    numbers = {name: value for name, value in record.result.items()
               if isinstance(value, PLAIN) and (not outdated or has_number(record, name))}  # fmt: skip
    ends = {f"{name}_{end}": value for name, pair in record.result.items()
            if name.endswith("interval") and isinstance(pair, list)
            for end, value in zip(("low", "high"), pair, strict=True)}  # fmt: skip
    forget_set = str((record.result.get("parents") or {}).get("forget_set") or "")
    return facts_of(record) | {"forget_set": forget_set} | settings | numbers | ends


def facts_of(record: Record) -> Row:
    """Return what a run is, whatever its settings: its ids, where it was read from, and how it was computed."""
    about = record.provenance
    return {
        "run_id": record.run_id, "kind": record.kind, "status": record.status, "source": record.source,
        "study": about.get("study", ""), "finished": about.get("finished"), "device": about.get("device"),
        "seconds": about.get("seconds"),
    }  # fmt: skip


def flat_settings(settings: Mapping[str, Any]) -> Row:
    """Return settings as plain columns; a list becomes text, and parts of a nested table get its name as prefix."""
    found: Row = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= {f"{name}_{key}": one for key, one in flat_settings(value).items()}
        elif name != "type":
            found[name] = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
    return found


def has_number(run: Record, name: str) -> bool:
    """Return whether a run's result has a number from a version of its metric that is not outdated."""
    outdated = run.result.get("outdated")
    return name in run.result and not (outdated and metric_of(name) in outdated)


def comparable(records: Sequence[Record]) -> list[Record]:
    """Return records whose columns can stand in one table: `current` and `completed`."""
    return completed(current(records))


def current(records: Sequence[Record]) -> list[Record]:
    """Return the records, with metrics marked as outdated if another record has a newer version.

    Numbers of two versions of a metric do not belong in one column. An outdated metric is moved from
    `result["evaluations"]` to `result["outdated"]`; nothing else in a result changes.
    """
    newest: dict[str, int] = {}
    for record in records:
        for metric, made in record.result.get("evaluations", {}).items():
            newest[metric] = max(newest.get(metric, made["version"]), made["version"])
    return [_marked(record, newest) for record in records]


def _marked(record: Record, newest: dict[str, int]) -> Record:
    made = record.result.get("evaluations", {})
    valid = {metric: one for metric, one in made.items() if one["version"] == newest[metric]}
    if len(valid) == len(made):
        return record
    marks = {"evaluations": valid, "outdated": sorted(set(made) - set(valid))}
    return replace(record, result=record.result | marks)


def completed(records: Sequence[Record]) -> list[Record]:
    """Return the records with settings that were added later, at their defaults.

    A setting at its default is no part of a run's identity. So an older run computed again today is the same run, with
    one more setting in its config. Newer records tell the default: it is in their config but not in their identity. If
    they disagree on it, the setting is not added.
    """
    by_type: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_type[str(record.config.get("type"))].append(record)
    later = {name: _later_settings(same) for name, same in by_type.items()}

    def whole(record: Record) -> Record:
        added = later[str(record.config.get("type"))]
        return replace(record, config=added | record.config) if added.keys() - record.config.keys() else record

    return [whole(record) for record in records]


def _later_settings(records: Sequence[Record]) -> dict[str, Any]:
    every = set().union(*(record.config for record in records))
    found = {}
    for name in {name for record in records for name in every - record.config.keys()}:
        having = [one for one in records if one.identity and name in one.config and name not in one.identity]
        values = {str(one.config[name]): one.config[name] for one in having}
        found |= {name: next(iter(values.values()))} if len(values) == 1 else {}
    return found
