"""`resexp claims`: the article's claims put to the test."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from resexp.cli.options import (
    JsonOption,
    RunsDirOption,
)
from resexp.cli.output import print_json


def claims(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Which claims; all if none is named.")
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", min=1, max=1000, help="Seeds for each; else 5: fewer give no words."),
    ] = None,
    runs_dir: RunsDirOption = Path("runs"),
    json_: JsonOption = False,
) -> None:
    """Put the article's claims to the test. Each is a small experiment, with drawings.

    Example: resexp claims squiggle highway
    """
    from resexp.claims.registry import chosen

    wanted = chosen(names or [])
    from resexp.claims.runner import run_claims
    from resexp.report.progress import Fraction, display

    root = runs_dir / "claims"
    with display() as show:
        documents = run_claims(
            wanted,
            root,
            num_seeds=seeds,
            command=["resexp", *sys.argv[1:]],
            on_progress=lambda name, done: show.update(name, Fraction(done)),
        )
    _show_claims(documents, root, json_)


def _show_claims(documents: list[dict[str, Any]], root: Path, as_json: bool) -> None:
    from resexp.records.claim import ClaimDocument
    from resexp.report.terminal import claims_table, show

    if as_json:
        print_json({"findings": documents})
        return
    answers = [
        f"{one.name}: {one.answer}. {one.sentence}" for one in map(ClaimDocument.model_validate, documents)
    ]
    show(claims_table(documents), *answers, f"Page: {root / 'claims.html'}")
