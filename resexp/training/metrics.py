"""Metrics logging: what is recorded of each step, whatever the spans and interruptions."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from resexp.config import Config
from resexp.records.jsonl import EMPTY, JsonlWriter
from resexp.records.losses import LOSSES, LossFile
from resexp.records.run import read_probed, stream_metrics
from resexp.records.schema import GRADIENT_PROFILE, EvaluationRow, FaultRow, ProfileRow, StepRow, probe_row
from resexp.tensorboard.writer import TensorBoardWriter
from resexp.training.evaluation import Scores
from resexp.training.lr_schedule import learning_rate
from resexp.training.step import Readings


class MetricsLogger:
    """Writes metrics.jsonl, profile.jsonl, losses.bin and the TensorBoard events of one run.

    `state` is what a checkpoint says of the record, None at step 0: how long its files were and their
    digests, the extremes of the gradient norms since the last row, and the best accuracy on validation images
    with its step. None of it grows with the steps made. `data` is what TensorBoard calls the images, `say` is
    told of what it cannot draw.
    """

    def __init__(
        self,
        folder: Path,
        config: Config,
        layers: Sequence[str],
        state: Mapping[str, Any] | None,
        *,
        data: str,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.config = config
        self.layers = layers
        state = state or {"low": [], "high": [], "best": [-1, -1.0], "marks": {}}
        self._low = np.array(state["low"], dtype=float)
        self._high = np.array(state["high"], dtype=float)
        self.best_step, self._best = state["best"]
        self.arriving: Mapping[float, float] | None = None
        self._files = ExitStack()
        with ExitStack() as opened:
            self._metrics, self._profile = (
                opened.enter_context(JsonlWriter(folder / f"{name}.jsonl", state["marks"].get(name, EMPTY)))
                for name in ("metrics", "profile")
            )
            self._losses = opened.enter_context(
                LossFile(folder / LOSSES, state["marks"].get("losses", EMPTY))
            )
            self._losses.take(state.get("losses", []))  # held by checkpoints from before there was that file
            step = self._losses.num_steps
            self._tensorboard = TensorBoardWriter(folder, config, layers, data=data, purge_step=step, say=say)
            opened.callback(self._tensorboard.close)
            self._files = opened.pop_all()
        self._draw_again(step)

    def _draw_again(self, step: int) -> None:
        """Draw what was measured at `step` before its checkpoint: purged with what came after."""
        for row in stream_metrics(self._metrics.path):
            if row.step >= step:
                self._tensorboard.row(row)
        for row in read_probed(self._profile.path):
            if row.step >= step:
                self._tensorboard.profile(row)

    def steps(self, start: int, readings: Readings) -> FaultRow | None:
        """Record the steps from `start` on. Returns the fault row, recorded last, if one is not finite."""
        loss = readings.loss.cpu().double().numpy()
        norms = readings.gradient_norm.cpu().numpy()
        sound = np.isfinite(loss) & np.isfinite(norms).all(1)
        num = len(loss) if sound.all() else int(np.argmin(sound))
        self._losses.take(loss[:num])
        for k in range(num):
            self._step(start + k, float(loss[k]), norms[k])
        if num == len(loss):
            return None
        bad = np.flatnonzero(~np.isfinite(norms[num]))
        what = "gradient not finite" if math.isfinite(loss[num]) else "loss not finite"
        return self.fault(start + num, what, self.layers[int(bad[0])] if len(bad) else None)

    def _step(self, step: int, loss: float, norms: np.ndarray) -> None:
        self._low = np.minimum(self._low, norms) if len(self._low) else norms
        self._high = np.maximum(self._high, norms) if len(self._high) else norms
        if step % self.config.record.every and step != self.config.optim.steps - 1:
            return
        norms_of_layers = {}
        if self.config.record.gradient_norm:
            norms_of_layers = {
                "gradient_norm": norms.tolist(),
                "gradient_norm_min": self._low.tolist(),
                "gradient_norm_max": self._high.tolist(),
            }
        lr = learning_rate(self.config.optim, step)
        self._write(StepRow(kind="step", step=step, loss=loss, lr=lr, **norms_of_layers))
        self._low = self._high = np.array([])

    def fault(self, step: int, what: str, layer: str | None) -> FaultRow:
        """Record, as the last row, that something stopped being finite."""
        lr = learning_rate(self.config.optim, min(step, self.config.optim.steps - 1))
        row = FaultRow(kind="fault", step=step, lr=lr, layer=layer, what=what)
        self._write(row)
        return row

    def evaluation(self, step: int, scores: Mapping[str, Scores]) -> None:
        """Record scores by the name of their images: train, validation, test."""
        known: dict[str, Any] = {}
        for name, score in scores.items():
            known[f"{name}_loss"] = score.loss if math.isfinite(score.loss) else None
            known[f"{name}_accuracy"] = score.accuracy
        self._write(EvaluationRow(kind="evaluation", step=step, **known))
        if "validation" in scores and scores["validation"].accuracy > self._best:
            self.best_step, self._best = step, scores["validation"].accuracy

    def probe(self, step: int, name: str, measured: Mapping[str, Any]) -> None:
        """Record what a probe measured. A row that names no probe is the gradient profile's."""
        named = {} if name == GRADIENT_PROFILE else {"probe": name}
        row = probe_row({"step": step, **named, **measured})
        self._profile.row(row.to_json())
        self._tensorboard.profile(row)
        if isinstance(row, ProfileRow):
            self.arriving = row.arriving()

    def _write(self, row: StepRow | EvaluationRow | FaultRow) -> None:
        self._metrics.row(row.to_json())
        self._tensorboard.row(row)

    def state(self) -> dict[str, Any]:
        """Bring the record to the disk and return what a checkpoint has to say of it."""
        return {
            "low": self._low.tolist(),
            "high": self._high.tolist(),
            "best": [self.best_step, self._best],
            "marks": {
                "metrics": self._metrics.sync(),
                "profile": self._profile.sync(),
                "losses": self._losses.sync(),
            },
        }

    def close(self) -> None:
        self._files.close()
