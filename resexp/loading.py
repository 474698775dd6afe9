"""A config from a file, its changes from the command line, and every mistake in them told at once."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from resexp import source
from resexp.complaints import complaints
from resexp.config import Config, MultistepSchedule, SmoothSchedule, json_schema
from resexp.errors import UsageError
from resexp.shipped import find_config

# What the schema must be told to know which schedule's keys are meant.
BENEATH = {"optim": {"schedule": {"name": "multistep"}}}
MAX_LINES = 20


def load(path: Path | str | None, sets: Sequence[str] = (), base: Mapping[str, Any] | None = None) -> Config:
    """Return the config of a file (or a shipped name), changed by `a.b=c` texts, over a tree of defaults.

    Raises UsageError with a line for everything that is wrong, in the file and on the command line.
    """
    tree, problems = source.from_plain({}), ()
    if path is not None:
        tree, problems = source.read_file(find_config(str(path)))
    for text in sets:
        tree, more = source.put(tree, text)
        problems += more
    tree = source.overlay(_beneath(base or {}, tree), tree)
    try:
        config = Config.model_validate_json(json.dumps(source.plain(tree)), strict=True)
        if not problems:
            return config
    except ValidationError as error:
        known = {problem.place for problem in problems}
        found = complaints(error, tree, json_schema())
        problems += tuple(problem for problem in found if problem.place not in known)
    lines = [str(problem) for problem in sorted(problems, key=_reading_order)]
    if len(lines) > MAX_LINES:
        lines = [*lines[:MAX_LINES], f"and {len(lines) - MAX_LINES} more"]
    raise UsageError(*lines)


def _reading_order(problem: source.Problem) -> tuple[bool, int, int]:
    """Sort a file's problems by line and column and put the command line's after them."""
    return not problem.place.line, problem.place.line, problem.place.column


def _beneath(base: Mapping[str, Any], tree: source.Node) -> source.Node:
    """Return the defaults; of another schedule than the tree's only the keys that both schedules have."""
    defaults = source.overlay(source.from_plain(BENEATH), source.from_plain(base))
    path = ("optim", "schedule")
    name, schedule = source.find(tree, (*path, "name")), source.plain(defaults)["optim"]["schedule"]
    if name is None or name.value == schedule["name"]:
        return defaults
    keys = (MultistepSchedule if name.value == "multistep" else SmoothSchedule).model_fields
    kept = {key: value for key, value in schedule.items() if key in keys}
    return source.set_in(defaults, path, source.from_plain(kept)).tree
