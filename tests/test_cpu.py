"""Denormals count as zero while training, in every thread, and nowhere else, in none."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest
import torch
from conftest import tiny_config

from resexp.data.splits import Splits
from resexp.training.cpu import DenormalsFlushed
from resexp.training.engine import prepared_engine
from resexp.training.execution import Execution

T = TypeVar("T")
TWO_THREADS = Execution("cpu", "float32", "eager", 2, "test")
TINY = torch.full((1 << 20,), 1e-40)
"""Enough to be shared among threads; made here, since where they are flushed 1e-40 is zero from the start."""


@pytest.fixture(autouse=True)
def one_thread_again() -> Iterator[None]:
    yield
    torch.set_num_threads(1)


def subnormals_that_survive() -> int:
    """Multiply subnormal numbers by one and count, by their bits, those that are left."""
    return int((TINY * 1.0).view(torch.int32).count_nonzero())


def in_a_new_thread(work: Callable[[], T]) -> T:
    """Run where no OpenMP thread has been started yet, as at the start of a process."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def test_a_probe_that_follows_training_sees_subnormals_in_all_threads(splits: Splits) -> None:
    def train_then_look() -> int:
        engine = prepared_engine(tiny_config(optim__batch_size=64), splits.train, TWO_THREADS)
        engine.advance(1)
        engine.evaluate(splits.test)
        return subnormals_that_survive()

    assert in_a_new_thread(train_then_look) == len(TINY)


def test_training_that_follows_a_probe_flushes_in_all_threads(splits: Splits) -> None:
    found = []

    def look_then_train() -> int:
        torch.set_num_threads(2)
        before = subnormals_that_survive()
        engine = prepared_engine(tiny_config(), splits.train, TWO_THREADS)
        engine.advance(2, should_stop=lambda: found.append(subnormals_that_survive()) or False)
        return before

    assert in_a_new_thread(look_then_train) == len(TINY)
    assert found == [0, 0]


def test_what_goes_wrong_there_is_told_here() -> None:
    with pytest.raises(ZeroDivisionError):
        DenormalsFlushed(1)(lambda: 1 / 0)
