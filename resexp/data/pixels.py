"""Pixels: one image file as RGB of 32x32, as a viewer shows it."""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

IMAGE_SIZE = 32
BIT_DEPTHS = (8, 10, 12, 14, 16)
LFS_POINTER = b"version https://git-lfs.github.com/spec/"


class Decoded(NamedTuple):
    """An image, and what its file was like."""

    pixels: NDArray[np.uint8]
    """[3, 32, 32]"""
    peak: int
    """the largest value in a file of 16 bits, 0 for any other"""
    transparent: bool


def decode_image(path: Path, bits: int = 16) -> Decoded:
    """Return one image: turned as its EXIF says, on white, stretched (bilinear, antialiased).

    bits: how many of their 16 bits such files use, which no file says. Floats are 0 to 1. Raises ValueError
    for numbers that say no brightness, and for a broken file anything at all, as Pillow's readers do.
    """
    with Image.open(path) as image:
        is_deep = any(";16" in str(tile[3]) for tile in image.tile)
        image.load()
        with suppress(Exception):  # damaged EXIF turns nothing
            ImageOps.exif_transpose(image, in_place=True)
        if image.mode == "F":
            return Decoded(_resized(_from_floats(np.asarray(image))), 0, False)
        if image.mode.startswith("I"):
            values = _whole_numbers(np.asarray(image))
            return Decoded(_resized(_grey(values >> (bits - 8))), int(values.max()), False)
        opaque = _opaque(image)
        seen = opaque or image.convert("RGB")
        return Decoded(_resized(seen), _peak(seen, bits) if is_deep else 0, opaque is not None)


def bits_of(peak: int) -> int:
    """Return the fewest bits that hold `peak`: 8, 10, 12, 14 or 16."""
    return next(bits for bits in BIT_DEPTHS if peak < 2**bits)


def is_lfs_pointer(path: Path) -> bool:
    """Does the file hold, instead of its content, where Git LFS keeps that?"""
    with suppress(OSError), open(path, "rb") as file:
        return file.read(len(LFS_POINTER)) == LFS_POINTER
    return False


def _from_floats(values: NDArray[np.floating]) -> Image.Image:
    low, high = float(values.min()), float(values.max())
    if not 0 <= low <= high <= 1:  # nor is it for NaN
        raise ValueError(f"floats from {low:g} to {high:g}; allowed: 0 to 1, or 8 bits")
    return _grey((values * 255).round())


def _whole_numbers(values: NDArray) -> NDArray[np.int64]:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ValueError(f"whole numbers from {low} to {high}; allowed: 0 to 65535, or 8 bits")
    return values.astype(np.int64)


def _grey(values: NDArray) -> Image.Image:
    return Image.fromarray(values.astype(np.uint8))


def _opaque(image: Image.Image) -> Image.Image | None:
    """Return the image on white, None where nothing of it is transparent."""
    if not image.has_transparency_data:
        return None
    clear = image.convert("RGBA")
    if np.asarray(clear)[..., 3].min() == 255:
        return None
    return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")


def _peak(image: Image.Image, bits: int) -> int:
    """Of colours in 16 bits Pillow keeps the upper 8: of a file that uses 12 that would be 4."""
    peak = 257 * int(np.asarray(image).max())
    if bits < 16:
        raise ValueError(f"colours in 16 bits that use {bits} at most; save them with 8 bits")
    return peak


def _resized(image: Image.Image) -> NDArray[np.uint8]:
    image = image.convert("RGB")
    if image.size != (IMAGE_SIZE, IMAGE_SIZE):
        image = image.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR)
    return np.asarray(image).transpose(2, 0, 1)
