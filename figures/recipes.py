"""What fills a gap: the shipped recipe of a study, where it has the cell, or the plain word that none has it."""

import tomllib
from collections.abc import Sequence
from functools import cache
from typing import Any

from repro.records.shipped import shipped


def command_for(studies: Sequence[str], **cell: str) -> str:
    """Return the command that runs a cell of one of these studies, the first that has it; else that none is shipped.

    Args:
        studies: names, as records have them.
        cell: settings of the cell, such as `method="scrub"`; without any the whole study is asked for.
    """
    for study in studies:
        if any(all(value in _listed(block.get(name)) for name, value in cell.items()) for block in _blocks(study)):
            return f"repro empirical grid recipes/{study}.toml"
    what = "this cell of study" if cell else "study"
    return f"no shipped recipe has {what} {' or '.join(filter(None, studies)) or 'without a name'}"


@cache
def _blocks(study: str) -> list[dict[str, Any]]:
    """Return the blocks of a study's shipped recipe, what it takes from others filled in; none of a stranger's."""
    content = _content(study)
    return [{**content.get("defaults", {}), **block} for block in content.get("cells", ())]


def _content(study: str) -> dict[str, Any]:
    path = {one.stem: one for one in shipped("recipes").glob("*.toml")}.get(study)
    content = tomllib.loads(path.read_text()) if path else {}
    base = _content(content["extends"].removesuffix(".toml")) if "extends" in content else {}
    return {**base, **content, "defaults": {**base.get("defaults", {}), **content.get("defaults", {})}}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
