"""Manifests: what a run, or a folder of runs, says of how it came about."""

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from resexp.records.record import Record


class Images(Record):
    """What a run was trained on."""

    name: str
    label: str
    fingerprint: str
    num_train: int | None = None
    num_validation: int | None = None
    num_test: int | None = None
    num_classes: int
    classes: list[str] | None = None
    num_test_in_train: int | None = None
    notes: list[str] | None = None
    class_counts: list[Annotated[int, Field(ge=0)]] | None = None
    """training images of each class, where the classes are not about equally many"""

    @property
    def guess_loss(self) -> float:
        """The least loss that one guess for all images can have, in nats: the entropy of the labels."""
        return label_entropy(self.class_counts) if self.class_counts else math.log(self.num_classes)

    @property
    def guess_accuracy(self) -> float:
        """The part that whoever names the most frequent class has right, in [0, 1]."""
        counts = self.class_counts or [1] * self.num_classes
        return max(counts) / (sum(counts) or 1)


def label_entropy(counts: Sequence[int]) -> float:
    """Return the entropy of labels of which so many are of each class, in nats."""
    total = sum(counts)
    return -math.fsum(count / total * math.log(count / total) for count in counts if count)


class RecordedExecution(Record):
    """How a run was executed; the fields of training.execution.Execution."""

    device: str
    precision: str
    mode: str
    threads: int
    reason: str
    devices: int = 1
    sync_batch_norm: bool = False
    kernels: str = "torch"


class Versions(Record):
    """What decides a run's bits."""

    resexp: str
    torch: str


class PluginRow(Record):
    """What of the user's own a run began with."""

    key: str
    path: str
    sha256: str
    """of its source"""


class Manifest(Record):
    """manifest.json of a run: what it needs to go on or be compared, and where it began."""

    kind: Literal["run"]
    config_digest: str
    plugins: list[PluginRow] = []
    data: Images
    execution: RecordedExecution
    versions: Versions
    python: str | None = None
    commit: str | None = None
    machine: dict[str, Any] | None = None
    layers: list[str]
    parameters: int
    created: str | None = None
    extended: list[dict[str, int]] | None = None
    """each time it went on to more steps than it was begun with: from, to"""

    def section(self, name: Literal["data", "execution", "versions"]) -> dict[str, Any]:
        """Return a section as it was written."""
        return getattr(self, name).to_json()


class LookRow(Record):
    """A look at a comparison that could give words, and what it spent of the 5%. ended: runs then over."""

    number: int
    seeds: int
    level: float
    ended: int


class ChoiceRow(Record):
    """The value at which an arm is compared.

    losses: validation losses by value, one a search seed, None where it diverged.
    """

    arm: str
    cell: dict[str, Any]
    value: str
    losses: dict[str, list[float | None]]


class BestOfRow(Record):
    """A search before a comparison: the key, its seeds, how many images were held back to choose by."""

    key: str
    seeds: list[int]
    validation: int
    choices: list[ChoiceRow]


class FolderManifest(Record):
    """manifest.json of what is no run: a comparison, a table of gradients, a claim."""

    kind: str | None = None
    question: str | None = None
    command: str | None = None
    seeds: list[int] | None = None
    versions: dict[str, str] | None = None
    runs: list[str] = []
    """of a comparison: the names of its runs' folders"""
    planned_looks: int | None = None
    looks: list[LookRow] = []
    best_of: BestOfRow | None = None
