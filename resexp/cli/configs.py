"""`resexp validate` and `configs`: check a config, list the shipped ones."""

from typing import Annotated

import typer

from resexp.cli.completion import config_names
from resexp.cli.options import ConfigOption, JsonOption, SetOption
from resexp.cli.output import note, print_json
from resexp.errors import UsageError


def validate(
    config: Annotated[
        str | None,
        typer.Argument(help="A YAML file or the name of a shipped config.", autocompletion=config_names),
    ] = None,
    set_: SetOption = None,
    config_option: ConfigOption = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema for editors.")] = False,
    json_: JsonOption = False,
) -> None:
    """Check a config and print it with every default filled in. Trains nothing.

    Example: resexp validate residual56 --set model.depth=20
    """
    from resexp.config import json_schema, write
    from resexp.config.load import load
    from resexp.training.lr_schedule import falls_short

    if schema:
        print_json(json_schema())
        return
    if (config is None) == (config_option is None):
        raise UsageError("validate needs one CONFIG, or --schema")
    made = load(config or config_option, set_ or [])
    if short := falls_short(made.optim):
        note(short)
    if json_:
        print_json(made.tree())
    else:
        print(write(made), end="")


def configs(json_: JsonOption = False) -> None:
    """List the shipped configs, each with the question it asks.

    Example: resexp configs
    """
    from resexp.config.load import shipped
    from resexp.report.terminal import show
    from resexp.report.text_table import text_table

    rows = [{"name": name, "question": question} for name, question in shipped()]
    if json_:
        print_json(rows)
    else:
        show(text_table(rows))
