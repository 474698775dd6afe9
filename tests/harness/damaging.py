"""Checkpoints with flipped bits and missing ends: each is found, and the one before is used."""

import random
from pathlib import Path

from harness.tally import Tally
from resexp.training.checkpoint import newest, saved


def fallen_back(folder: Path) -> list[str]:
    """Return what is wrong unless the newest checkpoint is called damaged and the one before is taken."""
    before, last = saved(folder)[-2:]
    found, damaged = newest(folder)
    step = int(before.stem[-10:])
    if found is None or found["step"] != step:
        return [f"{found and found['step']} was taken instead of {step}"]
    if len(damaged) != 1 or last.name not in damaged[0]:
        return [f"said {damaged}"]
    return []


def flip_bits(folder: Path, num: int, seed: int) -> Tally:
    """Flip each of `num` bits of the newest checkpoint, one at a time."""
    path = saved(folder)[-1]
    return _flip(folder, path, random.Random(seed).sample(range(8 * path.stat().st_size), num))


def flip_digest(folder: Path) -> Tally:
    """Flip each bit of the newest checkpoint's digest, but for the line end, which says nothing."""
    return _flip(folder, saved(folder)[-1].with_suffix(".sha256"), range(8 * 64))


def truncate(folder: Path, num: int, seed: int) -> Tally:
    """Cut the newest checkpoint off at `num` lengths, nothing and all but a byte among them."""
    path = saved(folder)[-1]
    content, faults = path.read_bytes(), list[str]()
    inside = random.Random(seed).sample(range(1, len(content) - 1), num - 2)
    for length in [0, len(content) - 1, *inside]:
        path.write_bytes(content[:length])
        faults += [f"{length} bytes: {fault}" for fault in fallen_back(folder)]
    path.write_bytes(content)
    return Tally(num, faults)


def _flip(folder: Path, path: Path, bits: "range | list[int]") -> Tally:
    content, faults = path.read_bytes(), list[str]()
    for bit in bits:
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        faults += [f"bit {bit}: {fault}" for fault in fallen_back(folder)]
    path.write_bytes(content)
    return Tally(len(bits), faults)
