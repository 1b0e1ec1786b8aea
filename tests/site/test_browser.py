"""The built site in headless Chromium, from its files: ``make site-test``."""

import base64
import json
import os
import shutil
from pathlib import Path

import pytest

SITE = os.environ.get("D2L_RECSYS_SITE")
if not SITE:
    pytest.skip(
        "`make site-test` builds the site and tests it", allow_module_level=True
    )
webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is missing")
Wait = pytest.importorskip("selenium.webdriver.support.ui").WebDriverWait

WIDTHS = {"phone": (390, 844), "desktop": (1280, 900)}
PAGES = sorted(
    path.relative_to(SITE).as_posix()[:-5]
    for path in [*Path(SITE).glob("*.html"), *Path(SITE).glob("sections/*.html")]
    if not path.name.startswith(("search", "genindex", "py-modindex"))
)
PAGES += ["api/mf"]
MATH = "return !window.MathJax || !!(MathJax.startup && MathJax.startup.document)"
# How much the page is too wide; formulas, and tables of up to four columns, that
# scroll; missing pictures; formulas that MathJax refuses; texts over each other.
LOOK = """
const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth
const missing = [...document.images].filter(i => !(i.complete && i.naturalWidth))
const wrong = document.querySelectorAll('mjx-merror, mjx-container [data-mjx-error]')
const blocks = [...document.querySelectorAll('article p, article pre, article img,' +
  'article h1, article h2, article h3, article td, article li > p')]
  .map(e => [e, e.getBoundingClientRect()]).filter(([e, p]) => p.width || p.height)
  .sort(([, p], [, q]) => p.top - q.top)
const over = []
blocks.forEach(([a, p], i) => {
  for (const [b, q] of blocks.slice(i + 1)) {
    if (q.top >= p.bottom - 2) break
    if (a.contains(b) || b.contains(a) || q.bottom - q.top <= 2) continue
    const x = Math.min(p.right, q.right) - Math.max(p.left, q.left)
    if (x > 2) over.push([a, b].map(e => e.textContent.slice(0, 40)))
  }
})
const boxes = '.content, .math-wrapper, mjx-container, .table-wrapper'
const scrolling = [...document.querySelectorAll(boxes)]
  .filter(e => e.scrollWidth > e.clientWidth + 1)
  .filter(e => !e.matches('.table-wrapper') || !e.querySelector('th:nth-child(5)'))
  .map(e => e.textContent.slice(0, 80))
return {wide, scrolling, missing: missing.map(i => i.src), wrong: wrong.length, over}
"""


@pytest.fixture(scope="module")
def browser():
    """Return Chromium without a network."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for word in ("headless=new", "no-sandbox", "hide-scrollbars", "disable-gpu"):
        options.add_argument(f"--{word}")
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND")
    options.set_capability(
        "goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"}
    )
    with webdriver.Chrome(options, webdriver.ChromeService(driver)) as found:
        yield found


def resize(browser, device):
    width, height = WIDTHS[device]
    size = {"width": width, "height": height, "deviceScaleFactor": 1}
    size["mobile"] = device == "phone"
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def visit(browser, page):
    path, _, query = page.partition("?")
    browser.get(f"{(Path(SITE).resolve() / path).as_uri()}?{query}")
    assert browser.find_elements("css selector", "article[role=main]"), (
        f"no page {path}"
    )
    Wait(browser, 30).until(lambda b: b.execute_script(MATH))


def messages(browser):
    """Return the errors on the console and the requests that are not for files."""
    found = [x["message"] for x in browser.get_log("browser") if x["level"] != "INFO"]
    for entry in browser.get_log("performance"):
        event = json.loads(entry["message"])["message"]
        if event["method"] == "Network.requestWillBeSent":
            url = event["params"]["request"]["url"]
            if not url.startswith(("file:", "data:", "blob:")):
                found.append(url)
    return found


def picture(browser, name):
    """Save a picture of the whole page among the results of the build."""
    folder = Path(SITE).resolve().parent / ".site" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    shot = browser.execute_cdp_cmd(
        "Page.captureScreenshot", {"captureBeyondViewport": True}
    )
    (folder / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))


@pytest.mark.parametrize("device", WIDTHS)
@pytest.mark.parametrize("page", PAGES)
def test_page(browser, page, device):
    resize(browser, device)
    visit(browser, f"{page}.html")
    # Pictures further down are loaded when they come into view.
    browser.execute_script("for (const i of document.images) i.loading = 'eager'")
    Wait(browser, 30).until(
        lambda b: b.execute_script("return [...document.images].every(i => i.complete)")
    )
    picture(browser, f"{page.replace('/', '-')}-{device}")
    look = browser.execute_script(LOOK)
    assert look == {
        "wide": 0,
        "scrolling": [],
        "missing": [],
        "wrong": 0,
        "over": [],
    }
    assert messages(browser) == []


@pytest.mark.parametrize("device", WIDTHS)
def test_search(browser, device):
    resize(browser, device)
    visit(browser, "search.html?q=Caser")
    found = Wait(browser, 30).until(
        lambda b: b.find_elements("css selector", "#search-results li a")
    )
    assert any("seqrec" in link.get_attribute("href") for link in found)
    picture(browser, f"search-{device}")
    assert messages(browser) == []
