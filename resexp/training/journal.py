"""Readings become rows: what is recorded of each step, whatever the spans and interruptions."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from resexp.config import Config
from resexp.records.recorder import Lines
from resexp.training.board import Board
from resexp.training.evaluation import Scores
from resexp.training.schedules import learning_rate
from resexp.training.step import Readings


class Journal:
    """Writes metrics.jsonl, profile.jsonl and the TensorBoard events of one run.

    `state` is what a checkpoint says of the record: its length in bytes, every loss so far, and the
    extremes of the gradient norms since the last row.
    """

    def __init__(
        self, folder: Path, config: Config, layers: Sequence[str], state: Mapping[str, Any] | None
    ) -> None:
        self.config = config
        self.layers = layers
        self.losses: list[float] = list(state["losses"]) if state else []
        self._low = np.array(state["low"] if state else [], dtype=float)
        self._high = np.array(state["high"] if state else [], dtype=float)
        lengths = state["lengths"] if state else {"metrics": 0, "profile": 0}
        self._metrics = Lines(folder / "metrics.jsonl", length=lengths["metrics"])
        self._profile = Lines(folder / "profile.jsonl", length=lengths["profile"])
        self._board = Board(folder, config, layers, purge_step=len(self.losses) if state else None)

    def steps(self, start: int, readings: Readings) -> dict[str, Any] | None:
        """Record the steps from `start` on. Returns the fault row, recorded last, if one is not finite."""
        loss = readings.loss.cpu().double().numpy()
        norms = readings.gradient_norm.cpu().numpy()
        for k in range(len(loss)):
            if fault := self._fault(start + k, loss[k], norms[k]):
                self._write(fault)
                return fault
            self._step(start + k, float(loss[k]), norms[k])
        return None

    def _step(self, step: int, loss: float, norms: np.ndarray) -> None:
        self.losses.append(loss)
        self._low = np.minimum(self._low, norms) if len(self._low) else norms
        self._high = np.maximum(self._high, norms) if len(self._high) else norms
        if step % self.config.record.every and step != self.config.optim.steps - 1:
            return
        row = {"kind": "step", "step": step, "loss": loss, "lr": learning_rate(self.config.optim, step)}
        if self.config.record.gradient_norm:
            row["gradient_norm"] = norms.tolist()
            row["gradient_norm_min"] = self._low.tolist()
            row["gradient_norm_max"] = self._high.tolist()
        self._write(row)
        self._low = self._high = np.array([])

    def _fault(self, step: int, loss: float, norms: np.ndarray) -> dict[str, Any] | None:
        bad = np.flatnonzero(~np.isfinite(norms))
        if math.isfinite(loss) and not len(bad):
            return None
        return {
            "kind": "fault",
            "step": step,
            "lr": learning_rate(self.config.optim, step),
            "layer": self.layers[bad[0]] if len(bad) else None,
            "what": "gradient not finite" if math.isfinite(loss) else "loss not finite",
        }

    def evaluation(self, step: int, scores: Mapping[str, Scores]) -> None:
        """Record scores by the name of their images: train, validation, test."""
        row: dict[str, Any] = {"kind": "evaluation", "step": step}
        for name, score in scores.items():
            row[f"{name}_loss"] = score.loss if math.isfinite(score.loss) else None
            row[f"{name}_accuracy"] = score.accuracy
        self._write(row)

    def probe(self, step: int, row: Mapping[str, Any]) -> None:
        """Record one reading of the gradient profile."""
        row = {"step": step, **row}
        self._profile.append(row)
        self._board.profile(row)

    def _write(self, row: Mapping[str, Any]) -> None:
        self._metrics.append(row)
        self._board.row(row)

    def state(self) -> dict[str, Any]:
        """Bring the record to the disk and return what a checkpoint has to say of it."""
        return {
            "losses": self.losses,
            "low": self._low.tolist(),
            "high": self._high.tolist(),
            "lengths": {"metrics": self._metrics.sync(), "profile": self._profile.sync()},
        }

    def close(self) -> None:
        self._metrics.close()
        self._profile.close()
        self._board.close()
