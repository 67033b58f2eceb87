"""Every figure and table by name: each is a decorated function that states what it shows, its studies and claims.

Declarations are read from the text of the modules (`repro.base.parts`): nothing that draws is imported to know them.
"""

import importlib
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.style import Theme
from repro.base.errors import ConfigError
from repro.base.parts import FigureFacts, built_in, plugins
from repro.base.settings import choose
from repro.study.study import LOOSE, load_study

if TYPE_CHECKING:
    from figures.tables.records import Records

FigureFunction = Callable[["Records", Theme], Drawing]
FIGURES: dict[str, FigureFacts] = built_in("figures")


def figure(name: str, **facts: Any) -> Callable[[FigureFunction], FigureFunction]:
    """Declare a function as a figure or table, with attributes of `FigureFacts`.

    It returns a `Drawing`, or raises `NotRun`: its frame then names the command that makes its records.
    """
    declared = FigureFacts("", **facts)

    def declare(draw: FigureFunction) -> FigureFunction:
        @wraps(draw)
        def drawn(records: "Records", theme: Theme) -> Drawing:
            try:
                return draw(records, theme)
            except NotRun as lack:
                return lack.drawing(command_of(declared), theme)

        drawn.studies = declared.studies  # pyright: ignore[reportAttributeAccessIssue]
        return drawn

    return declare


def command_of(facts: FigureFacts) -> str:
    """Return the command that makes a figure's records; by default the command of its first study."""
    return facts.made_by or load_study((*facts.studies, LOOSE)[0]).command


def lacking(name: str, what: str) -> str:
    """Return the line `what: command` for a part of a figure that is not run."""
    return f"{what}: {command_of(FIGURES[name])}"


def figure_names() -> list[str]:
    """Return every figure and table: first the built-in ones, then those of installed packages (`repro.figures`)."""
    return [*FIGURES, *(name for name in plugins("figures") if name not in FIGURES)]


def find(name: str) -> FigureFunction:
    """Import and return the function that draws `name`.

    Raises:
        ConfigError: when no figure has this name, with the nearest one, or its package cannot be imported.
    """
    choose("figure", name, figure_names())
    if name in FIGURES:
        module, attribute = FIGURES[name].home.split(":")
        return getattr(importlib.import_module(module), attribute)
    point = plugins("figures")[name]
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        package = point.dist.name if point.dist else "the package that adds it"
        reason = f"{point.value} cannot be imported ({str(error)[:100]})"
        raise ConfigError(f"figure {name}: {reason}; install {package} again, or remove it") from error


def studies_of(name: str) -> tuple[str, ...]:
    """Return the studies that a figure names; an installed package's figure that names none shows the loose runs."""
    return FIGURES[name].studies if name in FIGURES else tuple(getattr(find(name), "studies", ())) or (LOOSE,)
