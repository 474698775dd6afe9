"""Ctrl-C and SIGTERM: once to finish the step and save, twice to leave at once."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from resexp.errors import Exit, Interrupted, ResexpError, Terminated


class Stop:
    """What was asked for while a run was going on."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self) -> bool:
        """Whether to stop after this step."""
        return self.signal is not None

    def error(self, message: str) -> ResexpError:
        return (Terminated if self.signal == signal.SIGTERM else Interrupted)(message)


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Yield a flag that SIGINT and SIGTERM set; a second one ends the process with files intact."""
    stop = Stop()

    def receive(number: int, _: FrameType | None) -> None:
        if stop.signal is not None:
            os._exit(Exit.TERMINATED if number == signal.SIGTERM else Exit.INTERRUPTED)
        stop.signal = number

    before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
