"""`resexp gradients`: the gradient at initialisation."""

import sys
from pathlib import Path
from typing import Annotated

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
from resexp.cli.output import print_json


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
    """Measure the gradient at initialisation. Layer by layer, over a grid of nets; trains nothing.

    Without options: both kinds, depths 8, 20, 56, with and without batch norm.

    Example: resexp gradients --depth 8,20,56 --norm none,batch --activation relu,sigmoid
    """
    words = {"kind": kind, "norm": norm, "activation": activation, "init": init, "order": order}
    named = [f"model.{key}={values}" for key, values in words.items() if values]
    axes = axes_of([*(vary or []), *named], depth)
    from resexp.experiments.init_gradients import grid, run_gradients
    from resexp.report.progress import display

    cells = grid(config, sets_of(set_, data), axes)
    with display() as show:
        command = ["resexp", *sys.argv[1:]]
        folder = run_gradients(cells, seeds, runs_dir=runs_dir, name=name, command=command, show=show)
    _show_gradients(folder, json_)


def _show_gradients(folder: Path, as_json: bool) -> None:
    from resexp.records.run import read_json
    from resexp.report.terminal import gradients_notes, gradients_table, show

    document = read_json(folder / "gradients.json")
    if as_json:
        print_json(document)
        return
    show(gradients_table(document), *gradients_notes(document), f"Figure: {folder / 'gradients.png'}")
