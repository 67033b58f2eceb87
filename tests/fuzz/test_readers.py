"""Every reader on arbitrary and on damaged bytes: it answers, or raises an error of ours that names what is wrong.

A seed corpus is damaged at random. `make fuzz` tries 10,000 examples a reader (REPRO_FUZZ), the other tests a few.
"""

import io
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from empirical.data.files import decode_image, read_columns
from empirical.runs.imports import _published, import_index
from empirical.runs.stages import restore
from empirical.settings.rule_labels import parse_options, parse_rule, parse_value
from empirical.studies.recipe import load_recipe
from empirical.training.checkpoint import described
from repro.base.errors import ReproError
from repro.base.files import collect_damage, read_with_checksum
from repro.records.publish import write_published
from repro.records.published import PublishedStudy
from repro.records.record import Record
from repro.records.store import Store
from repro.study.table import table_of
from repro.terminal.output import printable
from tests.empirical.tiny import make_network
from tests.repro.test_shape import VALUES, WHOLE, config_of
from tests.repro.test_shape import written as write_record

EXAMPLES = int(os.environ.get("REPRO_FUZZ", "25"))
TRIED = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=EXAMPLES < 1000, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
pytestmark = pytest.mark.skipif(EXAMPLES < 1, reason="REPRO_FUZZ = 0")


@cache
def folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="repro-fuzz-"))


def written(data: bytes, name: str) -> Path:
    path = folder() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def bytes_of(write: Callable[[io.BytesIO], Any]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def png() -> bytes:
    from PIL import Image

    return bytes_of(lambda file: Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(file, "PNG"))


def saved() -> Record:
    store = Store(folder() / "seed")
    return store.save("unlearn", {"a": 1}, result={"tow": 0.5}, arrays={"w": np.arange(4)}, epochs=[{"epoch": 1}])


def from_store(name: str) -> bytes:
    return (folder() / "seed" / "runs" / saved().run_id / name).read_bytes()


@cache
def seeds(kind: str) -> list[bytes]:
    """Return whole files of a kind, from which damaged ones are made."""
    table = pa.table({"img": [{"bytes": png()}] * 2, "label": [0, 1]})
    made: dict[str, Callable[[], list[bytes]]] = {
        "recipe": lambda: [path.read_bytes() for path in sorted(Path("recipes").glob("*.toml"))[:8]],
        "npy": lambda: [bytes_of(lambda file: np.save(file, np.arange(5))), b"1\n2\n3\n"],
        "npz": lambda: [bytes_of(lambda file: np.savez(file, tr_mem=np.ones(3), tr_labels=np.zeros(3, int)))],
        "marker": lambda: [from_store(name) for name in ("result.json", "config.json", "provenance.json")],
        "images": lambda: [bytes_of(lambda file: pq.write_table(table, file))],
        "picture": lambda: [png()],
        "pack": lambda: [write_published([saved()], folder() / "seed.parquet").read_bytes()],
        "weights": lambda: [save(dict(make_network().model.state_dict()))],
        "state": lambda: [save({"losses": torch.ones(2)}, metadata={"state": '{"version": 1, "said": {}}'})],
        "index": lambda: [(folder() / "seed" / "index.jsonl").read_bytes() for _ in [saved()]],
    }
    return made[kind]()


@st.composite
def damaged(draw: st.DrawFn, kind: str) -> bytes:
    """Return arbitrary bytes, or a file of a kind with bytes changed, cut, doubled or put in."""
    if draw(st.integers(0, 5)) == 0:
        return draw(st.binary(max_size=300))
    raw = bytearray(draw(st.sampled_from(seeds(kind))))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, max(len(raw) - 1, 0)))
        how = draw(st.sampled_from(["change", "cut", "double", "put in", "remove"]))
        if how == "change" and raw:
            raw[place] = draw(st.integers(0, 255))
        elif how == "cut":
            del raw[place:]
        elif how == "double":
            raw[place:place] = raw[place : place + draw(st.integers(1, 60))]
        elif how == "put in":
            raw[place:place] = draw(st.sampled_from(NASTY))
        else:
            del raw[place : place + draw(st.integers(1, 30))]
    return bytes(raw)


