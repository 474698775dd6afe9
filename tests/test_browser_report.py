"""The report as a reader meets it: in a browser, wide and narrow, light and dark, on paper."""

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import pytest

from resexp.report.formatting import size

pytestmark = pytest.mark.browser


@pytest.fixture
def open_page(browser: Any, comparison: Path) -> Iterator[Any]:
    """Open the report under given conditions. What it complains of or asks the network for is a fault."""
    contexts = []

    def opened(**conditions: Any) -> Any:
        context = browser.new_context(**conditions)
        context.set_default_timeout(120_000)
        contexts.append(context)
        page = context.new_page()
        page.faults = []
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.on("console", lambda message: page.faults.append(message.text))
        page.on(
            "request",
            lambda request: request.url.startswith(("file:", "data:")) or page.faults.append(request.url),
        )
        page.goto((comparison / "report.html").as_uri())
        return page

    yield opened
    for context in contexts:
        faults = [fault for page in context.pages for fault in page.faults]
        context.close()
        assert faults == []


SHOWN = """svg => [...svg.querySelectorAll("[data-step]")]
  .filter(frame => frame.getClientRects().length && getComputedStyle(frame).display !== "none")
  .map(frame => frame.dataset.step)"""

DRAWN = """svg => [...svg.querySelectorAll("[data-step] path")]
  .filter(path => path.getClientRects().length && path.getBoundingClientRect().width > 1)
  .map(path => path.getAttribute("d"))"""

CUT = """() => [...document.querySelectorAll(
    "p, h1, h2, h3, td, th, dd, dt, figcaption, pre, small, svg text")]
  .filter(element => element.getClientRects().length)
  .map(element => [element.textContent.trim(), element.getBoundingClientRect(), element])
  .filter(([text, box, element]) => text && !element.closest(".stack thead")
    && (box.width < 1 || box.left < -1 || box.right > document.documentElement.clientWidth + 1
        || element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).overflowX === "hidden"))
  .map(([text]) => text)"""

PICTURES = """() => [...document.querySelectorAll("figure svg")].map(svg => {
  const box = svg.getBoundingClientRect();
  const marks = [...svg.querySelectorAll("path, polyline, image")];
  const lines = marks.filter(mark => mark.getClientRects().length);
  const texts = svg.querySelectorAll("text").length;
  return {width: box.width, height: box.height, marks: lines.length, texts};
})"""


def test_the_slider_changes_the_charts(open_page: Any) -> None:
    page = open_page(viewport={"width": 1280, "height": 900})
    slider = page.locator(".slider input")
    charts = page.locator("svg:has([data-step])")
    assert charts.count() == 4
    assert set(charts.first.evaluate(SHOWN)) == {"0"}
    before = charts.first.evaluate(DRAWN)
    slider.focus()
    for step in ("1", "2", "5", "10", "12"):
        slider.press("ArrowRight")
        for index in range(charts.count()):
            assert set(charts.nth(index).evaluate(SHOWN)) == {step}
        assert page.locator("[data-now]").first.text_content() == f"step {step}"
        assert slider.get_attribute("aria-valuetext") == f"step {step}"
    assert charts.first.evaluate(DRAWN) != before
    slider.press("Home")
    assert set(charts.first.evaluate(SHOWN)) == {"0"}
    assert charts.first.evaluate(DRAWN) == before


