"""The report in a real browser: no error, no network, tables sort, images load, narrow screens, keyboard, print."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from figures.report.report import write_report
from repro.records.store import Store

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
    return write_report([golden], drawn_folder, tmp_path_factory.mktemp("report") / "report.html")


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
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    root = "document.documentElement"
    found = browser.execute_script(f"return [{root}.scrollWidth, {root}.clientWidth, window.innerWidth]")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert found[2] == width
    assert found[0] <= found[1]


def column(browser: Any, place: int) -> list[str]:
    script = (
        "return [...document.querySelectorAll('#results table')[0].tBodies[0].rows]"
        f".map(row => row.cells[{place}].textContent)"
    )
    return browser.execute_script(script)


def test_a_head_sorts_its_column_by_number_both_ways_from_the_keyboard(browser: Any) -> None:
    heads = browser.find_elements("css selector", "#results table:first-of-type thead button")
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
    button = browser.find_element("css selector", "#results button.run")
    browser.execute_script("arguments[0].focus()", button)
    press(browser, "\ue007")
    dialog = browser.find_element("css selector", "dialog")
    assert dialog.get_attribute("open") is not None
    assert button.get_attribute("data-run") in dialog.text
    assert "golden" in dialog.text
    press(browser, "\ue00c")  # Escape
    assert dialog.get_attribute("open") is None


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


def test_dark_mode_changes_page_and_images(browser: Any) -> None:
    look = (
        "return [getComputedStyle(document.body).backgroundColor, "
        "[...document.images].map(image => image.currentSrc.length)]"
    )
    light = browser.execute_script(look)
    dark_feature = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark_feature)
    # Chromium chooses the other pictures a moment after the page has turned dark.
    ui.WebDriverWait(browser, 10).until(lambda page: page.execute_script(look)[1] != light[1])
    dark = browser.execute_script(look)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert light[0] == "rgb(255, 255, 255)"
    assert dark[0] == "rgb(21, 24, 28)"
    assert light[1] != dark[1]
