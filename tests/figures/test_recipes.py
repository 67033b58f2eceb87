"""A gap is sent to the shipped recipe that has the cell, and to none where none has it."""

import itertools
from pathlib import Path

import pytest

from empirical.studies.recipe import load_recipe
from figures.recipes import command_for
from repro.records.shipped import shipped

NAMES = ("method", "pretrain", "rule", "difficulty")
RECIPES = {path.stem: load_recipe(path) for path in sorted(shipped("recipes").glob("*.toml"))}
CELLS = {study: {tuple(getattr(cell, name) for name in NAMES) for cell in recipe.cells()}
         for study, recipe in RECIPES.items()}  # fmt: skip


@pytest.mark.parametrize("study", RECIPES)
def test_the_command_of_a_cell_is_that_of_a_recipe_whose_grid_has_it(study: str) -> None:
    assert RECIPES[study].name == study
    command = f"repro empirical grid recipes/{study}.toml"
    assert command_for([study]) == command
    values = [sorted(set(column)) for column in zip(*itertools.chain(*CELLS.values()), strict=True)]
    every = (dict(zip(NAMES, cell, strict=True)) for cell in itertools.product(*values))
    assert {tuple(cell.values()) for cell in every if command_for([study], **cell) == command} == CELLS[study]


def test_where_no_recipe_has_a_cell_none_is_named() -> None:
    none = "no shipped recipe has this cell of study {}".format
    assert command_for(["cifar10"], method="salun", difficulty="high").endswith("recipes/cifar10.toml")
    assert command_for(["cifar10"], method="salun", difficulty="mid") == none("cifar10")
    assert command_for(["my-study"], method="salun") == none("my-study")
    assert command_for(["my-study"]) == "no shipped recipe has study my-study"
    assert command_for([""]) == "no shipped recipe has study without a name"
    assert command_for(["cifar10-small", "cifar10-seeds"], method="finetune").endswith("recipes/cifar10-seeds.toml")
    assert not Path("recipes/my-study.toml").exists()
