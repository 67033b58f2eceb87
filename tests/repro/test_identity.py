from dataclasses import dataclass, field, make_dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.records.identity import canonical_json, derive_seed, digest, identifying, plain

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@dataclass(frozen=True)
class Sam:
    rho: float = 0.1


@dataclass(frozen=True)
class Asam:
    rho: float = 0.1


def test_two_rules_with_equal_fields_are_different_identities() -> None:
    assert digest(Sam()) != digest(Asam())


def test_the_version_of_a_class_is_part_of_its_identity_and_no_setting() -> None:
    """Raised, it makes only the records of that class anew."""
    one, other = (make_dataclass("Cell", [("rho", float, 0.1)], namespace=named)()
                  for named in ({"VERSION": 1}, {"VERSION": 2}))  # fmt: skip
    plainly = make_dataclass("Cell", [("rho", float, 0.1)])()
    assert len({digest(cell) for cell in (one, other, plainly)}) == 3
    assert len({digest([cell]) for cell in (one, other)}) == 2  # inside of another identity too
    assert plain(one) == plain(other) == plain(plainly) == {"type": "Cell", "rho": 0.1}


@given(st.dictionaries(st.text(), values, max_size=4))
def test_key_order_never_changes_an_identity(mapping: dict[str, object]) -> None:
    assert digest(dict(reversed(mapping.items()))) == digest(mapping)


@given(values)
def test_plain_values_survive_the_round_trip(value: object) -> None:
    assert plain(plain(value)) == plain(value)


def test_numpy_values_hash_like_python_values() -> None:
    assert canonical_json({"a": np.float64(0.5), "b": np.arange(2)}) == canonical_json({"a": 0.5, "b": [0, 1]})


def test_not_a_number_has_no_identity() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        digest(float("nan"))


@given(st.integers(0, 2**40), st.integers(0, 2**40))
def test_neighbouring_seeds_share_no_derived_seed(first: int, second: int) -> None:
    assert (derive_seed(first, "init") == derive_seed(second, "init")) == (first == second)
    assert derive_seed(first, "init") != derive_seed(first, "order")
    assert 0 <= derive_seed(first, "init") < 2**63


def test_a_field_at_its_default_is_no_part_of_an_identity_so_that_a_new_one_changes_none() -> None:
    today = make_dataclass("Config", [("lr", float, 0.1), ("epochs", int, 5)], frozen=True)
    tomorrow = make_dataclass("Config", [("lr", float, 0.1), ("epochs", int, 5), ("new", str, "off")], frozen=True)
    assert digest(today(lr=0.2)) == digest(tomorrow(lr=0.2))
    assert digest(tomorrow(lr=0.2, new="on")) != digest(tomorrow(lr=0.2))
    assert plain(tomorrow(lr=0.2)) == {"type": "Config", "lr": 0.2, "epochs": 5, "new": "off"}


def test_defaults_are_left_out_at_every_depth() -> None:
    assert identifying({"rule": Sam(), "rules": [Asam(0.2), Asam()]}) == {
        "rule": {"type": "Sam"}, "rules": [{"type": "Asam", "rho": 0.2}, {"type": "Asam"}]
    }  # fmt: skip


@dataclass(frozen=True)
class Measured:
    lr: float = 0.1
    points: int = field(default=11, metadata={"identifies": False})
    switches: dict[str, str] = field(default_factory=dict)


def test_what_only_says_how_to_measure_identifies_nothing() -> None:
    assert digest(Measured(points=25)) == digest(Measured())
    assert digest(Measured(switches={"a": "b"})) != digest(Measured())
