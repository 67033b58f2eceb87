"""A strip: bars where the numbers say, on one axis where the effects are alike."""

import re
from xml.etree import ElementTree

import pytest

from figures.answers.found import Effect, Found
from figures.answers.strip import WIDTH, effect_strip
from repro.statistics.answers import OPEN, OPPOSITE, YES

EFFECTS = (Effect("a", YES, 0.04, 0.02, 0.06, 4, 3, 0.01), Effect("b", OPEN, 0.01, -0.01, 0.03, 4, 3, 0.01))


def dots(found: Found) -> list[float]:
    return [float(x) - WIDTH / 2 for x in re.findall(r'<circle cx="([\d.]+)"', effect_strip(found))]


def test_effects_that_are_alike_share_an_axis_and_others_have_their_own() -> None:
    first, second = dots(Found(effects=EFFECTS, unit="ToW", alike=True))
    assert first == pytest.approx(4 * second, rel=0.02)
    first, second = dots(Found(effects=EFFECTS, unit="E"))
    assert first != pytest.approx(4 * second, rel=0.1)


def test_a_strip_is_xml_and_says_in_words_what_it_shows() -> None:
    drawn = ElementTree.fromstring(effect_strip(Found(effects=EFFECTS, unit="ToW", margin=0.01), alone=True))
    assert drawn[0].text == f"a: {YES}; b: {OPEN}"
    assert effect_strip(Found()) == ""


def test_the_band_is_one_floor_to_either_side() -> None:
    drawn = effect_strip(Found(effects=EFFECTS[:1], unit="ToW", alike=True))
    found = re.search(r'<rect x="([\d.]+)" y="19" width="([\d.]+)"', drawn)
    assert found
    left, width = map(float, found.groups())
    assert left + width / 2 == pytest.approx(WIDTH / 2, abs=0.2)
    assert dots(Found(effects=EFFECTS[:1], unit="ToW", alike=True))[0] == pytest.approx(2 * width, rel=0.03)


def test_an_absurdly_wide_interval_is_cut_and_does_not_hide_the_others() -> None:
    wide = Effect("c", OPEN, 0.01, -9.0, 9.0, 2, 3, 0.01)
    first, *_ = dots(Found(effects=(EFFECTS[0], wide), unit="ToW", alike=True))
    assert first > WIDTH / 8


def test_cases_of_the_theory_are_full_hollow_or_crossed() -> None:
    cases = [Effect("case", word, 1.0, 1.0, 1.0, 1, 40) for word in (YES, OPEN, OPPOSITE)]
    drawn = effect_strip(Found(effects=tuple(cases)))
    assert re.findall(r'fill="(\w+)" stroke', drawn) == ["currentColor", "none", "none"]
    assert len(re.findall("<path", drawn)) == 1
