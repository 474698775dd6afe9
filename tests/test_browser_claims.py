"""claims.html as a reader meets it: in a browser, on a desk and on a phone, light and dark."""

from pathlib import Path
from typing import Any

import pytest

from resexp.claims import squiggle, squiggle_learning
from resexp.claims.registry import CLAIMS
from resexp.claims.runner import write_finding
from resexp.report.claims_page import write_page

pytestmark = pytest.mark.browser

CUT = """() => [...document.querySelectorAll("p, h1, h2, h3, td, th, figcaption, summary, svg text")]
  .filter(element => element.getClientRects().length)
  .map(element => [element.textContent.trim(), element.getBoundingClientRect(), element])
  .filter(([text, box, element]) => text && !element.closest(".stack thead")
    && (box.width < 1 || box.left < -1 || box.right > document.documentElement.clientWidth + 1))
  .map(([text]) => text)"""


@pytest.fixture(scope="module")
def claims_html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of one real claim, trained for a few steps only."""
    root = tmp_path_factory.mktemp("claims")
    (root / "squiggle").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        few = {"SQUIGGLE_STEPS": 4, "LOOKS": (0, 1, 2, 3, 4), "ALONE_STEPS": 2, "ALONE_LOOK": 1}
        for module in (squiggle, squiggle_learning):
            for name in few.keys() & vars(module).keys():
                patch.setattr(module, name, few[name])
        write_finding(root / "squiggle", squiggle.claim([0, 1], lambda done: None))
    return write_page(root, list(CLAIMS))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_drawings_are_there_and_no_text_is_cut(
    browser: Any, claims_html: Path, width: int, scheme: str
) -> None:
    faults: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.set_default_timeout(120_000)
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "request", lambda request: request.url.startswith(("file:", "data:")) or faults.append(request.url)
    )
    page.goto(claims_html.as_uri())
    page.locator("summary").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CUT) == []
    sheets = page.evaluate(
        "() => [...document.querySelectorAll('figure svg image')].map(i => i.getBoundingClientRect().width)"
    )
    # The task's two sheets, and one for each block and each look at it.
    assert len(sheets) == 2 + 3 * 5
    assert min(sheets) > 60
    page.close()
    assert faults == []


def test_the_answers_lead_to_their_claims(browser: Any, claims_html: Path) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(claims_html.as_uri())
    link = page.locator("table a").first
    link.click()
    assert page.evaluate("location.hash") == "#squiggle"
    assert page.evaluate("document.querySelector(':target').id") == "squiggle"
    page.close()
