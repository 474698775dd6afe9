"""Carry out claims and write down what they found: a folder each, and the page of all that lie there."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from resexp.claims.finding import Finding
from resexp.claims.registry import CLAIMS, SEEDS
from resexp.records.files import ensure, write_atomic, write_json
from resexp.records.lock import locked
from resexp.records.preflight import admit_kind
from resexp.report.claims_page import write_page
from resexp.report.figures.svg import to_svg
from resexp.training.resume import versions

Watch = Callable[[str, float], None]
"""Told a claim's name and how much of it is done, in [0, 1]."""


def run_claims(
    names: Sequence[str], root: Path, *, num_seeds: int | None, command: Sequence[str], watch: Watch
) -> list[dict[str, Any]]:
    """Run these claims, write root/NAME/ for each and root/claims.html; return what each finding.json holds.

    num_seeds: seeds 0, 1, ... for every claim; None takes each claim's own number.
    """
    ensure(root)
    documents = []
    for name in names:
        seeds = list(range(num_seeds or SEEDS[name]))
        with locked(root / name):
            admit_kind(root / name, "claim")
            watch(name, 0.0)
            finding = CLAIMS[name](seeds, lambda done, name=name: watch(name, done))
            documents.append(write_finding(root / name, finding))
            manifest = {
                "kind": "claim",
                "command": shlex.join(command),
                "seeds": seeds,
                "versions": versions(),
            }
            write_json(root / name / "manifest.json", manifest)
            watch(name, 1.0)
        write_page(root, list(CLAIMS))
    return documents


def write_finding(folder: Path, finding: Finding) -> dict[str, Any]:
    """Write finding.json and a file per picture into `folder`; return the document."""
    pictures = []
    for number, picture in enumerate(finding.pictures, start=1):
        file = f"picture{number}.svg"
        write_atomic(folder / file, to_svg(picture.figure, picture.description).encode())
        pictures.append({"file": file, "caption": picture.caption, "description": picture.description})
    document = {
        "name": finding.name,
        "claim": finding.claim,
        "source": finding.source,
        "answer": finding.answer,
        "sentence": finding.sentence,
        "setup": finding.setup,
        "measurements": [asdict(measurement) for measurement in finding.measurements],
        "pictures": pictures,
        "details": finding.details,
    }
    write_json(folder / "finding.json", document)
    return document
