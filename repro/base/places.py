"""Recipes and records that come with the toolkit, and the folders of a user's own, which are outside of it.

A checkout has `recipes/` and `results/` at its top; an installed package carries the same files in `repro/bundled/`,
with a list of their names that is written when the wheel is built.
"""

import os
import tempfile
from pathlib import Path

from repro.base.errors import MissingDataError

PACKAGE = Path(__file__).parents[1] / "bundled"
CHECKOUT = Path(__file__).parents[2]
LIST = "contents.txt"


def bundled(name: str) -> Path:
    """Return the folder `recipes` or `results` that belongs to this code.

    Raises:
        MissingDataError: if it, or a file that was installed in it, is missing; otherwise figures would look as if
            nobody had run the studies.
    """
    folder = PACKAGE / name if PACKAGE.is_dir() else CHECKOUT / name
    lost = _lost(folder)
    if lost:
        remedy = "install the package again" if PACKAGE.is_dir() else "restore it from version control"
        raise MissingDataError(f"{folder.name}/{lost}: belongs to this version and is not there; {remedy}")
    return folder


def _lost(folder: Path) -> str:
    """Return the first file that is missing from a folder of the toolkit; empty if none is."""
    if not folder.is_dir():
        return "*"
    listed = folder / LIST
    if PACKAGE.is_dir() and not listed.is_file():
        return LIST
    names = listed.read_text(encoding="utf-8").split() if listed.is_file() else ["*"]
    return next((name for name in names if not any(folder.glob(name))), "")


def published_files() -> list[Path]:
    """Return the files of all published studies: first those in `results/` of the working directory."""
    own = bundled("results")
    here = Path("results")
    mine = [] if here.resolve() == own.resolve() else sorted(here.glob("*.parquet"))
    return mine + sorted(own.glob("*.parquet"))


def recipe_file(path: str | Path) -> Path:
    """Return a recipe: the file of that path, else the toolkit's of that name (`digits`, `recipes/digits.toml`)."""
    path = Path(path)
    if path.is_file() or not path.name or path.parent not in (Path(), Path("recipes")):
        return path
    known = bundled("recipes") / path.with_suffix(".toml").name
    return known if known.is_file() else path


def cache_folder() -> Path:
    """Return the folder of decoded images, hashes and compiled code: REPRO_CACHE, else the user's cache folder.

    Without a home folder, as in some containers, it is among the temporary files.
    """
    if own := os.environ.get("REPRO_CACHE", ""):
        return Path(own)
    try:
        caches = Path(os.environ.get("XDG_CACHE_HOME", "") or Path.home() / ".cache")
    except RuntimeError:
        caches = Path(tempfile.gettempdir(), f"cache-{os.getuid()}")
    return caches / "repro-unlearning"


def compiled_folder() -> str:
    """Return the folder of code compiled by numba; empty in a checkout, where numba writes beside the source.

    Nothing is written into an installed package.
    """
    return str(cache_folder() / "numba") if PACKAGE.is_dir() else ""
