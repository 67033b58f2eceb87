"""`paper_repro.md`, one page per claim under `docs/claims/`, and the answer in README, all written from records."""

import re
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from figures.answers.answers import (
    NOTHING,
    Answered,
    assess,
    floor,
    portable_models,
    rate_steps,
    tally,
    tow_steps,
    twice_trained,
)
from figures.answers.found import signed
from figures.answers.networks import MAIN, at_equal_gradients, best_cutoff, main_runs
from figures.answers.strip import effect_strip
from figures.answers.theory import CLAIMS as THEORY_CLAIMS
from figures.answers.wishes import WISHES
from figures.catalogue import FIGURES
from figures.drawing.files import markdown
from figures.tables.records import Studies
from repro.base.files import replace_file
from repro.statistics.answers import YES
from repro.statistics.effects import Table
from repro.study.study import load_study

WRITTEN = "Written by `repro paper claims --write paper_repro.md` from the committed records; do not edit by hand."
THEORY = {claim.key for claim in THEORY_CLAIMS}
MARKS = ("<!-- answer -->", "<!-- /answer -->")
SHOWN = 12  # records named on a claim's page
ASKED = "The paper says that sharpness-aware minimization (SAM, ASAM) helps a network to forget images."
TOW = "ToW (tug of war) is 1 for a model as accurate as one retrained without the forget images."
SURE = (
    "Above 0 supports the paper. A setting is a method after a pretraining rule; in the theory, a set of parameters. "
    "How sure: *moderate* is three settings or more, *low* fewer; in the theory, *high* is every setting. Brackets are "
    "95 % intervals, not corrected for there being several forget sets."
)
LIMITS = (
    "**Not known:** large networks, other data: this is one small network, CIFAR-10, few seeds. {beside}**What would "
    "tell:** more settings, a hundred classes, and the paper's models and regime."
)
FOREST = (
    "From, to: the 95 % interval. Predicted: where a further setting would lie. I2: the part of the settings' scatter "
    "that seeds do not explain. Above, below: the share of settings clearly above or below 0."
)
METHOD = """\
- **An effect** is the difference of two runs that share seed, forget set, original and retrained model. Seeds are
  averaged first, within a setting: a method and a pretraining rule. Then settings are averaged, for each forget set.
  Pretraining rules have different originals. So claim 1b compares two means over seeds, and a setting is a rule of
  unlearning.
- **yes**: the 95 % interval lies on the claimed side. **the opposite**: it lies on the other side. **no difference**:
  the 90 % interval lies within 0.01 ToW of zero, a margin fixed before any interval was seen. **open**: none of these.
- **only where**: some forget set or measure says yes, and another does not. Two settings do not tell how far settings
  differ. Where both say the same by their own seeds, that is the answer, and brackets span both intervals. Otherwise
  the pooled interval decides.
- A pair of runs has **no vote** if both "did not unlearn here": neither is better than doing nothing by one noise
  floor. SCRUB and L1 have none either: nobody chose their strength. The claim's page has the answer with all runs.
- **The noise floor** is the deviation of ToW between two models retrained with other seeds. It decides no effect: it
  only says which runs have a vote. In pictures it is the mean over settings.
- **Scanned digits** check that the commands work. They judge nothing about the paper.
- **Theory claims** are judged inside their own hypotheses. A second sentence says what holds beyond.
- **Core-hours** count unlearning and retraining, from the seconds in the records. Claims on pretraining and on
  flatness count pretraining too, as long as retraining. For the other claims, pretraining comes on top.

[How the intervals were chosen](docs/intervals.md) compares them with a known truth.
"""


def answer_text(found: Sequence[Answered], studies: Studies) -> str:
    """Return the answer in at most 120 words, from records alone."""
    steps, noise, known = tow_steps(studies), floor(studies), {one.claim.name: one.found for one in found}
    if not steps:
        return f"No network records: nothing can be said on networks. Claims: {tally(found)}."
    said = [
        *known["1a"].sentences,
        TOW,
        f"The hardest are CIFAR-10's most memorized; doing nothing reaches {steps[NOTHING]:.2f} there.",
        f"Two retrained models differ by {noise.value:.3f} [{noise.low:.3f}, {noise.high:.3f}], the noise floor."
        if noise
        else "",
        *known["2"].sentences[:1],
        f"Answers to {len(found)} claims: {tally(found)}.",
        "Every yes is theory." if {one.claim.key for one in found if one.found.word == YES} <= THEORY else "",
    ]
    return " ".join(sentence for sentence in said if sentence and " nan" not in sentence)


