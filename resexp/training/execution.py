"""Every `auto` of the config's `run` section, resolved once, with the reason."""

import os
import shutil
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from resexp.config import Config, RunSection
from resexp.data.cache import cache_folder
from resexp.errors import ResourceError, UsageError
from resexp.training.distributed.rank import Place

COMPILE_PAYS_FROM_IMAGES = 130_000
"""Images in a run above which the seconds that compiling costs come back; measured for ResNet-20 on two
CPU cores with AMX (14 to 33 s cold). On a GPU it has not been measured, so `auto` does not compile there."""
VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
SHAPES_IN_A_PROCESS = 256
"""Kinds of net before PyTorch would go on uncompiled without an error; it allows itself 8."""


class Execution(NamedTuple):
    """How the steps are executed: a part of a run's identity, since each of these changes bits."""

    device: str
    """cpu or cuda"""
    precision: str
    """float32, tf32 or bfloat16, of the convolutions"""
    mode: str
    """eager or compiled (the net, by Inductor); on a GPU graphed or graphed+compiled (the step, one graph)"""
    threads: int
    """CPU threads"""
    reason: str
    """why, one sentence for each `auto`"""
    devices: int = 1
    """ranks, a device each"""
    sync_batch_norm: bool = False
    """whether batch norm takes its statistics over the batch of all devices"""

    @property
    def compiled(self) -> bool:
        return "compiled" in self.mode

    @property
    def graphed(self) -> bool:
        return "graphed" in self.mode


def usable_cores() -> int:
    """Return the cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def resolve(run: RunSection, *, num_images: int) -> Execution:
    """Return how a run of `num_images` images (steps times batch size) is executed on this machine.

    Depends on the config, the planned length and the machine alone, never on a stopwatch, so all arms of a
    comparison get the same answer. Raises ResourceError (exit 6) for a device that is not here.
    """
    reasons = []
    device = run.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
        reasons.append(f"device {device}: " + ("a GPU is here" if device == "cuda" else "no GPU here"))
    elif device == "cuda" and not torch.cuda.is_available():
        raise ResourceError("run.device is cuda, but no CUDA device is here; use cpu or auto")

    precision = run.precision
    if precision == "auto":
        precision = "bfloat16" if _multiplies_bfloat16(device) else "float32"
        fast = "multiplies bfloat16 in hardware" if precision == "bfloat16" else "has no fast bfloat16"
        reasons.append(f"precision {precision}: the device {fast}")
    elif precision == "tf32" and not (device == "cuda" and torch.cuda.get_device_capability() >= (8, 0)):
        raise ResourceError("run.precision is tf32, which takes a GPU of capability 8.0 or more; use float32")

    compiled = run.compile
    if compiled == "auto":
        compiled, why = _compiling_pays(device, precision, num_images)
        reasons.append(f"{'compiled' if compiled else 'not compiled'}: {why}")
    mode = "compiled" if compiled else "eager"
    if device == "cuda":
        mode = "graphed+compiled" if compiled else "graphed"
        reasons.append(f"mode {mode}: a GPU waits for the host unless the whole step is one CUDA graph")

    threads = run.threads
    if threads == "auto":
        threads = usable_cores()
        reasons.append(f"threads {threads}: the cores there are")
    return Execution(device, precision, mode, threads, "; ".join(reasons) or "all stated in the config")


def _compiling_pays(device: str, precision: str, num_images: int) -> tuple[bool, str]:
    if device == "cuda":
        return False, "when it pays on a GPU has not been measured"
    why = f"{num_images:,} images planned, compiling pays from about {COMPILE_PAYS_FROM_IMAGES:,}"
    if shutil.which("g++") is None:
        return False, f"{why}; no C++ compiler here"
    if precision != "bfloat16":  # bound by convolutions, which compiling leaves as they are
        return False, f"{why} in bfloat16"
    return num_images >= COMPILE_PAYS_FROM_IMAGES, why


def _multiplies_bfloat16(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def keep_compilations() -> None:
    """Let Inductor keep what it makes where resexp keeps its images, unless the user says otherwise.

    Its own choice is the folder for temporary files, which anyone may write to and a restart empties. It sets
    the variable to that itself, when some other import first asks for it.
    """
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir  # 1.5 s that only compiling pays

    if os.environ.get(VARIABLE) not in (None, os.path.abspath(default_cache_dir())):
        return
    folder = cache_folder() / "inductor"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    os.environ[VARIABLE] = str(folder)


def compiled(net: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return `net` compiled when it is first called; another net of its shape is not compiled again.

    Shapes are never made symbolic: what a net becomes shall not depend on the nets before it.
    """
    keep_compilations()
    torch._dynamo.config.recompile_limit = SHAPES_IN_A_PROCESS  # pyright: ignore
    return torch.compile(net, dynamic=False)


def spread(execution: Execution, config: Config, here: Place) -> Execution:
    """Return how each of `here.size` ranks executes what one process would execute so.

    Raises UsageError (exit 2) for a config that cannot be spread, ResourceError (exit 6) for want of devices.
    """
    size = here.size
    if size == 1:
        return execution
    if config.optim.batch_size % size:
        raise UsageError(
            f"optim.batch_size {config.optim.batch_size} is not divisible by {size} devices; "
            "every device takes an equal slice of each batch"
        )
    reasons = [execution.reason, f"{size} devices asked for"]
    on_gpus = execution.device == "cuda"
    if on_gpus and torch.cuda.device_count() < here.local_size:
        raise ResourceError(
            f"{here.local_size} CUDA devices are asked for and {torch.cuda.device_count()} here; "
            "use fewer --devices, or --set run.device=cpu"
        )
    synchronised = config.model.norm == "batch"
    if synchronised and not on_gpus:
        raise UsageError(
            f"model.norm is batch: each of {size} CPU ranks would take the statistics of its own slice, and "
            "torch's SyncBatchNorm refuses CPU tensors; use --devices 1, GPUs, or norm group, layer or none"
        )
    if synchronised:
        reasons.append("batch norm takes its statistics over the batch of all devices (SyncBatchNorm)")
    if config.run.threads == "auto":
        threads = max(1, usable_cores() // here.local_size)
        execution = execution._replace(threads=threads)
        reasons.append(f"threads {threads} a device: the cores there are, shared")
    mode = "compiled" if config.run.compile is True else "eager"
    if execution.mode != mode:
        execution = execution._replace(mode=mode)
        reasons.append(f"mode {mode}: nothing else has been measured on several devices")
    return execution._replace(devices=size, sync_batch_norm=synchronised, reason="; ".join(reasons))
