"""The report's tables of results by run, and of the machines and versions behind them."""

from collections import Counter
from typing import Any

from figures.records import Records
from figures.table import interval, unlearn_table
from repro.records.record import Record

MOST = 600  # rows of a table in the page
THEORY = ("signal_strength", "pretrain", "unlearn", "method", "d", "n", "alpha", "rho_scale", "epochs")
THEORY_NUMBERS = ("test_error", "forget_error", "retain_error", "kappa_retain", "zeta_forget")
NETWORK = ("study", "dataset", "model", "method", "pretrain", "rule", "difficulty", "alpha", "seed", "status")
NETWORK_NUMBERS = ("tow", "retain_accuracy", "forget_accuracy", "test_accuracy")


def theory_results(records: Records) -> dict[str, Any]:
    """Return one row a theory cell: its setting, and each final number as `mean ± standard deviation (seeds)`."""
    cells = records.of("theory")
    cells.sort(key=lambda cell: [str(cell.config.get(name)) for name in THEORY])
    rows = [{"cells": [cell.config.get(name) for name in THEORY] + [_spread(cell, name) for name in THEORY_NUMBERS],
             "run": cell.run_id} for cell in cells[:MOST]]  # fmt: skip
    columns = [*THEORY, *THEORY_NUMBERS, "record"]
    return {"name": "Theory cells (after unlearning)", "columns": columns, "rows": rows, "total": len(cells)}


def network_results(records: Records) -> dict[str, Any]:
    """Return one row a network run; its spread over seeds is in the tables, for a run has one seed."""
    table = unlearn_table(records.of("unlearn"))
    columns = [name for name in (*NETWORK, *NETWORK_NUMBERS) if name in table]
    table = table.sort_values([name for name in NETWORK if name in table])
    rows = [{"cells": [_text(row[name]) for name in columns], "run": row["run_id"]}
            for _, row in table.head(MOST).iterrows()]  # fmt: skip
    return {"name": "Network runs (one training seed each)", "columns": [*columns, "record"], "rows": rows,
            "total": len(table)}  # fmt: skip


def environment(records: Records) -> list[tuple[str, str]]:
    """Return (setting, values with the number of records) for versions, devices, systems and code."""
    found: dict[str, Counter[str]] = {}
    for record in records.all:
        for name, value in _environment(record.provenance).items():
            found.setdefault(name, Counter())[value] += 1
    return [(name, ", ".join(f"{value} ({count})" for value, count in sorted(counts.items())))
            for name, counts in sorted(found.items())]  # fmt: skip


def _environment(provenance: dict[str, Any]) -> dict[str, str]:
    flat = {"device": provenance.get("device"), "code": (provenance.get("git") or {}).get("commit")}
    flat |= {f"version of {name}": value for name, value in (provenance.get("versions") or {}).items()}
    flat |= {f"machine: {name}": value for name, value in (provenance.get("machine") or {}).items()}
    return {name: str(value) for name, value in flat.items() if value}


def _spread(cell: Record, name: str) -> str:
    values = interval([value for value in cell.result["final"].get(name, ()) if value is not None])
    if not values["seeds"]:
        return "—"
    spread = f" ± {values['sd']:.3f}" if values["seeds"] > 1 else ""
    return f"{values['mean']:.3f}{spread} ({values['seeds']})"


def _text(value: Any) -> Any:
    if isinstance(value, float):
        return "—" if value != value else f"{value:.4g}"
    return value
