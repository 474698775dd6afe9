"""Running claims: each one's finding in a folder of its own, and the page of all that lie there."""

import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from resexp.claims.finding import Answer, Finding
from resexp.claims.registry import CLAIMS, NUM_SEEDS
from resexp.errors import InUseError
from resexp.records.claim import ClaimDocument, MeasurementRow, PartRow, PictureRow
from resexp.records.files import ensure, json_bytes
from resexp.records.lock import locked
from resexp.records.manifest import FolderManifest
from resexp.records.preflight import admit_kind
from resexp.records.together import complete, replace_together
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
    _admit_all([root / name for name in names])
    documents = []
    for name in names:
        seeds = list(range(num_seeds or NUM_SEEDS))
        with _admitted(root / name):
            on_progress(name, 0.0)
            finding = CLAIMS[name](seeds, lambda done, name=name: on_progress(name, done))
            manifest = FolderManifest(
                kind="claim", command=shlex.join(command), seeds=seeds, versions=versions()
            )
            documents.append(write_finding(root / name, finding, manifest))
            on_progress(name, 1.0)
        with locked(root, patience=PAGE_PATIENCE):
            write_page(root, list(CLAIMS))
    return documents


def _admit_all(folders: Sequence[Path]) -> None:
    """Raise RunFolderError before anything is run where one of these folders holds something else."""
    for folder in folders:
        # One that another process has is a claim's, and may be free again when its turn comes.
        if os.path.lexists(folder):
            with suppress(InUseError), _admitted(folder):
                pass


@contextmanager
def _admitted(folder: Path) -> Iterator[None]:
    """Hold a claim's folder, in which what a kill left is brought to its end."""
    with locked(folder):
        complete(folder)
        admit_kind(folder, "claim", mend="move it, or choose another --runs-dir")
        yield


def write_finding(folder: Path, finding: Finding, manifest: FolderManifest | None = None) -> dict[str, Any]:
    """Write finding.json, a file per picture and the manifest into `folder`; return the finding's document.

    A kill leaves what was there before, or all of it.
    """
    files = {
        f"picture{number}.svg": to_svg(picture.figure, picture.description).encode()
        for number, picture in enumerate(finding.pictures, start=1)
    }
    document = _document(finding, list(files))
    files["finding.json"] = json_bytes(document)
    if manifest is not None:
        files["manifest.json"] = json_bytes(manifest.to_json())
    replace_together(folder, files, removed=[])
    return document


def _document(finding: Finding, files: Sequence[str]) -> dict[str, Any]:
    return ClaimDocument(
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
        pictures=tuple(
            PictureRow(file=file, caption=picture.caption, description=picture.description)
            for file, picture in zip(files, finding.pictures, strict=True)
        ),
        details=finding.details,
    ).model_dump()


def part_rows(answer: Answer) -> tuple[PartRow, ...]:
    """Return the premise, if there is one, and every part with its setting."""
    premise = [PartRow(setting=None, **vars(answer.premise))] if answer.premise else []
    parts = (
        PartRow(setting=setting or None, **vars(part))
        for setting, parts in answer.settings.items()
        for part in parts
    )
    return (*premise, *parts)
