"""TensorBoard's summary writer: a view of the record, row by row, in an event file written at once.

TensorBoard's own writer hands every event to a thread, which keeps it for up to two minutes (a kill loses it)
and, when the disk is full, dies with a traceback.
"""

import io
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.summary import scalar

from resexp.config import Config
from resexp.records.files import disk_errors
from resexp.records.jsonl import EMPTY, AppendOnlyFile
from resexp.records.run import read_profile
from resexp.records.schema import EvaluationRow, FaultRow, ProbeRow, ProfileRow, StepRow
from resexp.tensorboard.dashboard import closing, norms_by_stage, opening, profile_scalars

VERSION = "brain.Event:2"


class TensorBoardWriter:
    """Draws the rows of one run into an event file of its folder.

    What an interrupted run drew at `purge_step` and later is hidden; what it recorded before is in the
    pictures that are drawn from there on. `say` is told of a picture that cannot be drawn.
    """

    def __init__(
        self,
        folder: Path,
        config: Config,
        layers: Sequence[str],
        *,
        data: str,
        purge_step: int,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._config = config
        self._say = say
        self._data = data
        self._layers = layers
        self._tags = [f"gradient_norm/{i:03d}.{name}" for i, name in enumerate(layers)]
        self._profile = [row for row in read_profile(folder / "profile.jsonl") if row.step < purge_step]
        # TensorBoard would hide the numbers of a run killed that early, and not its texts.
        if purge_step == 0:
            _delete_events(folder)
        # Read once, not once a run: the words stand in the first run of a folder.
        first = not any(folder.parent.glob("*/events.out.tfevents.*"))
        self._events = EventFile(folder, purge_step=purge_step)
        if purge_step == 0:
            self._events.summaries(0, *opening(config, data, explained=first))

    def row(self, row: StepRow | EvaluationRow | FaultRow) -> None:
        """Draw a row of metrics.jsonl."""
        scalars: dict[str, float] = {}
        marks: list[Summary] = []
        if isinstance(row, StepRow):
            scalars |= {"Loss/train": row.loss, "learning_rate": row.lr}
            norms = row.gradient_norm
            scalars |= dict(zip(self._tags, norms, strict=False))
            if norms:
                scalars["gradient/total"] = sum(norm**2 for norm in norms) ** 0.5
                scalars |= norms_by_stage(self._layers, norms)
                if norms[-2] and norms[0]:
                    scalars["gradient/log10_weights_first_over_last"] = math.log10(norms[0] / norms[-2])
        elif isinstance(row, EvaluationRow):
            for images, quantity, value in row.scores():
                name = "train_evaluated" if images == "train" else images
                scalars[f"{quantity.title()}/{name}"] = value
            if row.step == self._config.optim.steps:
                marks = closing()
        self._events.summaries(row.step, *_drawn(scalars), *marks)

    def profile(self, row: ProfileRow | ProbeRow) -> None:
        """Draw a row of profile.jsonl; of any probe but the gradient profile its numbers."""
        if isinstance(row, ProbeRow):
            numbers = {f"probe/{row.probe}/{key}": value for key, value in row.numbers().items()}
            self._events.summaries(row.step, *_drawn(numbers))
            return
        self._profile.append(row)
        drawn = []
        if self._config.record.pictures:
            from resexp.tensorboard.pictures import profile_pictures  # matplotlib, a third of a second

            folder = self._events.path.parent
            drawn = profile_pictures(self._profile, self._config, self._data, folder=folder, say=self._say)
        self._events.summaries(row.step, *_drawn(profile_scalars(row)), *drawn)

    def close(self) -> None:
        self._events.close()


def _drawn(scalars: Mapping[str, float]) -> list[Summary]:
    return [scalar(tag, value) for tag, value in scalars.items()]


def _delete_events(folder: Path) -> None:
    for path in folder.glob("events.out.tfevents.*"):
        with disk_errors(path):
            path.unlink()


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
