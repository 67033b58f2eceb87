"""Puts recipes and published studies into the wheel: `recipes/` and `results/` stand inside `repro/bundled/` there."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

BUNDLED = {"recipes": ("*.toml",), "results": ("*.parquet", "*.npz", "studies.json", "written-by-repro.sha256")}


class BuildWithStudies(build_py):
    """Copies the recipes and the published records, and lists them, so that a lost file is noticed."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:  # a checkout reads its own folders
            return
        for folder, patterns in BUNDLED.items():
            target = Path(self.build_lib) / "repro" / "bundled" / folder
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir(parents=True)
            files = sorted(path for pattern in patterns for path in Path(folder).glob(pattern))
            for file in files:
                shutil.copyfile(file, target / file.name)
            (target / "contents.txt").write_text("".join(f"{file.name}\n" for file in files))


setup(cmdclass={"build_py": BuildWithStudies})
