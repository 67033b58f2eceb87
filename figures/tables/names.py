"""What rules, methods, models and forget sets are called, and the order in which they stand everywhere."""

from typing import Any

from repro.base.parts import RuleFacts, parts

# What rules and methods say of themselves; "sharpen F" is a rule that the theory alone has.
_THEORY = {"sharpen": RuleFacts("", label="sharpen F", marker="P", place=6)}
_RULES = sorted((parts("rules") | _THEORY).items(), key=lambda one: one[1].place)
RULES = {name: one.label for name, one in _RULES if one.label}
RULE_MARKERS = {name: one.marker for name, one in _RULES if one.label}
METHODS = {name: one.label or name for name, one in parts("methods").items()}
METHOD_MARKERS = {name: one.marker for name, one in parts("methods").items()}
MODELS = {"original": "before", "retrained": "retrained on R", "unlearned": "unlearned"}
# The paper crosses each of these methods with SGD, SAM and ASAM; Sharp MinMax belongs to NegGrad alone.
PAPER_METHODS = ("neggrad", "random_label", "salun", "l1_sparse", "scrub")
CROSSED = ("sgd", "sam", "asam")
# Forget sets by memorization score, and all others.
GRADED = ("low", "mid", "high")
DIFFICULTIES = (*GRADED, "random", "class", "class-part", "index")


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
    """Return a sort key of rules: SGD, SAM, ASAM, MinMax, then the others, by label within a family."""
    known = family(rule)
    return list(RULES).index(known) if known else len(RULES), str(rule)


def method_order(table: Any) -> list[str]:
    """Return the methods of a table, those of the paper first, in its order."""
    found = list(dict.fromkeys(table["method"]))
    return [name for name in METHODS if name in found] + [name for name in found if name not in METHODS]


def set_order(table: Any) -> list[str]:
    """Return the forget sets of a table: the graded ones, the other known ones, then those of plug-ins."""
    found = list(dict.fromkeys(table["difficulty"]))
    return [name for name in DIFFICULTIES if name in found] + sorted(name for name in found if name not in DIFFICULTIES)


def rule_order(table: Any) -> list[str]:
    """Return the unlearning rules of a table in their order."""
    return sorted(set(table["rule"]), key=rule_place)
