"""`repro records export`: a study as flat tables for pandas, R and DuckDB, and what each column means."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from empirical.settings.run_config import RunConfig
from repro import __version__
from repro.base.errors import IntegrityError, MissingDataError
from repro.base.glossary import describe, whose
from repro.base.outputs import csv_bytes, write_outputs
from repro.base.settings import range_text
from repro.records.published import Published
from repro.records.record import Record
from repro.records.store import Store
from repro.study.study import named_studies
from repro.study.table import comparable, facts_of, flat_settings, row_of
from repro.terminal.output import DEFAULT_STORE, ForceOption, StoreOption, say
from theory.config import SweepConfig, TheoryConfig

IDENTITY = {
    "run_id": "identity of the run: 16 hex digits of the sha256 of its settings",
    "kind": "what sort of run",
    "status": "ok, diverged or failed",
    "study": "the study it belongs to",
    "source": "the store or the published study it was read from",
    "finished": "when it ended, UTC",
    "seconds": "how long it took, in seconds",
    "device": "what it was computed on",
    "forget_set": "identity of the forget set: a digest of its rows",
}
SETTINGS = {field.name: field for cls in (SweepConfig, TheoryConfig, RunConfig) for field in dataclasses.fields(cls)}
Row = dict[str, Any]


def export(
    study: Annotated[str, typer.Argument(help="A study, such as digits, or its recipe file.")],
    to: Annotated[Path, typer.Option("--to", help="Folder for the tables.")],
    force: ForceOption = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write a study as Parquet and CSV, one row for each run, with a data dictionary.

    A file that it did not write itself is replaced with --force only.
    """
    import pandas as pd

    found = study_records(study, Store(store), Published())
    tables = {
        kind: pd.DataFrame([row for record in records for row in export_rows(record)]).convert_dtypes()
        for kind, records in found.items()
    }
    columns = [(kind, str(column)) for kind, table in tables.items() for column in table.columns]
    dictionary = [{"table": kind, **_meaning(column)} for kind, column in columns]
    files = {f"{kind}.parquet": table.to_parquet(index=False) for kind, table in tables.items()}
    files |= {f"{kind}.csv": csv_bytes(table) for kind, table in tables.items()}
    files |= {"dictionary.csv": csv_bytes(pd.DataFrame(dictionary)), "README.md": _readme(study, list(found)).encode()}
    write_outputs(to, files, force=force)
    for kind, table in tables.items():
        say(f"{to / kind}.parquet (also .csv): {len(table)} rows, {len(table.columns)} columns")
    say(f"{to / 'dictionary.csv'}: name, unit, range and meaning of every column")


def study_records(name: str, store: Store, published: Published) -> dict[str, list[Record]]:
    """Return a study's records by kind, from the store where it is complete there, else as they are published.

    Raises:
        ConfigError: for a name that no study has, with the nearest one.
        MissingDataError: when it has no records.
    """
    (study,) = named_studies([name], store, published)
    found: dict[str, list[Record]] = {}
    for record in comparable(study.records(study.source(store, published))):
        found.setdefault(record.kind, []).append(record)
    if not found:
        raise MissingDataError(f"study = {study.name!r}: no records; {study.command}")
    return found


def export_rows(record: Record) -> list[Row]:
    """Return the rows of a record: one, or one for each seed of the theory, sweep setting, rule of `theory alpha`."""
    if record.kind == "theory_sweep":
        columns = record.arrays()
        rows = zip(*(values.tolist() for values in columns.values()), strict=True)
        return [facts_of(record) | dict(zip(columns, row, strict=True)) for row in rows]
    if record.kind == "theory":
        same = facts_of(record) | flat_settings(record.config)
        return [same | {"seed": seed} | final for seed, final in _theory_rows(record.result)]
    if record.kind == "theory_alpha":
        return [facts_of(record) | flat_settings(record.config) | row for row in record.result["rows"]]
    return [row_of(record)]


def _theory_rows(result: Mapping[str, Any]) -> Iterable[tuple[int, Row]]:
    for place, seed in enumerate(result["seeds"]):
        row: Row = {"diverged_at": result["diverged_at"][place]}
        for stage, prefix in (("final", ""), ("pretrained", "pretrained_"), ("retrained", "retrained_")):
            row |= {f"{prefix}{name}": values[place] for name, values in result.get(stage, {}).items()}
        yield seed, row


def _meaning(column: str) -> Row:
    """Return what a column is; of a number that only an installed package knows, whose it is."""
    try:
        return meaning(column)
    except IntegrityError:
        said = "a number of a metric that another package adds: its documentation says what it means"
        return {"column": column, "role": "metric", "unit": "", "range": "", "meaning": said}


