"""Records that hold one array per model (embeddings, landscapes): which model of which run each panel shows."""

from collections.abc import Sequence
from dataclasses import dataclass

from figures.tables.names import family, method_label, rule_label, rule_place
from figures.tables.records import Records, alike, measured
from figures.tables.runs import LANDSCAPE, one_forget_set, tag
from figures.tables.texts import spread_text
from repro.records.record import Record
from repro.statistics.seeds import interval
from repro.study.table import has_number

SETTING = ("method", "rule", "pretrain")
MOST = 5  # panels
ARRAYS = {"features": "features_{}", "landscape": "landscape_{}_forget"}  # of a model, by metric
# The rules that tell most, where not every one has a panel.
TELLING = ("sgd", "asam", "minmax", "sam")


@dataclass(frozen=True)
class Snapshot:
    """One model of one setting.

    Attributes:
        title: what stands above its panel.
        model: original, retrained or unlearned: the name inside arrays and results.
        records: the runs of all seeds, for mean and deviation of its numbers.
    """

    title: str
    model: str
    records: tuple[Record, ...]

    @property
    def record(self) -> Record:
        """Return the run whose arrays are drawn: the first seed's."""
        return self.records[0]

    def value(self, name: str) -> float:
        """Return a result `<model>_<name>` of the run that is drawn, NaN if it has none."""
        key = self._key(name)
        return float(self.record.result[key]) if has_number(self.record, key) else float("nan")

    def number(self, name: str) -> str:
        """Return a result `<model>_<name>` as `mean ± sd (seeds)`, or an empty string where no run has it."""
        key = self._key(name)
        values = interval([run.result[key] for run in self.records if has_number(run, key)])
        return spread_text(values) if values["seeds"] else ""

    def _key(self, name: str) -> str:
        return name if self.model == "unlearned" else f"{self.model}_{name}"


def snapshots(records: Records, metric: str) -> list[Snapshot]:
    """Return the original and the retrained model of the main pretraining and unlearned models of NegGrad, SGD first.

    Args:
        records: what there is.
        metric: "features", or "landscape", which shows the originals of all pretraining rules; the runs that measured
            it are shown.
    """
    having = [run for run in records.of("unlearn") if measured(run, metric) and run.has_arrays()]
    # Panels of different forget sets would not be one comparison.
    found = one_forget_set(having)
    runs = alike(found, (*SETTING, *(LANDSCAPE if metric != "landscape" else ())), records.study)
    settings: dict[tuple[str, str, str], list[Record]] = {}
    for run in sorted(runs, key=lambda one: (_order(one), tag(one, "seed") or 0, one.run_id)):
        settings.setdefault((_tag(run, "pretrain"), _tag(run, "method"), _tag(run, "rule")), []).append(run)
    if not settings:
        return []
    first: dict[str, list[Record]] = {}
    for (pretrain, _, _), group in settings.items():
        first.setdefault(pretrain, group)
    before = [Snapshot(f"before\n({rule_label(name)})", "original", tuple(runs)) for name, runs in first.items()]
    goal = Snapshot("retrained\non R", "retrained", before[0].records)
    models = [
        *(before if metric == "landscape" else before[:1]),
        goal,
        *(Snapshot(_title(*key), "unlearned", tuple(group)) for key, group in settings.items()),
    ]
    models = [one for one in models if one.record.arrays(ARRAYS[metric].format(one.model))]
    references = [one for one in models if one.model != "unlearned"]
    shown = [one for one in models if one.model == "unlearned"]
    return [*references, *_most_telling(shown, MOST - len(references))]


def used_records(shown: Sequence[Snapshot]) -> tuple[Record, ...]:
    """Return every run behind the panels once."""
    return tuple({run.run_id: run for snapshot in shown for run in snapshot.records}.values())


def _title(pretrain: str, method: str, rule: str) -> str:
    start = "" if family(pretrain) in ("", "sgd") else f"{rule_label(pretrain)} → "
    return f"{start}{method_label(method)}\n{rule_label(rule)}"


def _most_telling(shown: Sequence[Snapshot], most: int) -> list[Snapshot]:
    """Keep `most` panels in their order: NegGrad before other methods, and SGD, ASAM, MinMax before other rules."""

    def telling(one: Snapshot) -> tuple[bool, bool, int]:
        rule = family(_tag(one.record, "rule"))
        rank = TELLING.index(rule) if rule in TELLING else len(TELLING)
        return (family(_tag(one.record, "pretrain")) != "sgd", _tag(one.record, "method") != "neggrad", rank)

    chosen = sorted(shown, key=telling)[:most]
    return [one for one in shown if one in chosen]


def _order(run: Record) -> tuple[bool, str, bool, tuple[int, str]]:
    pretrain = _tag(run, "pretrain")
    return pretrain != "sgd", pretrain, _tag(run, "method") != "neggrad", rule_place(_tag(run, "rule"))


def _tag(run: Record, name: str) -> str:
    return str(tag(run, name) or "")
