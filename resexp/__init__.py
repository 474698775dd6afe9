"""Why do skip connections make very deep networks trainable? An experiment runner."""

from os import PathLike
from typing import TYPE_CHECKING

from resexp._version import __version__

if TYPE_CHECKING:
    from resexp.models.resnet import Network

__all__ = ["__version__", "load"]


def load(run: str | PathLike[str]) -> "Network":
    """Return the trained net of a finished run's folder, on the CPU, in evaluation mode.

    It takes images float32 [N, 3, 32, 32], normalised as the run's were, to logits [N, num_classes]. Raises
    RunFolderError for a folder that is no finished run or whose checkpoint is damaged.
    """
    from resexp.training.checkpoint import load_net

    return load_net(run)