@pytest.mark.parametrize("width", [1280, 390])
def test_charts_are_visible_and_no_text_is_cut(open_page: Any, width: int) -> None:
    page = open_page(viewport={"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CUT) == []
    pictures = page.evaluate(PICTURES)
    assert len(pictures) > 12
    for picture in pictures:
        assert 300 <= picture["width"] <= width
        assert picture["height"] > 150
        assert picture["marks"] > 5, picture
        assert picture["texts"] > 5


def pointed_at(page: Any, chart: Any, x: float, y: float) -> str:
    """Bring the pointer to a place in an SVG's own units and return what is said there."""
    chart.scroll_into_view_if_needed()
    place = chart.evaluate(
        "(svg, [x, y]) => { const p = new DOMPoint(x, y).matrixTransform(svg.getScreenCTM());"
        " return [p.x, p.y]; }",
        [x, y],
    )
    page.mouse.move(*place)
    return page.locator(".tip").inner_text()


def test_the_pointer_reads_the_recorded_gradient(open_page: Any, comparison: Path) -> None:
    """Each layer's number under the pointer is the recorded one, at the slider's step."""
    page = open_page(viewport={"width": 1280, "height": 900})
    chart = page.locator("svg[data-hover]:has([data-step])").first
    data = json.loads(chart.get_attribute("data-hover"))
    rows = json.loads((comparison / "comparison.json").read_text())["runs"]
    depth, norm = rows[0]["depth"], rows[0]["norm"]
    for step in (0, 5):
        page.locator(".slider input").evaluate(
            "(input, step) => { input.value = input.closest('.slider').dataset.steps.split(' ')"
            ".indexOf(String(step)); input.dispatchEvent(new Event('input')); }",
            step,
        )
        line = next(line for line in data["lines"] if line["step"] == step and line["name"] == "plain")
        for x, y, layer, text in (line["points"][0], line["points"][1]):
            said = pointed_at(page, chart, x, y)
            assert f"layer {layer:g}" in said
            assert f"plain: {text}" in said
            recorded = []
            for row in rows:
                if (row["arm"], row["depth"], row["norm"]) == ("plain", depth, norm):
                    profile = (comparison / row["folder"] / "profile.jsonl").read_text().splitlines()
                    found = next(json.loads(one) for one in profile if json.loads(one)["step"] == step)
                    sizes = {out["layer"]: out["norm"] for out in found["outputs"]}
                    recorded.append(sizes[layer] / sizes[max(sizes)])
            assert text == size(geometric_mean(recorded))


def test_the_heat_map_under_the_pointer_shows_that_steps_profile(open_page: Any) -> None:
    page = open_page(viewport={"width": 1280, "height": 900})
    heat = page.locator('svg[data-hover*="box"]').first
    data = json.loads(heat.get_attribute("data-hover"))
    left, top, right, bottom = data["box"]
    columns, rows = len(data["steps"]), len(data["layers"])
    for column, row in ((0, 0), (3, rows - 1), (columns - 1, 1)):
        x = left + (column + 0.5) * (right - left) / columns
        y = bottom - (row + 0.5) * (bottom - top) / rows
        said = pointed_at(page, heat, x, y)
        assert f"layer {data['layers'][row]:g}, step {data['steps'][column]}" in said
        assert data["texts"][row][column] in said
        shown = page.locator("svg:has([data-step])").first.evaluate(SHOWN)
        assert set(shown) == {str(data["steps"][column])}


def test_the_slider_plays_to_its_end_and_stops(open_page: Any) -> None:
    page = open_page(viewport={"width": 1280, "height": 900})
    button, slider = page.locator(".slider button"), page.locator(".slider input")
    last = int(slider.get_attribute("max"))
    slider.evaluate("(input, at) => { input.value = at; }", last - 2)
    button.click()
    assert button.get_attribute("aria-label") == "Pause"
    page.wait_for_function("() => document.querySelector('.slider button').ariaLabel === 'Play'")
    assert int(slider.input_value()) == last


def test_the_answer_fits_the_first_screen(open_page: Any) -> None:
    """1280x720, as a slide: title, both blocks, the gradient, the accuracies, each whole."""
    page = open_page(viewport={"width": 1280, "height": 720})
    for selector, num in {
        ".first h1": 1,
        ".first .lead": 1,
        ".first .blocks svg": 2,
        ".first .arriving svg": 1,
        ".first .arriving figcaption": 1,
        ".first .outcome td b": 4,
        ".first .below a": 4,
    }.items():
        found = page.locator(selector)
        assert found.count() >= num, selector
        for index in range(found.count()):
            box = found.nth(index).bounding_box()
            assert box["width"] > 10, selector
            assert box["x"] >= 0, selector
            assert box["y"] >= 0, selector
            assert box["x"] + box["width"] <= 1280, selector
            assert box["y"] + box["height"] <= 720, selector


def test_the_text_in_charts_is_readable_on_a_phone(open_page: Any) -> None:
    page = open_page(viewport={"width": 390, "height": 844})
    heights = page.evaluate(
        "() => [...document.querySelectorAll('figure svg text')].map(text => {"
        " const box = text.getBoundingClientRect(); return Math.min(box.width, box.height); })"
    )
    # A digit of one character is narrower than it is high; anything below 6 would be a smudge.
    assert min(heights) > 6


def test_dark_and_light_are_both_readable(open_page: Any) -> None:
    luminances = {}
    for scheme in ("light", "dark"):
        page = open_page(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
        paper, ink, text = page.evaluate(
            """() => [getComputedStyle(document.documentElement).backgroundColor,
                 getComputedStyle(document.body).color,
                 getComputedStyle(document.querySelector("figure svg text")).fill]
                 .map(colour => colour.match(/\\d+/g).slice(0, 3).map(Number))"""
        )
        luminances[scheme] = _luminance(paper)
        for colour in (ink, text):
            light, dark = sorted((_luminance(paper), _luminance(colour)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5
    assert luminances["light"] > 0.8
    assert luminances["dark"] < 0.05


def test_without_javascript_step_0_is_shown_and_no_dead_slider(open_page: Any) -> None:
    page = open_page(viewport={"width": 390, "height": 844}, java_script_enabled=False)
    assert not page.locator(".slider").is_visible()
    assert page.locator('[data-step="0"]').first.is_visible()
    assert not page.locator('[data-step="12"]').first.is_visible()


def test_the_page_prints_light_and_without_the_slider(open_page: Any) -> None:
    page = open_page(viewport={"width": 1280, "height": 900}, color_scheme="dark")
    page.emulate_media(media="print")
    paper = page.evaluate(
        "getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g).map(Number)"
    )
    assert _luminance(paper[:3]) > 0.8
    assert not page.locator(".slider input").is_visible()
    assert len(page.pdf()) > 20_000


def _luminance(colour: list[int]) -> float:
    """Relative luminance of an sRGB colour, as WCAG 2 defines it."""
    red, green, blue = ((c / 255 / 12.92) if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
