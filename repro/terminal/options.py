"""Command-line options from a config dataclass, so that a setting is described in one place only."""

import dataclasses
import inspect
import tomllib
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Annotated, Any

import typer

from repro.base.settings import build, choose, hints, named_once, range_text, reject


def with_settings(
    cls: type, *, skip: tuple[str, ...] = (), shown: Mapping[str, str] | None = None,
    panels: Mapping[str, tuple[str, ...]] | None = None, choices: Mapping[str, Iterable[str]] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:  # fmt: skip
    """Replace a command's first parameter, a config of type `cls`, by options for its settings.

    Decorators stack: the upper one replaces the first parameter that the lower one left.

    Args:
        cls: a frozen dataclass whose fields were declared with `repro.base.settings.setting`.
        skip: settings that get no option and keep their default.
        shown: text in place of a default in the help, for settings that the command decides itself.
        panels: settings by their panel of the help; others are given by `--set NAME=VALUE`.
            With None, every setting has an option, in one panel.
        choices: possible values that the help names, for settings without fixed choices.
    """
    fields = [field for field in dataclasses.fields(cls) if field.name not in skip]
    placed = {name: panel for panel, names in (panels or {}).items() for name in names}
    optional = [field for field in fields if panels is None or field.name in placed]
    optional.sort(key=lambda field: [*placed].index(field.name) if placed else 0)

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        config, *own = inspect.signature(function).parameters.values()

        @wraps(function)
        def command(**values: Any) -> Any:
            given = {field.name: _listed(hints(cls)[field.name], values.pop(field.name)) for field in optional}
            given |= parsed(cls, values.pop(SET, None) or [], tuple(field.name for field in fields))
            return function(**{config.name: build(cls, given)}, **values)

        parameters = [
            _parameter(
                field, hints(cls)[field.name], (shown or {}).get(field.name, True), placed.get(field.name),
                (choices or {}).get(field.name, ()),
            ) for field in optional
        ]  # fmt: skip
        rare = [field.name for field in fields if field not in optional]
        parameters += [_set_parameter(rare)] if rare else []
        first = [one for one in own if one.default is inspect.Parameter.empty]  # other decorators replace it
        rest = [one for one in own if one not in first]
        ordered = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*first, *parameters, *rest)]
        command.__signature__ = inspect.Signature(ordered)  # type: ignore[attr-defined]
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *parameters]}
        return command

    return decorate


SET = "set"


def _set_parameter(names: list[str]) -> inspect.Parameter:
    help = "Any other setting as NAME=VALUE, repeatable: " + ", ".join(names) + "."
    option = Annotated[list[str] | None, typer.Option("--set", help=help, rich_help_panel="Rare settings")]
    return inspect.Parameter(SET, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option)


def parsed(cls: type, texts: Sequence[str], names: tuple[str, ...]) -> dict[str, Any]:
    """Return settings given as `NAME=VALUE`, each converted to its type.

    Raises:
        ConfigError: for a text of another form, a name that is not in `names`, or a repeated name.
    """
    pairs = []
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise reject("--set", text, "NAME=VALUE, such as momentum=0.8")
        choose("--set", name, names)
        pairs.append((name, _value(hints(cls)[name], value.strip())))
    return named_once("--set", pairs)


def _value(annotation: Any, text: str) -> Any:
    if annotation is str:
        return text
    if _is_list(annotation):
        return [_value(typing.get_args(annotation)[0], part) for part in text.split(",")]
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text  # the setting refuses it, with its name and its range


def _listed(annotation: Any, value: Any) -> Any:
    """Return the values of a repeatable option, each converted to its type; the value of any other option."""
    return _value(annotation, ",".join(several(value))) if _is_list(annotation) and value else value


def _is_list(annotation: Any) -> bool:
    return typing.get_origin(annotation) is tuple


def several(values: Iterable[str] | None) -> list[str]:
    """Return the values of a repeatable option, each of which may hold several, separated by commas."""
    return [part.strip() for value in values or () for part in value.split(",") if part.strip()]


def _parameter(
    field: dataclasses.Field[Any], hint: Any, shown: bool | str, panel: str | None, choices: Iterable[str]
) -> inspect.Parameter:
    annotation = _option_type(hint)
    flag = "--" + field.name.replace("_", "-")
    names = (f"{flag}/--no-{flag[2:]}",) if annotation is bool else (flag,)
    option = typer.Option(*names, help=_help(field, choices), show_default=shown, rich_help_panel=panel)
    default = [str(one) for one in field.default] if isinstance(field.default, tuple) else field.default
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(field.name, kind, default=default, annotation=Annotated[annotation, option])


def _option_type(annotation: Any) -> Any:
    """Return the type typer understands: a tuple of any length becomes a repeatable option that takes commas, too."""
    if _is_list(annotation):
        return list[str]
    if typing.get_origin(annotation) is types.UnionType:
        inner = [_option_type(option) for option in typing.get_args(annotation) if option is not types.NoneType]
        return inner[0] | None
    return annotation


def _help(field: dataclasses.Field[Any], choices: Iterable[str] = ()) -> str:
    limits = field.metadata
    notes = [f"symbol {limits['symbol']}" if limits.get("symbol") else "", limits.get("unit", ""), range_text(limits)]
    named = limits.get("choices") or tuple(choices)
    notes.append("one of " + ", ".join(map(str, named)) if named else "")
    detail = "; ".join(note for note in notes if note)
    return limits.get("help", "") + (f" ({detail})" if detail else "")


def words_of(config: Any, *, skip: tuple[str, ...] = ()) -> list[str]:
    """Return the command-line options that give a config: one for every field that is not at its default."""
    words: list[str] = []
    for field in dataclasses.fields(config):
        value, flag = getattr(config, field.name), field.name.replace("_", "-")
        if field.name in skip or value == field.default:
            continue
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            values = value if isinstance(value, tuple) else (value,)
            words += [f"--{flag}={one}" for one in values]
    return words
