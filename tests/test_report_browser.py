"""The page of a report in a browser: chromium and chromium-driver, driven by selenium, where they are installed."""

import base64
import math
import re
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest

from report_helpers import counted
from rsmooth import Exponential, Gaussian
from rsmooth.report.page import page_of
from rsmooth.report.payload import Pictures, payload_of
from rsmooth.report.write import write_report
from rsmooth.results.read import read_result

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromium-driver are not installed"),
]

HOSTILE = "</script><img src=x onerror='window.harmed = 1'>"
NORMS = {"1": 1, "2": 2, "inf": math.inf}
# Seconds: generous for a loaded machine; a quiet one takes less than a tenth of it.
LAG = 1.0


@pytest.fixture(scope="module")
def browser():
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "window-size=1280,1600"):
        options.add_argument(f"--{argument}")
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = Service(DRIVER)
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def results(made):
    return [
        counted("one", Gaussian(0.25), size=101),
        counted("two", Exponential(0.01), size=70, seed=1, norm=math.inf, bound="renyi"),
        read_result(made / "fixed"),
        counted(HOSTILE, Gaussian(0.5), seed=2),
    ]


@pytest.fixture(scope="module")
def mixed(results, tmp_path_factory):
    """Return the page of results with votes and one without."""
    folder = tmp_path_factory.mktemp("mixed")
    (folder / "cohen").write_text(
        "idx\tlabel\tpredict\tradius\tcorrect\ttime\n0\t3\t3\t0.5\t1\t9\n9\t1\t2\t0.25\t0\t9\n"
    )
    write_report([results[0], read_result(folder / "cohen")], folder / "report.html")
    return folder / "report.html"


@pytest.fixture(scope="module")
def file(results, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(results, path, images=6)
    return path


@pytest.fixture
def page(browser, file):
    media(browser, "light")
    browser.get(file.as_uri())
    yield browser
    assert browser.get_log("browser") == []


def media(browser, scheme, kind=""):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": kind, "features": features})


def find(browser, selector):
    return browser.find_element("css selector", selector)


def choose(browser, name, value):
    browser.execute_script(
        "const [select, value] = arguments; select.value = value; select.dispatchEvent(new Event('change'))",
        find(browser, f"#{name}"),
        value,
    )
    assert find(browser, f"#{name}").get_property("value") == value


def texts(browser, selector):
    return browser.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map((each) => each.textContent)", selector
    )


def press(browser, *keys):
    from selenium.webdriver import ActionChains

    ActionChains(browser).send_keys(*keys).perform()


def focused(browser):
    return browser.execute_script("return document.activeElement.id || document.activeElement.textContent")


