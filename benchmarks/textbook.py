"""The same nets and the same training as a competent user writes them, to hold resexp's speed against.

Two loops: the textbook one (PIL images through torchvision's transforms, a DataLoader with a worker for each
core, float32, `.item()` for the log), and the same with everything easy switched on (data on the device,
augmented there, bfloat16 where the hardware multiplies it, channels last, compiled).
"""

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import transforms

from resexp.data.dataset import Dataset
from resexp.training.execution import usable_cores

BATCH_SIZE = 128


class BasicBlock(nn.Module):
    """Two 3x3 convs with batch norm, and a shortcut that pads with zero channels (option A)."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride, self.missing = stride, channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.stride != 1:
            half = self.missing // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, half))
        return F.relu(out + x)


class ResNet(nn.Module):
    """He et al. 2015 for CIFAR-10: 6n + 2 layers, widths 16, 32, 64."""

    def __init__(self, depth: int, num_classes: int) -> None:
        super().__init__()
        num_blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        blocks, channels = [], 16
        for width in (16, 32, 64):
            for _ in range(num_blocks):
                blocks.append(BasicBlock(channels, width, stride=1 if width == channels else 2))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.linear = nn.Linear(64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        out = self.blocks(F.relu(self.bn1(self.conv1(x))))
        return self.linear(F.avg_pool2d(out, out.shape[-1]).flatten(1))


class InMemory(torchvision.datasets.CIFAR10):
    """torchvision's CIFAR10, its own `__getitem__`, on images that are in memory already."""

    def __init__(self, dataset: Dataset, transform: transforms.Compose) -> None:
        self.data = np.ascontiguousarray(dataset.images.permute(0, 2, 3, 1).numpy())
        self.targets = dataset.labels.tolist()
        self.transform, self.target_transform = transform, None


def textbook_loop(net: nn.Module, dataset: Dataset, device: str) -> Iterator[float]:
    """Yield the loss of one step after another, for ever."""
    scale = 255.0
    normalize = transforms.Normalize(
        (dataset.mean.flatten() / scale).tolist(), (dataset.std.flatten() / scale).tolist()
    )
    transform = transforms.Compose(
        [transforms.RandomCrop(32, 4), transforms.RandomHorizontalFlip(), transforms.ToTensor(), normalize]
    )
    loader = DataLoader(
        InMemory(dataset, transform),
        batch_size=BATCH_SIZE,
        shuffle=True,
        drop_last=True,
        num_workers=usable_cores(),
        persistent_workers=True,
        pin_memory=device == "cuda",
    )
    net = net.to(device).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)
    while True:
        for images, labels in loader:
            images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            loss = F.cross_entropy(net(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield loss.item()


def tuned_loop(net: nn.Module, dataset: Dataset, device: str, precision: str) -> Iterator[float]:
    """Yield the loss of one step after another, for ever, with all that is easy to switch on."""
    dataset = dataset.to(device)
    net = net.to(device).to(memory_format=torch.channels_last).train()  # pyright: ignore[reportCallIssue]
    compiled = torch.compile(net, mode="max-autotune" if device == "cuda" else None)
    optimizer = torch.optim.SGD(
        net.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4, fused=device == "cuda"
    )
    low = precision == "bfloat16"
    images = ((dataset.images.float() - dataset.mean) / dataset.std).to(memory_format=torch.channels_last)
    padded = F.pad(images, (4, 4, 4, 4))
    while True:
        order = torch.randperm(len(dataset.labels), device=device)
        for first in range(0, len(order) - BATCH_SIZE + 1, BATCH_SIZE):
            indices = order[first : first + BATCH_SIZE]
            top, left = torch.randint(9, (2,)).tolist()
            batch = padded[indices, :, top : top + 32, left : left + 32]
            batch = torch.where((torch.rand(BATCH_SIZE, 1, 1, 1, device=device) < 0.5), batch.flip(3), batch)
            batch = batch.contiguous(memory_format=torch.channels_last)
            with torch.autocast(device, torch.bfloat16) if low else contextlib.nullcontext():
                loss = F.cross_entropy(compiled(batch), dataset.labels[indices])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield loss.item()
