"""Pages of the reference that follow from the code: commands, recipe keys, glossary, exit codes. Run by mkdocs."""

import dataclasses
from typing import Any

import typer
from mkdocs.structure.files import File, Files

from empirical.settings.run_config import RunConfig
from repro.base import errors
from repro.base.glossary import CONCEPTS, numbers
from repro.base.parts import Term
from repro.base.settings import range_text
from repro.commands.cli import app


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages to those that are written by hand."""
    pages = {**commands(), "recipe": recipe_keys(), "glossary": glossary(), "exit-codes": exit_codes()}
    for name, text in pages.items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def cell(text: Any) -> str:
    """Return a text that may stand in a table."""
    return str(text).replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def commands() -> dict[str, str]:
    """Return a page a group of commands with their arguments and options, and one that leads to them."""
    root: Any = typer.main.get_command(app)
    about = "Every reader takes `--store` and `--json`, every command `--help`."
    lines = ["# Command line", "", about, "", "| command | what it does |", "|---|---|"]
    alone, pages = [], {}
    for name, command in root.commands.items():
        if command.hidden:
            continue
        below = dict(walked(f"repro {name}", command))
        if len(below) > 1 or name == "run":
            pages[f"cli-{name}"] = "\n".join([f"# `repro {name}`", "", *described(below)])
            lines += [f"| [`{words}`](cli-{name}.md) | {first_line(one)} |" for words, one in below.items()]
        else:
            alone += described(below)
            lines += [f"| `{words}` | {first_line(one)} |" for words, one in below.items()]
    return {"cli": "\n".join([*lines, "", *alone]), **pages}


def first_line(command: Any) -> str:
    """Return the first sentence of a command's help, as a cell of a table."""
    return cell((command.help or "").split("\n\n")[0])


def described(found: dict[str, Any]) -> list[str]:
    """Return a section a command."""
    lines = []
    for words, command in found.items():
        lines += [f"## `{words}`", "", (command.help or "").split("\n\n")[0], "", *parameters(command), ""]
    return lines


def walked(words: str, command: Any) -> list[tuple[str, Any]]:
    """Return a command and those below it, by the words that call them; of a mere group those below alone."""
    below = getattr(command, "commands", {})
    own = [] if below and command.no_args_is_help else [(words, command)]
    return own + [one for name, child in below.items() if not child.hidden for one in walked(f"{words} {name}", child)]


def parameters(command: Any) -> list[str]:
    """Return the table of a command's arguments and options."""
    rows = []
    for one in command.params:
        name = ", ".join(one.opts) if one.param_type_name == "option" else one.name.upper()
        default = "" if one.default is None or callable(one.default) else one.default
        if name != "--help":
            rows.append(f"| `{cell(name)}` | {cell(getattr(one, 'help', '') or '')} | {cell(default)} |")
    return ["| | | default |", "|---|---|---|", *rows] if rows else []


def recipe_keys() -> str:
    """Return every setting of a run, which is every key of a recipe's `[defaults]` and `[[runs]]`."""
    lines = [
        "# Recipe keys", "",
        "`[defaults]` holds settings of every run, each `[[runs]]` a group of runs; a list stands for one run an",
        "entry. `[search]` says how an open learning rate is found, `[[expected]]` what `repro study check`",
        "compares with, `extends` names a recipe to start from. `repro schema recipe > recipe.schema.json` writes all",
        "of this as a JSON Schema; with `#:schema ./recipe.schema.json` as a recipe's first line, editors that use",
        "Taplo complete and check it.", "", "| key | meaning | allowed | default |", "|---|---|---|---|",
    ]  # fmt: skip
    for field in dataclasses.fields(RunConfig):
        limits = field.metadata
        allowed = ", ".join(map(str, limits.get("choices") or ())) or range_text(limits)
        lines.append(f"| `{field.name}` | {cell(limits.get('help', ''))} | {cell(allowed)} | {cell(field.default)} |")
    return "\n".join(lines)


def glossary() -> str:
    """Return the glossary: words, then numbers with their formulas."""
    lines = ["# Glossary", "", "`repro explain TERM` says the same on the command line.", "", "## Words", ""]
    lines += [f"**{term.name}**: {term.meaning}{_formula(term)}{_also(term)}\n" for term in CONCEPTS]
    lines += ["## Numbers", "", "`*` is any text; `original_` or `retrained_` in front says whose a number is.", "",
              "| name | meaning | formula | unit | range | best |", "|---|---|---|---|---|---|"]  # fmt: skip
    for term in numbers():
        shown = (f"`{term.name}`", term.meaning + _also(term), term.formula, term.unit, term.range, term.goal)
        lines.append("| " + " | ".join(map(cell, shown)) + " |")
    return "\n".join(lines)


def _formula(term: Term) -> str:
    return f" `{term.formula}`." if term.formula else ""


def _also(term: Term) -> str:
    return f" Also called {', '.join(term.also)}." if term.also else ""


def exit_codes() -> str:
    """Return every exit code and the error that has it."""
    kinds = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.ReproError)]
    rows = {one.exit_code: (one.__doc__ or "").split("\n")[0] for one in reversed(kinds)}
    lines = ["# Exit codes", "", "| code | meaning |", "|---|---|", "| 0 | Everything that was asked for is there. |"]
    lines += [f"| {code} | {cell(text)} |" for code, text in sorted(rows.items())]
    return "\n".join(
        [*lines, "| 130 | Interrupted; what is finished is kept. |", "| 141 | The reader of a pipe went away. |"]
    )
