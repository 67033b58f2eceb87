"""The one rule of judging, for theory and networks: from the sides on which intervals lie to a word."""

from collections.abc import Sequence

HOLDS, REGIME, MIXED = "holds", "holds in a regime", "mixed"
CONTRADICTED, UNDECIDED = "contradicted", "undecided"


def verdict(sides: Sequence[int], *, mean: int = 0) -> str:
    """Return the verdict on a claim from the sides of its cells and that of their mean.

    - holds: every cell lies on the claimed side;
    - mixed: something lies on the claimed side and something on the other;
    - holds in a regime: some cell or the mean lies on the claimed side, none on the other;
    - contradicted: some cell or the mean lies on the other side, none on the claimed one;
    - undecided: every interval contains the border, or nothing could be measured.

    Args:
        sides: +1, 0 or -1 for each cell, by intervals that hold together; a cell that must not decide is 0.
        mean: that of the mean over cells, by its own interval.
    """
    seen = {*sides, mean}
    if {1, -1} <= seen:
        return MIXED
    if sides and set(sides) == {1}:
        return HOLDS
    return REGIME if 1 in seen else CONTRADICTED if -1 in seen else UNDECIDED


def regime(names: Sequence[str], sides: Sequence[int], *, undecided: bool = False) -> str:
    """Return where a claim holds and where it fails: the names of the cells on either side.

    Args:
        names: what each cell is called; sides: one each.
        undecided: list those that decide nothing, too.
    """
    words = {"holds": 1, "fails": -1} | ({"undecided": 0} if undecided else {})
    lists = {word: [name for name, side in zip(names, sides, strict=True) if side == place]
             for word, place in words.items()}  # fmt: skip
    return ". ".join(f"{word}: {'; '.join(cells)}" for word, cells in lists.items() if cells)
