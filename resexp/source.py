"""YAML files and `--set a.b=c` as one tree of JSON's types in which every value knows where it stands.

A small part of YAML is enough for a config: mappings, lists, text, numbers, true, false and null in one
document. Everything else (anchors, tags, merge keys, ...) is refused by name, with its place. Nothing here
raises for a bad source: what is wrong is handed back as problems, so that all of them can be shown at once.
"""

import json
import math
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import yaml

MAX_BYTES = 1_000_000
MAX_DEPTH = 8  # the schema is three deep; a cap far below Python's own recursion limit
MAX_DIGITS = 20  # 2**64 has 20; no key of the schema needs more

# libyaml's parser: a file of 1 MB takes 10 s with the pure Python one.
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}
INTEGER = re.compile(r"[-+]?[0-9]+")
NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
PLAIN_TEXT = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./-]*")
UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Place(NamedTuple):
    """Where something was written. Lines and columns count from 1; line 0: the source has no lines."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


class Problem(NamedTuple):
    """Something wrong, and where."""

    place: Place
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


@dataclass(frozen=True, slots=True)
class Node:
    """A value, where it stands, and where its key stands (the value's own place if it has none)."""

    value: "str | int | float | bool | dict[str, Node] | list[Node] | None"
    place: Place
    key: Place


class Reading(NamedTuple):
    """What a source says, without the keys that are wrong in themselves, and what is wrong."""

    tree: Node
    problems: tuple[Problem, ...] = ()


def shown(text: str, limit: int = 80) -> str:
    """Return `text` on one line, at most `limit` characters of it."""
    line = CONTROL.sub(lambda match: repr(match[0])[1:-1], text[: limit + 1])
    return line if len(line) <= limit else line[: limit - 3] + "..."


def plain(node: Node) -> Any:
    """Return the tree as JSON's types, without places."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


def from_plain(value: Any, place: Place) -> Node:
    """Return JSON's types as a tree that stands at `place` throughout."""
    if isinstance(value, Mapping):
        return Node({key: from_plain(child, place) for key, child in value.items()}, place, place)
    if isinstance(value, list | tuple):
        return Node([from_plain(child, place) for child in value], place, place)
    return Node(value, place, place)


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


def read_file(path: Path) -> Reading:
    """Read a YAML file: UTF-8, with or without BOM, any line ends, at most MAX_BYTES."""
    place = Place(shown(str(path), limit=4096))
    nothing = Node({}, place, place)
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
            return Reading(nothing, (Problem(place, f"is {kind}, not a YAML file"),))
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        return Reading(nothing, (Problem(place, f"cannot be read: {error.strerror}"),))
    except ValueError as error:  # a NUL in the path
        return Reading(nothing, (Problem(place, f"cannot be read: {error}"),))
    if len(content) > MAX_BYTES:
        return Reading(nothing, (Problem(place, f"is larger than {MAX_BYTES:,} bytes; a config is not"),))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        where = Place(place.source, line, column)
        return Reading(nothing, (Problem(where, "is not UTF-8; save the file as UTF-8"),))
    return _read(text, lambda mark: Place(place.source, mark.line + 1, mark.column + 1))


def put(tree: Node, text: str) -> Reading:
    """Set one `a.b=c` in a tree: c, in YAML, takes the place of whatever a.b was, be it a whole section."""
    place = Place(f"command line, --set {shown(text)}")
    key, equals, value = text.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path) or len(path) > MAX_DEPTH:
        return Reading(tree, (Problem(place, "has the wrong form; allowed: --set section.key=value"),))
    # Read as the value of a key, so that nothing is null and a bare word is text.
    reading = _read(f"value: {value}", lambda mark: place)
    node = find(reading.tree, ["value"])
    if reading.problems or node is None or len(plain(reading.tree)) != 1:
        return Reading(tree, reading.problems or (Problem(place, "is not one value; put it in quotes"),))
    return set_in(tree, path, node)


def set_in(tree: Node, path: Sequence[str], node: Node) -> Reading:
    """Put a node at a path, in place of whatever stood there."""
    if not path:
        return Reading(node)
    if not isinstance(tree.value, dict):
        if tree.value is not None:
            problem = Problem(node.place, f"has no section to set {path[0]} in: see {tree.place}")
            return Reading(tree, (problem,))
        tree = replace(tree, value={})
    assert isinstance(tree.value, dict)
    below = tree.value.get(path[0], Node(None, node.place, node.place))
    child, problems = set_in(below, path[1:], node)
    return Reading(replace(tree, value={**tree.value, path[0]: child}), problems)


class _Fatal(Exception):  # noqa: N818
    """Reading on would be of no use."""

    def __init__(self, place: Place, text: str) -> None:
        super().__init__(text)
        self.problem = Problem(place, text)


def _read(text: str, place_of: Callable[[Any], Place]) -> Reading:
    builder = _Builder(place_of)
    start = place_of(yaml.Mark("", 0, 0, 0, None, 0))
    try:
        if match := UNPRINTABLE.search(text):
            before = text[: match.start()]
            line, column = before.count("\n"), match.start() - before.rfind("\n") - 1
            mark = yaml.Mark("", 0, line, column, None, 0)
            raise _Fatal(place_of(mark), f"character {match[0]!r} is not allowed")
        return Reading(builder.document(yaml.parse(text, Loader=Loader), start), tuple(builder.problems))
    except _Fatal as fatal:
        problem = fatal.problem
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = Problem(place_of(mark) if mark else start, f"is not YAML: {shown(error.problem or '')}")
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # e.g. chr() of an escape out of range
        problem = Problem(start, f"is not YAML: {shown(str(error))}")
    return Reading(Node({}, start, start), (*builder.problems, problem))


