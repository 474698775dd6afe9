"""Doctor: the gradient at initialisation in anybody's net, judged by the same rules as our own."""

import hashlib
import importlib
import importlib.util
import math
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from resexp._version import __version__
from resexp.analysis.gradient_ratio import gradient_ratio
from resexp.errors import UsageError
from resexp.probes.any_net import LayerReading, NetReading, measure_net
from resexp.records.doctor import DoctorDocument, DoctorLayer, DoctorShortcut
from resexp.records.files import child, write_atomic, write_json
from resexp.records.lock import locked
from resexp.records.preflight import admit_kind
from resexp.records.schema import FolderManifest
from resexp.report.figures.doctor_profile import doctor_figure
from resexp.report.figures.png import to_png
from resexp.report.figures.style import attempt_drawing
from resexp.report.progress import Display, Fraction

WHAT_GOES_IN = "normal noise, labels drawn at random"


class Question(NamedTuple):
    """What is asked. target, loss: MODULE:NAME or FILE.py:NAME. input: shape of one input."""

    target: str
    input: tuple[int, ...]
    batch: int = 32
    classes: int | None = None
    loss: str | None = None
    seeds: int = 5


def load_callable(text: str) -> Callable[..., Any]:
    """Return what MODULE:NAME or FILE.py:NAME names. Raises UsageError in a line for what keeps it from
    that.
    """
    where, colon, name = text.rpartition(":")
    if not colon or not where or not name:
        raise UsageError(f"{text}: write MODULE:NAME or FILE.py:NAME, e.g. torchvision.models:resnet18")
    try:
        module = _module(where)
    except UsageError:
        raise
    except BaseException as error:  # whatever somebody's module does while it is imported
        why = " ".join(str(error).split())
        raise UsageError(f"{text}: importing {where} raises {type(error).__name__}: {why}") from error
    found = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise UsageError(f"{text}: {where} has no {name}")
        found = getattr(found, part)
    if not callable(found):
        raise UsageError(f"{text}: {name} is no function or class")
    return found


