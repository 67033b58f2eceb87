"""The findings that matter most, each with its picture: what `make repro` ends with and what the page opens with."""

from dataclasses import dataclass

from figures.tables.records import Records
from figures.verdicts.paper_repro import Verdict, assess

# Item of the page -> its picture, in the order of what matters, whatever the verdict is.
HEADLINES = {
    "Theorem 3.3": "fig-theory-phase",
    "Finding 1a": "fig-tow",
    "Finding 4": "fig-alpha",
    "SAM against SGD in theory": "fig-theory-matched",
    "Finding 5a": "fig-mia",
    "Finding 1b": "fig-accuracies",
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


def headlines(verdicts: list[Verdict], most: int = 4) -> list[Headline]:
    """Return the first few headlines whose records exist."""
    known = {verdict.item.title: verdict for verdict in verdicts}
    shown = [title for title in HEADLINES if title in known and known[title].finding.records]
    return [
        Headline(title, known[title].item.statement, finding.verdict, shortened(finding.effect or finding.number),
                 HEADLINES[title])
        for title in shown[:most]
        if (finding := known[title].finding)
    ]  # fmt: skip


def shortened(text: str, most: int = 110) -> str:
    """Return a text cut between two words or clauses, never inside a number."""
    if len(text) <= most:
        return text
    clause = text[:most].rsplit(";", 1)[0] if ";" in text[:most] else text[:most].rsplit(" ", 1)[0]
    return clause.rstrip(" ,:(—")


def summary(records: Records, folder: str, page: str) -> list[str]:
    """Return at most ten lines for a newcomer: what ran, what was found, where to look, what to try next."""
    cells = [record for record in records.of("unlearn") if record.source == "runs"]
    theory = [record for record in records.of("theory") if record.source == "runs"]
    shipped = len(records.all) - sum(record.source == "runs" for record in records.all)
    lines = [
        f"Ran here: {len(theory)} theory cells, {len(cells)} network cells; {shipped} shipped records beside them.",
        "Three findings that matter (the word is what the records say of the paper's claim):",
    ]
    for one in headlines(assess(records), 3):
        lines.append(f"  {one.verdict.upper()}: {one.claim}. {one.number}. See {folder}/{one.figure}.png")
    return [
        *lines,
        f"Everything, with the origin of every number: open {page}",
        "A word you do not know: repro explain ToW. All verdicts: repro claims.",
        "Next: repro theory --signal-strength 0.7 --alpha 0.5; your own model: examples/unlearn_your_model.ipynb",
    ]
