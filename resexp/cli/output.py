"""Output: what goes to stdout, and what to stderr."""

import io
import json
import sys
from typing import Any

from resexp.config.yaml_nodes import CONTROL_CHARACTER


def never_fail_for_a_letter() -> None:
    """Have stdout and stderr replace what their encoding cannot show."""
    for stream, errors in ((sys.stdout, "replace"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def print_json(value: Any) -> None:
    """Print a document that reads back equal whatever encoding stdout has."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, indent=1)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, allow_nan=False, indent=1)
    print(text)


def note(*lines: str) -> None:
    """Print on stderr, without what would command the terminal."""
    for line in lines:
        print(CONTROL_CHARACTER.sub(lambda match: repr(match[0])[1:-1], line), file=sys.stderr)
