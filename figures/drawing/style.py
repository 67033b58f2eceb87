"""One fixed colour, marker and line style for each gradient rule and method, in a light and a dark theme."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any, NamedTuple

from figures.tables.names import RULE_MARKERS, family

WIDE = 7.0  # inches: the full width of a two-column page
FONT = 8.0  # points; the smallest text anywhere is 7


class Look(NamedTuple):
    """How a rule is drawn everywhere: its colour on a light and on a dark page, matplotlib's marker and line style."""

    light: str
    dark: str
    marker: str
    line: Any


# Colours on a light and on a dark page, and line styles, for rules in their order. Blue and vermillion are Okabe-Ito's;
# the others are darkened (light page) or lightened (dark page) members of that family, so that every pair stays apart
# for red-, green- and blue-blind readers and in greyscale (see the tests).
PALETTE: tuple[tuple[str, str, Any], ...] = (
    ("#0072B2", "#56B4E9", "-"),
    ("#D55E00", "#E8702A", "--"),
    ("#005F45", "#35E0B0", "-."),
    ("#919191", "#E5D95A", (0, (5, 1, 1, 1, 1, 1))),
    ("#6B1F62", "#C75BA1", ":"),
    ("#1A1A1A", "#F2F2F2", (0, (1, 1))),
)
OTHER = Look("#1A1A1A", "#F2F2F2", "X", (0, (3, 2)))
# Rules past the end of the palette share the colour of those without a label.
_COLORS = chain(PALETTE, repeat((OTHER.light, OTHER.dark, OTHER.line)))
LOOKS = {
    name: Look(light, dark, marker, line)
    for (name, marker), (light, dark, line) in zip(RULE_MARKERS.items(), _COLORS, strict=False)
}
THEMES = {
    "light": {"ink": "#1A1A1A", "paper": "#FFFFFF", "faint": "#D8D8D8"},
    "dark": {"ink": "#E8E8E8", "paper": "#15181C", "faint": "#3A3F46"},
}


@dataclass(frozen=True)
class Theme:
    """A light or a dark page, which gives colours; everything else is the same in both.

    Attributes:
        name: `light` or `dark`.
        scale: the factor of text, lines and marks; 1 for a printed column, more for a wall.
    """

    name: str = "light"
    scale: float = 1.0

    @property
    def ink(self) -> str:
        """Return the colour of text and reference lines."""
        return THEMES[self.name]["ink"]

    @property
    def paper(self) -> str:
        """Return the background."""
        return THEMES[self.name]["paper"]

    @property
    def faint(self) -> str:
        """Return the colour of grid lines and of what is not run."""
        return THEMES[self.name]["faint"]

    def color(self, rule: str) -> str:
        """Return the colour of a rule."""
        return getattr(LOOKS.get(family(rule), OTHER), self.name)

    def lines(self, rule: str) -> dict[str, Any]:
        """Return colour, marker and line style of a rule, as keyword arguments of `Axes.plot`."""
        look = LOOKS.get(family(rule), OTHER)
        return {"color": self.color(rule), "marker": look.marker, "linestyle": look.line}


# What `repro figures --style` offers: the page a figure is for.
STYLES = {"paper": Theme("light"), "draft": Theme("light"), "slides": Theme("light", 1.3), "dark": Theme("dark", 1.3)}


def settings(theme: Theme) -> dict[str, Any]:
    """Return the matplotlib settings of a theme: embedded TrueType, readable at column width, fixed dates elsewhere."""
    ink = dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), theme.ink)
    page = dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), theme.paper)
    return ink | page | {
        "font.family": "DejaVu Sans",  # ships with matplotlib: the same bytes on every machine
        "font.size": FONT * theme.scale,
        "axes.labelsize": FONT * theme.scale,
        "axes.titlesize": FONT * theme.scale,
        "xtick.labelsize": 7.0 * theme.scale,
        "ytick.labelsize": 7.0 * theme.scale,
        "legend.fontsize": 7.0 * theme.scale,
        "legend.frameon": False,
        "legend.handlelength": 2.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": theme.faint,
        "grid.linewidth": 0.4,
        "lines.linewidth": 1.3 * theme.scale,
        "lines.markersize": 4.0 * theme.scale,
        "axes.linewidth": 0.6,
        "figure.dpi": 100,
        "savefig.dpi": 200,
        "pdf.fonttype": 42,
        "ps.fonttype": 42,
        "svg.fonttype": "none",
        "svg.hashsalt": "repro",
        "image.cmap": "cividis",
        "patch.edgecolor": theme.ink,
        "legend.labelcolor": theme.ink,
    }  # fmt: skip


@contextmanager
def themed(theme: Theme) -> Iterator[None]:
    """Draw inside this block with the theme's settings on top of matplotlib's defaults, not the user's."""
    from matplotlib import rc_context, rcParamsDefault

    safe: Any = {key: value for key, value in rcParamsDefault.items() if not key.startswith(("backend", "interactive"))}
    with rc_context(safe | settings(theme)):
        yield
