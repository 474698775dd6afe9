"""TensorBoard's event files, written at once and in this thread.

TensorBoard's own writer hands every event to a thread, which keeps it for up to two minutes (a kill loses it)
and, when the disk is full, dies with a traceback.
"""

import io
import time
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.summary.writer.record_writer import RecordWriter

from resexp.records.recorder import EMPTY, Growing

VERSION = "brain.Event:2"


class EventFile(Growing):
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