NASTY = [b"\0", b"\xff", b"null", b"[]", b"{}", b"NaN", b"1e999", b"9" * 400, b"[" * 300, b'"\\ud800"', b"-", b"../",
         b"\x1b["]  # fmt: skip


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with collect_damage():
        yield


def answers(read: Callable[[], Any]) -> None:
    """Let a reader answer, or raise an error of ours; any other fails the test."""
    with suppress(ReproError):
        read()


def read_arrays(pack: PublishedStudy) -> None:
    for record in pack.records():
        record.arrays()


def of_pack(read: Callable[[PublishedStudy], Any]) -> Callable[[bytes], Any]:
    return lambda data: read(PublishedStudy(written(data, "p.parquet")))


READERS: dict[str, tuple[str, Callable[[bytes], Any]]] = {
    "recipe": ("recipe", lambda data: load_recipe(written(data, "r.toml"))),
    "index of rows": ("npy", lambda data: import_index(written(data, "rows.npy"), Store(folder() / "imports"))),
    "text of rows": ("npy", lambda data: import_index(written(data, "rows.txt"), Store(folder() / "imports"))),
    "scores": ("npz", lambda data: _published(written(data, "s.npz"))),
    "images": ("images", lambda data: read_columns(written(data, "i.parquet"))),
    "picture": ("picture", lambda data: decode_image(data, "row 0")),
    "weights": ("weights", lambda data: restore(make_network(), data, "a stage")),
    **{f"pack: {read.__name__}": ("pack", of_pack(read))
       for read in (PublishedStudy.verify, PublishedStudy.records, PublishedStudy.heads, read_arrays)},
}  # fmt: skip


@pytest.mark.parametrize("name", READERS)
@TRIED
@given(data=st.data())
def test_a_reader_of_a_file(name: str, data: st.DataObject) -> None:
    kind, read = READERS[name]
    content = data.draw(damaged(kind))
    answers(lambda: read(content))


@TRIED
@given(damaged("marker"), st.sampled_from(["result.json", "config.json", "provenance.json", "evaluations.json"]))
def test_run_folders(data: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory(dir=folder()) as place:  # one damage never meets another's
        store = Store(place)
        record = store.save("unlearn", {"a": 1}, result={"tow": 0.5})
        (store.root / "runs" / record.run_id / name).write_bytes(data)
        answers(store.verify)
        answers(store.records)


@TRIED
@given(st.data())
def test_record_types(data: st.DataObject) -> None:
    """Any value in any place of a record of any kind, under its right hash."""
    kind = data.draw(st.sampled_from(sorted(WHOLE)))
    parts: dict[str, Any] = {"result": WHOLE[kind], "config": config_of(kind), "provenance": {"study": "x"}}
    part = data.draw(st.sampled_from(sorted(parts)))
    name = data.draw(st.sampled_from(sorted(parts[part])) | st.text(st.characters(), max_size=4))
    parts[part] = data.draw(VALUES | VALUES.map(lambda value: {**parts[part], name: value}))
    with tempfile.TemporaryDirectory(dir=folder()) as place:
        store = Store(place)
        write_record(store, kind, **parts)
        answers(store.verify)
        answers(lambda: table_of(store.records()))
        answers(lambda: store.find(kind, {"a": 1}))


@TRIED
@given(damaged("index"))
def test_the_index_of_a_store(data: bytes) -> None:
    store = Store(folder() / "indexed")
    record = store.save("unlearn", {"a": 1}, result={"tow": 0.5})
    written(data, "indexed/index.jsonl")
    assert [head.run_id for head in store.heads()] == [record.run_id]


@TRIED
@given(damaged("state"))
def test_checkpoints(data: bytes) -> None:
    assert isinstance(described(data), dict)
    assert read_with_checksum(written(data, "1.sealed")) is None


@TRIED
@given(st.one_of(st.text(max_size=60), st.from_regex(r"(minmax|masked|sam|asam|sgd)-[a-z0-9.-]*", fullmatch=True)))
def test_labels_and_options(text: str) -> None:
    answers(lambda: parse_rule(text))
    answers(lambda: parse_options(text, "options"))
    answers(lambda: parse_value(text))
    assert printable(text).isprintable()
