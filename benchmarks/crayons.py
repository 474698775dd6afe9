"""How hard is the crayons set? A linear classifier on its pixels, and a residual-20.

    python -m benchmarks.crayons [--epochs 6] [--lr 0.05] [--augment] [--linear-only] [--sheet FILE.png]

The set is meant to be neither trivial nor noise: the linear classifier may reach 50% of the test images, a
part of it by the mean colour alone; the residual net must pass 90% within 15 epochs. Exits with 1 where that
is not so. --sheet draws sixteen of each figure into a picture and measures nothing.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from resexp.config import Config, DataSection
from resexp.data.crayons import dataset as crayons
from resexp.data.dataset import Raw
from resexp.data.splits import Splits, load
from resexp.records.run import read_lines
from resexp.training.loop import run

LINEAR_AT_MOST = 0.50
RESIDUAL_AT_LEAST = 0.90
RIDGES = (1.0, 10.0, 100.0, 1_000.0, 10_000.0)
BATCH_SIZE = 128


def linear(raw: Raw) -> dict[float, float]:
    """Return the test accuracy of least squares on the pixels in [0, 1], for each ridge."""
    train, test = (images.reshape(len(images), -1) / 255 for images in (raw.train_images, raw.test_images))
    centre = train.mean(axis=0)
    train, test = train - centre, test - centre
    targets = np.eye(len(raw.classes))[raw.train_labels] - 1 / len(raw.classes)
    square, product = train.T @ train, train.T @ targets
    accuracies = {}
    for ridge in RIDGES:
        weight = np.linalg.solve(square + ridge * np.eye(len(square)), product)
        accuracies[ridge] = float((np.argmax(test @ weight, axis=1) == raw.test_labels).mean())
    return accuracies


def coloured_in(raw: Raw) -> Raw:
    """Return the set with each image shrunk to its mean colour, [N, 3, 1, 1]."""
    train, test = (images.mean(axis=(2, 3), keepdims=True) for images in (raw.train_images, raw.test_images))
    return raw._replace(train_images=train, test_images=test)


def sheet(raw: Raw, path: Path) -> None:
    """Write a picture of the first test drawings at twice their size, a row of sixteen for each figure."""
    rows = [
        np.concatenate(list(raw.test_images[raw.test_labels == k][:16].transpose(0, 2, 3, 1)), axis=1)
        for k in range(len(raw.classes))
    ]
    pixels = np.concatenate(rows).repeat(2, axis=0).repeat(2, axis=1)
    Image.fromarray(pixels).save(path, optimize=True)


def residual(splits: Splits, *, epochs: int, lr: float, augment: bool) -> list[tuple[float, float]]:
    """Return the test accuracy of a residual-20 after each epoch: (epoch, accuracy)."""
    epoch = len(splits.train.images) // BATCH_SIZE
    tree: dict[str, Any] = {
        "data": {"name": "crayons", "augment": augment},
        "model": {"depth": 20},
        "optim": {
            "steps": epochs * epoch,
            "batch_size": BATCH_SIZE,
            "lr": lr,
            "schedule": {"name": "cosine", "warmup_steps": 20},
        },
        "record": {"eval_every": epoch, "checkpoint_every": 10**6, "probes": ()},
    }
    with tempfile.TemporaryDirectory() as folder:
        run(Config.model_validate(tree), Path(folder), splits)
        rows = read_lines(Path(folder) / "metrics.jsonl")
    return [(row["step"] / epoch, row["test_accuracy"]) for row in rows if row["kind"] == "evaluation"]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--augment", action="store_true", help="crop and mirror, as the configs do")
    parser.add_argument("--linear-only", action="store_true")
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    if options.sheet:
        sheet(crayons.load(), options.sheet)
        return 0

    start = time.process_time()
    crayons.make(crayons.SEED, crayons.NUM_TRAIN + crayons.NUM_TEST)
    say(f"12,000 drawings in {time.process_time() - start:.1f} s of one core")

    raw = crayons.load()
    say(f"linear on the mean colour alone: {max(linear(coloured_in(raw)).values()):.1%} of 2,000")
    accuracies = linear(raw)
    for ridge, accuracy in accuracies.items():
        say(f"linear, ridge {ridge:g}: {accuracy:.1%} of 2,000")
    fits = max(accuracies.values()) <= LINEAR_AT_MOST
    if not options.linear_only:
        splits = load(DataSection(name="crayons"))
        curve = residual(splits, epochs=options.epochs, lr=options.lr, augment=options.augment)
        for epoch, accuracy in curve:
            say(f"residual-20, epoch {epoch:g}: {accuracy:.1%} of 2,000")
        fits = fits and max(accuracy for _, accuracy in curve) > RESIDUAL_AT_LEAST
    say("neither trivial nor noise" if fits else "not as hard as it should be, or too hard")
    return 0 if fits else 1


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
