"""Grids of theory cells: cached per cell, resumable, parallel over cells, one Parquet table and one record a sweep."""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, product
from typing import Any

import numpy as np

from repro.records.errors import ConfigError
from repro.records.identity import plain, run_id
from repro.records.progress import track
from repro.records.provenance import collect
from repro.records.record import Record
from repro.records.settings import choose, nearest
from repro.records.store import Store
from theory.boundary import boundaries
from theory.clocks import default_clock, fixed_clock
from theory.config import TheoryConfig
from theory.engine import thread_count
from theory.sweep_cells import measure
from theory.sweep_config import SweepConfig

KIND, CELL_KIND = "theory_sweep", "theory_cell"
PRETRAINS = ({"pretrain": "sgd"}, {"pretrain": "sam"})
SGD, SAM, WEAK_SAM = ({"unlearn": "sgd"}, {"unlearn": "sam", "rho_scale": 1.0}, {"unlearn": "sam", "rho_scale": 0.1})
STRENGTHS = (0.1, 0.15, 0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0)


@dataclass(frozen=True)
class Sweep:
    """A grid: the product of its axes, its pretrainings and its rules.

    Attributes:
        axes: field of TheoryConfig to values.
        rules: changes that make each unlearning rule.
        pretrains: changes that make each pretraining.
        common: changes to every cell.
        matched: whether each cell is also measured where it reaches the forget level.
        clock: how learning rate and epochs follow d.
    """

    axes: dict[str, tuple]
    rules: tuple[dict[str, Any], ...] = (SGD, WEAK_SAM, SAM)
    pretrains: tuple[dict[str, Any], ...] = PRETRAINS
    common: dict[str, Any] = field(default_factory=dict)
    matched: bool = True
    clock: Callable[[TheoryConfig], TheoryConfig] = default_clock


SWEEPS = {
    "phase": Sweep(
        {"d": (500, 1000, 2000, 4000, 8000, 16000), "signal_strength": STRENGTHS},
        common={"alpha": 0.7, "epochs": 100, "checkpoint_every": 1000}, matched=False, clock=fixed_clock,
    ),
    "alpha": Sweep({"signal_strength": (0.5, 1.0, 2.0), "alpha": (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)}),
    "rho": Sweep(
        {"signal_strength": (0.25, 0.5, 1.0), "rho_scale": (0.0, 0.05, 0.1, 0.15, 0.3, 1.0)},
        rules=({"unlearn": "sam"}, {"unlearn": "retain_sam"}),
    ),
    "surplus": Sweep(
        {"signal_strength": (0.08, 0.16, 0.32, 0.63, 1.26, 2.53, 5.06), "epochs": (10, 100)},
        rules=(SGD, SAM), pretrains=({"pretrain": "sgd", "pretrain_epochs": 0}, *PRETRAINS), matched=False,
        common={"checkpoint_every": 1000},
    ),
    "activation": Sweep(
        {"signal_strength": (0.25, 0.5, 1.0, 2.0), "epochs": (0, 10), "probe_rho_scale": (0.1, 0.3, 1.0, 3.0)},
        rules=(SAM,), pretrains=({"pretrain": "sgd", "pretrain_epochs": 0}, *PRETRAINS), matched=False,
        common={"alpha": 0.7, "checkpoint_every": 1000},
    ),
    "minmax": Sweep(
        {"mask_fraction": (0.1, 0.25, 0.5, 0.75, 0.9), "mask_refresh": (0, 1, 5, 20, 50)},
        rules=({"unlearn": "minmax"},), pretrains=({"pretrain": "sam"}, {"pretrain": "sgd"}),
    ),
}  # fmt: skip


