"""How a study is cited: the metadata Zenodo asks for, and a CITATION.cff, both for its published records."""

import json
from collections.abc import Sequence
from pathlib import Path

from repro import __version__
from repro.records.record import Record

PAPER = "arXiv:2506.13715"
AUTHORS = "The sharpness-aware unlearning toolkit authors"
KEYWORDS = ["machine unlearning", "sharpness-aware minimization", "reproduction"]


def write_citation(name: str, records: Sequence[Record], folder: Path, *, creators: Sequence[str]) -> list[Path]:
    """Write `NAME.zenodo.json` and `NAME.CITATION.cff` and return both.

    Args:
        name: of the study.
        records: its runs, at least one.
        folder: where its published records are.
        creators: who made it, each as "Family, Given" or the name of a group; nobody: the authors of this toolkit.
    """
    creators = creators or [AUTHORS]
    finished = max(str(record.provenance.get("finished", "")) for record in records)[:10]
    title = f"Sharpness-aware machine unlearning: records of the study {name}"
    about = (
        f"{len(records)} runs, made with sharpness-aware-unlearning {__version__} and finished by {finished}: "
        "settings, numbers, provenance and hashes in one Parquet file, their arrays in an archive with it. "
        "`repro records verify` checks them, `repro records export` flattens them."
    )
    zenodo = {
        "title": title, "upload_type": "dataset", "description": about, "version": __version__, "license": "mit",
        "publication_date": finished, "keywords": KEYWORDS, "creators": [{"name": creator} for creator in creators],
        "related_identifiers": [{"identifier": PAPER, "relation": "isSupplementTo", "scheme": "arxiv"}],
    }  # fmt: skip
    authors = [_author(creator) for creator in creators]
    lines = [
        "cff-version: 1.2.0", f"title: {json.dumps(title)}", "type: dataset", "license: MIT",
        f'version: "{__version__}"', f'date-released: "{finished}"', f"abstract: {json.dumps(about)}",
        'message: "Cite the paper and these records."', "authors:", *authors, "references:", "  - type: article",
        '    title: "Sharpness-Aware Machine Unlearning"', "    authors:", "      - family-names: Tang",
        "        given-names: Haoran", "      - family-names: Khanna", "        given-names: Rajiv",
        f'    url: "https://arxiv.org/abs/{PAPER.removeprefix("arXiv:")}"', "",
    ]  # fmt: skip
    files = {f"{name}.zenodo.json": json.dumps(zenodo, indent=1) + "\n", f"{name}.CITATION.cff": "\n".join(lines)}
    for file, text in files.items():
        (folder / file).write_text(text, encoding="utf-8")
    return [folder / file for file in files]


def _author(creator: str) -> str:
    family, comma, given = (part.strip() for part in creator.partition(","))
    if not comma:
        return f"  - name: {json.dumps(creator)}"
    return f"  - family-names: {json.dumps(family)}\n    given-names: {json.dumps(given)}"
