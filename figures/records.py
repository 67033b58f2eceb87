"""What a figure is handed: every record of the readers, by kind, and the one comparable setting among them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from repro.records.identity import canonical_json, digest
from repro.records.record import Reader, Record, read_records

REPEATS = ("seeds", "first_seed", "seed", "unlearn_seed", "directions")


class Records:
    """The records of several readers, read once.

    Args:
        readers: the stores, own runs first.
        study: keep only the records of this study, where one is named.
        cache: folder for what is slow to compute and depends on records alone (embeddings), or None.
    """

    def __init__(self, readers: Iterable[Reader], study: str | None = None, *, cache: Path | None = None) -> None:
        found = read_records(readers)
        self.all = [record for record in found if study in (None, "", record.provenance.get("study"))]
        self.cache = cache

    def fingerprint(self) -> str:
        """Return a digest of every number a figure could read."""
        return digest(
            sorted([record.run_id, record.source, record.status, digest(record.result)] for record in self.all)
        )

    def of(self, kind: str) -> list[Record]:
        """Return the records of one kind, ordered by run id."""
        return sorted((record for record in self.all if record.kind == kind), key=lambda record: record.run_id)


def comparable(records: Sequence[Record], vary: Sequence[str], *, swept: str = "") -> list[Record]:
    """Return the largest set of records that differ in nothing but `vary` and their seeds.

    Curves of different settings must not share an axis unnoticed; of several sets the one with most cells is taken,
    then the one with most seeds. Of two records of one cell the one with more seeds stays.

    Args:
        records: runs of one kind.
        vary: names of the config fields that the figure shows.
        swept: a field of `vary`; the set with most of its values is taken, before any other criterion.
    """
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[setting_key(record, vary)].append(record)
    if not groups:
        return []
    rank = lambda key: (_cells(groups[key], (swept,)), _cells(groups[key], vary), _seeds(groups[key]), key)  # noqa: E731
    return groups[max(groups, key=rank)]


def setting_key(record: Record, vary: Sequence[str]) -> str:
    """Return everything of a config but `vary` and the seeds, as text."""
    return canonical_json({key: value for key, value in record.config.items() if key not in (*vary, *REPEATS)})


def cell_key(record: Record, vary: Sequence[str]) -> str:
    """Return the values of `vary` in a config, as text."""
    return canonical_json([record.config.get(name) for name in vary])


def best_of_each_cell(records: Iterable[Record], vary: Sequence[str]) -> list[Record]:
    """Return one record a cell: the one with most seeds (theory records hold all seeds of a cell)."""
    best: dict[str, Record] = {}
    for record in records:
        key = cell_key(record, vary)
        if key not in best or _seeds([record]) > _seeds([best[key]]):
            best[key] = record
    return list(best.values())


def _cells(records: Sequence[Record], vary: Sequence[str]) -> int:
    return len(Counter(cell_key(record, vary) for record in records))


def _seeds(records: Sequence[Record]) -> int:
    return sum(len(record.result.get("seeds", ())) if isinstance(record.result.get("seeds"), list) else 1
               for record in records)  # fmt: skip


def theory_cells(records: Records, vary: Sequence[str] = ("pretrain", "unlearn", "signal_strength")) -> list[Record]:
    """Return the theory cells of the one setting that holds most of them, one record a cell, in reading order."""
    cells = best_of_each_cell(comparable(records.of("theory"), vary), vary)
    return sorted(cells, key=lambda record: [str(record.config.get(name)) for name in vary])


def middle_strength(cells: Iterable[Record], wanted: float = 0.5) -> list[Record]:
    """Return the cells at the signal strength nearest to `wanted`, below SGD's boundary at about 0.93."""
    cells = list(cells)
    strengths = {record.config["signal_strength"] for record in cells}
    chosen = min(strengths, key=lambda strength: (abs(strength - wanted), strength), default=None)
    return [record for record in cells if record.config["signal_strength"] == chosen]


def describe_theory(record: Record) -> str:
    """Return the setting of a theory cell as one clause of a caption."""
    config = record.config
    names = ("d", "n", "n_forget", "m", "patches", "alpha", "rho_scale", "epochs")
    text = ", ".join(f"{name} = {config[name]:g}" for name in names if config.get(name) is not None)
    return f"s = {config['signal_strength']:g}, {text}, method {config.get('method', 'neggrad')}"


def seed_counts(cells: Iterable[Record]) -> str:
    """Return "20" or "10-20": the seeds of the cells."""
    counts = sorted({len(record.result["seeds"]) for record in cells})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"
