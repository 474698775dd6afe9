"""claims.html: every claim whose finding lies in the folder, with its answer, drawings and numbers.

A folder may be anybody's: what is in it is checked, and one that cannot be shown keeps no other from it.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resexp.errors import RunFolderError
from resexp.records.claim import AnswerWord, ClaimDocument, PictureRow, read_claim
from resexp.records.files import write_atomic
from resexp.report.foreign_svg import read_drawing
from resexp.report.formatting import first_upper, measured
from resexp.report.html import (
    figure,
    finding,
    footer,
    gallery,
    header,
    page,
    paragraph,
    section,
    subheading,
    table,
    templates,
)

TITLE = "What the article says, put to the test"
LEAD = (
    "An article with crayon drawings explains why very deep networks need skip connections. Each thing it "
    "says, or that the papers behind it say, is tried here in a small experiment."
)
SIGNS: dict[AnswerWord, str] = {
    "holds": "✓",
    "holds only if": "◐",
    "does not hold": "✗",
    "not resolved": "?",
    "not trained enough to say": "?",
    "nothing to cure": "–",
}
FOUND = {True: "so", False: "not so", None: "not resolved"}


def write_page(root: Path, names: Sequence[str]) -> Path:
    """Write root/claims.html from the findings under root, in the order of `names`; return its path.

    root's lock is held, or two processes could each leave out what the other has just found.
    """
    path = root / "claims.html"
    write_atomic(path, claims_page([root / name for name in names]).encode())
    return path


def claims_page(folders: Sequence[Path]) -> str:
    """Return the page of the findings in these folders, each of which bears its claim's name."""
    found: dict[Path, ClaimDocument] = {}
    faults: list[str] = []
    for folder in folders:
        try:
            # A link that leads nowhere is there, too, and to be told.
            if os.path.lexists(folder) and (not folder.is_dir() or os.path.lexists(folder / "finding.json")):
                found[folder] = read_claim(folder)
        except (RunFolderError, OSError) as error:
            faults.append(str(error))
    parts = [header("resexp claims", TITLE, LEAD), _parts().answers(list(found.values()), _answer)]
    parts += [_claim(folder, document) for folder, document in found.items()]
    if faults:
        parts.append(section("Not shown", *(paragraph(f"{fault}.", kind="note") for fault in faults)))
    parts.append(
        footer(
            "Numbers are means over seeds with their 95% t interval in brackets. Made by `resexp claims`; "
            "finding.json in the folder of each claim, beside this page, holds every number for every seed."
        )
    )
    return page(TITLE, parts)


def _parts() -> Any:
    return templates().get_template("claims.html").module


def _claim(folder: Path, document: ClaimDocument) -> str:
    pictures = [_picture(folder, picture) for picture in document.pictures]
    rows = [(m.what, measured(m.model_dump()), m.n or "exact") for m in document.measurements]
    asked = [(p.says, p.setting or "everywhere", FOUND[p.found], p.evidence) for p in document.parts]
    parts = [
        finding(_answer(document)),
        paragraph(document.sentence),
        *([gallery(pictures)] if pictures else []),
        subheading("What the answer rests on"),
        table(("What is asked", "Where", "Found", "Measured"), asked),
        subheading("What was done"),
        paragraph(document.setup),
    ]
    numbers = table(("What was measured", "Mean [95% interval]", "Seeds"), rows, numbers=("Seeds",))
    return _parts().claim(document, parts, numbers, len(rows))


def _picture(folder: Path, picture: PictureRow) -> str:
    try:
        return figure(read_drawing(folder / picture.file), "", picture.caption)
    except RunFolderError as error:
        return paragraph(f"Not shown: {error}.", kind="note")


def _answer(document: ClaimDocument) -> str:
    return f"{SIGNS[document.word]}\N{NO-BREAK SPACE}{first_upper(document.answer)}"
