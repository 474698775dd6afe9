"""The commands: parse, call one function, print."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from resexp import __version__
from resexp.errors import Exit, InUseError, ResexpError, RunFolderError, UsageError
from resexp.training.signals import SIGNALS, leave_at_once

if TYPE_CHECKING:
    from resexp.config import Config, DataSection

app = typer.Typer(
    name="resexp",
    help="Why do skip connections make very deep networks trainable? Train a plain net and its residual "
    "twin, measure the gradient layer by layer, and see.\n\nBegin with: resexp compare plain residual",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(help="CIFAR-10: get it, or check what is there.", no_args_is_help=True)
app.add_typer(data_app, name="data")

ConfigOption = Annotated[
    str | None,
    typer.Option("--config", help="A YAML file, or the name of a shipped config (see `resexp configs`)."),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Override a config key, e.g. optim.lr=0.05. Repeatable.")
]
RunsDirOption = Annotated[Path, typer.Option("--runs-dir", help="Where runs go.")]
NameOption = Annotated[str | None, typer.Option("--name", help="The folder's name under --runs-dir.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, all else on stderr.")]
DataOption = Annotated[
    str | None, typer.Option("--data", help="cifar10, crayons, folder or auto: short for --set data.name=...")
]
DepthOption = Annotated[
    str | None,
    typer.Option("--depth", help="Depths, comma-separated, e.g. 20,56: short for --vary model.depth=..."),
]
SeedsOption = Annotated[
    int, typer.Option("--seeds", min=1, max=1000, help="How many seeds, counted up from the config's.")
]


def _version(shown: bool) -> None:
    if shown:
        print(f"resexp {__version__}")  # noqa: T201
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


@app.command()
def train(
    config: ConfigOption = None,
    set_: SetOption = None,
    data: DataOption = None,
    name: NameOption = None,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume",
            help="A run folder to go on with; or `auto`: the one this config belongs to, if it is there.",
        ),
    ] = None,
    runs_dir: RunsDirOption = Path("runs"),
    json_: JsonOption = False,
) -> None:
    """Train one net.

    Example: resexp train --config residual56 --set optim.steps=500
    """
    from resexp.config import load
    from resexp.records.admission import admit
    from resexp.records.folder import child, locked
    from resexp.records.run import Run

    sets = _sets(set_, data)
    if resume not in (None, "auto"):
        if config or sets or name:
            raise UsageError(
                "train --resume RUN goes on with that run as it is: no --config, --set, --data or --name"
            )
        folder = Path(resume)
        if not os.path.isfile(folder / "config.yaml"):  # False, too, where one may not look
            raise RunFolderError(
                f"{folder}: no run to go on with, it holds no config.yaml; see `resexp runs`"
            )
        made = Run(folder).config
    else:
        if config is None:
            raise UsageError(
                "train needs --config FILE (or a shipped name, see `resexp configs`), or --resume RUN"
            )
        made = load(config, [*sets, *([f"name={name}"] if name else [])])
        folder = child(runs_dir, made.name)
    with locked(folder):
        admission = admit(folder, made, resume=resume is not None)
        if admission == "finished":
            _note(f"{folder}: {Run(folder).status} already; nothing to do")
        else:
            _train(folder, made, Run(folder).data_section if admission == "resume" else made.data)
        _show_runs([Run(folder)], json_)
        if Run(folder).status == "diverged":
            raise typer.Exit(Exit.DIVERGED)


def _train(folder: Path, config: "Config", data: "DataSection") -> None:
    from resexp.data.splits import load
    from resexp.training.loop import run
    from resexp.training.signals import stop_on_signals
    from resexp.views.progress import display

    with stop_on_signals() as stop, display() as show:
        splits = load(data)
        show.say(f"data: {splits.described}")
        run(config, folder, splits, stop=stop, report=lambda p: show.update(config.name, p), say=show.say)


@app.command()
def compare(
    arms: Annotated[
        list[str], typer.Argument(help="plain, residual, a config, or a finished run's folder, in any mix.")
    ],
    config: ConfigOption = None,
    set_: SetOption = None,
    data: DataOption = None,
    depth: DepthOption = None,
    seeds: SeedsOption = 1,
    vary: Annotated[
        list[str] | None, typer.Option("--vary", help="An axis, e.g. model.norm=none,batch. Repeatable.")
    ] = None,
    name: NameOption = None,
    runs_dir: RunsDirOption = Path("runs"),
    json_: JsonOption = False,
) -> None:
    """Train arms under the same conditions and say what differs.

    Without --config this is the quick look: four nets of depth 56, {no norm, batch norm} x arms, 150 steps.

    Example: resexp compare plain residual

    Example: resexp compare plain residual --config he2015 --depth 20,56 --seeds 5
    """
    from resexp.study.plan import make_plan

    plan = make_plan(
        arms,
        runs_dir=runs_dir,
        config=config,
        sets=_sets(set_, data),
        vary=_axes(vary, depth),
        num_seeds=seeds,
        name=name,
    )
    from resexp.records.admission import admit_kind
    from resexp.records.folder import locked

    with locked(plan.folder):
        admit_kind(plan.folder, "comparison")
        from resexp.study.comparison import run_plan
        from resexp.training.signals import stop_on_signals
        from resexp.views.progress import display

        with stop_on_signals() as stop, display() as show:
            run_plan(plan, command=["resexp", *sys.argv[1:]], stop=stop, show=show)
    _show_comparison(plan.folder, json_)


@app.command()
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
    axes = _axes([*(vary or []), *named], depth)
    from resexp.study.gradients import grid, run_gradients
    from resexp.views.progress import display

    cells = grid(config, _sets(set_, data), axes)
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
        _print_json(document)
        return
    show(gradients_table(document), *notes(document), f"Figure: {folder / 'gradients.png'}")


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A comparison's folder.")],
    json_: JsonOption = False,
) -> None:
    """Build a comparison's page and tables again, from what is recorded.

    Example: resexp report runs/compare-1a2b3c4d
    """
    from resexp.views.report import write_report

    write_report(folder)
    _show_comparison(folder, json_)


def _show_comparison(folder: Path, as_json: bool) -> None:
    from resexp.records.run import read_json
    from resexp.views.tables import comparison_table
    from resexp.views.terminal import show

    document = read_json(folder / "comparison.json")
    if as_json:
        _print_json(document)
        return
    sentences = [verdict["sentence"] for verdict in document["verdicts"]]
    show(comparison_table(folder), *sentences, f"Report: {folder / 'report.html'}")


@app.command()
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
        _print_json({"findings": documents})
        return
    answers = [f"{one['name']}: {one['answer']}. {one['sentence']}" for one in documents]
    show(claims_table(documents), *answers, f"Page: {root / 'claims.html'}")


@app.command()
def board(
    runs_dir: RunsDirOption = Path("runs"),
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 6006,
) -> None:
    """Open TensorBoard on the runs.

    Example: resexp board --port 6007
    """
    if not runs_dir.is_dir():
        raise UsageError(f"--runs-dir {runs_dir}: no such folder; train something first")
    arguments = ["--logdir", str(runs_dir), "--host", host, "--port", str(port)]
    arguments += ["--samples_per_plugin", "images=100"]
    os.execv(sys.executable, [sys.executable, "-m", "tensorboard.main", *arguments])


@app.command("verify")
def verify_run(
    folder: Annotated[Path, typer.Argument(help="A run's folder.")],
    json_: JsonOption = False,
) -> None:
    """Check a run: every digest again, and the steps between its last two checkpoints trained again.

    Example: resexp verify runs/residual56
    """
    from resexp.records.folder import is_locked
    from resexp.records.run import Run

    data = Run(folder).data_section
    if is_locked(folder):
        raise InUseError(f"{folder}: still being written; verify it when it has stopped")
    from resexp.data.splits import load
    from resexp.study.verification import verify

    checks = []
    for check in verify(folder, lambda: load(data)):
        checks.append(check._asdict())
        if not json_:
            print(f"{'holds' if check.holds else 'FAILS'}  {check.what}: {check.seen}", flush=True)  # noqa: T201
    if json_:
        _print_json({"folder": str(folder), "checks": checks})
    if broken := [check["what"] for check in checks if not check["holds"]]:
        raise RunFolderError(f"{folder}: not what it says: {', '.join(broken)}")


@app.command()
def runs(
    runs_dir: RunsDirOption = Path("runs"),
    status: Annotated[
        str | None, typer.Option(help="Only these: finished, diverged, running or unfinished.")
    ] = None,
    arm: Annotated[str | None, typer.Option(help="Only plain or residual nets.")] = None,
    depth: Annotated[int | None, typer.Option(help="Only nets of this depth.")] = None,
    seed: Annotated[int | None, typer.Option(help="Only this seed.")] = None,
    json_: JsonOption = False,
) -> None:
    """List runs: status, arm, depth, seed, accuracy.

    Example: resexp runs --status finished --depth 56
    """
    from resexp.records.run import scan

    if status not in (None, "finished", "diverged", "running", "unfinished"):
        raise UsageError(f"runs --status {status}: allowed are finished, diverged, running, unfinished")
    if arm not in (None, "plain", "residual"):
        raise UsageError(f"runs --arm {arm}: allowed are plain and residual")
    found = []
    for run, fault in scan(runs_dir):
        if fault is not None:
            _note(*fault.lines)
            continue
        model = run.config.model
        wanted = {status: run.status, arm: model.kind, depth: model.depth, seed: run.config.seed}
        if all(want is None or want == have for want, have in wanted.items()):
            found.append(run)
    _show_runs(found, json_)


def _show_runs(found: list[Any], as_json: bool) -> None:
    from resexp.views.tables import run_rows, runs_table
    from resexp.views.terminal import show

    if as_json:
        _print_json(run_rows(found))
    else:
        show(runs_table(found))


@app.command()
def validate(
    config: Annotated[str | None, typer.Argument(help="A YAML file or the name of a shipped config.")] = None,
    set_: SetOption = None,
    config_option: ConfigOption = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema for editors.")] = False,
    json_: JsonOption = False,
) -> None:
    """Check a config and print it with every default filled in. Trains nothing.

    Example: resexp validate configs/residual56.yaml --set model.depth=20
    """
    from resexp.config import json_schema, load, write

    if schema:
        _print_json(json_schema())
        return
    if (config is None) == (config_option is None):
        raise UsageError("validate needs one CONFIG, or --schema")
    made = load(config or config_option, set_ or [])
    if json_:
        _print_json(made.tree())
    else:
        print(write(made), end="")  # noqa: T201


@app.command()
def configs(json_: JsonOption = False) -> None:
    """List the shipped configs, each with the question it asks.

    Example: resexp configs
    """
    from resexp.shipped import shipped
    from resexp.views.tables import plain_table
    from resexp.views.terminal import show

    rows = [{"name": name, "question": question} for name, question in shipped()]
    if json_:
        _print_json(rows)
    else:
        show(plain_table(rows))


@data_app.command()
def fetch(root: Annotated[Path, typer.Option(help="Where CIFAR-10 goes.")] = Path("data")) -> None:
    """Download CIFAR-10 (170 MB), check it and unpack it.

    Example: resexp data fetch --root data
    """
    from resexp.data.cifar10 import fetch as fetch_cifar10

    fetch_cifar10(root)
    _note(f"{root}: CIFAR-10 is there and its checksums are right")


@data_app.command()
def verify(root: Annotated[Path, typer.Option(help="Where CIFAR-10 lies.")] = Path("data")) -> None:
    """Check the CIFAR-10 files that are there.

    Example: resexp data verify --root data
    """
    from resexp.data.cifar10 import verify as verify_cifar10

    verify_cifar10(root)
    _note(f"{root}: CIFAR-10 is there and its checksums are right")


def _sets(sets: list[str] | None, data: str | None) -> list[str]:
    return [*([f"data.name={data}"] if data else []), *(sets or [])]


def _axes(vary: list[str] | None, depth: str | None) -> dict[str, list[str]]:
    """`--vary a.b=1,2` and its short spellings as key to values."""
    axes: dict[str, list[str]] = {}
    for text in [*(vary or []), *([f"model.depth={depth}"] if depth else [])]:
        key, _, values = text.partition("=")
        if not key or not values or not all(values.split(",")):
            raise UsageError(f"--vary {text}: write KEY=VALUE,VALUE, e.g. model.norm=none,batch")
        if key in axes:
            raise UsageError(f"--vary {text}: {key} is varied twice")
        axes[key] = values.split(",")
    return axes


def _print_json(value: Any) -> None:
    print(json.dumps(value, allow_nan=False, ensure_ascii=False, indent=1))  # noqa: T201


def _note(*lines: str) -> None:
    print(*lines, sep="\n", file=sys.stderr)  # noqa: T201


def main() -> None:
    """Run a command; what the user can mend becomes one line on stderr and an exit code."""
    for number in SIGNALS:
        signal.signal(number, leave_at_once)
    # Waiting threads shall sleep: spinning, two threads were 5 times slower where another program had one of
    # the two cores (3 of 3 pairs), and 0 to 13% faster where none had (4 pairs). Read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except Exception as error:
        if os.environ.get("RESEXP_DEBUG"):
            raise
        if isinstance(error, ResexpError):
            _note(*error.lines)
            sys.exit(error.code)
        if isinstance(error, MemoryError):
            _note("out of memory")
            sys.exit(Exit.RESOURCES)
        first_line = str(error).partition("\n")[0]
        _note(f"a bug in resexp: {type(error).__name__}: {first_line}; `resexp --debug COMMAND` shows where")
        sys.exit(Exit.BUG)
