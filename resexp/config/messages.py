"""Validation messages: what a validator found wrong, in the words of whoever wrote the config.

Every line says where, which key, what stands there, what is allowed, and the nearest allowed word. All of it
is read off the JSON Schema, so a new key or word of the schema needs nothing here.
"""

import difflib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import ValidationError

from resexp.config.tree import DEFAULTS, find, plain
from resexp.config.yaml_nodes import NUMBER, Location, Node, Problem, one_line

Schema = dict[str, Any]
Path = tuple[str | int, ...]

SPELLINGS = {"true": "true", "yes": "true", "on": "true", "false": "false", "no": "false", "off": "false"}


def complaints(error: ValidationError, tree: Node, schema: Schema) -> dict[Path, Problem]:
    """Return one problem for each key that is wrong, by its path."""
    found: dict[Path, Problem] = {}
    for item in error.errors(include_url=False):
        path = _path(item["loc"], tree, schema)
        context = item.get("ctx", {})
        if item["type"] == "extra_forbidden":
            problem = _unknown_key(path, tree, schema)
        elif "keys" in context:  # a rule between keys: the schema names them, the first stands for all
            path = _first_written([(*path, key) for key in context["keys"]], tree)
            problem = Problem(location_in(path, tree), f"{_dotted(path)}: {item['msg']}")
        else:
            if item["type"] in ("union_tag_invalid", "union_tag_not_found"):
                path = (*path, _definition(path, tree, schema)["discriminator"])
            problem = _wrong_value(path, tree, schema)
        found.setdefault(path, problem)
    return found


def broken_rules(error: ValidationError, tree: Node, schema: Schema) -> list[set[Path]]:
    """Return for each rule between keys that is broken the paths of its keys."""
    return [
        {(*_path(item["loc"], tree, schema), key) for key in keys}
        for item in error.errors(include_url=False)
        if (keys := item.get("ctx", {}).get("keys"))
    ]


def _first_written(paths: Sequence[Path], tree: Node) -> Path:
    written = [path for path in paths if (node := find(tree, path)) and node.location != DEFAULTS]
    return (written or paths)[0]


def closest(word: str, words: Iterable[str], cutoff: float) -> str | None:
    """Return the word most like `word`, whatever the case of its letters, or None if none is like it."""
    word, lower = word.lower()[:80], {choice.lower(): choice for choice in words}
    # difflib alone takes the typo "inid" for "kind" and not for "init".
    near = [choice for choice in lower if len(choice) > 1 and _is_one_typo(word, choice)]
    near = near or difflib.get_close_matches(word, lower, n=1, cutoff=cutoff)
    return lower[near[0]] if near else None


def _is_one_typo(a: str, b: str) -> bool:
    """Is one letter of `a` left out, put in or replaced in `b`, or two neighbours swapped?"""
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    a, b = a[start:], b[start:]
    return a[1:] in (b, b[1:]) or a == b[1:] or a[1::-1] + a[2:] == b


def _unknown_key(path: Path, tree: Node, schema: Schema) -> Problem:
    key, section = str(path[-1]), _definition(path[:-1], tree, schema)
    keys = list(section["properties"])
    text = f"{_dotted(path)}: unknown key"
    if "chosen" in section:
        text += f" of {section['chosen']} (chosen at {section['location']})"
    text += f"; allowed: {', '.join(keys)}"
    if near := _same_key(key, schema) or closest(key, keys, cutoff=0.5):
        text += f"; did you mean {near}"
    node = find(tree, path)
    return Problem(node.key if node else location_in(path, tree), text)


def _same_key(key: str, schema: Schema) -> str | None:
    """Return where the schema has this very key, if elsewhere."""
    for section, definition in _properties(schema).items():
        for name in _properties(_resolve(definition, schema)):
            if key in (name, f"{section}.{name}"):
                return f"{name} under {section}"
    return f"{key} at the top" if key in _properties(schema) else None


def _wrong_value(path: Path, tree: Node, schema: Schema) -> Problem:
    node = find(tree, path)
    definition = _definition(path, tree, schema)
    value = plain(node) if node else None
    text = f"{_dotted(path)}: {_got(value)}; allowed: {describe(definition, schema)}"
    if near := _near(value, definition, schema):
        text += f"; did you mean {near}"
    return Problem(location_in(path, tree), text)


def _near(value: Any, definition: Schema, schema: Schema) -> str | None:
    """Return what was probably meant, as one would write it in YAML."""
    parts = [_resolve(part, schema) for part in definition.get("anyOf", [definition])]
    types = {part.get("type") for part in parts}
    words = [word for part in parts for word in _words(part)]
    if key := definition.get("discriminator"):
        word = closest(str(value), _words(definition["properties"][key]), cutoff=0.5)
        return f"{{{key}: {word}}}" if word else None
    if types == {"array"} and isinstance(value, str | int | float):
        return f"[{one_line(str(value))}]"
    if isinstance(value, str):
        return _near_text(value, types, words)
    if isinstance(value, list | dict) and types == {"string"} and not words:
        return "text in quotes"
    if isinstance(value, float) and "integer" in types and value.is_integer():
        return str(int(value))
    if isinstance(value, int | float) and types == {"string"} and not words:
        return f'"{json.dumps(value)}"'
    return closest(str(value), map(str, words), cutoff=0.5)


