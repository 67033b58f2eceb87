"""What is inside the page: small pictures, compressed data that inflates to what the records say."""

import base64
import json
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from figures.report.embed import packed, packed_file, picture
from figures.report.headlines import headlines, shortened, summary
from figures.report.plots import network_rows, points, pretraining_courses, sweep_points
from figures.tables.beside import agreement
from figures.tables.records import Records
from figures.verdicts.paper_repro import assess
from repro.records.pack import readers
from repro.records.store import Store

ROOT = Path(__file__).parents[3]


def committed(tmp_path: Path) -> Records:
    return Records(readers(Store(tmp_path / "none"), ROOT / "results"))


def test_what_is_packed_inflates_to_itself() -> None:
    value = {"b": [1, None, "ü <"], "a": 0.1}
    assert json.loads(zlib.decompress(base64.b64decode(packed(value)))) == value
    assert packed(value) == packed(dict(reversed(value.items())))


def test_plotly_is_the_bundle_it_says_it_is() -> None:
    import gzip

    path = ROOT / "figures" / "report" / "plotly-basic.min.js.gz"
    code = gzip.decompress(base64.b64decode(packed_file(path))).decode()
    assert "plotly.js (basic - minified)" in code
    assert "Licensed under the MIT license" in code


def test_a_picture_keeps_its_pixels(tmp_path: Path) -> None:
    import io

    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[10:20, 5:50] = (213, 94, 0)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    address = picture(tmp_path / "a.png")
    assert address.startswith("data:image/webp;base64,")
    seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))).convert("RGB"))
    assert np.array_equal(seen, pixels)


def test_the_numbers_of_the_plots_are_those_of_the_records(tmp_path: Path) -> None:
    records = committed(tmp_path)
    rows = network_rows(records)
    runs = [r for r in records.of("unlearn") if r.status == "ok" and r.config["dataset"] != "signal-noise"]
    assert len(rows["tow"]) == len(runs)
    assert sorted(rows["tow"]) == sorted(float(f"{r.result['tow']:.5g}") for r in runs)
    cell = next(c for c in records.of("theory") if c.config["pretrain"] == "sgd")
    course = next(c for c in pretraining_courses(records)
                  if c["pretrain"] == "sgd" and c["signal_strength"] == cell.config["signal_strength"]
                  and c["d"] == cell.config["d"])  # fmt: skip
    arrays = cell.arrays()
    kappa = (arrays["pretrain_trajectory_kappa_retain"] + arrays["pretrain_trajectory_kappa_forget"]).mean(axis=0)
    assert np.allclose(course["kappa"], kappa, atol=1e-6)
    sweeps = [s for s in records.of("theory_sweep") if s.result["sweep"] in ("phase", "alpha")]
    assert len(sweep_points(records)["test_error"]) == sum(s.result["rows"] for s in sweeps)
    assert len(points(records)) == (agreement(records)["course"] == "").sum()  # the theory's own network


def test_headlines_say_the_verdicts_of_the_page(tmp_path: Path) -> None:
    verdicts = assess(committed(tmp_path))
    known = {one.item.title: one for one in verdicts}
    found = headlines(verdicts)
    assert len(found) >= 3
    for one in found:
        assert one.verdict == known[one.title].finding.verdict


def test_a_newcomer_gets_ten_lines(tmp_path: Path) -> None:
    lines = summary(committed(tmp_path), "runs/figures", "runs/report.html")
    assert len(lines) <= 10
    assert not [line for line in lines if "..." in line]
    assert sum("runs/figures/fig-" in line for line in lines) == 3
    assert any("runs/report.html" in line for line in lines)


def test_a_text_is_shortened_between_words() -> None:
    assert shortened("a" * 10) == "a" * 10
    assert shortened("one two; three four", 12) == "one two"
    assert shortened("one two three", 9) == "one two"
