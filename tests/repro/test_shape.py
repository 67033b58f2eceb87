"""Records that are no records, under their right hash: each is named when it is read, and the rest goes on."""

import hashlib
import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from empirical.settings.run_config import RunConfig
from repro.base.errors import IntegrityError
from repro.base.files import collect_damage
from repro.records.identity import SCHEMA, plain, run_id_of_read
from repro.records.record import Record
from repro.records.shape import RESULTS, shape_fault
from repro.records.store import Store

NETWORK = {
    "labels": {"seed": 1}, "parents": {"pretrain": "a", "pretrain_checksum": None, "forget_set": "f"},
    "evaluations": {"tow": {"id": "0" * 16, "version": 1}}, "tow": 0.9, "original_test_accuracy": 0.5,
    "attack_loss_auc_interval": [0.1, 0.2], "relearning_forget": [0.1], "mia_rbf": None,
}  # fmt: skip
THEORY = {"seeds": [0, 1], "epochs": [0, 5], "final": {"test_error": [0.1, None]}, "diverged_at": [None, 3]}
SWEEP = {"sweep": "phase", "columns": ["d"], "boundaries": [{"boundary": [0.1]}], "rows": 1, "axes": {}}
CLAIM = {"claim": "x", "title": "t", "seeds": 3, "rows": [{"d": 1}]}
TWIN = {"epochs": [0], "metrics": ["test_error"], "seeds": [0], "theory": {}}
POOL = {"labels": {"rule": "sam"}, "runs": ["a"], "klom_unlearned_forget_mean": 0.1}
WHOLE: dict[str, Mapping[str, Any]] = {
    "unlearn": NETWORK, "choice": NETWORK, "floor": NETWORK, "theory": THEORY, "theory_sweep": SWEEP,
    "theory_claim": CLAIM, "theory_measurement": CLAIM, "theory_alpha": {"rows": [], "seeds": 2},
    "beside": {"departures": []}, "twin": TWIN, "evaluation": POOL,
}  # fmt: skip
HUGE = 10**400


def config_of(kind: str) -> dict[str, Any]:
    return plain(RunConfig()) if kind in ("unlearn", "choice", "floor") else {"a": 1, "pooled": kind == "evaluation"}


def written(store: Store, kind: str, result: Any, config: Any = None, provenance: Any = None) -> str:
    """Write a record as anybody could: every hash is right, whatever stands in it."""
    config = config_of(kind) if config is None else config
    identity = run_id_of_read(kind, {"a": 1}, SCHEMA)
    folder = store.root / ("evaluations" if kind == "evaluation" else "runs") / identity
    folder.mkdir(parents=True)
    said = {"kind": kind, "schema": SCHEMA, "config": config, "identity": {"a": 1}}
    files = {"config.json": json.dumps(said).encode(), "provenance.json": json.dumps(provenance or {}).encode()}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    done = {"run_id": identity, "kind": kind, "status": "ok", "result": result, "files": hashes, "sha256": ""}
    blank = json.dumps(done, indent=1, sort_keys=True).encode()
    seal = f'"sha256": "{hashlib.sha256(blank).hexdigest()}"'.encode()
    files["result.json"] = blank.replace(b'"sha256": ""', seal)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return identity


def with_value(result: Mapping[str, Any], name: str, value: Any) -> dict[str, Any]:
    return {**result, name: value}


NOT_NUMBERS = ["0.9", [0.9], {"a": 1}, True, float("nan"), float("inf"), HUGE]
ODD = [
    *(("unlearn", with_value(NETWORK, "tow", value)) for value in (*NOT_NUMBERS, None)),
    *(("choice", with_value(NETWORK, "original_test_accuracy", value)) for value in (*NOT_NUMBERS, None)),
    *(("floor", with_value(NETWORK, "mia_rbf", value)) for value in NOT_NUMBERS),
    *(("unlearn", with_value(NETWORK, "parents", value))
      for value in ([], "a", None, {"pretrain": 5}, {"forget_set": []})),
    *(("unlearn", with_value(NETWORK, "labels", value)) for value in ([], "a", {"seed": {}}, {"seed": HUGE})),
    *(("unlearn", with_value(NETWORK, "evaluations", value)) for value in ([], {"tow": "x"}, {"tow": {"id": "x"}})),
    *(("unlearn", with_value(NETWORK, name, value)) for name in ("relearning_forget", "attack_loss_auc_interval")
      for value in (0.5, "x", ["x"], [HUGE])),
    ("unlearn", with_value(NETWORK, "a_number_of_a_plug_in", HUGE)),
    ("unlearn", with_value(NETWORK, "tow\ud800", 0.5)),
    ("unlearn", with_value(NETWORK, "labels", {"\ud800": 1})),
    *((kind, {name: value for name, value in WHOLE[kind].items() if name != part}) for kind, part in [
        ("theory", "seeds"), ("theory", "epochs"), ("theory", "final"), ("theory_sweep", "sweep"),
        ("theory_claim", "claim"), ("theory_claim", "title"), ("theory_claim", "rows"),
        ("theory_alpha", "rows"),
        ("beside", "departures"), ("twin", "epochs"), ("twin", "metrics"), ("evaluation", "labels"),
        ("evaluation", "runs"),
    ]),
    ("theory", with_value(THEORY, "final", {"test_error": [0.1]})),
    ("theory", with_value(THEORY, "final", {"test_error": ["0.1", "0.2"]})),
    ("theory", with_value(THEORY, "final", [])),
    ("theory", with_value(THEORY, "diverged_at", [None])),
    ("theory_claim", with_value(CLAIM, "seeds", "three")),
    ("evaluation", with_value(POOL, "klom_unlearned_forget_mean", "x")),
]  # fmt: skip


