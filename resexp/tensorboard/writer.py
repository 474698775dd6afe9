"""TensorBoard's summary writer: a view of the record, row by row, in an event file written at once.

TensorBoard's own writer hands every event to a thread, which keeps it for up to two minutes (a kill loses it)
and, when the disk is full, dies with a traceback.
"""

import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.summary import scalar

from resexp.config import Config
from resexp.records.jsonl import EMPTY, AppendOnlyFile
from resexp.records.run import read_lines
from resexp.tensorboard.dashboard import closing, heat_picture, opening, profile_scalars, size_picture

VERSION = "brain.Event:2"


class TensorBoardWriter:
    """Draws the rows of one run into an event file of its folder.

    What an interrupted run drew at `purge_step` and later is hidden; what it recorded before is in the
    pictures that are drawn from there on.
    """

    def __init__(
        self, folder: Path, config: Config, layers: Sequence[str], *, data: str, purge_step: int
    ) -> None:
        self._config = config
        self._data = data
        self._tags = [f"gradient_norm/{i:03d}.{name}" for i, name in enumerate(layers)]
        self._profile = [row for row in read_lines(folder / "profile.jsonl") if row["step"] < purge_step]
        self._events = EventFile(folder, purge_step=purge_step)
        if purge_step == 0:
            self._events.summaries(0, *opening(config, data))

    def row(self, row: Mapping[str, Any]) -> None:
        """Draw a row of metrics.jsonl."""
        scalars: dict[str, float] = {}
        marks: list[Summary] = []
        if row["kind"] == "step":
            scalars |= {"Loss/train": row["loss"], "learning_rate": row["lr"]}
            norms = row.get("gradient_norm", [])
            scalars |= dict(zip(self._tags, norms, strict=False))
            if norms:
                scalars["gradient/total"] = sum(norm**2 for norm in norms) ** 0.5
                if norms[-2]:
                    scalars["gradient/weights_first_over_last"] = norms[0] / norms[-2]
        elif row["kind"] == "evaluation":
            for key, value in row.items():
                name, _, quantity = key.rpartition("_")
                if quantity in ("loss", "accuracy") and value is not None:
                    scalars[f"{quantity.title()}/{'train_evaluated' if name == 'train' else name}"] = value
            if row["step"] == self._config.optim.steps:
                marks = closing()
        self._events.summaries(row["step"], *_drawn(scalars), *marks)

    def profile(self, row: Mapping[str, Any]) -> None:
        """Draw a row of profile.jsonl."""
        self._profile.append(dict(row))
        pictures = [size_picture(self._profile[-1], self._config, self._data)]
        # A tenth of a second each: the one of all steps is drawn when it is complete.
        if row["step"] == self._config.optim.steps:
            pictures.append(heat_picture(self._profile, self._config, self._data))
        self._events.summaries(row["step"], *_drawn(profile_scalars(self._profile[-1])), *pictures)

    def close(self) -> None:
        self._events.close()


def _drawn(scalars: Mapping[str, float]) -> list[Summary]:
    return [scalar(tag, value) for tag, value in scalars.items()]


class EventFile(AppendOnlyFile):
    """A new event file in `folder`, numbered behind those that are there.

    TensorBoard hides what earlier files drew at `purge_step` and later; None hides nothing.
    """

    def __init__(self, folder: Path, *, purge_step: int | None) -> None:
        suffixes = [path.suffix[1:] for path in folder.glob("events.out.tfevents.*")]
        numbers = [int(suffix) for suffix in suffixes if suffix.isdecimal()]
        super().__init__(folder / f"events.out.tfevents.{max(numbers, default=0) + 1:04d}", EMPTY)
        self._add(Event(file_version=VERSION))
        if purge_step is not None:
            self._add(Event(step=purge_step, session_log=SessionLog(status=SessionLog.START)))

    def summaries(self, step: int, *summaries: Summary) -> None:
        """Write what was drawn at one step as one event: each costs a checksum of its own, made in Python."""
        values = [value for summary in summaries for value in summary.value]
        if values:
            self._add(Event(step=step, summary=Summary(value=values)))

    def _add(self, *events: Event) -> None:
        records = io.BytesIO()
        writer = RecordWriter(records)
        for event in events:
            event.wall_time = time.time()
            writer.write(event.SerializeToString())
        self.append(records.getvalue())
