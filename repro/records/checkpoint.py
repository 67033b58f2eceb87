"""Checkpoints of unfinished work: at most two sealed files, of which the newest whole one counts."""

import re
from contextlib import suppress
from pathlib import Path

from repro.records.damage import name_damage
from repro.records.folder import read_sealed, write_sealed

KEPT = 2
NAME = re.compile(r"(\d+)\.sealed")
OURS = re.compile(r"\d+\.sealed|\.\d+\.sealed\.[0-9a-f]{8}\.\d+")


class Checkpoints:
    """The checkpoints of one stage.

    Args:
        folder: `<store>/checkpoints/<stage id>`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def numbers(self) -> list[int]:
        """Return the numbers of the existing checkpoints, oldest first."""
        found = (NAME.fullmatch(path.name) for path in self.folder.glob("*.sealed"))
        return sorted(int(match[1]) for match in found if match)

    def latest(self) -> bytes | None:
        """Return the newest whole checkpoint; a damaged one is named and removed, and the one before it counts."""
        for number in reversed(self.numbers()):
            path = self._path(number)
            data = read_sealed(path)
            if data is not None:
                return data
            where = f"checkpoints/{self.folder.name}/{path.name}"
            name_damage(f"{where}: does not match its hash; the one before it counts")
            path.unlink(missing_ok=True)
        return None

    def write(self, data: bytes) -> bool:
        """Write a checkpoint and keep the one before it; return False if it could not be written.

        The work goes on then: it may still end well, and the checkpoint before is still there.
        """
        numbers = self.numbers()
        try:
            write_sealed(self._path(numbers[-1] + 1 if numbers else 1), data)
        except OSError:
            return False
        for number in numbers[: 1 - KEPT]:
            self._path(number).unlink(missing_ok=True)
        return True

    def clear(self) -> None:
        """Remove all checkpoints of finished work; other files in the folder stay."""
        for path in self.files():
            path.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()

    def files(self) -> list[Path]:
        """Return the files of checkpoints, including those cut off while they were written."""
        return [path for path in self.folder.glob("*") if OURS.fullmatch(path.name)]

    def _path(self, number: int) -> Path:
        return self.folder / f"{number}.sealed"
