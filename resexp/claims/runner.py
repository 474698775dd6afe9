"""Running claims: each one's finding in a folder of its own, and the page of all that lie there."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from resexp.claims.finding import Answer, Finding
from resexp.claims.registry import CLAIMS, NUM_SEEDS
from resexp.records.claim import ClaimDocument, MeasurementRow, PartRow, PictureRow
from resexp.records.files import ensure, write_atomic, write_json
from resexp.records.lock import locked
from resexp.records.preflight import admit_kind
from resexp.records.schema import FolderManifest
from resexp.report.claims_page import write_page
from resexp.report.figures.svg import to_svg
from resexp.training.resume import versions

PAGE_PATIENCE = 60.0
"""Seconds to wait for another process that writes the page: it takes one at most."""


def run_claims(
    names: Sequence[str],
    root: Path,
    *,
    num_seeds: int | None,
    command: Sequence[str],
    on_progress: Callable[[str, float], None],
) -> list[dict[str, Any]]:
    """Run these claims, write root/NAME/ for each and root/claims.html; return what each finding.json holds.

    num_seeds: seeds 0, 1, ... for every claim; None takes five. on_progress: told a claim's
    name and how much of it is done, in [0, 1].
    """
    ensure(root)
    documents = []
    for name in names:
        seeds = list(range(num_seeds or NUM_SEEDS))
        with locked(root / name):
            admit_kind(root / name, "claim")
            on_progress(name, 0.0)
            finding = CLAIMS[name](seeds, lambda done, name=name: on_progress(name, done))
            documents.append(write_finding(root / name, finding))
            manifest = FolderManifest(
                kind="claim", command=shlex.join(command), seeds=seeds, versions=versions()
            )
            write_json(root / name / "manifest.json", manifest.to_json())
            on_progress(name, 1.0)
        with locked(root, patience=PAGE_PATIENCE):
            write_page(root, list(CLAIMS))
    return documents


def write_finding(folder: Path, finding: Finding) -> dict[str, Any]:
    """Write finding.json and a file per picture into `folder`; return the document."""
    pictures = []
    for number, picture in enumerate(finding.pictures, start=1):
        file = f"picture{number}.svg"
        write_atomic(folder / file, to_svg(picture.figure, picture.description).encode())
        pictures.append(
            PictureRow(file=file, caption=picture.caption, description=picture.description),
        )
    document = ClaimDocument(
        name=finding.name,
        claim=finding.claim,
        source=finding.source,
        word=finding.answer.word,
        condition=finding.answer.condition,
        answer=finding.answer.text,
        sentence=finding.sentence,
        setup=finding.setup,
        parts=part_rows(finding.answer),
        measurements=tuple(MeasurementRow(**vars(each)) for each in finding.measurements),
        pictures=tuple(pictures),
        details=finding.details,
    ).model_dump()
    write_json(folder / "finding.json", document)
    return document


def part_rows(answer: Answer) -> tuple[PartRow, ...]:
    """Return the premise, if there is one, and every part with its setting."""
    premise = [PartRow(setting=None, **vars(answer.premise))] if answer.premise else []
    parts = (
        PartRow(setting=setting or None, **vars(part))
        for setting, parts in answer.settings.items()
        for part in parts
    )
    return (*premise, *parts)
