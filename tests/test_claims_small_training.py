"""Nets trained side by side: the same as one after the other, in order, and all ended by one error."""

import pytest
import torch

from resexp.claims.finding import OnProgress
from resexp.claims.small_training import drawings, in_threads, train_briefly
from resexp.training.execution import usable_cores

MODEL = {"depth": 8, "width": 4}
OPTIM = {"steps": 6, "batch_size": 16, "lr": 0.1}


def test_nets_side_by_side_are_bit_equal_to_nets_one_after_the_other():
    images = drawings().train
    images = images._replace(images=images.images[:64], labels=images.labels[:64])

    def trained(seed: int, progress: OnProgress) -> torch.Tensor:
        return train_briefly(images, MODEL, OPTIM, seed=seed, progress=progress).loss

    told: list[float] = []
    together = in_threads([lambda p, seed=seed: trained(seed, p) for seed in range(4)], told.append)
    alone = [trained(seed, lambda part: None) for seed in range(4)]
    assert all(torch.equal(a, b) for a, b in zip(together, alone, strict=True))
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_an_error_ends_the_others_at_their_next_word():
    def endless(progress: OnProgress) -> None:
        while True:
            progress(0.5)

    def failing(progress: OnProgress) -> None:
        raise RuntimeError("this one")

    # As many endless ones as leave a core for the failing one.
    pieces = [*[endless] * (usable_cores() - 1), failing, endless]
    with pytest.raises(RuntimeError, match="this one"):
        in_threads(pieces, lambda part: None)


def test_final_loss_is_the_mean_over_the_last_tenth_of_the_steps():
    images = drawings().train
    images = images._replace(images=images.images[:64], labels=images.labels[:64])
    net = train_briefly(images, MODEL, OPTIM | {"steps": 20}, seed=0)
    assert net.final_loss == pytest.approx(float(net.loss[-2:].sum()) / 2)
