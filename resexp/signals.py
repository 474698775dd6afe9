"""Signals, Ctrl-C and a batch system's: once to finish the step and save, twice to leave at once."""

import os
import signal
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from resexp.errors import Exit, Interrupted, ResexpError, Terminated

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""SIGHUP: the terminal is gone. SIGUSR1, SIGUSR2: Slurm's warning, where a job asks for it, of its end."""
SHOW_CURSOR = b"\x1b[?25h"


def heeded() -> tuple[signal.Signals, ...]:
    """Return the signals that this process shall act on: not SIGHUP where nohup had it ignored."""
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return tuple(number for number in SIGNALS if not (ignored and number == signal.SIGHUP))


def exit_code(number: int | None) -> Exit:
    """Return how a process ends that was told to by this signal."""
    return Exit.INTERRUPTED if number == signal.SIGINT else Exit.TERMINATED


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
        code = exit_code(self.signal or self.elsewhere)
        return (Interrupted if code == Exit.INTERRUPTED else Terminated)(message)


def leave_at_once(number: int, _: FrameType | None = None) -> None:
    """End the process here and now: every file is whole at every moment, and no library can turn it down."""
    if sys.stderr.isatty():  # a progress bar has hidden it
        os.write(2, SHOW_CURSOR)
    os._exit(exit_code(number))


def _silence_lost_terminal() -> None:
    """Let what is still to be said go nowhere: a terminal that is gone refuses it, and saving comes after."""
    for descriptor in (1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode) and not os.isatty(descriptor):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Yield a flag that the signals set while it is polled; else, and twice, they end all."""
    stop = Stop()

    def receive(number: int, _: FrameType | None) -> None:
        if stop.signal is not None or not stop.polled:
            leave_at_once(number)
        stop.signal = number
        if number == signal.SIGHUP:
            _silence_lost_terminal()

    before = {number: signal.signal(number, receive) for number in heeded()}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def stop_on_interrupt() -> Iterator[Stop]:
    """As `stop_on_signals`, inside a program that is not ours, as a notebook: Ctrl-C alone, and where nobody
    polls, and twice, it is a KeyboardInterrupt as ever. In a thread nothing is heeded.
    """
    stop = Stop()

    def receive(number: int, frame: FrameType | None) -> None:
        if stop.signal is not None or not stop.polled:
            signal.default_int_handler(number, frame)
        stop.signal = number

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.signal(signal.SIGINT, receive)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
