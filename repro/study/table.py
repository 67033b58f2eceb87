"""The runs of a study as a table: one row a run, plain columns, every number of one version of its metric."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from repro.records.record import Record

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
# The metric that a number comes from, by how its name starts behind the model's own (`retrained_mia_...`).
METRIC_OF = {
    "tow": "tow",
    "mia_": "mia",
    "attack_": "attacks",
    "lira_": "lira",
    "entanglement_": "entanglement",
    "margin_": "margins",
    "klom_": "klom_margins",
    "landscape_": "landscape",
    "hessian_": "hessian",
    "relearning_": "relearning",
}


def table_of(records: Iterable[Record]) -> "pd.DataFrame":
    """Return one row a run: what it is, its settings, its numbers and how it came to be.

    Columns: `run_id`, `kind`, `status`; every setting of its config and its data set by name; every number of its
    result; `forget_set`, the identity of its forget set; `device`, `seconds` and `finished`. A list or a table among
    them is text. A number from an older version of its metric than another run of the table has is left out.
    """
    import pandas as pd

    return pd.DataFrame([row_of(record) for record in current(completed(list(records)))])


def row_of(record: Record) -> Row:
    """Return a run as a row of plain values."""
    head = {"run_id": record.run_id, "kind": record.kind, "status": record.status}
    facts = {name: record.provenance.get(name) for name in ("device", "seconds", "finished")}
    settings = flat(record.config) | flat(labels_of(record))
    return head | settings | numbers_of(record) | {"forget_set": forget_set(record)} | facts


def labels_of(record: Record) -> Row:
    """Return the settings that name a network run, those of its data set among them; of another run its config."""
    labels = record.result.get("labels") or record.config
    return {name: value for name, value in labels.items() if name != "type"}


def numbers_of(record: Record) -> Row:
    """Return every number and text of a run's result that is not of an outdated version of its metric."""
    outdated = bool(record.result.get("outdated"))
    return {name: value for name, value in record.result.items()
            if isinstance(value, int | float | str) and (not outdated or has_number(record, name))}  # fmt: skip


def forget_set(record: Record) -> str:
    """Return the identity of a run's forget set, or ""."""
    return str((record.result.get("parents") or {}).get("forget_set") or "")


def flat(settings: Mapping[str, Any]) -> Row:
    """Return settings as plain columns; a list becomes text, the parts of a nested table are named after it."""
    found: Row = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= {f"{name}_{key}": one for key, one in flat(value).items()}
        elif name != "type":
            found[name] = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
    return found


def has_number(run: Record, name: str) -> bool:
    """Return whether a run's result has a number, and not from an outdated version of its metric."""
    if name not in run.result:
        return False
    outdated = run.result.get("outdated", ())
    plain = name.removeprefix("original_").removeprefix("retrained_")
    return not any(plain.startswith(start) for start, metric in METRIC_OF.items() if metric in outdated)


def current(records: Sequence[Record]) -> list[Record]:
    """Return the records with every metric marked that another record has in a newer version.

    Numbers of two versions of a metric are not one column. The marked metric leaves `result["evaluations"]` and is
    named in `result["outdated"]`; nothing else of a result changes.
    """
    newest: dict[str, int] = {}
    for record in records:
        for metric, made in record.result.get("evaluations", {}).items():
            newest[metric] = max(newest.get(metric, made["version"]), made["version"])
    return [_marked(record, newest) for record in records]


def _marked(record: Record, newest: dict[str, int]) -> Record:
    made = record.result.get("evaluations", {})
    kept = {metric: one for metric, one in made.items() if one["version"] == newest[metric]}
    if len(kept) == len(made):
        return record
    marks = {"evaluations": kept, "outdated": sorted(set(made) - set(kept))}
    return replace(record, result=record.result | marks)


def completed(records: Sequence[Record]) -> list[Record]:
    """Return the records with the settings that came after them, at their defaults.

    A setting at its default is no part of a run's identity: made again today, an older run is the same and has one
    setting more. A study that went on after that is still one study. What the default is the newer records say: it is
    what they have in their config and not in their identity, unless that differs among them.
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
