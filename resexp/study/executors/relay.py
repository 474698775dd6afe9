"""Progress on its way from the process that trains to the one that shows it."""

from collections.abc import Callable
from typing import Any

from resexp.views.progress import Display, Reading

Message = tuple[Any, ...]
"""A method of Display, and what it is called with; picklable."""


class Relay:
    """A display that sends what it is told somewhere else."""

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send

    def update(self, label: str, reading: Reading) -> None:
        self._send(("update", label, reading))

    def say(self, line: str) -> None:
        self._send(("say", line))


def pass_on(message: Message, show: Display) -> None:
    """Show what a relay has sent."""
    what, *content = message
    {"update": show.update, "say": show.say}[what](*content)
