"""One self-contained HTML page: the answers, every figure and table, and the origin of every number."""

import base64
import io
import json
import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from figures.answers import theory
from figures.answers.answers import Answered, assess, tally, twice_trained
from figures.answers.page import ASKED, SURE, answer_text, limits_text, numbers, wish_rows
from figures.answers.strip import effect_strip
from figures.catalogue import FIGURES, figure_names, studies_of
from figures.drawing.files import draw
from figures.report.plots import MOST_POINTS, plot_data
from figures.tables.records import Records, Studies
from figures.tables.runs import unlearn_table
from figures.tables.texts import spread_text
from repro.base.files import replace_file
from repro.records.record import Record
from repro.statistics.seeds import interval
from repro.study.study import load_study

TITLE = "Does sharpness-aware minimization help a network to forget?"
LEAD = (
    "Theory, networks and figures for Tang and Khanna, Sharpness-Aware Machine Unlearning (ICLR 2026). "
    "This page is one file, needs no network, and was written from records by the command repro paper report."
)
# In this order: the page's tools, the closed forms of the theory, the plots.
SCRIPTS = ("report.js", "closed_forms.js", "plots.js")
GROUPS = {"fig-theory": "Theory", "fig": "Networks", "tab": "Tables"}
SECTIONS = [("claims", "Claims"), ("openly", "Limits"), ("wishes", "Reviewers"), ("explore", "Explore"),
            *GROUPS.items(), ("results", "Runs"), ("missing", "Not run"), ("environment", "Environment")]  # fmt: skip
QUALITY = 85  # of a WebP picture, which is twice as fine as it is shown
MOST_NUMBERS = 120  # rows of a figure's numbers shown in the page; all are in its CSV
MOST_RUNS = 600  # rows of a table of runs, and runs named as those behind a figure or a claim
THEORY = ("signal_strength", "pretrain", "unlearn", "method", "d", "n", "alpha", "rho_scale", "epochs")
THEORY_NUMBERS = ("test_error", "forget_error", "retain_error", "kappa_retain", "zeta_forget")
NETWORK = ("study", "dataset", "model", "method", "pretrain", "rule", "difficulty", "alpha", "seed", "status")
NETWORK_NUMBERS = ("tow", "retain_accuracy", "forget_accuracy", "test_accuracy")


def write_report(studies: Studies, figures_folder: Path, path: Path) -> Path:
    """Draw every figure that is not up to date, then write the page.

    Args:
        studies: where the records of each study are read from.
        figures_folder: where the figures are or will be.
        path: the page.
    """
    drawn = draw(figure_names(), studies, figures_folder)
    entries = [_entry(one.name, figures_folder) for one in drawn]
    names = dict.fromkeys([*(study for one in drawn for study in studies_of(one.name)), *studies.own()])
    content = _render(studies.of(*names), entries, studies)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, content.encode())
    return path


def _render(records: Records, entries: list[dict[str, Any]], studies: Studies) -> str:
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup

    here, found = Path(__file__).parent, assess(studies)
    loader = Environment(loader=FileSystemLoader(here), autoescape=True, trim_blocks=True)
    results = network_results(records)
    shown = _shown_runs(records, entries, found, {row["run"] for row in results["rows"]})
    missing = [[entry["name"], line["what"], line["command"]] for entry in entries for line in entry["missing"]]
    claims = {name: [one for one in found if one.claim.key in facts.claims] for name, facts in FIGURES.items()}
    return loader.get_template("report.html").render(
        title=TITLE,
        lead=LEAD,
        answer=f"{ASKED} {answer_text(found, studies)}",
        sections=SECTIONS,
        cards={
            name: [_card(one) for one in found if (one.claim in theory.CLAIMS) == (name == "In theory")]
            for name in ("On networks", "In theory")
        },
        count=len(found),
        tally=tally(found),
        sure=SURE,
        limits=limits_text(studies),
        openly=twice_trained(studies),
        wishes=wish_rows(studies),
        claims=claims,
        groups=_groups(entries),
        tables=[table for table in (theory_results(records), results) if table["rows"]],
        missing=missing,
        environment=environment(records),
        records=packed(shown),
        behind=packed(
            {
                "runs": {entry["name"]: _first(entry["runs"]) for entry in entries},
                "numbers": {entry["name"]: entry["numbers"] for entry in entries if entry.get("numbers")},
                "claims": {one.claim.name: _first(one.found.runs) for one in found},
            }
        ),
        plots=packed(plot_data(records)),
        in_plots=MOST_POINTS if len(records.of("unlearn")) > MOST_POINTS else 0,
        plotly=packed_file(here / "plotly-basic.min.js.gz"),
        css=Markup((here / "report.css").read_text(encoding="utf-8")),
        js=Markup("".join((here / name).read_text(encoding="utf-8") for name in SCRIPTS)),
    )


