"""The wheel works away from the checkout, with and without torch, and is never written into."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.install.wheel import COMMANDS, build, environment, own_files, run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an environment without any extra."""
    folder = tmp_path_factory.mktemp("bare")
    environment(wheel, folder, set())
    return folder


@pytest.fixture(scope="module")
def full(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an environment with the extras for networks and figures."""
    folder = tmp_path_factory.mktemp("full")
    environment(wheel, folder, {"networks", "figures"})
    return folder


def site_of(folder: Path) -> Path:
    return next((folder / "lib").glob("python*/site-packages"))


@pytest.mark.parametrize("name", ["bare", "full"])
def test_every_reader_works_from_another_folder(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> None:
    folder: Path = request.getfixturevalue(name)
    site, before = site_of(folder), own_files(site_of(folder))
    assert (site / "torch").exists() == (name == "full")
    said = {}
    for words in COMMANDS:
        done = run(folder / "bin" / "python", tmp_path, *words)
        assert done.returncode == 0, done.stderr
        said[words[0]] = done.stdout
    assert "digits.toml" in said["empirical"]
    assert "1a: SAM improves" in said["claims"]
    assert "only where" in said["claims"].lower()
    assert "fig-tow.png" in said["figures"]
    assert (tmp_path / "runs" / "report.html").stat().st_size > 500_000
    # Python may compile what it imports; nothing else appears beside the code.
    assert {name for name in own_files(site) - before if "__pycache__" not in name or ".nb" in name} == set()


def test_a_command_whose_extra_is_missing_names_the_line_that_brings_it(bare: Path, tmp_path: Path) -> None:
    done = run(bare / "bin" / "python", tmp_path, "empirical", "run")
    assert done.returncode == 3
    assert "pip install 'sharpness-aware-unlearning[networks]'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.fixture
def lost(bare: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Take a shipped file away for the length of a test."""
    file = site_of(bare) / "repro" / "bundled" / request.param
    content = file.read_bytes()
    file.unlink()
    yield request.param
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ("results/digits.parquet", ("claims",)),
        ("results/digits.parquet", ("figures", "fig-tow")),
        ("results/theory.parquet", ("list",)),
        ("recipes/digits.toml", ("empirical", "recipes")),
    ],
    indirect=["lost"],
)
def test_a_lost_shipped_file_is_an_error(bare: Path, tmp_path: Path, lost: str, words: tuple[str, ...]) -> None:
    done = run(bare / "bin" / "python", tmp_path, *words)
    assert done.returncode == 3
    assert f"{lost}: belongs to this version and is not there" in done.stderr
