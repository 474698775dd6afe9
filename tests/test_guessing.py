"""What guessing is, where the classes of the training images are equally many and where they are not."""

import math
from pathlib import Path

import pytest
import scipy.stats
import torch
from conftest import make_splits, tiny_config

from resexp.analysis.cells import summary_of
from resexp.data.splits import Splits
from resexp.records.manifest import label_entropy
from resexp.records.run import Run
from resexp.training.loop import run


def with_counts(*counts: int) -> Splits:
    splits = make_splits(num_train=sum(counts))
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return splits._replace(train=splits.train._replace(labels=labels))


@pytest.mark.parametrize("counts", [[1, 1], [16, 16, 16, 16], [61, 1, 1, 1], [3, 0, 5]])
def test_the_entropy_is_scipys(counts: list[int]) -> None:
    assert label_entropy(counts) == pytest.approx(scipy.stats.entropy(counts), rel=1e-12)


@pytest.mark.parametrize(
    ("counts", "recorded"), [((16, 16, 16, 16), False), ((17, 16, 16, 15), False), ((40, 8, 8, 8), True)]
)
def test_a_run_records_the_counts_where_they_make_a_difference(
    counts: tuple[int, ...], recorded: bool, tmp_path: Path
) -> None:
    run(tiny_config(optim__steps=2, record__probes=()), tmp_path / "run", with_counts(*counts))
    images = Run(tmp_path / "run").manifest.data
    assert images.class_counts == (list(counts) if recorded else None)
    summary = summary_of(Run(tmp_path / "run"), arm="plain", beside=tmp_path)
    expected = scipy.stats.entropy(counts) if recorded else math.log(4)
    assert summary.guess_loss == images.guess_loss == pytest.approx(expected, rel=1e-12)
    assert images.guess_accuracy == (40 / 64 if recorded else 0.25)
    assert summary.guess_words == (f"the labels' entropy of {expected:.3f}" if recorded else "ln 4")
