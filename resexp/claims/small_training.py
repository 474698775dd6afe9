"""Small training runs on small drawings: what the claims that train a classifier share.

Crayon drawings, shrunk to 16x16 so that a claim takes a minute or two on a laptop. Float32 on the
CPU and uncompiled, whatever the machine, and one thread a net: tensors this small gain little from more and
lose much where the cores are busy, so it is nets that share out the cores.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, CancelledError, ThreadPoolExecutor, wait
from functools import cache, partial
from math import isfinite
from threading import Event, Lock
from typing import Any, NamedTuple, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from resexp.claims.finding import OnProgress
from resexp.config import Config, DataSection, ModelSection, OptimSection, RecordSection, RunSection
from resexp.data.crayons import dataset as crayons
from resexp.data.dataset import Dataset, dataset, statistics
from resexp.training.engine import Engine, prepared_engine
from resexp.training.execution import resolve, usable_cores

Result = TypeVar("Result")
SPAN = 20
"""steps between looks at how far the training is"""
RUN = RunSection(device="cpu", precision="float32", compile=False, threads=1)


class Drawings(NamedTuple):
    """The crayon drawings at 16x16, normalised by the training images."""

    train: Dataset
    test: Dataset


@cache
def drawings() -> Drawings:
    """Return the embedded set, 10,000 training and 2,000 test drawings, shrunk."""
    raw = crayons.load()
    train, test = shrunk(raw.train_images), shrunk(raw.test_images)
    normalisation = statistics(train, "channel")
    return Drawings(
        dataset(train, torch.from_numpy(raw.train_labels), raw.classes, normalisation),
        dataset(test, torch.from_numpy(raw.test_labels), raw.classes, normalisation),
    )


def shrunk(images: NDArray) -> Tensor:
    """Return uint8 images [N, 3, H, W] at half the size: 2x2 squares averaged, halves rounded to even."""
    num, channels, height, width = images.shape
    squares = torch.from_numpy(images).view(num, channels, height // 2, 2, width // 2, 2)
    return squares.float().mean(dim=(3, 5)).round().to(torch.uint8)


class Trained(NamedTuple):
    """A net after its brief training."""

    engine: Engine
    loss: Tensor
    """float32 [steps], of each step's own batch, in nats"""

    @property
    def final_loss(self) -> float:
        """The mean over the last tenth of the steps: the project's one primary metric."""
        return float(self.loss[-max(1, len(self.loss) // 10) :].double().mean())


def counted(loss: float, guessing: float) -> float:
    """Return the loss, but that of guessing where it is above that or no number.

    A net that diverged knows no more than one that guesses: so it counts, and does not drown the others.
    """
    return min(loss, guessing) if isfinite(loss) else guessing


def train_briefly(
    images: Dataset,
    model: dict[str, Any],
    optim: dict[str, Any],
    *,
    seed: int,
    progress: OnProgress = lambda done: None,
) -> Trained:
    """Train the net that `model` describes as `optim` says, both in the config's own keys.

    Two models with one seed see the same batches.
    """
    config = Config(
        seed=seed,
        data=DataSection(name="crayons", augment=False),
        model=ModelSection(**model),
        optim=OptimSection(**optim),
        run=RUN,
        record=RecordSection(gradient_norm=False),
    )
    steps = config.optim.steps
    engine = prepared_engine(config, images, resolve(RUN, num_images=steps * config.optim.batch_size))
    losses = []
    while engine.step < steps:
        losses.append(engine.advance(min(SPAN, steps - engine.step)).loss)
        progress(engine.step / steps)
    return Trained(engine, torch.cat(losses))


def in_threads(pieces: Sequence[Callable[[OnProgress], Result]], report: OnProgress) -> list[Result]:
    """Do these pieces of work on a thread each, as many at a time as there are cores; return their results.

    Each is given a function to tell how far it is; `report` is told of all together, one call at a time. No
    result depends on how they are shared out. After an error, or Ctrl-C, the others end at their next word.
    """
    done, lock, stop = [0.0] * len(pieces), Lock(), Event()

    def tell(index: int, part: float) -> None:
        if stop.is_set():
            raise CancelledError
        with lock:
            done[index] = part
            report(sum(done) / len(done))

    with ThreadPoolExecutor(usable_cores()) as threads:
        futures = [threads.submit(piece, partial(tell, index)) for index, piece in enumerate(pieces)]
        try:
            ended, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in ended:
                future.result()
        except BaseException:
            stop.set()
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return [future.result() for future in futures]
