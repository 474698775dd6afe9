"""Output: what goes to stdout, and what to stderr."""

import io
import json
import re
import sys
from typing import Any

from resexp.config.yaml_nodes import without_commands


def never_fail_for_a_letter() -> None:
    """Have stdout and stderr replace what their encoding cannot show."""
    for stream, errors in ((sys.stdout, "replace"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def print_json(value: Any) -> None:
    """Print a document that reads back equal whatever encoding stdout has, and commands no terminal."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, indent=1)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, allow_nan=False, indent=1)
    # JSON itself escapes those below the space.
    print(re.sub("[\x7f-\x9f\u2028\u2029]", lambda match: f"\\u{ord(match[0]):04x}", text))


def note(*lines: str) -> None:
    """Print on stderr, without what would command the terminal."""
    for line in lines:
        print(without_commands(line), file=sys.stderr)
