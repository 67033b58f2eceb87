"""One self-contained HTML page: verdicts, every figure and table, every number's origin, and what has not been run."""

import base64
import json
import os
import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from figures.catalogue import draw, figure_names
from figures.paper import Verdict, assess
from figures.records import Records
from figures.results import environment, network_results, theory_results
from repro.records.record import Reader, Record

TITLE = "Sharpness-aware machine unlearning: what the records say"
LEAD = (
    "Theory, networks and figures for Tang and Khanna, Sharpness-Aware Machine Unlearning (ICLR 2026). "
    "This page is one file, needs no network, and was written from records by the command repro report."
)
GROUPS = {"fig-theory": "Theory", "fig": "Networks", "tab": "Tables"}
SECTIONS = [("verdicts", "Verdicts"), *((anchor, name) for anchor, name in GROUPS.items()),
            ("results", "Results by run"), ("missing", "Not run"), ("environment", "Environment")]  # fmt: skip
MOST_ROWS = 120  # of a figure's numbers shown in the page; all are in its CSV


def write_report(readers: Sequence[Reader], figures_folder: Path, path: Path) -> Path:
    """Write the page, drawing first whatever figure is not up to date.

    Args:
        readers: stores, own runs first.
        figures_folder: where the figures are or will be.
        path: the page.
    """
    drawn = draw(figure_names(), readers, Path(figures_folder))
    records = Records(readers)
    items = [_item(one.name, Path(figures_folder)) for one in drawn]
    content = _render(records, items, assess(records))
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(content, encoding="utf-8")
    os.replace(temporary, path)
    return path


def _render(records: Records, items: list[dict[str, Any]], verdicts: list[Verdict]) -> str:
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup

    here = Path(__file__).parent
    loader = Environment(loader=FileSystemLoader(here), autoescape=True, trim_blocks=True)
    shown = _shown_runs(records, items, verdicts)
    missing = [line | {"where": item["name"]} for item in items for line in item["missing"]]
    return loader.get_template("report.html").render(
        title=TITLE,
        lead=LEAD,
        sections=SECTIONS,
        tally=sorted(Counter(verdict.finding.verdict for verdict in verdicts).items()),
        verdicts=[_verdict_row(verdict) for verdict in verdicts],
        groups=_groups(items),
        tables=[table for table in (theory_results(records), network_results(records)) if table["rows"]],
        missing=missing,
        environment=environment(records),
        stores={record.run_id: record.source for record in records.all},
        # Inside a script element only "<" could end it early.
        records=Markup(json.dumps(shown, sort_keys=True, ensure_ascii=False).replace("<", "\\u003c")),
        css=Markup((here / "report.css").read_text()),
        js=Markup((here / "report.js").read_text()),
    )


def _groups(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put each item under the longest prefix of its name that names a group; a plugin's own names go with networks."""
    places = {item["name"]: max((key for key in GROUPS if item["name"].startswith(key)), key=len, default="fig")
              for item in items}  # fmt: skip
    return [{"anchor": key, "name": name, "items": [item for item in items if places[item["name"]] == key]}
            for key, name in GROUPS.items()]  # fmt: skip


def _item(name: str, folder: Path) -> dict[str, Any]:
    """Return everything the page shows of one figure or table, read from its files."""
    origin = json.loads((folder / f"{name}.json").read_text())
    item: dict[str, Any] = {key: origin[key] for key in ("name", "caption", "alt")}
    item["runs"] = [run["run_id"] for run in origin["runs"]]
    item["missing"] = [_missing(line) for line in origin["missing"]]
    image = folder / f"{name}.png"
    if image.exists():
        content = image.read_bytes()
        width, height = struct.unpack(">II", content[16:24])  # of the PNG header
        item |= {"light": _inline(content), "width": int(0.7 * width), "height": int(0.7 * height)}
        item["dark"] = _inline((folder / f"{name}-dark.png").read_bytes())
        item["numbers"] = _numbers(folder / f"{name}.csv")
    else:
        item["columns"], *item["rows"] = _markdown_rows((folder / f"{name}.md").read_text())
    return item


def _missing(line: str) -> dict[str, str]:
    what, _, command = line.rpartition(": ")
    return {"what": what, "command": command}


def _inline(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()


def _numbers(path: Path) -> dict[str, Any] | None:
    import pandas as pd

    table = pd.read_csv(path)
    if table.empty:
        return None
    head = table.head(MOST_ROWS).map(lambda value: f"{value:.4g}" if isinstance(value, float) else value)
    return {"columns": list(table.columns), "rows": head.to_numpy().tolist(), "total": len(table)}


def _markdown_rows(text: str) -> list[list[str]]:
    lines = [line.strip("| ").split(" | ") for line in text.splitlines()]
    return [lines[0], *lines[2:]]


def _verdict_row(verdict: Verdict) -> dict[str, Any]:
    item, finding = verdict.item, verdict.finding
    row = {"item": item.title, "claim": item.statement, "verdict": finding.verdict, "number": finding.number}
    row |= {"regime": finding.regime or "—", "short": _short(finding.regime), "command": item.command}
    return row | {"runs": [record.run_id for record in finding.records]}


def _short(text: str, most: int = 110) -> str:
    """Return the start of a long text, or nothing when it is short enough to stand as it is."""
    return text[:most].rsplit(" ", 1)[0] + " …" if len(text) > most else ""


def _shown_runs(records: Records, items: Iterable[dict[str, Any]], verdicts: Iterable[Verdict]) -> dict[str, Any]:
    """Return what the page can show of every run it names: identity, numbers and how it came to be."""
    named = {run for item in items for run in item["runs"]}
    named |= {record.run_id for verdict in verdicts for record in verdict.finding.records}
    named |= {record.run_id for record in records.all if record.kind in ("theory", "unlearn")}
    return {record.run_id: _provenance(record) for record in records.all if record.run_id in named}


def _provenance(record: Record) -> dict[str, Any]:
    numbers = {key: value for key, value in record.result.items() if not isinstance(value, list | dict)}
    about = {"store": record.source, "kind": record.kind, "status": record.status}
    about |= {key: value for key, value in record.provenance.items() if value not in ("", None)}
    settings = {key: value for key, value in record.config.items() if key != "type"}
    return about | {"settings": settings, "numbers": numbers, "show": f"repro show {record.run_id}"}
