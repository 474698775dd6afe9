"""Export of runs to files and trackers, each by its adapter: all numbers of the record, no others."""

import importlib
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from resexp.errors import RunFolderError, UsageError
from resexp.records.files import disk_errors, ensure
from resexp.report.export.course import Exported


class Writer(Protocol):
    """What each of the modules here has."""

    def __call__(self, runs: Sequence[Exported], folder: Path, *, project: str, final: Path) -> str:
        """Write all runs into `folder`, empty, later moved to `final`; return how to look at it."""
        ...


class Adapter(NamedTuple):
    """Where a writer is, imported when it is asked for. needs: the library, by its name in imports."""

    module: str
    needs: str | None = None


ADAPTERS = {
    "csv": Adapter("csv_files"),
    "parquet": Adapter("parquet", "pyarrow"),
    "wandb": Adapter("to_wandb", "wandb"),
    "mlflow": Adapter("to_mlflow", "mlflow"),
    "trackio": Adapter("to_trackio", "trackio"),
}


def require(to: str) -> None:
    """Raise UsageError where what an export needs is not installed."""
    needed = ADAPTERS[to].needs
    if needed is not None and importlib.util.find_spec(needed) is None:
        raise UsageError(f"--to {to} needs {needed}, which is not installed: pip install 'resexp[{to}]'")


def export_runs(runs: Sequence[Exported], to: str, out: Path, *, project: str) -> str:
    """Write the runs into the new folder `out`, whole or not at all, and return how to look at it.

    Raises RunFolderError where `out` is there already, UsageError where a library is missing.
    """
    require(to)
    if out.exists() or out.is_symlink():
        raise RunFolderError(f"{out}: is there already, and stays as it is; choose another --out")
    module = importlib.import_module(f"resexp.report.export.{ADAPTERS[to].module}")
    writer: Writer = getattr(module, f"write_{to}")
    ensure(out.parent)
    with disk_errors(out):
        place = Path(tempfile.mkdtemp(prefix=f".{out.name}-", suffix=".tmp", dir=out.parent))
    try:
        said = writer(runs, place, project=project, final=out)
        with disk_errors(out):
            place.chmod(0o755)
            os.rename(place, out)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return said
