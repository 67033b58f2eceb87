from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.base.errors import ConfigError
from repro.base.settings import _right_again, build, check, nearest, setting


@dataclass(frozen=True)
class Rule:
    rho: float = setting(0.1, "radius", low=0.0)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Config:
    alpha: float = setting(0.9, "retain weight", low=0.0, high=1.0)
    d: int = setting(10, "dimension", low=2)
    eta: float = setting(0.1, "step size", low=0.0, open_low=True)
    method: str = setting("neggrad", "method", choices=("neggrad", "random_label"))
    epochs: tuple[int, ...] = setting((1, 2), "checkpoints", low=0)
    norm: float | None = setting(None, "signal norm", low=0.0)
    rule: Rule = setting(Rule(), "rule")
    share: float = setting(0.5, "share", low=0.0, high=1.0, open_high=True)
    steps: int = setting(5, "steps", high=9, open_high=True)

    def __post_init__(self) -> None:
        check(self)


def test_a_value_is_known_by_its_type_too_and_a_whole_number_for_a_float_becomes_one() -> None:
    """So that identities agree: True, 1.0 and 1 are equal."""
    assert Config(d=2).d == 2
    assert Config(alpha=1) == Config(alpha=1.0)
    assert [type(Config(alpha=value).alpha) for value in (1, 0, 0.0)] == [float] * 3
    assert [type(one) for one in Config(epochs=(1, 0)).epochs] == [int, int]


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"alpha": 1.5}, ["alpha", "1.5", "[0.0, 1.0]"]),
        ({"alpha": float("nan")}, ["alpha", "finite"]),
        ({"eta": 0}, ["eta", "> 0"]),
        ({"d": 1}, ["d", "1", ">= 2"]),
        ({"d": True}, ["d", "int"]),
        ({"d": "many"}, ["d", "many", "int"]),
        ({"d": 2.0}, ["d = ", "int"]),
        ({"d": "2"}, ["d = ", "int"]),
        ({"method": "neg_grad"}, ["method", "neg_grad", "did you mean 'neggrad'"]),
        ({"epochs": 3}, ["epochs", "a list"]),
        ({"epochs": [1, -1]}, ["epochs", "-1"]),
        ({"norm": "x"}, ["norm", "float or nothing"]),
        ({"alfa": 0.5}, ["alfa", "did you mean 'alpha'"]),
        ({"rule": {"rho": -1}}, ["rule", "rho", "-1"]),
        ({"share": 1}, ["share = 1.0", "[0.0, 1.0)"]),
        ({"steps": 9}, ["steps = 9", "< 9"]),
        ({"d": 2**63}, ["d: a number of 19 digits", "below 2^63"]),
        ({"method": "n" * 500}, ["n" * 196 + "...: must be one of"]),
    ],
)
def test_a_bad_setting_is_one_line_naming_field_value_and_range(mapping: dict[str, object], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        build(Config, mapping, where="recipe.toml")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("recipe.toml: ")
    assert all(word in message for word in words), message


def test_a_bound_that_is_not_open_is_a_value() -> None:
    one = Config(alpha=1.0, d=2, norm=0.0, share=0.0, steps=8)
    assert (one.alpha, one.d, one.norm, one.share, one.steps) == (1.0, 2, 0.0, 0.0, 8)
    assert Config(d=2**63 - 1).d == 2**63 - 1
    assert build(Config, {"rule": {"rho": 1}}).rule == Rule(1.0), "a table becomes a nested dataclass"


def test_a_zero_with_a_sign_is_zero_whichever_was_met_first() -> None:
    """They are equal: an identity must not depend on which of the two a process saw before."""
    for values in ((-0.0, 0.0), (0.0, -0.0)):
        _right_again.cache_clear()
        assert [repr(Config(alpha=value).alpha) for value in values] == ["0.0", "0.0"]


@given(st.floats(0, 1), st.integers(2, 10**9))
def test_every_value_in_range_is_accepted(alpha: float, d: int) -> None:
    assert build(Config, {"alpha": alpha, "d": d}) == Config(alpha=alpha, d=d)


def test_nearest_is_silent_when_nothing_is_close() -> None:
    assert nearest("zzz", ["neggrad"]) == ""
