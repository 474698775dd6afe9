"""Why do skip connections make very deep networks trainable? An experiment runner."""

from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resexp.nets.network import Network

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(run: str | PathLike[str]) -> "Network":
    """Return the trained net of a finished run's folder, on the CPU, in evaluation mode.

    It takes images float32 [N, 3, 32, 32], normalised as the run's were, to logits [N, num_classes]. Raises
    RunFolderError for a folder that is no finished run or whose checkpoint is damaged.
    """
    from resexp.training.trained import load_net

    return load_net(run)
