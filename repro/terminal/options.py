"""Command-line options made from a config dataclass, so that a setting is described in one place only."""

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Annotated, Any

import typer

from repro.base.settings import build, hints, range_text


def with_settings(
    cls: type, *, skip: tuple[str, ...] = (), shown: Mapping[str, str] | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Replace a command's first parameter, a config of type `cls`, by one option for each of its settings.

    Decorators stack: the upper one replaces the first parameter that the lower one left.

    Args:
        cls: a frozen dataclass whose fields were declared with `repro.base.settings.setting`.
        skip: settings that get no option and keep their default.
        shown: what the help says in place of a default, for settings that a command decides on itself.
    """
    fields = [field for field in dataclasses.fields(cls) if field.name not in skip]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        config, *own = inspect.signature(function).parameters.values()

        @wraps(function)
        def command(**values: Any) -> Any:
            given = {field.name: values.pop(field.name) for field in fields}
            return function(**{config.name: build(cls, given)}, **values)

        parameters = [_parameter(cls, field, (shown or {}).get(field.name, True)) for field in fields]
        command.__signature__ = inspect.Signature([*_keyword_only(own), *parameters])  # type: ignore[attr-defined]
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *parameters]}
        return command

    return decorate


def _keyword_only(parameters: list[inspect.Parameter]) -> list[inspect.Parameter]:
    return [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]


def _parameter(cls: type, field: dataclasses.Field[Any], shown: bool | str) -> inspect.Parameter:
    annotation = _option_type(hints(cls)[field.name])
    flag = "--" + field.name.replace("_", "-")
    names = (f"{flag}/--no-{flag[2:]}",) if annotation is bool else (flag,)
    option = Annotated[annotation, typer.Option(*names, help=_help(field), show_default=shown)]
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(field.name, kind, default=_default(field), annotation=option)


def _default(field: dataclasses.Field[Any]) -> Any:
    return list(field.default) if isinstance(field.default, tuple) else field.default


def _option_type(annotation: Any) -> Any:
    """Return the type typer understands: a tuple of any length becomes a repeatable option."""
    if typing.get_origin(annotation) is tuple:
        return list[typing.get_args(annotation)[0]]
    if typing.get_origin(annotation) is types.UnionType:
        inner = [_option_type(option) for option in typing.get_args(annotation) if option is not types.NoneType]
        return inner[0] | None
    return annotation


def _help(field: dataclasses.Field[Any]) -> str:
    limits = field.metadata
    notes = [f"symbol {limits['symbol']}" if limits.get("symbol") else "", limits.get("unit", ""), range_text(limits)]
    notes.append("one of " + ", ".join(map(str, limits["choices"])) if limits.get("choices") else "")
    detail = "; ".join(note for note in notes if note)
    return limits.get("help", "") + (f" ({detail})" if detail else "")


def words_of(config: Any, *, skip: tuple[str, ...] = ()) -> list[str]:
    """Return the options of a command line that give a config again: those of fields that are not at their defaults."""
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
