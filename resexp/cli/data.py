"""`resexp data`: get CIFAR-10, or check what is there."""

from pathlib import Path
from typing import Annotated

import typer

from resexp.cli.output import note


def fetch(root: Annotated[Path, typer.Option(help="Where CIFAR-10 goes.")] = Path("data")) -> None:
    """Download CIFAR-10 (170 MB), check it and unpack it.

    Example: resexp data fetch --root data
    """
    from resexp.data.cifar10 import fetch_cifar10 as fetch_cifar10
    from resexp.report.progress import Fraction, display

    with display() as show:

        def progress(received: int, expected: int | None) -> None:
            if expected:
                show.update("CIFAR-10, % received", Fraction(received / expected))

        said = fetch_cifar10(root, progress=progress)
    note(said)


def verify_data(root: Annotated[Path, typer.Option(help="Where CIFAR-10 lies.")] = Path("data")) -> None:
    """Check the CIFAR-10 files that are there.

    Example: resexp data verify --root data
    """
    from resexp.data.cifar10 import verify_cifar10 as verify_cifar10

    note(verify_cifar10(root))
