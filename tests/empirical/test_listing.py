"""The published lists of runs are what the shipped recipes name."""

from pathlib import Path

import pytest

from empirical.settings.run_config import Runtime
from empirical.studies.finished import Finished
from empirical.studies.recipe import load_recipe
from repro.records.pack import PackedStore
from repro.study.published import Published

ROOT = Path(__file__).parents[2]
PACKS = sorted((ROOT / "results").glob("*.parquet"))
STUDIES = [path.stem for path in sorted((ROOT / "recipes").glob("*.toml")) if path.stem in Published(PACKS).lists]


@pytest.fixture(scope="module")
def finished() -> Finished:
    return Finished(map(PackedStore, PACKS))


@pytest.mark.parametrize("name", STUDIES)
def test_a_published_study_has_the_runs_that_its_recipe_names(name: str, finished: Finished) -> None:
    found, published = load_recipe(name).resolve(finished, Runtime()).run_list(finished), Published(PACKS).lists[name]
    assert found.open == 0
    assert set(found.runs) == set(published.runs)
    assert set(found.search) <= set(published.search), "a rate that nobody would try today may have been tried"
