"""Damage is named, never silent: one line on the log `repro.damage`, which commands and workers collect."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOG = logging.getLogger("repro.damage")


def name_damage(line: str) -> None:
    """Name one damaged file; the caller goes on with the rest."""
    LOG.warning("%s", line)


class _Collector(logging.Handler):
    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if line not in self.lines:  # readers read some files more than once
            self.lines.append(line)
            self.tell(line)


@contextmanager
def collected(tell: Callable[[str], None] = lambda line: None) -> Iterator[list[str]]:
    """Give a list of every damage that is named inside, each once; `tell` hears each as it comes."""
    collector = _Collector(tell)
    passes_on, LOG.propagate = LOG.propagate, False
    LOG.addHandler(collector)
    try:
        yield collector.lines
    finally:
        LOG.removeHandler(collector)
        LOG.propagate = passes_on