def _near_text(text: str, types: set[str | None], words: Sequence[Any]) -> str | None:
    if "boolean" in types and text.lower() in SPELLINGS:
        return SPELLINGS[text.lower()]
    number = text.replace("_", "").replace(",", "")
    if NUMBER.fullmatch(number) and ("number" in types or ("integer" in types and number.isdigit())):
        return one_line(number)
    return closest(text, map(str, words), cutoff=0.5)


def describe(definition: Schema, schema: Schema) -> str:
    """Return in words what a part of the schema allows."""
    definition = _resolve(definition, schema)
    if "anyOf" in definition:
        return ", ".join(describe(part, schema) for part in definition["anyOf"])
    if words := _words(definition):
        return ", ".join(map(str, words))
    kind = definition.get("type")
    if kind == "boolean":
        return "true, false"
    if kind == "array":
        return f"a list in brackets, each entry {describe(definition['items'], schema)}"
    if kind == "string":
        return _text(definition)
    if kind in ("integer", "number"):
        return _numbers("a whole number" if kind == "integer" else "a number", definition)
    return f"a section with the keys {', '.join(_properties(definition))}"


def _text(definition: Schema) -> str:
    if "format" in definition:
        return definition["format"]
    form = f" of the form {definition['pattern']}" if "pattern" in definition else ""
    low, high = definition.get("minLength"), definition.get("maxLength")
    limits = [f"at least {low}" if low else "", f"at most {high}" if high else ""]
    return f"text{form}" + "".join(f", {limit} characters long" for limit in limits if limit)


def _numbers(noun: str, definition: Schema) -> str:
    step, low, high = (definition.get(key) for key in ("multipleOf", "minimum", "maximum"))
    above, below = definition.get("exclusiveMinimum"), definition.get("exclusiveMaximum")
    limits = [
        f"divisible by {step}" if step else "",
        f"above {above}" if above is not None else "",
        f"from {low}" if low is not None else "",
        f"to {high}" if high is not None else "",
        f"below {below}" if below is not None else "",
    ]
    return " ".join([noun, *filter(None, limits)])


def _got(value: Any) -> str:
    if value is None:
        return "got no value"
    if isinstance(value, list | dict):
        return "got a list" if isinstance(value, list) else "got a section"
    kind = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}[type(value)]
    return f"got {one_line(json.dumps(value, ensure_ascii=False))} ({kind})"


def _path(location: Sequence[str | int], tree: Node, schema: Schema) -> Path:
    """Return the keys of a validator's location, which also names the branches of unions."""
    path: Path = ()
    steps = iter(location)
    for step in steps:
        path = (*path, step)
        definition = _definition(path, tree, schema)
        if "anyOf" in definition:
            break
        if "chosen" in definition:
            next(steps, None)
    return path


def _definition(path: Sequence[str | int], tree: Node, schema: Schema) -> Schema:
    """Return the part of the schema that rules a path; of a union, the part that the tree chose."""
    definition = schema
    for depth, step in enumerate(path, start=1):
        part = definition["items"] if isinstance(step, int) else _properties(definition).get(step, {})
        definition = _resolve(part, schema)
        if "discriminator" in definition:
            definition = _chosen(definition, find(tree, path[:depth]), schema)
    return definition


def _chosen(union: Schema, node: Node | None, schema: Schema) -> Schema:
    """Return the member of a union that a node's key chooses, or one that knows only that key."""
    key, members = union["discriminator"]["propertyName"], union["discriminator"]["mapping"]
    name = find(node, [key]) if node else None
    if name and isinstance(name.value, str) and name.value in members:
        return {
            **_resolve({"$ref": members[name.value]}, schema),
            "chosen": name.value,
            "location": name.location,
        }
    return {"type": "object", "properties": {key: {"enum": list(members)}}, "discriminator": key}


def _resolve(definition: Schema, schema: Schema) -> Schema:
    reference = definition.get("$ref")
    return schema["$defs"][reference.rsplit("/", 1)[1]] if reference else definition


def _properties(definition: Schema) -> Schema:
    return definition.get("properties", {})


def _words(definition: Schema) -> list[Any]:
    return definition.get("enum", [definition["const"]] if "const" in definition else [])


def _dotted(path: Sequence[str | int]) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return one_line(text.removeprefix(".")) or "the config"


def location_in(path: Sequence[str | int], tree: Node) -> Location:
    """Return where the value at `path` stands, or the nearest section above it."""
    while (node := find(tree, path)) is None:
        path = path[:-1]
    return node.location
