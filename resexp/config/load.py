"""Config loading: a file or a shipped name, changes from the command line, every mistake told at once."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from resexp.config import Config, MultistepSchedule, SmoothSchedule, json_schema
from resexp.config.imports import absolute, imported
from resexp.config.messages import broken_rules, closest, complaints, location_in
from resexp.config.schema import change_words
from resexp.config.tree import find, from_plain, overlay, plain, put, read_file, set_in
from resexp.config.yaml_nodes import Node, Problem, one_line
from resexp.errors import UsageError

# What the schema must be told to know which schedule's keys are meant.
BENEATH = {"optim": {"schedule": {"name": "multistep"}}}
MAX_LINES = 20
FOLDER = Path(__file__).parents[1] / "configs"


def load(
    path: Path | str | None,
    sets: Sequence[str] = (),
    base: Mapping[str, Any] | None = None,
    *,
    recorded: bool = False,
) -> Config:
    """Return the config of a file (or a shipped name), changed by `a.b=c` texts, over a tree of defaults.

    recorded: it is only looked at, so no code that it names is run, be it here or not.
    Raises UsageError with a line for everything that is wrong, in the file and on the command line.
    """
    tree, problems = from_plain({}), ()
    if path is not None:
        tree, problems = read_file(find_config(str(path)))
    for text in sets:
        tree, more = put(tree, text)
        problems += more
    tree = overlay(_beneath(base or {}, tree), tree)
    try:
        config = Config.model_validate_json(json.dumps(plain(tree)), strict=True)
        if not recorded:
            problems += tuple(_not_to_be_had(config, tree))
        if not problems:
            return config if recorded else _from_everywhere(config)
    except ValidationError as error:
        known = {problem.location for problem in problems}
        found = _all_complaints(error, tree)
        problems += tuple(problem for problem in found if problem.location not in known)
    lines = [str(problem) for problem in sorted(problems, key=_reading_order)]
    if len(lines) > MAX_LINES:
        lines = [*lines[:MAX_LINES], f"and {len(lines) - MAX_LINES} more"]
    raise UsageError(*lines)


def _all_complaints(error: ValidationError, tree: Node) -> list[Problem]:
    """One problem a wrong key; and the rules between the others, which a validator may never have asked."""
    found = complaints(error, tree, json_schema())
    rest, wrong = plain(tree), set(found)
    while wrong:
        for path in wrong:
            _remove(rest, path)
        try:
            Config.model_validate_json(json.dumps(rest), strict=True)
            break
        except ValidationError as more:
            again, rules = complaints(more, tree, json_schema()), broken_rules(more, tree, json_schema())
            apart = set[tuple[str | int, ...]]().union(
                *(paths for paths in rules if not paths & found.keys())
            )
            found |= {path: problem for path, problem in again.items() if path in apart}
            # A union without the word that chooses its member is wrong again: it goes whole.
            wrong = {path[:-1] for path in again.keys() & wrong} - {()}
    return list(found.values())


def _not_to_be_had(config: Config, tree: Node) -> Iterator[Problem]:
    """Import what is the user's own; yield a problem for each that cannot be."""
    for key, text in config.plugins():
        path: tuple[str | int, ...] = tuple(key.split("."))
        words = getattr(getattr(config, str(path[0])), str(path[1]))
        if not isinstance(words, str):
            path = (*path, words.index(text))
        try:
            imported(text)
        except UsageError as error:
            yield Problem(location_in(path, tree), f"{key}: {one_line(error.lines[0], 500)}")


def _from_everywhere(config: Config) -> Config:
    """Return the config with files of the user's own by absolute paths, as it is recorded."""
    if not config.plugins():
        return config
    tree = config.tree()
    change_words(tree, absolute)
    return Config.model_validate_json(json.dumps(tree), strict=True)


def _remove(tree: Any, path: Sequence[str | int]) -> None:
    """Take out what stands at `path`, where something does."""
    for step in path[:-1]:
        tree = tree[step] if isinstance(step, int) else tree.get(step, {})
    if isinstance(tree, dict):
        tree.pop(path[-1], None)


def _reading_order(problem: Problem) -> tuple[bool, int, int]:
    """Sort a file's problems by line and column and put the command line's after them."""
    return not problem.location.line, problem.location.line, problem.location.column


def _beneath(base: Mapping[str, Any], tree: Node) -> Node:
    """Return the defaults; of another schedule than the tree's only the keys that both schedules have."""
    defaults = overlay(from_plain(BENEATH), from_plain(base))
    path = ("optim", "schedule")
    name, schedule = find(tree, (*path, "name")), plain(defaults)["optim"]["schedule"]
    if name is None or name.value == schedule["name"]:
        return defaults
    keys = (MultistepSchedule if name.value == "multistep" else SmoothSchedule).model_fields
    kept = {key: value for key, value in schedule.items() if key in keys}
    return set_in(defaults, path, from_plain(kept)).tree


def shipped() -> list[tuple[str, str]]:
    """Return (name, the question it asks: its first line), by name."""
    return [(path.stem, _question(path)) for path in sorted(FOLDER.glob("*.yaml"))]


def find_config(text: str) -> Path:
    """Return the file that `text` names: a path or, failing that, a shipped config. Raises UsageError."""
    path = Path(text)
    names = [path.stem for path in FOLDER.glob("*.yaml")]
    if text in names and not path.is_file():
        return FOLDER / f"{text}.yaml"
    if _is_missing(path):
        near = closest(path.stem, names, cutoff=0.6)
        raise UsageError(
            f"{one_line(text)}: no such file; allowed: a YAML file, or one of {', '.join(sorted(names))}"
            + (f"; did you mean {near}" if near else "")
        )
    return path


def _is_missing(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL in the path
        return True
    except OSError:  # it may be there: whoever reads it will say why it cannot be read
        return False
    return False


def _question(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.readline().removeprefix("#").strip()