def _card(one: Answered) -> dict[str, Any]:
    """Return everything the page shows of one claim."""
    from markupsafe import Markup

    forest = numbers(one.found.forest) if len(one.found.forest) else None
    table = {"columns": list(forest.columns), "rows": forest.to_numpy().tolist()} if forest is not None else None
    commands = [load_study(name).command for name in one.claim.studies]
    return {"claim": one.claim, "found": one.found, "slug": one.slug, "strip": Markup(effect_strip(one.found)),
            "forest": table, "commands": list(dict.fromkeys(commands)), "figures": one.figures}  # fmt: skip


def _groups(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put each entry under the longest prefix of its name that names a group; a plugin's own names go with networks."""
    places = {entry["name"]: max((key for key in GROUPS if entry["name"].startswith(key)), key=len, default="fig")
              for entry in entries}  # fmt: skip
    return [{"anchor": key, "name": name, "entries": [entry for entry in entries if places[entry["name"]] == key]}
            for key, name in GROUPS.items()]  # fmt: skip


def _entry(name: str, folder: Path) -> dict[str, Any]:
    """Return everything the page shows of one figure or table, read from its files."""
    origin = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    entry: dict[str, Any] = {key: origin[key] for key in ("name", "caption", "alt")}
    entry["runs"] = [run["run_id"] for run in origin["runs"]]
    parts = [line.rpartition(": ") for line in origin["missing"]]
    entry["missing"] = [{"what": what, "command": command} for what, _, command in parts]
    image = folder / f"{name}.png"
    if image.exists():
        width, height = struct.unpack(">II", image.read_bytes()[16:24])  # of the PNG header
        entry |= {"picture": picture(image), "width": int(0.7 * width), "height": int(0.7 * height)}
        entry["numbers"] = _numbers(folder / f"{name}.csv")
    else:
        lines = [
            line.strip("| ").split(" | ") for line in (folder / f"{name}.md").read_text(encoding="utf-8").splitlines()
        ]
        entry |= {"columns": lines[0], "rows": lines[2:]}
    return entry


def _numbers(path: Path) -> dict[str, Any] | None:
    import pandas as pd

    table = pd.read_csv(path)
    if table.empty:
        return None
    head = table.head(MOST_NUMBERS).map(lambda value: f"{value:.4g}" if isinstance(value, float) else value)
    return {"columns": list(table.columns), "rows": head.to_numpy().tolist(), "total": len(table)}


def _shown_runs(
    records: Records, entries: Iterable[dict[str, Any]], found: Iterable[Answered], in_table: set[str]
) -> dict[str, Any]:
    """Return what the page can show of the runs it names: identity, numbers and how they came to be.

    If there are more than `MOST_POINTS` network runs, it has those of its plots and of its table.
    """
    named = {run for entry in entries for run in entry["runs"]}
    named |= {run for one in found for run in one.found.runs}
    runs = {record.run_id for record in records.of("unlearn")}
    plotted = {record.run_id for record in records.of("unlearn")[:MOST_POINTS]}
    named = named - runs | {record.run_id for record in records.of("theory")} | plotted | in_table
    return {record.run_id: _provenance(record) for record in records.all if record.run_id in named}


def _first(runs: Sequence[str]) -> dict[str, Any]:
    return {"runs": runs[:MOST_RUNS], "total": len(runs)}


def _provenance(record: Record) -> dict[str, Any]:
    # Six digits are more than anybody reads here; `repro records show` has all of them.
    numbers = {key: float(f"{value:.6g}") if isinstance(value, float) else value
               for key, value in record.result.items() if not isinstance(value, list | dict)}  # fmt: skip
    about = {"store": record.source, "kind": record.kind, "status": record.status}
    about |= {key: value for key, value in record.provenance.items() if value not in ("", None)}
    settings = {key: value for key, value in record.config.items() if key != "type"}
    return about | {"settings": settings, "numbers": numbers, "show": f"repro records show {record.run_id}"}


def theory_results(records: Records) -> dict[str, Any]:
    """Return one row per theory run: its setting, and each final number as `mean ± standard deviation (seeds)`."""
    runs = records.of("theory")
    runs.sort(key=lambda run: [str(run.config.get(name)) for name in THEORY])
    rows = [{"cells": [run.config.get(name) for name in THEORY] + [_spread(run, name) for name in THEORY_NUMBERS],
             "run": run.run_id} for run in runs[:MOST_RUNS]]  # fmt: skip
    columns = [*THEORY, *THEORY_NUMBERS, "record"]
    return {"name": "Theory runs (after unlearning)", "columns": columns, "rows": rows, "total": len(runs)}


def network_results(records: Records) -> dict[str, Any]:
    """Return one row per network run; its spread over seeds is in the tables, for a run has one seed."""
    table = unlearn_table(records.of("unlearn"))
    columns = [name for name in (*NETWORK, *NETWORK_NUMBERS) if name in table]
    table = table.sort_values([name for name in NETWORK if name in table])
    rows = [{"cells": [_shown(row[name]) for name in columns], "run": row["run_id"]}
            for _, row in table.head(MOST_RUNS).iterrows()]  # fmt: skip
    return {"name": "Network runs (one training seed each)", "columns": [*columns, "record"], "rows": rows,
            "total": len(table)}  # fmt: skip


def environment(records: Records) -> list[tuple[str, str]]:
    """Return (setting, values with the number of records) for versions, devices, systems and code."""
    found: dict[str, Counter[str]] = {}
    for record in records.all:
        about = record.provenance
        flat = {"device": about.get("device"), "code": (about.get("git") or {}).get("commit")}
        flat |= {f"version of {name}": value for name, value in (about.get("versions") or {}).items()}
        flat |= {f"machine: {name}": value for name, value in (about.get("machine") or {}).items()}
        for name, value in flat.items():
            found.setdefault(name, Counter()).update([str(value)] if value else [])
    return [(name, ", ".join(f"{value} ({count})" for value, count in sorted(counts.items())))
            for name, counts in sorted(found.items()) if counts]  # fmt: skip


def _spread(run: Record, name: str) -> str:
    values = interval([value for value in run.result["final"].get(name, ()) if value is not None])
    return spread_text(values) if values["seeds"] else "—"


def _shown(value: Any) -> Any:
    if isinstance(value, float):
        return "—" if value != value else f"{value:.4g}"
    return value


def picture(path: Path) -> str:
    """Return a PNG file as the address of a WebP picture."""
    from PIL import Image

    buffer = io.BytesIO()
    with Image.open(path) as image:
        image.convert("RGB").save(buffer, "webp", quality=QUALITY, method=2)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def packed(value: Any) -> str:
    """Return a JSON value as text that the page's script inflates: zlib's format in base64.

    Raises:
        ValueError: for a number that is not finite: JSON has none, and one would cost the page all its plots.
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def packed_file(path: Path) -> str:
    """Return a gzip file in base64."""
    return base64.b64encode(path.read_bytes()).decode()
