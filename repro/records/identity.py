"""What makes two runs the same: a config as canonical JSON, and its sha256. Seeds come from hashes too."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

# Part of every identity: raise it when the same config starts to mean another computation.
SCHEMA = 1


def plain(obj: Any) -> Any:
    """Turn dataclasses, tuples and numpy scalars into JSON values; a dataclass carries its class name as `type`."""
    if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        fields = {field.name: plain(getattr(obj, field.name)) for field in dataclasses.fields(obj)}
        return {"type": type(obj).__name__, **fields}
    if isinstance(obj, Mapping):
        return {str(key): plain(value) for key, value in obj.items()}
    if isinstance(obj, list | tuple):
        return [plain(item) for item in obj]
    to_list = getattr(obj, "tolist", None)  # numpy scalars and arrays, without importing numpy
    return to_list() if callable(to_list) else obj


def canonical_json(obj: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(plain(obj), sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(obj: Any, length: int = 16) -> str:
    """Return the first `length` hex digits of the sha256 of the canonical JSON of `obj`."""
    return hashlib.sha256(canonical_json(obj).encode()).hexdigest()[:length]


def derive_seed(root: int, *names: Any) -> int:
    """Derive an independent seed in [0, 2**63) from a root seed and names, so that no two uses share a stream."""
    return int(digest([root, *names], 16), 16) >> 1
