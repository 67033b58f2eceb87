"""Parts say of themselves what others need to know, and their source is all that is read for it."""

import importlib
import inspect
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from empirical import registry
from repro.base import parts as declarations
from repro.base.errors import ConfigError
from repro.base.parts import PLACES, Own, Term, built_in, declared, metric, parts, settings_of_metrics

EVERY = [(kind, name) for kind in PLACES for name in built_in(kind)]
MINE = '''
import a_package_that_is_not_installed

@metric("share", version=3, needs=("accuracy",), terms=(Term("share_*", "Some share.", also=("mine",)),))
def share(
    evaluation,
    *,
    share_of: Annotated[float, limits_of("a part", low=0, high=1, open_low=True)] = 0.5,
    share_whole: Annotated[bool, limits_of("all of it")] = False,
):
    """Return a share."""


@method("halve", label="Halve", marker="h", place=9, reads=("forget",), beside=True, copies=2.0)
@dataclass(frozen=True)
class Halve:
    """`L = 0`."""


def undeclared(spec, context):
    """Return a rule."""


@rule("half", label="Half", passes=3, copies=4.0, radius=0.2, forgets=True)
def build_half(spec, context):
    """Return another rule."""
'''


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a module that declares one part of each kind and cannot be imported."""
    (tmp_path / "mine_of_parts.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    declared.cache_clear()
    return "mine_of_parts"


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_every_built_in_part_is_where_its_declaration_says(kind: str, name: str) -> None:
    facts = built_in(kind)[name]
    module, attribute = facts.home.split(":")
    part = getattr(importlib.import_module(module), attribute)
    assert callable(part)
    if kind == "metrics":
        own = [one for one in inspect.signature(part).parameters.values() if one.kind is one.KEYWORD_ONLY]
        assert {one.name: one.default for one in own} == {name: one.default for name, one in facts.own.items()}
        assert set(facts.looks) <= set(facts.own)


def test_nothing_is_imported_to_know_the_parts() -> None:
    program = (
        "import sys; from repro.base.parts import PLACES, parts; [parts(kind) for kind in PLACES];"
        "sys.exit(any(name.split('.')[0] in ('empirical', 'torch', 'numpy') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_declaration_is_read_from_a_source_that_cannot_be_imported(mine: str) -> None:
    found = declared(mine)
    share, halve, half = (found[kind][name] for kind, name in
                          (("metrics", "share"), ("methods", "halve"), ("rules", "half")))  # fmt: skip
    assert (share.home, share.version, share.needs) == (f"{mine}:share", 3, ("accuracy",))
    assert share.terms == (Term("share_*", "Some share.", also=("mine",)),)
    limits = {"help": "a part", "low": 0, "high": 1, "open_low": True}
    assert share.own == {"share_of": Own(float, 0.5, limits), "share_whole": Own(bool, False, {"help": "all of it"})}
    assert (halve.label, halve.marker, halve.place, halve.reads) == ("Halve", "h", 9, ("forget",))
    assert (halve.beside, halve.copies) == (True, 2.0)
    assert (half.home, half.passes, half.copies, half.radius) == (f"{mine}:build_half", 3, 4.0, 0.2)
    assert half.forgets
    assert list(found["rules"]) == ["half"]


def test_a_metric_may_name_its_shadow_models_as_before(mine: str, tmp_path: Path) -> None:
    (tmp_path / "older_of_parts.py").write_text(MINE.replace("version=3, ", "version=3, shadows=True, "))
    assert declared("older_of_parts")["metrics"]["share"].shadow_models
    metric("older", shadows=True)
    with pytest.raises(TypeError):
        metric("older", shades=True)


def test_what_an_installed_package_declares_is_found(
    mine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(declarations, "installed", declarations.installed.__wrapped__)  # looked before this package
    about = tmp_path / "mine_of_parts-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mine-of-parts\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[repro.rules]\nhalf = {mine}:build_half\n")
    assert declarations.plugins.__wrapped__("rules")["half"].value == f"{mine}:build_half"


def test_a_part_of_an_installed_package_stands_behind_ours_and_takes_no_name_of_ours(
    mine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = {"half": f"{mine}:build_half", "sam": f"{mine}:build_half", "other": f"{mine}:undeclared",
               "gone": "no_such_module:build", "within": "json.decoder:nothing", "blank": ""}  # fmt: skip
    points = {name: EntryPoint(name, target, "repro.rules") for name, target in targets.items()}
    monkeypatch.setattr(declarations, "plugins", lambda kind: points)
    found = parts.__wrapped__("rules")
    assert list(found) == [*built_in("rules"), "half"]
    assert found["sam"] == built_in("rules")["sam"]


@pytest.mark.parametrize(("broken", "said"), [
    *((text, r'@metric\("share".*literals') for text in (
        '@metric("share", version=computed())\ndef share(evaluation):\n    """Return it."""\n',
        '@metric("share", colour="red")\ndef share(evaluation):\n    """Return it."""\n',
        '@metric("share")\ndef share(evaluation, *, size=3):\n    """Return it."""\n',
        '@metric("share")\ndef share(e):\n    return {}\n\n\n@metric("b")\ndef b(e):\n    """Return it."""\n',
        '@metric("share", pooled=True)\ndef share(p, *, n: Annotated[int, limits_of("n")] = 3):\n    """Do."""\n',
    )),
    ("".join(f'@rule("half")\ndef build_{n}(spec, context):\n    """Return it."""\n' for n in ("one", "two")),
     "half: is declared twice, as .*:build_one and as .*:build_two"),
])  # fmt: skip
def test_a_declaration_that_is_no_data_or_stands_twice_is_named(
    broken: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = tmp_path.name  # of each case its own: a module is looked for once
    (tmp_path / f"{name}.py").write_text(broken)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=said) as refused:
        declared(name)
    assert name in str(refused.value)


def test_a_broken_declaration_of_a_package_ends_only_what_asks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torn_parts.py").write_text(
        '@rule("torn", passes=many)\ndef torn(spec, context):\n    """Return it."""\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    points = {"torn": EntryPoint("torn", "torn_parts:torn", "repro.rules")}
    for place in (declarations, registry):
        monkeypatch.setattr(place, "plugins", lambda kind: points)
    assert list(parts.__wrapped__("rules")) == list(built_in("rules"))
    with pytest.raises(ConfigError, match="torn_parts, @rule"):
        registry.rule("torn")


def test_no_two_metrics_have_a_setting_of_one_name_nor_of_a_runs() -> None:
    names = [name for one in built_in("metrics").values() for name in one.own]
    assert len(names) == len(set(names)) == len(settings_of_metrics())
    assert not set(names) & {name for one in built_in("metrics").values() for name in one.settings}


@pytest.mark.parametrize("facts", [{"colour": "red"}, {"home": "elsewhere"}])
def test_a_fact_that_there_is_none_of_is_refused_where_it_stands(facts: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(facts))):
        declarations.method("halve", **facts)
