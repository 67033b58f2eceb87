"""The page `paper_repro.md`: the paper item by item, what it claims and what our records say."""

import os
import textwrap
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from figures.catalogue import FIGURES, find
from figures.drawing.files import markdown
from figures.drawing.style import Theme
from figures.tables.records import Records
from figures.verdicts import asks, findings, theory_claims
from figures.verdicts.findings import verdict_of
from figures.verdicts.judge import Finding, Item
from repro.records.record import Reader, Record

HEAD = """# The paper, item by item

Written by `repro claims --write paper_repro.md` from the committed records; do not edit by hand.

Verdicts: **holds** (every 95 % interval lies on the claimed side), **holds in a regime** (some do; the regime is
named), **contradicted** (none do and at least one lies wholly on the other side), **undecided** (the intervals contain
zero: these runs cannot tell), **reported** (a number was asked for, nothing was claimed), **not run** (the command
brings the record). Theory verdicts come from `theory_claim` records, network verdicts from paired differences within a
cell and training seed. Where an item has many cells, those that count go by simultaneous intervals
(Bonferroni over the cells), so that one cell in twenty that lies beside zero by luck is no finding; their mean goes by
its own interval. A figure or table takes the verdict of the claim it supports. "Record" is store/run id; a figure's
JSON lists every run behind it.
"""
# What the page says of the data of each study whose records it rests on.
STUDIES = {
    "digits": "`digits` (scanned 8x8 digits, three training seeds; its sweeps `alpha` and `mask` ten, `klom` 100)",
    "cifar10-small": "`cifar10-small` with `cifar10-seeds` (2,000 CIFAR-10 images, JPEG re-encoded, a ResNet-8, eight "
    "training seeds)",
}
NETWORKS = (
    "Network numbers come from small studies on data the paper did not use: {studies}, with a learning rate chosen for "
    "every method, rule and forget set on a seed of its own. The rate is chosen on an SGD-pretrained model and kept "
    "after SAM pretraining, which if anything favours SGD pretraining. A forget set graded by memorization is the same "
    "for all seeds: intervals are intervals of training, not of the choice of sets. Order and sign of an effect can be "
    "held against the paper; its size cannot, and neither can anything that needs a large network or many classes."
)
SECTIONS = {"theory": "Theory", "finding": "Findings", "figure": "Figures", "table": "Tables",
            "ask": "What the reviewers asked for"}  # fmt: skip
# Tables the page carries whole: what the one line of a verdict is drawn from.
TABLES = {"tab-differences": "SAM against SGD, cell by cell", "tab-choice": "How the learning rates were chosen"}
WIDTH, SHOWN = 118, 3  # characters of a line; records named in a row
SHOWN_BY = {"fig": "figure", "tab": "table"}
ITEMS = [
    *theory_claims.ITEMS,
    *findings.ITEMS,
    *(Item(SHOWN_BY[name[:3]], name, entry.shows, f"repro figures {name}", verdict_of(name))
      for name, entry in FIGURES.items() if entry.claims),
    *asks.ITEMS,
]  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """One row of the page.

    Attributes:
        item: the paper's item.
        finding: what the records say.
    """

    item: Item
    finding: Finding

    def row(self) -> dict[str, str]:
        """Return the row as text, column by column."""
        return {
            "item": self.item.title,
            "claim": self.item.statement,
            "verdict": self.finding.verdict,
            "our number": self.finding.number,
            "regime": self.finding.regime or "—",
            "record": cite(self.finding.records),
            "command": f"`{self.command()}`",
        }

    def command(self) -> str:
        """Return what makes the records: the study most of them came from, else the item's own command."""
        studies = Counter(record.provenance.get("study") for record in self.finding.records if record.kind == "unlearn")
        if self.item.section != "finding" or not studies:
            return self.item.command
        return f"repro empirical grid recipes/{studies.most_common(1)[0][0]}.toml"


def assess(records: Records) -> list[Verdict]:
    """Return the verdict on every item of the paper, in its order, each assessor run once."""
    known: dict[Any, Finding] = {}
    for item in ITEMS:
        if item.assess not in known:
            known[item.assess] = item.assess(records)
    return [Verdict(item, known[item.assess]) for item in ITEMS]


def verdicts(readers: Iterable[Reader]) -> list[dict[str, str]]:
    """Return one row an item: item, claim, verdict, our number, regime, record, command."""
    return [verdict.row() for verdict in assess(Records(readers))]


def write_page(readers: Iterable[Reader], path: Path) -> Path:
    """Write the Markdown page; the same records give the same bytes."""
    records = Records(readers)
    found = assess(records)
    counts = Counter(verdict.finding.verdict for verdict in found)
    parts = [HEAD, _networks(records), "\n" + ", ".join(f"{counts[name]} {name}" for name in sorted(counts)) + ".\n"]
    for section, title in SECTIONS.items():
        rows = pd.DataFrame([verdict.row() for verdict in found if verdict.item.section == section])
        parts.append(f"\n## {title}\n\n{markdown(rows)}")
    for name, title in TABLES.items():
        drawing = find(name)(records, Theme("light"))
        source = f"{drawing.caption} Records: {cite(drawing.records)}; `repro figures {name}`."
        parts.append(f"\n## {title}\n\n{source}\n\n{markdown(drawing.display)}")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text("".join(parts))
    os.replace(temporary, path)
    return path


def _networks(records: Records) -> str:
    """Return what the page says of the network studies that are there, wrapped like the rest of its head."""
    there = {record.provenance.get("study") for record in records.of("unlearn")}
    studies = ", and ".join(text for name, text in STUDIES.items() if name in there)
    lines = textwrap.wrap(NETWORKS.format(studies=studies), WIDTH, break_on_hyphens=False)
    return "\n" + "\n".join(lines) + "\n" if studies else ""


def cite(records: Iterable[Record]) -> str:
    """Return the store and run id of the first records and the count of the rest."""
    names = [f"{source}/{run_id}" for source, run_id in sorted((record.source, record.run_id) for record in records)]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more if names else "—"
