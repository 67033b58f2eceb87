"""The wheel as a user gets it: built from a copy of this checkout, installed apart from it, run from another folder.

python -m tests.install.wheel --python python3.13      # installs what the wheel itself needs, without torch
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
COMMANDS = (
    ("theory", "--signal-strength", "0.5", "--seeds", "4"),
    ("empirical", "recipes"),
    ("claims",),
    ("figures", "fig-tow"),
    ("report",),
)


def build(folder: Path) -> Path:
    """Build the wheel from a copy of what is tracked, so that no leftover of this checkout helps."""
    source = folder / "source"
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True)
    for name in listed.stdout.decode().split("\n"):
        if name and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, source / name)
    words = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*words, str(source)], check=True, capture_output=True, text=True)
    return next(folder.glob("*.whl"))


def closure(wheel: Path, extras: set[str]) -> dict[str, metadata.Distribution]:
    """Return the installed packages that a wheel needs with some of its extras, those that these need included."""
    head = next(path for path in zipfile.Path(wheel).iterdir() if path.name.endswith(".dist-info"))
    found: dict[str, metadata.Distribution] = {}
    waiting: list[tuple[metadata.Distribution, frozenset[str]]] = [(metadata.PathDistribution(head), frozenset(extras))]
    while waiting:
        distribution, wanted = waiting.pop()
        for text in distribution.requires or []:
            need = Requirement(text)
            chosen = [*wanted, ""]
            if need.marker is not None and not any(need.marker.evaluate({"extra": extra}) for extra in chosen):
                continue
            if need.name not in found:
                found[need.name] = metadata.distribution(need.name)
                waiting.append((found[need.name], frozenset(need.extras)))
    return found


def environment(wheel: Path, folder: Path, extras: set[str]) -> Path:
    """Return the site-packages of a new environment: the wheel, and links to the packages it needs and no others."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    site = next((folder / "lib").glob("python*/site-packages"))
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(words, check=True, capture_output=True)
    for distribution in closure(wheel, extras).values():
        tops = {file.parts[0] for file in distribution.files or [] if file.parts[0] not in ("..", "__pycache__")}
        for top in tops:
            target = site / top
            if not target.exists():
                target.symlink_to(Path(str(distribution.locate_file(top))).resolve())
    return site


def run(python: Path, cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `repro` with another interpreter in another folder, nothing of this checkout in sight."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "TMPDIR", "SSL_CERT_FILE")}
    cwd.mkdir(parents=True, exist_ok=True)
    lines = [str(python), "-c", "from repro.commands.cli import main; main()", *words]
    clean = kept | {"HOME": str(cwd / "home"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(lines, cwd=cwd, env=clean, capture_output=True, text=True, timeout=3600)


def own_files(site: Path) -> set[str]:
    """Return the files of this project in a site-packages folder, with what stands beside them."""
    tops = ("repro", "theory", "empirical", "figures")
    return {str(path.relative_to(site)) for top in tops for path in (site / top).rglob("*") if path.is_file()}


def main() -> None:
    """Install the wheel with what it needs from the package index into another Python, and run the commands."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", required=True, help="interpreter, such as python3.13")
    chosen = parser.parse_args().python
    os.environ.pop("PYTHONPATH", None)  # a checkout on the path would count as installed
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build(folder)
        subprocess.run([chosen, "-m", "venv", str(folder / "env")], check=True)
        python = folder / "env" / "bin" / "python"
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", str(wheel)], check=True)
        listed = subprocess.run([str(python), "-m", "pip", "list"], check=True, capture_output=True, text=True).stdout
        if "torch" in listed.split():
            raise SystemExit("torch came with the plain installation")
        for words in COMMANDS:
            done = run(python, folder / "elsewhere", *words)
            sys.stdout.write(f"{chosen}: repro {' '.join(words)}: {done.returncode}\n")
            if done.returncode:
                raise SystemExit(done.stdout + done.stderr)


if __name__ == "__main__":
    main()