def shown(browser):
    """Return the radius, and how many examples are certified of each run that has any, as the page says."""
    radius = float(find(browser, "#radius").get_property("value"))
    rows = browser.execute_script(
        "return [...document.querySelectorAll('#summary tbody tr')]"
        ".map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    return radius, {name: cells for _, name, _, *cells in rows}


def rule(browser):
    bound, norm, alpha = (find(browser, f"#{name}").get_property("value") for name in ("bound", "norm", "alpha"))
    return {"bound": bound, "norm": NORMS[norm], "alpha": float(alpha)}


def test_the_page_loads_and_harms_nothing(page):
    assert page.execute_script("return [window.harmed, document.images.length]") == [None, 0]
    assert (
        page.execute_script(
            "return performance.getEntriesByType('resource').filter((e) => !e.name.startsWith('data:'))"
        )
        == []
    )
    names = texts(page, "#summary tbody th")
    assert names == ["one", "two", "fixed", HOSTILE]
    assert HOSTILE in texts(page, "#whose option")
    assert len(page.find_elements("css selector", "#chart path")) == 4


def test_no_script_can_be_slipped_in(page):
    script = (
        "const made = document.createElement('script'); made.textContent = 'window.harmed = 2'; "
        "document.body.append(made)"
    )
    page.execute_script(script)
    assert page.execute_script("return window.harmed") is None
    (entry,) = page.get_log("browser")
    assert "Content Security Policy" in entry["message"]


def test_the_numbers_are_those_of_the_certificates(page, results):
    from selenium.webdriver import Keys

    seen = set()
    for norm in NORMS:
        choose(page, "norm", norm)
        for bound in ("tightest", "renyi", "neyman-pearson", "pixeldp"):
            choose(page, "bound", bound)
            for alpha in ("0.01", "0.001"):
                choose(page, "alpha", alpha)
                find(page, "#slider").send_keys(Keys.ARROW_RIGHT, *[Keys.PAGE_UP] * (len(seen) % 3))
                radius, rows = shown(page)
                seen.add((norm, radius))
                for result in results:
                    found = result.certificates.under(**rule(page))
                    share = found.certified_accuracy(result.labels, radius)
                    low, high = found.certified_accuracy_interval(result.labels, radius)
                    size = len(result)
                    now, interval, zero, half, mean, abstained = rows[result.name]
                    assert now == f"{share:.1%} ({round(share * size)} of {size})"
                    assert interval == f"{low:.1%} to {high:.1%}"
                    assert zero == f"{found.certified_accuracy(result.labels, 0):.1%}"
                    assert float(half) == pytest.approx(found.radius_at(result.labels, 0.5), rel=1e-3)
                    assert float(mean) == pytest.approx(found.average_radius(result.labels), rel=1e-3)
                    assert float(half) <= found.radius_at(result.labels, 0.5)
                    assert float(mean) <= found.average_radius(result.labels)
                    assert int(abstained) == (found.prediction < 0).sum()
    assert len(seen) > 12


def functions(file, *names):
    """Return functions of the page's script, as text."""
    script = file.read_text(encoding="utf-8")
    return "".join(re.search(rf"function {name}\(.*?\n}}\n", script, re.DOTALL).group() for name in names)


def test_no_radius_is_shown_as_more_than_it_is(page, file):
    from rsmooth._digits import below

    ends = [0.1, 0.3, 0.49997, 0.99999, 1.9999e-7, 12345.6, 99999.9, 9.9999e-7, 999.99]
    radii = [*ends, *np.random.default_rng(0).random(500), *10 ** np.random.default_rng(1).uniform(-20, 20, 500)]
    texts = page.execute_script(f"{functions(file, 'below')} return arguments[0].map(below)", [0, *map(float, radii)])
    assert texts[0] == "0"
    for radius, text in zip(radii, texts[1:], strict=True):
        assert float(text) == float(below(radius).replace(",", ""))
        assert (1 - 1e-3) * radius < float(text) <= radius


def test_p1_is_rounded_down_and_p2_up_beside_every_step_of_the_last_place(page, file):
    from rsmooth._digits import floor

    steps = np.arange(10_001) / 10_000
    values = np.unique([steps, np.nextafter(steps, 0), np.nextafter(steps, 1)]).tolist()
    lower, upper = page.execute_script(
        f"{functions(file, 'atLeast', 'atMost')} return [atLeast, atMost].map((f) => arguments[0].map((p) => f(p, 4)))",
        values,
    )
    assert lower == [floor(p1, 4) for p1 in values]
    for p2, text in zip(values, upper, strict=True):
        assert p2 <= float(text) < p2 + 1.0001e-4
        assert len(text) == 6
    assert [text for p2, text in zip(values, upper, strict=True) if p2 in steps] == [f"{each:.4f}" for each in steps]


def test_a_bound_that_does_not_hold_is_said_not_to(page):
    choose(page, "bound", "pure-dp")
    _, rows = shown(page)
    assert rows["one"] == ["none under this bound and level"]
    assert len(rows["two"]) == 6
    assert len(page.find_elements("css selector", "#chart path")) == 1
    assert "no certificates under this bound" in find(page, "#examples-note").text


def test_the_slider_moves_by_keyboard(page):
    from selenium.webdriver import Keys

    slider = find(page, "#slider")
    before, rows = shown(page)
    said = find(page, "#chart-says").text
    assert said.startswith(f"Certified accuracy within ℓ₂ radius {before:g}, tightest bound, α = 0.001. one: ")
    slider.send_keys(*[Keys.ARROW_RIGHT] * 25)
    after, moved = shown(page)
    assert after > before
    assert moved["one"] != rows["one"]
    assert find(page, "#chart-says").text != said
    assert slider.get_attribute("aria-valuetext") == find(page, "#radius").get_property("value")
    slider.send_keys(Keys.HOME)
    assert shown(page)[0] == 0
    # Any radius can be typed.
    find(page, "#radius").send_keys(Keys.CONTROL, "a")
    find(page, "#radius").send_keys("0.12345", Keys.TAB)
    assert shown(page)[0] == 0.12345


def test_the_bounds_of_a_run_are_compared(page, results):
    choose(page, "lines", "0")
    assert not find(page, "#bound").is_enabled()
    radius, rows = shown(page)
    certificates = results[0].certificates
    assert len(rows) == 1 + len(certificates.mechanism.holding(2, 64))
    share = certificates.under(bound="renyi").certified_accuracy(results[0].labels, radius)
    assert rows["Rényi"][0].startswith(f"{share:.1%} ")


def margins(found, labels):
    return np.where(found.prediction == labels, found.radius, -found.radius)


def test_examples_are_sorted(page, results):
    from selenium.webdriver import Keys

    found, labels = results[0].certificates, results[0].labels
    choose(page, "rows", "100")

    def order():
        return [int(text) for text in texts(page, "#table td.example")]

    margin = margins(found, labels)
    assert order() == np.argsort(margin, kind="stable")[:100].tolist()
    find(page, "#best").send_keys(Keys.ENTER)
    assert order() == np.argsort(-margin, kind="stable")[:100].tolist()
    for name, values in (("radius", found.radius), ("p1", found.p1), ("p2", found.p2)):
        button = find(page, f"[data-column={name}] button")
        button.send_keys(Keys.ENTER)
        assert order() == np.argsort(-values, kind="stable")[:100].tolist()
        assert find(page, f"[data-column={name}]").get_attribute("aria-sort") == "descending"
        button.send_keys(Keys.SPACE)
        assert order() == np.argsort(values, kind="stable")[:100].tolist()
        assert len(page.find_elements("css selector", "[aria-sort]")) == 1
        # Where the focus was.
        assert page.switch_to.active_element == button
    find(page, "[data-column=example] button").send_keys(Keys.ENTER)
    find(page, "#next").send_keys(Keys.ENTER)
    assert order() == [100]
    assert find(page, "#where").text == "page 2 of 2"
    assert not find(page, "#next").is_enabled()


def test_examples_are_filtered(page, results):
    found, labels = results[0].certificates, results[0].labels
    radius, _ = shown(page)
    right, abstained = found.prediction == labels, found.prediction < 0
    within = right & (found.radius > radius)
    for state, chosen in (
        ("right", right),
        ("wrong", ~right & ~abstained),
        ("abstained", abstained),
        ("within", within),
        ("beyond", ~within),
        ("all", right | True),
    ):
        choose(page, "state", state)
        assert find(page, "#found").text == f"{chosen.sum()} of 101 examples of one"
        assert chosen.any()
    choose(page, "state", "within")
    find(page, "#slider").send_keys("", *["\ue014"] * 20)  # ARROW_RIGHT
    radius, _ = shown(page)
    assert find(page, "#found").text == f"{(right & (found.radius > radius)).sum()} of 101 examples of one"
    choose(page, "state", "all")
    find(page, "#words").send_keys("3")
    wanted = (np.arange(101) == 3) | (labels == 3) | (found.prediction == 3)
    # An abstaining example is found by the class that its votes selected.
    assert wanted.sum() <= int(find(page, "#found").text.split()[0]) <= (wanted | abstained).sum()
    find(page, "#words").send_keys("33333")
    assert find(page, "#found").text == "0 of 101 examples of one"


def test_details_show_the_example_in_every_run(page, results):
    from selenium.webdriver import Keys

    choose(page, "whose", "2")
    for _ in range(2):
        find(page, ".more button").send_keys(Keys.ENTER)
    assert texts(page, ".details") == []
    find(page, ".more button").send_keys(Keys.ENTER)
    assert find(page, ".more button").get_attribute("aria-expanded") == "true"
    headings = texts(page, ".details h3")
    assert headings[0].startswith("fixed: ")
    index = int(texts(page, "#table td.example")[0])
    label = results[2].labels[list(results[2].index).index(index)]
    others = [
        each.name for each in results if each.name != "fixed" and index < len(each) and each.labels[index] == label
    ]
    assert [heading.rpartition(": ")[0] for heading in headings[1:]] == others
    canvases = page.find_elements("css selector", ".details canvas")
    assert [each.get_attribute("aria-label") for each in canvases[:2]] == [
        f"image {index}",
        f"noisy copy of image {index}",
    ]


def test_pictures_are_drawn_pixel_by_pixel(page):
    from rsmooth.zoo.data import load_data

    choose(page, "whose", "2")
    find(page, "#pictured").click()
    assert find(page, "#found").text == "6 of 12 examples of fixed"
    time.sleep(0.2)
    index = int(texts(page, "#table td.example")[0])
    pixels = page.execute_script(
        "return [...document.querySelector('td.image canvas').getContext('2d').getImageData(0, 0, 8, 8).data]"
    )
    image = load_data("digits")[index][0][0].numpy()
    assert np.array_equal(np.reshape(pixels, (8, 8, 4))[..., 0], np.rint(image * 255))


def test_the_tab_key_reaches_everything_in_order(page):
    from selenium.webdriver import Keys

    reached = []
    for _ in range(30):
        press(page, Keys.TAB)
        reached.append(focused(page))
        outline = page.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", reached[-1]
    wanted = ["Skip to the examples", "theme", "lines", "bound", "norm", "alpha", "radius", "slider"]
    assert reached[:8] == wanted
    wanted = ["whose", "state", "words", "worst", "best"]
    assert [each for each in reached if each in wanted] == wanted
    assert {"next", "rows", "example", "radius", "most votes"} <= set(reached)


def background(browser):
    return browser.execute_script("return getComputedStyle(document.documentElement).backgroundColor")


def test_dark_mode_follows_the_system_and_the_button(browser, file):
    media(browser, "dark")
    browser.get(file.as_uri())
    assert background(browser) == "rgb(20, 23, 26)"
    button = find(browser, "#theme")
    assert button.get_attribute("aria-pressed") == "true"
    button.send_keys("\ue007")
    assert background(browser) == "rgb(255, 255, 255)"
    media(browser, "light")
    browser.get(file.as_uri())
    assert background(browser) == "rgb(255, 255, 255)"
    find(browser, "#theme").send_keys("\ue007")
    assert background(browser) == "rgb(20, 23, 26)"
    # Paper is white.
    media(browser, "dark", "print")
    assert background(browser) == "rgb(255, 255, 255)"
    assert not find(browser, "#controls").is_displayed()
    assert find(browser, "#table").is_displayed()
    media(browser, "light")
    assert browser.get_log("browser") == []


def test_the_page_prints(page):
    printed = base64.b64decode(page.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert printed.startswith(b"%PDF-")
    assert 1 <= printed.count(b"/Type /Page\n") <= 6


def test_a_phone_has_no_sideways_scrolling(page):
    size = {"width": 360, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        assert page.execute_script("return document.documentElement.scrollWidth") == 360
        assert page.execute_script("return document.getElementById('chart').getBoundingClientRect().width") > 300
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_ten_thousand_examples_do_not_lag(browser, tmp_path):
    results = [counted(f"run {seed}", Gaussian(0.25), size=10_000, classes=10, n=100_000, seed=seed) for seed in (1, 2)]
    path = tmp_path / "large.html"
    path.write_text(page_of(payload_of(results, [Pictures("none")] * 2, title="Large")))
    media(browser, "light")
    browser.get(path.as_uri())
    took = {}

    def act(name, script, *arguments):
        timed = (
            f"const start = performance.now(); {script}; document.body.offsetHeight; return performance.now() - start"
        )
        took[name] = browser.execute_script(timed, *arguments) / 1000

    act("sort by radius", "document.querySelector('[data-column=radius] button').click()")
    longest = texts(browser, "#table td.number")[0]
    assert float(longest) == pytest.approx(results[0].radius.max(), rel=1e-3)
    act("sort by votes", "document.querySelector('[data-column=votes] button').click()")
    change = (
        "const each = document.getElementById(arguments[0]); each.value = arguments[1]; "
        "each.dispatchEvent(new Event(arguments[2]))"
    )
    act("filter by class", change, "words", "7", "input")
    act("filter by state", change, "state", "within", "change")
    act("move the slider", change, "slider", "77", "input")
    act("another bound", change, "bound", "renyi", "change")
    act("another norm", change, "norm", "inf", "change")
    act("another page", "document.getElementById('next').click()")
    assert max(took.values()) < LAG, took
    assert browser.get_log("browser") == []


def test_results_without_a_certificate_or_with_one_example(browser, tmp_path):
    from rsmooth import certify_counts
    from rsmooth.results.result import Result

    counts = [[5, 5], [5, 5]]
    results = [
        Result.of(f"{size} examples", certify_counts(counts[:size], Gaussian(0.5), norm=2, dim=4), [0] * size)
        for size in (1, 2)
    ]
    path = tmp_path / "none.html"
    write_report(results, path)
    media(browser, "light")
    browser.get(path.as_uri())
    for norm in NORMS:
        choose(browser, "norm", norm)
        assert shown(browser)[1]["2 examples"][0] == "0.0% (0 of 2)"
    assert find(browser, "#found").text == "1 of 1 examples of 1 examples"
    assert texts(browser, "#table td.vote") == ["\u2013 abstains"]
    assert browser.get_log("browser") == []


def test_results_without_votes_are_shown_at_every_level(browser, mixed):
    media(browser, "light")
    browser.get(mixed.as_uri())
    for alpha in ("0.01", "0.0001"):
        choose(browser, "alpha", alpha)
        for bound in ("tightest", "neyman-pearson"):
            choose(browser, "bound", bound)
            find(browser, "#radius").clear()
            find(browser, "#radius").send_keys("0.25", "\ue004")
            assert shown(browser)[1]["cohen"][0] == "50.0% (1 of 2)"
    assert "gaussian; α not told" in texts(browser, "#summary td")
    choose(browser, "bound", "renyi")
    assert shown(browser)[1]["cohen"] == ["none under this bound and level"]
    choose(browser, "bound", "tightest")
    choose(browser, "whose", "1")
    assert texts(browser, "#table td.vote") == ["✗ 2", "✓ 3"]
    assert texts(browser, "#table th")[-2:] == ["vote", "radius"]
    assert browser.get_log("browser") == []


def test_certificates_that_leave_nothing_to_chance_are_shown_at_every_level(browser, made, tmp_path):
    media(browser, "light")
    sampled = replace(read_result(made / "fixed").under(norm=1, bound="tightest"), name="sampled")
    split = replace(read_result(made / "splitting"), name="split")
    for results, levels in (([sampled, split], ["0.01", "0.001", "0.0001"]), ([split], ["0"])):
        write_report(results, tmp_path / "report.html")
        browser.get((tmp_path / "report.html").as_uri())
        assert texts(browser, "#alpha option") == levels
        for alpha in levels:
            choose(browser, "alpha", alpha)
            right = int((split.certified.values > shown(browser)[0]).sum())
            assert shown(browser)[1]["split"][0].endswith(f"({right} of {len(split)})")
        assert "uniform, half_width = 0.5; splitting; α = 0" in texts(browser, "#summary td")
    assert browser.get_log("browser") == []