def run_sweep(name: str, config: SweepConfig, store: Store, *, base: TheoryConfig | None = None) -> Record:
    """Return the record of a sweep, running the cells the store does not have yet.

    The record's arrays are the columns of one table, a row a cell; the same table is written as Parquet to
    `<store>/sweeps/<run id>.parquet`. Interrupted, a sweep keeps its finished cells and goes on from there.

    Args:
        name: one of `SWEEPS`.
        config: seeds, and axis values that replace the sweep's own.
        store: where cells and the record are kept.
        base: settings that are neither an axis nor fixed by the sweep.

    Raises:
        ConfigError: for an unknown sweep or an axis it does not have.
    """
    sweep = _with_axes(choose("sweep", name, SWEEPS), config)
    base = replace(base or TheoryConfig(), seeds=config.seeds, first_seed=config.first_seed)
    identity = {"sweep": name, "axes": plain(sweep.axes), "base": plain(base), "cells": plain(_other(sweep))}
    found = store.find(KIND, identity)
    if found is None:
        store.ensure_writable()
        table = _table(_run_cells(sweep, base, store, name), sweep)
        result = {"sweep": name, "axes": plain(sweep.axes), "rows": len(table["test_error"]), "columns": list(table)}
        result["boundaries"] = boundaries(table) if name == "phase" else []
        found = store.save(KIND, identity, result=result, arrays=table, provenance=collect(study=f"sweep-{name}"))
    _write_parquet(found, store)
    return found


def cells_of(sweep: Sweep, base: TheoryConfig) -> list[TheoryConfig]:
    """Return every cell of a sweep, those that share a pretraining next to each other."""
    points = [dict(zip(sweep.axes, values, strict=True)) for values in product(*sweep.axes.values())]
    cells = [sweep.clock(base.changed(**(sweep.common | pretrain | rule | point)))
             for pretrain in sweep.pretrains for point in points for rule in sweep.rules]  # fmt: skip
    unique = dict.fromkeys(cells)
    return sorted(unique, key=lambda cell: run_id("key", cell.pretrain_key()))


def _with_axes(name: str, config: SweepConfig) -> Sweep:
    sweep, given = SWEEPS[name], config.given_axes()
    for axis in given:
        if axis not in sweep.axes:
            raise ConfigError(f"{axis}: sweep '{name}' has no such axis{nearest(axis, sweep.axes)}; "
                              f"it has {', '.join(sweep.axes)}")  # fmt: skip
    return replace(sweep, axes={axis: given.get(axis, values) for axis, values in sweep.axes.items()})


def _other(sweep: Sweep) -> dict[str, Any]:
    return {"rules": sweep.rules, "pretrains": sweep.pretrains, "common": sweep.common, "matched": sweep.matched,
            "clock": sweep.clock.__name__}  # fmt: skip


def _run_cells(sweep: Sweep, base: TheoryConfig, store: Store, name: str) -> list[Record]:
    """Run missing cells, a few pretrainings at a time, each batch saved before the next begins."""
    store = Store(store.root / "cells")  # a store of its own: hundreds of cells would bury the runs in a listing
    cells = cells_of(sweep, base)
    identities = {cell: {"cell": plain(cell), "matched": sweep.matched} for cell in cells}
    missing = [cell for cell in cells if store.find(CELL_KIND, identities[cell]) is None]
    batches = list(_batches(missing))
    for batch in track(batches, f"sweep {name}"):
        for cell, values in zip(batch, measure(batch, matched=sweep.matched), strict=True):
            store.save(CELL_KIND, identities[cell], result=values, provenance=collect(study=f"sweep-{name}"))
    return [record for cell in cells if (record := store.find(CELL_KIND, identities[cell]))]


def _batches(cells: Sequence[TheoryConfig]) -> Iterator[list[TheoryConfig]]:
    """Yield cells in batches of whole pretrainings, as many as there are threads."""
    groups = [list(group) for _, group in groupby(cells, key=TheoryConfig.pretrain_key)]
    size = thread_count()
    for i in range(0, len(groups), size):
        yield [cell for group in groups[i : i + size] for cell in group]


def _table(records: Sequence[Record], sweep: Sweep) -> dict[str, np.ndarray]:
    """Return columns: what each cell varies, then what it measured; NaN where a cell has no value."""
    labels = ["d", "n", "signal_strength", "pretrain", "pretrain_epochs", "unlearn", "rho_scale", "alpha", "epochs"]
    labels += [axis for axis in sweep.axes if axis not in labels]
    columns = {name: np.array([record.config["cell"][name] for record in records]) for name in labels}
    for name in records[0].result:
        values = [record.result[name] for record in records]
        columns[name] = np.array([np.nan if value is None else value for value in values])
    return columns


def _write_parquet(record: Record, store: Store) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = store.root / "sweeps" / f"{record.run_id}.parquet"
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    pq.write_table(pa.table({name: pa.array(column) for name, column in record.arrays().items()}), buffer)
    partial = path.with_suffix(".partial")
    partial.write_bytes(buffer.getvalue())
    partial.replace(path)
