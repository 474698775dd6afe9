"""Import paths, MODULE:NAME or FILE.py:NAME: what they name, and the digest of its source."""

import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from resexp.errors import ResexpError, UsageError

FORM = "MODULE:NAME or FILE.py:NAME"
PATTERN = (
    r"^([A-Za-z_][A-Za-z0-9_.]*|[^:\x00-\x1f\x7f-\x9f\u2028\u2029]+\.py)"
    r":[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$"
)


class Imported(NamedTuple):
    """What an import path names."""

    called: Callable[..., Any]
    sha256: str
    """64 hex digits of the source: the file, or where a module lies in a package every .py file of that"""


def is_import_path(word: str) -> bool:
    """Whether a word of a config is an import path; none of the schema's own words has a colon."""
    return ":" in word


def name_in(text: str) -> str:
    """Return the NAME of an import path; any other word as it is."""
    return text.rpartition(":")[2]


def without_folder(text: str) -> str:
    """Return an import path without the folder of its file, for people; any other text as it is."""
    return text.rpartition("/")[2] if re.match(PATTERN, text) else text


def absolute(text: str) -> str:
    """Return an import path that names the same from every folder; any other word as it is."""
    where, colon, name = text.rpartition(":")
    return f"{Path(where).absolute()}{colon}{name}" if where.endswith(".py") else text


def identity(text: str) -> str:
    """Return NAME and the digest of its source for an import path; any other word as it is."""
    return f"{name_in(text)}:{imported(text).sha256}" if is_import_path(text) else text


def load_callable(text: str) -> Callable[..., Any]:
    """Return what an import path names. Raises UsageError in a line for what keeps it from that."""
    return imported(text).called


def imported(text: str) -> Imported:
    """Return what an import path names, with the digest of its source. A file is run again once it changed.

    Raises UsageError in a line for what keeps it from that.
    """
    where, colon, name = text.rpartition(":")
    if not colon or not where or not name:
        raise UsageError(f"{text}: write {FORM}, e.g. torchvision.models:resnet18")
    try:
        module, digest = _of_file(Path(where)) if where.endswith(".py") else _of_module(where)
    except UsageError:
        raise
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever somebody's module does while it is imported
        raise UsageError(f"{text}: importing {where} raises {_told(error)}") from error
    found = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise UsageError(f"{text}: {where} has no {name}")
        found = getattr(found, part)
    if not callable(found):
        raise UsageError(f"{text}: {name} is no function or class")
    return Imported(found, digest)


@contextmanager
def blamed(what: str) -> Iterator[None]:
    """Turn what somebody's code raises inside into a line that begins with `what`; want of memory stays."""
    try:
        yield
    except (ResexpError, MemoryError):
        raise
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported here
            raise
        raise UsageError(f"{what} raises {_told(error)}") from error


def a_kind(found: object) -> str:
    """Return what something is, for a sentence: 'a dict', 'an int'."""
    name = type(found).__name__
    return f"an {name}" if name[0] in "AEIOUaeiou" else f"a {name}"


def _told(error: BaseException) -> str:
    why = " ".join(str(error).split())[:500]
    return f"{type(error).__name__}: {why}" if why else type(error).__name__


def _of_file(path: Path) -> tuple[ModuleType, str]:
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    source = path.read_bytes()
    digest = hashlib.sha256(source).hexdigest()
    return _executed(path.absolute(), source), digest


@cache
def _executed(path: Path, source: bytes) -> ModuleType:
    """The module of these very bytes, under a name of its own in sys.modules, as dataclasses need it."""
    key = hashlib.sha256(f"{path}\0".encode() + source).hexdigest()
    name = f"resexp_file_{path.stem}_{key[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@cache
def _of_module(where: str) -> tuple[ModuleType, str]:
    here = str(Path.cwd())
    if here not in sys.path:  # at the end and for good: processes that are started take the list over
        sys.path.append(here)
    importlib.invalidate_caches()
    module = importlib.import_module(where)
    return module, _digest(where, module)


def _digest(where: str, module: ModuleType) -> str:
    if not getattr(module, "__file__", None):
        raise UsageError(f"{where}: has no file, so its source cannot be told from another")
    path = Path(str(module.__file__))
    top = path
    while (top.parent / "__init__.py").is_file():
        top = top.parent
    sources = sorted(top.rglob("*.py")) if top.is_dir() else [path]
    digest = hashlib.sha256()
    for source in sources:
        content = source.read_bytes()
        digest.update(f"{source.relative_to(top.parent)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()