def page_text(found: Sequence[Answered], studies: Studies) -> str:
    """Return `paper_repro.md`: the answer first, then how it is judged, figures and wishes."""
    steps, rows = tow_steps(studies), figure_rows(found, studies)
    openly = [said for said in (twice_trained(studies), portable_models(studies)) if said]
    values = {"ToW, NegGrad after SGD": "hardest images"} | {name: f"{value:.3f}" for name, value in steps.items()}
    parts = [
        f"<!-- {WRITTEN} -->",
        "# Does sharpness-aware minimization help a network to forget?",
        f"{ASKED} {answer_text(found, studies)}",
        markdown(pd.DataFrame([values])) if steps else "",
        _one_setting(found),
        _claim_table("networks", [one for one in found if one.claim.key not in THEORY]),
        _claim_table("theory", [one for one in found if one.claim.key in THEORY]),
        SURE,
        limits_text(studies),
        "## How it is judged",
        METHOD,
        "## What must be said openly" if openly else "",
        *openly,
        "## What the reviewers asked for",
        markdown(pd.DataFrame(wish_rows(studies))),
        "## Figures and tables",
        f"{sum(row['state'] == 'drawn' for row in rows)} of {len(rows)} are drawn.",
        markdown(pd.DataFrame(rows)),
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _one_setting(found: Sequence[Answered]) -> str:
    """Return how the table of one setting relates to the mean over all: claim 3 is about that setting, 1a about all."""
    first, third = ({one.claim.name: one.found.effects for one in found}[name] for name in ("1a", "3"))
    if not first or not third or first[0].settings == 1:
        return ""
    count, mean, here = first[0].settings, signed(first[0].value), signed(third[0].value)
    return (
        f"This is one of {count} settings, over the seeds that all rules share. With all seeds, SAM and ASAM gain "
        f"{here} ToW here and {mean} over all settings."
    )


def _claim_table(about: str, found: Sequence[Answered]) -> str:
    """Return one row per claim: what the paper says, what we find, how sure that is, and a link."""
    rows = [{about: one.claim.paper, "we find": f"**{one.found.word}**: {one.found.short}",
             "how sure": re.split(r" of | \(", one.found.sure)[0].removeprefix("not known, "),
             "picture": f"[{one.claim.name}](docs/claims/{one.slug}.md)"}
            for one in found]  # fmt: skip
    return markdown(pd.DataFrame(rows))


def summary(studies: Studies, page: Path) -> list[str]:
    """Return paragraphs for a newcomer: what ran, what was found, where to look and what to try next."""
    kinds = Counter(head.kind for head in studies.store.heads()) if studies.store else Counter[str]()
    return [
        f"Ran here: {kinds['theory']} theory settings, {kinds['unlearn']} network runs; "
        f"{studies.published_runs()} published records with them.",
        f"{ASKED} {answer_text(assess(studies), studies)}",
        f"Everything, with the origin of every number: {f'open {page}' if page.exists() else 'repro paper report'}. "
        "All claims: repro paper claims. A word you do not know: repro explain ToW.",
        "Next: repro theory --signal-strength 0.7 --alpha 0.5; yours: empirical.unlearn(model, retain, forget)",
    ]


def limits_text(studies: Studies) -> str:
    """Return what these studies cannot tell, and what would tell it."""
    loss = rate_steps(studies)
    rates = [] if loss is None else [
        f"Learning rates were chosen on one seed; one grid step off, ToW falls by {loss[0]:.2f} to {loss[1]:.2f}."
    ]  # fmt: skip
    beside = [*regime(studies), *rates, *at_equal_gradients(studies), *best_cutoff(studies)]
    return LIMITS.format(beside="".join(f"{said} " for said in beside))


def regime(studies: Studies) -> list[str]:
    """Return at which alpha and after how many epochs the answers on networks were measured, and the paper's values.

    The paper's values: appendix of the paper and the settings of the released code, as in recipes/paper-*.toml.
    """
    runs = main_runs(studies)
    runs = runs[runs["method"] == "neggrad"] if len(runs) else runs
    if runs.empty:
        return []
    alpha, epochs = (" or ".join(f"{value:g}" for value in sorted(set(runs[name]))) for name in ("alpha", "epochs"))
    ran = f"In `{MAIN}`, NegGrad ran at alpha {alpha} for {epochs} epoch{'' if epochs == '1' else 's'} of unlearning"
    return [f"{ran}; the paper's regime is alpha 0.99 and ten epochs."]


def wish_rows(studies: Studies) -> list[dict[str, str]]:
    """Return one row per wish of the reviewers: what they asked for, "done" or the number, and the figure."""
    return [{"asked": wish.asked, "answer": wish.answer(studies), "figure": wish.figure} for wish in WISHES.values()]


def figure_rows(found: Sequence[Answered], studies: Studies) -> list[dict[str, str]]:
    """Return one row per figure: what it shows, whether it is drawn or lacks records, and its claims."""
    drawn = [name for name, entry in FIGURES.items() if all(studies.of(one).all for one in entry.studies)]
    claims = {
        name: [one.claim.name for one in found if one.claim.key in entry.claims] for name, entry in FIGURES.items()
    }
    return [{"figure": f"`{name}`", "shows": entry.shows, "state": "drawn" if name in drawn else "missing",
             "claims": ", ".join(claims[name]) or "-"} for name, entry in FIGURES.items()]  # fmt: skip


def claim_text(one: Answered) -> str:
    """Return the page of one claim: the answer, its strip, what has no vote, the forest, commands and records."""
    claim, found = one.claim, one.found
    commands = dict.fromkeys(load_study(name).command for name in claim.studies)
    figures = [f"repro figures {' '.join(one.figures)}"] if one.figures else []
    parts = [
        f"# {claim.name}: {claim.title}",
        WRITTEN,
        f"The paper says: *{claim.paper}.* Known from: {claim.source}.",
        f"How we read it: {claim.reading}",
        f"**Answer: {found.word}.** {' '.join(found.sentences)}",
        f"How sure: {found.sure}.",
        f"![Effects of {claim.name}]({one.slug}.svg)" if found.effects else "",
        "\n".join(["Beside the answer:", "", *(f"- {line}" for line in found.beyond)]) if found.beyond else "",
        _folded("Forest: every setting", f"{FOREST}\n\n{markdown(numbers(found.forest))}") if len(found.forest) else "",
        _folded("Commands", "\n".join(f"- `{command}`" for command in [*commands, *figures])),
        _folded(f"{len(found.runs)} records", ", ".join(f"`{run}`" for run in found.runs[:SHOWN])
                + (f" and {len(found.runs) - SHOWN} more" if len(found.runs) > SHOWN else "")),
    ]  # fmt: skip
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _folded(title: str, text: str) -> str:
    return f'<details markdown="1"><summary>{title}</summary>\n\n{text.strip()}\n\n</details>'


def numbers(forest: Table) -> Table:
    """Return a forest's rows as text, without columns that are empty."""
    order = ["forget_set", "setting", "value", "low", "high", "claimed_low", "claimed_high", "seeds", "predicted_low",
             "predicted_high", "i2", "above", "below", "answer", "no_vote"]  # fmt: skip
    names = {"forget_set": "part", "low": "from", "high": "to", "claimed_low": "claimed from", "no_vote": "no vote",
             "claimed_high": "claimed to", "predicted_low": "predicted from",
             "predicted_high": "predicted to", "i2": "I2"}  # fmt: skip
    shown = forest[[name for name in order if name in forest]].rename(columns=names)
    texts = shown.map(lambda value: "" if value is None or value != value else
                      f"{value:.4g}" if isinstance(value, float) else str(value))  # fmt: skip
    return texts.loc[:, (texts != "").any()]


def pages(found: Sequence[Answered], studies: Studies) -> dict[str, str]:
    """Return every file of `docs/claims/` by its name: one page and one strip per claim, and a list of the claims."""
    texts = {f"{one.slug}.md": claim_text(one) for one in found}
    texts |= {f"{one.slug}.svg": effect_strip(one.found, alone=True) for one in found if one.found.effects}
    rows = [{"claim": f"[{one.claim.name}]({one.slug}.md)", "paper says": one.claim.paper, "answer": one.found.word,
             "how sure": one.found.sure} for one in found]  # fmt: skip
    head = f"# The paper's claims\n\n{WRITTEN}\n\n{answer_text(found, studies)}\n\n"
    return texts | {"index.md": head + markdown(pd.DataFrame(rows))}


def write_pages(studies: Studies, path: Path) -> list[Path]:
    """Write the page, `docs/claims/` next to it, and the answer in the README there if that has the marks for it.

    The same records give the same bytes.
    """
    folder = path.parent / "docs" / "claims"
    folder.mkdir(parents=True, exist_ok=True)
    found = assess(studies)
    texts = {path: page_text(found, studies)} | {folder / name: text for name, text in pages(found, studies).items()}
    readme = path.parent / "README.md"
    if readme.is_file() and MARKS[0] in (text := readme.read_text(encoding="utf-8")):
        texts[readme] = with_answer(text, answer_text(found, studies))
    for file, text in texts.items():
        replace_file(file, text.encode())
    return list(texts)


def with_answer(readme: str, answer: str) -> str:
    """Return a README with the answer between its marks."""
    body = textwrap.fill(answer, 118, break_on_hyphens=False)
    return re.sub(f"{MARKS[0]}.*?{MARKS[1]}", f"{MARKS[0]}\n{body}\n{MARKS[1]}", readme, flags=re.DOTALL)
