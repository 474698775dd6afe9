"""Whole runs by the kernels: killed and resumed with the same bits, and found to say what torch's say."""

import itertools
from collections.abc import Iterator
from math import log10
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import pytest
from conftest import Sound, make_splits, tiny_config
from harness.breaking import SHORT, kill_at_random, reference
from harness.comparing import differences
from harness.interrupting import train
from harness.server import Server

from resexp.analysis.cells import summary_of
from resexp.analysis.statistics import mean_estimate
from resexp.analysis.verdicts import compare_runs
from resexp.claims import small_training, three_convs
from resexp.claims.finding import Finding
from resexp.data.splits import Splits
from resexp.kernels import source_digest
from resexp.records.run import Run

OURS = f"winograd-{source_digest()}"
KERNELS = ("torch", "winograd")
BY_OURS: dict[str, Any] = {**SHORT, "model__depth": 8, "model__width": 8, "run__kernels": "winograd"}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


def test_ten_kills_at_random_moments_change_no_bit(server: Server, tmp_path: Path, sound: Sound) -> None:
    tally = kill_at_random(server, tmp_path, 10, seed=4, changes=BY_OURS)
    sound("kill -9 at a random moment, kernels winograd", tally)
    assert tally.broken >= 10
    for run in tmp_path.iterdir():
        assert Run(run).manifest.to_json()["execution"]["kernels"] == OURS


def test_another_process_ends_with_the_same_bits_and_torch_with_others(
    server: Server, splits: Splits, tmp_path: Path
) -> None:
    there, _ = reference(server, tmp_path, BY_OURS)
    train(tmp_path / "here", tiny_config(**BY_OURS), splits)
    assert differences(there, tmp_path / "here") == []
    train(tmp_path / "torch", tiny_config(**BY_OURS | {"run__kernels": "torch"}), splits)
    assert "losses.bin" in differences(there, tmp_path / "torch")


class Compared(NamedTuple):
    """The comparison plain against residual over five seeds, by one kind of kernels."""

    document: dict[str, Any]
    """comparison.json: differences and verdicts"""
    profiles: dict[str, list[list[float]]]
    """arm: by seed and output, log10 of the gradient's norm at the last probe"""


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Compared, Compared]:
    """By torch's kernels and by ours; a smooth net, so that nothing but rounding tells them apart."""
    found, splits = [], make_splits()
    for kernels in KERNELS:
        folder, runs = tmp_path_factory.mktemp(kernels), []
        profiles: dict[str, list[list[float]]] = {"plain": [], "residual": []}
        for kind, seed in itertools.product(profiles, range(5)):
            model = {"model__kind": kind, "model__norm": "batch", "model__activation": "silu"}
            config = tiny_config(seed=seed, model__width=8, run__kernels=kernels, **model)
            run = folder / f"{kind}-s{seed}"
            train(run, config, splits)
            runs.append(summary_of(Run(run), arm=kind, beside=folder))
            profiles[kind].append([log10(out.norm or 0.0) for out in Run(run).profile[-1].outputs])
        found.append(Compared(compare_runs(runs).to_json(), profiles))
    return found[0], found[1]


def test_verdicts_have_torchs_words(compared: tuple[Compared, Compared]) -> None:
    torchs, ours = (each.document for each in compared)
    assert ours["differences"] != torchs["differences"]
    for section in ("differences", "verdicts"):
        words = [[row["word"] for row in document[section]] for document in (torchs, ours)]
        assert words[0] == words[1]
        assert any(words[0])


def test_differences_gradient_ratios_and_profiles_lie_within_torchs_intervals(
    compared: tuple[Compared, Compared],
) -> None:
    torchs, ours = compared
    for a, b in zip(torchs.document["differences"], ours.document["differences"], strict=True):
        assert within(b["mean"], a["interval"]), b
    pairs = zip(torchs.document["verdicts"], ours.document["verdicts"], strict=True)
    ratios = [(a["transport"], b["transport"]) for a, b in pairs if a["transport"]]
    assert len(ratios) == 4  # two arms, before and after
    for a, b in ratios:
        assert within(b["ratio"], a["interval"]), b
    for arm, seeds in torchs.profiles.items():
        for a, b in zip(zip(*seeds, strict=True), zip(*ours.profiles[arm], strict=True), strict=True):
            assert within(fmean(b), mean_estimate(a).interval), (arm, a, b)


def within(value: float, interval: tuple[float, float] | None) -> bool:
    assert interval is not None
    low, high = interval
    return low <= value <= high


def finding(kernels: str, monkeypatch: pytest.MonkeyPatch) -> Finding:
    """A short trial of the claim that trains the quickest; smooth nets, or two roundings part at a kink."""
    images = small_training.drawings()
    few = images.train._replace(images=images.train.images[:64], labels=images.train.labels[:64])
    run = small_training.RUN.model_copy(update={"kernels": kernels})
    monkeypatch.setattr(small_training, "RUN", run)
    arms = {arm: {**model, "activation": "silu"} for arm, model in three_convs._ARMS.items()}
    monkeypatch.setattr(three_convs, "_ARMS", arms)
    monkeypatch.setattr(three_convs, "drawings", lambda: images._replace(train=few, test=few))
    monkeypatch.setattr(three_convs, "_OPTIM", {"steps": 20, "batch_size": 16, "lr": 0.01})
    return three_convs.claim(range(5), lambda _: None)


def test_a_claims_answer_is_torchs_and_its_means_lie_within_torchs_intervals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torchs, ours = (finding(kernels, monkeypatch) for kernels in KERNELS)
    assert ours.details != torchs.details
    assert ours.answer.text == torchs.answer.text
    for a, b in zip(torchs.measurements, ours.measurements, strict=True):
        assert b.mean is not None
        assert within(b.mean, a.interval), (a, b)
