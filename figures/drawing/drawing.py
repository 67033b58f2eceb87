"""What a figure function returns: the picture or table, its numbers, its words, and the runs behind it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from figures.drawing.panels import panel_grid, say_not_run
from figures.drawing.style import Theme
from repro.records.record import Record
from repro.statistics.effects import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawing:
    """One figure or table, ready to be written.

    Attributes:
        data: exactly the numbers drawn, tidy.
        caption: what is shown, with the meaning of every mark, the number of seeds and the setting.
        alt: one or two sentences for a reader who cannot see it.
        records: the runs behind the numbers.
        missing: one line for each part that is not run, `what: command`.
        figure: the drawing, or None for a table.
        display: the table as texts, or None for a figure.
    """

    data: Table
    caption: str
    alt: str
    records: tuple[Record, ...] = ()
    missing: tuple[str, ...] = ()
    figure: "Figure | None" = None
    display: Table | None = None

    @property
    def run_ids(self) -> list[str]:
        """Return the ids of the runs behind the numbers, ordered."""
        return sorted({record.run_id for record in self.records})


class NotRun(Exception):
    """None of a figure's runs exist.

    Args:
        what: what is missing.
        columns: the columns that a table's numbers would have; None for a picture.
        said: first sentence of a table's caption.
        command: the command that makes the runs, if it is not the figure's own.
    """

    def __init__(self, what: str, columns: Sequence[str] | None = None, said: str = "", *, command: str = "") -> None:
        super().__init__(what)
        self.what, self.columns, self.said, self.command = what, columns, said, command

    def drawing(self, command: str, theme: Theme) -> Drawing:
        """Return the empty frame or table, which names the command that fills it."""
        command = self.command or command
        missing = f"{self.what}: {command}"
        if self.columns is None:
            return empty_figure(missing, theme)
        status = pd.DataFrame([{"status": "not run", "command": command}])
        return Drawing(pd.DataFrame(columns=pd.Index(list(self.columns))), f"{self.said} Not run.".strip(),
                       "An empty table: not run.", missing=(missing,), display=status)  # fmt: skip


def empty_figure(missing: str, theme: Theme) -> Drawing:
    """Return the frame of a figure none of whose runs exist: "not run" and the command that fills it."""
    figure, axes = panel_grid(1, 1, width=3.4, height=1.9)
    say_not_run(axes[0, 0], missing, theme)
    data = pd.DataFrame(columns=pd.Index(["not_run"]))
    return Drawing(data, "Not run.", f"An empty frame: not run. {missing}", missing=(missing,), figure=figure)
