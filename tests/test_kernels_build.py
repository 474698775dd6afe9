"""Building the kernels: no compiler, a broken one, a folder that cannot be used, two processes at once."""

import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path

import pytest

from resexp.kernels import UnavailableError, load
from resexp.kernels.build import built
from resexp.training.execution import kernels_folder

ROOT = Path(__file__).parents[1]


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Makes a shell script the compiler; $out is the file it is to write."""

    def make(script: str) -> Path:
        path = tmp_path / "compiler"
        find_out = 'while [ $# -gt 0 ]; do [ "$1" = -o ] && out=$2; shift; done'
        path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo 1 && exit\n{find_out}\n{script}\n')
        path.chmod(0o755)
        monkeypatch.setenv("CXX", str(path))
        return path

    return make


def real_library() -> Path:
    return built(kernels_folder())


def test_no_compiler_is_said_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UnavailableError, match=r"^no C\+\+ compiler here$"):
        load(tmp_path / "kernels")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'no such flag' >&2; exit 1", "compiler failed: no such flag"),
        ("exit 4", "compiler failed: exit 4"),
        ("echo rubbish > $out", "the library cannot be loaded"),
    ],
)
def test_a_broken_compiler_is_said_in_a_line(
    compiler: Callable[[str], Path], tmp_path: Path, script: str, said: str
) -> None:
    compiler(script)
    with pytest.raises(UnavailableError, match=said) as found:
        load(tmp_path / "kernels")
    assert "\n" not in str(found.value)
    assert not list((tmp_path / "kernels").glob("*.part"))


def test_wrong_kernels_are_found_out(compiler: Callable[[str], Path], tmp_path: Path) -> None:
    """With another constant in a tile the library loads, and the self-check says which operation is wrong."""
    source = tmp_path / "source"
    shutil.copytree(ROOT / "resexp/kernels/source", source)
    tiles = (source / "tiles.h").read_text()
    assert tiles.count("P = 0.625") == 1
    (source / "tiles.h").write_text(
        tiles.replace("P = 0.625", "P = 0.625, WRONG = 1").replace("p3 = P2 * P", "p3 = P2")
    )
    real = shutil.which("g++") or "c++"
    compiler(f"exec {real} -std=c++17 -O1 -fopenmp -shared -fPIC -o $out {source}/*.cpp")
    with pytest.raises(UnavailableError, match=r"^the convolution of stride 1 differs from torch's$"):
        load(tmp_path / "kernels", "x86-64")


def test_a_folder_that_cannot_be_used_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match=r"file/kernels cannot be used: Not a directory$"):
        load(tmp_path / "file" / "kernels")


def test_what_is_there_is_taken_and_what_is_damaged_is_made_again(
    compiler: Callable[[str], Path], tmp_path: Path
) -> None:
    compiler(f"echo >> {tmp_path}/calls; cp {real_library()} $out")
    folder = tmp_path / "kernels"
    path = built(folder)
    assert built(folder) == path
    assert (tmp_path / "calls").read_text() == "\n"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert built(folder).read_bytes() == whole
    assert (tmp_path / "calls").read_text() == "\n\n"


def test_another_compiler_target_or_source_is_another_library(
    compiler: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = compiler("echo $out > $out")
    paths = [built(tmp_path / "kernels"), built(tmp_path / "kernels", "x86-64")]
    monkeypatch.setattr("resexp.kernels.build.source_digest", lambda: "another")
    paths.append(built(tmp_path / "kernels"))
    script.write_text(script.read_text().replace("echo 1", "echo 2"))
    paths.append(built(tmp_path / "kernels"))
    assert len(set(paths)) == 4


LOAD = """
import sys; from pathlib import Path; from resexp.kernels import load
load(Path(sys.argv[1])); print("loaded")
"""


def test_two_processes_at_once_both_have_them(compiler: Callable[[str], Path], tmp_path: Path) -> None:
    """The compiler waits until there are two of it."""
    wait = f"touch {tmp_path}/$$.here; while [ $(ls {tmp_path}/*.here | wc -l) -lt 2 ]; do sleep 0.02; done"
    compiler(f"{wait}; cp {real_library()} $out")
    command = [sys.executable, "-c", LOAD, str(tmp_path / "kernels")]
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda _: subprocess.run(command, capture_output=True, text=True), range(2)))
    assert [done.stdout for done in found] == ["loaded\n"] * 2, found
    assert len(list((tmp_path / "kernels").iterdir())) == 1


def test_a_process_killed_while_it_builds_leaves_nothing_in_the_way(
    compiler: Callable[[str], Path], tmp_path: Path
) -> None:
    compiler(f"touch {tmp_path}/begun; [ -e {tmp_path}/quick ] || sleep 60; cp {real_library()} $out")
    first = subprocess.Popen([sys.executable, "-c", LOAD, str(tmp_path / "kernels")], start_new_session=True)
    while not (tmp_path / "begun").exists():
        time.sleep(0.02)
    os.killpg(first.pid, 9)
    first.wait()
    (tmp_path / "quick").touch()
    assert built(tmp_path / "kernels").read_bytes() == real_library().read_bytes()


def test_the_package_carries_the_source() -> None:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"][
        "resexp"
    ]
    for path in (ROOT / "resexp/kernels/source").iterdir():
        name = str(path.relative_to(ROOT / "resexp"))
        assert any(fnmatch(name, pattern) for pattern in data), name
