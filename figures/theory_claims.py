"""The verdict records of the theory: one a claim, the one with most seeds."""

from figures.records import Records
from repro.records.record import Record


def claim_records(records: Records) -> dict[str, Record]:
    """Return claim identifier to its record; of several, the one with most seeds, then the lowest first seed."""
    rank = lambda record: (-record.result["seeds"], record.config.get("first_seed", 0), record.run_id)  # noqa: E731
    found: dict[str, Record] = {}
    for record in sorted(records.of("theory_claim"), key=rank):
        found.setdefault(record.result["claim"], record)
    return dict(sorted(found.items()))


def claim_command(name: str) -> str:
    """Return the command that checks a claim."""
    return f"repro theory claims {name}"


def estimate_text(record: Record) -> str:
    """Return a claim's central number with its 95 % interval and seeds, and what the number is."""
    result = record.result
    value, (low, high) = result["estimate"], result["interval"]
    if value is None:
        return "—"
    spread = "" if low is None else f" [{low:.3g}, {high:.3g}]"
    what = f" — {result['quantity']}" if result.get("quantity") else ""
    return f"{value:.3g}{spread} ({result['seeds']} seeds){what}"
