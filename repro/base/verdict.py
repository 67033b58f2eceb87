"""The verdict on a claim, for theory and networks: it follows from the sides on which the intervals lie."""

from collections.abc import Sequence

HOLDS, REGIME, MIXED = "holds", "holds in a regime", "mixed"
CONTRADICTED, UNDECIDED = "contradicted", "undecided"


def verdict(sides: Sequence[int], *, mean: int = 0) -> str:
    """Return the verdict on a claim from the sides of its settings and the side of their mean.

    - holds: every setting lies on the claimed side, and the mean not on the other;
    - mixed: some settings (or the mean) lie on the claimed side, some on the other;
    - holds in a regime: some lie on the claimed side, none on the other;
    - contradicted: some lie on the other side, none on the claimed side;
    - undecided: every interval contains the border, or nothing could be measured.

    Args:
        sides: +1, 0 or -1 for each setting, by simultaneous intervals; 0 too for a setting that must not decide.
        mean: the side of the mean over settings, by its own interval.
    """
    seen = {*sides, mean}
    if {1, -1} <= seen:
        return MIXED
    if sides and set(sides) == {1}:
        return HOLDS
    return REGIME if 1 in seen else CONTRADICTED if -1 in seen else UNDECIDED


def regime(names: Sequence[str], sides: Sequence[int], *, undecided: bool = False) -> str:
    """Return where a claim holds and where it fails: the names of the settings on either side.

    Args:
        names: name of each setting; sides: side of each setting.
        undecided: list the undecided settings too.
    """
    words = {"holds": 1, "fails": -1} | ({"undecided": 0} if undecided else {})
    lists = {word: [name for name, side in zip(names, sides, strict=True) if side == place]
             for word, place in words.items()}  # fmt: skip
    return ". ".join(f"{word}: {'; '.join(settings)}" for word, settings in lists.items() if settings)
