"""Are the two implementations the same net, trained the same way? Asked before their speeds are compared."""

from typing import Any

import torch
from torch.nn import functional as F

from benchmarks.contender import config_of
from benchmarks.textbook import BATCH_SIZE, ResNet
from resexp.data.batches import draw, render
from resexp.data.splits import load
from resexp.models.resnet import build
from resexp.seeds import derive
from resexp.training.engine import prepared_engine
from resexp.training.execution import resolve

AGREE_STEPS, AGREE_WITHIN, AGREE_LR = 20, 1e-3, 5e-5
"""A rate so small that rounding has no time to grow: from the same weights the order of additions alone moves
the loss of the 20th step by 0.03 at 0.02 (ResNet-20), by 0.002 at 0.0002 (ResNet-56)."""
LOW_STEPS, LOW_WITHIN = (150, 200), 0.03


def losses(net: torch.nn.Module, depth: int, steps: int) -> list[float]:
    """Return the losses of a textbook net over resexp's own batches, unaugmented, in float32."""
    config = config_of(depth, augment=False)
    train = load(config.data).train
    optimizer = torch.optim.SGD(net.parameters(), lr=AGREE_LR, momentum=0.9, weight_decay=1e-4)
    found = []
    for step in range(steps):
        batch = render(train, _draw(config.seed, step, len(train.labels)))
        loss = F.cross_entropy(net(batch.images), batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def _draw(seed: int, step: int, num_images: int) -> Any:
    batches_seed = derive(seed, "batches")
    return draw(batches_seed, step, num_images=num_images, batch_size=BATCH_SIZE, augment=False)


def agreement(depth: int) -> dict[str, Any]:
    """Return how near the two implementations are; raises RuntimeError where they are not the same net."""
    config = config_of(
        depth, augment=False, lr=AGREE_LR, run={"precision": "float32", "compile": False, "device": "cpu"}
    )
    train = load(config.data).train
    ours = build(seed=config.seed, num_classes=train.num_classes, **config.model.model_dump())
    theirs = ResNet(depth, train.num_classes)
    ours_count, theirs_count = (sum(p.numel() for p in net.parameters()) for net in (ours, theirs))
    if ours_count != theirs_count:
        raise RuntimeError(f"depth {depth}: {ours_count} parameters against {theirs_count}")
    with torch.no_grad():
        for mine, its in zip(ours.parameters(), theirs.parameters(), strict=True):
            its.copy_(mine)
    execution = resolve(config.run, num_images=0)
    engine = prepared_engine(config, train, execution)
    measured = engine.advance(AGREE_STEPS).loss.tolist()
    expected = losses(theirs, depth, AGREE_STEPS)
    distance = max(abs(a - b) for a, b in zip(measured, expected, strict=True))
    if distance > AGREE_WITHIN:
        raise RuntimeError(f"depth {depth}: losses of {AGREE_STEPS} steps differ by up to {distance:.1e}")
    found: dict[str, Any] = {
        "parameters": ours_count,
        "first_and_last_of_20_losses": [measured[0], measured[-1]],
        "largest_difference": distance,
    }
    if resolve(config_of(depth).run, num_images=0).precision == "bfloat16":
        found["bfloat16_mean_loss_difference"] = low_precision(depth, train)
    return found


def low_precision(depth: int, train: Any) -> float:
    """Return the relative difference of bfloat16's mean loss over steps 150 to 200 from float32's."""
    means = []
    for precision in ("bfloat16", "float32"):
        config = config_of(depth, augment=False, run={"precision": precision, "compile": False})
        engine = prepared_engine(config, train, resolve(config.run, num_images=0))
        first, last = LOW_STEPS
        means.append(engine.advance(last).loss[first:].mean().item())
    difference = means[0] / means[1] - 1
    if abs(difference) > LOW_WITHIN:
        raise RuntimeError(f"depth {depth}: bfloat16's loss is {difference:+.1%} from float32's")
    return difference
