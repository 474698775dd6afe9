"""A run from start to end: advance, drain, check, record, evaluate, probe, checkpoint."""

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import torch

from resexp.config import Config
from resexp.data.batches import in_place, render, sample
from resexp.data.splits import Splits
from resexp.errors import Diverged, ResourceError
from resexp.probes.profile import PROBES
from resexp.records.folder import write_json
from resexp.records.recorder import Lines
from resexp.records.run import Run
from resexp.records.summary import summarize
from resexp.training import checkpoint
from resexp.training.beginning import begin, execution_of
from resexp.training.calendar import Span, spans
from resexp.training.engine import Engine
from resexp.training.evaluation import Scores
from resexp.training.execution import Execution
from resexp.training.journal import Journal
from resexp.training.signals import Stop

PROBE_IMAGES = 128
TRAIN_IMAGES_EVALUATED = 2_000


class Progress(NamedTuple):
    """How far a run is."""

    step: int
    steps: int
    loss: float | None
    images_per_second: float | None


def run(
    config: Config,
    folder: Path,
    splits: Splits,
    *,
    execution: Execution | None = None,
    stop: Stop | None = None,
    report: Callable[[Progress], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Train in `folder`, whose lock the caller holds, from its newest checkpoint on, and return result.json.

    `execution` (default: resolved from this run alone) counts for a run that starts; one that goes on obeys
    its manifest. Raises Diverged (exit 5) after the result is written; Interrupted or Terminated after a
    checkpoint, when `stop` is set; RunFolderError (exit 4) when the data or the record is not what the run
    began with; ResourceError (exit 6) when memory runs out.
    """
    try:
        return _run(config, folder, splits, execution, stop or Stop(), report, say)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise ResourceError(
            f"{folder}: out of memory with optim.batch_size {config.optim.batch_size}; a smaller one needs less"
        ) from error


def _run(
    config: Config,
    folder: Path,
    splits: Splits,
    execution: Execution | None,
    stop: Stop,
    report: Callable[[Progress], None],
    say: Callable[[str], None],
) -> dict[str, Any]:
    engine = Engine(config, splits.train, execution_of(config, folder, execution))
    layers = [name for name, _ in engine.net.weighted_layers()]
    state = begin(config, folder, splits, engine, layers, say)
    steps = config.optim.steps

    with (
        closing(Journal(folder, config, layers, state)) as journal,
        Lines(folder / "timing.jsonl") as timing,
    ):
        for span in spans(config, engine.step):
            if span.stop > span.start:
                began = time.perf_counter()
                readings = engine.advance(span.stop - span.start, should_stop=stop)
                if fault := journal.steps(span.start, readings):
                    _end(folder, config, journal, layers)
                    raise Diverged(_diverged(folder, fault))
                seconds = time.perf_counter() - began
                speed = len(readings.loss) * config.optim.batch_size / seconds
                timing.append({"step": engine.step, "seconds": seconds, "images_per_second": speed})
                report(Progress(engine.step, steps, journal.losses[-1], speed))
            if engine.step == span.stop:
                _look(span, engine, splits, journal)
            if engine.step and (span.checkpoint or stop()):
                checkpoint.save(folder / "checkpoints", {**engine.state(), "journal": journal.state()})
            if stop() and engine.step < steps:
                raise stop.error(
                    f"{folder}: stopped after step {engine.step} of {steps} and saved; add --resume auto to go on"
                )
        return _end(folder, config, journal, layers)


def _look(span: Span, engine: Engine, splits: Splits, journal: Journal) -> None:
    """Evaluate and probe, where that is due at the end of `span`. Nothing in the engine changes."""
    if span.evaluate:
        num_train = len(splits.train.labels)
        scores: dict[str, Scores] = {
            "train": engine.evaluate(splits.train, sample(num_train, TRAIN_IMAGES_EVALUATED))
        }
        if splits.validation is not None:
            scores["validation"] = engine.evaluate(splits.validation)
        scores["test"] = engine.evaluate(splits.test)
        journal.evaluation(engine.step, scores)
    if span.probe:
        batch = render(engine.train, in_place(sample(len(splits.train.labels), PROBE_IMAGES)))
        for name in engine.config.record.probes:
            journal.probe(engine.step, PROBES[name](engine.copy_of_net(), batch))


def _diverged(folder: Path, fault: Mapping[str, Any]) -> str:
    where = f", first in {fault['layer']}" if fault["layer"] else ""
    return (
        f"{folder}: diverged at step {fault['step']}, learning rate {fault['lr']:g}: "
        f"{fault['what']}{where}; all records before it are kept. A smaller optim.lr may help"
    )


def _end(folder: Path, config: Config, journal: Journal, layers: list[str]) -> dict[str, Any]:
    """Write result.json from the record."""
    journal.state()
    record = Run(folder)
    result = summarize(
        layers=layers,
        losses=journal.losses,
        metrics=record.metrics,
        profile=record.profile,
        steps=config.optim.steps,
    )
    write_json(folder / "result.json", result)
    return result
