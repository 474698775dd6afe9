"""Weights & Biases, offline: a folder that `wandb sync` uploads, if and when somebody wants that."""

import os
from collections.abc import Sequence
from pathlib import Path

from resexp.report.export.course import Exported


def write_wandb(runs: Sequence[Exported], folder: Path, *, project: str, final: Path) -> str:
    """Write one offline run each, all in one group; see `Writer`."""
    os.environ["WANDB_ERROR_REPORTING"] = "false"  # read when wandb is imported
    import wandb  # pyright: ignore[reportMissingImports]

    settings = wandb.Settings(
        mode="offline",
        console="off",
        silent=True,
        disable_git=True,
        disable_code=True,
        save_code=False,
        x_disable_stats=True,
        x_disable_meta=True,
    )
    for one in runs:
        run = wandb.init(
            dir=str(folder),
            project=project,
            group=project,
            name=one.name,
            job_type=one.arm,
            config={**one.settings, "facts": one.facts},
            settings=settings,
            reinit="create_new",
        )
        for step, numbers in one.points():
            run.log(numbers, step=step)
        run.summary.update({f"result.{key}": value for key, value in one.summary.items()})
        run.finish(exit_code=0)
    wandb.teardown()
    return f"wandb sync {final / 'wandb'}/offline-run-*"
