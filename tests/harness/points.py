"""Every point at which a run touches the disk, and what can go wrong there."""

import errno
import os
import signal
from collections.abc import Callable
from typing import Any, Literal

CALLS = ("open", "write", "fsync", "ftruncate", "replace", "unlink", "mkdir")
How = Literal["kill", "kill halfway", "disk full"]


class Points:
    """Counts this process's calls that touch the disk, from 0, and lets one of them go wrong.

    kill: the process is gone (SIGKILL) before the call. kill halfway: a write has written half of its bytes,
    any other call is done, and the process is gone. disk full: a write takes half and refuses the rest, any
    other call that needs room is refused, and so is every later one.
    """

    def __init__(self, at: int | None = None, how: How = "kill") -> None:
        self.at, self.how, self.trace = at, how, list[str]()
        for name in CALLS:
            setattr(os, name, self._counted(name, getattr(os, name)))

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **options: Any) -> Any:
            number = len(self.trace)
            self.trace.append(f"{name} {args[0]}")
            if self.at is None or number < self.at or (number > self.at and self.how != "disk full"):
                return call(*args, **options)
            if self.how == "disk full":
                if name in ("unlink", "ftruncate") or (name == "open" and not args[1] & os.O_CREAT):
                    return call(*args, **options)
                if name == "write" and number == self.at and len(args[1]) > 1:
                    return call(args[0], args[1][: len(args[1]) // 2])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if self.how == "kill halfway":
                call(*((args[0], args[1][: len(args[1]) // 2]) if name == "write" else args), **options)
            return os.kill(os.getpid(), signal.SIGKILL)

        return counted
