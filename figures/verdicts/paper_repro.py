"""The page `paper_repro.md`: what a reader may conclude, a table of every item, then a section an item."""

import os
import textwrap
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from figures.catalogue import FIGURES
from figures.drawing.files import drawing_of, markdown
from figures.drawing.style import Theme
from figures.tables.records import Studies, measured
from figures.verdicts import asks, findings, theory_claims
from figures.verdicts.findings import verdict_of
from figures.verdicts.judge import NOT_RUN, REPORTED, Finding, Item
from repro.base.verdict import CONTRADICTED, HOLDS, MIXED, REGIME, UNDECIDED
from repro.records.record import Record
from repro.study.study import load_study

TITLE = (
    "# The paper, item by item\n\n"
    "Written by `repro claims --write paper_repro.md` from the committed records; do not edit by hand.\n"
)
# What a reader may conclude from a verdict: the claim comes first.
SENTENCES = {
    HOLDS: "holds in every cell that was run.",
    REGIME: "holds in part of the cells or on average and is contradicted in none; no more may be concluded.",
    MIXED: "holds in places and is contradicted in others: neither it nor its opposite may be concluded.",
    CONTRADICTED: "is contradicted where anything could be told, and may not be concluded.",
    UNDECIDED: "cannot be told from these runs: neither it nor its opposite may be concluded.",
    REPORTED: "is reported, not judged.",
    NOT_RUN: "has not been run; nothing may be concluded.",
}
METHOD = (
    "Verdicts, one rule for theory and networks. Each cell has an interval, and all intervals of an item hold "
    "together at 95 % (Bonferroni over its cells, the variance pooled over them, its degrees of freedom the sum of "
    "seeds - 1), and counts only where its own interval says the same; the mean over cells, of which each forget set "
    "counts once, has an interval of its own. **holds**: every cell lies on the claimed side. "
    "**mixed**: something lies on the claimed side and something on the other. **holds in a regime**: something "
    "lies on the claimed side, nothing on the other. **contradicted**: the reverse. **undecided**: every interval "
    "contains 0. A cell of fewer than three seeds decides nothing. **reported**: a number was asked for, nothing "
    "was claimed. **not run**: the command brings the records. A part of a theory claim is one cell or line of cells: "
    "an estimate over seeds with its interval (Student's t or bootstrap, widened so that all parts of the claim hold "
    "together) and the region in which the claim says it lies. It holds where the interval lies inside and fails where "
    "it lies outside; what is off the grid, or not measured, decides nothing. The number that stands for a claim is "
    "that of the typical setting, not of the best one.\n\n"
    "Noise floor: what two models retrained on the same R with other seeds differ by; an effect's floor is the "
    "deviation of such a difference. An effect of less than one floor is smaller than what another seed of perfect "
    "unlearning would change. A verdict on pretraining needs two references, the cell's own retrain and one SGD "
    "retrain for all, to agree. A figure or table takes the verdict of the claims it shows."
)
# What the page says of the data of each study whose records it rests on.
STUDIES = {
    "cifar10": "`cifar10` (all 50,000 CIFAR-10 images)",
    "digits": "`digits` (scanned 8x8 digits, three training seeds)",
    "alpha": "`alpha` and `mask` (scanned 8x8 digits, ten training seeds)",
    "klom": "`klom` (scanned 8x8 digits, 100 training seeds)",
    "cifar10-small": "`cifar10-small` with `cifar10-seeds` (2,000 CIFAR-10 images, JPEG re-encoded, a ResNet-8, eight "
    "training seeds)",
}
NETWORKS = (
    "Network numbers come from small studies on data or models the paper did not use: {studies}. A forget set graded "
    "by memorization is the same for all seeds: intervals are intervals of training, not of the choice of sets, which "
    "[Ask 9b](#ask-9b) varies. Order and sign of an effect can be held against the paper; its size cannot, and neither "
    "can anything that needs a large network or many classes. Rules are compared at the same number of epochs, in "
    "which SAM takes twice the gradients of SGD; where it was run, [Ask 4](#ask-4) holds it against SGD of as many."
)
TWICE = (
    "{twice} of {count} original and retrained models in these records come with two sets of accuracies under one id: "
    "they were trained twice, on two machines or by two states of the code, and runs stand on one or the other. Two "
    "rules under one method, pretraining, forget set and seed stand on the same models; sweeps and means over studies "
    "join both sets. Records made from now on name the checksum of their weights."
)
RATES = (
    "{chosen} chosen for each method, not the strengths of SCRUB or L1: methods are not compared with each other here, "
    "only rules within a method."
)
OPEN = (
    " A choice on one seed leaves something open: [its curves](#how-the-learning-rates-were-chosen) show what a step "
    "away from the winner costs."
)
UNCHOSEN = "No rate was chosen in {studies}: what rules do there, they do at these rates."
NAMES_OF_CHOSEN = {"lr": "the learning rate", "epochs": "the number of epochs"}
STRENGTHS = ("scrub", "l1_sparse")  # methods with a strength beside the rate
SECTIONS = {"theory": "Theory", "finding": "Findings", "figure": "Figures", "table": "Tables",
            "ask": "What the reviewers asked for"}  # fmt: skip
