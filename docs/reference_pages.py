"""The reference made of the program: the config from its schema, the command line from its own help."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
CONFIG_LEAD = """# Config

One YAML file, as `resexp validate` checks it; `--set section.key=value` overrides a key. Editors complete and
check it by the same schema (`resexp validate --schema`; the shipped configs name it in their first
lines). Every key has a default.
"""
CLI_LEAD = """# Command line

As `resexp COMMAND --help` says it. An error that you can mend is one line on stderr; the exit code says of
what kind it is:

{codes}
"""


def write(folder: Path) -> None:
    """Write config.md and cli.md, where they are not so already: Sphinx reads anew what is newer."""
    for name, text in (("config.md", config_page()), ("cli.md", cli_page())):
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def config_page() -> str:
    """Return the config's reference: a section each, a row a key."""
    from resexp.config import json_schema

    schema = json_schema()
    sections, top = [], []
    for key, field in schema["properties"].items():
        (sections if "$ref" in field else top).append((key, field))
    parts = [CONFIG_LEAD, "## At the top\n", *_table(dict(top), schema)]
    for key, field in sections:
        section = schema["$defs"][field["$ref"].rsplit("/", 1)[1]]
        parts += [f"## {key}\n", f"{section['description']}\n", *_table(section["properties"], schema)]
        for inner, its in section["properties"].items():
            for option in its.get("oneOf", []):
                found = schema["$defs"][option["$ref"].rsplit("/", 1)[1]]
                names = _allowed(found["properties"]["name"], schema)
                parts += [f"### {key}.{inner}: {names}\n", f"{found['description']}\n"]
                parts += _table(found["properties"], schema)
    return "\n".join(parts)


def _table(fields: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    yield "| key | what | allowed | default |\n|---|---|---|---|"
    for key, field in fields.items():
        default = field.get("default", "")
        shown = (
            "see below" if isinstance(default, dict) else f"`{_yaml(default)}`" if "default" in field else ""
        )
        what, allowed = _cell(field.get("description", "")), _cell(_allowed(field, schema))
        yield f"| `{key}` | {what} | {allowed} | {shown} |"
    yield ""


def _allowed(field: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if "$ref" in field:
        return _allowed(schema["$defs"][field["$ref"].rsplit("/", 1)[1]], schema)
    if "enum" in field or "const" in field:
        return ", ".join(f"`{_yaml(value)}`" for value in field.get("enum", [field.get("const")]))
    if "oneOf" in field:
        return "a section, see below"
    if "anyOf" in field:
        return " or ".join(_allowed(one, schema) for one in field["anyOf"])
    if field.get("type") == "array":
        return f"a list: {_allowed(field.get('items', {}), schema)}"
    if "format" in field:
        return f"`{field['format']}`"
    bounds = ", ".join(f"{sign} {field[key]}" for key, sign in BOUNDS.items() if key in field)
    named = {"integer": "whole number", "number": "number", "boolean": "`true`, `false`", "string": "text"}
    return f"{named.get(field.get('type', ''), field.get('type', ''))} {bounds}".strip()


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|").replace("<", "&lt;").replace("*", r"\*")


def cli_page() -> str:
    """Return the command line's reference: typer's Markdown, its examples as code."""
    import typer
    from typer.cli import get_docs_for_click
    from typer.main import get_command

    from resexp.cli import app
    from resexp.errors import Exit

    codes = "\n".join(f"- {code.value}: {code.name.lower().replace('_', ' ')}" for code in Exit)
    command = get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="resexp", indent=1)
    text = re.sub(r"\*\*Commands\*\*:\n\n(\* .*\n)+\n", "", text)  # each has its section below, whole
    text = re.sub(r"^Example: (.*(?:\n(?!\n).*)*)", _example, text, flags=re.MULTILINE)
    return CLI_LEAD.format(codes=codes) + "\n" + text


def _example(match: re.Match[str]) -> str:
    return f"```sh\n{' '.join(match[1].split())}\n```"
