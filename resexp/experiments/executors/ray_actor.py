"""The Ray actor: what workers and driver tell each other. Knows no torch, so that its process is small."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from resexp.report.progress import Message, Relay
from resexp.signals import Stop

POST_EVERY_SECONDS = 0.5


class RayMailbox:
    """An actor beside the driver: progress of the runs one way, the signal to stop the other."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._signal: int | None = None

    def post(self, messages: list[Message]) -> int | None:
        """Take a worker's messages; return the signal that it shall stop for, None to go on."""
        self._messages += messages
        return self._signal

    def collect(self, signal: int | None) -> list[Message]:
        """Return all messages since the last time; from now on workers stop for `signal`."""
        self._signal = signal
        messages, self._messages = self._messages, []
        return messages


@contextmanager
def reporting(mailbox: Any) -> Iterator[tuple[Stop, Relay]]:
    """Yield, in a worker, a stop that the mailbox sets and a display that tells it all, twice a second.

    mailbox: the actor's handle.
    """
    stop, over, outbox = Stop(), threading.Event(), list[Message]()

    def post() -> None:
        messages = _newest([outbox.pop(0) for _ in range(len(outbox))])
        with suppress(Exception):  # without its driver a task is ended by Ray, not by this
            # Waiting with ray.get would lend this task's CPUs to another one meanwhile.
            stop.signal = mailbox.post.remote(messages).future().result()

    def keep_posting() -> None:
        while not over.wait(POST_EVERY_SECONDS):
            post()

    post()
    thread = threading.Thread(target=keep_posting, daemon=True)
    thread.start()
    try:
        yield stop, Relay(outbox.append)
    finally:
        over.set()
        thread.join()
        post()


def _newest(messages: list[Message]) -> list[Message]:
    """All that was said, and how far the run is by now."""
    updates = [message for message in messages if message[0] == "update"]
    return [message for message in messages if message[0] == "say"] + updates[-1:]
