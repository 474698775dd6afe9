"""TensorBoard: a view of the record, row by row."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.utils.tensorboard.summary import scalar

from resexp.training.events import EventFile


class Board:
    """Draws the rows of one run into an event file of its folder.

    What an interrupted run drew at `purge_step` and later is hidden.
    """

    def __init__(self, folder: Path, layers: Sequence[str], *, purge_step: int | None) -> None:
        self._tags = [f"gradient_norm/{i:03d}.{name}" for i, name in enumerate(layers)]
        self._events = EventFile(folder, purge_step=purge_step)

    def row(self, row: Mapping[str, Any]) -> None:
        """Draw a row of metrics.jsonl."""
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
        self._events.summaries(row["step"], *(scalar(tag, value) for tag, value in scalars.items()))

    def profile(self, row: Mapping[str, Any]) -> None:
        """Draw a row of profile.jsonl."""

    def close(self) -> None:
        self._events.close()
