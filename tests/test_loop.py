"""A run: the same bytes for the same seed, and numbers that an independent loop finds too."""

import json
import math
from pathlib import Path

import pytest
import torch
from conftest import make_splits, tiny_config
from torch.nn import functional as F

from resexp.config import Config
from resexp.data.batches import draw, render
from resexp.data.splits import Splits
from resexp.errors import Diverged
from resexp.models.resnet import build
from resexp.probes.norms import norms
from resexp.records.run import Run
from resexp.seeds import derive
from resexp.training.engine import prepared_engine
from resexp.training.evaluation import evaluate
from resexp.training.execution import Execution
from resexp.training.loop import run

EAGER = Execution("cpu", "float32", "eager", 1, "test")


def trained(folder: Path, config: Config, splits: Splits) -> Run:
    folder.mkdir(parents=True, exist_ok=True)
    run(config, folder, splits)
    return Run(folder)


@pytest.mark.parametrize("kind", ["plain", "residual"])
def test_same_config_and_seed_give_the_same_bytes(kind: str, tmp_path: Path, splits: Splits) -> None:
    config = tiny_config(model__kind=kind)
    for name in ("a", "b"):
        trained(tmp_path / name, config, splits)
    for file in ("metrics.jsonl", "profile.jsonl", "result.json", "config.yaml"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_another_seed_gives_another_record(tmp_path: Path, splits: Splits) -> None:
    records = [trained(tmp_path / str(s), tiny_config(seed=s), splits).metrics for s in (0, 1)]
    assert records[0] != records[1]


def test_losses_and_norms_are_those_of_a_loop_written_out(tmp_path: Path, splits: Splits) -> None:
    """Momentum, weight decay and gradients by hand, against the record."""
    # Few and small steps: rounding in another order grows with each.
    config = tiny_config(record__every=1, optim__weight_decay=0.01, optim__steps=6, optim__lr=0.01)
    record = trained(tmp_path, config, splits).rows("step")
    net = build(seed=0, num_classes=4, **config.model.model_dump())
    velocity = {name: torch.zeros_like(p) for name, p in net.named_parameters()}
    for row in record:
        batch_spec = draw(
            derive(0, "batches"), row.step, num_images=64, batch_size=8, augment=config.data.augment
        )
        batch = render(splits.train, batch_spec)
        loss = F.cross_entropy(net(batch.images), batch.labels)
        parameters = dict(net.named_parameters())
        gradients = dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))
        assert row.loss == pytest.approx(loss.item(), rel=1e-4)
        by_hand = [
            math.sqrt(gradients[f"{name}.weight"].double().square().sum().item())
            for name, _ in net.weighted_layers()
        ]
        assert row.gradient_norm == pytest.approx(by_hand, rel=1e-3)
        with torch.no_grad():
            for name, parameter in parameters.items():
                velocity[name] = 0.9 * velocity[name] + gradients[name] + 0.01 * parameter
                parameter -= row.lr * velocity[name]


def test_extremes_are_those_of_every_step_since_the_row_before(tmp_path: Path, splits: Splits) -> None:
    every = {
        row.step: row for row in trained(tmp_path / "1", tiny_config(record__every=1), splits).rows("step")
    }
    before = -1
    for row in trained(tmp_path / "5", tiny_config(record__every=5), splits).rows("step"):
        window = [every[step].gradient_norm for step in range(before + 1, row.step + 1)]
        assert row.gradient_norm_min == [min(norms) for norms in zip(*window, strict=True)]
        assert row.gradient_norm_max == [max(norms) for norms in zip(*window, strict=True)]
        assert row.loss == every[row.step].loss
        before = row.step


def test_rows_stand_at_each_multiple_and_the_last_step(tmp_path: Path, splits: Splits) -> None:
    rows = trained(tmp_path, tiny_config(optim__steps=13, record__every=5), splits).rows("step")
    assert [row.step for row in rows] == [0, 5, 10, 12]


def test_norms_do_not_underflow_where_squares_in_float32_would() -> None:
    tensors = [torch.full((100,), 4e-24), torch.full((4,), 1e-37), torch.zeros(3)]
    assert (tensors[0].square().sum().item(), tensors[1].square().sum().item()) == (0, 0)
    assert norms(tensors).tolist() == pytest.approx([4e-23, 2e-37, 0], rel=1e-6)


