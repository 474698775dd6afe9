"""The config tree: YAML files and `--set a.b=c` as JSON's types, each value knowing where it stands."""

import json
import re
import shlex
import stat
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from resexp.config.yaml_nodes import (
    CONTROL_CHARACTER,
    MAX_DEPTH,
    Loader,
    Location,
    Node,
    Parsed,
    Problem,
    one_line,
    parse,
)

MAX_BYTES = 1_000_000
MAX_QUOTED = 200
DEFAULTS = Location("defaults")
KEY = re.compile(r"[^\s.\x00-\x1f\x7f-\x9f\ud800-\udfff]+")


def plain(node: Node) -> Any:
    """Return the tree as JSON's types, without locations."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


def from_plain(value: Any, location: Location = DEFAULTS) -> Node:
    """Return JSON's types as a tree that stands at one location."""
    if isinstance(value, Mapping):
        return Node({key: from_plain(child, location) for key, child in value.items()}, location, location)
    if isinstance(value, list | tuple):
        return Node([from_plain(child, location) for child in value], location, location)
    return Node(value, location, location)


def find(tree: Node, path: Sequence[str | int]) -> Node | None:
    """Return the node that `path` leads to, or None."""
    for step in path:
        children = tree.value
        if isinstance(children, dict) and step in children:
            tree = children[step]  # pyright: ignore[reportArgumentType]
        elif isinstance(children, list) and isinstance(step, int) and step < len(children):
            tree = children[step]
        else:
            return None
    return tree


def overlay(below: Node, above: Node) -> Node:
    """Lay one tree over another: sections merge key by key, anything else is replaced."""
    if not (isinstance(below.value, dict) and isinstance(above.value, dict)):
        return above
    merged = dict(below.value)
    for key, child in above.value.items():
        merged[key] = overlay(merged[key], child) if key in merged else child
    return replace(above, value=merged)


def read_file(path: Path) -> Parsed:
    """Read a YAML file: UTF-8, with or without BOM, any line ends, at most MAX_BYTES."""
    location = Location(one_line(str(path), limit=4096))
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # opening a pipe would wait for its writer
            return _unread(
                location, f"{'a folder' if stat.S_ISDIR(mode) else 'a pipe or device'}, not a YAML file"
            )
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        return _unread(location, f"cannot be read: {error.strerror}")
    except ValueError as error:  # a NUL in the path
        return _unread(location, f"cannot be read: {error}")
    if len(content) > MAX_BYTES:
        return _unread(location, f"larger than {MAX_BYTES:,} bytes; no config is")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig")
        here = Location(location.source, before.count("\n") + 1, len(before) - before.rfind("\n"))
        return _unread(here, f"not UTF-8: byte 0x{content[error.start]:02x}; allowed: text saved as UTF-8")
    return parse(text, lambda mark: Location(location.source, mark.line + 1, mark.column + 1))


def _unread(location: Location, text: str) -> Parsed:
    return Parsed(Node({}, location, location), (Problem(location, text),))


def put(tree: Node, text: str) -> Parsed:
    """Set one `a.b=c` in a tree: c, in YAML, takes the place of whatever a.b was, be it a whole section."""
    location = Location(f"command line, --set {one_line(text)}")
    key, equals, value = text.partition("=")
    path = key.strip().split(".")
    if not equals or not all(map(KEY.fullmatch, path)) or len(path) > MAX_DEPTH:
        return Parsed(tree, (Problem(location, "the form is wrong; allowed: --set section.key=value"),))
    if _has_comment(value):  # which on the command line is none
        if value.strip()[0] in "\"'[{":
            said = "nothing may follow the value; put all of it in quotes, or leave ' #...' out"
            return Parsed(tree, (Problem(location, said),))
        value = _quoted(value)
    # Read as the value of a key: what a bare word, or nothing, means is then the same as in a file.
    read, problems = parse(f"value: {value}", lambda mark: location)
    node = find(read, ["value"])
    if node is None or read.value != {"value": node}:
        return Parsed(tree, _with_quotes(problems or (Problem(location, "not one value"),), key, value))
    problems = _with_quotes(problems, key, value)
    changed, more = set_in(tree, path, node)
    return Parsed(changed, problems + more)


def _has_comment(text: str) -> bool:
    """Would YAML drop the end of `text`, from a # on?"""
    if "#" not in text:
        return False
    line = f"value: {text}"
    try:
        tokens = [(token.start_mark.index, token.end_mark.index) for token in yaml.scan(line, Loader)]
    except yaml.YAMLError:
        return False
    return bool(line[max(end for start, end in tokens if end > start) :].strip())


def _with_quotes(problems: tuple[Problem, ...], key: str, value: str) -> tuple[Problem, ...]:
    """Add to the first problem how the value is written where text is meant."""
    if (
        not problems
        or len(value) > MAX_QUOTED
        or CONTROL_CHARACTER.search(value)
        or value.strip()[:1] in ("'", '"')
    ):
        return problems
    quoted = shlex.quote(f"{key.strip()}={_quoted(value)}")
    return (problems[0]._replace(text=f"{problems[0].text}; as text: --set {quoted}"), *problems[1:])


def _quoted(text: str) -> str:
    return json.dumps(text.strip(), ensure_ascii=False)


def set_in(tree: Node, path: Sequence[str], node: Node) -> Parsed:
    """Put a node at a path, in place of whatever stood there; sections that are missing are made."""
    if not path:
        return Parsed(replace(node, key=node.location))
    if not isinstance(tree.value, dict | None):
        return Parsed(tree, (Problem(node.location, f"no section to set {path[0]} in, see {tree.location}"),))
    children = tree.value or {}
    child, problems = set_in(children.get(path[0], Node(None, node.location, node.location)), path[1:], node)
    return Parsed(replace(tree, value={**children, path[0]: child}), problems)