@pytest.mark.parametrize("kind", WHOLE)
def test_a_record_of_every_kind_is_read(store: Store, kind: str) -> None:
    written(store, kind, WHOLE[kind])
    with collect_damage() as lines:
        assert [record.result for record in store.records()] == [WHOLE[kind]]
    assert lines == []
    assert set(RESULTS) < set(WHOLE)


@pytest.mark.parametrize(("kind", "result"), ODD)
def test_a_result_that_nobody_could_draw_is_named_and_the_rest_is_read(
    store: Store, kind: str, result: dict[str, Any]
) -> None:
    other = store.save("unlearn", {"b": 2}, result=NETWORK)
    identity = written(store, kind, result)
    assert len(store.verify()) == 1
    with collect_damage() as lines:
        assert [record.run_id for record in store.records()] == [other.run_id]
    assert [identity in line for line in lines] == [True]


@pytest.mark.parametrize(
    ("part", "value"),
    [
        *(("config", value) for value in ([], "x", {"a": 2}, {"a": 1, "metrics": "tow"}, {"a": 1, "rule": None},
                                          {"a": 1, "seed": "1"}, {"a": 1, "method": 5})),
        *(("provenance", value) for value in ([1], "x", {"study": 5}, {"seconds": "1"}, {"weights": {"a": 1}})),
    ],
)  # fmt: skip
def test_settings_and_provenance_of_wrong_types_are_named(store: Store, part: str, value: Any) -> None:
    identity = written(store, "unlearn", NETWORK, **{part: value})
    with collect_damage() as lines:
        assert store.records() == []
    assert [identity in line and part in line for line in lines] == [True]


def test_a_record_of_such_a_shape_is_not_written(store: Store) -> None:
    with pytest.raises(ValueError, match="tow"):
        store.save("unlearn", {"a": 1}, result={"tow": "x"})
    with pytest.raises(ValueError, match="seeds"):
        store.save("theory", {"a": 1}, result={})
    assert store.save("theory", {"a": 1}, result={"error": "it failed"}, status="failed").result


def cut_archive() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, w=np.arange(3))
    return buffer.getvalue()[:-30]


@pytest.mark.parametrize(("name", "raw"), [
    *(("arrays.npz", raw) for raw in (b"PK garbage", b"\x93NUMPY", b"\0", cut_archive())),
    *(("epochs.jsonl", raw) for raw in (b"{", b"[1]", b"\xff")),
])  # fmt: skip
def test_arrays_and_rows_of_epochs_that_are_none_are_named(name: str, raw: bytes) -> None:
    record = Record("a" * 16, "unlearn", "ok", {}, {}, {}, files={name: raw})
    part = name.partition(".")[0]
    with pytest.raises(IntegrityError, match=f"{'a' * 16}.*{part}"):
        getattr(record, part)()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.just(HUGE),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3), max_leaves=6,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_part_of_any_type_is_a_fault_or_none(data: st.DataObject) -> None:
    """What is found is a line of text; nothing of a record's own makes the check itself fail."""
    kind = data.draw(st.sampled_from(sorted(WHOLE)))
    name = data.draw(st.sampled_from(sorted(WHOLE[kind])))
    value = data.draw(VALUES)
    fault = shape_fault(kind, "ok", config_of(kind), with_value(WHOLE[kind], name, value), {})
    assert isinstance(fault, str)
    assert "\n" not in fault
