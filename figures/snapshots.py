"""Records that hold one array a model (embeddings, landscapes): which model of which run each panel shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from figures.networks import has_arrays, label
from figures.records import Records, comparable
from figures.style import family, method_label, rule_label
from figures.table import interval
from repro.records.record import Record

VARY = ("method", "method_options", "rule", "pretrain", "metrics")
ORDER = ("sgd", "sam", "asam", "minmax", "retain-sam")


@dataclass(frozen=True)
class Snapshot:
    """One model of one cell.

    Attributes:
        title: what stands above its panel.
        model: original, retrained or unlearned: the name inside arrays and results.
        record: the run whose arrays are drawn, that of the first seed.
        records: the runs of all seeds, for mean and deviation of its numbers.
    """

    title: str
    model: str
    record: Record
    records: tuple[Record, ...]

    def number(self, name: str, digits: int = 3) -> str:
        """Return a result `<model>_<name>` as `mean ± sd (seeds)`, or an empty string where no run has it."""
        prefix = "" if self.model == "unlearned" else f"{self.model}_"
        found = [run.result.get(prefix + name) for run in self.records]
        values = interval([value for value in found if value is not None])
        if not values["seeds"]:
            return ""
        spread = f" ± {values['sd']:.{digits}f}" if values["seeds"] > 1 else ""
        return f"{values['mean']:.{digits}f}{spread} ({values['seeds']})"


def snapshots(records: Records, metric: str, *, most: int = 4) -> list[Snapshot]:
    """Return the original model of the main pretraining and the unlearned models of its NegGrad cells, SGD first.

    Args:
        records: what there is.
        metric: "features" or "landscape", named in the `metrics` of the run's config.
        most: panels at most.
    """
    having = [run for run in records.of("unlearn") if metric in run.config.get("metrics", ()) and has_arrays(run)]
    # A set of one difficulty only: panels of different forget sets would not be one comparison.
    runs = comparable(having + records.of("embedding") * (metric == "features"), VARY)
    cells: dict[tuple[str, str, str], list[Record]] = {}
    for run in sorted(runs, key=lambda one: (_place(one), label(one, "seed") or 0, one.run_id)):
        cells.setdefault((_text(run, "pretrain"), _text(run, "method"), _text(run, "rule")), []).append(run)
    if not cells:
        return []
    first = next(iter(cells.values()))
    found = [Snapshot(f"before\n({rule_label(_text(first[0], 'pretrain'))})", "original", first[0], tuple(first))]
    found += [Snapshot(_title(key), "unlearned", group[0], tuple(group)) for key, group in cells.items()]
    return [found[0], *_most_telling(found[1:], most - 1)]


def _most_telling(shown: Sequence[Snapshot], most: int) -> list[Snapshot]:
    """Keep `most` panels in their order: NegGrad before other methods, and SGD, ASAM, MinMax before other rules."""
    chosen = sorted(shown, key=lambda one: _telling(one.record))[:most]
    return [one for one in shown if one in chosen]


def _telling(run: Record) -> tuple[bool, bool, int]:
    rank = {"sgd": 0, "asam": 1, "minmax": 2, "sam": 3}
    other_start = family(_text(run, "pretrain")) != "sgd"
    return other_start, _text(run, "method") != "neggrad", rank.get(family(_text(run, "rule")), len(rank))


def used_records(shown: Sequence[Snapshot]) -> tuple[Record, ...]:
    """Return every run behind the panels once."""
    return tuple({run.run_id: run for snapshot in shown for run in snapshot.records}.values())


def _title(key: tuple[str, str, str]) -> str:
    pretrain, method, rule = key
    start = "" if family(pretrain) in ("", "sgd") else f"{rule_label(pretrain)} → "
    return f"{start}{method_label(method)}\n{rule_label(rule)}"


def _place(run: Record) -> tuple[Any, ...]:
    rule = family(_text(run, "rule"))
    return (_text(run, "pretrain") != "sgd", _text(run, "pretrain"), _text(run, "method") != "neggrad",
            ORDER.index(rule) if rule in ORDER else len(ORDER), _text(run, "rule"))  # fmt: skip


def _text(run: Record, name: str) -> str:
    return str(label(run, name) or "")
