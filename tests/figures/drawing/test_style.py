"""Rules stay apart for colour-blind readers, in greyscale and on either page; text is readable, fonts embedded."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from figures.drawing.style import LOOKS, OTHER, THEMES, Theme, settings
from figures.tables.names import family, rule_label
from repro.records.store import Store

# Machado, Oliveira and Fernandes 2009, severity 1.0, in linear RGB.
BLINDNESS = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                   [0.0193339, 0.1191920, 0.9503041]])  # fmt: skip
PAIRS = list(itertools.combinations(LOOKS, 2))


def linear(color: str) -> np.ndarray:
    encoded = np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def luminance(color: str) -> float:
    return float(linear(color) @ TO_XYZ[1])


def lab(rgb: np.ndarray) -> np.ndarray:
    scaled = TO_XYZ @ np.clip(rgb, 0, 1) / np.array([0.95047, 1.0, 1.08883])
    f = np.where(scaled > 0.008856, np.cbrt(scaled), 7.787 * scaled + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(one: str, other: str) -> float:
    high, low = sorted([luminance(one), luminance(other)], reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_measures_agree_with_known_values() -> None:
    assert contrast("#FFFFFF", "#000000") == pytest.approx(21.0)
    assert lab(linear("#FFFFFF")) == pytest.approx([100.0, 0.0, 0.0], abs=0.02)
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("rule", LOOKS)
def test_every_rule_stands_out_from_the_page(theme: str, rule: str) -> None:
    assert contrast(getattr(LOOKS[rule], theme), THEMES[theme]["paper"]) >= 3.0


@pytest.mark.parametrize("theme", THEMES)
def test_text_reads_on_its_page(theme: str) -> None:
    assert contrast(THEMES[theme]["ink"], THEMES[theme]["paper"]) >= 7.0


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("blindness", BLINDNESS)
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_two_rules_differ_for_every_reader(theme: str, blindness: str, pair: tuple[str, str]) -> None:
    seen = [lab(np.asarray(BLINDNESS[blindness]) @ linear(getattr(LOOKS[rule], theme))) for rule in pair]
    assert np.linalg.norm(seen[0] - seen[1]) >= 14.0


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_two_rules_differ_in_greyscale_and_by_marker_and_line(theme: str, pair: tuple[str, str]) -> None:
    first, second = (LOOKS[rule] for rule in pair)
    lightness = [lab(np.full(3, luminance(getattr(look, theme))))[0] for look in (first, second)]
    assert abs(lightness[0] - lightness[1]) >= 4.0
    assert first.marker != second.marker
    assert first.line != second.line


@pytest.mark.parametrize(("label", "rule", "text"), [
    ("sgd", "sgd", "SGD"), ("sam-0.1", "sam", "SAM 0.1"), ("asam-1.0", "asam", "ASAM 1.0"),
    ("minmax-asam-1.0", "minmax", "MinMax ASAM 1.0"), ("retain_sam", "retain-sam", "SAM on R only"),
    ("samurai", "", "samurai"),
])  # fmt: skip
def test_labels_name_their_rule(label: str, rule: str, text: str) -> None:
    assert family(label) == rule
    assert rule_label(label) == text


def test_an_unknown_rule_looks_like_none_of_the_known() -> None:
    looks = Theme().lines("a-plugin-rule")
    assert looks["color"] == OTHER.light
    assert looks["marker"] not in {look.marker for look in LOOKS.values()}


def test_no_text_is_smaller_than_seven_points() -> None:
    sizes = [
        value for key, value in settings(Theme()).items() if key.endswith(("size", "fontsize")) and "marker" not in key
    ]
    assert len(sizes) >= 5
    assert min(sizes) >= 7.0


@pytest.mark.slow
def test_pdf_fonts_are_embedded_truetype(golden: Store, drawn_folder: Path) -> None:
    content = (drawn_folder / "fig-theory-trajectories.pdf").read_bytes()
    assert b"/FontFile2" in content
    assert b"/Type3" not in content
    assert b"CreationDate" not in content
