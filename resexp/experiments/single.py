"""One training, by the command line or from Python: its images read and told, its progress shown."""

from pathlib import Path

from resexp.config import Config, DataSection
from resexp.data.splits import load
from resexp.report.progress import Display, Fraction
from resexp.signals import Stop
from resexp.training.distributed.process_group import ALONE, Group
from resexp.training.loop import run
from resexp.training.lr_schedule import falls_short


def train_one(
    config: Config,
    folder: Path,
    section: DataSection,
    *,
    stop: Stop,
    show: Display,
    group: Group = ALONE,
    trace: int = 0,
) -> None:
    """Train in `folder`, whose lock the caller holds, on the images of `section`. Raises what `run` does."""
    if short := falls_short(config.optim):
        show.say(short)
    splits = load(section, lambda done: show.update("images, % read", Fraction(done)))
    show.say(f"data: {splits.described}")
    run(
        config,
        folder,
        splits,
        group=group,
        stop=stop,
        report=lambda progress: show.update(config.name, progress),
        say=show.say,
        trace=trace,
    )
