"""Errors and exit codes: the one exception that becomes one line on stderr."""

import errno
from enum import IntEnum


class Exit(IntEnum):
    """What the process's exit status says."""

    DONE = 0
    BUG = 1
    USAGE = 2
    DATA = 3
    RUN_FOLDER = 4
    DIVERGED = 5
    RESOURCES = 6
    IN_USE = 7
    GRADIENT = 8
    """`doctor --check`: it vanishes or explodes."""
    INTERRUPTED = 130
    TERMINATED = 143


class ResexpError(Exception):
    """Something the user can mend. Each line says what, where, what is allowed, what to do."""

    code = Exit.BUG

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class UsageError(ResexpError):
    """A config file, an option or an argument is wrong."""

    code = Exit.USAGE


class DataError(ResexpError):
    """Images are missing, broken or not to be had."""

    code = Exit.DATA


class RunFolderError(ResexpError):
    """A run folder or a checkpoint does not fit what was asked."""

    code = Exit.RUN_FOLDER


class Diverged(ResexpError):  # noqa: N818 a result, not a mistake
    """A loss or a gradient stopped being finite."""

    code = Exit.DIVERGED


class ResourceError(ResexpError):
    """The disk, the memory or the device does not suffice."""

    code = Exit.RESOURCES


class InUseError(ResexpError):
    """Another process is writing the same run folder."""

    code = Exit.IN_USE


class Interrupted(ResexpError):  # noqa: N818
    """Ctrl-C: the step was finished and saved."""

    code = Exit.INTERRUPTED


class Terminated(ResexpError):  # noqa: N818
    """SIGTERM, SIGHUP, SIGUSR1 or SIGUSR2: the step was finished and saved."""

    code = Exit.TERMINATED


def as_told(error: Exception) -> tuple[Exit, tuple[str, ...]]:
    """Return the exit code and the lines an error deserves."""
    if isinstance(error, ResexpError):
        return error.code, error.lines
    if isinstance(error, MemoryError):
        return Exit.RESOURCES, ("out of memory",)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Exit.RESOURCES, (f"{error.filename or 'output'}: no space left",)
    first_line = str(error).partition("\n")[0]
    why = f"a bug in resexp: {type(error).__name__}: {first_line}; `resexp --debug COMMAND` shows where"
    return Exit.BUG, (why,)
