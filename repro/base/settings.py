"""Definition of a setting; its validation, command-line option and documentation follow from it."""

import dataclasses
import difflib
import math
import re
import types
import typing
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from typing import Any, TypeVar

from repro.base.errors import ConfigError

T = TypeVar("T")
LARGEST = 2**63 - 1
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def setting(default: Any, help: str, **limits: Any) -> Any:
    """Return a dataclass field with a meaning and an allowed range.

    Args:
        default: the default value.
        help: one sentence for `--help` and the documentation.
        **limits: any of `symbol` and `unit` (text); `low` and `high` (closed bounds); `open_low` and `open_high`
            (make a bound strict); `choices` (the allowed values); `odd` (odd whole numbers only);
            `identifies=False` (not part of a run's id).
    """
    return dataclasses.field(default=default, metadata=limits_of(help, **limits))


def limits_of(help: str, **limits: Any) -> dict[str, Any]:
    """Return the metadata of a setting, with the arguments of `setting`; metrics annotate their own with it."""
    unknown = set(limits) - {"symbol", "unit", "low", "high", "open_low", "open_high", "choices", "odd", "identifies"}
    if unknown:
        raise TypeError(f"a setting has no limits {sorted(unknown)}")
    return {"help": help, **limits}


def nearest(name: str, options: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` for the closest option, or an empty string."""
    match = difflib.get_close_matches(str(name), list(options), n=1, cutoff=0.5)
    return f" (did you mean '{match[0]}'?)" if match else ""


def check_limit(seconds: float | None) -> None:
    """Check a time limit in seconds; None is no limit.

    Raises:
        ConfigError: when it is not > 0 and finite.
    """
    if seconds is not None and not 0 < seconds < math.inf:
        raise reject("max_seconds", seconds, "> 0, a finite number")


def reject(field: str, value: Any, allowed: str, remedy: str = "") -> ConfigError:
    """Build the one-line error for a bad value: field, value, allowed range and, if given, the remedy."""
    shown = repr(value)
    shown = shown if len(shown) <= 200 else shown[:197] + "..."
    return ConfigError(f"{field} = {shown}: must be {allowed}{'; ' + remedy if remedy else ''}")


def file_name(field: str, name: str) -> str:
    """Return `name` if it is a valid file name; every name from a record, a recipe or a user is checked here.

    Raises:
        ConfigError: for a path, a hidden file, or a name that a file system would not take.
    """
    if not FILE_NAME.fullmatch(name):
        raise reject(field, name, "letters, digits, dots, dashes and underscores, at most 100, no path")
    return name


def refuse_cost(field: str, value: Any, cost: float, most: float, *, unit: str) -> None:
    """Raise `ConfigError` with the estimated cost if a setting costs too much, before anything is allocated.

    Args:
        field, value: the setting.
        cost: its estimated cost, in `unit`; most: the largest allowed cost.
    """
    if not cost <= most:
        shown = f"{value!r}" if len(repr(value)) < 30 else f"a number of {len(repr(value))} digits"
        raise ConfigError(f"{field} = {shown}: would take about {cost:.2g} {unit}; the limit is {most:.2g}")


def choose(field: str, name: str, options: Iterable[str]) -> str:
    """Return `name` if it is one of `options`; otherwise raise `ConfigError` naming the nearest one."""
    options = list(options)
    if name not in options:
        raise reject(field, name, f"one of {', '.join(options)}{nearest(name[:100], options)}")
    return name


def named_once(field: str, settings: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return (name, value) pairs as a mapping; `ConfigError` if a name repeats."""
    found: dict[str, Any] = {}
    for name, value in settings:
        if name in found:
            first = f"{name} = {found[name]!r} is given too"
            raise reject(field, f"{name}={value}", "the only value of its setting", first)
        found[name] = value
    return found


def range_text(limits: Mapping[str, Any]) -> str:
    """Return the allowed range of a setting as text, such as `in [0, 1]`, or an empty string when unbounded."""
    low, high = limits.get("low"), limits.get("high")
    if limits.get("odd"):
        return ", ".join(filter(None, ("odd", range_text({**limits, "odd": False}))))
    if low is None and high is None:
        return ""
    if high is None:
        return f"{'>' if limits.get('open_low') else '>='} {low}"
    if low is None:
        return f"{'<' if limits.get('open_high') else '<='} {high}"
    return f"in {'(' if limits.get('open_low') else '['}{low}, {high}{')' if limits.get('open_high') else ']'}"


@cache
def hints(cls: type) -> dict[str, Any]:
    """Return the resolved type annotations of a dataclass."""
    return typing.get_type_hints(cls)


def check(config: Any) -> None:
    """Validate a frozen dataclass in its `__post_init__`: coerce ints to floats and lists to tuples, check limits.

    Raises:
        ConfigError: naming field, value, allowed range and the nearest allowed value.
    """
    cls, values = type(config), vars(config)
    for name in _rules(cls):
        value = values[name]
        scalar = value is None or isinstance(value, SCALARS)  # 1, 1.0 and True are equal, but not the same setting
        right = _right_again(cls, name, type(value), value) if scalar else _right(cls, name, value)
        if right is not value:
            object.__setattr__(config, name, right)


SCALARS = (str, int, float)


def _right(cls: type, name: str, value: Any) -> Any:
    """Return the value of a field, converted to its type and checked against its limits."""
    annotation, limits = _rules(cls)[name]
    if type(value) is not annotation:
        value = _coerce(name, value, annotation)
    if limits or annotation in (float, int):
        for one in value if isinstance(value, tuple) else (value,):
            _check_limits(name, one, limits)
    return value + 0.0 if type(value) is float else value  # -0.0 becomes 0.0: the same setting


@lru_cache(maxsize=1 << 16)
def _right_again(cls: type, name: str, _kind: type, value: Any) -> Any:
    """Return `_right` from a cache: the thousands of configs of a study hold the same few values."""
    return _right(cls, name, value)


@cache
def _rules(cls: type) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Return the type and the limits of every field, by name."""
    bounds = ("low", "high", "open_low", "open_high", "choices", "odd")
    found = {}
    for field in dataclasses.fields(cls):
        limits = {name: field.metadata[name] for name in bounds if field.metadata.get(name) is not None}
        found[field.name] = (hints(cls)[field.name], limits)
    return found


def build(cls: type[T], mapping: Mapping[str, Any], *, where: str = "") -> T:
    """Build a dataclass from a plain mapping (TOML or JSON) without unknown keys.

    A `type` key equal to the class name, as `repro.records.identity.plain` writes it, is accepted and ignored.

    Raises:
        ConfigError: for an unknown key (with the nearest name), a wrong type or a value out of range.
    """
    prefix = f"{where}: " if where else ""
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{prefix}expected a table of settings, got {str(mapping)[:100]!r}")
    names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    values = {key: value for key, value in mapping.items() if not (key == "type" and value == cls.__name__)}
    for key in values:
        if key not in names:
            raise ConfigError(
                f"{prefix}unknown setting {str(key)[:100]!r}{nearest(key[:100], names)}; known: {', '.join(names)}"
            )
    try:
        for key, value in values.items():
            if isinstance(value, Mapping) and dataclasses.is_dataclass(hints(cls)[key]):
                values[key] = build(hints(cls)[key], value, where=key)
        return cls(**values)
    except ConfigError as error:
        raise ConfigError(f"{prefix}{error}") from None


def _coerce(name: str, value: Any, annotation: Any) -> Any:
    options = typing.get_args(annotation) if typing.get_origin(annotation) in (typing.Union, types.UnionType) else ()
    if options:
        return _coerce_union(name, value, options)
    if typing.get_origin(annotation) is tuple:
        if not isinstance(value, list | tuple):
            raise reject(name, value, "a list")
        return tuple(_coerce(name, one, typing.get_args(annotation)[0]) for one in value)
    if annotation is float and isinstance(value, int) and not isinstance(value, bool):
        if value.bit_length() > 1000:
            raise ConfigError(f"{name}: a number of {value.bit_length() // 3.32:.0f} digits: must be at most 1e300")
        return float(value)
    if not isinstance(annotation, type):
        return value
    if not isinstance(value, annotation) or (annotation is int and isinstance(value, bool)):
        raise reject(name, value, f"of type {annotation.__name__}")
    return value


def _coerce_union(name: str, value: Any, options: tuple[Any, ...]) -> Any:
    for option in options:
        try:
            return _coerce(name, value, option)
        except ConfigError:
            continue
    names = ["nothing" if option is type(None) else getattr(option, "__name__", str(option)) for option in options]
    raise reject(name, value, f"of type {' or '.join(names)}")


def _check_limits(name: str, value: Any, limits: Mapping[str, Any]) -> None:
    if value is None:
        return
    if limits.get("choices") is not None:
        choose(name, value, limits["choices"])
    if isinstance(value, int) and abs(value) > LARGEST:
        raise ConfigError(f"{name}: a number of {value.bit_length() // 3.32:.0f} digits: must be below 2^63")
    if isinstance(value, float) and not math.isfinite(value):
        raise reject(name, value, "a finite number")
    low, high = limits.get("low"), limits.get("high")
    too_low = low is not None and (value < low or (limits.get("open_low", False) and value == low))
    too_high = high is not None and (value > high or (limits.get("open_high", False) and value == high))
    if too_low or too_high or (limits.get("odd") and value % 2 == 0):
        raise reject(name, value, range_text(limits))
