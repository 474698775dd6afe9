"""Probes: what is measured of a net between steps."""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from resexp.config import Probe

if TYPE_CHECKING:
    from resexp.data.batches import Batch
    from resexp.models.resnet import Network


def probe(name: Probe) -> "Callable[[Network, Batch], dict[str, Any]]":
    """Return a probe: the function of that name in the module of that name in this room.

    It takes a net of its own, in training mode, and a normalised batch, and returns JSON's types by key.
    What is one number is drawn in TensorBoard and, over the steps, on a comparison's page.
    """
    return getattr(import_module(f"resexp.probes.{name}"), name)
