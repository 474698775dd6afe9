"""The configs inside the package."""

from pathlib import Path

from resexp.complaints import closest
from resexp.dialect import shown
from resexp.errors import UsageError

FOLDER = Path(__file__).parent / "configs"


def shipped() -> list[tuple[str, str]]:
    """Return (name, the question it asks: its first line), by name."""
    return [(path.stem, _question(path)) for path in sorted(FOLDER.glob("*.yaml"))]


def find_config(text: str) -> Path:
    """Return the file that `text` names: a path or, failing that, a shipped config. Raises UsageError."""
    path = Path(text)
    names = [path.stem for path in FOLDER.glob("*.yaml")]
    if text in names and not path.is_file():
        return FOLDER / f"{text}.yaml"
    if _is_missing(path):
        near = closest(path.stem, names, cutoff=0.6)
        raise UsageError(
            f"{shown(text)}: no such file; allowed: a YAML file, or one of {', '.join(sorted(names))}"
            + (f"; did you mean {near}" if near else "")
        )
    return path


def _is_missing(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL in the path
        return True
    except OSError:  # it may be there: whoever reads it will say why it cannot be read
        return False
    return False


def _question(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.readline().removeprefix("#").strip()
