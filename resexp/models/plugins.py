"""Plug-ins of the net: activations and inits of the user's own, tried before a net is made of them."""

import math
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor, nn

from resexp.config.imports import a_kind, blamed, load_callable
from resexp.errors import UsageError

TRIED_ON = ((8, 4, 3, 3), (4, 8))
"""Shapes of weights on which an init is tried."""
SEEN = ((2, 4, 8, 8), (3, 6, 5, 5))
"""Shapes of what an activation is tried on: a net has blocks of several widths and sizes."""
_tried = set[tuple[str, Callable[..., Any]]]()
_ALONE = threading.Lock()


def own_activation(text: str) -> nn.Module:
    """Return a new module of an activation by import path. Raises UsageError for what is none."""
    make, what = load_callable(text), f"model.activation {text}"

    def made() -> nn.Module:
        with blamed(f"{what}: calling it"):
            found = make()
        if not isinstance(found, nn.Module):
            raise UsageError(
                f"{what}: gives {a_kind(found)}; allowed: a class or a function that, called without "
                "arguments, gives a torch.nn.Module"
            )
        return found

    # What it draws for parameters of its own is the same in every place, whatever was drawn before.
    with _ALONE, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        if ("activation", make) not in _tried:
            for shape in SEEN:
                _try_activation(made(), shape, what)
            _tried.add(("activation", make))
        torch.default_generator.manual_seed(0)
        return made()


def _try_activation(module: nn.Module, shape: tuple[int, ...], what: str) -> None:
    given = torch.linspace(-3, 3, math.prod(shape)).view(shape)
    with torch.enable_grad(), blamed(f"{what}: on float32 {list(shape)} it"):
        x = given.clone().requires_grad_() * 1  # no leaf, as inside a net
        first, second = module(x), module(x)
    if not isinstance(first, Tensor) or first.shape != x.shape or first.dtype != x.dtype:
        got = f"{first.dtype} {list(first.shape)}" if isinstance(first, Tensor) else a_kind(first)
        raise UsageError(f"{what}: gives {got} for float32 {list(x.shape)}; allowed: a tensor like its input")
    if not torch.equal(x, given):
        raise UsageError(f"{what}: changes its input in place, which a shortcut still needs")
    if not torch.equal(first, second):
        raise UsageError(f"{what}: gives another output for the same input, so a run could not be repeated")
    if not first.requires_grad:
        raise UsageError(f"{what}: lets no gradient through")


def own_init(text: str) -> Callable[[Tensor, Generator], None]:
    """Return an init by import path as one that fills a weight. Raises UsageError for what is none."""
    fill, what = load_callable(text), f"model.init {text}"

    def filled(weight: Tensor, generator: Generator) -> None:
        weight.fill_(torch.nan)  # so that what is not drawn is seen
        with blamed(f"{what}: on a weight {list(weight.shape)} it"):
            fill(weight, generator=generator)
        if not weight.isfinite().all():
            raise UsageError(
                f"{what}: leaves numbers of a weight {list(weight.shape)} not finite; it is to draw all of "
                "them in place, from the generator it is given"
            )

    if ("init", fill) not in _tried:
        with torch.no_grad():
            for shape in TRIED_ON:
                twins = [torch.empty(shape), torch.empty(shape)]
                for weight in twins:
                    filled(weight, torch.Generator().manual_seed(0))
                if not torch.equal(*twins):
                    raise UsageError(
                        f"{what}: draws other numbers from an equal generator; it is to draw from that alone"
                    )
        _tried.add(("init", fill))
    return filled
