"""What a reader would complain of: cut labels, ticks that run into each other, tiny text, a layout that slipped."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import RendererAgg

from figures.catalogue import FIGURES
from figures.drawing.files import drawing_of
from figures.drawing.style import Theme, themed
from figures.tables.records import Studies
from repro.records.store import Store
from tests.figures.conftest import studies_in

BASELINE = Path(__file__).parent / "baseline"
DRAWN = [name for name in FIGURES if name.startswith("fig-")]
COMPARED = ["fig-tow", "fig-theory-trajectories", "fig-landscape"]
BLOCK = 12  # pixels; averages over such blocks do not see antialiasing, only what moved


@pytest.fixture(scope="module")
def studies(golden: Store) -> Studies:
    return studies_in(golden)


@dataclass(frozen=True)
class Words:
    """One drawn line of text: where it stands, in pixels from the top left, and how large it is, in points."""

    text: str
    box: tuple[float, float, float, float]
    size: float

    def overlap(self, other: "Words") -> float:
        """Return the shared area as a share of the smaller one."""
        left, top = (max(self.box[i], other.box[i]) for i in (0, 1))
        right, bottom = (min(self.box[i], other.box[i]) for i in (2, 3))
        areas = [(one.box[2] - one.box[0]) * (one.box[3] - one.box[1]) for one in (self, other)]
        return max(0.0, right - left) * max(0.0, bottom - top) / max(min(areas), 1e-9)


class Listener(RendererAgg):
    """Draws as always and notes every line of text that really reaches the canvas."""

    def __init__(self, figure: Any) -> None:
        super().__init__(figure.bbox.width, figure.bbox.height, figure.dpi)
        self.heard: list[Words] = []

    def draw_text(self, gc: Any, x: float, y: float, s: str, prop: Any, angle: float, ismath: Any = False,
                  mtext: Any = None) -> None:  # fmt: skip
        width, height, _ = self.get_text_width_height_descent(s, prop, ismath)
        across, up = (height, width) if angle == 90 else (width, height)
        left = x - across if angle == 90 else x
        if s.strip() and angle in (0, 90):
            self.heard.append(Words(s, (left, y - up, left + across, y), prop.get_size_in_points()))
        super().draw_text(gc, x, y, s, prop, angle, ismath, mtext)


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWN)
def test_text_is_readable_whole_and_apart(name: str, studies: Studies) -> None:
    with themed(Theme()):
        figure = drawing_of(name, studies, Theme()).figure
        assert figure is not None
        figure.draw_without_rendering()
        listener = Listener(figure)
        figure.draw(listener)
    found = listener.heard
    width, height = figure.bbox.width, figure.bbox.height
    assert len(found) >= 5
    assert min(words.size for words in found) >= 7.0
    assert [words.text for words in found if not _inside(words.box, width, height)] == []
    pairs = itertools.combinations(found, 2)
    assert [(one.text, other.text) for one, other in pairs if one.overlap(other) > 0.1] == []


def _inside(box: tuple[float, float, float, float], width: float, height: float) -> bool:
    return min(box[0], box[1]) >= -1 and box[2] <= width + 1 and box[3] <= height + 1


def blocks(image: np.ndarray) -> np.ndarray:
    """Return mean lightness over square blocks, values in [0, 1]."""
    grey = image[..., :3].mean(axis=2)
    rows, columns = (size // BLOCK * BLOCK for size in grey.shape)
    cut = grey[:rows, :columns].reshape(rows // BLOCK, BLOCK, columns // BLOCK, BLOCK)
    return cut.mean(axis=(1, 3))


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPARED)
def test_the_layout_is_the_one_looked_at(name: str, drawn_folder: Path) -> None:
    from matplotlib.image import imread

    seen = blocks(np.asarray(imread(drawn_folder / f"{name}.png")))
    kept = np.load(BASELINE / f"{name}.npz", allow_pickle=False)["blocks"]
    assert seen.shape == kept.shape
    difference = np.abs(seen - kept)
    assert difference.mean() < 0.01
    assert np.quantile(difference, 0.995) < 0.2
