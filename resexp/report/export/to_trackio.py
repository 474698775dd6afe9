"""Trackio, local: a folder with one project, which `trackio show` serves."""

import contextlib
import io
import os
from collections.abc import Sequence
from pathlib import Path

from resexp.errors import UsageError
from resexp.report.export.course import Exported


def write_trackio(runs: Sequence[Exported], folder: Path, *, project: str, final: Path) -> str:
    """Write the project's database; see `Writer`."""
    # Read when trackio is imported: where it writes, and that it asks nobody who the user is.
    os.environ |= {"TRACKIO_DIR": str(folder.resolve()), "HF_HUB_OFFLINE": "1"}
    for elsewhere in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "TRACKIO_WEBHOOK_URL"):
        os.environ.pop(elsewhere, None)
    import trackio  # pyright: ignore[reportMissingImports]
    from trackio.utils import TRACKIO_DIR  # pyright: ignore[reportMissingImports]

    if folder.resolve() != TRACKIO_DIR:
        raise UsageError("trackio was imported before and writes elsewhere; export from a process of its own")
    with contextlib.redirect_stdout(io.StringIO()):  # it tells of the place that is moved
        for one in runs:
            config = {**one.settings, "facts": one.facts, "result": one.summary}
            run = trackio.init(
                project,
                one.name,
                group=one.arm,
                config=config,
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
            for step, numbers in one.points():
                run.log(numbers, step=step)
            trackio.finish()  # at exit a run that finished by itself would be finished and told again
    return f"TRACKIO_DIR={final.resolve()} trackio show --project {project}"
