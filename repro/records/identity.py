"""What makes two runs the same: a config as canonical JSON, and its sha256. Seeds come from hashes too."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

SCALARS = (str, int, float, bool, type(None))
# Part of every identity: raise it when the same config starts to mean another computation, a changed default included.
# A dataclass of settings whose class has a VERSION takes that in too: raised, it makes only its own records anew.
SCHEMA = 2


def plain(obj: Any) -> Any:
    """Turn dataclasses, tuples and numpy scalars into JSON values; a dataclass carries its class name as `type`."""
    return _plain(obj, whole=True)


def identifying(obj: Any) -> Any:
    """Return the part of a value that its identity hashes, as JSON values.

    A dataclass field at its default is left out, so that a setting added later changes no identity; so is a field
    declared with `identifies=False`, which says what is measured or where, not what is computed.
    """
    return _plain(obj, whole=False)


def _plain(obj: Any, *, whole: bool) -> Any:
    # Most values are scalars: a call for each would take longer than everything else here.
    if type(obj) in SCALARS:
        return obj
    if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        version = None if whole else getattr(obj, "VERSION", None)
        found = {"type": type(obj).__name__} | ({} if version is None else {"VERSION": version})
        for name, identifies, default in _fields(type(obj)):
            value = getattr(obj, name)
            if whole or (identifies and value != (default() if callable(default) else default)):
                found[name] = value if type(value) in SCALARS else _plain(value, whole=whole)
        return found
    if isinstance(obj, Mapping):
        return {str(name): one if type(one) in SCALARS else _plain(one, whole=whole) for name, one in obj.items()}
    if isinstance(obj, list | tuple):
        return [one if type(one) in SCALARS else _plain(one, whole=whole) for one in obj]
    to_list = getattr(obj, "tolist", None)  # numpy scalars and arrays, without importing numpy
    return to_list() if callable(to_list) else obj


@cache
def _fields(cls: Any) -> list[tuple[str, bool, Any]]:
    """Return each field's name, whether it identifies, and its default or what makes that: no value equals MISSING."""
    return [(one.name, one.metadata.get("identifies", True),
             one.default if one.default_factory is dataclasses.MISSING else one.default_factory)
            for one in dataclasses.fields(cls)]  # fmt: skip


def canonical_json(obj: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, no NaN."""
    return _text(plain(obj))


def _text(values: Any) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(obj: Any, length: int = 16) -> str:
    """Return the first `length` hex digits of the sha256 of what identifies `obj`, as canonical JSON."""
    return hashlib.sha256(_text(identifying(obj)).encode()).hexdigest()[:length]


def derive_seed(root: int, *names: Any) -> int:
    """Derive an independent seed in [0, 2**63) from a root seed and names, so that no two uses share a stream."""
    return int(digest([root, *names], 16), 16) >> 1


def run_id(kind: str, config: Any, schema: int = SCHEMA) -> str:
    """Return the identity of a run: 16 hex digits of the sha256 of its kind, its config and the schema version."""
    return digest({"kind": kind, "schema": schema, "config": config})


def run_id_of_read(kind: str, identity: Mapping[str, Any], schema: int) -> str:
    """Return `run_id` of an identity that was read from JSON, whose values are plain already."""
    text = _text({"kind": kind, "schema": schema, "config": identity})
    return hashlib.sha256(text.encode()).hexdigest()[:16]
