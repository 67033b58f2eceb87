"""Where test error crosses 0.1 in a phase sweep: the signal norm at each dimension, and its exponent in d."""

from typing import Any

import numpy as np

from theory.config import TheoryConfig
from theory.stats import crossing, slope


def boundaries(table: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Return |phi*| against d and its exponent, before and after unlearning, for each pretraining and rule."""
    rows = []
    keys = sorted(set(zip(table["pretrain"].tolist(), table["unlearn"].tolist(), table["rho_scale"].tolist(),
                          strict=True)))  # fmt: skip
    for stage, metric in {"pretrained": "pretrained_test_error", "unlearned": "test_error"}.items():
        for pretrain, unlearn, rho in keys:
            chosen = (table["pretrain"] == pretrain) & (table["unlearn"] == unlearn) & (table["rho_scale"] == rho)
            row = {"stage": stage, "pretrain": pretrain, "unlearn": unlearn, "rho_scale": rho}
            rows.append(row | _boundary({name: column[chosen] for name, column in table.items()}, metric))
    return rows


def _boundary(cells: dict[str, np.ndarray], metric: str) -> dict[str, Any]:
    sizes = np.unique(cells["d"])
    norms = np.array([_crossing_norm({name: column[cells["d"] == d] for name, column in cells.items()}, metric)
                      for d in sizes])  # fmt: skip
    exponent = slope(np.log(sizes), np.log(norms))
    return {"d": sizes.tolist(), "boundary": [float(x) if np.isfinite(x) else None for x in norms],
            "exponent": exponent if np.isfinite(exponent) else None}  # fmt: skip


def _crossing_norm(cells: dict[str, np.ndarray], metric: str) -> float:
    order = np.argsort(cells["signal_strength"])
    strength = crossing(cells["signal_strength"][order], cells[metric][order])
    config = TheoryConfig(d=int(cells["d"][0]), n=int(cells["n"][0]), n_forget=1)
    return strength * config.signal_unit
