"""What metrics, methods and gradient rules say of themselves: read from their source, so that nobody imports torch.

A part is declared where it is written: `@metric(...)` above a function, `@method(...)` above a class, `@rule(...)`
above a function that builds a rule. A declaration is data: its arguments are literals and `Term(...)`. Help, plans,
figures and the glossary therefore read it from the text of the file and need not import what computes.
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
    """What a number or a word means.

    Attributes:
        name: of a number, with `*` for any text, or of a concept.
        meaning: one or two sentences.
        formula: in plain text; empty where the meaning is one.
        unit, range: of a number.
        goal: the value that is best; "retrained" is the retrained model's own.
        also: other names that people use.
    """

    name: str
    meaning: str
    formula: str = ""
    unit: str = "share"
    range: str = "[0, 1]"
    goal: str = "retrained"
    also: tuple[str, ...] = ()


class Own(NamedTuple):
    """A metric's own setting: its type, its default, and its meaning and range as `limits_of` has them."""

    kind: type
    default: Any
    limits: Mapping[str, Any]


@dataclass(frozen=True)
class Metric:
    """What a number depends on besides the models it is measured on.

    Attributes:
        home: `module:function`; the function takes an `empirical.metrics.evaluation.Evaluation` and its own settings.
        version: raised when the same models would get other numbers, so that old numbers are never mixed in.
        needs: metrics whose numbers it reads from `evaluation.result`.
        settings: fields of `RunConfig` it reads besides those that the stages are made of.
        switches: fields of `Fidelity` it reads besides those that the stages are made of.
        pooled: whether it looks at many runs that differ in their seeds only, as an `empirical.metrics.pooled.Pool`.
        reference: whether it compares with a retrained model; a run without one has no such number, nor a pooled one.
        shadows: whether it looks at the subset models of the memorization estimate.
        looks: own settings whose product says how many images of each of two sets a model answers for it.
        terms: what its numbers mean, for the glossary.
        own: its own settings, the keyword arguments of the function, by name; each is a setting of a run by that name.
    """

    home: str
    version: int = 1
    needs: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()
    pooled: bool = False
    reference: bool = False
    shadows: bool = False
    looks: tuple[str, ...] = ()
    terms: tuple[Term, ...] = ()
    own: Mapping[str, Own] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.pooled and self.own:
            raise TypeError(f"{self.home}: a metric that pools runs has no settings of its own")

    @property
    def reads(self) -> tuple[str, ...]:
        """The settings of a run that its numbers depend on, its own included."""
        return (*self.settings, *self.own)


@dataclass(frozen=True)
class MethodFacts:
    """What figures and plans know of an unlearning method.

    Attributes:
        home: `module:class`; the class is a frozen dataclass whose fields are the method's settings.
        label: its name in figures; empty is the name it is registered under.
        marker: matplotlib's.
        place: where it stands among the methods of a figure, ascending.
        reads: the sets that one epoch reads: `retain`, `forget` or both, mixed in one pass.
        beside: whether a step reads a whole forget batch beside its retain batch.
        copies: of the weights that it holds besides its rule's.
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
    """What labels, figures and plans know of a gradient rule.

    Attributes:
        home: `module:function`; the function is called with a `RuleSpec` and a `RuleContext` and returns the rule.
        label: its name in figures; empty is the name it is registered under, and no colour of its own.
        marker: matplotlib's.
        place: where it stands among the rules of a figure, ascending.
        passes: gradients of a batch that a step takes; those of the rule inside, where it has one.
        copies: of the weights that a step holds at once; of a rule with another one inside, what it adds to that.
        radius: of a label that names none, such as `sam`.
        inner: label of the rule inside where a label names none, such as `minmax`; empty: there is none inside.
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


KINDS: dict[str, Any] = {"metric": Metric, "method": MethodFacts, "rule": RuleFacts}
# Where the built-in ones are written: a module, or all modules of a package.
PLACES = {"metrics": "empirical.metrics", "methods": "empirical.methods", "rules": "empirical.training.rules"}


def _declares(kind: str, **facts: Any) -> Callable[[T], T]:
    KINDS[kind]("", **facts)  # a fact that there is none of is a TypeError where it stands
    return lambda part: part


def metric(name: str, **facts: Any) -> Callable[[T], T]:
    """Declare a function as a metric, with facts of `Metric`; its keyword arguments are its settings.

    A setting is written `points: Annotated[int, limits_of("points along a side", low=3)] = 11`.
    """
    return _declares("metric", **facts)


