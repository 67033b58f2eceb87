"""The theory study: pretraining {SGD, SAM} x unlearning {SGD, SAM} as records, and the table that sums them up."""

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from repro.base.places import compiled_folder
from repro.records.provenance import collect
from repro.records.record import Record
from repro.records.store import Store
from theory.config import TheoryConfig
from theory.stats import mean_and_error, quadrature_error
from theory.trust import with_intervals

if TYPE_CHECKING:
    from theory.engine import Trajectory
    from theory.predict import Prediction

KIND = "theory"
CELLS = tuple((pretrain, unlearn) for pretrain in ("sgd", "sam") for unlearn in ("sgd", "sam"))
DIGITS = 7  # of the per-seed numbers in a record's result; its arrays keep every digit


def run_study(config: TheoryConfig, store: Store, *, cells: Sequence[tuple[str, str]] = CELLS) -> list[Record]:
    """Return the record of every pair of rules, simulating those the store does not have yet.

    Args:
        config: the setting, whose `pretrain` and `unlearn` are replaced.
        store: where records are kept.
        cells: (pretraining rule, unlearning rule) pairs.
    """
    configs = [replace(config, pretrain=pretrain, unlearn=unlearn) for pretrain, unlearn in cells]
    missing = [cell for cell in configs if store.find(KIND, cell) is None]
    if missing:
        store.ensure_writable()
        _run(missing, store)
    return [record for cell in configs if (record := store.find(KIND, cell))]


def _run(configs: Sequence[TheoryConfig], store: Store) -> None:
    """Simulate settings together, so that they share pretraining, and write one record each."""
    from theory.engine import simulate_many
    from theory.plain_run import affordable, simulate_plainly
    from theory.predict import predict_many, unpredictable

    begin, plainly = time.perf_counter(), affordable(configs) and not is_compiled()
    trajectories = simulate_plainly(configs) if plainly else simulate_many(configs, description="theory")
    seconds = round((time.perf_counter() - begin) / len(configs), 3)
    predictable = [config for config in configs if not unpredictable(config)]
    predictions = dict(zip(predictable, predict_many(predictable, plainly=plainly), strict=True))
    for trajectory in trajectories:
        prediction = predictions.get(trajectory.config)
        _save(trajectory, prediction, store, collect(study="theory", seconds=seconds))


def is_compiled() -> bool:
    """Return whether machine code of the engine's step is kept here, so that running it costs no compiler.

    Code that was compiled from an older source, before an update, does not count: numba would compile it again.
    """
    folder = os.environ.get("NUMBA_CACHE_DIR") or compiled_folder() or Path(__file__).parent / "__pycache__"
    source = Path(__file__).with_name("dynamics.py").stat().st_mtime
    return any(kept.stat().st_mtime >= source for kept in Path(folder).rglob("dynamics._take_steps-*.nbi"))


def summarize(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return one row a setting: `<metric>` and `<metric>_se`, the mean and standard error over seeds, test error first.

    `test_error_quadrature` is the part of the test error's standard error that averaging over test points makes.

    A seed that diverged is left out of means and counted in `diverged`. `prediction` maps metrics to what theory
    predicts of them, with the intervals of `theory.trust`; it is empty in records made before there were predictions,
    and where the mean field says nothing.
    """
    return [_summary(record) for record in records]


def _summary(record: Record) -> dict[str, Any]:
    labels = ("pretrain", "unlearn", "method", "signal_strength", "alpha", "rho_scale", "epochs")
    row: dict[str, Any] = {name: record.config[name] for name in labels}
    row |= {"seeds": len(record.result["seeds"]), "status": record.status}
    row["diverged"] = sum(step is not None for step in record.result["diverged_at"])
    for name, values in record.result["final"].items():
        if name.endswith("_quadrature"):
            row[name] = quadrature_error(values)
        else:
            row[name], row[f"{name}_se"] = mean_and_error(values)
    predicted = record.result.get("prediction")
    row["prediction"] = with_intervals(record.config, predicted)["final"] if predicted else {}
    return row | {"run_id": record.run_id, "source": record.source}


def _save(
    trajectory: "Trajectory", prediction: "Prediction | None", store: Store, provenance: dict[str, Any]
) -> Record:
    """Write a record; figures find the prediction in it, so that they need no theory code."""
    from theory.predict import as_arrays, as_result

    arrays = {f"trajectory_{name}": values for name, values in trajectory.metrics.items()}
    arrays |= {f"pretrain_trajectory_{name}": values for name, values in trajectory.pretrain.items()}
    arrays["pretrain_epochs"] = trajectory.pretrain_epochs
    result = {
        "seeds": trajectory.seeds.tolist(),
        "epochs": trajectory.epochs.tolist(),
        "final": {name: _values(values[:, -1]) for name, values in trajectory.metrics.items()},
        "pretrained": {name: _values(values[:, -1]) for name, values in trajectory.pretrain.items()},
        "retrained": {name: _values(values) for name, values in trajectory.retrained.items()},
        "stopped_at": _steps(trajectory.stopped_at),
        "diverged_at": _steps(trajectory.diverged_at),
    }
    if prediction is not None:
        arrays |= as_arrays(prediction)
        result["prediction"] = as_result(prediction)
    return store.save(
        KIND, trajectory.config, result=result, status=trajectory.status, arrays=arrays, provenance=provenance
    )


def _values(values: np.ndarray) -> list[float | None]:
    return [float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None for value in values]


def _steps(values: np.ndarray) -> list[int | None]:
    return [int(value) if value >= 0 else None for value in values]