def test_scores_are_means_over_the_images(splits: Splits) -> None:
    net = build(seed=0, num_classes=4, kind="plain", depth=8, width=4).eval()
    scores = evaluate(net, splits.test)
    images = (splits.test.images.float() - splits.test.mean) / splits.test.std
    with torch.no_grad():
        logits = net(images)
    assert scores.loss == pytest.approx(F.cross_entropy(logits, splits.test.labels).item(), rel=1e-5)
    right = sum(
        int(row.argmax()) == label for row, label in zip(logits, splits.test.labels.tolist(), strict=True)
    )
    assert scores.accuracy == right / len(splits.test.labels)


def test_the_result_says_what_the_record_says(tmp_path: Path, splits: Splits) -> None:
    made = trained(tmp_path, tiny_config(optim__steps=20, record__every=1), splits)
    assert made.result is not None
    losses = [row.loss for row in made.rows("step")]
    assert made.result.final_loss == pytest.approx(sum(losses[-2:]) / 2)
    assert made.result.loss_area == pytest.approx(sum(losses) / 20)
    assert made.result.test_accuracy == made.rows("evaluation")[-1].test_accuracy
    first = made.rows("step")[0].gradient_norm
    assert made.result.gradient is not None
    assert made.result.gradient.to_json() == {
        "first": {"layer": "stem.conv", "norm": first[0]},
        "last": {"layer": "stage3.0.conv2", "norm": first[-2]},
    }
    outputs = made.profile[0].outputs
    first_norm, last_norm = outputs[0].norm, outputs[-1].norm
    assert first_norm is not None
    assert last_norm is not None
    assert made.result.transport.initial == first_norm / last_norm


def test_a_run_that_diverges_ends_as_a_result(tmp_path: Path, splits: Splits) -> None:
    config = tiny_config(optim__lr=1e30, model__norm="none")
    with pytest.raises(Diverged, match="diverged at step"):
        trained(tmp_path, config, splits)
    made = Run(tmp_path)
    assert made.status == "diverged"
    assert made.metrics[-1].kind == "fault"
    assert all(row.step < made.metrics[-1].step for row in made.metrics[:-1])
    for line in (tmp_path / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)


@pytest.mark.parametrize(
    "changes",
    [
        {"record__every": 1},
        {"record__eval_every": 1},
        {"record__checkpoint_every": 1},
        {"record__checkpoint_minutes": 1e-9},
        {"record__probes": ()},
        {"record__gradient_norm": False},
    ],
    ids=str,
)
def test_looking_changes_no_bit_of_the_weights(changes: dict, tmp_path: Path, splits: Splits) -> None:
    finals = []
    for name, config in (("a", tiny_config()), ("b", tiny_config(**changes))):
        folder = tmp_path / name
        trained(folder, config, splits)
        finals.append(torch.load(folder / "checkpoints" / "step-0000000012.pt", weights_only=True))
    for part in ("net", "momentum"):
        assert finals[0][part].keys() == finals[1][part].keys()
        assert all(torch.equal(finals[0][part][key], finals[1][part][key]) for key in finals[0][part])


def test_denormals_are_flushed_while_training_and_kept_outside(splits: Splits) -> None:
    engine = prepared_engine(tiny_config(), splits.train, EAGER)
    engine.advance(1)
    tiny = torch.full((8,), 1e-40)
    assert (tiny * 1.0).count_nonzero() == 8


def test_bfloat16_trains_close_to_float32(splits: Splits) -> None:
    losses = {}
    for precision in ("float32", "bfloat16"):
        engine = prepared_engine(tiny_config(), splits.train, EAGER._replace(precision=precision))
        losses[precision] = engine.advance(10).loss.mean().item()
        assert all(parameter.dtype == torch.float32 for parameter in engine.net.parameters())
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.03)


def test_a_batch_larger_than_the_data_is_refused(tmp_path: Path) -> None:
    from resexp.errors import DataError

    with pytest.raises(DataError, match="batch_size"):
        trained(tmp_path, tiny_config(optim__batch_size=128), make_splits())
