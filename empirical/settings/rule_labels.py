"""Parsers for the short texts of a config: rule labels such as `sam-0.1`, options such as `beta=0.5, temperature=4`."""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from typing import Any

from empirical.registry import names, rule
from repro.base.errors import ConfigError
from repro.base.schedule import parse_schedule
from repro.base.settings import named_once, nearest, reject

NUMBER = re.compile(r"[0-9.eE+-]+")  # float() would read 0_1 as 1


@dataclass(frozen=True)
class RuleSpec:
    """A parsed rule label.

    Attributes:
        name: the registered rule.
        rho: its SAM radius, 0 if it has none.
        inner: the label of the rule inside `minmax` or `masked`, or an empty string.
    """

    name: str
    rho: float = 0.0
    inner: str = ""


@cache
def parse_rule(label: str, field: str = "rule") -> RuleSpec:
    """Read `sgd`, `sam-0.1`, `asam-1.0`, `retain-sam-0.1`, `minmax-sam-0.1` or `masked-sam-0.1`.

    A missing radius takes the paper's value (SAM 0.1, ASAM 1.0); `minmax` alone is `minmax-asam-1.0`.

    Raises:
        ConfigError: for an unknown rule (with the nearest name) or a radius that is not a number >= 0.
    """
    if len(label) > 100:
        raise reject(field, label, "a rule of at most 100 letters")
    known = [*names("rules")]
    name = max((name for name in known if label == name or label.startswith(f"{name}-")), key=len, default="")
    if not name:
        likely = nearest(label.split("-")[0], known)
        raise ConfigError(f"{field} = {label!r}: must be one of {', '.join(known)}{likely}")
    rest = label[len(name) + 1 :]
    if label.endswith("-"):
        raise reject(field, label, "a rule name and a radius >= 0", "such as sam-0.1")
    facts = rule(name)
    if facts.inner:
        inner = rest or facts.inner
        if parse_rule(inner, field).inner:
            raise reject(field, label, "nested at most once", "such as minmax-asam-1.0")
        return RuleSpec(name, inner=inner)
    return RuleSpec(name, rho=_radius(label, rest, field) if rest else facts.radius)


def parse_rule_schedule(text: str, epochs: int, field: str = "rule") -> list[tuple[str, int]]:
    """Return the rule labels of a schedule such as `sam-0.1:25, sgd`, each with its number of epochs, in order.

    Args:
        text: the schedule; a single label is a schedule of one rule.
        epochs: epochs of the stage; the last rule takes the epochs that the others leave.
        field: name of the setting, for errors.

    Raises:
        ConfigError: if the schedule cannot be read or names an unknown rule.
    """
    schedule = parse_schedule(text, epochs, field)
    for label, _ in schedule:
        parse_rule(label, field)
    return schedule


def _radius(label: str, text: str, field: str) -> float:
    try:
        rho = float(text) if NUMBER.fullmatch(text) else -1.0
    except ValueError:
        rho = -1.0
    if not 0.0 <= rho < float("inf"):
        raise reject(field, label, "a rule name and a radius >= 0", "such as sam-0.1")
    return rho


def parse_options(text: str, field: str) -> dict[str, Any]:
    """Read `a=1, b="text"` into a mapping; values are written as in TOML, and bare words are text.

    Raises:
        ConfigError: naming the field and the piece that is not `name=value`, or that repeats an option.
    """
    options: list[tuple[str, Any]] = []
    for piece in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (part.strip() for part in piece.partition("="))
        if not equals or not name or not value:
            raise ConfigError(f"{field} = {text!r}: {piece!r} must be name=value")
        options.append((name.replace("-", "_"), parse_value(value)))
    return named_once(field, options)


def parse_value(text: str) -> Any:
    """Return a value written as in TOML; a bare word is text.

    Raises:
        ConfigError: for a number of more than 4300 digits, or brackets that are nested too deeply.
    """
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    except (ValueError, RecursionError):
        raise reject("value", text, "readable as TOML: a number of at most 4300 digits, few brackets") from None
