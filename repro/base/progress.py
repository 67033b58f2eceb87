"""Progress bars that appear on a terminal and nowhere else."""

import sys
from collections.abc import Iterable, Iterator, Sized
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


@cache
def console() -> Any:
    """Return the one console on standard error that every bar and table shares, so that they do not overwrite."""
    from rich.console import Console

    return Console(stderr=True)


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield from `items` behind a rich progress bar on standard error; silent when that is not a terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.progress import track as rich_track

    count = total if total is not None else (len(items) if isinstance(items, Sized) else None)
    yield from rich_track(items, description, total=count, console=console(), transient=True)
