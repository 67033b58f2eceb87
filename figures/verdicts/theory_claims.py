"""What the paper claims in theory, and the verdict of the claim records on each."""

from functools import partial

from figures.tables.records import Records
from figures.tables.theory import claim_command, claim_records
from figures.verdicts.judge import Finding, Item, common_verdict, judged_on
from repro.records.record import Record

# Claim identifier, title, what the paper says.
CLAIMS = [
    ("lemma-3.1-activation", "Lemma 3.1", "SAM's perturbation switches off noise neurons of R, not of F"),
    ("lemma-3.1-sgd-on-forget", "Lemma 3.1, consequence", "SAM abandons denoising on F and acts there like SGD"),
    ("theorem-3.2-sgd-boundary", "Theorem 3.2", "SGD overfits benignly iff |phi| >= C1 (d/n)^(1/4) P sigma_p"),
    ("theorem-3.3-sam-boundary", "Theorem 3.3", "SAM has low test error already for |phi| >= Omega(1)"),
    ("theorem-3.3-matched-forgetting", "SAM against SGD in theory",
     "SAM unlearns better, at matched epochs and matched forgetting"),
    ("lemma-3.4-surplus-difference", "Lemma 3.4", "SAM learns Theta(|phi|^2) more retain signal"),
    ("lemma-3.4-alpha-tolerance", "Lemma 3.4, alpha", "SAM tolerates a smaller alpha than SGD"),
    ("lemma-3.4-alpha-gap", "Lemma 3.4, rate", "the alpha thresholds of SGD and SAM differ by O(sqrt(d/n))"),
    ("random-labels", "Random labels", "the same analysis with flipped forget labels"),
    ("sharp-minmax", "Sharp MinMax", "its forget part needs a stronger signal; overfitting F helps"),
    ("tug-of-war", "ToW in theory", "SAM unlearns better than SGD by ToW"),
]  # fmt: skip


def one_claim(name: str, records: Records) -> Finding:
    """Return what the record of one theory claim says, in its own word, which `repro.base.verdict` gave it."""
    record = claim_records(records, [name]).get(name)
    if record is None:
        return Finding()
    number, result = _estimate(record), record.result
    effect, said = number.partition(" — ")[0], (result.get("sentence", ""), result.get("change", ""))
    return Finding(result["verdict"], number, result["regime"], (record,), effect, *said)


def several_claims(names: tuple[str, ...], records: Records) -> Finding:
    """Return the verdict of the theory claims that a figure shows; where they differ, each is named with its own."""
    found = [(record, record.result["verdict"]) for record in claim_records(records, names).values()]
    if not found:
        return Finding()
    common = common_verdict([each for _, each in found])
    number = "; ".join(f"{record.result['title']}: {each}" for record, each in found)
    return Finding(common, number, "", tuple(record for record, _ in found))


def _estimate(record: Record) -> str:
    """Return a claim's central number with its 95 % interval and seeds, and what the number is."""
    result = record.result
    value, (low, high) = result["estimate"], result["interval"]
    if value is None:
        return "—"
    spread = "" if low is None else f" [{low:.3g}, {high:.3g}]"
    what = f" — {result['quantity']}" if result.get("quantity") else ""
    return f"{value:.3g}{spread} ({result['seeds']} seeds){what}"


STUDIES = ("claims",)
ITEMS = [
    Item("theory", title, text, claim_command(name), judged_on(STUDIES, partial(one_claim, name)), STUDIES)
    for name, title, text in CLAIMS
]
