"""Upkeep of a store: what interrupted work left behind, which nobody needs any longer."""

import re
import time
from contextlib import suppress
from pathlib import Path

from repro.base.errors import IntegrityError, MissingDataError
from repro.base.files import has_ended, host_tag
from repro.records.folder import IDENTITY, read_marker
from repro.records.stages import Checkpoints
from repro.records.store import MARK, MARKERS, SHARED, Store

# A temporary file of `replace_file` or a probe: our file name, then machine (absent in old stores) and process number.
TEMPORARY = re.compile(
    r"\.(?:probe|time|\.repro-store|report\.html|index\.jsonl|epochs\.jsonl|arrays\.npz|weights\.safetensors"
    r"|(?:result|config|provenance|evaluations)\.json|[0-9a-f]+\.(?:json|parquet|sealed))"
    r"(?:\.([0-9a-f]{8}))?\.(\d+)"
)


def leftovers(store: Store) -> list[Path]:
    """Return files nobody needs: temporary files and leases of dead processes, checkpoints of finished stages.

    Older versions also left locks.

    Raises:
        MissingDataError: if the folder is no store.
    """
    require_store(store)
    return _left(store)


def _left(store: Store) -> list[Path]:
    old = time.time() - 3600
    dead = [path for path in store.root.glob("**/.*.*") if TEMPORARY.fullmatch(path.name) and _orphan(path, old)]
    stages = (path for path in store.root.glob("checkpoints/*") if store.stages.find(path.name) is not None)
    done = [path for path in stages if Checkpoints(path).files()]
    locks = [path for path in store.root.glob("locks/*.lock") if path.stat().st_mtime < old]
    within = [path for one in store.within() for path in _left(one)]
    return sorted({*dead, *done, *locks, *store.leases.left_behind(), *within})


def tidy_store(store: Store) -> list[Path]:
    """Remove the leftovers and return what was removed."""
    found = leftovers(store)
    for path in found:
        with suppress(OSError):
            Checkpoints(path).clear() if path.is_dir() else path.unlink()
    return found


def require_store(store: Store) -> None:
    """Raise `MissingDataError` if the folder holds something but is no store, before anything in it is removed.

    Older stores have no mark; they are known by a finished run or model.
    """
    markers = (path for place in MARKERS for root in (store.root, store.root / SHARED) for path in root.glob(place))
    if not ((store.root / MARK).is_file() or any(map(_is_marker, markers)) or not any(store.root.glob("*"))):
        raise MissingDataError(f"store = {str(store.root)!r}: no store of runs; name the folder that your runs are in")


def _is_marker(path: Path) -> bool:
    with suppress(IntegrityError):
        return bool(IDENTITY.fullmatch(path.parent.name) and read_marker(path))
    return False


def _orphan(path: Path, old: float) -> bool:
    """Return whether the writer of a temporary file is gone; on another machine it counts as gone after an hour."""
    match = TEMPORARY.fullmatch(path.name)
    host, number = match.groups() if match else ("", "0")
    try:
        return path.stat().st_mtime < old or (host in (None, host_tag()) and has_ended(number))
    except OSError:
        return False
