"""Convolutions and one-pass batch norms of this program's own, which know of no nets.

In C++, for training in float32 on a CPU: `load` compiles what lies in `source/` once for a machine.
In Triton, for bfloat16 on a GPU: `triton_operations`.
"""

from resexp.kernels.build import UnavailableError, source_digest
from resexp.kernels.load import load
from resexp.kernels.operation import Operations, triton_digest
from resexp.kernels.operations import Kernels

__all__ = ["Kernels", "Operations", "UnavailableError", "load", "source_digest", "triton_digest"]
