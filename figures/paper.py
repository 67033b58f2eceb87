"""The paper item by item: what it claims, what our records say, and the page `paper_repro.md` written from them."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from figures.catalogue import find
from figures.drawing import markdown
from figures.effects import Finding
from figures.items import ITEMS, Item
from figures.records import Records
from figures.style import Theme
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

Network numbers come from small studies on data the paper did not use: `digits` (scanned 8x8 digits, three training
seeds; its sweeps `alpha` and `mask` ten, `klom` 100), and `cifar10-small` with `cifar10-seeds` (2,000 CIFAR-10
images, JPEG re-encoded, a ResNet-8, eight training seeds), with a learning rate chosen for every method, rule and
forget set on a seed of its own. The rate is chosen on an SGD-pretrained model and kept after SAM pretraining, which
if anything favours SGD pretraining. A forget set graded by memorization is the same for all seeds: intervals are
intervals of training, not of the choice of sets. Order and sign of an effect can be held against the paper; its size
cannot, and neither can anything that needs a large network or many classes.
"""
SECTIONS = {"theory": "Theory", "finding": "Findings", "figure": "Figures", "table": "Tables",
            "ask": "What the reviewers asked for"}  # fmt: skip
# Tables the page carries whole: what the one line of a verdict is drawn from.
TABLES = {"tab-differences": "SAM against SGD, cell by cell", "tab-choice": "How the learning rates were chosen"}
SHOWN = 3


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
    parts = [HEAD, _tally(found)]
    for section, title in SECTIONS.items():
        parts.append(
            f"\n## {title}\n\n{_table([verdict.row() for verdict in found if verdict.item.section == section])}"
        )
    parts += [_whole_table(name, title, records) for name, title in TABLES.items()]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text("".join(parts))
    os.replace(temporary, path)
    return path


def _whole_table(name: str, title: str, records: Records) -> str:
    drawing = find(name)(records, Theme("light"))
    source = f"{drawing.caption} Records: {cite(drawing.records)}; `repro figures {name}`."
    return f"\n## {title}\n\n{source}\n\n{markdown(drawing.display)}"


def cite(records: Iterable[Record]) -> str:
    """Return the store and run id of the first records and the count of the rest."""
    names = [f"{record.source}/{record.run_id}" for record in sorted(records, key=lambda one: (one.source, one.run_id))]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more if names else "—"


def _tally(found: list[Verdict]) -> str:
    counts: dict[str, int] = {}
    for verdict in found:
        counts[verdict.finding.verdict] = counts.get(verdict.finding.verdict, 0) + 1
    return "\n" + ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) + ".\n"


def _table(rows: list[dict[str, str]]) -> str:
    return markdown(pd.DataFrame(rows))