class _Builder:
    """Turns the events of one YAML document into nodes and notes what is wrong on the way."""

    def __init__(self, place_of: Callable[[Any], Place]) -> None:
        self.place_of = place_of
        self.problems: list[Problem] = []

    def document(self, events: Iterator[Any], start: Place) -> Node:
        tree: Node | None = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if tree is not None:
                    raise _Fatal(self.place_of(event.start_mark), "a second document begins; allowed: one")
                tree = self.top(next(events), events)
        if tree is None:
            raise _Fatal(start, "is empty; allowed: keys such as `seed: 0`; {} for all defaults")
        return tree

    def top(self, event: Any, events: Iterator[Any]) -> Node:
        place = self.place_of(event.start_mark)
        node = self.node(event, events, 0)
        if node is None or not isinstance(node.value, dict):
            found = "a list" if isinstance(event, yaml.SequenceStartEvent) else "a single value"
            raise _Fatal(place, f"{found} at the top; allowed: keys such as `seed: 0`")
        return node

    def node(self, event: Any, events: Iterator[Any], depth: int) -> Node | None:
        """Return the node that begins with `event`, or None if it is of no use."""
        place = self.place_of(event.start_mark)
        if depth > MAX_DEPTH:
            raise _Fatal(place, f"is nested more than {MAX_DEPTH} deep")
        if isinstance(event, yaml.AliasEvent):
            return self.refuse(place, f"alias *{shown(event.anchor)} is not allowed; write the value out")
        node: Node | None
        if isinstance(event, yaml.MappingStartEvent):
            node = Node(self.mapping(events, depth), place, place)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = Node(self.sequence(events, depth), place, place)
        else:
            node = self.scalar(event, place)
        if event.anchor:
            self.refuse(place, f"anchor &{shown(event.anchor)} is not allowed; write the value out")
        if event.tag:
            return self.refuse(place, f"tag {shown(event.tag)} is not allowed; write the value without it")
        return node

    def mapping(self, events: Iterator[Any], depth: int) -> dict[str, Node]:
        children: dict[str, Node] = {}
        keys: dict[str, Place] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            place = self.place_of(event.start_mark)
            key = self.key(event, events, depth)
            node = self.node(next(events), events, depth + 1)
            if key in keys:
                self.refuse(place, f"{shown(key)}: duplicate key; it stands first at {keys[key]}")
            elif key is not None:
                keys[key] = place
                if node is not None:
                    children[key] = replace(node, key=place)
        return children

    def key(self, event: Any, events: Iterator[Any], depth: int) -> str | None:
        place = self.place_of(event.start_mark)
        if not isinstance(event, yaml.ScalarEvent):
            self.node(event, events, depth + 1)
            return self.refuse(place, "a list or mapping as a key; allowed: a word")
        if event.anchor or event.tag:
            return self.refuse(place, "an anchor or a tag on a key; allowed: a word")
        if event.value == "<<" and event.implicit[0]:
            return self.refuse(place, "merge key << is not allowed; write the keys out")
        return event.value

    def sequence(self, events: Iterator[Any], depth: int) -> list[Node]:
        children = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            node = self.node(event, events, depth + 1)
            if node is not None:
                children.append(node)
        return children

    def scalar(self, event: Any, place: Place) -> Node | None:
        text: str = event.value
        if not event.implicit[0]:  # quoted, or with a tag
            value = text
        elif text in WORDS:
            value = WORDS[text]
        elif INTEGER.fullmatch(text):
            if len(text) > MAX_DIGITS:
                return self.refuse(place, f"{shown(text, 30)} has too many digits; allowed: {MAX_DIGITS}")
            value = int(text)
        elif NUMBER.fullmatch(text):
            value = float(text)
            if math.isinf(value):
                return self.refuse(place, f"{shown(text, 30)} is too large a number")
        else:
            value = text
        if isinstance(value, str) and (match := CONTROL.search(value)):
            return self.refuse(place, f"text with the control character {match[0]!r} is not allowed")
        return Node(value, place, place)

    def refuse(self, place: Place, text: str) -> None:
        self.problems.append(Problem(place, text))


def dump(tree: Mapping[str, Any]) -> str:
    """Return JSON's types as YAML that reads back equal: sections as blocks, all below on one line."""
    lines = []
    for key, value in tree.items():
        if isinstance(value, Mapping):
            lines += [f"{key}:", *(f"  {name}: {_flow(child)}" for name, child in value.items())]
        else:
            lines.append(f"{key}: {_flow(value)}")
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(child)}" for key, child in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, float):
        text = repr(value)  # 1e-05 is text to YAML 1.1, 1.0e-05 a number to everyone
        return text.replace("e", ".0e") if "e" in text and "." not in text else text
    if isinstance(value, str):
        return _text(value)
    return json.dumps(value)


def _text(text: str) -> str:
    """Return text bare where every YAML reader takes it as text, otherwise in double quotes."""
    if PLAIN_TEXT.fullmatch(text) and not NUMBER.fullmatch(text) and isinstance(yaml.safe_load(text), str):
        return text
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted) + '"'
