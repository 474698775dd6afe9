"""Command-line options that several commands share, and what they mean together."""

from pathlib import Path
from typing import Annotated

import typer

from resexp.cli.completion import config_names, data_names
from resexp.errors import UsageError

ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        help="A YAML file, or the name of a shipped config (see `resexp configs`).",
        autocompletion=config_names,
    ),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Override a config key, e.g. optim.lr=0.05. Repeatable.")
]
RunsDirOption = Annotated[Path, typer.Option("--runs-dir", help="Where runs go.")]
NameOption = Annotated[str | None, typer.Option("--name", help="The folder's name under --runs-dir.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, all else on stderr.")]
DataOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="cifar10, cifar100, svhn, mnist, fashion_mnist, crayons, folder or auto: short for --set "
        "data.name=...",
        autocompletion=data_names,
    ),
]
DepthOption = Annotated[
    str | None,
    typer.Option("--depth", help="Depths, comma-separated, e.g. 20,56: short for --vary model.depth=..."),
]
SeedsOption = Annotated[
    int, typer.Option("--seeds", min=1, max=1000, help="How many seeds, counted up from the config's.")
]


def sets_of(sets: list[str] | None, data: str | None) -> list[str]:
    return [*([f"data.name={data}"] if data else []), *(sets or [])]


def axes_of(vary: list[str] | None, depth: str | None, option: str = "--vary") -> dict[str, list[str]]:
    """`--vary a.b=1,2` and its short spellings as key to values. option: what errors call it."""
    axes: dict[str, list[str]] = {}
    for text in [*(vary or []), *([f"model.depth={depth}"] if depth else [])]:
        key, _, values = text.partition("=")
        if not key or not values or not all(values.split(",")):
            raise UsageError(f"{option} {text}: write KEY=VALUE,VALUE, e.g. model.norm=none,batch")
        if key in axes:
            raise UsageError(f"{option} {text}: {key} is varied twice")
        axes[key] = values.split(",")
    return axes
