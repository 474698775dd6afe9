"""TensorBoard: a view of the record, row by row."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from resexp.config import Config


class Board:
    """Draws the rows of one run into the event files of its folder.

    `purge_step` hides what an interrupted run drew from that step on.
    """

    def __init__(self, folder: Path, config: Config, layers: Sequence[str], *, purge_step: int | None) -> None:
        self._tags = [f"gradient_norm/{i:03d}.{name}" for i, name in enumerate(layers)]
        self._writer = SummaryWriter(str(folder), purge_step=purge_step)

    def row(self, row: Mapping[str, Any]) -> None:
        """Draw a row of metrics.jsonl."""
        step = row["step"]
        scalars: dict[str, float] = {}
        if row["kind"] == "step":
            scalars |= {"loss/train": row["loss"], "learning_rate": row["lr"]}
            norms = row.get("gradient_norm", [])
            scalars |= dict(zip(self._tags, norms, strict=False))
            if norms:
                total = sum(norm**2 for norm in norms) ** 0.5
                scalars |= {"gradient/total": total}
                if norms[-2]:
                    scalars |= {"gradient/first_over_last": norms[0] / norms[-2]}
        elif row["kind"] == "evaluation":
            for key, value in row.items():
                name, _, quantity = key.rpartition("_")
                if quantity in ("loss", "accuracy") and value is not None:
                    tag = f"{quantity}/{name}" if name != "train" else f"{quantity}/train_evaluated"
                    scalars[tag] = value
        for tag, value in scalars.items():
            self._writer.add_scalar(tag, value, step)

    def profile(self, row: Mapping[str, Any]) -> None:
        """Draw a row of profile.jsonl."""

    def close(self) -> None:
        self._writer.close()
