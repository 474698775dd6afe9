"""MLflow: an SQLite store with one experiment, each run with settings, tags and the course of its numbers."""

import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from resexp.report.export.course import Exported

_Part = TypeVar("_Part")
MOST_METRICS, MOST_PARAMS = 1000, 100
"""that MLflow takes at once"""


def write_mlflow(runs: Sequence[Exported], folder: Path, *, project: str, final: Path) -> str:
    """Write mlflow.db; see `Writer`."""
    # Read when mlflow is imported.
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "WARNING"}
    from mlflow import MlflowClient  # pyright: ignore[reportMissingImports]
    from mlflow.entities import Param, RunTag  # pyright: ignore[reportMissingImports]

    client = MlflowClient(f"sqlite:///{folder.resolve() / 'mlflow.db'}")
    place = (final.resolve() / "artifacts").as_uri()
    experiment = client.create_experiment(project, artifact_location=place)
    for one in runs:
        began = _milliseconds(one)
        made = client.create_run(experiment, start_time=began, run_name=one.name).info.run_id
        params = [Param(key, str(value)) for key, value in one.settings.items()]
        for some in _pieces(params, MOST_PARAMS):
            client.log_batch(made, params=some)
        client.log_batch(made, tags=[RunTag(key, value) for key, value in one.facts.items()])
        for metrics in _pieces(_metrics(one, began), MOST_METRICS):
            client.log_batch(made, metrics=metrics)
        client.set_terminated(made, "FINISHED" if one.run.status == "finished" else "FAILED", end_time=began)
    return f"mlflow ui --backend-store-uri sqlite:///{final.resolve() / 'mlflow.db'}"


def _pieces(whole: Iterable[_Part], size: int) -> Iterator[list[_Part]]:
    parts = iter(whole)
    while piece := list(islice(parts, size)):
        yield piece


def _milliseconds(run: Exported) -> int:
    """When the run began; the record knows of no step when it was made."""
    created = run.run.manifest.created
    return int(1000 * datetime.fromisoformat(created).timestamp()) if created else 0


def _metrics(run: Exported, began: int) -> Iterator[Any]:
    from mlflow.entities import Metric  # pyright: ignore[reportMissingImports]

    for step, numbers in run.points():
        yield from (Metric(name, value, began, step) for name, value in numbers.items())
    for key, value in run.summary.items():
        yield Metric(f"result.{key}", value, began, run.run.config.optim.steps)
