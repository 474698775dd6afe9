"""TensorBoard's pictures of the gradient profile, drawn by matplotlib."""

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
from torch.utils.tensorboard.summary import image

from resexp.config import Config
from resexp.records.schema import ProfileRow
from resexp.report.figures.gradient_grid import heat_figure, step_figure
from resexp.report.figures.png import to_pixels
from resexp.report.figures.style import attempt_drawing
from resexp.report.sentences import NORM_NAMES

FIRST_MAP = 10
"""Steps before the first heat map."""


def profile_pictures(
    rows: Sequence[ProfileRow], config: Config, data: str, *, folder: Path, say: Callable[[str], None]
) -> list[Summary]:
    """Return the pictures that the last of these rows adds; `say` is told of one that cannot be drawn."""
    step = rows[-1].step
    makers = {"profile/size": lambda: size_picture(rows[-1], config, data)}
    if step >= FIRST_MAP or step == config.optim.steps:  # the first columns make no map
        makers["profile/heat_map"] = lambda: heat_picture(rows, config, data)
    drawn = [
        attempt_drawing(make, f"{folder}: TensorBoard's {tag} of step {step}", say)
        for tag, make in makers.items()
    ]
    return [picture for picture in drawn if picture is not None]


def size_picture(row: ProfileRow, config: Config, data: str) -> Summary:
    """Return the picture of one row of profile.jsonl."""
    title = f"{_title(config)}, step {row.step:,}\n{data}"
    return _picture("profile/size", step_figure(row, kind=config.model.kind, title=title))


def heat_picture(rows: Sequence[ProfileRow], config: Config, data: str) -> Summary:
    """Return the picture of all rows of profile.jsonl."""
    return _picture("profile/heat_map", heat_figure(rows, title=f"{_title(config)}\n{data}"))


def _title(config: Config) -> str:
    """TensorBoard itself says which run it is."""
    return f"{config.model.kind}, depth {config.model.depth}, {NORM_NAMES[config.model.norm]}"


def _picture(tag: str, figure: Figure) -> Summary:
    return image(tag, to_pixels(figure), dataformats="HWC")
