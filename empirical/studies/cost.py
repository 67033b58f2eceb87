"""What work costs: hours by a measured rate, memory by what a step keeps, and the hours of several processes.

Rates are those of the store's own stages, else of a benchmark record; for a model without either they are scaled by its
number of operations. A stated rate replaces all of them. Imports no torch.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from statistics import median
from typing import Any, NamedTuple

from empirical.registry import dataset, model_weights, model_work, rule
from empirical.registry import method as find_method
from empirical.settings.rule_labels import parse_options, parse_rule
from empirical.settings.run_config import RunConfig
from repro.base.files import read_bytes
from repro.records.record import Record
from repro.records.store import Store

LOOKED_AT = 500  # stages of a store from which rates are taken, at most
USABLE = 0.9  # share of a device's memory that a step may fill


class Pace(NamedTuple):
    """What sets the pace of a stage: data set, model, precision, and the edge of its images in pixels (0: unknown)."""

    dataset: str
    model: str
    precision: str
    edge: int = 0


def pace_of(config: Any) -> Pace:
    """Return the pace of a run or of an estimate's models; both name data set, model and precision."""
    size = parse_options(config.dataset_options, "dataset_options").get("size", 0)
    edge = size if isinstance(size, int) and size else dataset(config.dataset).edge
    return Pace(config.dataset, config.model, config.precision, edge)


@dataclass(frozen=True)
class Work:
    """Something to compute.

    Attributes:
        id: identity of a stage, or of the run that is trained or measured.
        kind: `pretrain`, `retrain`, `subset`, `unlearn` or `measure`.
        pace: what sets its pace.
        passes: passes over its images; examples: gradients of single examples, 0 where their number is not known.
        needs: ids of the work it waits for.
        weights_bytes: what it keeps on the disk, in bytes.
    """

    id: str
    kind: str
    pace: Pace
    passes: float
    examples: float
    needs: tuple[str, ...] = ()
    weights_bytes: int = 0


class Rate(NamedTuple):
    """Gradients of single examples a second.

    `source` names the record or stages it was measured in and `device` the card; `scaled` says whether these are about
    another model or image size, so that arithmetic was taken for time. `tells` says whether it may be scaled so: a
    benchmark of some processor stands for the networks it is about alone, because this machine's may be another.
    """

    per_second: float
    source: str
    device: str
    scaled: bool
    tells: bool = True


@dataclass
class Rates:
    """The rates that are known.

    Attributes:
        measured: by pace, the rate and its source; of a pace that several are about, the last.
    """

    measured: dict[Pace, Rate] = field(default_factory=dict)

    @classmethod
    def known(
        cls, store: Store, benchmarks: Iterable[Record] = (), *, example: Pace | None = None, per_second: float = 0.0
    ) -> "Rates":
        """Return the rates of a store's stages and of benchmark records.

        Args:
            store: whose finished stages count first.
            benchmarks: records of kind `benchmark`.
            example: what `per_second` is about.
            per_second: images a second of a plain gradient that somebody states for a card; it takes the place of all.
        """
        if per_second and example is not None:
            return cls({example._replace(dataset=""): Rate(per_second, "--images-per-second", "a card", False)})
        ordered = sorted(benchmarks, key=lambda one: one.config.get("device") != "cpu")  # a card's rate stands
        found = {pace: rate for record in ordered for pace, rate in _of_benchmark(record)}
        return cls(found | _of_stages(store))

    def of(self, pace: Pace) -> Rate | None:
        """Return the rate of a pace: its own, else a benchmark's, else that of the largest network known, scaled."""
        work = operations(pace)
        same = [rate for one, rate in self.measured.items() if one.dataset in ("", pace.dataset)
                and one[1:3] == pace[1:3] and one.edge in (0, pace.edge)]  # fmt: skip
        if same:
            return same[-1]  # stages stand behind benchmarks
        others = [(operations(one), rate) for one, rate in self.measured.items()
                  if operations(one) and (rate.tells or one[1:3] == pace[1:3])]  # fmt: skip
        if not others or not work:
            return None
        # The rate of one device says nothing about another. Rates of a GPU are preferred to those of a CPU.
        known, rate = max(others, key=lambda one: (one[1].device != "cpu", one[0]))
        return Rate(rate.per_second * known / work, rate.source, rate.device, True)


def hours_at(work: Work, rate: Rate | None) -> float | None:
    """Return how long something takes one process at a rate; None where nobody can say."""
    if work.passes == 0:
        return 0.0
    return work.examples / rate.per_second / 3600 if rate and work.examples else None


