"""TensorBoard's tab of resexp: gradient norms by layer and step, two runs side by side, as recorded."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from tensorboard.backend import http_util
from tensorboard.plugins import base_plugin
from werkzeug import wrappers

from resexp.config.yaml_nodes import one_line
from resexp.errors import RunFolderError
from resexp.records.run import Run, scan
from resexp.records.schema import StepRow

MOST_COLUMNS = 400
"""Steps of a run that are sent and drawn, evenly spread over those that are recorded."""
MOST_RUNS = 1_000
MODULE = "tab.js"


class GradientTab(base_plugin.TBPlugin):
    """Serves the tab's page and what it draws. It reads run folders below --logdir, and nothing else."""

    plugin_name = "resexp"

    def __init__(self, context: base_plugin.TBContext) -> None:
        super().__init__(context)
        self._root = Path(context.logdir) if context.logdir else None

    def is_active(self) -> bool:
        """Whether a run that was recorded lies there; TensorBoard asks again and again."""
        return self._root is not None and next(self._root.glob("**/metrics.jsonl"), None) is not None

    def frontend_metadata(self) -> base_plugin.FrontendMetadata:
        return base_plugin.FrontendMetadata(
            es_module_path=f"/{MODULE}", tab_name="Gradient", disable_reload=True
        )

    def get_plugin_apps(self) -> dict[str, Any]:
        return {f"/{MODULE}": self._module, "/runs": self._runs, "/gradients": self._gradients}

    @wrappers.Request.application  # pyright: ignore[reportArgumentType]
    def _module(self, request: wrappers.Request) -> wrappers.Response:
        source = Path(__file__).with_name(MODULE).read_text("utf-8")
        return http_util.Respond(request, source, "text/javascript")

    @wrappers.Request.application  # pyright: ignore[reportArgumentType]
    def _runs(self, request: wrappers.Request) -> wrappers.Response:
        return http_util.Respond(request, list_runs(self._root), "application/json")

    @wrappers.Request.application  # pyright: ignore[reportArgumentType]
    def _gradients(self, request: wrappers.Request) -> wrappers.Response:
        answer = gradients_of(self._root, request.args.get("run", ""))
        return http_util.Respond(request, answer, "application/json", code=404 if "fault" in answer else 200)


def list_runs(root: Path | None) -> Mapping[str, Any]:
    """Return {"runs": [...], "faults": [...]}: what can be shown, and a line for each folder that cannot be.

    Of a run: its name below the root, its kind, depth and norm, whether it is over.
    """
    runs, faults = list[Mapping[str, Any]](), list[str]()
    if root is None:
        return {"runs": runs, "faults": faults}
    for run, error in scan(root):
        name = run.folder.relative_to(root).as_posix()
        try:
            if error is not None:
                raise error
            if run.manifest.layers and run.config.record.gradient_norm:
                model = run.config.model
                over = run.status in ("finished", "diverged")
                net = {"kind": model.kind, "depth": model.depth, "norm": model.norm}
                runs.append({"name": name, **net, "over": over})
        except RunFolderError as fault:
            faults.append(one_line(str(fault), limit=300))
        if len(runs) == MOST_RUNS:
            faults.append(f"{MOST_RUNS:,} runs are listed, those after them are not")
            break
    return {"runs": runs, "faults": faults}


def gradients_of(root: Path | None, name: str) -> Mapping[str, Any]:
    """Return a run's layers and, by step, each layer's gradient norm; or {"fault": why it cannot be read}.

    norms: a list a step. What is not finite is null, an exact zero stays 0. recorded: of how many steps
    those that are sent were taken.
    """
    found = _named(root, name)
    if found is None:
        return {"fault": "no run of that name lies there"}
    try:
        layers = list(found.manifest.layers)
        rows = _rows(found, len(layers))
    except RunFolderError as fault:
        return {"fault": one_line(str(fault), limit=300)}
    shown = thinned(rows, MOST_COLUMNS)
    return {
        "layers": layers,
        "steps": [row.step for row in shown],
        "norms": [[_finite(norm) for norm in row.gradient_norm] for row in shown],
        "recorded": len(rows),
    }


def _rows(run: Run, num_layers: int) -> list[StepRow]:
    """The steps with gradient norms, in order. Raises RunFolderError for one that is not a norm a layer."""
    rows = [row for row in run.rows("step") if row.gradient_norm]
    for row in rows:
        norms = row.gradient_norm
        if len(norms) != num_layers or any(norm < 0 for norm in norms):
            raise RunFolderError(
                f"{run.folder / 'metrics.jsonl'}: damaged, step {row.step} does not hold "
                f"a gradient norm, 0 or above, of each of {num_layers} layers"
            )
    return sorted(rows, key=lambda row: row.step)


def thinned(rows: Sequence[StepRow], most: int) -> list[StepRow]:
    """Return at most so many rows, evenly spread, the first and the last among them."""
    if len(rows) <= most:
        return list(rows)
    return [rows[round(k * (len(rows) - 1) / (most - 1))] for k in range(most)]


def _named(root: Path | None, name: str) -> Run | None:
    """The run of that name below the root, as `list_runs` writes it: a name leads nowhere else."""
    plain = PurePosixPath(name)
    if root is None or plain.as_posix() != name or plain.is_absolute() or ".." in plain.parts:
        return None
    run = Run(root / name)
    return run if (run.folder / "manifest.json").is_file() else None


def _finite(norm: float) -> float | None:
    return norm if math.isfinite(norm) else None
