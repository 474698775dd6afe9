"""A finished run's net comes back as it was trained."""

from pathlib import Path

import pytest
from conftest import tiny_config

import resexp
from resexp.data.splits import Splits
from resexp.errors import RunFolderError
from resexp.training.evaluation import evaluate
from resexp.training.loop import run


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_loaded_net_has_the_recorded_scores(ema: float, tmp_path: Path, splits: Splits) -> None:
    result = run(tiny_config(optim__ema=ema), tmp_path, splits)
    scores = evaluate(resexp.load(tmp_path), splits.test)
    assert scores.loss == pytest.approx(result.test_loss, rel=1e-5)
    assert scores.accuracy == result.test_accuracy


def test_what_is_no_finished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError):
        resexp.load(tmp_path)
