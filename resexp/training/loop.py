"""The training loop, from start to end: advance, drain, check, record, evaluate, probe, checkpoint."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from resexp.config import Config
from resexp.config.imports import name_in
from resexp.data.batches import epoch_steps, render, sample, unaugmented
from resexp.data.splits import Splits
from resexp.errors import Diverged, Interrupted, ResourceError, Terminated
from resexp.probes import probe
from resexp.records.files import write_json
from resexp.records.jsonl import JsonlWriter
from resexp.records.losses import read_losses
from resexp.records.run import Run, stream_metrics
from resexp.records.schema import FaultRow, RunResult
from resexp.records.summary import summarize
from resexp.signals import Stop
from resexp.training import checkpoint
from resexp.training.cuda_graph import out_of_memory
from resexp.training.distributed.process_group import ALONE, Group
from resexp.training.engine import Engine, prepared_engine, rehearsed
from resexp.training.evaluation import Scores
from resexp.training.execution import Execution
from resexp.training.metrics import MetricsLogger
from resexp.training.resume import begin, execution_of, take_back
from resexp.training.spans import Span, spans
from resexp.training.step import Readings
from resexp.training.trace import trace_steps
from resexp.training.worker import TrainingTask

PROBE_IMAGES = 128
TRAIN_IMAGES_EVALUATED = 2_000


class CheckpointClock:
    """Says when the last checkpoint, or the start, is longer ago than a run may lose."""

    def __init__(self, minutes: float) -> None:
        self._seconds = 60 * minutes
        self.restart()

    def restart(self) -> None:
        self._since = time.monotonic()

    def overdue(self) -> bool:
        return time.monotonic() - self._since >= self._seconds


class Progress(NamedTuple):
    """How far a run is; after a probe also how much of the gradient arrives at each layer."""

    step: int
    steps: int
    loss: float | None = None
    images_per_second: float | None = None
    arriving: Mapping[float, float] | None = None


def run(
    config: Config,
    folder: Path,
    splits: Splits,
    *,
    execution: Execution | None = None,
    group: Group = ALONE,
    stop: Stop | None = None,
    report: Callable[[Progress], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
    trace: int = 0,
) -> RunResult:
    """Train in `folder`, whose lock the caller holds, from its newest checkpoint on, and return result.json.

    `execution` (default: resolved from this run alone) counts for a run that starts; one that goes on obeys
    its manifest. `trace`: steps that are traced first, and recorded nowhere else. Raises Diverged (exit 5)
    after the result is written; Interrupted or Terminated after a checkpoint, when `stop` is set;
    RunFolderError (exit 4) when the data or the record is not what the run began with; ResourceError (exit 6)
    when memory runs out.
    """
    had_begun = (folder / "manifest.json").exists()
    try:
        return _run(config, folder, splits, execution, group, stop or Stop(), report, say, trace)
    except (Diverged, Interrupted, Terminated):
        raise
    except Exception as error:
        if not had_begun:
            take_back(folder)
        if not out_of_memory(error):
            raise
        raise ResourceError(
            f"{folder}: out of memory with optim.batch_size {config.optim.batch_size}; try a smaller one"
        ) from error


def _run(
    config: Config,
    folder: Path,
    splits: Splits,
    execution: Execution | None,
    group: Group,
    stop: Stop,
    report: Callable[[Progress], None],
    say: Callable[[str], None],
    trace: int,
) -> RunResult:
    epoch_steps(len(splits.train.labels), config.optim.batch_size)  # raises before anything is begun
    alone = execution is None and not (folder / "manifest.json").exists()
    few = splits.train.first(config.optim.batch_size)
    execution = execution_of(config, folder, execution, group.here)
    if alone and (tried := rehearsed(execution, [(config, few)])) != execution:
        execution = tried
        say(f"execution: {execution.reason}")
    group.broadcast(
        TrainingTask(config, splits.name, splits.fingerprint, execution, config.digest()).to_json()
    )
    splits = splits.to(execution.device)  # once: every evaluation looks at them
    engine = prepared_engine(config, splits.train, execution, group)
    layers = [name for name, _ in engine.net.weighted_layers()]
    state = begin(config, folder, splits, engine, layers, say)
    if trace:
        say(trace_steps(engine, folder, trace))
    group.broadcast(engine.state())
    with (
        group.end_workers(),
        closing(MetricsLogger(folder, config, layers, state, data=splits.label, say=say)) as logger,
        JsonlWriter(folder / "timing.jsonl") as timing,
        stop.polling(),
    ):
        fault = _train(config, folder, splits, engine, group, logger, timing, stop, report)
        logger.state()
    result = summarize(
        layers=layers,
        losses=read_losses(folder),
        metrics=stream_metrics(folder / "metrics.jsonl"),
        profile=Run(folder).profile,
        steps=config.optim.steps,
        every_block=config.model.survival == 1,
    )
    write_json(folder / "result.json", result.to_json())  # last of all: whoever sees it has the whole run
    if fault:
        raise Diverged(diverged(folder, fault))
    return result


class _Backlog:
    """Writes each span's readings down; where steps are recorded, while the GPU makes the next span's."""

    def __init__(
        self, config: Config, logger: MetricsLogger, timing: JsonlWriter, report: Callable[[Progress], None]
    ) -> None:
        self._optim = config.optim
        self._logger = logger
        self._timing = timing
        self._report = report
        self.progress = Progress(0, config.optim.steps)
        self._waiting: tuple[int, float, Callable[[], Readings]] | None = None
        self._written = -math.inf

    def take(self, start: int, began: float, readings: Readings) -> FaultRow | None:
        """Take the readings of the steps from `start` on, and write those taken before; see `settle`.

        began: when these steps were begun, in seconds of `time.perf_counter`.
        """
        coming = readings.fetched()
        fault = self.settle()
        self._waiting = (start, began, coming)
        return fault

    def settle(self) -> FaultRow | None:
        """Write what was taken and is not written. Returns the fault row, the last one, if there is one."""
        if self._waiting is None:
            return None
        start, began, coming = self._waiting
        self._waiting = None
        readings = coming()
        if fault := self._logger.steps(start, readings):
            return fault
        num, now = len(readings.loss), time.perf_counter()
        seconds, self._written = now - max(began, self._written), now
        speed = num * self._optim.batch_size / seconds
        self._timing.row({"step": start + num, "seconds": seconds, "images_per_second": speed})
        self.progress = Progress(start + num, self._optim.steps, float(readings.loss[-1]), speed)
        self._report(self.progress)
        return None


def _train(
    config: Config,
    folder: Path,
    splits: Splits,
    engine: Engine,
    group: Group,
    logger: MetricsLogger,
    timing: JsonlWriter,
    stop: Stop,
    report: Callable[[Progress], None],
) -> FaultRow | None:
    """Make the steps that are left. Returns the fault at which they ended, None at the last one."""
    steps, backlog = config.optim.steps, _Backlog(config, logger, timing, report)
    clock = CheckpointClock(config.record.checkpoint_minutes)
    should_pause = group.pause_on_any_rank(stop, clock.overdue)
    for span in _spans_of(engine):
        if span.stop > span.start:
            began = time.perf_counter()
            group.broadcast(span.stop - span.start)
            readings = engine.advance(span.stop - span.start, should_stop=should_pause)
            if fault := backlog.take(span.start, began, readings):
                return fault
        whole = engine.step == span.stop
        looking = span.evaluate or span.probe or span.checkpoint
        if (looking or not whole or not engine.execution.graphed) and (fault := backlog.settle()):
            return fault
        scores = _look(span, engine, splits, logger) if whole else {}
        if span.probe and whole:
            report(backlog.progress._replace(arriving=logger.arriving))
        if engine.step == steps and not all(math.isfinite(score.loss) for score in scores.values()):
            return logger.fault(steps, "evaluation not finite", None)
        stopping = stop()  # asked once: a signal from here on waits for the next span
        best = engine.step == logger.best_step and bool(scores)
        due = (span.checkpoint and whole) or stopping or clock.overdue()
        if engine.step and (best or due):
            if fault := backlog.settle():
                return fault
            state = {**engine.state(), "journal": logger.state()}
            for kind in (["best"] if best else []) + (["step"] if due else []):
                checkpoint.save(folder / "checkpoints", state, kind)
            if due:
                clock.restart()
        if stopping and engine.step < steps:
            done = (
                f"after step {engine.step} of {steps} and saved" if engine.step else "before its first step"
            )
            raise stop.error(f"{folder}: stopped {done}; add --resume auto to go on")
    return None


def _spans_of(engine: Engine) -> Iterator[Span]:
    """Yield spans from where the engine is on; after one that was cut short, the rest of it."""
    for span in spans(engine.config, engine.step):
        yield span
        while engine.step < span.stop:
            yield span._replace(start=engine.step)


def _look(span: Span, engine: Engine, splits: Splits, logger: MetricsLogger) -> dict[str, Scores]:
    """Evaluate and probe, where that is due at the end of `span`. Nothing in the engine changes."""
    scores: dict[str, Scores] = {}
    if span.evaluate:
        num_train = len(splits.train.labels)
        scores["train"] = engine.evaluate(splits.train, sample(num_train, TRAIN_IMAGES_EVALUATED))
        if splits.validation is not None:
            scores["validation"] = engine.evaluate(splits.validation)
        scores["test"] = engine.evaluate(splits.test)
        logger.evaluation(engine.step, scores)
    if span.probe:
        batch = render(engine.train, unaugmented(sample(len(splits.train.labels), PROBE_IMAGES)))
        for name in engine.config.record.probes:
            logger.probe(engine.step, name_in(name), probe(name)(engine.copy_of_net(), batch))
    return scores


def diverged(folder: Path, fault: FaultRow) -> str:
    """Return the line that tells of a fault row."""
    where = f", first in {fault.layer}" if fault.layer else ""
    return (
        f"{folder}: diverged at step {fault.step}, learning rate {fault.lr:g}: "
        f"{fault.what}{where}; all records before it are kept. A smaller optim.lr may help"
    )
