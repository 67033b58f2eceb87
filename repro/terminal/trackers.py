"""Optional experiment trackers: what a record holds, sent on. The store stays the record; nothing is on by default."""

import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from empirical.studies.watch import Listener, News, name_of
from repro.base.settings import choose
from repro.records.record import Record

TRACKERS = ("none", "tensorboard", "trackio", "wandb")


def tracker(name: str, study: str, folder: Path) -> Listener:
    """Return the listener of a tracker, its package imported: a missing one is noticed before anything is computed.

    Args:
        name: of `TRACKERS`.
        study: the project its runs are filed under.
        folder: where local trackers write.
    """
    choose("track", name, TRACKERS)
    if name == "tensorboard":
        importlib.import_module("tensorboard")
        return TensorBoard(folder / "tensorboard")
    return Service(importlib.import_module(name), study, folder)


def curves(record: Record) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield (step, numbers) of a run's epochs and of its trajectory; a step is a thousandth of an epoch."""
    for row in record.epochs():
        numbers = {name: float(row[name]) for name in ("loss", "lr") if row.get(name) is not None}
        yield 1000 * int(row["epoch"]), numbers
        for seen in row.get("accuracies", ()):
            shares = {f"{name}_accuracy": float(seen[name]) for name in ("retain", "forget", "test") if name in seen}
            yield round(1000 * seen["progress"]), shares


def numbers(record: Record) -> dict[str, float]:
    """Return the final numbers of a run."""
    return {name: float(value) for name, value in record.result.items() if isinstance(value, int | float)}


class Quiet:
    """A tracker hears of finished runs only."""

    def begin(self, title: str, done: int, total: int) -> None:
        """Do nothing."""

    def alive(self, stages: int, seconds: float) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""


class TensorBoard(Quiet):
    """Event files under a folder, one run each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def tell(self, news: News) -> None:
        """Write curves, settings and final numbers of a run."""
        from torch.utils.tensorboard.writer import SummaryWriter

        record = news.record
        with SummaryWriter(str(self.folder / record.run_id)) as writer:
            for step, row in curves(record):
                for name, value in row.items():
                    writer.add_scalar(name, value, step)
            for name, value in numbers(record).items():
                writer.add_scalar(f"final/{name}", value)
            settings = "".join(f"| {name} | {value} |\n" for name, value in record.config.items())
            writer.add_text("settings", f"{name_of(record)}\n\n| setting | value |\n|---|---|\n{settings}")


class Service(Quiet):
    """trackio or wandb, whose calls are the same; wandb writes offline unless its own variable says otherwise."""

    def __init__(self, package: Any, study: str, folder: Path) -> None:
        self.package, self.study, self.folder = package, study or "repro", folder

    def tell(self, news: News) -> None:
        """Send curves, settings and final numbers of a run."""
        record = news.record
        os.environ.setdefault("WANDB_MODE", "offline")
        os.environ.setdefault("WANDB_DIR", str(self.folder))
        os.environ.setdefault("TRACKIO_DIR", str(self.folder / "trackio"))
        self.folder.mkdir(parents=True, exist_ok=True)
        config = {name: value for name, value in record.config.items() if name != "type"}
        run = self.package.init(project=self.study, name=f"{name_of(record)} {record.run_id[:6]}", config=config)
        for step, row in curves(record):
            run.log(row, step=step)
        run.log({f"final/{name}": value for name, value in numbers(record).items()})
        run.finish()
