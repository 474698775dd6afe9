"""A batch is a pure function of the seed and the step, and the pixels are those of the slow way."""

from typing import get_args

import pytest
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms import functional as T

from resexp.config import Normalize, Pad
from resexp.data.batches import Draw, draw, epoch_steps, render, sample, unaugmented
from resexp.data.dataset import Dataset, dataset, statistics
from resexp.errors import DataError


def noise(num: int = 40, normalize: Normalize = "channel", pad: Pad = "before") -> Dataset:
    rng = torch.Generator().manual_seed(5)
    images = torch.randint(256, (num, 3, 32, 32), generator=rng, dtype=torch.uint8)
    labels = torch.randint(3, (num,), generator=rng)
    return dataset(images, labels, ("a", "b", "c"), statistics(images, normalize), pad)


def one_by_one(data: Dataset, index: int, top: int, left: int, flip: int) -> Tensor:
    """Return one image of a batch as PIL makes it: pad, crop, mirror, to [0, 1], normalise."""
    image = Image.fromarray(data.images[index].permute(1, 2, 0).numpy(), "RGB")
    image = ImageOps.expand(image, border=4, fill=0).crop((left, top, left + 32, top + 32))
    if flip:
        image = ImageOps.mirror(image)
    return (T.to_tensor(image) - data.mean / 255) / (data.std / 255)


@pytest.mark.filterwarnings("ignore:'mode' parameter:DeprecationWarning")
@pytest.mark.parametrize("normalize", ["channel", "pixel_mean"])
def test_render_agrees_with_the_slow_way(normalize: Normalize) -> None:
    data = noise(normalize=normalize)
    tables = draw(3, 7, num_images=40, batch_size=32, augment=True)
    images, labels = render(data, tables)
    expected = torch.stack([one_by_one(data, *map(int, row)) for row in zip(*tables[:4], strict=True)])
    torch.testing.assert_close(images, expected, atol=2e-5, rtol=1e-5)
    assert torch.equal(labels, data.labels[tables.indices])
    assert images.dtype == torch.float32


def zeros_around_normalised(data: Dataset, index: int, top: int, left: int, flip: int) -> Tensor:
    """Return one image of a batch as torchvision makes it: to [0, 1], normalise, pad with 0, crop, mirror."""
    image = (data.images[index] / 255 - data.mean / 255) / (data.std / 255)
    image = T.crop(T.pad(image, [4], fill=0), top, left, 32, 32)
    return T.hflip(image) if flip else image


@pytest.mark.parametrize("normalize", ["channel", "pixel_mean"])
def test_padding_after_normalising_is_zeros_and_each_pixel_keeps_its_own_mean(normalize: Normalize) -> None:
    data = noise(normalize=normalize, pad="after")
    tables = draw(3, 7, num_images=40, batch_size=32, augment=True)
    images = render(data, tables).images
    rows = [map(int, row) for row in zip(*tables[:4], strict=True)]
    expected = torch.stack([zeros_around_normalised(data, *row) for row in rows])
    torch.testing.assert_close(images, expected, atol=2e-5, rtol=1e-5)
    assert images.dtype == torch.float32


def test_where_nothing_is_cropped_the_padding_cannot_be_told() -> None:
    still = unaugmented(torch.arange(40))
    before, after = (render(noise(normalize="pixel_mean", pad=pad), still).images for pad in get_args(Pad))
    assert torch.equal(before, after)


def test_an_eighth_of_what_is_trained_on_is_padding() -> None:
    """1 - (1 - 20/9 / 32)^2 = 13.4%: a crop is moved by 20/9 pixels on average, in both directions."""
    data = noise(normalize="pixel_mean", pad="after")
    blank = data._replace(images=torch.full_like(data.images, 255))
    tables = [draw(0, step, num_images=40, batch_size=40, augment=True) for step in range(50)]
    shares = torch.stack([(render(blank, one).images == 0).float().mean() for one in tables])
    assert float(shares.mean()) == pytest.approx(0.134, abs=0.005)


