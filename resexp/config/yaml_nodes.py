"""YAML nodes: the little of YAML that a config needs, text in, nodes with locations out, and back.

Mappings, lists, text, numbers, true, false and null in one document; everything else (anchors, tags, merge
keys, ...) is refused by name. YAML 1.1's surprises are left out: `1e-4` is a number, `no` is text, `010` is
10. Bad text raises nothing: what is wrong is handed back as problems, so that all can be shown at once.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import yaml

MAX_DEPTH = 8  # the schema is three deep; far below Python's recursion limit
MAX_VALUES = 2000  # thousands of wrong values would take seconds to explain
MAX_DIGITS = 20  # 2**64 has 20; no key of the schema needs more

# libyaml's parser: the pure Python one takes 10 s for 1 MB.
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}
NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
BARE_TEXT = re.compile(r"(?!(?i:y|n|yes|no|on|off|true|false|null)$)[A-Za-z_/][A-Za-z0-9_./-]*")
UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
CONTROL_CHARACTER = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Location(NamedTuple):
    """Where something was written. Lines and columns count from 1; line 0: the source has no lines."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


class Problem(NamedTuple):
    """Something wrong, and where."""

    location: Location
    text: str

    def __str__(self) -> str:
        return f"{self.location}: {self.text}"


@dataclass(frozen=True, slots=True)
class Node:
    """A value, where it stands, and where its key stands (the value's own location if it has none)."""

    value: "str | int | float | bool | dict[str, Node] | list[Node] | None"
    location: Location
    key: Location


class Parsed(NamedTuple):
    """What a source says, and what is wrong with it."""

    tree: Node
    problems: tuple[Problem, ...] = ()


def without_commands(text: str, *, lines: bool = False) -> str:
    """Return `text` with its control characters spelled out: what they say is shown and never done.

    lines: whether line ends and tabs stay what they are.
    """
    return CONTROL_CHARACTER.sub(
        lambda match: match[0] if lines and match[0] in "\n\t" else repr(match[0])[1:-1], text
    )


def one_line(text: str, limit: int = 80) -> str:
    """Return `text` on one line, at most `limit` characters of it."""
    line = without_commands(text[: limit + 1])
    return line if len(line) <= limit else line[: limit - 3] + "..."


def parse(text: str, location_of: Callable[[Any], Location]) -> Parsed:
    """Read a mapping; `location_of` turns PyYAML's marks into ours. Hopeless text is an empty mapping."""
    start = location_of(yaml.Mark("", 0, 0, 0, None, 0))
    builder = _Builder(location_of)
    try:
        if match := UNPRINTABLE.search(text):
            before = text[: match.start()]
            mark = yaml.Mark("", 0, before.count("\n"), len(before) - before.rfind("\n") - 1, None, 0)
            raise _Hopeless(location_of(mark), f"the character {match[0]!r} is not allowed")
        return Parsed(builder.document(yaml.parse(text, Loader=Loader), start), tuple(builder.problems))
    except _Hopeless as error:
        problem = error.problem
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = Problem(location_of(mark) if mark else start, f"not YAML: {one_line(error.problem or '')}")
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an escape beyond Unicode
        problem = Problem(start, f"not YAML: {one_line(str(error))}")
    return Parsed(Node({}, start, start), (*builder.problems, problem))


class _Hopeless(Exception):  # noqa: N818
    """Reading on would be of no use."""

    def __init__(self, location: Location, text: str) -> None:
        super().__init__(text)
        self.problem = Problem(location, text)


class _Builder:
    """Turns the events of one YAML document into nodes and notes what is wrong on the way."""

    def __init__(self, location_of: Callable[[Any], Location]) -> None:
        self.location_of = location_of
        self.problems: list[Problem] = []
        self.num_values = 0

    def document(self, events: Iterator[Any], start: Location) -> Node:
        tree: Node | None = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if tree is not None:
                    raise _Hopeless(
                        self.location_of(event.start_mark), "a second document begins; allowed: one"
                    )
                tree = self.node(next(events), events, 0)
        if tree is None or tree.value is None:
            raise _Hopeless(start, "empty; allowed: keys such as `seed: 0`, or {} for all defaults")
        if not isinstance(tree.value, dict):
            found = "a list" if isinstance(tree.value, list) else "a single value"
            raise _Hopeless(tree.location, f"{found} at the top; allowed: keys such as `seed: 0`")
        return tree

    def node(self, event: Any, events: Iterator[Any], depth: int) -> Node:
        """Return the node that begins with `event`; a refused one too, since its key was written."""
        location = self.location_of(event.start_mark)
        if depth > MAX_DEPTH:
            raise _Hopeless(location, f"nested more than {MAX_DEPTH} deep")
        self.num_values += 1
        if self.num_values > MAX_VALUES:
            raise _Hopeless(location, f"more than {MAX_VALUES:,} values; no config has")
        if isinstance(event, yaml.AliasEvent):
            self.refuse(location, f"the alias *{one_line(event.anchor)} is not allowed; write the value out")
            return Node(None, location, location)
        if event.anchor:
            self.refuse(location, f"the anchor &{one_line(event.anchor)} is not allowed; write the value out")
        if event.tag:
            self.refuse(location, f"the tag {one_line(event.tag)} is not allowed; write the value alone")
        if isinstance(event, yaml.MappingStartEvent):
            return Node(self.mapping(events, depth), location, location)
        if isinstance(event, yaml.SequenceStartEvent):
            return Node(self.sequence(events, depth), location, location)
        return Node(self.scalar(event, location), location, location)

    def mapping(self, events: Iterator[Any], depth: int) -> dict[str, Node]:
        children: dict[str, Node] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key = self.key(event, events, depth)
            location = self.location_of(event.start_mark)
            node = replace(self.node(next(events), events, depth + 1), key=location)
            if key in children:
                self.refuse(
                    location, f"{one_line(key)}: duplicate key; it stands first at {children[key].key}"
                )
            elif key is not None:
                children[key] = node
        return children

    def key(self, event: Any, events: Iterator[Any], depth: int) -> str | None:
        location = self.location_of(event.start_mark)
        if not isinstance(event, yaml.ScalarEvent):
            self.node(event, events, depth + 1)
            self.refuse(location, "a list, a mapping or an alias as a key; allowed: a word")
        elif event.anchor or event.tag:
            self.refuse(location, "an anchor or a tag on a key; allowed: a word")
        elif event.value == "<<" and event.implicit[0]:
            self.refuse(location, "the merge key << is not allowed; write the keys out")
        elif CONTROL_CHARACTER.search(event.value):
            self.refuse(location, "a control character in a key is not allowed")
        else:
            return event.value
        return None

    def sequence(self, events: Iterator[Any], depth: int) -> list[Node]:
        children = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            children.append(self.node(event, events, depth + 1))
        return children

    def scalar(self, event: Any, location: Location) -> str | int | float | bool | None:
        text: str = event.value
        is_bare = event.implicit[0]
        if is_bare and text in WORDS:
            return WORDS[text]
        if is_bare and NUMBER.fullmatch(text):
            is_whole = text.lstrip("+-").isdigit()
            if is_whole and len(text) <= MAX_DIGITS:
                return int(text)
            if not is_whole and math.isfinite(value := float(text)):
                return value
            self.refuse(location, f"the number {one_line(text, 30)} is too large")
        elif match := CONTROL_CHARACTER.search(text):
            self.refuse(location, f"text with the control character {match[0]!r} is not allowed")
        return text

    def refuse(self, location: Location, text: str) -> None:
        self.problems.append(Problem(location, text))


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
    if BARE_TEXT.fullmatch(text):
        return text
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted) + '"'
