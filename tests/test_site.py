"""The site: it builds without a warning, its links lead somewhere, its reference is the program's."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from typer.main import get_command

from resexp.cli import app
from resexp.config import Config, flat

ROOT = Path(__file__).parents[1]
needed = [name for name in ("sphinx", "myst_parser", "furo") if find_spec(name) is None]
pytestmark = pytest.mark.skipif(
    bool(needed), reason=f"not installed: {', '.join(needed)}; pip install '.[docs]'"
)


class Page(HTMLParser):
    """What a page links to, and what can be linked to in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.ids: set[str] = {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.ids |= {value for key in ("id", "name") if (value := named.get(key))}
        self.targets += [value for key in ("href", "src") if (value := named.get(key))]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet"]
    build += ["-d", str(folder / "trees"), str(ROOT / "docs"), str(folder / "html")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    built = subprocess.run(build, capture_output=True, text=True, env=environment)
    assert built.returncode == 0, built.stderr
    return folder / "html"


def test_every_link_inside_the_site_leads_somewhere(site: Path) -> None:
    pages = {path: Page(path.read_text()) for path in site.rglob("*.html")}
    assert len(pages) > 20
    dead, num = [], 0
    for path, page in pages.items():
        for target in page.targets:
            url = urlsplit(target)
            if url.scheme or url.netloc:
                continue
            num += 1
            goal = (path.parent / unquote(url.path)).resolve() if url.path else path
            if not goal.exists() or (goal in pages and unquote(url.fragment) not in pages[goal].ids):
                dead.append(f"{path.relative_to(site)}: {target}")
    assert dead == []
    assert num > 1000


def test_every_page_of_the_docs_is_in_the_sites_contents(site: Path) -> None:
    contents = Page((site / "index.html").read_text()).targets
    for path in (ROOT / "docs").rglob("*.md"):
        name = path.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
        assert name in contents or name == "index.html", name


def test_the_search_finds_words_of_the_pages(site: Path) -> None:
    index = (site / "searchindex.js").read_text()
    found = json.loads(index[index.index("(") + 1 : index.rindex(")")])
    assert {"vanish", "degrad", "holm"} <= found["terms"].keys()


def test_the_reference_has_every_key_and_every_option(site: Path) -> None:
    config = (site / "reference" / "config.html").read_text()
    for key in flat(Config().tree()):
        assert f">{key.rpartition('.')[2]}<" in config, key
    line = re.sub(r"<[^>]+>", "", (site / "reference" / "cli.html").read_text())
    command = get_command(app)
    for name, one in command.commands.items():  # pyright: ignore[reportAttributeAccessIssue]
        assert f"resexp {name}" in line
        for option in (text for parameter in one.params for text in parameter.opts if text.startswith("--")):
            assert option in line, f"{name} {option}"
