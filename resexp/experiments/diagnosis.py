"""A diagnosis: the gradient in anybody's net, before and after some steps, judged by the rules of our own."""

import math
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from resexp.analysis.gradient_ratio import gradient_ratio
from resexp.config.imports import blamed
from resexp.errors import UsageError
from resexp.probes.any_net import LayerReading, NetReading, measure_net
from resexp.records.doctor import DoctorAfter, DoctorDocument, DoctorLayer, DoctorReading, DoctorShortcut

SGD_MOMENTUM = 0.9
Done = TypeVar("Done")


class Given(NamedTuple):
    """What a net is shown. labels: int64 [B], or None: drawn at random once its outputs are known."""

    inputs: Tensor
    labels: Tensor | None = None


class Examination(NamedTuple):
    """A net, and how it is looked at.

    name: what it is called. make: returns it, anew for each seed. given: what it is shown, by (seed, step);
    step 0 is measured on, steps 1, 2, ... are trained on. loss: of the net's output and labels, the mean over
    the inputs; None: cross-entropy. classes: labels are drawn from so many, None: the net's outputs. train:
    SGD steps between the two measurements, 0: there is one alone.
    """

    name: str
    make: Callable[[], Any]
    given: Callable[[int, int], Given]
    what: str
    """what the inputs are, in words"""
    loss: Callable[..., Any] | None = None
    classes: int | None = None
    seeds: int = 5
    train: int = 0
    lr: float = 0.01


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


def diagnose(case: Examination, progress: Callable[[float], None] = lambda _: None) -> DoctorDocument:
    """Measure the net with seeds 0, 1, ... as it is when it was just made, in training mode; then, if the
    case asks for it, train it and measure again on the same inputs.
    """
    before, after = list[NetReading](), list[NetReading]()
    batch, *shape = case.given(0, 0).inputs.shape
    for seed in range(case.seeds):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            patient = _Patient(case, seed)
            before.append(patient.measured())
            if case.train:
                for step in range(1, case.train + 1):
                    patient.step(step)
                    progress((seed + step / case.train) / case.seeds)
                after.append(patient.measured())
        progress((seed + 1) / case.seeds)
    names = {tuple(layer.name for layer in reading.layers) for reading in (*before, *after)}
    if len(names) > 1:
        raise UsageError(f"{case.name}: other layers run with other seeds; their numbers have no mean")
    first = before[0]
    return DoctorDocument(
        kind="doctor",
        target=case.name,
        input=shape,
        batch=batch,
        seeds=case.seeds,
        data=case.what,
        first=first.first and first.first.name,
        last=first.last and first.last.name,
        layers_between=first.depth,
        **_judged(before).to_json(),
        after=DoctorAfter(steps=case.train, lr=case.lr, **_judged(after).to_json()) if after else None,
    )


class _Patient:
    """One net on its inputs; every fault in it is a UsageError of one line."""

    def __init__(self, case: Examination, seed: int) -> None:
        self._case, self._seed = case, seed
        with blamed(f"{case.name}()"):
            net = case.make()
        if not isinstance(net, nn.Module):
            raise UsageError(f"{case.name}: returns {type(net).__name__}, not an nn.Module")
        self._net = net.train()
        self._optimizer: torch.optim.Optimizer | None = None
        self.given = case.given(seed, 0)

    def measured(self) -> NetReading:
        num = len(self.given.inputs)
        return self._tried(lambda: measure_net(self._net, [self.given.inputs], self._first_loss, num))

    def step(self, number: int) -> None:
        """One step of SGD with momentum 0.9."""
        if self._optimizer is None:
            weights = [weight for weight in self._net.parameters() if weight.requires_grad]
            self._optimizer = torch.optim.SGD(weights, lr=self._case.lr, momentum=SGD_MOMENTUM)
        given, optimizer = self._case.given(self._seed, number), self._optimizer

        def train() -> None:
            optimizer.zero_grad()
            self._loss(self._net(given.inputs), given)[0].backward()
            optimizer.step()

        self._tried(train)

    def _first_loss(self, output: Any) -> Tensor:
        """The loss that is measured; labels that were drawn serve the second measurement as well."""
        loss, labels = self._loss(output, self.given)
        self.given = self.given._replace(labels=labels)
        return loss

    def _loss(self, output: Any, given: Given) -> tuple[Tensor, Tensor]:
        case, num = self._case, len(given.inputs)
        if case.loss is not None:
            labels = torch.randint(case.classes or 10, (num,)) if given.labels is None else given.labels
            return case.loss(output, labels), labels
        logits = logits_of(output)
        if logits.ndim < 2 or len(logits) != num:
            raise UsageError(
                f"{case.name}: gives out {list(logits.shape)} for {num} inputs, not a number a class each; "
                "say what to do with --loss"
            )
        labels = given.labels
        if labels is None:
            labels = torch.randint(case.classes or logits.shape[1], (num, *logits.shape[2:]))
        if int(labels.max()) >= logits.shape[1]:
            raise UsageError(
                f"{case.name}: gives out {logits.shape[1]} numbers an input, and a label is {labels.max()}"
            )
        return F.cross_entropy(logits, labels), labels

    def _tried(self, do: Callable[[], Done]) -> Done:
        with blamed(f"{self._case.name}: with an input of {list(self.given.inputs.shape)} it"):
            return do()


def _judged(readings: Sequence[NetReading]) -> DoctorReading:
    first = readings[0]
    values = [reading.ratio for reading in readings]
    found = gradient_ratio(values, max(1, first.depth))
    return DoctorReading(
        loss=_mean([reading.loss for reading in readings]),
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
