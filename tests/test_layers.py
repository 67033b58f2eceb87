"""The arrows of the architecture, read from the import statements."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("repro", "theory", "empirical", "figures")
FORBIDDEN = {
    "theory": {"empirical", "figures", "torch", "torchvision", "matplotlib", "seaborn"},
    "empirical": {"theory", "figures", "matplotlib", "seaborn"},
    "figures": {"theory", "empirical", "torch", "torchvision", "numba"},
}
FLOORS = ("repro.base", "repro.statistics", "repro.records", "repro.study")  # each below the next, all below packages
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def imported_names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        members = [f"{node.module}.{alias.name}" for alias in node.names]
        return [name if name in MODULES else node.module for name in members]
    return []


def imports(path: Path) -> set[str]:
    return {name for node in ast.walk(ast.parse(path.read_text())) for name in imported_names(node)}


def internal(path: Path) -> set[str]:
    return {name for name in imports(path) if name.split(".")[0] in PACKAGES} - {module_name(path)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: module_name(path))
def test_imports_go_downwards_only(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    roots = {name.split(".")[0] for name in imports(path)}
    assert not roots & FORBIDDEN.get(package, set())
    if package != "repro":
        assert not [name for name in imports(path) if name.startswith("repro.") and not name.startswith(FLOORS)]


@pytest.mark.parametrize(
    ("path", "below"),
    [(path, FLOORS[: FLOORS.index(floor) + 1]) for floor in FLOORS
     for path in sorted((ROOT / floor.replace(".", "/")).glob("*.py"))],
    ids=lambda given: module_name(given) if isinstance(given, Path) else "",
)  # fmt: skip
def test_a_floor_imports_nothing_above_it(path: Path, below: tuple[str, ...]) -> None:
    assert all(name.startswith(below) for name in internal(path))


def test_what_a_terminal_sees_knows_no_command() -> None:
    for path in sorted((ROOT / "repro" / "terminal").glob("*.py")):
        assert not [name for name in internal(path) if name.startswith("repro.commands")], path


def test_there_are_no_import_cycles_and_none_hides_in_a_function() -> None:
    graph = {name: internal(path) & set(MODULES) for name, path in MODULES.items()}
    while graph:
        leaves = {name for name, targets in graph.items() if not targets & set(graph)}
        assert leaves, f"cycle among {sorted(graph)}"
        graph = {name: targets for name, targets in graph.items() if name not in leaves}