def _module(where: str) -> ModuleType:
    if not where.endswith(".py"):
        sys.path.insert(0, str(Path.cwd()))
        try:
            return importlib.import_module(where)
        finally:
            sys.path.pop(0)
    path = Path(where)
    if not path.is_file():
        raise UsageError(f"{where}: no such file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{where}: no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def logits_of(output: Any) -> Tensor:
    """Return the tensor that a net's output classifies by: itself, its `logits`, or the first one in it."""
    if isinstance(output, Tensor):
        return output
    if (logits := getattr(output, "logits", None)) is not None:
        return logits
    values = list(output.values()) if isinstance(output, dict) else list(output or ())
    for value in values:
        if isinstance(value, Tensor):
            return value
    raise UsageError(f"the net returns {type(output).__name__} without a tensor; say what to do with --loss")


def diagnose(question: Question, progress: Callable[[float], None] = lambda _: None) -> DoctorDocument:
    """Measure the net with seeds 0, 1, ... as it is when it was just made, in training mode; trains
    nothing.
    """
    make = load_callable(question.target)
    own_loss = None if question.loss is None else load_callable(question.loss)
    readings = []
    for seed in range(question.seeds):
        readings.append(_measured(question, make, own_loss, seed))
        progress((seed + 1) / question.seeds)
    first = readings[0]
    if any([layer.name for layer in r.layers] != [layer.name for layer in first.layers] for r in readings):
        raise UsageError(f"{question.target}: other layers run with other seeds; their numbers have no mean")
    values = [reading.ratio for reading in readings]
    found = gradient_ratio(values, max(1, first.depth))
    return DoctorDocument(
        kind="doctor",
        target=question.target,
        input=list(question.input),
        batch=question.batch,
        seeds=question.seeds,
        data=WHAT_GOES_IN,
        first=first.first and first.first.name,
        last=first.last and first.last.name,
        layers_between=first.depth,
        values=values,
        word=found.word if found.n else "not measured",
        sentence=found.sentence if found.n else f"T is not measured: {first.why}",
        layers=[
            _layer([reading.layers[k] for reading in readings], readings)
            for k, layer in enumerate(first.layers)
            if layer.weighted
        ],
        shortcuts=[
            DoctorShortcut(
                name=block.name,
                kind=block.shortcut,
                shortcut_share=_mean([r.blocks[k].shortcut_share for r in readings]),
                branch_share=_mean([r.blocks[k].branch_share for r in readings]),
            )
            for k, block in enumerate(first.blocks)
        ],
    )


def _measured(
    question: Question, make: Callable[..., Any], own_loss: Callable[..., Any] | None, seed: int
) -> NetReading:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            net = make()
        except Exception as error:
            raise UsageError(f"{question.target}() raises {type(error).__name__}: {error}") from error
        if not isinstance(net, nn.Module):
            raise UsageError(f"{question.target}: returns {type(net).__name__}, not an nn.Module")
        images = torch.randn(question.batch, *question.input)

        def loss_of(output: Any) -> Tensor:
            logits = logits_of(output) if own_loss is None else output
            if own_loss is None and (logits.ndim < 2 or len(logits) != question.batch):
                raise UsageError(
                    f"{question.target}: gives out {list(logits.shape)} for {question.batch} inputs, not a "
                    "number a class each; say what to do with --loss"
                )
            classes = question.classes or (logits.shape[1] if own_loss is None else 10)
            labels = torch.randint(classes, (question.batch, *(logits.shape[2:] if own_loss is None else ())))
            return F.cross_entropy(logits, labels) if own_loss is None else own_loss(output, labels)

        try:
            return measure_net(net.train(), [images], loss_of, question.batch)
        except UsageError:
            raise
        except Exception as error:
            shape = [question.batch, *question.input]
            raise UsageError(
                f"{question.target}: with an input of {shape} it raises {type(error).__name__}: "
                f"{' '.join(str(error).split())[:200]}"
            ) from error


def _layer(runs: Sequence[LayerReading], readings: Sequence[NetReading]) -> DoctorLayer:
    first = runs[0]
    sizes = [
        run.norm / reading.last.norm
        for run, reading in zip(runs, readings, strict=True)
        if run.norm is not None and reading.last is not None and reading.last.norm
    ]
    arriving = None
    if len(sizes) == len(runs):
        arriving = 0.0 if min(sizes) <= 0 else math.exp(fmean(map(math.log, sizes)))
    return DoctorLayer(
        name=first.name if first.number == 1 else f"{first.name} (run {first.number})",
        kind=first.kind,
        shape=list(first.shape),
        arriving=arriving,
        dead=_mean([None if run.dead is None or not run.units else run.dead / run.units for run in runs]),
        weight_rms=_mean([run.weight_rms for run in runs]),
        relative=_mean([run.relative for run in runs]),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None


def run_doctor(
    question: Question, *, runs_dir: Path, name: str | None, command: Sequence[str], show: Display
) -> tuple[Path, DoctorDocument]:
    """Diagnose, and return the folder with doctor.json, doctor.png and manifest.json, and what is in it."""
    asked = hashlib.sha256(repr((question, __version__)).encode()).hexdigest()[:8]
    document = diagnose(question, lambda done: show.update("nets measured", Fraction(done)))
    folder = child(runs_dir, name or f"doctor-{asked}")
    with locked(folder):
        admit_kind(folder, "doctor", asked)
        manifest = FolderManifest(
            kind="doctor", question=asked, command=shlex.join(command), versions={"resexp": __version__}
        )
        write_json(folder / "manifest.json", manifest.to_json())
        write_json(folder / "doctor.json", document.to_json())
        picture = folder / "doctor.png"
        if png := attempt_drawing(lambda: to_png(doctor_figure(document)), str(picture), show.say):
            write_atomic(picture, png)
    return folder, document
