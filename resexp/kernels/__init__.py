"""Winograd convolutions and one-pass batch norms for training in float32 on a CPU.

`load` compiles the C++ in `source/` once for a machine and returns the operations; they know of no nets.
"""

from resexp.kernels.build import UnavailableError, source_digest
from resexp.kernels.load import load
from resexp.kernels.operations import Kernels

__all__ = ["Kernels", "UnavailableError", "load", "source_digest"]
