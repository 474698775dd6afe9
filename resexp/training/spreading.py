"""How one training is spread over several ranks: what each needs, and what cannot be."""

import torch

from resexp.config import Config
from resexp.errors import ResourceError, UsageError
from resexp.training.execution import Execution, usable_cores
from resexp.training.place import Place


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
