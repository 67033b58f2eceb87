"""The paper's theory claims, each judged inside its own hypothesis; what lies beyond is a second sentence.

The records of `repro theory claims` hold a claim's parts, each with its interval and the region that is claimed. A part
may say itself whether it is `inside` the hypothesis; for older records `HYPOTHESES` says it.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import pandas as pd

from figures.answers.found import Claim, Effect, Found
from figures.tables.records import Studies
from figures.tables.theory import claim_records
from repro.statistics.answers import ONLY_WHERE, OPEN, OPPOSITE, YES
from repro.statistics.effects import Table

CLAIMS_STUDY = "claims"
MOST = 5  # cases named in a sentence


class Hypothesis(NamedTuple):
    """Where a claim is made.

    Attributes:
        words: the hypothesis; number: what the central number is, with `{value}` and `{ends}`.
        holds: whether a part lies inside it, by its name, where the record does not say.
    """

    words: str
    number: str
    holds: Callable[[str], bool] = lambda part: True


def _all(*texts: str) -> Callable[[str], bool]:
    return lambda part: all(text in part for text in texts)


def _without(*texts: str) -> Callable[[str], bool]:
    return lambda part: not any(text in part for text in texts)


HYPOTHESES: Mapping[str, Hypothesis] = {
    "lemma-3.1-activation": Hypothesis(
        "The radius is rho_th.",
        "After SGD pretraining SAM switches off a fraction {value} {ends} of the retain neurons.", _all(", 1 rho_th")),
    "lemma-3.1-sgd-on-forget": Hypothesis(
        "The radius is rho_th.", "At a tenth of rho_th SAM needs {value} {ends} times SGD's epochs to forget.",
        _all("SAM 1,")),
    "theorem-3.2-sgd-boundary": Hypothesis(
        "Trained until a given loss or forget error, not for a fixed number of epochs.",
        "The boundary moves as d to the power {value} {ends}; claimed is 1/4.", _without(" epochs, eta")),
    "theorem-3.3-sam-boundary": Hypothesis(
        "A first phase by SAM of about d epochs, then SGD to a small loss.",
        "The signal that is needed moves as d to the power {value} {ends}; the bound allows up to 0.",
        _all("then SGD to")),
    "theorem-3.3-matched-forgetting": Hypothesis(
        "Both rules have forgotten equally much.",
        "SAM's test error minus SGD's is {value} {ends} after SGD pretraining.", _all("matched forgetting")),
    "lemma-3.4-surplus-difference": Hypothesis(
        "Learning is linear: the drive Y is below 0.1.",
        "The surplus grows as |phi| to the power {value} {ends}; claimed is 2.", _all("linear")),
    "lemma-3.4-alpha-tolerance": Hypothesis(
        "Both rules run for equally many epochs.", "SAM's smallest benign alpha is {value} {ends} lower.",
        _all("matched epochs")),
    "lemma-3.4-alpha-gap": Hypothesis(
        "The benign regime.", "The gap in odds grows as d to the power {value} {ends}; the bound allows 1/2."),
    "random-labels": Hypothesis(
        "Forget labels are flipped.", "At equal forgetting SAM's test error minus SGD's is {value} {ends}."),
    "sharp-minmax": Hypothesis(
        "Both rules have forgotten equally much.",
        "Its test error minus SGD's is {value} {ends} after SGD pretraining.", _without("fixed at the start")),
}  # fmt: skip


def judged(name: str, studies: Studies) -> Found:
    """Return what the record of one theory claim says inside its hypothesis."""
    record = claim_records(studies.of(CLAIMS_STUDY), [name]).get(name)
    if record is None or not record.result["parts"]:
        return Found()
    result, hypothesis = record.result, HYPOTHESES[name]
    parts: Table = pd.DataFrame(result["parts"])
    named: Table = parts["part"].map(hypothesis.holds)
    inside = parts["inside"].where(parts["inside"].notna(), named).astype(bool) if "inside" in parts else named
    sides = parts.loc[inside, "side"].to_list()
    word = word_of(sides)
    held = f"{sides.count(1)} of {len(sides)} cases"
    value, (low, high) = result["estimate"], result["interval"]
    number = "" if value is None else _number(hypothesis.number, value, low, high)
    beyond = [f"Beyond the hypothesis it holds in {outside.count(1)} of {len(outside)} cases."
              for outside in [parts.loc[~inside, "side"].to_list()] if outside]  # fmt: skip
    sure = f"{'high' if abs(sum(sides)) == len(sides) else 'moderate'} ({result['seeds']} seeds)"
    rows: Table = parts.rename(
        columns={"estimate": "value", "estimate_low": "low", "estimate_high": "high", "part": "setting"}
    )
    rows = rows.assign(forget_set=inside.map(lambda held: "inside the hypothesis" if held else "beyond it"))
    return Found(
        word, held.replace(" of ", "/"), tuple(filter(None, [f"It holds in {held}.", number])), sure,
        (*_where(parts[inside], word), f"Hypothesis: {hypothesis.words}", *beyond, *_depends(result)),
        tuple(Effect(str(row.setting), {1: YES, -1: OPPOSITE, 0: OPEN}[row.side], row.value, row.low, row.high, 1,
                     result["seeds"]) for row in rows[inside].itertuples()),
        rows, "", None, (record.run_id,),
    )  # fmt: skip


def word_of(sides: list[int]) -> str:
    """Return the answer from the sides of parts: +1 inside the claimed region, -1 outside, 0 undecided."""
    seen = {*sides}
    if seen == {1}:
        return YES
    return ONLY_WHERE if 1 in seen else OPPOSITE if -1 in seen else OPEN


def _number(text: str, value: float, low: float | None, high: float | None) -> str:
    return text.format(value=f"{value:.3g}", ends="" if low is None else f"[{low:.3g}, {high:.3g}]").replace("  ", " ")


def _where(inside: Table, word: str) -> list[str]:
    """Return for which cases a claim holds, or of few that fail, for which it does not."""
    if word != ONLY_WHERE:
        return []
    sides = {"It holds for": inside["side"] == 1, "It fails for": inside["side"] == -1}
    told = min(sides, key=lambda said: (not sides[said].any(), sides[said].sum()))
    return [f"{told}: {'; '.join(inside.loc[sides[told], 'part'][:MOST])}."]


def _depends(result: Mapping[str, Any]) -> list[str]:
    return [f"What it depends on: {result['change'][:1].lower()}{result['change'][1:]}"] if result.get("change") else []


def surplus(studies: Studies) -> Found:
    """Judge the surplus as a difference; as a ratio it is read by nobody, which a second sentence says."""
    from dataclasses import replace

    found = judged("lemma-3.4-surplus-difference", studies)
    ratio = claim_records(studies.of(CLAIMS_STUDY), ["lemma-3.4-surplus-ratio"]).get("lemma-3.4-surplus-ratio")
    if ratio is None or not found.runs:
        return found
    text = _number("Read as a ratio it does not grow: the power is {value} {ends}.", ratio.result["estimate"],
                   *ratio.result["interval"])  # fmt: skip
    return replace(found, beyond=(*found.beyond, text), runs=(*found.runs, ratio.run_id))


SAID = "public reading notes"
# Record, short name, subject, what the paper says.
STATED = [
    ("lemma-3.1-activation", "Lemma 3.1", "Which neurons SAM switches off",
     "SAM switches off noise neurons of kept images only"),
    ("lemma-3.1-sgd-on-forget", "Lemma 3.1, consequence", "SAM on the forget set",
     "On the forget set SAM acts like SGD"),
    ("theorem-3.2-sgd-boundary", "Theorem 3.2", "Boundary of SGD",
     "SGD overfits benignly above |phi| of order (d/n)^(1/4)"),
    ("theorem-3.3-sam-boundary", "Theorem 3.3", "Boundary of SAM",
     "SAM needs a signal of order 1 only"),
    ("theorem-3.3-matched-forgetting", "SAM in theory", "SAM against SGD",
     "SAM unlearns better than SGD"),
    ("lemma-3.4-surplus-difference", "Lemma 3.4", "Signal surplus",
     "SAM learns retain signal faster, by order |phi|^2"),
    ("lemma-3.4-alpha-tolerance", "Lemma 3.4, alpha", "Tolerance of a small alpha",
     "SAM tolerates a smaller alpha"),
    ("lemma-3.4-alpha-gap", "Lemma 3.4, gap", "Gap of the thresholds",
     "The thresholds differ by order sqrt(d/n)"),
    ("random-labels", "Random labels", "Flipped forget labels",
     "The same analysis holds with flipped labels"),
    ("sharp-minmax", "Sharp MinMax in theory", "Sharp MinMax",
     "Overfitting the forget set helps"),
]  # fmt: skip
CLAIMS = [
    Claim(name, short, title, text, SAID, HYPOTHESES[name].words, (CLAIMS_STUDY,),
          surplus if name == "lemma-3.4-surplus-difference" else partial(judged, name))
    for name, short, title, text in STATED
]  # fmt: skip
