"""Commands that users run end with their frozen exit codes and print their frozen JSON."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.golden.commands import EMPTY, FILE, SLOW, TINY, answers

FROZEN = json.loads(FILE.read_text())
Answers = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    return answers(tmp_path_factory.mktemp("commands"), [*EMPTY, *TINY])


MOVED = "meant to move? python -m tests.golden.freeze commands"


@pytest.mark.xdist_group("commands")
@pytest.mark.parametrize("line", [*EMPTY, *TINY])
def test_a_command_answers_as_frozen(line: str, answered: Answers) -> None:
    assert answered[line] == FROZEN[line], MOVED


@pytest.mark.slow
@pytest.mark.parametrize("line", SLOW)
def test_a_long_command_answers_as_frozen(line: str, tmp_path: Path) -> None:
    assert answers(tmp_path, [line])[line] == FROZEN[line], MOVED


def test_the_frozen_commands_are_these_and_end_in_several_ways() -> None:
    assert set(FROZEN) == {*EMPTY, *TINY, *SLOW}
    assert {said["exit"] for said in FROZEN.values()} == {0, 2, 3}
