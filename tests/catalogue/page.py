"""Write docs/bad-input.md from the catalogue: `python -m tests.catalogue.page`."""

from collections import Counter
from pathlib import Path

from tests.catalogue.bad_inputs import CATALOGUE, Bad

PAGE = Path(__file__).parents[2] / "docs" / "bad-input.md"
HEAD = """# Bad input

What a user may give by mistake or in bad faith, the exit code, and a part of the one line it is answered with. No
traceback reaches a user without `--debug`: an error nobody expected is one line too, which names the file its traceback
went to. `tests/catalogue/` holds this table and runs every row of it (`make test-all`).

Exit codes: 2 usage, 3 missing, 4 out of memory, 5 diverged, 6 damaged (named on a line of its own; the rest is done),
7 disk full, 128 + n ended by signal n (130: Ctrl-C), 1 unexpected.

"""


def page() -> str:
    """Return the whole page."""
    counts = Counter(case.group for case in CATALOGUE)
    shown = ", ".join(f"{group} {count}" for group, count in counts.items())
    parts = [HEAD, f"{len(CATALOGUE)} inputs: {shown}.\n"]
    for group in counts:
        rows = [_row(case) for case in CATALOGUE if case.group == group]
        parts.append(f"\n## {group}\n\n| input | `repro ...` | exit | the line says |\n| --- | --- | --- | --- |\n")
        parts += rows
    return "".join(parts)


def _row(case: Bad) -> str:
    words = " ".join(word if word else '""' for word in case.words)
    cells = (case.what, f"`{_short(words)}`", str(case.code), _short(case.line) or "(the setting and its range)")
    return "| " + " | ".join(cells) + " |\n"


def _short(text: str) -> str:
    plain = ascii(text)[1:-1].replace("|", "\\|").replace("`", "'")
    return plain if len(plain) <= 70 else plain[:67] + "..."


if __name__ == "__main__":
    PAGE.write_text(page())
