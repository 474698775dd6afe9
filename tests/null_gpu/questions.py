"""What a test asks of the null GPU, from within a process that has it."""

import collections
import ctypes
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

_asked = ctypes.CDLL(None)
_asked.null_gpu_log_size.restype = _asked.null_gpu_num_faults.restype = ctypes.c_long
_asked.null_gpu_log_entry.restype = _asked.null_gpu_fault.restype = ctypes.c_char_p
_asked.null_gpu_log_entry.argtypes = _asked.null_gpu_fault.argtypes = [ctypes.c_long]
_asked.null_gpu_waits.restype = ctypes.c_long
_asked.null_gpu_capture_budget.argtypes = [ctypes.c_long]


@contextmanager
def logged() -> Iterator[list[str]]:
    """Yield a list that holds, after the block, all that was launched in it: kernels, copies, graphs."""
    entries: list[str] = []
    _asked.null_gpu_log(1)
    yield entries
    _asked.null_gpu_log(0)
    entries += [_asked.null_gpu_log_entry(i).decode() for i in range(_asked.null_gpu_log_size())]


def faults() -> list[str]:
    """What CUDA would not have allowed while capturing, since the process began."""
    return [_asked.null_gpu_fault(i).decode() for i in range(_asked.null_gpu_num_faults())]


def waits() -> int:
    """How often the host has waited for the device, since the process began."""
    return _asked.null_gpu_waits()


def leave_while_capturing(num_bytes: int) -> None:
    """Let captures allocate so much and then run out of memory; -1: as much as there is."""
    _asked.null_gpu_capture_budget(num_bytes)


def nodes(entries: list[str]) -> list[int]:
    """How many nodes each of the launched graphs has."""
    return [int(entry.removeprefix("graph of ")) for entry in entries if entry.startswith("graph of ")]


def histogram(entries: list[str]) -> collections.Counter[str]:
    """Count kernels by what they are called in PyTorch's source."""
    names = subprocess.run(["c++filt"], input="\n".join(entries), capture_output=True, text=True, check=True)
    return collections.Counter(map(_short, names.stdout.split("\n")))


def _short(name: str) -> str:
    outer = re.sub(r"<.*", "", re.sub(r"^void ", "", name)).split("::")[-1]
    inner = re.findall(r"at::native::(?:\(anonymous namespace\)::)?(\w+)", name)
    return " ".join([outer, *[word for word in inner if word != outer][:3]])[:100]
