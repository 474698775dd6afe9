"""The gradient at initialisation, and the article's claims."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from resexp.cli.options import (
    ConfigOption,
    DataOption,
    DepthOption,
    JsonOption,
    NameOption,
    RunsDirOption,
    SeedsOption,
    SetOption,
    axes_of,
    sets_of,
)
from resexp.cli.printing import print_json


def gradients(
    kind: Annotated[str | None, typer.Option(help="plain, residual; commas between, as in all axes.")] = None,
    depth: DepthOption = None,
    norm: Annotated[str | None, typer.Option(help="batch, none, group, layer.")] = None,
    activation: Annotated[
        str | None, typer.Option(help="relu, sigmoid, tanh, leaky_relu, gelu, silu, identity.")
    ] = None,
    init: Annotated[str | None, typer.Option(help="he, xavier, default, orthogonal.")] = None,
    order: Annotated[str | None, typer.Option(help="post (He 2015), pre (He 2016).")] = None,
    vary: Annotated[
        list[str] | None, typer.Option("--vary", help="Another axis, e.g. model.width=16,32. Repeatable.")
    ] = None,
    seeds: SeedsOption = 5,
    config: ConfigOption = None,
    set_: SetOption = None,
    data: DataOption = None,
    name: NameOption = None,
    runs_dir: RunsDirOption = Path("runs"),
    json_: JsonOption = False,
) -> None:
    """Measure the gradient at initialisation, layer by layer, over a grid of nets. Trains nothing.

    Without options: both kinds, depths 8, 20, 56, with and without batch norm.

    Example: resexp gradients --depth 8,20,56 --norm none,batch --activation relu,sigmoid
    """
    words = {"kind": kind, "norm": norm, "activation": activation, "init": init, "order": order}
    named = [f"model.{key}={values}" for key, values in words.items() if values]
    axes = axes_of([*(vary or []), *named], depth)
    from resexp.study.gradients import grid, run_gradients
    from resexp.views.progress import display

    cells = grid(config, sets_of(set_, data), axes)
    with display() as show:
        command = ["resexp", *sys.argv[1:]]
        folder = run_gradients(cells, seeds, runs_dir=runs_dir, name=name, command=command, show=show)
    _show_gradients(folder, json_)


def _show_gradients(folder: Path, as_json: bool) -> None:
    from resexp.records.run import read_json
    from resexp.views.gradients_table import gradients_table, notes
    from resexp.views.terminal import show

    document = read_json(folder / "gradients.json")
    if as_json:
        print_json(document)
        return
    show(gradients_table(document), *notes(document), f"Figure: {folder / 'gradients.png'}")


def claims(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Which claims; all if none is named.")
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", min=1, max=1000, help="Seeds for each; else 3 or 5, as its minute allows."),
    ] = None,
    runs_dir: RunsDirOption = Path("runs"),
    json_: JsonOption = False,
) -> None:
    """Put the article's claims to the test, each in a small experiment, with drawings.

    Example: resexp claims squiggle highway
    """
    from resexp.claims.catalogue import chosen

    wanted = chosen(names or [])
    from resexp.claims.study import run_claims
    from resexp.views.progress import Fraction, display

    root = runs_dir / "claims"
    with display() as show:
        documents = run_claims(
            wanted,
            root,
            num_seeds=seeds,
            command=["resexp", *sys.argv[1:]],
            watch=lambda name, done: show.update(name, Fraction(done)),
        )
    _show_claims(documents, root, json_)


def _show_claims(documents: list[dict[str, Any]], root: Path, as_json: bool) -> None:
    from resexp.views.claims_table import claims_table
    from resexp.views.terminal import show

    if as_json:
        print_json({"findings": documents})
        return
    answers = [f"{one['name']}: {one['answer']}. {one['sentence']}" for one in documents]
    show(claims_table(documents), *answers, f"Page: {root / 'claims.html'}")
