"""Declarations of metrics, methods, gradient rules and figures (the parts), read from their source, not imported.

A part is declared where it is written: `@metric(...)` above a function, `@method(...)` above a class, `@rule(...)`
above a function that builds a rule, `@figure(...)` above one that makes a figure (`figures.catalogue`). The arguments
of a declaration are literals and `Term(...)`. So help, plans, figures and the glossary read them from the text of the
file, without torch and matplotlib.
"""

import ast
import importlib.util
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from repro.base.errors import ConfigError
from repro.base.settings import limits_of

T = TypeVar("T")
LAST = 1000


@dataclass(frozen=True)
class Term:
    """An entry of the glossary: the meaning of a number or a concept.

    Attributes:
        name: name of a number, in which `*` stands for any text, or of a concept.
        meaning: one or two sentences.
        formula: the equation in plain text, if there is one.
        unit, range: of a number.
        goal: the best value; "retrained" is the value of the retrained model.
        also: other common names.
    """

    name: str
    meaning: str
    formula: str = ""
    unit: str = "share"
    range: str = "[0, 1]"
    goal: str = "retrained"
    also: tuple[str, ...] = ()


class Own(NamedTuple):
    """A setting that a metric declares: its type, its default, and its meaning and range (see `limits_of`)."""

    kind: type
    default: Any
    limits: Mapping[str, Any]


@dataclass(frozen=True)
class Metric:
    """The declaration of a metric.

    Attributes:
        home: `module:function`; the function takes an `empirical.metrics.evaluation.Evaluation` and its own settings.
        version: increased when the same models would get different numbers, so that old numbers are not mixed in.
        needs: metrics whose numbers it reads from `evaluation.result`.
        settings: fields of `RunConfig` it reads, except those that identify the stages.
        switches: fields of `Fidelity` it reads, except those that identify the stages.
        pooled: whether it reads many runs that differ in their seeds only, as an `empirical.metrics.pooled.SeedArrays`.
        reference: whether it compares with the retrained model; runs without a retrained model have no such number.
        shadow_models: whether it reads the subset models of the memorization scores.
        looks: own settings. Their product is the number of images that a model predicts, from each of two sets.
        terms: what its numbers mean, for the glossary.
        own: its own settings by name: the keyword arguments of the function, which are also settings of a run.
    """

    home: str
    version: int = 1
    needs: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()
    pooled: bool = False
    reference: bool = False
    shadow_models: bool = False
    looks: tuple[str, ...] = ()
    terms: tuple[Term, ...] = ()
    own: Mapping[str, Own] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.pooled and self.own:
            raise TypeError(f"{self.home}: a pooled metric has no settings of its own")

    @property
    def reads(self) -> tuple[str, ...]:
        """The settings of a run that its numbers depend on, including its own."""
        return (*self.settings, *self.own)


@dataclass(frozen=True)
class MethodFacts:
    """The declaration of an unlearning method, for figures and plans.

    Attributes:
        home: `module:class`; the class is a frozen dataclass whose fields are the method's settings.
        label: its name in figures; empty: its registered name.
        marker: matplotlib marker.
        place: its rank among the methods of a figure, ascending.
        reads: the sets that one epoch reads: `retain`, `forget` or both, mixed in one pass.
        beside: whether a step reads a whole forget batch in addition to its retain batch.
        copies: how many copies of the weights it holds, in addition to its rule's.
    """

    home: str
    label: str = ""
    marker: str = "o"
    place: int = LAST
    reads: tuple[str, ...] = ("retain", "forget")
    beside: bool = False
    copies: float = 0.0


