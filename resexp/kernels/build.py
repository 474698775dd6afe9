"""The shared library: compiled where it is first needed, then taken from a folder."""

import contextlib
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).parent / "source"
COMPILERS = ("g++", "clang++", "c++")
FLAGS = ("-std=c++17", "-O3", "-fopenmp", "-shared", "-fPIC")
COMPILER_SECONDS = 120
"""A compiler that takes longer does not come back; 4 to 10 s are usual."""


class UnavailableError(Exception):
    """Why the kernels cannot be used here, in a few words."""


@cache
def source_digest() -> str:
    """Return 12 hex digits that name the C++: SHA-256 over its files."""
    digest = hashlib.sha256()
    for path in _files():
        digest.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def built(folder: Path, target: str = "native") -> Path:
    """Return the library for this CPU (or another `target` of the compiler's -march) from `folder`.

    Compiled when it is not there, or not whole: its name ends in the digest of its bytes. The name begins
    with a digest of all that it is made from: source, compiler, flags, and what `native` means here. Several
    processes may ask at once: each file appears whole or not at all. Raises UnavailableError.
    """
    compiler = _compiler()
    flags = [*FLAGS, *_target(target)]
    made_from = [source_digest(), _version(compiler), *flags, _cpu() if target == "native" else ""]
    key = hashlib.sha256("\0".join(made_from).encode()).hexdigest()[:24]
    try:
        for path in folder.glob(f"{key}-*.so"):
            if path.stem == f"{key}-{_digest(path)}":
                return path
            path.unlink(missing_ok=True)
        return _compile(compiler, flags, folder, key)
    except OSError as error:
        raise UnavailableError(f"{folder} cannot be used: {error.strerror or error}") from error


def _files() -> list[Path]:
    return sorted([*SOURCE.glob("*.cpp"), *SOURCE.glob("*.h")])


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:24]


def _compiler() -> str:
    """$CXX, or the first compiler on the path."""
    for name in (os.environ.get("CXX") or "", *COMPILERS):
        if name and (found := shutil.which(name)):
            return found
    raise UnavailableError("no C++ compiler here")


def _target(target: str) -> list[str]:
    return [f"-mcpu={target}"] if platform.machine() in ("aarch64", "arm64") else [f"-march={target}"]


def _cpu() -> str:
    """What `native` stands for: a folder may be shared by machines that differ."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return line
    return platform.processor() or platform.machine()


def _version(compiler: str) -> str:
    return _run([compiler, "--version"])


def _compile(compiler: str, flags: list[str], folder: Path, key: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f"{key}.", suffix=".part", dir=folder)
    os.close(handle)
    try:
        _run([compiler, *flags, "-o", temporary, *(str(path) for path in _files() if path.suffix == ".cpp")])
        path = folder / f"{key}-{_digest(Path(temporary))}.so"
        os.replace(temporary, path)
        return path
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _run(command: list[str]) -> str:
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=COMPILER_SECONDS, errors="replace", check=False
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"{name} took more than {COMPILER_SECONDS} s") from error
    if done.returncode:
        said = next((line for line in done.stderr.splitlines() if line.strip()), f"exit {done.returncode}")
        raise UnavailableError(f"{name} failed: {said.strip()[:200]}")
    return done.stdout
