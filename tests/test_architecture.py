"""The rooms: imports go up the list, above the torch line nothing imports torch, and a word is one thing."""

import ast
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "resexp"
FLOORS = [
    ["_version", "errors", "seeds", "signals"],
    ["config"],
    ["records"],
    ["analysis"],
    ["report"],
    ["kernels"],
    ["models"],
    ["data"],
    ["probes"],
    ["tensorboard"],
    ["training"],
    ["experiments"],
    ["claims"],
    ["api"],
    ["cli", "__main__"],
]
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
TORCH_LINE = FLOOR["kernels"]
SAID_OFTEN = {"claim", "load", "compare", "doctor", "gradients", "runs", "train"}
"""Each claim has its `claim`, each source of something its `load`, and a command is a word of the shell and
of Python; any other public word is one thing."""


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


def public_names(path: Path) -> Iterator[str]:
    """What a module defines at its top for others: functions, classes, constants; imports are not its own."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
        else:
            continue
        yield from (name for name in names if not name.startswith("_"))


def test_no_public_name_stands_twice_at_the_top_of_a_module() -> None:
    homes: dict[str, set[str]] = defaultdict(set)
    for path in sorted(ROOT.rglob("*.py")):
        for name in public_names(path):
            homes[name].add(str(path.relative_to(ROOT)))
    assert {name: found for name, found in homes.items() if len(found) > 1 and name not in SAID_OFTEN} == {}


READERS = ("analysis", "report", "tensorboard", "training", "experiments", "cli")
NO_DOCUMENTS = {
    "analysis/mean_field.py": {"ACTIVATION_FUNCTIONS"},
    "analysis/verdicts.py": {"counts"},  # a Counter of fates
    "cli/runs.py": {"check"},  # what `verify` has just found
    "experiments/dry_run.py": {"cell"},  # the forecast: shown, never recorded
    "report/terminal.py": {"cell", "document", "execution"},  # the forecast
    "report/first_screen.py": {"amounts"},
    "report/foreign_svg.py": {"e", "targets"},
    "report/formatting.py": {"measurement"},  # of a claim, which has a schema of its own
    "report/sentences.py": {"FATES", "of"},
    "report/tables.py": {"row"},  # of the table itself, and of `resexp runs`
    "report/figures/gradient_grid.py": {"KIND_COLOURS"},
    "report/figures/style.py": {"axes.spines"},
    "report/figures/svg.py": {"child", "element", "root.attrib"},
    "training/checkpoint.py": {"state"},  # tensors and what belongs to them, no JSON
    "training/cuda_graph.py": {"optimizer.param_groups[0]"},
    "training/engine.py": {"state", "state[parameter]"},
    # Lines of the record, which stay or go whole, as the bytes they are; and the checkpoint.
    "training/extend.py": {
        "row",
        "state",
        "journal",
        "journal['marks']",
        "journal['marks']['metrics']",
        "journal['marks']['profile']",
        "journal['best']",
    },
    "training/metrics.py": {"scores", "state", "state['marks']"},
    "training/optimizers.py": {"group", "saved"},
    "training/resume.py": {"state"},
    "training/step.py": {"group"},
    "tensorboard/plugin.py": {"request.args"},
    "experiments/verify.py": {
        "goal",
        "mark",
        "state",
        "state['journal']",
        "states[-1]",
    },
    "experiments/executors/ray.py": {"node", "there"},
}
"""What has keys and is no recorded document, by file."""
ANYWHERE = {"os.environ", "torch.cpu.get_capabilities()"}


def looked_up(path: Path) -> Iterator[tuple[int, str]]:
    """Where a value is read by a key that is spelled out, and what it is read from: x["key"], x.get("key").

    Text in an annotation (Literal, forward references) is no key.
    """
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            key, source = node.slice, node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            key, source = next(iter(node.args), None), node.func.value
        else:
            continue
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            text = ast.unparse(source)
            if text not in ("Literal", "list"):
                yield node.lineno, text


def test_recorded_documents_are_read_by_attribute_outside_of_the_records() -> None:
    dug = set()
    for room in READERS:
        for path in sorted((ROOT / room).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            allowed = NO_DOCUMENTS.get(name, set()) | ANYWHERE
            dug |= {f"{name}:{line}: {source}" for line, source in looked_up(path) if source not in allowed}
    assert dug == set()


def tree_in_the_docs() -> dict[str, str]:
    """The tree of docs/architecture.md: path to what is said of it."""
    text = (ROOT.parent / "docs" / "architecture.md").read_text()
    _, block, _ = text.split("```", 2)
    found, folders = {}, []
    for line in block.splitlines()[1:]:
        depth, (name, _, said) = (len(line) - len(line.lstrip())) // 2, line.strip().partition(" ")
        folders[depth:] = [name.rstrip("/")]
        if name.endswith("/"):
            name = "__init__.py"
            folders.append(name)
        found["/".join(folders)] = said.strip()
        if name == "__init__.py":
            folders.pop()
    return found


def test_the_docs_have_a_line_for_every_module() -> None:
    modules = {f"resexp/{path.relative_to(ROOT)}" for path in ROOT.rglob("*.py")}
    tree = tree_in_the_docs()
    assert tree.keys() == modules
    assert all(tree.values())


def test_training_knows_nothing_of_reports_and_matplotlib_stays_with_the_figures() -> None:
    for path in ROOT.rglob("*.py"):
        room, *rest = path.relative_to(ROOT).parts
        assert room != "training" or "report" not in imports_of(path), path
        draws = "matplotlib" in path.read_text()
        # TensorBoard takes the figures as they come; a claim draws its own.
        assert not draws or room in ("claims", "tensorboard") or (room == "report" and "figures" in rest), (
            path
        )


def test_no_module_is_longer_than_300_lines() -> None:
    long = {str(path.relative_to(ROOT)): path.read_text().count("\n") for path in sorted(ROOT.rglob("*.py"))}
    assert {name: lines for name, lines in long.items() if lines > 300} == {}