@pytest.mark.parametrize(("top", "left", "flip"), [(0, 0, 0), (8, 8, 1), (0, 8, 1), (4, 4, 1), (4, 4, 0)])
def test_extreme_crops_stay_inside_the_padding(top: int, left: int, flip: int) -> None:
    data = noise()
    tables = Draw(*(torch.tensor([value]) for value in (11, top, left, flip, -1)))
    expected = one_by_one(data, 11, top, left, flip)
    torch.testing.assert_close(render(data, tables).images[0], expected, atol=2e-5, rtol=1e-5)


def test_unaugmented_images_are_the_images() -> None:
    data = noise()
    images = render(data, unaugmented(torch.arange(40))).images * data.std + data.mean
    torch.testing.assert_close(images, data.images.float(), atol=1e-3, rtol=0)


def test_draw_depends_on_its_arguments_only() -> None:
    def at(seed: int, step: int, augment: bool = True) -> Draw:
        return draw(seed, step, num_images=100, batch_size=16, augment=augment)

    first = [at(1, step) for step in range(30)]
    torch.manual_seed(99)
    again = [at(1, step) for step in reversed(range(30))][::-1]
    for one, other in zip(first, again, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert not torch.equal(first[0].indices, at(2, 0).indices)
    assert not torch.equal(first[0].top, first[1].top)
    assert torch.equal(first[4].indices, at(1, 4, augment=False).indices)


def test_a_caller_cannot_spoil_later_draws() -> None:
    kept = draw(0, 0, num_images=50, batch_size=10, augment=False).indices
    expected = kept.clone()
    kept.zero_()
    assert torch.equal(draw(0, 0, num_images=50, batch_size=10, augment=False).indices, expected)


def test_an_epoch_sees_no_image_twice_and_drops_another_rest_each_time() -> None:
    steps = epoch_steps(103, 10)
    assert steps == 10
    rests = []
    for epoch in range(3):
        seen = torch.cat(
            [
                draw(0, epoch * steps + k, num_images=103, batch_size=10, augment=True).indices
                for k in range(10)
            ]
        ).tolist()
        assert len(set(seen)) == len(seen) == 100
        rests.append(frozenset(range(103)) - frozenset(seen))
    assert len(set(rests)) == 3


def test_crops_and_flips_are_uniform() -> None:
    tables = [draw(0, step, num_images=128, batch_size=128, augment=True) for step in range(200)]
    for corner in (torch.cat([t.top for t in tables]), torch.cat([t.left for t in tables])):
        share = torch.bincount(corner, minlength=9).double() / corner.numel()
        assert share.numel() == 9
        assert (share - 1 / 9).abs().max() < 0.01  # 5 standard deviations at n = 25,600
    assert abs(torch.cat([t.flip for t in tables]).double().mean() - 0.5) < 0.016


def test_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(DataError, match="batch_size is 64, but there are only 63"):
        draw(0, 0, num_images=63, batch_size=64, augment=True)


def test_images_of_another_size_keep_it() -> None:
    data = noise()
    small = dataset(data.images[..., ::2, ::2], data.labels, data.classes, (data.mean, data.std))
    images = render(small, draw(0, 0, num_images=40, batch_size=40, augment=True)).images
    assert images.shape == (40, 3, 16, 16)
    still = render(small, unaugmented(torch.arange(40))).images * data.std + data.mean
    torch.testing.assert_close(still, small.images.float(), atol=1e-3, rtol=0)


def test_the_sample_is_fixed_and_a_longer_one_begins_with_it() -> None:
    assert torch.equal(sample(1000, 200)[:50], sample(1000, 50))
    assert len(set(sample(1000, 200).tolist())) == 200
    assert sorted(sample(30, 200).tolist()) == list(range(30))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_render_inside_a_cuda_graph_gives_the_same_bits() -> None:
    data = noise().to("cuda")
    first, second = (draw(0, k, num_images=40, batch_size=32, augment=True).to("cuda") for k in (0, 1))
    tables = Draw(*(table.clone() for table in first))
    render(data, tables)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        batch = render(data, tables)
    for mine, new in zip(tables, second, strict=True):
        mine.copy_(new)
    graph.replay()
    assert torch.equal(batch.images, render(data, second).images)
    assert torch.equal(batch.labels, render(data, second).labels)
