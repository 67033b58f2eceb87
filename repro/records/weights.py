"""One stage id, one set of weights: an id says how a model is trained, a checksum says which weights that gave.

The same id can have two checksums: the last digits of a training depend on the processor and its vector instructions,
the number of threads, and the versions of torch and of this code. Runs on different weights are not compared.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from repro.base.errors import IntegrityError
from repro.records.record import Record

OF = "_checksum"  # follows the name of a stage among the parents of a run
REMEDY = "run all of them again in one store, with `--set portable=true` if several machines share the work"


def same_weights(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two runs have the same stages as parents, and no checksum that both state differs.

    Older runs state no checksums; an unknown checksum counts as the same.
    """
    unlike = {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}
    known = one.get, other.get
    return all(name.endswith(OF) and None in (get(name) for get in known) for name in unlike)


def known_weights(parents: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield id and checksum of every stage among a run's parents that has a known checksum."""
    for name, checksum in parents.items():
        if name.endswith(OF) and checksum:
            yield str(parents.get(name.removesuffix(OF))), str(checksum)


def two_weights(records: Iterable[Record]) -> dict[str, tuple[str, list[str]]]:
    """Return the stages with more than one checksum, by id: a line that says so, and the ids of their runs."""
    found: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for record in records:
        for stage, checksum in known_weights(record.result.get("parents") or {}):
            found[stage].setdefault(checksum, []).append(record.run_id)
    several = {stage: by for stage, by in found.items() if len(by) > 1}
    return {stage: (_line(stage, by), sorted({one for runs in by.values() for one in runs}))
            for stage, by in several.items()}  # fmt: skip


def require_one_set(records: Iterable[Record], where: str) -> None:
    """Refuse runs that stand on two sets of weights of one stage.

    Raises:
        IntegrityError: naming the stage, its checksums, the runs and the remedy.
    """
    lines = [line for line, _ in two_weights(records).values()]
    if lines:
        more = f" (and {len(lines) - 1} stages more)" if len(lines) > 1 else ""
        raise IntegrityError(f"{where}: {lines[0]}{more}")


def _line(stage: str, by_checksum: Mapping[str, list[str]]) -> str:
    parts = [f"{one} (runs {', '.join(runs[:3])}{', ...' if len(runs) > 3 else ''})"
             for one, runs in sorted(by_checksum.items())]  # fmt: skip
    return f"stage {stage} has {len(parts)} sets of weights, {' and '.join(parts)}; {REMEDY}"
