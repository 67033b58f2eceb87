"""Where a study stands: its records say what is done or failed, and leases say who computes what.

Neither the computing processes nor a queue is asked. Nothing here loads torch or an image.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from empirical.settings.run_config import Runtime
from empirical.studies.finished import Finished
from empirical.studies.recipe import Recipe
from repro.records.leases import Lease
from repro.records.published import readers
from repro.records.record import Record
from repro.records.store import Store
from repro.study.study import State, Study

STATES = ("done", "diverged", "failed", "running", "pending", "searching")
OPEN = STATES[3:]
RECENT = 32  # finished runs that tell the pace


@dataclass(frozen=True)
class StatusRow:
    """One run of a study.

    Attributes:
        run_id: its identity; empty while its learning rate is searched for, or its data are not here.
        kind: `unlearn`, `choice` or `floor`.
        title: method, rule, forget set and seed.
        state: one of `STATES`.
        detail: of a running one, host and process, and how long ago it last reported; of a failed one, the error.
    """

    run_id: str
    kind: str
    title: str
    state: str
    detail: str = ""


@dataclass(frozen=True)
class Status:
    """Where a study stands.

    Attributes:
        rows: the trials of searches, then the runs.
        counts: how many there are of each state that occurs.
        workers: host and process of everyone who computes in the store.
        seconds_left: estimated seconds until all runs are done, at the pace of the last ones; None while nobody
            computes, or before two have ended.
    """

    rows: list[StatusRow] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    workers: list[str] = field(default_factory=list)
    seconds_left: float | None = None

    @property
    def open(self) -> int:
        """How many runs are neither done nor failed."""
        return sum(self.counts.get(state, 0) for state in OPEN)


def status_of(recipe: Recipe, store: Store, runtime: Runtime) -> Status:
    """Return where a study stands."""
    held = {lease.name: lease for lease in store.leases.all() if not lease.gone}
    finished = Finished(readers(store))
    planned = recipe.resolve(finished, runtime).rows(finished)
    stands = Study(recipe.name).state(store, (row.run_id for row in planned))
    rows, ended = [], []
    for row in planned:
        record, lease = finished.own.get(row.run_id), held.get(row.run_id)
        if stands[row.run_id] is State.RUNNING and lease is not None:
            state, detail = "running", f"{owner_of(lease)}, heard of {max(lease.age, 0):.0f} s ago"
        elif stands[row.run_id] is State.FAILED and record is not None:
            state, detail = "failed", str(record.result.get("error", ""))
        elif row.done:
            state, detail = ("diverged" if record and record.status == "diverged" else "done"), ""
            ended += [record] if record else []
        else:
            state, detail = ("searching" if row.open else "pending"), ""
        one = row.config
        title = f"{one.method} {one.rule} on {one.difficulty} after {one.pretrain}, seed {one.seed}"
        rows.append(StatusRow(row.run_id, row.kind, title, state, detail))
    counts = Counter(row.state for row in rows)
    left = sum(counts[state] for state in OPEN)
    return Status(
        rows,
        counts={state: counts[state] for state in STATES if counts[state]},
        workers=sorted({owner_of(lease) for lease in held.values()}),
        seconds_left=_pace(ended) * left if held and len(ended) > 1 else None,
    )


def owner_of(lease: Lease) -> str:
    """Return the host and process that hold a lease, as text."""
    return f"{lease.host.partition('?')[0]} process {lease.pid}"


def _pace(finished: list[Record]) -> float:
    """Return the seconds between two runs, over the last that ended."""
    ends = sorted(datetime.fromisoformat(record.provenance["finished"]).timestamp() for record in finished)[-RECENT:]
    return (ends[-1] - ends[0]) / (len(ends) - 1)