# Tables the page carries whole: what the one line of a verdict is drawn from.
TABLES = {
    "tab-differences": "SAM against SGD, cell by cell",
    "tab-matched": "Rules at matched forgetting",
    "tab-draws": "Other draws of the forget set",
    "tab-ablations": "With a setting of the study changed",
    "tab-choice": "How the learning rates were chosen",
    "tab-agreement": "Networks on the theory's own data",
    "tab-ladder": "Leaving the theory step by step",
}
WIDTH, SHOWN = 118, 3  # characters of a line; records named in a section
CELL = 72  # characters of a cell of the table, which must fit on one line
SCOPE = 160  # characters of the cells that an opening sentence names
SHOWN_BY = {"fig": "figure", "tab": "table"}
ITEMS = [
    *theory_claims.ITEMS,
    *findings.ITEMS,
    *(Item(SHOWN_BY[name[:3]], name, entry.shows, f"repro figures {name}", verdict_of(name), entry.studies)
      for name, entry in FIGURES.items() if entry.claims),
    *asks.ITEMS,
]  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """One item of the page.

    Attributes:
        item: the paper's item.
        finding: what the records say.
        studies: the studies whose network runs it rests on.
    """

    item: Item
    finding: Finding
    studies: tuple[str, ...] = ()

    def row(self) -> dict[str, str]:
        """Return everything about the item as text, column by column."""
        return {
            "item": self.item.title,
            "claim": self.item.statement,
            "verdict": self.finding.verdict,
            "our number": self.finding.number,
            "regime": self.finding.regime or "—",
            "record": cite(self.finding.records),
            "command": ", ".join(f"`{one}`" for one in self.commands()),
        }

    def line(self) -> dict[str, str]:
        """Return its row of the page's table, whose cells fit on one line each; the title links to its section."""
        effect = self.finding.effect or self.finding.number
        if self.item.title in FIGURES:
            effect = "see " + ", ".join(shown_claims(self.item.title))
        return {
            "item": link(self.item.title),
            "claim": _short(self.item.statement),
            "verdict": self.finding.verdict,
            "effect": _short(effect),
        }

    def section(self) -> str:
        """Return its section: claim and verdict, the number in full, where it holds, records and command."""
        row = self.row()
        lines = [f"### {self.item.title}", "", f"{row['claim'][0].upper()}{row['claim'][1:]}: **{row['verdict']}**."]
        if self.item.title in FIGURES:
            lines += ["", f"The verdict is that of {' and '.join(map(link, shown_claims(self.item.title)))}."]
        elif self.finding.verdict != NOT_RUN:
            lines += ["", f"> {self.finding.sentence}"] if self.finding.sentence else []
            lines += ["", self.finding.number]
            lines += ["", *(f"- {part}" for part in self.finding.regime.split(". "))] if self.finding.regime else []
        if self.finding.change:
            lines += ["", f"What would change the verdict: {self.finding.change}"]
        lines += ["", f"Records: {row['record']}. Command: {row['command']}."]
        return "\n".join(lines) + "\n"

    def commands(self) -> list[str]:
        """Return what makes the records: a finding's studies, those without a recipe named so; else the item's own."""
        studies = self.studies if self.item.section == "finding" else ()
        return [load_study(study).command for study in studies] or [self.item.command]

    def sentence(self) -> str:
        """Return what a reader may conclude, the effect with the study it was seen in, and which cells say so."""
        said = f'**{link(self.item.title)}**, "{self.item.statement}", {SENTENCES[self.finding.verdict]}'
        studies = ", ".join(f"`{one}`" for one in self.studies)
        where = f" on {studies}" if studies else ""
        said += f" Effect{where}: {self.finding.effect}." if self.finding.effect else ""
        cells = _short(self.finding.regime[:1].upper() + self.finding.regime[1:], SCOPE)
        return said + (f" {cells}" + "." * (not cells.endswith("…")) if cells else "")