def operations(pace: Pace) -> float:
    """Return multiplications and additions of an example's gradient: three times those of its forward pass."""
    return 3 * model_work(pace.model, pace.edge)[0]


def _of_stages(store: Store) -> dict[Pace, Rate]:
    """Return the median rate of the finished stages by pace; of a large store, of a part of them.

    A stage tells no rate if it is damaged (`repro records verify` names it), if it was pruned meanwhile, or if its
    data set is not installed. Only an estimate rests on it.
    """
    seen: dict[Pace, list[tuple[float, str]]] = defaultdict(list)
    folders = list(store.stages.all())
    for folder in folders[:: max(1, len(folders) // LOOKED_AT)]:
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            key = json.loads(read_bytes(f"{folder}/config.json"))["config"]
            facts = json.loads(read_bytes(f"{folder}/provenance.json"))
            if facts.get("seconds") and facts.get("gradient_evaluations"):
                settings = parse_options(key.get("dataset_options", ""), "dataset_options")
                edge = settings.get("size") or dataset(key["dataset"]).edge
                pace = Pace(key["dataset"], key["model"], key["precision"], edge)
                seen[pace].append((facts["gradient_evaluations"] / facts["seconds"], facts.get("device", "")))
    return {pace: _median(rates) for pace, rates in seen.items()}


def _median(rates: Sequence[tuple[float, str]]) -> Rate:
    devices = sorted({device for _, device in rates if device})
    source = f"the median of {len(rates)} finished stages" if len(rates) > 1 else "a finished stage"
    return Rate(median(rate for rate, _ in rates), source, ", ".join(devices) or "a device that is not named", False)


def _of_benchmark(record: Record) -> Iterable[tuple[Pace, Rate]]:
    """Yield the rates of plain gradients that a training benchmark measured."""
    for row in record.result.get("rows", []):
        model, _, rule = str(row.get("case", "")).partition("/")
        if rule == "sgd" and row.get("images_per_second"):
            device, source = str(record.config.get("device", "")), f"benchmark record {record.run_id[:8]}"
            rate = Rate(row["images_per_second"], source, device, False, tells=device != "cpu")
            yield Pace("", model, str(row["precision"]), 32), rate


def copies_of(label: str, method: str = "") -> float:
    """Return the copies of the weights a step holds at once: weights, momentum and gradient, and what a rule adds.

    SAM keeps the first gradient, the weights before the perturbation and the perturbation itself; MinMax a branch's
    result with the other's, and its mask at a byte a weight; a masked rule the weights before the step. SCRUB keeps
    the original. Rules and methods say so themselves (`repro.base.parts`).
    """
    spec = parse_rule(label)
    copies = rule(spec.name).copies + (copies_of(spec.inner) if spec.inner else 0.0)
    return copies + (find_method(method).copies if method else 0.0)


class Fit(NamedTuple):
    """The largest batch whose step fits a device, by estimate: images at once, bytes an image, bytes of weights."""

    images: int
    image_bytes: float
    fixed_bytes: float


def largest_batch(config: RunConfig, memory: float) -> Fit | None:
    """Return the largest batch of a run's most demanding stage; None of a model that nobody has counted.

    `(0.9 memory - copies x weights) / (numbers saved for the way back x bytes each)`: an estimate, because libraries
    take memory of their own and a compiler keeps less. NegGrad holds a forget image with each retained one. One
    step is held at a time under either engine: graphs share memory and let go of it before an eager step.

    Args:
        config: the run; memory: of the device, in bytes.
    """
    activations = model_work(config.model, pace_of(config).edge)[1]
    if not activations:
        return None
    size = 8 if config.precision == "fp64" else 4
    fixed = size * model_weights(config.model) * copies_of(config.rule, config.method)
    images = 2 if find_method(config.method).beside else 1
    an_image = activations * {"bf16": 2, "fp32": 4, "fp64": 8}[config.precision] * images
    return Fit(max(0, int((USABLE * memory - fixed) / an_image)), an_image, fixed)


def hours_together(works: Mapping[str, Work], hours: Mapping[str, float], tasks: int) -> float:
    """Return the hours that several processes take at best, each doing one thing at a time.

    `max(sum of hours / tasks, longest chain of work that waits for work)`; most studies come within some percent of it.

    Args:
        works: everything to compute, by id; hours: of each; tasks: processes, >= 1.
    """
    waits = {name: [need for need in work.needs if need in works] for name, work in works.items()}
    ends: dict[str, float] = {}
    for name in TopologicalSorter(waits).static_order():
        ends[name] = hours[name] + max((ends[need] for need in waits[name]), default=0.0)
    return max(sum(hours.values()) / tasks, max(ends.values(), default=0.0))
