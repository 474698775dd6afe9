"""Execution: device, precision, compilation, threads; every `auto` resolved once, with the reason."""

import os
import shutil
import warnings
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch

from resexp.config import Config, RunSection
from resexp.data.cache import cache_folder
from resexp.errors import ResourceError, UsageError
from resexp.kernels import Operations, UnavailableError, load, source_digest, triton_digest
from resexp.training.distributed.rank import Rank

COMPILE_PAYS_FROM_IMAGES = 130_000
"""Images in a run above which the seconds that compiling costs come back; measured for ResNet-20 on two
CPU cores with AMX (14 to 33 s cold). On a GPU it has not been measured, so `auto` does not compile there."""
KERNELS_PAY_FROM_IMAGES = 20_000
"""Images in a run above which the 4 to 15 s of building the kernels come back: ResNet-20 saves a second in
about 1,000. The same whether they are built already or not, so that the next run is the same run."""
MEASURED_CAPABILITY = 9
"""Of the GPUs on which the Triton kernels' plans were chosen (compute capability 9.0, Hopper)."""


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
    kernels: str = "torch"
    """whose convolutions and norms: torch, or winograd- or triton- and 12 digits of their source's digest"""

    @property
    def compiled(self) -> bool:
        return "compiled" in self.mode

    @property
    def graphed(self) -> bool:
        return "graphed" in self.mode


def usable_cores() -> int:
    """Return the cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpu_fault(index: int = 0) -> str | None:
    """Return why nothing can be computed on this one of the visible GPUs, None where it can."""
    if not torch.cuda.is_available():
        return "no CUDA device is here"
    with warnings.catch_warnings():  # PyTorch's own page about it, at the first question to the device
        warnings.simplefilter("ignore")
        capability = torch.cuda.get_device_capability(index)
    built_for = torch.cuda.get_arch_list()
    if torch.version.cuda is None or any(_runs_on(capability, architecture) for architecture in built_for):
        return None
    name, have = torch.cuda.get_device_name(index), ", ".join(built_for)
    number = ".".join(map(str, capability))
    return f"this torch has no kernels for {name}, capability {number} (it has {have})"


def _runs_on(capability: tuple[int, int], architecture: str) -> bool:
    """Whether kernels built for sm_XY or compute_XY run on a GPU.

    Machine code (sm) does on GPUs of the same X and no lower Y, PTX (compute) on all that are no older; what
    is built for one architecture alone ends in a letter.
    """
    kind, _, version = architecture.partition("_")
    number = version.rstrip("abcdef")
    built = (int(number[:-1]), int(number[-1]))
    if number != version:
        return capability == built
    return capability >= built and (kind == "compute" or capability[0] == built[0])


def resolve(run: RunSection, *, num_images: int) -> Execution:
    """Return how a run of `num_images` images (steps times batch size) is executed on this machine.

    Depends on the config, the planned length and the machine alone, never on a stopwatch, so all arms of a
    comparison get the same answer. Raises ResourceError (exit 6) for a device that is not here.
    """
    reasons = []
    device = run.device
    if device == "auto":
        fault = gpu_fault()
        device = "cpu" if fault else "cuda"
        reasons.append(f"device {device}: {fault or 'a GPU is here'}")
    elif device == "cuda" and (fault := gpu_fault()):
        raise ResourceError(f"run.device is cuda, but {fault}; use cpu or auto")

    precision = run.precision
    if precision == "auto" and run.kernels == "winograd":
        precision = "float32"
        reasons.append("precision float32: the kernels asked for have no other")
    elif precision == "auto":
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

    kernels, why = _kernels(run, device, precision, mode, num_images)
    reasons += [why] if why else []

    threads = run.threads
    if threads == "auto":
        threads = usable_cores()
        reasons.append(f"threads {threads}: the cores there are")
    reason = "; ".join(reasons) or "all stated in the config"
    return Execution(device, precision, mode, threads, reason, kernels=kernels)


def _kernels(run: RunSection, device: str, precision: str, mode: str, num_images: int) -> tuple[str, str]:
    """The name of the kernels, and the reason where they were not asked for by name."""
    if run.kernels == "torch":
        return "torch", ""
    wanted = "triton" if device == "cuda" else "winograd"
    if run.kernels == "auto":
        if why := _why_not(wanted, device, precision, mode) or _why_not_unasked(wanted, num_images):
            return "torch", f"kernels torch: {why}"
        return kernels_name(wanted), f"kernels {wanted}: {PAYS[wanted]}"
    if why := _why_not(run.kernels, device, precision, mode):
        raise UsageError(
            f"run.kernels is {run.kernels}, and {why}; here it would be {precision} on {device}, {mode}: "
            "use run.kernels auto, or change the others"
        )
    if why := _why_absent(run.kernels):
        raise ResourceError(
            f"run.kernels is {run.kernels}, which cannot be had here: {why}; use auto or torch"
        )
    return kernels_name(run.kernels), ""


PAYS = {
    "winograd": "float32 on a CPU",
    "triton": "in bfloat16 on an H200 its convolutions take a half to a fifth of cuDNN's time",
}


def kernels_name(kernels: str) -> str:
    """The name under which a run remembers the kernels of this version of the program."""
    return f"{kernels}-{triton_digest() if kernels == 'triton' else source_digest()}"


def _why_not(kernels: str, device: str, precision: str, mode: str) -> str:
    if kernels == "winograd" and (device, precision, mode) != ("cpu", "float32", "eager"):
        return "this program's own are for float32 on a CPU, not compiled"
    if kernels == "triton" and ((device, precision) != ("cuda", "bfloat16") or "compiled" in mode):
        return "those in Triton are for bfloat16 on a GPU, not compiled"
    return ""


def _why_not_unasked(kernels: str, num_images: int) -> str:
    if kernels == "winograd" and num_images < KERNELS_PAY_FROM_IMAGES:
        pays = f"building others pays from about {KERNELS_PAY_FROM_IMAGES:,}"
        return f"{num_images:,} images planned, {pays}"
    if kernels == "triton" and torch.cuda.get_device_capability()[0] != MEASURED_CAPABILITY:
        return "those in Triton have been measured on a Hopper card alone"
    return _why_absent(kernels)


def _why_absent(kernels: str) -> str:
    if kernels == "winograd":
        return why_no_kernels(kernels_folder()) or ""
    return "" if find_spec("triton") else "Triton is not installed"


@cache
def why_no_kernels(folder: Path) -> str | None:
    """Return why this program's own kernels cannot be used here; None, and they are built, where they can."""
    try:
        load(folder)
    except UnavailableError as error:
        return str(error)
    return None


