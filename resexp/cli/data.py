"""`resexp data`: get a data set, or check what is there."""

from pathlib import Path
from typing import Annotated

import typer

from resexp.cli.completion import published_names
from resexp.cli.output import note
from resexp.errors import UsageError

NameArgument = Annotated[
    str,
    typer.Argument(
        help="cifar10, cifar100, svhn, mnist or fashion_mnist.",
        autocompletion=published_names,
        show_default=True,
    ),
]
RootOption = Annotated[Path, typer.Option(help="Where it lies.")]


def fetch(name: NameArgument = "cifar10", root: RootOption = Path("data")) -> None:
    """Download a data set, check it and unpack it. CIFAR-10 (170 MB) unless another is named.

    CIFAR-100 has 169 MB, SVHN 246, MNIST 12, Fashion-MNIST 31.

    Example: resexp data fetch --root data

    Example: resexp data fetch fashion_mnist
    """
    _known(name, "fetch")
    from resexp.data import sets
    from resexp.report.progress import Fraction, display

    with display() as show:

        def progress(received: int, expected: int | None) -> None:
            if expected:
                show.update(f"{sets.title_of(name)}, % received", Fraction(received / expected))

        said = sets.fetch_named(name, root, progress=progress)
    note(said)


def verify_data(name: NameArgument = "cifar10", root: RootOption = Path("data")) -> None:
    """Check the files of a data set that are there.

    Example: resexp data verify --root data

    Example: resexp data verify svhn
    """
    _known(name, "verify")
    from resexp.data import sets

    note(sets.verify_named(name, root))


def _known(name: str, command: str) -> None:
    from resexp.config.words import PUBLISHED

    if name not in PUBLISHED:
        raise UsageError(f"data {command} {name}: allowed are {', '.join(PUBLISHED)}")
