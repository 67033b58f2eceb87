"""Writes a published study, as `repro.records.published` reads it, and merges new records with those that it has."""

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from repro.base.errors import IntegrityError
from repro.base.outputs import remove_output, write_outputs
from repro.base.settings import file_name
from repro.records.columns import Row, flat, from_arrow, to_arrow
from repro.records.published import FILES, HASHES, HEAD, MANIFEST, PARTS, SHORT, PublishedStudy, member_name, sha_of_row
from repro.records.record import EPOCHS, Content, Record
from repro.records.stages import known_weights, require_one_set

TIMED = ("seconds", "peak_memory")  # numbers that differ each time a run is computed
NAMED = ("evaluations", "choice_details")  # these name what was measured; two copies of a run are merged


def published_path(name: str, folder: Path) -> Path:
    """Return the file of a published study.

    Raises:
        ConfigError: for a path, or a name that a file system would not take.
    """
    return folder / f"{file_name('name', name)}.parquet"


def write_published(records: Iterable[Record], path: Path) -> Path:
    """Publish records, ordered by run id: the same records give the same bytes.

    Args:
        records: the runs of one study.
        path: the Parquet file, `results/<study>.parquet`; their arrays stand in an archive with it.
    """
    import pyarrow.parquet as pq

    records = sorted(records, key=lambda record: record.run_id)
    members: dict[str, bytes] = {}
    table = to_arrow([_row(record, members) for record in records])
    rows = from_arrow(table)  # as they will be read back: arrow may hold a whole number as a float
    hashes = [sha_of_row(row) for row in rows]
    listed = {record.run_id: sha[:SHORT] for record, sha in zip(records, hashes, strict=True)}
    table = table.append_column("sha256", [hashes]).replace_schema_metadata({MANIFEST: json.dumps(listed)})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    archive = path.with_suffix(".npz")
    files = {archive.name: _archived(members)} if members else {}  # first: it also holds the files of rows that stay
    write_outputs(path.parent, files | {path.name: buffer.getvalue()}, force=True)
    if not members:
        remove_output(archive)
    return path


def _row(record: Record, members: dict[str, bytes]) -> Row:
    """Return a record as a row, and add its files to `members` of the archive."""
    row: Row = {name: getattr(record, name) for name in HEAD}
    row["identity"] = json.dumps(record.identity, sort_keys=True)
    row |= flat({name: getattr(record, name) for name in PARTS})
    contents = _files_of(record)
    hashes = {name: hashlib.sha256(content).hexdigest()[:SHORT] for name, content in contents.items()}
    members |= {member_name(name, hashes[name]): content for name, content in contents.items()}
    return row | ({FILES: list(hashes), HASHES: list(hashes.values())} if hashes else {})


def _files_of(record: Record) -> dict[str, bytes]:
    """Return the files of a run: one per array, and one of its per-epoch rows."""
    import numpy as np

    found: dict[str, bytes] = {}
    for name, array in sorted(record.arrays().items()):
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=False)
        found[f"{name}.npy"] = buffer.getvalue()
    epochs = record.read(EPOCHS)
    return found | ({EPOCHS: epochs} if epochs else {})


def _archived(members: Mapping[str, bytes]) -> bytes:
    from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

    buffer = io.BytesIO()
    with ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(ZipInfo(name), content, ZIP_DEFLATED)
    return buffer.getvalue()


def with_published(path: Path, records: Iterable[Record], *, arrays: bool = True) -> list[Record]:
    """Return new records and those already published, so that a study that continues in another store loses none.

    Two copies of a run from one training are merged. Of two trainings, the one with more evaluations is taken, or the
    new one if they have equally many: a row never mixes trainings. Runs of an older schema stay too.

    Args:
        path: the published file; it need not exist.
        records: the new records.
        arrays: take their arrays and per-epoch rows; those already published stay.

    Raises:
        IntegrityError: if the published file is damaged, or runs stand on two sets of weights of one stage.
    """
    require_one_set(records := list(records), "nothing is published")
    new = [record if arrays else replace(record, files={}) for record in records]
    if not path.exists():
        return new
    whole, faults = PublishedStudy(path).checked(trusting=False)  # they are written with new hashes
    if faults:
        raise IntegrityError(f"{faults[0]}; restore the file from version control, or remove it to publish anew")
    found = {record.run_id: record for record in whole}
    for record in new:
        before = found.get(record.run_id, record)
        if before is not record and _one_training(before, record):
            found[record.run_id] = _with_both(before, record)
        elif _measured(record) >= _measured(before):
            found[record.run_id] = record
    require_one_set(found.values(), f"nothing is published in {path.name}")
    return list(found.values())


def _measured(record: Record) -> int:
    return len(record.result.get("evaluations", ()))


def _one_training(before: Record, new: Record) -> bool:
    """Return whether two copies of a run come from one training: they state the same checksums of its weights.

    If neither states any, all numbers of both must agree, except for times; a few accuracies may agree by chance.
    """
    settings = [{**record.config, "metrics": ()} for record in (before, new)]
    weights = [dict(known_weights(record.result.get("parents") or {})) for record in (before, new)]
    if before.status != new.status or settings[0] != settings[1] or weights[0] != weights[1]:
        return False
    shared = (name for name in before.result.keys() & new.result.keys() if not name.startswith(TIMED))
    alike = (before.result[name] == new.result[name] for name in shared if name not in NAMED)
    return bool(weights[0]) or all(alike)


def _with_both(before: Record, new: Record) -> Record:
    """Return a run with the evaluations and files of two copies; where both have one, the new one."""
    result = before.result | new.result
    measured = before.result.get("evaluations", {}) | new.result.get("evaluations", {})
    there: dict[str, Content] = {f"before-{name}" if name.endswith(".npz") else name: content
                                 for name, content in before.files.items()}  # fmt: skip
    return replace(new, result=result | ({"evaluations": measured} if measured else {}), files=there | {**new.files})
