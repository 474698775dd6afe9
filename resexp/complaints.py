"""What a validator found wrong, in the words of whoever wrote the config.

Every line says where, which key, what stands there, what is allowed, and the nearest allowed word. All of it
is read off the JSON Schema, so a new key or word of the schema needs nothing here.
"""

import difflib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import ValidationError

from resexp.source import Node, Place, Problem, find, plain, shown

Schema = dict[str, Any]

SPELLINGS = {"yes": "true", "on": "true", "no": "false", "off": "false"}


def complaints(error: ValidationError, tree: Node, schema: Schema) -> list[Problem]:
    """Return one problem for each key that is wrong, in the order in which the keys were written."""
    found: dict[tuple[str | int, ...], Problem] = {}
    for item in error.errors(include_url=False):
        path = _path(item["loc"], tree, schema)
        context = item.get("ctx", {})
        if item["type"] == "extra_forbidden":
            problem = _unknown_key(path, tree, schema)
        elif "keys" in context:  # a rule between keys: the schema names them, the first stands for all
            path = next((p for key in context["keys"] if find(tree, p := (*path, key))), path)
            problem = Problem(_place(path, tree), f"{_dotted(path)}: {item['msg']}")
        else:
            if item["type"] in ("union_tag_invalid", "union_tag_not_found"):
                path = (*path, _definition(path, tree, schema)["discriminator"]["propertyName"])
            problem = _wrong_value(path, tree, schema)
        found.setdefault(path, problem)
    return sorted(found.values(), key=lambda problem: problem.place)


def closest(word: str, words: Iterable[str], cutoff: float) -> str | None:
    """Return the word most like `word`, whatever the case of its letters, or None if none is like it."""
    lower = {choice.lower(): choice for choice in words}
    near = difflib.get_close_matches(word.lower()[:80], lower, n=1, cutoff=cutoff)
    return lower[near[0]] if near else None


def _unknown_key(path: tuple[str | int, ...], tree: Node, schema: Schema) -> Problem:
    node = find(tree, path)
    key, section = str(path[-1]), _definition(path[:-1], tree, schema)
    keys = list(section["properties"])
    text = f"{_dotted(path)}: unknown key"
    if choice := section.get("chosen"):
        text += f" of {choice}"
    text += f"; allowed: {', '.join(keys)}"
    elsewhere = [f"{name}.{key}" for name, part in _sections(schema) if key in part["properties"]]
    if len(path) > 1 and key in schema["properties"]:
        elsewhere.append(f"{key} at the top")
    if "." in key and _is_key(key.split("."), schema):
        elsewhere.append("a section " + ", in it ".join(key.split(".")))
    if near := elsewhere[:1] or [closest(key, keys, cutoff=0.4)]:
        text += f"; did you mean {near[0]}" if near[0] else ""
    return Problem(node.key if node else _place(path, tree), text)


def _wrong_value(path: tuple[str | int, ...], tree: Node, schema: Schema) -> Problem:
    node = find(tree, path)
    definition = _definition(path, tree, schema)
    value = plain(node) if node else None
    text = f"{_dotted(path)}: {_got(value)}; allowed: {describe(definition, schema)}"
    if near := _near(value, definition, schema):
        text += f"; did you mean {near}"
    return Problem(_place(path, tree), text)


def _near(value: Any, definition: Schema, schema: Schema) -> str | None:
    """Return what was probably meant, as one would write it in YAML."""
    parts = [_resolve(part, schema) for part in definition.get("anyOf", [definition])]
    types = {part.get("type") for part in parts}
    words = [word for part in parts for word in part.get("enum", [part["const"]] if "const" in part else [])]
    if isinstance(value, str):
        if "boolean" in types and value.lower() in ("true", "false", *SPELLINGS):
            return SPELLINGS.get(value.lower(), value.lower())
        number = value.replace("_", "").replace(",", "")
        if types & {"integer", "number"} and number.isascii() and number.lstrip("+-").isdigit():
            return number
        return closest(value, map(str, words), cutoff=0.5)
    if isinstance(value, float) and "integer" in types and value.is_integer():
        return str(int(value))
    if isinstance(value, bool | int | float) and types == {"string"}:
        return closest(str(value), words, cutoff=0.5) or ("" if words else json.dumps(str(value)))
    if not isinstance(value, list | dict | None) and types == {"array"}:
        return f"[{value}]"
    return None