def meaning(column: str) -> Row:
    """Return what a column is.

    Raises:
        IntegrityError: when nobody has said.
    """
    if column in IDENTITY:
        return {"column": column, "role": "identity", "unit": "", "range": "", "meaning": IDENTITY[column]}
    ending = next((one for one in ENDINGS if column.endswith(one)), "")
    base, setting = column.removesuffix(ending), column.removeprefix("cell_")
    if setting in SETTINGS:
        limits = SETTINGS[setting].metadata
        return {"column": column, "role": "setting", "unit": limits.get("unit", ""), "range": range_text(limits),
                "meaning": limits.get("help", "")}  # fmt: skip
    term = describe(base)
    if term is not None:
        said = " ".join(filter(None, (term.meaning.rstrip("."), whose(base)))) + (
            f": {term.formula}" if term.formula else ""
        )
        said = ENDINGS.get(ending, "") + said
        return {"column": column, "role": "metric", "unit": term.unit, "range": term.range, "meaning": said}
    if column in OTHERS or column.partition("_")[0] in ("base", "cells", "axes", "labels", "settings"):
        text = OTHERS.get(column, "part of the settings of a sweep or of a pooled metric")
        return {"column": column, "role": "setting", "unit": "", "range": "", "meaning": text}
    raise IntegrityError(f"column {column}: is not in the glossary; its metric should say what it means")


ENDINGS = {
    "_se": "standard error over seeds of: ",
    "_interval_low": "lower end of the interval of: ", "_interval_high": "upper end of the interval of: ",
}  # fmt: skip
OTHERS = {
    "benchmark": "what was timed", "cases": "networks and rules that a benchmark timed",
    "accuracy": "data set on which a benchmark compared test accuracies too",
    "images": "images of a benchmark", "tests": "test images of a benchmark",
    "readers": "processes that decoded images", "rounds": "turns that each way of reading took",
    "classes": "classes of a benchmark", "limit": "images a second that decoding alone allows",
    "plain": "images a second of a plain ImageFolder in a DataLoader", "ours": "images a second that were handed over",
    "ready": "images a second that were normalized too", "ratio": "median of `ours` over `plain`",
    "ratio_ready": "median of `ready` over `plain`", "peak_bytes": "most memory the process held",
    "peak_bytes_before": "the same before any model answered", "logits_bytes": "what the logits of all models take",
    "answer_seconds": "time the made-up models took to answer", "save_seconds": "time to write a finished setting",
    "bytes_a_cell": "what a finished setting takes on the disk", "cold": "whether the code was compiled anew too",
    "repeats": "how often each command was timed", "processes": "processes that shared the work",
    "speedup": "median time of one process over that of several", "goal": "the speed-up that was aimed at",
    "free_speedup": "the same with a core each, by the system's account", "cores": "cores of the machine",
    "load_before": "load of the machine before", "equal_records": "whether both made the same records, times aside",
    "dgemm_gflops": "what BLAS multiplies on one core", "logistic_ns": "time of one logistic function",
    "spread_over_d": "longest over shortest step as d alone grows",
    "bridge": "version of what the theory can express of a network; departures of another are looked at again",
    "choice": "where the best value of a search stands in its grid", "steps": "steps of a timed run",
    "data_digest": "digest of the files the images were read from",
    "claim": "identifier of the claim", "change": "what would change the answer",
    "answer": "what the records say of the claim, inside its hypothesis", "hypothesis": "where the claim is made",
    "beyond": "what the same measurements say beyond the hypothesis",
    "interval_low": "lower end of the estimate's interval", "interval_high": "upper end of the estimate's interval",
    "predicted": "smallest benign alpha by prediction; 0 where every alpha is benign, empty where none is",
    "simulated": "the same by bisection in simulation",
    "level": "mean test error up to which an alpha is benign", "tolerance": "distance at which bisection ends",
    "sentence": "what a reader may quote of the claim", "network": "settings of the network in a comparison",
    "command": "what computes it again", "quantity": "what is estimated",
    "regime": "where the claim holds", "statement": "the claim", "title": "its short name",
    "verdict": "the answer in older words", "resampled": "what the intervals of pooled runs resample",
    "metric": "the metric that pools runs", "version": "version of the metric", "pooled": "whether it pools runs",
    "stages_original": "stages pooled", "stages_retrained": "stages pooled", "stages_unlearned": "stages pooled",
    "settings": "settings of the metric", "needs": "evaluations whose numbers it reads", "sweep": "name of the sweep",
    "fraction": "share of the images in a subset", "scores": "scores a claim or a file holds",
    "n": "training samples, or scores", "mean": "mean memorization score", "median": "median memorization score",
    "mean_standard_error": "mean standard error of a score", "quartile_low": "lower quartile of the scores",
    "quartile_high": "upper quartile of the scores", "rank_agreement": "rank correlation of two halves of the models",
    "inside_accuracy": "accuracy on images a model saw", "outside_accuracy": "accuracy on images it did not see",
    "reliability": "split-half reliability of the scores", "ties": "share of images in a tie",
    "unknown": "images without a score", "dataset": "data set",
    "error": "what ended a failed run", "traceback": "where in the code it ended",
}  # fmt: skip


def _readme(study: str, kinds: Sequence[str]) -> str:
    first = kinds[0]
    return f"""# {study}

Written by sharpness-aware-unlearning {__version__}: one row a run (a seed of theory, a setting of a sweep),
settings and numbers as columns. `dictionary.csv` says what each column is.

    pandas   pd.read_parquet("{first}.parquet")
    DuckDB   SELECT * FROM '{first}.parquet'

Tables: {", ".join(kinds)}. Accuracies are shares in [0, 1]; a number without a model in front is the unlearned model's.
"""  # nosec B608 - an example for a reader; nothing is queried
