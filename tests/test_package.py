"""The package as pip gives it: built, installed without the source tree, and used from elsewhere."""

import json
import os
import shutil
import site
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from resexp._version import __version__
from resexp.config import json_schema

ROOT = Path(__file__).parents[1]
SOURCES = [
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "resexp",
    "tests",
    "Makefile",
    "constraints.txt",
    "MANIFEST.in",
]
TINY = [
    "--data",
    "crayons",
    "--set",
    "optim.steps=2",
    "--set",
    "optim.batch_size=8",
    "--set",
    "model.width=4",
]
TINY += ["--set", "data.validation=0"]
ONE_NORM = [*TINY, "--set", "model.norm=batch"]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy to build in, so that nothing is left in the tree."""
    folder = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def command(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`resexp` of an environment that has the wheel, and what the wheel needs from this one."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(sources)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "env")], check=True)
    python = folder / "env" / "bin" / "python"
    install = [*pip, "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    (packages,) = (folder / "env" / "lib").glob("python*/site-packages")
    # Behind its own packages in the path, and editable installs there are not followed.
    (packages / "shared.pth").write_text("\n".join(site.getsitepackages()))
    return python.with_name("resexp")


def run(command: Path, *words: str, cwd: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    ended = subprocess.run([str(command), *words], cwd=cwd, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_wheel_is_used_and_not_the_source_tree(command: Path, tmp_path: Path) -> None:
    assert run(command, "--version", cwd=tmp_path) == f"resexp {__version__}\n"
    python = command.with_name("python")
    said = run(python, "-c", "import resexp; print(resexp.__file__)", cwd=tmp_path)
    assert Path(said.strip()).is_relative_to(command.parents[1])


def test_every_command_works_away_from_the_source_tree(command: Path, tmp_path: Path) -> None:
    run(
        command,
        "train",
        "--config",
        "residual20",
        "--name",
        "one",
        "--set",
        "model.depth=8",
        *TINY,
        cwd=tmp_path,
    )
    run(command, "compare", "plain", "residual", "--depth", "8", "--name", "two", *ONE_NORM, cwd=tmp_path)
    run(
        command,
        "gradients",
        "--depth",
        "8",
        "--seeds",
        "1",
        "--name",
        "three",
        "--data",
        "crayons",
        cwd=tmp_path,
    )
    run(command, "report", "runs/two", cwd=tmp_path)
    assert len(json.loads(run(command, "runs", "--json", cwd=tmp_path))) == 3
    assert "highway" in run(command, "claims", "--help", cwd=tmp_path)
    page = (tmp_path / "runs" / "two" / "report.html").read_text()
    assert "@media print" in page
    assert "pointermove" in page


def test_each_shipped_config_is_in_the_wheel_and_valid(command: Path, tmp_path: Path) -> None:
    names = [row["name"] for row in json.loads(run(command, "configs", "--json", cwd=tmp_path))]
    assert names == sorted(path.stem for path in (ROOT / "resexp" / "configs").glob("*.yaml"))
    for name in (names[0], names[-1]):
        run(command, "validate", name, cwd=tmp_path)


def test_the_wheel_says_that_it_is_typed_and_holds_kernels_templates_and_schema(command: Path) -> None:
    (package,) = command.parents[1].glob("lib/python*/site-packages/resexp")
    for name in (
        "py.typed",
        "kernels/source/conv3x3.cpp",
        "report/templates/style.css",
        "configs/schema.json",
    ):
        assert (package / name).is_file(), name


def test_editors_find_the_schema_that_the_program_checks_by() -> None:
    configs = ROOT / "resexp" / "configs"
    schema = json.loads((configs / "schema.json").read_text())
    assert schema == json_schema()
    assert schema["$id"].endswith(__version__)
    for path in configs.glob("*.yaml"):
        assert "\n# yaml-language-server: $schema=schema.json\n" in path.read_text(), path.name


def test_the_source_archive_holds_the_tests(sources: Path, tmp_path: Path) -> None:
    script = "import sys; from setuptools.build_meta import build_sdist; print(build_sdist(sys.argv[1]))"
    made = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], cwd=sources, check=True, capture_output=True, text=True
    )
    with tarfile.open(tmp_path / made.stdout.splitlines()[-1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for path in [*(ROOT / "tests").rglob("*.py"), *(ROOT / "resexp").rglob("*.py")]:
        assert str(path.relative_to(ROOT)) in names
    assert {"Makefile", "constraints.txt", "README.md", "LICENSE"} <= names


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("resexp train --config pla", {"plain20", "plain56"}),
        ("resexp compare resid", {"residual", "residual20", "residual56"}),
        ("resexp validate vani", {"vanishing"}),
    ],
)
def test_a_shell_completes_names(line: str, expected: set[str], tmp_path: Path) -> None:
    words = line.split()
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    environment = {**os.environ, "_RESEXP_COMPLETE": "complete_bash", **asked}
    script = "import sys; sys.argv = ['resexp']; from resexp.cli import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert set(ended.stdout.split()) == expected, ended.stderr