@dataclass(frozen=True)
class RuleFacts:
    """The declaration of a gradient rule, for labels, figures and plans.

    Attributes:
        home: `module:function`; the function is called with a `RuleSpec` and a `RuleContext` and returns the rule.
        label: its name in figures; empty: its registered name, in the default colour.
        marker: matplotlib marker.
        place: its rank among the rules of a figure, ascending.
        passes: gradients of a batch per step; a rule with another rule inside takes the inner rule's.
        copies: how many copies of the weights a step holds; a rule with another rule inside adds its own to those.
        radius: radius of a label without a number, such as `sam`.
        inner: label of the inner rule if a label names none, such as `minmax`; empty: the rule has no inner rule.
        forgets: whether it needs a forget set, so that it can neither pretrain nor retrain.
    """

    home: str
    label: str = ""
    marker: str = "X"
    place: int = LAST
    passes: int = 2
    copies: float = 6.0
    radius: float = 0.0
    inner: str = ""
    forgets: bool = False


@dataclass(frozen=True)
class FigureFacts:
    """The declaration of a figure or table.

    Attributes:
        home: `module:function`; the function makes it from records in a theme.
        place: its rank among the figures, ascending: those of the paper in its order, then what its reviewers wanted.
        shows: what is on it.
        studies: whose records it shows, each in panels of its own.
        claims: claims of the paper that it illustrates, by their keys (`figures.answers`).
        made_by: the command that makes its records, where it is not that of its first study.
    """

    home: str
    place: int = LAST
    shows: str = ""
    studies: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    made_by: str = ""


KINDS: dict[str, Any] = {"metric": Metric, "method": MethodFacts, "rule": RuleFacts, "figure": FigureFacts}
# Where the built-in parts are written: modules, or all modules of a package.
PLACES = {"metrics": ("empirical.metrics",), "methods": ("empirical.methods",), "rules": ("empirical.training.rules",),
          "figures": ("figures.networks", "figures.theory")}  # fmt: skip


OLDER = {"shadows": "shadow_models"}  # names of facts that are read until 0.4


def _declares(kind: str, **facts: Any) -> Callable[[T], T]:
    known = {OLDER.get(name, name): value for name, value in facts.items()}
    KINDS[kind]("", **known)  # raises TypeError for an unknown fact where it is written
    return lambda part: part


def metric(name: str, **facts: Any) -> Callable[[T], T]:
    """Declare a function as a metric, with attributes of `Metric`; its keyword arguments are its settings.

    A setting is written `points: Annotated[int, limits_of("points along a side", low=3)] = 11`.
    """
    return _declares("metric", **facts)


def method(name: str, **facts: Any) -> Callable[[T], T]:
    """Declare a class as an unlearning method, with attributes of `MethodFacts`."""
    return _declares("method", **facts)


def rule(name: str, **facts: Any) -> Callable[[T], T]:
    """Declare a function that builds a gradient rule, with attributes of `RuleFacts`."""
    return _declares("rule", **facts)


# A declaration and the definition below it, up to the end of the docstring: valid Python, faster to parse than a file.
DECLARED = re.compile(rf'^@({"|".join(KINDS)})\(.*?^[ \t]+r?""".*?"""$', re.MULTILINE | re.DOTALL)


@cache
def built_in(kind: str) -> dict[str, Any]:
    """Return the declarations of all built-in parts of a kind (a name of `PLACES`), by name.

    Raises:
        ConfigError: naming the declaration that is no data, or the name that is declared twice.
    """
    found: dict[str, Any] = {}
    for module in (one for place in PLACES[kind] for one in _modules(place)):
        for name, facts in declared(module)[kind].items():
            _add(found, name, facts)
    return dict(sorted(found.items(), key=lambda one: getattr(one[1], "place", 0)))


@cache
def parts(kind: str) -> dict[str, Any]:
    """Return the declarations of the built-in parts of a kind, then those of installed packages.

    A broken declaration of a package is left out here, so that it does not end commands that do not use it. Asking for
    that part raises the error (`declared`).
    """
    found = dict(built_in(kind))
    for name, point in plugins(kind).items():
        with suppress(ConfigError):
            theirs = {facts.home: facts for facts in declared(point.value.partition(":")[0])[kind].values()}
            if name not in found and point.value in theirs:
                found[name] = theirs[point.value]
    return found


