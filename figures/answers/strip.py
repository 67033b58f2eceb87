"""A strip: the effects of one claim on the noise floor, as a small SVG that needs no drawing library.

A card of the page and a claim's own page show it: text of the page's size at any width, in a light and a dark page.
"""

from collections.abc import Sequence
from html import escape

from figures.answers.found import Effect, Found, signed
from repro.statistics.answers import OPPOSITE, YES

WIDTH, ROW, PAD = 340, 40, 6
STYLE = "<style>svg{color:#1b1f24}@media(prefers-color-scheme:dark){svg{color:#e6e6e6}}</style>"
PARTS = 26  # dots in a row


def effect_strip(found: Found, *, alone: bool = False) -> str:
    """Return the effects as SVG: a bar is a 95 % interval, the grey band one noise floor, dots are single parts.

    Args:
        found: effects of one quantity share an axis; others have an axis each.
        alone: whether it is a file of its own, which brings its colours.
    """
    if not found.effects:
        return ""
    body, height = _bars(found) if found.unit else _parts(found.effects)
    said = "; ".join(f"{one.part}: {one.word}" for one in found.effects)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" font-family="sans-serif" '
        f'font-size="13"><title>{escape(said)}</title>{STYLE if alone else ""}{body}</svg>'
    )


def _bars(found: Found) -> tuple[str, int]:
    floors = [one.floor if one.floor == one.floor else 0.0 for one in found.effects]
    limits = [_limit(one, floor) for one, floor in zip(found.effects, floors, strict=True)]
    parts = []
    for place, (one, floor) in enumerate(zip(found.effects, floors, strict=True)):
        limit = max(limits) if found.alike else limits[place]
        parts.append(f'<g transform="translate(0 {place * ROW})">{_row(one, floor, limit, found.margin)}</g>')
    return "".join(parts), len(parts) * ROW + PAD


def _limit(one: Effect, floor: float) -> float:
    """Return how far the axis reaches: to the interval's ends, unless the interval is absurdly wide."""
    return min(max(abs(one.low), abs(one.high), floor, 1e-9), 2.5 * max(abs(one.value), floor, 1e-9)) * 1.05


def _row(one: Effect, floor: float, limit: float, margin: float | None) -> str:
    def x(value: float) -> float:
        return round(WIDTH / 2 + max(-1.0, min(1.0, value / limit)) * (WIDTH / 2 - PAD), 1)

    width = round(x(floor) - x(-floor), 1)
    band = f'<rect x="{x(-floor)}" y="19" width="{width}" height="18" opacity=".18" fill="currentColor"/>'
    dots = "".join(
        f'<path d="M{x(end)} 19V37" stroke="currentColor" stroke-dasharray="2 3" opacity=".6"/>'
        for end in (() if margin is None else (-margin, margin)) if abs(end) < limit
    )  # fmt: skip
    return (
        f'<text x="0" y="13" fill="currentColor">{escape(one.part)}</text>'
        f'<text x="{WIDTH}" y="13" text-anchor="end" fill="currentColor">{signed(one.value)} {escape(one.word)}</text>'
        f'{band * (floor > 0)}{dots}<path d="M{x(0)} 17V39" stroke="currentColor"/>'
        f'<path d="M{x(one.low)} 28H{x(one.high)}" stroke="currentColor" stroke-width="2.5"/>'
        f'<circle cx="{x(one.value)}" cy="28" r="5" fill="currentColor"/>'
    )


def _parts(effects: Sequence[Effect]) -> tuple[str, int]:
    """Return a dot for each part: full where the claim holds, hollow where it is open, crossed where it fails."""
    marks = []
    for place, one in enumerate(effects[:PARTS]):
        x = PAD + 5 + 13 * place
        fill = "currentColor" if one.word == YES else "none"
        marks.append(f'<circle cx="{x}" cy="12" r="5" fill="{fill}" stroke="currentColor"/>')
        if one.word == OPPOSITE:
            marks.append(f'<path d="M{x - 6} 18L{x + 6} 6" stroke="currentColor" stroke-width="2"/>')
    return "".join(marks), 24