def method(name: str, **facts: Any) -> Callable[[T], T]:
    """Declare a class as an unlearning method, with facts of `MethodFacts`."""
    return _declares("method", **facts)


def rule(name: str, **facts: Any) -> Callable[[T], T]:
    """Declare a function that builds a gradient rule, with facts of `RuleFacts`."""
    return _declares("rule", **facts)


# A declaration and what it stands above, up to the end of the docstring: Python as it is, and a fraction of a file.
DECLARED = re.compile(rf'^@({"|".join(KINDS)})\(.*?^[ \t]+r?""".*?"""$', re.MULTILINE | re.DOTALL)


@cache
def built_in(kind: str) -> dict[str, Any]:
    """Return what every built-in part of a kind (`metrics`, `methods` or `rules`) says of itself, by name.

    Raises:
        ConfigError: naming the declaration that is no data, or the name that is declared twice.
    """
    found: dict[str, Any] = {}
    for module in _modules(PLACES[kind]):
        for name, facts in declared(module)[kind].items():
            _add(found, name, facts)
    return dict(sorted(found.items(), key=lambda one: getattr(one[1], "place", 0)))


@cache
def parts(kind: str) -> dict[str, Any]:
    """Return the built-in parts of a kind, then those of installed packages, as far as their source declares them.

    A broken declaration of a package is left out here and raised when its part is asked for (`declared`): it must not
    end commands that have nothing to do with it.
    """
    found = dict(built_in(kind))
    for name, point in plugins(kind).items():
        with suppress(ConfigError):
            theirs = {facts.home: facts for facts in declared(point.value.partition(":")[0])[kind].values()}
            if name not in found and point.value in theirs:
                found[name] = theirs[point.value]
    return found


@cache
def plugins(kind: str) -> dict[str, EntryPoint]:
    """Return the entry points that installed packages declare in the group `repro.<kind>`."""
    return {point.name: point for point in entry_points(group=f"repro.{kind}")}


@cache
def declared(module: str) -> dict[str, dict[str, Any]]:
    """Return what the source of a module declares, by kind and name.

    Raises:
        ConfigError: naming the declaration that is no data, or the name that is declared twice.
    """
    found: dict[str, dict[str, Any]] = {kind: {} for kind in PLACES}
    for text in DECLARED.finditer(_source(module)):
        try:
            name, facts = _facts(text[0], module)
        except (SyntaxError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            where = f"{module}, {text[0].splitlines()[0]}"
            raise ConfigError(f"{where}: must hold literals and Term(...) alone, above a docstring") from error
        _add(found[f"{text[1]}s"], name, facts)
    return found


def _add(found: dict[str, Any], name: str, facts: Any) -> None:
    if name in found:
        raise ConfigError(f"{name}: is declared twice, as {found[name].home} and as {facts.home}; rename one of them")
    found[name] = facts


def _facts(text: str, module: str) -> tuple[str, Any]:
    """Return the name of a part and what it says of itself."""
    found: Any = ast.parse(text).body
    (part,) = found  # more than one: the first has no docstring
    call = part.decorator_list[0]
    facts = {one.arg: _value(one.value) for one in call.keywords}
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
    """Return a module, or all modules of a package in the order of their names; neither is imported."""
    folder = _path(place).with_suffix("")
    return [f"{place}.{path.stem}" for path in sorted(folder.glob("[!_]*.py"))] if folder.is_dir() else [place]


def _path(module: str) -> Path:
    """Return the file of a module, or of a package's own code, whether or not it is there."""
    first, *rest = module.split(".")
    home = _home(first)
    return home.parent.joinpath(*rest).with_suffix(".py") if rest else home


@cache
def _home(package: str) -> Path:
    """Return the file of a top-level module or package, which is looked for and not imported."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):  # no name that a module could have
        spec = None
    return Path(spec.origin if spec and spec.origin else package)


def _source(module: str) -> str:
    """Return the text of a module; empty where it has none."""
    path = _path(module)
    path = path if path.exists() else path.with_suffix("") / "__init__.py"
    return path.read_text("utf-8", "replace") if path.suffix == ".py" and path.is_file() else ""


def settings_of_metrics() -> dict[str, Own]:
    """Return the own settings of all metrics by name; of two metrics with the same one, that of the first."""
    found: dict[str, Own] = {}
    for one in parts("metrics").values():
        found |= {name: own for name, own in one.own.items() if name not in found}
    return found
