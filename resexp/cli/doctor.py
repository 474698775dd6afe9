"""`resexp doctor`: does the gradient vanish in this net?"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from resexp.cli.options import JsonOption, NameOption, RunsDirOption, SeedsOption
from resexp.cli.output import print_json
from resexp.errors import Exit, UsageError

ILL = ("vanishing", "exploding")


def doctor(
    target: Annotated[str, typer.Argument(help="MODULE:NAME or FILE.py:NAME of what returns an nn.Module.")],
    input_: Annotated[str, typer.Option("--input", help="The shape of one input.")] = "3,32,32",
    batch: Annotated[int, typer.Option(min=1, help="Inputs at a time.")] = 32,
    classes: Annotated[
        int | None, typer.Option(min=2, help="Labels are drawn from so many. Default: the net's outputs.")
    ] = None,
    loss: Annotated[
        str | None, typer.Option(help="MODULE:NAME of loss(output, labels). Default: cross-entropy.")
    ] = None,
    seeds: SeedsOption = 5,
    check: Annotated[
        bool, typer.Option("--check", help="End with 8 where the gradient vanishes or explodes.")
    ] = False,
    name: NameOption = None,
    runs_dir: RunsDirOption = Path("runs"),
    json_: JsonOption = False,
) -> None:
    """Measure the gradient at initialisation in any net, layer by layer. Trains nothing.

    Example: resexp doctor torchvision.models:resnet18 --input 3,64,64

    Example: resexp doctor my_net.py:make --input 1,28,28 --check
    """
    try:
        shape = tuple(int(part) for part in input_.split(","))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise UsageError(f"--input {input_}: whole numbers with commas between, e.g. 3,32,32")
    from resexp.experiments.doctor import Question, run_doctor
    from resexp.report.doctor import doctor_notes, doctor_table
    from resexp.report.progress import display
    from resexp.report.terminal import show

    question = Question(target, shape, batch, classes, loss, seeds)
    with display() as progress:
        command = ["resexp", *sys.argv[1:]]
        folder, document = run_doctor(question, runs_dir=runs_dir, name=name, command=command, show=progress)
    if json_:
        print_json(document.to_json())
    else:
        show(doctor_table(document), *doctor_notes(document), f"Figure: {folder / 'doctor.png'}")
    if check and document.word in ILL:
        raise typer.Exit(Exit.GRADIENT)
