"""How a running study looks: one line per finished run in a log, a live table on a terminal, curves in a tracker."""

import sys
import time
from collections import deque
from typing import Any

from empirical.studies.watch import Listener, News, name_of
from repro.base.progress import console
from repro.records.store import Store
from repro.terminal.trackers import tracker

SHOWN = 12  # rows of the live table


def listeners(study: str, store: Store, *, quiet: bool = False, track: str = "none") -> list[Listener]:
    """Return the listeners that are told of finished runs.

    Raises:
        ConfigError: for an unknown tracker.
        ModuleNotFoundError: if the tracker is not installed; nothing is computed then.
    """
    found: list[Listener] = []
    if not quiet:
        found.append(Table() if sys.stderr.isatty() else Lines())
    if track != "none":
        found.append(tracker(track, study, store.root / "tracking"))
    return found


def facts(news: News) -> tuple[str, str, str, str, str]:
    """Return name, ToW, seconds, done of all, and the expected end of a finished run, as texts."""
    result, record = news.record.result, news.record
    tow = result.get("tow")
    shown = record.status if record.status != "ok" else "-" if tow is None else f"{tow:.3f}"
    seconds = record.provenance.get("seconds")
    end = "-" if news.left is None else time.strftime("%H:%M", time.localtime(time.time() + news.left))
    took = "-" if seconds is None else f"{seconds:.1f}"
    return name_of(record), shown, took, f"{news.done}/{news.total}", end


class Lines:
    """A log: one line per finished run."""

    def begin(self, title: str, done: int, total: int) -> None:
        """Print what starts."""
        self._say(f"{title}: {total} runs, {done} done, {total - done} to run")

    def tell(self, news: News) -> None:
        """Print a finished run."""
        name, tow, seconds, done, end = facts(news)
        self._say(f"{name}: ToW {tow}, {seconds} s; {done}, the last about {end}")

    def alive(self, stages: int, seconds: float) -> None:
        """Print that work goes on: no run is finished while shared stages are trained."""
        self._say(f"at work for {seconds:.0f} s: {stages} stages are trained")

    def warn(self, text: str) -> None:
        """Print a problem outside of the study."""
        self._say(text)

    def end(self) -> None:
        """Leave the log as it is."""

    def _say(self, text: str) -> None:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


class Table:
    """A live table on a terminal: the last runs, how many are done, and when the rest will be."""

    def __init__(self) -> None:
        self._rows: deque[tuple[str, ...]] = deque(maxlen=SHOWN)
        self._head = ""
        self._live: Any = None

    def begin(self, title: str, done: int, total: int) -> None:
        """Open the table."""
        from rich.live import Live

        self._head = f"{title}: {done}/{total} runs"
        self._live = Live(self._table(), console=console(), transient=True, refresh_per_second=4)
        self._live.start()

    def tell(self, news: News) -> None:
        """Add a row."""
        row = facts(news)
        self._rows.append(row)
        self._head = f"{self._head.partition(':')[0]}: {row[3]} runs, the last about {row[4]}"
        self._live.update(self._table())

    def alive(self, stages: int, seconds: float) -> None:
        """Show that stages are being trained."""
        self._head = f"{self._head.partition(' (')[0]} (at work for {seconds:.0f} s, {stages} stages trained)"
        self._live.update(self._table())

    def warn(self, text: str) -> None:
        """Print a problem outside of the study above the table."""
        console().print(text, markup=False, highlight=False)

    def end(self) -> None:
        """Close the table."""
        if self._live is not None:
            self._live.stop()

    def _table(self) -> Any:
        from rich.table import Table as RichTable

        table = RichTable("run", "ToW", "seconds", title=self._head, title_justify="left", box=None)
        for row in self._rows:
            table.add_row(*row[:3])
        return table
