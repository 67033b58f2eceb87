"""Commands that list, show, check and publish records."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from repro.base.errors import IntegrityError, MissingDataError
from repro.base.places import published_files
from repro.base.settings import choose, reject
from repro.records.identity import SCHEMA
from repro.records.index import Head
from repro.records.lists import publish_list, published_lists
from repro.records.publish import published_path, with_published, write_published
from repro.records.published import PublishedStudy, readers
from repro.records.record import pick
from repro.records.store import Store
from repro.records.upkeep import leftovers, tidy_store
from repro.study.study import load_study
from repro.terminal.output import DEFAULT_STORE, JsonOption, StoreOption, emit, emit_json, say

KindOption = Annotated[str | None, typer.Option(help="Only runs of this kind, such as theory or unlearn.")]
StudyOption = Annotated[str | None, typer.Option(help="Only runs of this study, each on its own line.")]
LimitOption = Annotated[int | None, typer.Option(help="Only this many runs, the newest, each on its own line.", min=1)]


def list_runs(
    study: StudyOption = None, kind: KindOption = None, limit: LimitOption = None, store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:  # fmt: skip
    """List the finished runs by study: your own first, then the published ones.

    With --study, --kind, --limit or --json each run has its own line.
    """
    own = Store(store).heads()
    heads: dict[str, Head] = {}
    for head in (*own, *(head for path in published_files() for head in PublishedStudy(path).heads())):
        if head.schema == SCHEMA:
            heads.setdefault(head.run_id, head)
    for name, wanted in (("kind", kind), ("study", study)):
        if wanted is not None and heads:
            choose(name, wanted, sorted({getattr(head, name) for head in heads.values()}))
    rows = [_row(head) for head in heads.values() if kind in (None, head.kind) and study in (None, head.study)]
    if limit:
        rows = sorted(rows, key=lambda row: str(row["finished"]), reverse=True)[:limit]
    if not json:
        each = [row | {"finished": str(row["finished"])[:16].replace("T", " ")} for row in rows]
        rows = each if study or kind or limit else _by_study(rows)
    emit(rows, as_json=json, empty=NOTHING)
    _name_outdated([head for head in own if head.schema != SCHEMA], json)


NOTHING = "no runs yet; start with `repro theory`"


def _by_study(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a row per study and place: its runs by kind, and when the last was finished."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["study"], row["store"]), []).append(row)
    return [
        {"study": study or "(none)", "store": place, "runs": len(group),
         "not ok": sum(row["status"] != "ok" for row in group),
         "kinds": ", ".join(f"{kind} {count}" for kind, count in Counter(row["kind"] for row in group).most_common()),
         "last finished": max(str(row["finished"]) for row in group)[:16].replace("T", " ")}
        for (study, place), group in found.items()
    ]  # fmt: skip


def _name_outdated(old: list[Head], as_json: bool) -> None:
    """Name the runs of the store that are of an older schema: readers leave them out."""
    if old:
        ids = ", ".join(record.run_id for record in old[:5]) + (f" and {len(old) - 5} more" if len(old) > 5 else "")
        schemas = sorted({record.schema for record in old})
        line = (
            f"{len(old)} runs of schema {', '.join(map(str, schemas))} are not read by this version ({ids}); run again"
        )
        typer.echo(line, err=as_json)


def _row(head: Head) -> dict[str, Any]:
    run, kind, status, _, study, finished, source = head
    return {"run": run, "kind": kind, "status": status, "store": source, "study": study, "finished": finished}


def show(
    run: Annotated[str, typer.Argument(help="The run id, or enough of its first digits.")],
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Show one run: its settings, its numbers and how it came to be; with --json also its arrays, small ones whole."""
    own: list[Store | PublishedStudy] = [Store(store), *map(PublishedStudy, published_files())]
    found = {record.run_id: record for reader in reversed(own) for record in reader.starting(run)}
    record = pick(found.values(), run)
    names = ("run_id", "kind", "status", "source", "config", "result", "provenance")
    content = {name: getattr(record, name) for name in names}
    content["arrays"] = {name: values.tolist() if json and values.size <= MOST_VALUES
                         else f"{values.dtype}, shape {values.shape}"
                         for name, values in record.arrays().items()}  # fmt: skip
    if json:
        emit_json(content)
        return
    emit([{"setting": key, "value": value} for key, value in _flatten(content).items()])


