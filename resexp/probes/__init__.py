"""Probes: what is measured of a net between steps."""

import math
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from resexp.config import Probe
from resexp.config.imports import a_kind, blamed, is_import_path, load_callable
from resexp.errors import UsageError

if TYPE_CHECKING:
    from resexp.data.batches import Batch
    from resexp.models.resnet import Network


def probe(name: Probe) -> "Callable[[Network, Batch], dict[str, Any]]":
    """Return a probe: the function of that name in the module of that name in this room, or an import path's.

    It takes a net of its own, in training mode, and a normalised batch, and returns JSON's types by key.
    What is one number is drawn in TensorBoard and, over the steps, on a comparison's page.
    """
    if is_import_path(name):
        return _own(name)
    return getattr(import_module(f"resexp.probes.{name}"), name)


def _own(text: str) -> "Callable[[Network, Batch], dict[str, Any]]":
    """A probe of the user's own; what it returns is checked. Numbers that are not finite become None."""
    measure, what = load_callable(text), f"record.probes {text}"

    def measured(net: "Network", batch: "Batch") -> dict[str, Any]:
        with blamed(f"{what}: it"):
            found = measure(net, batch)
        if not isinstance(found, dict):
            raise UsageError(f"{what}: gives {a_kind(found)}; allowed: a dict of JSON's types by key")
        if taken := {"step", "probe"} & found.keys():
            raise UsageError(f"{what}: gives a key {min(taken)}, which the record has of its own; rename it")
        return _as_json(found, what)

    return measured


def _as_json(value: Any, what: str) -> Any:
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, list | tuple):
        return [_as_json(part, what) for part in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _as_json(part, f"{what}: {key}") for key, part in value.items()}
    raise UsageError(
        f"{what}: {a_kind(value)}, which is none of JSON's types; a tensor's number is float(tensor)"
    )
