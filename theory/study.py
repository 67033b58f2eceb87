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
from theory.checks.trust import with_intervals
from theory.config import TheoryConfig
from theory.stats import mean_and_error, quadrature_error

if TYPE_CHECKING:
    from theory.engine import Trajectory
    from theory.predict import Prediction

KIND = "theory"
RULE_PAIRS = tuple((pretrain, unlearn) for pretrain in ("sgd", "sam") for unlearn in ("sgd", "sam"))
DIGITS = 7  # of the per-seed numbers in a record's result; its arrays keep every digit


def run_study(config: TheoryConfig, store: Store, *, pairs: Sequence[tuple[str, str]] = RULE_PAIRS) -> list[Record]:
    """Return the record of every pair of rules, simulating those the store does not have yet.

    Args:
        config: the setting, whose `pretrain` and `unlearn` are replaced.
        store: where records are written.
        pairs: (pretraining rule, unlearning rule) pairs.
    """
    configs = [replace(config, pretrain=pretrain, unlearn=unlearn) for pretrain, unlearn in pairs]
    missing = [setting for setting in configs if store.find(KIND, setting) is None]
    if missing:
        store.ensure_writable()
        _run(missing, store)
    return [record for setting in configs if (record := store.find(KIND, setting))]


def _run(configs: Sequence[TheoryConfig], store: Store) -> None:
    """Simulate settings together, so that they share pretraining, and write a record for each."""
    from theory.engine import simulate_many
    from theory.predict import predict_many, unpredictable
    from theory.steps.plain_run import affordable, simulate_plainly

    begin, plainly = time.perf_counter(), affordable(configs) and not is_compiled()
    trajectories = simulate_plainly(configs) if plainly else simulate_many(configs, description="theory")
    seconds = round((time.perf_counter() - begin) / len(configs), 3)
    predictable = [config for config in configs if not unpredictable(config)]
    predictions = dict(zip(predictable, predict_many(predictable, plainly=plainly), strict=True))
    for trajectory in trajectories:
        prediction = predictions.get(trajectory.config)
        _save(trajectory, prediction, store, collect(study="theory", seconds=seconds))


def is_compiled() -> bool:
    """Return whether the machine code of the engine's step is stored, so that nothing has to be compiled.

    Code that was compiled from an older source, before an update, does not count: numba would compile it again.
    """
    source = Path(__file__).parent / "steps" / "dynamics.py"
    folder = os.environ.get("NUMBA_CACHE_DIR") or compiled_folder() or source.parent / "__pycache__"
    changed = source.stat().st_mtime
    return any(code.stat().st_mtime >= changed for code in Path(folder).rglob("dynamics._take_steps-*.nbi"))


def summarize(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return one row for each setting: `<metric>` and `<metric>_se`, mean and standard error over seeds, test error
    first.

    `test_error_quadrature` is the part of the test error's standard error that comes from averaging over test points.

    A seed that diverged is left out of means and counted in `diverged`. `prediction` maps metrics to their predicted
    values, with the intervals of `theory.checks.trust`. It is empty in old records, and if the mean field does not
    cover the setting.
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