def assess(studies: Studies) -> list[Verdict]:
    """Return the verdict on every item of the paper, in its order, each assessor run once."""
    known: dict[Any, Finding] = {}
    for item in ITEMS:
        if item.assess not in known:
            known[item.assess] = item.assess(studies)
    return [Verdict(item, known[item.assess], _behind(item, known[item.assess], studies)) for item in ITEMS]


def _behind(item: Item, finding: Finding, studies: Studies) -> tuple[str, ...]:
    """Return which studies of an item have network runs behind what was found."""
    used = {record.run_id for record in finding.records}
    parts = studies.of(*item.studies).parts if used else ()
    return tuple(part.study for part in parts if any(run.run_id in used for run in part.of("unlearn")))


def verdicts(studies: Studies) -> list[dict[str, str]]:
    """Return one row an item: item, claim, verdict, our number, regime, record, command."""
    return [verdict.row() for verdict in assess(studies)]


def write_page(studies: Studies, path: Path) -> Path:
    """Write the Markdown page; the same records give the same bytes."""
    text, path = page_text(studies), Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
    return path


def page_text(studies: Studies) -> str:
    """Return the Markdown page."""
    found = assess(studies)
    parts = [TITLE, *conclusions(found, studies), "\n## Every item\n"]
    for section, title in SECTIONS.items():
        rows = pd.DataFrame([verdict.line() for verdict in found if verdict.item.section == section])
        parts.append(f"\n**{title}**\n\n{markdown(rows)}")
    counts = Counter(verdict.finding.verdict for verdict in found)
    parts.append("\n" + ", ".join(f"{counts[name]} {name}" for name in sorted(counts)) + ".\n")
    parts.append(f"\n## How it is judged\n\n{_wrapped(METHOD)}")
    names = dict.fromkeys(name for verdict in found for name in verdict.studies)
    if twice := _trained_twice([run for name in names for run in studies.of(name).of("unlearn")]):
        parts.append(f"\n{_wrapped(twice)}")
    for section, title in SECTIONS.items():
        own = [verdict.section() for verdict in found if verdict.item.section == section]
        parts.append(f"\n## {title}\n\n" + "\n".join(own))
    for name, title in TABLES.items():
        drawing = drawing_of(name, studies, Theme("light"))
        source = f"{drawing.caption} Records: {cite(drawing.records)}; `repro figures {name}`."
        parts.append(f"\n## {title}\n\n{source}\n\n{markdown(drawing.display)}")
    return "".join(parts)


def conclusions(found: Iterable[Verdict], studies: Studies) -> list[str]:
    """Return the screen of plain sentences: what may be concluded on each finding, and of what the networks are."""
    lines = [f"- {one.sentence()}" for one in found if one.item.section == "finding"]
    judged = [one for one in found if one.item.section in ("finding", "ask")]
    names = list(dict.fromkeys(name for one in judged for name in one.studies))
    notes = [_networks(names), _comparison(names, studies) if names else "", _unchosen(judged, studies)]
    head = "\n## What may be concluded\n\n"
    return [head, "\n".join(lines) + "\n", *(f"\n{_wrapped(note)}" for note in notes if note)]


