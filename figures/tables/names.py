"""What rules, methods, models and forget sets are called, and the order in which they stand everywhere."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from repro.base.parts import RuleFacts, parts

# What rules and methods say of themselves; "sharpen F" is a rule that the theory alone has.
_THEORY = {"sharpen": RuleFacts("", label="sharpen F", marker="P", place=6)}
_RULES = sorted((parts("rules") | _THEORY).items(), key=lambda one: one[1].place)
RULES = {name: one.label for name, one in _RULES if one.label}
RULE_MARKERS = {name: one.marker for name, one in _RULES if one.label}
METHODS = {name: one.label or name for name, one in parts("methods").items()}
METHOD_MARKERS = {name: one.marker for name, one in parts("methods").items()}
# The rules that the paper crosses with its methods; Sharp MinMax belongs to NegGrad alone.
CROSSED = ("sgd", "sam", "asam")
# Forget sets by memorization score, and all others.
GRADED = ("low", "mid", "high")
DIFFICULTIES = (*GRADED, "random", "class", "class-part", "index")


@cache
def family(rule: Any) -> str:
    """Return the rule a label belongs to: `sam-0.1` and `sam` are "sam"; `retain_sam` is "retain-sam"."""
    name = str(rule).replace("_", "-")
    return max((known for known in RULES if name == known or name.startswith(f"{known}-")), key=len, default="")


def rule_label(rule: Any) -> str:
    """Return a rule's name in a legend, with its radius: `sam-0.1` gives "SAM 0.1"."""
    name = str(rule).replace("_", "-")
    known = family(name)
    if not known:
        return name
    rest = name[len(known) + 1 :].replace("asam-", "ASAM ").replace("sam-", "SAM ")
    return f"{RULES[known]} {rest}".strip()


def method_label(method: Any) -> str:
    """Return a method's name in a legend."""
    return METHODS.get(str(method), str(method))


def rule_place(rule: Any) -> tuple[int, str]:
    """Return a sort key of rules: SGD, SAM, ASAM, SAM on R only, MinMax, then the others, by label within a family."""
    known = family(rule)
    return list(RULES).index(known) if known else len(RULES), str(rule)


# The order in which the values of a column stand everywhere: what a plug-in adds behind the known, a mean last.
_PLACES: dict[str, Callable[[Any], Any]] = {
    "method": lambda name: list(METHODS).index(name) if name in METHODS else len(METHODS),
    "rule": rule_place,
    "pretrain": rule_place,
    "difficulty": lambda name: (
        DIFFICULTIES.index(name) if name in DIFFICULTIES else len(DIFFICULTIES) + (name == "mean"),
        str(name),
    ),
}


def order(table: Any, column: str) -> list[Any]:
    """Return the values of a table's column, each once, in their order; of an unknown column as they appear."""
    found = list(dict.fromkeys(table[column]))
    return sorted(found, key=_PLACES[column]) if column in _PLACES else found


def in_order(table: Any, columns: Sequence[str]) -> Any:
    """Return the rows of a table sorted by some columns, each in its order; equal rows stay as they are."""
    places = {column: {name: place for place, name in enumerate(order(table, column))} for column in columns}
    return table.sort_values(list(columns), key=lambda one: one.map(places[str(one.name)]), kind="stable")
