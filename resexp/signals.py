"""Signals, Ctrl-C and SIGTERM: once to finish the step and save, twice to leave at once."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from resexp.errors import Exit, Interrupted, ResexpError, Terminated

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SHOW_CURSOR = b"\x1b[?25h"


class Stop:
    """What was asked for while a run was going on."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.elsewhere: int | None = None
        """what another process of the same training got; a signal of one's own is the first even then"""
        self.polled = False
        """whether someone asks between steps; where nobody does there is nothing to save"""

    def __call__(self) -> bool:
        """Whether to stop after this step."""
        return self.signal is not None or self.elsewhere is not None

    @contextmanager
    def polling(self) -> Iterator[None]:
        """Say that from here to the end of the block someone asks between steps."""
        self.polled = True
        try:
            yield
        finally:
            self.polled = False

    def error(self, message: str) -> ResexpError:
        return (Terminated if (self.signal or self.elsewhere) == signal.SIGTERM else Interrupted)(message)


def leave_at_once(number: int, _: FrameType | None = None) -> None:
    """End the process here and now: every file is whole at every moment, and no library can turn it down."""
    if sys.stderr.isatty():  # a progress bar has hidden it
        os.write(2, SHOW_CURSOR)
    os._exit(Exit.TERMINATED if number == signal.SIGTERM else Exit.INTERRUPTED)


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Yield a flag that SIGINT and SIGTERM set while it is polled; else, and twice, they end all."""
    stop = Stop()

    def receive(number: int, _: FrameType | None) -> None:
        if stop.signal is not None or not stop.polled:
            leave_at_once(number)
        stop.signal = number

    before = {number: signal.signal(number, receive) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
