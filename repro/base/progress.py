"""Progress bars; they appear on a terminal only."""

import sys
from collections.abc import Iterable, Iterator, Sized
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


@cache
def console() -> Any:
    """Return the console on standard error; all bars and tables share it, so that they do not overwrite each other."""
    from rich.console import Console

    return Console(stderr=True)


def track(values: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield from `values` and show a progress bar on standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield from values
        return
    from rich.progress import track as rich_track

    count = total if total is not None else (len(values) if isinstance(values, Sized) else None)
    yield from rich_track(values, description, total=count, console=console(), transient=True)
