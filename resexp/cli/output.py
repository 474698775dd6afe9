"""What goes to stdout, and what to stderr."""

import json
import sys
from typing import Any


def print_json(value: Any) -> None:
    print(json.dumps(value, allow_nan=False, ensure_ascii=False, indent=1))


def note(*lines: str) -> None:
    for line in lines:
        print(line, file=sys.stderr)
