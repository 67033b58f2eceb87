"""Where marks stand side by side on an axis of names: a slot each, groups apart, regions of groups apart by a line."""

from collections.abc import Hashable, Iterable
from itertools import groupby, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from figures.drawing.style import Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# In slots: the least a group takes, for its name's sake, and the gaps.
NARROWEST, BETWEEN_GROUPS, BETWEEN_REGIONS = 1.8, 0.8, 0.4
FEW = 2  # groups whose names need not be slanted


class Slots(NamedTuple):
    """An axis of names.

    Attributes:
        places: where each mark stands.
        groups: name of each group and its middle.
        regions: ends of each region, by its name.
    """

    places: dict[Hashable, float]
    groups: list[tuple[str, float]]
    regions: dict[str, tuple[float, float]]

    def label(self, axes: "Axes", theme: Theme, *, regions: bool = False) -> None:
        """Name the groups below a panel, draw a line between regions and, where `regions` asks, name these above it."""
        axes.grid(False, axis="x")
        slanted = {"rotation": 30, "ha": "right"} if len(self.groups) > FEW else {}
        axes.set_xticks([place for _, place in self.groups], [name for name, _ in self.groups], **slanted)
        ends = list(self.regions.values())
        axes.set_xlim(ends[0][0], ends[-1][1])
        for (_, left), (right, _) in pairwise(ends):
            axes.axvline((left + right) / 2, color=theme.ink, linewidth=0.6)
        if regions and len(ends) > 1:
            for name, (low, high) in self.regions.items():
                axes.text((low + high) / 2, 1.02, name, transform=axes.get_xaxis_transform(), ha="center", fontsize=7)


def arrange(marks: Iterable[tuple[str, str, Hashable]]) -> Slots:
    """Return the slots of marks `(region, group, mark)` in their order; those of a group, and of a region, in a row."""
    found, at = Slots({}, [], {}), 0.0
    for region, groups in groupby(marks, key=itemgetter(0)):
        start = at
        for name, group in groupby(groups, key=itemgetter(1)):
            own = [mark for _, _, mark in group]
            width = max(len(own), NARROWEST)
            middle = at + width / 2
            found.places.update({mark: middle + k - (len(own) - 1) / 2 for k, mark in enumerate(own)})
            found.groups.append((name, middle))
            at += width + BETWEEN_GROUPS
        found.regions[region] = start, at - BETWEEN_GROUPS
        at += BETWEEN_REGIONS
    return found