MOST_VALUES = 5_000  # a larger array is described, not shown


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: str(value)}
    flat: dict[str, Any] = {}
    for key, one in value.items():
        flat |= _flatten(one, f"{prefix}.{key}" if prefix else key)
    return flat


def verify(store: StoreOption = DEFAULT_STORE, json: JsonOption = False) -> None:
    """Compare every stored file with its recorded hash, in your store and in the published studies."""
    if store != DEFAULT_STORE and not store.is_dir():  # of the default one nobody said that it is there
        raise MissingDataError(f"store = {str(store)!r}: no such folder; name the folder of your runs")
    problems = [problem for reader in readers(Store(store)) for problem in reader.verify()]
    for folder in dict.fromkeys(path.parent for path in published_files()):
        try:
            published_lists(folder)
        except IntegrityError as error:
            problems.append(str(error))
    emit([{"problem": problem} for problem in problems], as_json=json, empty="every file matches its hash")
    if problems:
        raise IntegrityError(f"{len(problems)} damaged; delete those folders and run them again")


def publish(
    name: Annotated[str, typer.Argument(help="Name of the study, such as digits.")],
    arrays: Annotated[
        bool, typer.Option("--arrays/--no-arrays", "--attach/--no-attach", help="Include arrays and per-epoch rows.")
    ] = True,
    zenodo: Annotated[bool, typer.Option("--zenodo", help="Also write Zenodo's metadata and a CITATION.cff.")] = False,
    creator: Annotated[
        list[str] | None, typer.Option(help='For --zenodo: "Family, Given", or a group; repeatable.')
    ] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Publish a study: write its runs to results/NAME.parquet and its list of runs to results/studies.json.

    Runs that only the file has stay in it; remove the file first to publish the store alone.
    """
    path = published_path(name, Path("results"))
    if creator and not zenodo:
        raise reject("creator", ", ".join(creator), "given with --zenodo", "it is for the citation alone")
    study = load_study(name)
    home = Store(store)
    listed = study.own_runs(home)
    records = home.records(ids=set(listed.ids))
    if not records:
        raise MissingDataError(f"study = {name[:200]!r}: no runs in {store}; {study.command}")
    if faults := [fault for one in records for fault in home.evaluation_faults(one)]:
        more = f", and {len(faults) - 1} more: `repro records verify`" if len(faults) > 1 else ""
        raise IntegrityError(f"{faults[0]}{more}")
    whole = with_published(path, records, arrays=arrays)
    if zenodo:
        from repro.terminal.citation import write_citation

        path.parent.mkdir(parents=True, exist_ok=True)
        for file in write_citation(name, whole, path.parent, creators=creator or []):
            say(f"citation: {file}")
    write_published(whole, path)
    publish_list(path.parent, study.name, listed)
    before = f", with {len(whole) - len(records)} that were there before" if len(whole) > len(records) else ""
    say(f"published {len(records)} runs in {path}{before}")
    absent = listed.open + len(set(listed.runs) - {record.run_id for record in whole})
    if absent:
        say(f"{absent} of {len(listed.runs) + listed.open} runs are not in it, as they have no record; {study.command}")


def tidy(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be removed and stop.")] = False,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Remove what interrupted runs left behind: temporary files, old checkpoints, leases of dead processes."""
    home = Store(store)
    found = leftovers(home) if dry_run else tidy_store(home)
    rows = [{"left over" if dry_run else "removed": str(path.relative_to(home.root))} for path in found]
    emit(rows, as_json=json, empty="nothing was left over")


COMMANDS: dict[str, Callable[..., None]] = {
    "list": list_runs,
    "show": show,
    "verify": verify,
    "publish": publish,
    "tidy": tidy,
}
