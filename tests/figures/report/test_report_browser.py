"""The report in a real browser: no error, no network, tables sort, images load, narrow screens, keyboard, print."""

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from figures.report.plots import setting_rows
from figures.report.report import write_report
from figures.tables.names import rule_label
from figures.tables.records import Records
from repro.records.store import Store
from tests.figures.conftest import studies_in

webdriver = pytest.importorskip("selenium.webdriver")
ui = pytest.importorskip("selenium.webdriver.support.ui")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not shutil.which("chromium") or not shutil.which("chromedriver"), reason="needs Chromium"),
]
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="module")
def page(golden: Store, drawn_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(studies_in(golden), drawn_folder, tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="module")
def browser(page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(shutil.which("chromedriver"))))
    driver.get(page.as_uri())
    yield driver
    driver.quit()


@contextmanager
def screen(browser: Any, width: int, height: int = 800) -> Iterator[None]:
    """Let the page stand on a screen of so many pixels."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    yield
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def press(browser: Any, *keys: str) -> None:
    webdriver.ActionChains(browser).send_keys(*keys).perform()


def test_the_console_stays_silent(browser: Any) -> None:
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []


def test_every_image_loads_and_says_what_it_shows(browser: Any) -> None:
    script = "return [...document.images].map(image => [image.naturalWidth, image.alt, image.currentSrc.slice(0, 10)])"
    images = browser.execute_script(script)
    assert len(images) >= 10
    assert all(width > 100 and alt and source == "data:image" for width, alt, source in images)


def test_nothing_is_fetched_from_a_network(browser: Any) -> None:
    script = "return performance.getEntriesByType('resource').map(entry => entry.name)"
    assert [name for name in browser.execute_script(script) if not name.startswith("data:")] == []


@pytest.mark.parametrize("width", [360, 768, 1600])
def test_the_page_never_scrolls_sideways(browser: Any, width: int) -> None:
    root = "document.documentElement"
    with screen(browser, width):
        found = browser.execute_script(f"return [{root}.scrollWidth, {root}.clientWidth, window.innerWidth]")
    assert found[2] == width
    assert found[0] <= found[1]


def unfold(browser: Any) -> None:
    """Open every folded table."""
    browser.execute_script("document.querySelectorAll('details.folded').forEach(one => { one.open = true; })")


def column(browser: Any, place: int) -> list[str]:
    script = (
        "return [...document.querySelectorAll('#results table')[0].tBodies[0].rows]"
        f".map(row => row.cells[{place}].textContent)"
    )
    return browser.execute_script(script)


def test_a_head_sorts_its_column_by_number_both_ways_from_the_keyboard(browser: Any) -> None:
    unfold(browser)
    heads = browser.find_elements("css selector", "#results table thead button")
    browser.execute_script("arguments[0].focus()", heads[0])
    press(browser, "\ue007")  # Enter
    rising = [float(text) for text in column(browser, 0)]
    assert rising == sorted(rising)
    press(browser, "\ue007")
    falling = [float(text) for text in column(browser, 0)]
    assert falling == sorted(falling, reverse=True)
    assert falling != rising
    state = "return document.querySelector('#results thead th').getAttribute('aria-sort')"
    assert browser.execute_script(state) == "descending"


def test_a_record_opens_its_provenance_and_escape_closes_it(browser: Any) -> None:
    unfold(browser)
    button = browser.find_element("css selector", "#results button.run")
    browser.execute_script("arguments[0].focus()", button)
    press(browser, "\ue007")
    dialog = browser.find_element("css selector", "#provenance")
    assert dialog.get_attribute("open") is not None
    assert button.get_attribute("data-run") in dialog.text
    assert "golden" in dialog.text
    press(browser, "\ue00c")  # Escape
    assert dialog.get_attribute("open") is None


def ready(browser: Any) -> None:
    browser.set_script_timeout(60)
    said = browser.execute_async_script("const done = arguments[0]; explore().then(() => done(''), e => done(`${e}`))")
    assert said == ""


CELLS = [
    {},
    {"signal_strength": 2.0, "d": 1_000_000},
    {"signal_strength": 0.1, "d": 100, "n": 30, "m": 3, "patches": 4, "sigma_p": 0.5, "batch_size": 7},
    {"eta_scale": 400.0, "pretrain_epochs": 1000},
    {"pretrain_epochs": 0},
    {"signal_strength": 0.001},
]


@pytest.mark.parametrize("change", CELLS, ids=str)
@pytest.mark.parametrize("active", [0.0, 0.5, 1.0])
def test_the_explorer_computes_the_closed_forms_of_the_theory(
    browser: Any, change: dict[str, Any], active: float
) -> None:
    from theory.config import TheoryConfig
    from theory.predict import closed_forms

    config = TheoryConfig(**{"n": 40, **change, "n_forget": 2})
    names = ("signal_strength", "d", "n", "m", "patches", "sigma_p", "eta_scale", "batch_size", "pretrain_epochs")
    cell = {name: getattr(config, name) for name in names}
    found = browser.execute_script("return window.theory.closedForms(arguments[0], arguments[1])", cell, active)
    expected = closed_forms(config, active)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-6, abs=1e-9), name


def test_plots_are_drawn_without_a_network(browser: Any) -> None:
    ready(browser)
    drawn = browser.execute_script("return document.querySelectorAll('.plot .main-svg').length")
    assert drawn >= 3
    test_nothing_is_fetched_from_a_network(browser)
    test_the_console_stays_silent(browser)


def test_a_slider_moves_from_the_keyboard_and_a_sentence_says_so(browser: Any) -> None:
    ready(browser)
    slider = browser.find_element("css selector", "#plot-theory input[type=range]")
    said = browser.find_element("css selector", "#plot-theory .says")
    before, shown = said.text, slider.get_attribute("aria-valuetext")
    browser.execute_script("arguments[0].focus()", slider)
    press(browser, "\ue014")  # right
    assert said.text != before
    assert slider.get_attribute("aria-valuetext") != shown
    assert browser.find_element("css selector", "#plot-theory .area").get_attribute("aria-label") == said.text


def test_the_explorer_says_what_the_closed_forms_are(browser: Any) -> None:
    from theory.config import TheoryConfig
    from theory.predict import closed_forms

    browser.refresh()
    ready(browser)
    said = browser.find_element("css selector", "#plot-theory .says").text
    expected = closed_forms(TheoryConfig(signal_strength=0.5), 0.5)
    assert f"X = {expected['X']:.3g};" in said
    assert f"kappa is {expected['kappa_sgd']:.3g}," in said


def test_filters_of_a_plot_choose_its_runs(browser: Any) -> None:
    ready(browser)
    pick = ui.Select(browser.find_elements("css selector", "#plot-tow select")[2])
    names = [option.text for option in pick.options if option.text != "all"]
    said = browser.find_element("css selector", "#plot-tow .says")
    number = lambda: int(said.text.split()[0])  # noqa: E731
    pick.select_by_visible_text("all")
    total, parts = number(), []
    for name in names:
        pick.select_by_visible_text(name)
        parts.append(number())
    assert sum(parts) == total > max(parts)


def options(control: Any) -> list[str]:
    return [str(one.get_attribute("value")) for one in ui.Select(control).options]


def pick(control: Any, value: str) -> None:
    """Choose from a list; one with a single entry is not shown."""
    if control.is_displayed():
        ui.Select(control).select_by_value(value)


def test_a_point_of_a_plot_is_the_mean_of_the_cell_that_its_sentence_names(browser: Any, golden: Store) -> None:
    browser.refresh()
    ready(browser)
    cells: Any = pd.DataFrame(setting_rows(Records(golden.records())))
    by_alpha = cells.groupby(["study", "dataset", "pretrain", "difficulty", "method", "rule", "other"])["alpha"]
    wanted = {"pareto": cells[cells["cost"] > 0], "alpha": cells[by_alpha.transform("nunique") > 2]}
    told = set()
    for name, rows in wanted.items():
        lists = browser.find_elements("css selector", f"#plot-{name} select")[-4:]
        drawn = f"return document.querySelector('#plot-{name} .area').data.flatMap(one => one.y)"
        assert [len(options(one)) for one in lists[:2]] == [1, 1]
        assert not lists[0].is_displayed(), "a list of one is no choice"
        for pretrain in options(lists[2]):
            pick(lists[2], pretrain)
            for difficulty in options(lists[3]):
                pick(lists[3], difficulty)
                here = rows[(rows["pretrain"] == pretrain) & (rows["difficulty"] == difficulty)]
                assert sorted(browser.execute_script(drawn)) == sorted(here["tow"]) != []
                said = browser.find_element("css selector", f"#plot-{name} .says").text
                assert f"pretrained with {rule_label(pretrain)}, forget set {difficulty}" in said
                told.add((name, pretrain, difficulty))
    assert told == {
        (name, *pair) for name, rows in wanted.items() for pair in rows[["pretrain", "difficulty"]].to_numpy()
    }
    test_the_console_stays_silent(browser)


def test_a_claim_opens_its_regime_command_and_records(browser: Any) -> None:
    details = browser.find_element("css selector", "#claims details:has(button.behind)")
    browser.execute_script("arguments[0].open = true; arguments[0].querySelector('button.behind').focus()", details)
    press(browser, "\ue007")
    dialog = browser.find_element("css selector", "#provenance")
    ui.WebDriverWait(browser, 10).until(lambda _: dialog.find_elements("css selector", "button.run"))
    press(browser, "\ue00c")


def test_numbers_drawn_are_shown_when_asked_for(browser: Any) -> None:
    button = browser.find_element("css selector", "button.numbers")
    browser.execute_script("arguments[0].click()", button)
    figure = button.find_element("xpath", "ancestor::figure")
    ui.WebDriverWait(browser, 10).until(lambda _: figure.find_elements("css selector", ".drawn td"))
    assert button.get_attribute("aria-expanded") == "true"


@pytest.mark.parametrize(("width", "height"), [(1400, 900), (390, 844)])
def test_the_first_screen_has_the_answer_and_a_card_and_the_bar_stays(browser: Any, width: int, height: int) -> None:
    top = "return document.querySelector(arguments[0]).getBoundingClientRect().top + scrollY"
    hashes = "return [...document.querySelectorAll('nav a, .answers a')].map(a => a.hash.slice(1))"
    with screen(browser, width, height):
        assert all(0 < browser.execute_script(top, part) < height for part in (".answer", ".answers h3"))
        browser.execute_script("document.documentElement.style.scrollBehavior = 'auto'; window.scrollTo(0, 3000)")
        assert browser.execute_script("return document.querySelector('nav').getBoundingClientRect().top") == 0
        links = browser.execute_script(hashes)
        assert all(browser.execute_script("return !!document.getElementById(arguments[0])", name) for name in links)


def test_a_figure_enlarges_and_escape_closes_it(browser: Any) -> None:
    button = browser.find_element("css selector", "figure button.zoom")
    browser.execute_script("arguments[0].focus()", button)
    press(browser, "\ue007")  # Enter
    room = browser.find_element("css selector", "#enlarged")
    assert room.get_attribute("open") is not None
    widths = "return [arguments[0].querySelector('img').clientWidth, arguments[1].clientWidth]"
    large, small = browser.execute_script(widths, room, button)
    assert large > small
    press(browser, "\ue00c")  # Escape
    assert room.get_attribute("open") is None


def test_no_table_scrolls_inside_itself_and_on_a_phone_its_cells_are_named(browser: Any) -> None:
    unfold(browser)
    places = "'#tab .wide, #results .wide, #missing .wide, #claims article'"
    inside = f"return [...document.querySelectorAll({places})].map(t => [t.scrollWidth, t.clientWidth, innerWidth])"
    named = "return getComputedStyle(document.querySelector('#results td'), '::before').content"
    for width in (390, 1400):
        with screen(browser, width):
            assert all(inner <= outer <= whole for inner, outer, whole in browser.execute_script(inside))
            assert width > 390 or browser.execute_script(named) == '"signal strength"'


def test_the_first_tab_stop_skips_to_the_content(browser: Any) -> None:
    browser.execute_script("document.activeElement.blur(); window.scrollTo(0, 0)")
    browser.refresh()
    press(browser, "\ue004")  # Tab
    assert browser.execute_script("return document.activeElement.textContent") == "Skip to the content"


def test_the_page_prints(browser: Any) -> None:
    import base64

    printed = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert printed.startswith(b"%PDF")
    assert len(printed) > 50_000


def test_dark_mode_turns_page_and_pictures_dark(browser: Any) -> None:
    def lightness() -> float:
        shown = browser.find_element("css selector", "figure button.zoom img").screenshot_as_png
        return float(np.asarray(Image.open(io.BytesIO(shown)).convert("L")).mean())

    page = "return getComputedStyle(document.body).backgroundColor"
    before = browser.execute_script(page), lightness()
    dark_feature = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark_feature)
    after = browser.execute_script(page), lightness()
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert (before[0], after[0]) == ("rgb(255, 255, 255)", "rgb(21, 24, 28)")
    assert after[1] < 80 < 200 < before[1]
