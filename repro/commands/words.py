"""`repro explain` and `repro schema`: what a word means, and what an editor needs to help with a recipe."""

import dataclasses
import typing
from typing import Annotated, Any

import typer

from empirical.settings.run_config import RunConfig
from repro.base.glossary import describe, explain, terms, whose
from repro.base.parts import Term
from repro.base.settings import choose, hints
from repro.terminal.output import JsonOption, emit, emit_json, say


def explain_word(
    term: Annotated[str | None, typer.Argument(help="A number or a word, such as ToW, klom or 'forget set'.")] = None,
    json: JsonOption = False,
) -> None:
    """Explain a number or a word; without an argument, list the glossary."""
    if term is None:
        emit([{"term": one.name, "meaning": one.meaning} for one in terms()], as_json=json)
        return
    found = explain(term)
    if json:
        emit_json(dataclasses.asdict(found))
        return
    for line in lines_of(found, term):
        say(line)


def lines_of(term: Term, word: str = "") -> list[str]:
    """Return an entry as lines of text."""
    owner = whose(word) if describe(word) is term else ""
    head = f"{term.name.strip('_*')}: {term.meaning}" + (f" Here {owner}." if owner else "")
    said = {"formula": term.formula, "unit": term.unit, "range": term.range, "best": term.goal}
    also = f"also called: {', '.join(term.also)}" if term.also else ""
    return [head, *(f"  {name}: {text}" for name, text in said.items() if text), *([f"  {also}"] if also else [])]


def schema(
    what: Annotated[str, typer.Argument(help="What to describe: recipe.")] = "recipe",
) -> None:
    """Print a JSON Schema, for editors: put `#:schema recipe.schema.json` in a recipe's first line for Taplo."""
    choose("schema", what, ("recipe",))
    emit_json(recipe_schema())


def recipe_schema() -> dict[str, Any]:
    """Return the JSON Schema of a recipe file; every setting with its meaning, default, range and choices."""
    settings = {field.name: _setting(field) for field in dataclasses.fields(RunConfig)}
    listed = {name: _or_list(one) for name, one in settings.items()}
    table = {"type": "object", "additionalProperties": False, "properties": listed}
    expected = {
        "type": "object", "required": ["value"],
        "properties": {"metric": {"type": "string"}, "value": {"type": "number"}, "tolerance": {"type": "number"},
                       "where": {"type": "object", "description": "labels the runs must have"}},
    }  # fmt: skip
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A study: its runs, its learning-rate search, and what it should give",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "name": {"type": "string", "description": "the study's name; default: that of the file"},
            "title": {"type": "string", "description": "one line for people"},
            "extends": {"type": "string", "description": "another recipe in the same folder, whose settings are taken"},
            "keep_models": {"type": "boolean", "default": True, "description": "keep unlearned weights"},
            "guessed": {"type": "array", "items": {"enum": list(settings)}, "description": "settings nobody published"},
            "defaults": table | {"description": "settings of every run; a list stands for one run an entry"},
            "runs": {"type": "array", "items": table},
            "search": {"type": "object", "description": "the search for a learning rate that the recipe leaves open"},
            "expected": {"type": "array", "items": expected},
        },
    }


TYPES = {int: "integer", float: "number", str: "string", bool: "boolean"}


def _setting(field: dataclasses.Field[Any]) -> dict[str, Any]:
    """Return one setting as a schema."""
    limits, annotation = field.metadata, hints(RunConfig)[field.name]
    if typing.get_origin(annotation) is tuple:
        found: dict[str, Any] = {"type": "array", "items": {"type": TYPES[typing.get_args(annotation)[0]]}}
    else:
        found = {"type": TYPES[annotation]}
    keys = {"low": "exclusiveMinimum" if limits.get("open_low") else "minimum",
            "high": "exclusiveMaximum" if limits.get("open_high") else "maximum"}  # fmt: skip
    found |= {key: limits[name] for name, key in keys.items() if limits.get(name) is not None}
    if limits.get("choices"):
        found["enum"] = list(limits["choices"])
    default = list(field.default) if isinstance(field.default, tuple) else field.default
    return found | {"description": limits.get("help", ""), "default": default}


def _or_list(one: dict[str, Any]) -> dict[str, Any]:
    """Return a setting that a recipe may also give as a list, one run an entry."""
    if one["type"] == "array":
        return one
    plain = {key: value for key, value in one.items() if key not in ("description", "default")}
    notes = {key: one[key] for key in ("description", "default")}
    return {"anyOf": [plain, {"type": "array", "items": plain, "minItems": 1}], **notes}
