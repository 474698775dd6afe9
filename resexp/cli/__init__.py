"""The command line: parse, call one function, print. What commands are called and how an error ends them."""

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from resexp._version import __version__
from resexp.cli.claims import claims
from resexp.cli.compare import compare, report
from resexp.cli.configs import configs, validate
from resexp.cli.data import fetch, verify_data
from resexp.cli.doctor import doctor
from resexp.cli.export import export
from resexp.cli.gradients import gradients
from resexp.cli.output import never_fail_for_a_letter, note
from resexp.cli.runs import board, runs, verify_run
from resexp.cli.train import train
from resexp.errors import UsageError, as_told
from resexp.signals import heeded, leave_at_once

HELP = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(
    name="resexp",
    help="Why do skip connections make very deep networks trainable? Train a plain net and its residual "
    "twin, measure the gradient layer by layer, and see.\n\nBegin with: resexp compare plain residual",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=HELP,
)
for command in (train, compare, gradients, doctor, claims, board, report, export, runs, validate, configs):
    app.command()(command)
app.command("verify")(verify_run)

data_app = typer.Typer(
    help="Data sets: get one, or check what is there.", no_args_is_help=True, context_settings=HELP
)
app.add_typer(data_app, name="data")
data_app.command()(fetch)
data_app.command("verify")(verify_data)


def _version(shown: bool) -> None:
    if shown:
        print(f"resexp {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    if debug:
        os.environ["RESEXP_DEBUG"] = "1"


def main() -> None:
    """Run a command; what the user can mend becomes one line on stderr and an exit code."""
    for number in heeded():
        signal.signal(number, leave_at_once)
    # Waiting threads shall sleep: spinning, two threads were 5 times slower where another program had one of
    # the two cores (3 of 3 pairs), and 0 to 13% faster where none had (4 pairs). Read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    never_fail_for_a_letter()
    code = _exit_code()
    if os.environ.get("WORLD_SIZE", "1") != "1":
        # Threads that speak to other ranks may still run, whether those are gone or have just ended, too: on
        # Python's own way out such a thread can abort the process and hide its exit code.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _exit_code() -> int:
    """Carry the command out, say what went wrong, and return what to end with."""
    try:
        _refuse_empty(sys.argv[1:])
        sys.argv[1:] = [_with_home(word) for word in sys.argv[1:]]
        app()
    except SystemExit as end:  # typer's own way out, with or without a mistake in the options
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception as error:
        if os.environ.get("RESEXP_DEBUG"):
            traceback.print_exc()
        code, lines = as_told(error)
        note(*lines)
        return code
    return 0


def _with_home(word: str) -> str:
    """Return the word with a ~ at the beginning of a path as the home folder: shells leave --runs-dir=~/x."""
    option, equals, path = word.partition("=") if word.startswith("--") else ("", "", word)
    return option + equals + os.path.expanduser(path) if path.startswith("~") else word


def _refuse_empty(words: Sequence[str]) -> None:
    """An unset shell variable is not what anybody means."""
    for k, word in enumerate(words):
        if not word.strip() or (word.startswith("--") and word.endswith("=")):
            after = f" after {words[k - 1]}" if k and not word.startswith("--") else ""
            raise UsageError(f"{word.rstrip('=') or 'an argument'}{after} is empty; leave it out or say what")