def describe(definition: Schema, schema: Schema) -> str:
    """Return in words what a part of the schema allows."""
    definition = _resolve(definition, schema)
    if "anyOf" in definition:
        return " or ".join(describe(part, schema) for part in definition["anyOf"])
    if "enum" in definition or "const" in definition:
        return ", ".join(map(str, definition.get("enum", [definition.get("const")])))
    kind = definition.get("type")
    if kind in ("integer", "number"):
        return _range("a whole number" if kind == "integer" else "a number", definition)
    if kind == "boolean":
        return "true, false"
    if kind == "array":
        return f"a list such as [a, b] of: {describe(definition['items'], schema)}"
    if kind == "string":
        return "text" + (f" matching {definition['pattern']}" if "pattern" in definition else "")
    return f"a section with the keys {', '.join(definition.get('properties', {}))}"


def _range(noun: str, definition: Schema) -> str:
    if "multipleOf" in definition:
        noun += f" divisible by {definition['multipleOf']}"
    limits = {
        "exclusiveMinimum": "above",
        "minimum": "at least",
        "exclusiveMaximum": "below",
        "maximum": "at most",
    }
    return " ".join(
        [noun, ", ".join(f"{word} {definition[key]}" for key, word in limits.items() if key in definition)]
    ).strip()


def _got(value: Any) -> str:
    if value is None:
        return "got no value"
    if isinstance(value, list | dict):
        return "got a list" if isinstance(value, list) else "got a section"
    kind = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}[type(value)]
    return f"got {shown(json.dumps(value, ensure_ascii=False))} ({kind})"


def _path(location: Sequence[str | int], tree: Node, schema: Schema) -> tuple[str | int, ...]:
    """Return the keys of a validator's location, which names branches of unions too."""
    path: list[str | int] = []
    for step in location:
        definition = _definition(path, tree, schema)
        if definition.get("chosen") == step and (not path or path[-1] != step):
            continue
        if "anyOf" in definition:
            break
        path.append(step)
    return tuple(path)


def _definition(path: Sequence[str | int], tree: Node, schema: Schema) -> Schema:
    """Return the part of the schema that rules a path; of a union, the part the tree chose."""
    definition = schema
    for depth in range(len(path) + 1):
        if depth:
            step = path[depth - 1]
            definition = definition.get("properties", {}).get(step) or definition.get("items") or {}
        definition = _resolve(definition, schema)
        if "discriminator" in definition:
            rule = definition["discriminator"]
            node = find(tree, [*path[:depth], rule["propertyName"]])
            choice = node.value if node and isinstance(node.value, str) else None
            if choice in rule["mapping"]:
                definition = {**_resolve({"$ref": rule["mapping"][choice]}, schema), "chosen": choice}
            elif depth < len(path):
                definition = {"properties": {rule["propertyName"]: {"enum": list(rule["mapping"])}}}
            else:
                keys = dict.fromkeys(
                    k
                    for part in rule["mapping"].values()
                    for k in _resolve({"$ref": part}, schema)["properties"]
                )
                definition = {**definition, "properties": keys}
    return definition


def _resolve(definition: Schema, schema: Schema) -> Schema:
    while "$ref" in definition:
        definition = schema["$defs"][definition["$ref"].rsplit("/", 1)[1]]
    return definition


def _sections(schema: Schema) -> list[tuple[str, Schema]]:
    parts = [(name, _resolve(part, schema)) for name, part in schema["properties"].items()]
    return [(name, part) for name, part in parts if "properties" in part]


def _is_key(path: Sequence[str], schema: Schema) -> bool:
    return any(path == [name, key] for name, part in _sections(schema) for key in part["properties"])


def _dotted(path: Sequence[str | int]) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return shown(text.removeprefix(".")) or "the config"


def _place(path: Sequence[str | int], tree: Node) -> Place:
    """Return where the value at `path` stands, or the nearest section above it."""
    while (node := find(tree, path)) is None:
        path = path[:-1]
    return node.place
