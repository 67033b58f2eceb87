"""The paper's theory claims, each judged inside its own hypothesis; what lies beyond is a second sentence.

The records of `repro theory claims` hold the answer, the hypothesis, and a claim's parts, each with its interval and
whether it lies inside the hypothesis.
"""

from functools import partial

import pandas as pd

from figures.answers.found import Claim, Effect, Found
from figures.tables.records import Studies
from figures.tables.theory import claim_records
from repro.statistics.answers import BY_SIDE, ONLY_WHERE
from repro.statistics.effects import Table

CLAIMS_STUDY = "claims"
MOST = 5  # settings named in a sentence
RESULT = {"answer", "parts", "interval", "estimate", "quantity"}  # what a record must say to be judged
PART = {"part", "inside", "side", "estimate", "estimate_low", "estimate_high"}


def judged(name: str, studies: Studies) -> Found:
    """Return what the record of one theory claim says inside its hypothesis."""
    record = claim_records(studies.of(CLAIMS_STUDY), [name]).get(name)
    if record is None or not set(record.result) >= RESULT or len(record.result["interval"]) != 2:
        return Found()
    result = record.result
    parts: Table = pd.DataFrame(result["parts"])
    if not set(parts) >= PART:  # an older version did not say where a part lies
        return Found()
    inside: Table = parts["inside"].astype(bool)
    sides, word = parts.loc[inside, "side"].to_list(), result["answer"]
    held = f"{sides.count(1)} of {len(sides)} settings"
    value, (low, high) = result["estimate"], result["interval"]
    quantity, spread = result["quantity"], "" if low is None else f" [{low:.3g}, {high:.3g}]"
    number = "" if value is None else f"{quantity[:1].upper()}{quantity[1:]}: {value:.3g}{spread}."
    beyond = [f"Beyond the hypothesis it holds in {outside.count(1)} of {len(outside)} settings."
              for outside in [parts.loc[~inside, "side"].to_list()] if outside]  # fmt: skip
    sure = f"{'high' if abs(sum(sides)) == len(sides) else 'moderate'} ({result['seeds']} seeds)"
    change = result.get("change") or ""
    depends = [f"What it depends on: {change[:1].lower()}{change[1:]}"] if change else []
    said = f"Hypothesis: {result.get('hypothesis', 'not stated')}"
    rows: Table = parts.rename(
        columns={"estimate": "value", "estimate_low": "low", "estimate_high": "high", "part": "setting"}
    )
    rows = rows.assign(forget_set=inside.map(lambda held: "inside the hypothesis" if held else "beyond it"))
    return Found(
        word, held.replace(" of ", "/"), tuple(filter(None, [f"It holds in {held}.", number])), sure,
        (*_where(parts[inside], word), said, *beyond, *depends),
        tuple(Effect(str(row.setting), BY_SIDE[row.side], row.value, row.low, row.high, 1,
                     result["seeds"]) for row in rows[inside].itertuples()),
        rows, "", None, (record.run_id,),
    )  # fmt: skip


def _where(inside: Table, word: str) -> list[str]:
    """Return the settings in which a claim holds or, if they are fewer, those in which it fails."""
    if word != ONLY_WHERE:
        return []
    sides = {"It holds for": inside["side"] == 1, "It fails for": inside["side"] == -1}
    told = min(sides, key=lambda said: (not sides[said].any(), sides[said].sum()))
    return [f"{told}: {'; '.join(inside.loc[sides[told], 'part'][:MOST])}."]


SAID = "public reading notes"
READING = "As the notes word it, inside its own hypothesis."
# Record, short name, subject, what the paper says.
STATED = [
    ("lemma-3.1-activation", "Lemma 3.1", "Which neurons SAM switches off",
     "SAM switches off noise neurons of retain images only"),
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
    ("tug-of-war", "ToW in theory", "SAM against SGD by ToW",
     "SAM unlearns better than SGD at best epochs"),
]  # fmt: skip
CLAIMS = [
    Claim(name, short, title, text, SAID, READING, (CLAIMS_STUDY,), partial(judged, name))
    for name, short, title, text in STATED
]
