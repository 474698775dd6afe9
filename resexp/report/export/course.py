"""The course of a run for an export: its settings, its summary, and every number of its record by step."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from resexp.config import flat
from resexp.errors import InUseError, RunFolderError
from resexp.records.lock import is_locked
from resexp.records.losses import read_losses
from resexp.records.run import Run, read_folder_manifest, read_probed, stream_metrics
from resexp.records.schema import EvaluationRow, ProbeRow, ProfileRow, StepRow
from resexp.report.comparison_data import read_comparison

Numbers = dict[str, float]
"""By name. Those that TensorBoard shows, too, are called as there."""


@dataclass(frozen=True)
class Exported:
    """One run that nobody is writing. name: its folder's. arm: as the comparison calls it, else its kind."""

    run: Run
    name: str
    arm: str

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The config by dotted keys; lists as they are."""
        return flat(self.run.config.tree())

    @cached_property
    def facts(self) -> dict[str, str]:
        """What identifies the run besides its config, as text."""
        manifest = self.run.manifest
        execution = manifest.execution
        return {
            "arm": self.arm,
            "status": self.run.status,
            "config_digest": manifest.config_digest,
            "data": manifest.data.label,
            "data_fingerprint": manifest.data.fingerprint,
            "device": execution.device,
            "precision": execution.precision,
            "kernels": execution.kernels,
            "resexp": manifest.versions.resexp,
            "torch": manifest.versions.torch,
            "parameters": str(manifest.parameters),
        }

    @cached_property
    def summary(self) -> Numbers:
        """The numbers of result.json by dotted keys, without the thinned curve; empty while there is none."""
        if self.run.result is None:
            return {}
        document = self.run.result.to_json()
        document.pop("curve", None)
        return {key: value for key, value in flat(document).items() if _is_number(value)}

    def points(self) -> Iterator[tuple[int, Numbers]]:
        """Yield step and all numbers recorded of it, each step once, in order. Little is held at once."""
        streams = (self._losses(), self._metrics(), self._probes(), self._speeds())
        merged = heapq.merge(*streams, key=lambda point: point[0])
        for step, points in groupby(merged, key=lambda point: point[0]):
            yield step, {name: value for _, numbers in points for name, value in numbers.items()}

    def _losses(self) -> Iterator[tuple[int, Numbers]]:
        """Of every step; a run from before losses.bin has those of its metrics alone."""
        for step, loss in enumerate(read_losses(self.run.folder)):
            if loss - loss == 0:  # finite
                yield step, {"Loss/train": float(loss)}

    def _metrics(self) -> Iterator[tuple[int, Numbers]]:
        layers = [f"{k:03d}.{name}" for k, name in enumerate(self.run.manifest.layers)]
        for row in stream_metrics(self.run.folder / "metrics.jsonl"):
            if isinstance(row, StepRow):
                numbers = {"Loss/train": row.loss, "learning_rate": row.lr}
                for key in ("gradient_norm", "gradient_norm_min", "gradient_norm_max"):
                    norms = getattr(row, key)
                    numbers |= {f"{key}/{layer}": norm for layer, norm in zip(layers, norms, strict=False)}
                yield row.step, numbers
            elif isinstance(row, EvaluationRow):
                named = {"train": "train_evaluated"}
                scores = row.scores()
                yield (
                    row.step,
                    {f"{what.title()}/{named.get(images, images)}": value for images, what, value in scores},
                )

    def _probes(self) -> Iterator[tuple[int, Numbers]]:
        for row in read_probed(self.run.folder / "profile.jsonl"):
            if isinstance(row, ProbeRow):
                yield row.step, {f"probe/{row.probe}/{key}": value for key, value in row.numbers().items()}
            elif isinstance(row, ProfileRow):
                yield row.step, dict(_profile(row))

    def _speeds(self) -> Iterator[tuple[int, Numbers]]:
        """A span that was made again after a kill counts as it was made last."""
        last = {row.step: row.images_per_second for row in self.run.timing}
        yield from ((step, {"images_per_second": last[step]}) for step in sorted(last))


def _profile(row: ProfileRow) -> Iterator[tuple[str, float]]:
    if row.loss is not None:
        yield "profile/loss", row.loss
    for kind, parts in (("outputs", row.outputs), ("weights", row.layers)):
        for part in parts:
            for key, value in part.to_json().items():
                if _is_number(value):
                    yield f"profile/{kind}/{part.name}/{key}", float(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def exported(folder: Path) -> list[Exported]:
    """Return the run in `folder`, or the runs of the comparison there.

    Raises RunFolderError for what is neither or cannot be read, InUseError while one is still being written.
    """
    manifest = folder / "manifest.json"
    if not manifest.exists():
        raise RunFolderError(f"{folder}: neither a run nor a comparison, it holds no manifest.json")
    kind = read_folder_manifest(manifest).kind
    if kind == "comparison":
        entries = read_comparison(folder)[0]
        names = [entry.folder.name for entry in entries]
        if len(set(names)) < len(names):  # finished runs of several folders
            names = [entry.run.folder for entry in entries]
        runs = [
            Exported(Run(entry.folder), name, entry.run.arm)
            for entry, name in zip(entries, names, strict=True)
        ]
    elif kind == "run":
        run = Run(folder)
        runs = [Exported(run, folder.resolve().name, run.config.model.kind)]
    else:
        raise RunFolderError(f"{folder}: neither a run nor a comparison (manifest.json says {kind!r})")
    for one in runs:
        _ = one.settings, one.facts, one.summary  # what is damaged is found before anything is written
        if is_locked(one.run.folder):
            raise InUseError(f"{one.run.folder}: still being written; export it when it has stopped")
    return runs
