"""The loss of every step, losses.bin: a binary file that only grows, and is read as a map."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from resexp.errors import RunFolderError
from resexp.records.files import disk_errors
from resexp.records.jsonl import AppendOnlyFile

LOSSES = "losses.bin"
LOSS_TYPE = np.dtype("<f8")


class LossFile(AppendOnlyFile):
    """A growing file of the training loss of every step made: float64, little-endian, nats."""

    @property
    def num_steps(self) -> int:
        """How many losses there are, which is how many steps were made."""
        return self.length // LOSS_TYPE.itemsize

    def take(self, losses: Sequence[float] | np.ndarray) -> None:
        """Append the losses of the next steps, [K]. Raises what `append` raises."""
        if len(losses):
            self.append(np.asarray(losses, LOSS_TYPE).tobytes())


def read_losses(folder: Path) -> np.ndarray:
    """Return a run's losses as a memory map, float64 [K]; empty where it has no such file.

    What of a last loss was cut by a kill is left out. Raises RunFolderError when the file cannot be read. The
    caller holds the run's lock, or knows that nobody is writing: a map of a file that is cut back ends the
    process that looks.
    """
    path = folder / LOSSES
    with disk_errors(path):
        if not path.exists():
            return np.empty(0, LOSS_TYPE)
        if not path.is_file():
            raise RunFolderError(f"{path}: not a regular file")
        num = path.stat().st_size // LOSS_TYPE.itemsize
        return np.memmap(path, LOSS_TYPE, "r", shape=(num,)) if num else np.empty(0, LOSS_TYPE)


def losses_beside(folder: Path, journal: Mapping[str, Any]) -> np.ndarray:
    """Return the losses that belong to a checkpoint's journal, float64 [K], in order, from step 0 on.

    What was made after the checkpoint follows them. Checkpoints from before there was losses.bin hold a list.
    """
    return np.asarray(journal["losses"], LOSS_TYPE) if "losses" in journal else read_losses(folder)