installed = cache(entry_points)  # looks through every package of the environment: once for all groups


@cache
def plugins(kind: str) -> dict[str, EntryPoint]:
    """Return the entry points that installed packages declare in the group `repro.<kind>`."""
    return {point.name: point for point in installed().select(group=f"repro.{kind}")}


@cache
def declared(module: str) -> dict[str, dict[str, Any]]:
    """Return the declarations in the source of a module, by kind and name.

    Raises:
        ConfigError: naming the declaration that is no data, or the name that is declared twice.
    """
    found: dict[str, dict[str, Any]] = {kind: {} for kind in PLACES}
    for text in DECLARED.finditer(_source(module)):
        try:
            name, facts = _facts(text[0], module)
        except (SyntaxError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            where = f"{module}, {text[0].splitlines()[0]}"
            raise ConfigError(f"{where}: must hold only literals and Term(...), above a docstring") from error
        _add(found[f"{text[1]}s"], name, facts)
    return found


def _add(found: dict[str, Any], name: str, facts: Any) -> None:
    if name in found:
        raise ConfigError(f"{name}: is declared twice, as {found[name].home} and as {facts.home}; rename one of them")
    found[name] = facts


def _facts(text: str, module: str) -> tuple[str, Any]:
    """Return the name of a part and its declaration."""
    found: Any = ast.parse(text).body
    (part,) = found  # ValueError for two definitions: the first has no docstring
    call = part.decorator_list[0]
    facts = {OLDER.get(str(one.arg), str(one.arg)): _value(one.value) for one in call.keywords}
    if call.func.id == "metric":
        pairs = zip(part.args.kwonlyargs, part.args.kw_defaults, strict=True)
        facts["own"] = {one.arg: _own(one.annotation, _value(default)) for one, default in pairs}
    return _value(call.args[0]), KINDS[call.func.id](f"{module}:{part.name}", **facts)


def _own(annotation: Any, default: Any) -> Own:
    """Return a metric's own setting, written `Annotated[type, limits_of(...)] = default`."""
    kind, about = annotation.slice.elts
    limits = {str(one.arg): _value(one.value) for one in about.keywords}
    return Own(TYPES[kind.id], default, limits_of(_value(about.args[0]), **limits))


TYPES = {one.__name__: one for one in (int, float, str, bool)}


def _value(node: Any) -> Any:
    """Return the value of a literal, which may hold `Term(...)`."""
    if isinstance(node, ast.Tuple):
        return tuple(map(_value, node.elts))
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Term":
        return Term(*map(_value, node.args), **{str(one.arg): _value(one.value) for one in node.keywords})
    return ast.literal_eval(node)


def _modules(place: str) -> list[str]:
    """Return a module, or all modules of a package in the order of their names, without importing them."""
    folder = _path(place).with_suffix("")
    return [f"{place}.{path.stem}" for path in sorted(folder.glob("[!_]*.py"))] if folder.is_dir() else [place]


def _path(module: str) -> Path:
    """Return the path of a module's file, whether or not the file exists."""
    first, *rest = module.split(".")
    home = _home(first)
    return home.parent.joinpath(*rest).with_suffix(".py") if rest else home


@cache
def _home(package: str) -> Path:
    """Return the file of a top-level module or package without importing it."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):  # not a valid module name
        spec = None
    return Path(spec.origin if spec and spec.origin else package)


def _source(module: str) -> str:
    """Return the source of a module; empty if it has none."""
    path = _path(module)
    path = path if path.exists() else path.with_suffix("") / "__init__.py"
    return path.read_text("utf-8", "replace") if path.suffix == ".py" and path.is_file() else ""


def settings_of_metrics() -> dict[str, Own]:
    """Return the settings that metrics declare, by name; if two declare the same name, the first declaration."""
    found: dict[str, Own] = {}
    for facts in parts("metrics").values():
        found |= {name: own for name, own in facts.own.items() if name not in found}
    return found
