"""Progress bars that appear on a terminal and nowhere else."""

import sys
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

T = TypeVar("T")


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield from `items` behind a rich progress bar on standard error; silent when that is not a terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import track as rich_track

    count = total if total is not None else (len(items) if isinstance(items, Sized) else None)
    yield from rich_track(items, description, total=count, console=Console(stderr=True), transient=True)
