"""claims.html: every claim whose finding lies in the folder, with its answer, drawings and numbers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from resexp.records.files import write_atomic
from resexp.records.run import read_json
from resexp.report.formatting import measured
from resexp.report.html import (
    escape,
    figure,
    finding,
    footer,
    gallery,
    header,
    page,
    paragraph,
    subheading,
    table,
)

TITLE = "What the article says, put to the test"
LEAD = (
    "An article with crayon drawings explains why very deep networks need skip connections. Each thing it "
    "says, or that the papers behind it say, is tried here in a small experiment."
)
SIGNS = {
    "holds": "✓",
    "holds only if": "◐",
    "does not hold": "✗",
    "not resolved": "?",
    "not trained enough to say": "?",
}


def write_page(root: Path, names: Sequence[str]) -> Path:
    """Write root/claims.html from the findings under root, in the order of `names`; return its path."""
    found = [name for name in names if (root / name / "finding.json").exists()]
    path = root / "claims.html"
    write_atomic(
        path, claims_page([(root / name, read_json(root / name / "finding.json")) for name in found]).encode()
    )
    return path


def claims_page(findings: Sequence[tuple[Path, Mapping[str, Any]]]) -> str:
    """Return the page. findings: (folder with the pictures, finding.json) of each claim."""
    documents = [document for _, document in findings]
    parts = [header("resexp claims", TITLE, LEAD), _answers(documents)]
    parts += [_claim(folder, document) for folder, document in findings]
    parts.append(
        footer(
            "Numbers are means over seeds with their 95% t interval in brackets. Made by `resexp claims`; "
            "finding.json in the folder of each claim, beside this page, holds every number for every seed."
        )
    )
    return page(TITLE, parts)


def _answers(documents: Sequence[Mapping[str, Any]]) -> str:
    rows = "\n".join(
        f'<tr><th scope="row"><a href="#{escape(document["name"])}">{escape(document["claim"])}</a></th>'
        f'<td data-label="Answer">{escape(_answer(document))}</td></tr>'
        for document in documents
    )
    return (
        '<section>\n<h2>The answers</h2>\n<div class="scroll">\n<table class="stack">\n'
        '<thead><tr><th scope="col">Claim</th><th scope="col">Answer</th></tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody>\n</table>\n</div>\n</section>"
    )


def _claim(folder: Path, document: Mapping[str, Any]) -> str:
    pictures = [
        figure((folder / picture["file"]).read_text(), "", picture["caption"])
        for picture in document["pictures"]
    ]
    rows = [(m["what"], measured(m), m["n"] or "exact") for m in document["measurements"]]
    numbers = table(("What was measured", "Mean [95% interval]", "Seeds"), rows, numbers=("Seeds",))
    return "\n".join(
        (
            f'<section id="{escape(document["name"])}">',
            f'<p class="kicker">{escape(document["name"])} · {escape(document["source"])}</p>',
            f"<h2>{escape(document['claim'])}</h2>",
            finding(_answer(document)),
            paragraph(document["sentence"]),
            gallery(pictures) if pictures else "",
            subheading("What was done"),
            paragraph(document["setup"]),
            f"<details>\n<summary>All {len(rows)} numbers</summary>\n{numbers}\n</details>",
            "</section>",
        )
    )


def _answer(document: Mapping[str, Any]) -> str:
    answer = document["answer"]
    return f"{SIGNS[answer]} {answer[0].upper()}{answer[1:]}".replace(" ", "\N{NO-BREAK SPACE}")
