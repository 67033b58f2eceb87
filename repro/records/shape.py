"""The types of a record's parts by its kind; they are checked when a record is written or read.

A hash proves that a file is as it was written, not that it holds a record. A metric that is a text, or theory
without its seeds, would stop the figures and claims that read it.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec

Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Scalar = str | bool | Whole | float | None
Labels = dict[str, Scalar | list[Scalar]]
Numbers = list[float | None]
Table = list[dict[str, Any]]
# Numbers of the package's own metrics, of any model; those of plug-ins may be anything.
NUMBER = re.compile(r"(original_|retrained_)?(tow|\w*accuracy|(mia|lira|klom|hessian|margin|entanglement)_\w+)")
ALWAYS = re.compile(r"(original_|retrained_)?(tow|\w*accuracy)")  # never null; others may be
SERIES = re.compile(r"(original_|retrained_)?(attack_\w*interval|relearning_(steps|forget))")
LARGEST = 1e308
NUMBERS = (int, float)


class Made(TypedDict):
    """The evaluation that a metric's numbers come from."""

    id: str
    version: Whole


class NetworkResult(TypedDict, total=False):
    """The result of a network run, except the numbers of its metrics."""

    labels: Labels
    parents: dict[str, str | None]
    evaluations: dict[str, Made]
    absent_metrics: dict[str, str]
    outdated: list[str]
    data_digest: str
    rows_measured: str
    n_retain: Whole
    n_forget: Whole
    seconds_unlearn: float | None
    seconds_retrain: float | None
    seconds_mask: float | None


class PooledMetricResult(TypedDict):
    """The result of a metric that is computed from many runs."""

    labels: Labels
    runs: list[str]


class TheoryResult(TypedDict):
    """The result of the theory at one setting: a value per seed, by stage and name of the number."""

    seeds: list[Whole]
    epochs: list[Whole]
    final: dict[str, Numbers]
    pretrained: NotRequired[dict[str, Numbers]]
    retrained: NotRequired[dict[str, Numbers]]
    diverged_at: NotRequired[list[Whole | None]]


class SweepResult(TypedDict):
    """The result of a sweep; its settings and their numbers are arrays."""

    sweep: str
    boundaries: NotRequired[Table]


class TheoryClaimResult(TypedDict):
    """The result of a claim on the theory."""

    claim: str
    title: str
    seeds: Whole
    rows: Table
    answer: NotRequired[str]
    hypothesis: NotRequired[str]
    quantity: NotRequired[str]
    parts: NotRequired[Table]
    estimate: NotRequired[float | None]
    interval: NotRequired[Numbers]


class RowsResult(TypedDict):
    """The result of `repro theory alpha`: a row per rule."""

    rows: Table
    seeds: NotRequired[Whole]


class SettingTheoryResult(TypedDict):
    """The result of the theory at a network's setting; without departures it has curves."""

    departures: list[str]
    bridge: NotRequired[Whole]
    epochs: NotRequired[list[Whole]]
    metrics: NotRequired[list[str]]
    seeds: NotRequired[list[Whole] | Whole]


class DataTheoryResult(TypedDict):
    """The result of the theory on a network's own data."""

    epochs: list[Whole]
    metrics: list[str]
    seeds: NotRequired[list[Whole]]
    theory: dict[str, Any]


class Config(TypedDict, total=False):
    """The settings of a network run that figures read."""

    dataset: str
    model: str
    method: str
    rule: str
    pretrain: str
    difficulty: str
    seed: Whole
    metrics: list[str]


class Provenance(TypedDict, total=False):
    """How a record came to be."""

    study: str
    device: str
    finished: str
    seconds: float | None
    weights: dict[str, str | None]


NETWORKS = ("unlearn", "choice", "floor")
RESULTS: dict[str, Any] = {
    **dict.fromkeys(NETWORKS, NetworkResult),
    "theory": TheoryResult,
    "theory_sweep": SweepResult,
    **dict.fromkeys(("theory_claim", "theory_measurement"), TheoryClaimResult),
    "theory_alpha": RowsResult,
    "beside": SettingTheoryResult,
    "twin": DataTheoryResult,
}


def shape_fault(
    kind: str, status: str, config: Mapping[str, Any], result: Mapping[str, Any], provenance: Mapping[str, Any]
) -> str:
    """Return what is wrong with the first part of a record that is missing or of a wrong type; empty if none is."""
    pooled = PooledMetricResult if kind == "evaluation" and config.get("pooled") else dict[str, Any]
    types = {
        "config": (config, Config if kind in NETWORKS else dict[str, Any]),
        "provenance": (provenance, Provenance),
        # A run that failed has its error in place of numbers.
        "result": (result, dict[str, Any] if status == "failed" else RESULTS.get(kind, pooled)),
    }
    for name, (value, expected) in types.items():
        try:
            msgspec.convert(value, expected)
        except msgspec.ValidationError as error:
            return f"its {name}: {error}".replace("`", "")
    if kind in (*NETWORKS, "evaluation"):
        return _number_fault(result, status == "diverged")  # it has no accuracy, and nothing else
    return _ragged(result) if kind == "theory" and status != "failed" else ""


def _number_fault(result: Mapping[str, Any], null: bool) -> str:
    """Return what is wrong with the first wrong number of a metric; `null` says whether any of them may be null."""
    for name, value in result.items():
        if not (form := _form(name)):
            continue
        series, may_lack = form == "a list of numbers", null or form != "a number"
        whole = isinstance(value, list) or not series
        values: list[Any] = value if series and whole else [value]
        for one in values:  # without a call: records have a hundred thousand of these
            whole = whole and (may_lack if one is None else type(one) in NUMBERS and -LARGEST <= one <= LARGEST)
        if not whole:
            return f"its result: {name} = {str(value)[:40]!r}: must be {form}"
    return ""


@lru_cache(maxsize=4096)
def _form(name: str) -> str:
    """Return in words what a result of this name must hold; empty if it may be anything."""
    if NUMBER.fullmatch(name):
        return "a number" if ALWAYS.fullmatch(name) else "a number or null"
    return "a list of numbers" if SERIES.fullmatch(name) else ""


def _ragged(result: Mapping[str, Any]) -> str:
    """Return a line on the first number of a theory record that has not one value per seed; empty if there is none."""
    seeds = len(result["seeds"])
    stages = {"": {"diverged_at": result["diverged_at"]} if "diverged_at" in result else {}}
    stages |= {stage: result.get(stage, {}) for stage in ("final", "pretrained", "retrained")}
    wrong = [f"{stage} {name}" for stage, found in stages.items() for name, of in found.items() if len(of) != seeds]
    return f"its result: {wrong[0].strip()} has not {seeds} values, one a seed" if wrong else ""
