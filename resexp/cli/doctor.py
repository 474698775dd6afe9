"""`resexp doctor`: does the gradient vanish in this net?"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resexp.cli.options import DataOption, JsonOption, NameOption, RunsDirOption, SeedsOption, SetOption
from resexp.cli.output import print_json
from resexp.errors import Exit, UsageError

if TYPE_CHECKING:
    from resexp.config import DataSection

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
    data: DataOption = None,
    set_: SetOption = None,
    seeds: SeedsOption = 5,
    train: Annotated[
        int, typer.Option(min=0, max=100_000, help="Measure again after so many steps of SGD, momentum 0.9.")
    ] = 0,
    lr: Annotated[float, typer.Option(help="The rate of these steps.")] = 0.01,
    check: Annotated[
        bool, typer.Option("--check", help="End with 8 where the gradient vanishes or explodes.")
    ] = False,
    name: NameOption = None,
    runs_dir: RunsDirOption = Path("runs"),
    json_: JsonOption = False,
) -> None:
    """Measure the gradient in any net, layer by layer. At initialisation; with --train after steps, too.

    The net is shown noise; with --data images, for which --set takes data.KEY=VALUE.

    Example: resexp doctor torchvision.models:resnet18 --input 3,64,64

    Example: resexp doctor my_net.py:make --input 1,28,28 --check

    Example: resexp doctor torchvision.models:vgg16 --input 3,64,64 --data auto --train 20
    """
    try:
        shape = tuple(int(part) for part in input_.split(","))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise UsageError(f"--input {input_}: whole numbers with commas between, e.g. 3,32,32")
    if not 0 < lr < float("inf"):
        raise UsageError(f"--lr {lr}: a rate above 0")
    images = _section(data, set_)
    from resexp.experiments.doctor import Question, run_doctor
    from resexp.report.doctor import doctor_notes, doctor_table
    from resexp.report.progress import display
    from resexp.report.terminal import show

    question = Question(target, shape, batch, classes, loss, seeds, images, train, lr)
    with display() as progress:
        command = ["resexp", *sys.argv[1:]]
        folder, document = run_doctor(question, runs_dir=runs_dir, name=name, command=command, show=progress)
    if json_:
        print_json(document.to_json())
    else:
        show(doctor_table(document), *doctor_notes(document), f"Figure: {folder / 'doctor.png'}")
    if check and any(reading.word in ILL for reading in document.readings):
        raise typer.Exit(Exit.GRADIENT)


def _section(data: str | None, sets: list[str] | None) -> "DataSection | None":
    """Return where the images come from, None for noise."""
    for text in sets or []:
        if not text.startswith("data."):
            raise UsageError(f"doctor --set {text}: allowed are data.KEY=VALUE; the net is your own")
    if data is None:
        if sets:
            raise UsageError(f"doctor --set {sets[0]}: goes with --data")
        return None
    from resexp.config.load import load

    return load(None, [f"data.name={data}", *(sets or [])], {}).data