def kernels_folder() -> Path:
    return cache_folder() / "kernels"


def kernels_for(execution: Execution) -> Operations | None:
    """Return the kernels that `execution` names, None for torch's.

    Raises ResourceError (exit 6) where they are others here, or not to be had.
    """
    if execution.kernels == "torch":
        return None
    kind = execution.kernels.partition("-")[0]
    if execution.kernels != (ours := kernels_name(kind)):
        raise ResourceError(
            f"the kernels are to be {execution.kernels}, and here is {ours}; bits would differ"
        )
    if why := _why_absent(kind):
        raise ResourceError(f"the kernels are to be {ours}, which cannot be had here: {why}")
    if kind == "winograd":
        return load(kernels_folder())
    from resexp.kernels.triton_operations import TritonKernels  # Triton, 0.3 s that only a GPU pays

    return TritonKernels()


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
    # avx512_bf16 alone is no gain: on such a CPU (AMD, Zen 5) bfloat16 was the slower one, compiled or not.
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))


def spread(execution: Execution, config: Config, here: Rank) -> Execution:
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
    if config.run.kernels not in ("auto", "torch"):
        raise UsageError(
            f"run.kernels is {config.run.kernels}, which has not been measured on {size} devices; use auto"
        )
    if execution.kernels != "torch":
        execution = execution._replace(kernels="torch")
        reasons.append("kernels torch: no others have been measured on several devices")
    mode = "compiled" if config.run.compile is True else "eager"
    if execution.mode != mode:
        execution = execution._replace(mode=mode)
        reasons.append(f"mode {mode}: nothing else has been measured on several devices")
    return execution._replace(devices=size, sync_batch_norm=synchronised, reason="; ".join(reasons))
