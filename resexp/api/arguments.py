"""Python values as the words of the command line, so that both are checked by the same rules."""

import json
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import Any

from resexp.errors import UsageError

Sets = Mapping[str, Any]
"""Config keys and their values, e.g. {"optim.steps": 500}."""
Axes = Mapping[str, Sequence[Any]]
"""Config keys and the values that they take in turn, e.g. {"model.norm": ["none", "batch"]}."""


def words_of(sets: Sets | None, data: str | None) -> list[str]:
    """Return KEY=VALUE texts. data: short for data.name."""
    named = {**({"data.name": data} if data else {}), **(sets or {})}
    return [f"{key}={_word(value)}" for key, value in named.items()]


def axis_words(vary: Axes | None, depth: int | Sequence[int] | None = None) -> dict[str, list[str]]:
    """Return key to values, as texts. depth: short for model.depth. Raises UsageError for what is no list."""
    axes = dict(vary or {})
    if depth is not None:
        if "model.depth" in axes:
            raise UsageError("model.depth: both depth and vary name it; use one of them")
        axes["model.depth"] = [depth] if isinstance(depth, int) else depth
    for key, values in axes.items():
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise UsageError(f"{key}: give its values as a list, e.g. [{values!r}]")
    return {key: [_word(value) for value in values] for key, values in axes.items()}


def _word(value: Any) -> str:
    if isinstance(value, PathLike):
        value = fspath(value)
    return value if isinstance(value, str) else json.dumps(value)
