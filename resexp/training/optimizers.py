"""Optimizers: by name or by import path, begun so that what they keep is saved and taken up bit for bit."""

import io
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from resexp.config import OptimSection
from resexp.config.imports import a_kind, blamed, is_import_path, load_callable
from resexp.errors import UsageError
from resexp.training.cuda_graph import CaptureError
from resexp.training.eager_optimizers import SGD, Adam, AdamW
from resexp.training.execution import Execution

_tried = set[Callable[..., Any]]()


def make_optimizer(optim: OptimSection, net: nn.Module, execution: Execution) -> Optimizer:
    """Return the optimizer of a run that starts. What torch's own ones keep is there before the first step,
    so that it never moves in memory.

    Raises UsageError for what is none, CaptureError for one of the user's own where steps are recorded.
    """
    if is_import_path(optim.name):
        require_optimizer(optim)
        if execution.graphed:
            raise CaptureError(f"optim.name {optim.name}: what it keeps is not there before the first step")
        return _own(optim, list(net.parameters()))
    shared: dict[str, Any] = {
        "lr": optim.lr,
        "weight_decay": optim.weight_decay,
        # Reads the rate where it lies; the others ask the device for its value. None, since False would
        # also switch off PyTorch's own choice: on a GPU all tensors in a few kernels.
        "fused": True if execution.graphed else None,
    }
    if optim.name == "sgd":
        optimizer = _sgd(net, momentum=optim.momentum, nesterov=optim.nesterov, **shared)
    else:
        optimizer = _adam(ADAMS[optim.name], net, execution, **shared)
    if execution.graphed:
        for group in optimizer.param_groups:
            group["lr"] = torch.tensor(optim.lr, device=execution.device)
    return optimizer


def _sgd(net: nn.Module, *, momentum: float, **options: Any) -> Optimizer:
    optimizer = SGD(net.parameters(), momentum=momentum, **options)
    if momentum:
        for parameter in net.parameters():
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def _adam(make: Callable[..., Optimizer], net: nn.Module, execution: Execution, **options: Any) -> Optimizer:
    optimizer = make(net.parameters(), capturable=execution.graphed, **options)
    for parameter in net.parameters():
        optimizer.state[parameter] = {
            "step": torch.zeros((), device=execution.device if execution.graphed else "cpu"),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
    return optimizer


def kept(optimizer: Optimizer) -> list[Tensor]:
    """Return the tensors that the optimizer's steps change in place, besides the parameters."""
    states = [optimizer.state.get(p, {}) for group in optimizer.param_groups for p in group["params"]]
    return [value for state in states for value in state.values() if isinstance(value, Tensor)]


@torch.no_grad()
def take_up(optimizer: Optimizer, saved: Mapping[str, Any]) -> None:
    """Give an optimizer the state of another, bit for bit: in place where it is there already.

    torch's own way alone would cast what is kept in another precision than its parameter's.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    there = {parameter: dict(optimizer.state.get(parameter, {})) for parameter in parameters}
    rates = [group["lr"] for group in optimizer.param_groups]
    optimizer.load_state_dict(dict(saved))
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate  # every step sets it, and a recording reads it where it lies
    for index, state in saved["state"].items():
        if not isinstance(index, int):
            continue
        for key, value in state.items():
            if isinstance(value, Tensor):
                parameter = parameters[index]
                device = optimizer.state[parameter][key].device
                target = there[parameter].get(key, torch.empty_like(value, device=device))
                optimizer.state[parameter][key] = target.copy_(value)


def _own(optim: OptimSection, parameters: list[nn.Parameter]) -> Optimizer:
    what = f"optim.name {optim.name}"
    with blamed(f"{what}: called with parameters, lr and weight_decay it"):
        made = load_callable(optim.name)(parameters, lr=optim.lr, weight_decay=optim.weight_decay)
    if not isinstance(made, Optimizer):
        raise UsageError(f"{what}: gives {a_kind(made)}; allowed: a torch.optim.Optimizer")
    return made


def require_optimizer(optim: OptimSection) -> None:
    """Raise UsageError where the optimizer of an import path is none, or could not be saved and taken up.

    It makes three steps on two small weights, and again with a save after the second.
    """
    if not is_import_path(optim.name) or load_callable(optim.name) in _tried:
        return
    what = f"optim.name {optim.name}"
    straight, again = _Trial(optim), _Trial(optim)
    straight.steps(0, 1, 2)
    again.steps(0, 1)
    buffer = io.BytesIO()
    try:
        torch.save(again.optimizer.state_dict(), buffer)
        buffer.seek(0)
        saved = torch.load(buffer, weights_only=True)
    except Exception as error:
        raise UsageError(
            f"{what}: its state_dict holds what a checkpoint cannot; allowed: tensors and plain values"
        ) from error
    taken_up = _Trial(optim)
    with torch.no_grad():
        for parameter, value in zip(taken_up.parameters, again.parameters, strict=True):
            parameter.copy_(value)
    with blamed(f"{what}: taking up its state"):
        take_up(taken_up.optimizer, saved)
    taken_up.steps(2)
    if not all(map(torch.equal, straight.parameters, taken_up.parameters)):
        raise UsageError(
            f"{what}: saved after a step and taken up, it makes another next step; what it keeps belongs in "
            "its state and param_groups, and it is to draw no random numbers"
        )
    _tried.add(load_callable(optim.name))


class _Trial:
    """Two small weights and the optimizer that is tried on them."""

    def __init__(self, optim: OptimSection) -> None:
        self._what = f"optim.name {optim.name}"
        weight = torch.linspace(-1, 1, 24).view(2, 3, 2, 2)
        self.parameters = [nn.Parameter(weight), nn.Parameter(torch.ones(2))]
        self.optimizer = _own(optim, list(self.parameters))

    def steps(self, *numbers: int) -> None:
        for number in numbers:
            self.optimizer.zero_grad(set_to_none=True)
            for parameter in self.parameters:
                parameter.grad = torch.cos(number + 3 * parameter.detach())
            with blamed(f"{self._what}: its step"):
                self.optimizer.step()


ADAMS: dict[str, Callable[..., Optimizer]] = {"adam": Adam, "adamw": AdamW}
