"""The rooms: imports go up the list, and what stands above the torch line never imports torch."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "resexp"
FLOORS = [
    ["_version", "errors", "seeds", "signals"],
    ["config"],
    ["records"],
    ["analysis"],
    ["report"],
    ["models"],
    ["data"],
    ["probes"],
    ["tensorboard"],
    ["training"],
    ["experiments"],
    ["claims"],
    ["cli", "__main__"],
]
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
TORCH_LINE = FLOOR["models"]


def imports_of(path: Path) -> set[str]:
    """Every resexp room that a file imports, at the top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("resexp.")}
    return found & FLOOR.keys()


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_up_the_list(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if room == "__init__":
        return
    above = {name for name in imports_of(path) if FLOOR[name] > FLOOR[room]}
    assert not above, f"{room} imports {above}"


def test_what_stands_above_the_torch_line_never_imports_torch() -> None:
    rooms = [room for floor in FLOORS[:TORCH_LINE] for room in floor]
    modules = sorted(
        "resexp." + ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for room in rooms
        for path in [*ROOT.glob(f"{room}.py"), *(ROOT / room).rglob("*.py")]
    )
    script = "import sys; " + "; ".join(f"import {module}" for module in modules)
    script += "; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], env={**os.environ}).returncode == 0
