"""`resexp runs`, `verify` and `board`: look at what was recorded."""

import os
import socket
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from resexp.cli.completion import run_folders
from resexp.cli.options import JsonOption, RunsDirOption
from resexp.cli.output import note, print_json
from resexp.config.yaml_nodes import without_commands
from resexp.errors import InUseError, RunFolderError, UsageError

HOW_TO_SET = (
    "In TensorBoard: settings (at the right), Smoothing 0, or each curve is a running mean;",
    'untick "Ignore outliers in chart scaling", or the curve that differs most is cut off.',
    "Begin with Custom Scalars, then Images.",
)


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
    if runs_dir.exists() and not runs_dir.is_dir():
        raise RunFolderError(f"--runs-dir {runs_dir}: not a folder")
    if not runs_dir.exists():
        note(f"{runs_dir}: no such folder yet; train something first")
    found = []
    for run, fault in scan(runs_dir):
        if fault is not None:
            note(*fault.lines)
            continue
        model = run.config.model
        wanted, have = (status, arm, depth, seed), (run.status, model.kind, model.depth, run.config.seed)
        if all(one in (None, other) for one, other in zip(wanted, have, strict=True)):
            found.append(run)
    show_runs(found, json_)


def show_runs(found: list[Any], as_json: bool) -> None:
    from resexp.report.tables import run_rows, runs_table
    from resexp.report.terminal import show

    if as_json:
        print_json(run_rows(found))
    else:
        show(runs_table(found))


def verify_run(
    folder: Annotated[Path, typer.Argument(help="A run's folder.", autocompletion=run_folders)],
    badge: Annotated[
        Path | None, typer.Option(help="Write a badge (SVG) here, and a line for a README to stdout.")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Check a run. Every digest again, and the steps between its last two checkpoints trained again.

    Example: resexp verify runs/residual56

    Example: resexp verify runs/residual56 --badge residual56.svg
    """
    from resexp.records.lock import is_locked
    from resexp.records.run import Run

    data = Run(folder).data_section
    if is_locked(folder):
        raise InUseError(f"{folder}: still being written; verify it when it has stopped")
    from resexp.data.splits import load
    from resexp.experiments.verify import verify

    checks = []
    for check in verify(folder, lambda: load(data)):
        checks.append(check._asdict())
        if not json_:
            line = f"{'holds' if check.holds else 'FAILS'}  {check.what}: {check.seen}"
            print(without_commands(line), flush=True)
    told = _badge(folder, badge, checks, json_) if badge else {}
    if json_:
        print_json({"folder": str(folder), "checks": checks, **told})
    if broken := [check["what"] for check in checks if not check["holds"]]:
        raise RunFolderError(f"{folder}: not what it says: {', '.join(broken)}")


def _badge(folder: Path, path: Path, checks: list[dict[str, Any]], as_json: bool) -> dict[str, Any]:
    """Write the badge of what was found, and return its digests and the line for a README, printed or not."""
    from resexp.experiments.verify import run_digests
    from resexp.records.run import Run
    from resexp.report.badge import badge, digest_line, write_badge

    digests, manifest = run_digests(folder), Run(folder).manifest
    failed = sum(not check["holds"] for check in checks)
    said = f"{len(checks) - failed} of {len(checks)} checks hold"
    numbers = digest_line(digests, manifest.versions.to_json())
    if write_badge(path, badge(not failed, manifest.config_digest, f"{said}: {numbers.replace('`', '')}")):
        note(f"{path}: the badge that was there is replaced")
    line = f"![resexp verify: {said}]({path}) {numbers}"
    if not as_json:
        print(without_commands(line))
    return {"badge": str(path), "digests": digests, "line": line}


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
    try:
        socket.getaddrinfo(host, port)
    except OSError as error:
        raise UsageError(f"--host {host}: {error.strerror}; 127.0.0.1 is this machine alone") from error
    note(*HOW_TO_SET, *([f"Unsmoothed: http://{host}:{port}/?smoothing=0#timeseries"] if port else []))
    arguments = ["--logdir", str(runs_dir), "--host", host, "--port", str(port)]
    arguments += ["--samples_per_plugin", "images=100"]
    os.execv(sys.executable, [sys.executable, "-m", "tensorboard.main", *arguments])
