"""The trained stages of a store: their weights, the checksums of these, and checkpoints of unfinished stages.

A stage's id says how a model is trained, a checksum says which weights that gave. The same id can have two checksums:
the last digits of a training depend on the processor and its vector instructions, the number of threads, and the
versions of torch and of this code. Runs on different weights are not compared.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from repro.base.errors import IntegrityError
from repro.base.files import name_damage, read_bytes, read_with_checksum, write_with_checksum
from repro.records.folder import IDENTITY, config_json, read_checked, read_marker, set_aside, write_folder
from repro.records.identity import run_id
from repro.records.record import Record

FACTS = "provenance.json"  # the marker of a trained stage
CHECKPOINTS = 2  # of a stage: the newest whole one counts
NAME = re.compile(r"(\d+)\.sealed")
OURS = re.compile(r"\d+\.sealed|\.\d+\.sealed\.[0-9a-f]{8}\.\d+")
CHECKSUM = "_checksum"  # follows the name of a stage among the parents of a run
REMEDY = "run all of them again in one store, with `--set portable=true` if several machines share the work"


class Stages:
    """The trained stages of one store, which may share them with other runs.

    Args:
        root: the store; mark: called before a stage is written.
    """

    def __init__(self, root: Path, mark: Callable[[], None]) -> None:
        self._root, self._mark = root, mark

    def find(self, stage_id: str) -> Path | None:
        """Return the folder of a trained stage, which holds `weights.safetensors`, or None; a path is no id."""
        folder = self._root / "models" / stage_id
        return folder if IDENTITY.fullmatch(stage_id) and (folder / FACTS).exists() else None

    def read(self, stage_id: str) -> tuple[bytes, dict[str, Any]] | None:
        """Return the weights and the facts of a trained stage, compared with their hashes, or None."""
        folder = self.find(stage_id)
        if folder is None:
            return None
        try:
            facts = read_marker(folder / FACTS)
            return read_checked(folder / "weights.safetensors", facts["files"].get("weights.safetensors", "")), facts
        except IntegrityError as error:
            set_aside(self._root, folder, str(error))
            return None

    def save(self, config: Any, weights: bytes, provenance: Mapping[str, Any]) -> Path:
        """Write the weights of a trained stage (safetensors bytes); `provenance.json` comes last."""
        self._mark()
        folder = self._root / "models" / run_id("model", config)
        files = {"config.json": config_json("model", config), "weights.safetensors": weights}
        write_folder(folder, files, FACTS, dict(provenance))
        return folder

    def all(self) -> list[Path]:
        """Return the folders of the trained stages, ordered by id."""
        found = (path.parent for path in sorted(self._root.glob(f"models/*/{FACTS}")))
        return [folder for folder in found if IDENTITY.fullmatch(folder.name)]

    def files(self, folder: Path) -> list[Path]:
        """Return the files of a trained stage: its marker and the files that the marker names."""
        return [folder / name for name in (FACTS, *read_marker(folder / FACTS)["files"])]

    def remove(self, folder: Path) -> list[Path]:
        """Remove the files of a trained stage; return the other files in its folder, which stay."""
        for path in self.files(folder):  # the marker first: half a model is no model
            path.unlink(missing_ok=True)
        with suppress(OSError):
            folder.rmdir()
        return sorted(folder.glob("*"))

    def imported(self, name: str) -> str:
        """Return the id of an imported model, given its name or id; empty if there is none."""
        if not name or self.find(name) is not None:
            return name
        for folder in self.all():
            with suppress(OSError, ValueError, AttributeError):  # `verify` names what is damaged
                if json.loads(read_bytes(str(folder / FACTS))).get("name") == name:
                    return folder.name
        return ""

    def checkpoints(self, stage_id: str) -> "Checkpoints":
        """Return the checkpoints of an unfinished stage."""
        return Checkpoints(self._root / "checkpoints" / stage_id)


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
            data = read_with_checksum(path)
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
            write_with_checksum(self._path(numbers[-1] + 1 if numbers else 1), data)
        except OSError:
            return False
        for number in numbers[: 1 - CHECKPOINTS]:
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


def same_weights(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two runs have the same stages as parents, and no checksum that both state differs.

    Older runs state no checksums; an unknown checksum counts as the same.
    """
    unlike = {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}
    known = one.get, other.get
    return all(name.endswith(CHECKSUM) and None in (get(name) for get in known) for name in unlike)


def known_weights(parents: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield id and checksum of every stage among a run's parents that has a known checksum."""
    for name, checksum in parents.items():
        if name.endswith(CHECKSUM) and checksum:
            yield str(parents.get(name.removesuffix(CHECKSUM))), str(checksum)


def measures(part: Record, metric: str, run: Record) -> bool:
    """Return whether an evaluation is of this metric and of this run's own models, weights and forget set."""
    parents = run.result.get("parents")
    if part.config.get("metric") != metric:
        return False
    if not isinstance(parents, dict):
        return True
    stages = part.config.get("stages")
    looked = [one for one in stages.values() if isinstance(one, str)] if isinstance(stages, dict) else []
    weights = dict(known_weights(parents)), dict(known_weights({**parents, **(part.provenance.get("weights") or {})}))
    known = [[of.get(stage) for of in weights] for stage in looked]
    same = all(one == other or None in (one, other) for one, other in known)
    looked += [one for one in [part.config.get("forget_set")] if one]
    return same and set(looked) <= set(parents.values())


def two_weights(records: Iterable[Record]) -> dict[str, tuple[str, list[str]]]:
    """Return the stages with more than one checksum, by id: a line that says so, and the ids of their runs."""
    found: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for record in records:
        for stage, checksum in known_weights(record.result.get("parents") or {}):
            found[stage].setdefault(checksum, []).append(record.run_id)
    several = {stage: by for stage, by in found.items() if len(by) > 1}
    return {stage: (_line(stage, by), sorted({one for runs in by.values() for one in runs}))
            for stage, by in several.items()}  # fmt: skip


def require_one_set(records: Iterable[Record], where: str) -> None:
    """Refuse runs that stand on two sets of weights of one stage.

    Raises:
        IntegrityError: naming the stage, its checksums, the runs and the remedy.
    """
    lines = [line for line, _ in two_weights(records).values()]
    if lines:
        more = f" (and {len(lines) - 1} stages more)" if len(lines) > 1 else ""
        raise IntegrityError(f"{where}: {lines[0]}{more}")


def _line(stage: str, by_checksum: Mapping[str, list[str]]) -> str:
    parts = [f"{one} (runs {', '.join(runs[:3])}{', ...' if len(runs) > 3 else ''})"
             for one, runs in sorted(by_checksum.items())]  # fmt: skip
    return f"stage {stage} has {len(parts)} sets of weights, {' and '.join(parts)}; {REMEDY}"
