"""The findings that matter most, each with its picture: what `make repro` ends with and what the page opens with."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from figures.catalogue import FIGURES
from figures.tables.records import Studies
from figures.verdicts.paper_repro import Verdict, assess
from repro.base.verdict import CONTRADICTED, HOLDS, MIXED, REGIME, UNDECIDED

# Item of the page -> its picture, in the order of what matters, whatever the verdict is.
HEADLINES = {
    "Finding 4": "fig-alpha",
    "Finding 1a": "fig-tow",
    "SAM against SGD in theory": "fig-theory-matched",
    "Theorem 3.3": "fig-theory-phase",
    "Finding 5a": "fig-mia",
    "Finding 1b": "fig-accuracies",
}
# The answers of the first screen, and the verdicts that belong to each.
ANSWERS = {
    "What holds": (HOLDS, REGIME),
    "What does not hold": (CONTRADICTED,),
    "What holds in part": (MIXED,),
    "What these records cannot decide": (UNDECIDED,),
}


@dataclass(frozen=True)
class Headline:
    """One finding in a line.

    Attributes:
        title: of the item; claim: what the paper says; verdict, number: what the records say.
        figure: name of its picture.
    """

    title: str
    claim: str
    verdict: str
    number: str
    figure: str


@dataclass(frozen=True)
class Answer:
    """One part of the first screen: a heading, the headline that stands for it, the other items with its verdict."""

    name: str
    headline: Headline | None
    others: list[Verdict]


def headlines(verdicts: list[Verdict], most: int = 4) -> list[Headline]:
    """Return the first few headlines whose records exist."""
    known = {verdict.item.title: verdict for verdict in verdicts}
    shown = [title for title in HEADLINES if title in known and known[title].finding.records]
    return [
        Headline(title, known[title].item.statement, finding.verdict, shortened(finding.number), HEADLINES[title])
        for title in shown[:most]
        if (finding := known[title].finding)
    ]


def claims_of(verdicts: list[Verdict]) -> list[Verdict]:
    """Return the verdicts on claims; a figure or a table only repeats the verdicts of the claims it draws."""
    return [one for one in verdicts if one.item.title not in FIGURES]


def answers(verdicts: list[Verdict]) -> list[Answer]:
    """Return what holds, what does not, what holds in part and what cannot be decided, those that are not empty."""
    known = headlines(verdicts, len(HEADLINES))
    found = []
    for name, words in ANSWERS.items():
        members = [one for one in claims_of(verdicts) if one.finding.verdict in words]
        # What is undecided is a list: one of many intervals around zero has nothing to show.
        first = next((one for one in known if one.verdict in words and UNDECIDED not in words), None)
        others = [one for one in members if first is None or one.item.title != first.title]
        if members:
            found.append(Answer(name, first, others))
    return found


def shortened(text: str, most: int = 150) -> str:
    """Return a text cut between two clauses or words, never inside a number or a bracket."""
    if len(text) <= most:
        return text
    outside = [place for place in range(most) if text[:place].count("[") + text[:place].count("(")
               == text[:place].count("]") + text[:place].count(")")]  # fmt: skip
    for end in (r"; ", r", | — | \(", r" "):
        cuts = [place for place in outside if re.match(end, text[place:])]
        if cuts:
            return text[: cuts[-1]].rstrip(" ,:(—")
    return text[:most]


def summary(studies: Studies, folder: Path, page: Path) -> list[str]:
    """Return at most ten lines for a newcomer: what ran, what was found, where to look and what to try next.

    Args:
        studies: where the records of each study are read from.
        folder: of the figures; page: the report. What has not been written yet is named by the command that does.
    """
    kinds = Counter(head.kind for head in studies.store.heads()) if studies.store else Counter[str]()
    lines = [
        f"Ran here: {kinds['theory']} theory cells, {kinds['unlearn']} network runs; "
        f"{studies.published_runs()} published records beside them.",
        "Three findings that matter (the word is what the records say of the paper's claim):",
    ]
    for one in headlines(assess(studies), 3):
        picture = folder / f"{one.figure}.png"
        where = f"See {picture}" if picture.exists() else f"To see it: repro figures {one.figure}"
        lines.append(f"  {one.verdict.upper()}: {one.claim}. {one.number}. {where}")
    return [
        *lines,
        f"Everything, with the origin of every number: {f'open {page}' if page.exists() else 'repro report'}",
        "A word you do not know: repro explain ToW. All verdicts: repro claims.",
        "Next: repro theory --signal-strength 0.7 --alpha 0.5; yours: empirical.unlearn(model, retain, forget)",
    ]