def _networks(names: Collection[str]) -> str:
    """Return what the page says of the studies that something is judged by, "" where it knows none of them."""
    studies = ", and ".join(text for name, text in STUDIES.items() if name in names)
    return NETWORKS.format(studies=studies) if studies else ""


def _trained_twice(runs: Iterable[Record]) -> str:
    """Return how many original and retrained models come with two sets of weights under one id; "" where none does."""
    accuracies: dict[str, set[tuple[Any, ...]]] = defaultdict(set)
    for run in runs:
        for stage, model in (("pretrain", "original"), ("retrain", "retrained")):
            numbers = [run.result.get(f"{model}_{name}_accuracy") for name in ("retain", "test")]
            if None not in numbers:
                key = f"{(run.result.get('parents') or {}).get(stage)} {run.config.get('rows_measured')}"
                accuracies[key].add(tuple(numbers))
    twice = sum(len(found) > 1 for found in accuracies.values())
    return TWICE.format(twice=twice, count=len(accuracies)) if twice else ""


def _comparison(names: Iterable[str], studies: Studies) -> str:
    """Return what was chosen for each method, and that methods are not compared where their strengths were not."""
    values: dict[tuple[Any, ...], set[str]] = defaultdict(set)
    for study, run in ((name, run) for name in names for run in studies.of(name).of("choice")):
        # What differs between two studies or two cells of one was not chosen.
        case = (study, *(run.config.get(name) for name in ("rule", "pretrain", "difficulty")))
        for name in (*NAMES_OF_CHOSEN, "method_options"):
            values[name, run.config.get("method"), *case].add(str(run.config.get(name)))
    tried = {key[:2] for key, found in values.items() if len(found) > 1}
    if any(("method_options", method) in tried for method in STRENGTHS):
        return ""
    chosen = " and ".join(text for name, text in NAMES_OF_CHOSEN.items() if name in {field for field, _ in tried})
    return RATES.format(chosen=f"Only {chosen} was" if chosen else "Nothing was") + (OPEN if chosen else "")


def _unchosen(judged: Iterable[Verdict], studies: Studies) -> str:
    """Return which of the studies that something is judged by took their rates as they are, and which these are.

    A run whose rate was chosen says so itself; retraining has none to choose.
    """
    rates: dict[str, set[float]] = defaultdict(set)
    for one in judged:
        used = {record.run_id for record in one.finding.records}
        for part in studies.of(*one.item.studies).parts:
            runs = (run for run in part.of("unlearn") if run.run_id in used and run.config.get("method") != "retrain")
            rates[part.study] |= {
                run.config["lr"] for run in runs if "lr" in run.config and not measured(run, "choice")
            }
    parts = [
        f"`{study}` ({' and '.join(f'{rate:g}' for rate in sorted(found))})"
        for study, found in sorted(rates.items())
        if found
    ]
    return UNCHOSEN.format(studies=", ".join(parts)) if parts else ""


def anchor(title: str) -> str:
    """Return the link target that a Markdown page gives a heading: lower case, words joined by dashes."""
    return "".join(mark for mark in title.lower().replace(" ", "-") if mark.isalnum() or mark in "-_")


def link(title: str) -> str:
    """Return a link to the section of an item."""
    return f"[{title}](#{anchor(title)})"


def shown_claims(figure: str) -> list[str]:
    """Return the titles of the findings or theory claims whose verdict a figure or table takes."""
    names = {identifier: title for identifier, title, _ in theory_claims.CLAIMS}
    return [names.get(claim, claim) for claim in FIGURES[figure].claims]


def cite(records: Iterable[Record]) -> str:
    """Return the store and run id of the first records and the count of the rest."""
    names = [f"{source}/{run_id}" for source, run_id in sorted((record.source, record.run_id) for record in records)]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more if names else "—"


def _short(text: str, width: int = CELL) -> str:
    return textwrap.shorten(text, width, placeholder=" …")


def _wrapped(text: str) -> str:
    parts = ["\n".join(textwrap.wrap(part, WIDTH, break_on_hyphens=False)) for part in text.split("\n\n")]
    return "\n\n".join(parts) + "\n"
