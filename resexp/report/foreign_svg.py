"""A drawing from a folder (SVG), let into a page: only what our own figures are made of passes.

A page is opened in a browser, and an SVG may hold scripts, styles and addresses. What is not on these lists
keeps the whole drawing out; what is on them is written anew, so that a browser reads what was checked.
"""

import re
from pathlib import Path
from xml.etree import ElementTree

from resexp.errors import RunFolderError
from resexp.records.files import read_regular

MAX_DRAWING_BYTES, MAX_ELEMENTS = 4 << 20, 20_000
NUMBER_LIST = re.compile(r"[-+0-9.eE, ]*")
PATH = re.compile(r"[-+0-9.eE, MmLlHhVvCcSsQqTtAaZz\n]*")
TRANSFORM = re.compile(r"(?:(?:translate|scale|rotate|matrix)\([-+0-9.eE, ]*\) ?)*")
ID = re.compile(r"f[0-9a-f]{8}-[\w.-]+", re.ASCII)
PNG = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=\s]*")
DECLARATION = re.compile(
    r"(?:fill|stroke|opacity|font|text|image|stop)[a-z-]*:"
    r" ?(?:var\(--[a-z]+\)|#[0-9a-fA-F]{3,8}|[A-Za-z0-9.,% '-]*)",
    re.ASCII,
)
STEP = re.compile(r"[0-9]+")
ANY = re.compile(r".*", re.DOTALL)
COMMON = {
    "style": None, "transform": TRANSFORM, "id": ID, "clip-path": None,
    "display": re.compile("none|inline"), "data-step": STEP,
}  # fmt: skip
BOX = dict.fromkeys(("x", "y", "width", "height"), NUMBER_LIST)
ALLOWED: dict[str, dict[str, re.Pattern[str] | None]] = {
    "svg": {"viewBox": NUMBER_LIST, "role": re.compile("img"), "aria-label": ANY},
    "defs": {},
    "g": COMMON,
    "path": {**COMMON, "d": PATH},
    "use": {**COMMON, **BOX, "href": None},
    "text": {**COMMON, **BOX},
    "tspan": {**COMMON, **BOX},
    "clipPath": COMMON,
    "rect": {**COMMON, **BOX},
    "image": {**COMMON, **BOX, "href": PNG},
}
"""Elements, and the form of each attribute; None: looked at by itself."""


def read_drawing(path: Path) -> str:
    """Return the drawing in this file as an <svg> for a page. Raises RunFolderError for what is none."""
    try:
        text = read_regular(path, MAX_DRAWING_BYTES).decode()
    except UnicodeDecodeError as error:
        raise RunFolderError(f"{path}: not a drawing (not UTF-8)") from error
    try:
        return checked(text)
    except (ValueError, RecursionError, ElementTree.ParseError) as error:
        raise RunFolderError(f"{path}: not a drawing of ours ({error})") from error


def checked(text: str) -> str:
    """Return the drawing written anew. Raises ValueError or ParseError for what must not enter a page."""
    # No declarations, entities, comments or CDATA: nothing that XML and HTML read differently.
    if "<!" in text or "<?" in text:
        raise ValueError("a declaration or a comment")
    root = ElementTree.fromstring(text)
    elements = list(root.iter())
    if root.tag != "svg" or len(elements) > MAX_ELEMENTS:
        raise ValueError(f"{len(elements)} elements in a <{root.tag}>")
    targets = {tag: {e.get("id") for e in elements if e.tag == tag} for tag in ("path", "clipPath")}
    for element in elements:
        _check(element, targets, is_root=element is root)
    return ElementTree.tostring(root, encoding="unicode")


def _check(element: ElementTree.Element, targets: dict[str, set[str | None]], *, is_root: bool) -> None:
    allowed = ALLOWED.get(element.tag)
    if allowed is None or (element.tag == "svg") != is_root:
        raise ValueError(f"an element <{element.tag}>")
    for name, value in element.attrib.items():
        if name not in allowed:
            raise ValueError(f"an attribute {name} of <{element.tag}>")
        form = allowed[name]
        fits = form.fullmatch(value) is not None if form else _fits(name, value, targets)
        if not fits:
            raise ValueError(f"{name} of <{element.tag}>: {value[:40]!r}")


def _fits(name: str, value: str, targets: dict[str, set[str | None]]) -> bool:
    if name == "style":
        return all(DECLARATION.fullmatch(part.strip()) for part in value.split(";") if part.strip())
    if name == "clip-path":
        return value.startswith("url(#") and value.endswith(")") and value[5:-1] in targets["clipPath"]
    # A <use> of a path alone: uses of uses could grow without end.
    return value.startswith("#") and value[1:] in targets["path"]
