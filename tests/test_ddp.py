"""One training on several ranks: real processes that talk through gloo."""

import io
import os
import pickle
import signal
import stat
import time
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import tiny_config
from harness.commands import start, write_config, write_images
from harness.comparing import differences
from harness.interrupting import train
from harness.ranks import Ranks

from resexp.config import Config
from resexp.data.batches import draw
from resexp.data.splits import load
from resexp.errors import Exit, ResourceError, UsageError
from resexp.models.resnet import build
from resexp.records.preflight import admit_devices
from resexp.records.run import Run
from resexp.training import checkpoint
from resexp.training.distributed.process_group import Group, synchronised
from resexp.training.distributed.rank import Rank
from resexp.training.execution import Execution, spread
from resexp.training.worker import TrainingTask

TRAIN = ["train", "--config", "c.yaml", "--runs-dir"]


@pytest.fixture(scope="module")
def ranks() -> Iterator[Ranks]:
    with Ranks() as ranks:
        yield ranks


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images and a config; each run is NAME/run, so that their configs are the same."""
    folder = tmp_path_factory.mktemp("ranks")
    write_images(folder / "images")
    write_config(folder / "c.yaml", config_in(folder))
    return folder


def config_in(folder: Path, **changes: object) -> Config:
    data = {"name": "folder", "root": str(folder / "images")}
    return tiny_config(
        **{
            "data": data,
            "model__norm": "group",
            "optim__steps": 40,
            "optim__batch_size": 12,
            "optim__lr": 0.01,
        }
        | {"record__probes": ()}
        | changes
    )


@pytest.fixture(scope="module")
def whole(ranks: Ranks, work: Path) -> Path:
    """A run on two ranks that nobody touched."""
    assert [end.code for end in ranks(*TRAIN, "whole", folder=work)] == [0, 0]
    return work / "whole" / "run"


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_slices_in_order_are_the_batch_of_one_process(size: int) -> None:
    batch_spec = draw(7, 5, num_images=50, batch_size=12, augment=True)
    slices = [Group(Rank(rank, size)).slice(batch_spec) for rank in range(size)]
    for tables in zip(batch_spec, *slices, strict=True):
        assert torch.equal(tables[0], torch.cat(tables[1:]))
        assert len({len(part) for part in tables[1:]}) == 1


@pytest.mark.parametrize(("norm", "survival"), [("none", 1.0), ("group", 1.0), ("none", 0.5)])
def test_two_ranks_train_as_one_process_does(
    norm: str, survival: float, ranks: Ranks, work: Path, tmp_path: Path
) -> None:
    """Smooth and slow, so that rounding does not grow: where a ReLU flips, any two orders of a sum part."""
    changes = {"model__norm": norm, "model__activation": "tanh", "optim__lr": 1e-3, "optim__steps": 20}
    changes |= {"model__survival": survival}
    config = config_in(work, **changes, optim__batch_size=8, record__every=1)
    runs = f"{norm}-{survival}"
    write_config(work / f"{runs}.yaml", config)
    ends = ranks("train", "--config", f"{runs}.yaml", "--runs-dir", runs, folder=work)
    assert [end.code for end in ends] == [0, 0]
    assert train(tmp_path, config, load(config.data)) is not None
    one, two = (layers(folder) for folder in (tmp_path, work / runs / "run"))
    fresh = build(seed=0, num_classes=4, **config.model.model_dump()).state_dict()
    for name in one:
        assert distance(two[name], one[name]) < 1e-6, name
    assert distance(one["head"], torch.cat([fresh["head.weight"].flatten(), fresh["head.bias"]])) > 1e-3
    for quantity in ("gradient_norm", "loss"):
        once, twice = (
            torch.tensor([getattr(row, quantity) for row in Run(folder).rows("step")]).reshape(20, -1)
            for folder in (tmp_path, work / runs / "run")
        )
        for layer in range(once.shape[1]):
            assert distance(twice[:, layer], once[:, layer]) < 1e-6, (quantity, layer)


def layers(folder: Path) -> dict[str, torch.Tensor]:
    """All parameters of each layer of a finished run, as one vector."""
    net = checkpoint.read(checkpoint.saved(folder / "checkpoints")[-1])["net"]
    names = dict.fromkeys(name.rpartition(".")[0] for name in net)
    return {
        name: torch.cat([net[key].flatten() for key in net if key.rpartition(".")[0] == name])
        for name in names
    }


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """Their distance over the length of the second."""
    return float((a.double() - b.double()).norm() / b.double().norm())


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_rank_ends_the_run_and_a_resume_changes_no_bit(
    victim: int, ranks: Ranks, work: Path, whole: Path
) -> None:
    name = f"killed-{victim}"
    ends = ranks(*TRAIN, name, folder=work, signals={victim: signal.SIGKILL}, after=f"{name}/run/checkpoints")
    assert ends[victim].code == -signal.SIGKILL
    other = ends[1 - victim]
    assert other.code == Exit.RESOURCES
    assert other.seconds < 5
    says = other.stderr.splitlines()[-1]
    assert says.startswith(f"{name}/run: one of the 2 ranks is gone (")
    assert says.endswith("; add --resume auto to go on from the last checkpoint")
    assert "Traceback" not in other.stderr
    assert Run(work / name / "run").status == "unfinished"
    assert [end.code for end in ranks(*TRAIN, name, "--resume", "auto", folder=work)] == [0, 0]
    assert differences(whole, work / name / "run") == []


def test_signals_to_three_ranks_save_after_the_step_and_a_resume_changes_no_bit(
    ranks: Ranks, work: Path
) -> None:
    """First to one of them, then to all at once. Three, since only from three on the order of a sum shows."""
    assert [end.code for end in ranks(*TRAIN, "three", folder=work, size=3)] == [0, 0, 0]
    folder = work / "stopped" / "run"
    go_on = ["train", "--resume", "stopped/run"]
    for begin, told, step in [
        ([*TRAIN, "stopped"], {1: signal.SIGINT}, 4),
        (go_on, dict.fromkeys(range(3), signal.SIGTERM), 20),
    ]:
        after = f"stopped/run/checkpoints/step-{step:010d}.pt"
        ends = ranks(*begin, folder=work, size=3, signals=told, after=after)
        assert [end.code for end in ends] == [128 + next(iter(told.values()))] * 3
        saved = checkpoint.step_of(checkpoint.saved(folder / "checkpoints")[-1])
        assert step <= saved < 40
        assert f"stopped after step {saved} of 40 and saved" in ends[0].stderr
    assert [end.code for end in ranks(*go_on, folder=work, size=3)] == [0, 0, 0]
    assert differences(work / "three" / "run", folder) == []


def test_rank_0_alone_writes_and_says(ranks: Ranks, work: Path, whole: Path) -> None:
    """The other rank has a folder of its own and no config there, as on another machine."""
    elsewhere = work / "rank-1"
    elsewhere.mkdir()
    ends = ranks(*TRAIN, "apart", folder=work)
    assert [end.code for end in ends] == [0, 0]
    assert list(elsewhere.iterdir()) == []
    elsewhere.rmdir()
    assert "apart/run" in ends[0].stderr
    assert ends[1].stderr == ""
    assert differences(whole, work / "apart" / "run") == []


def test_the_command_starts_torchrun_and_ends_with_6_when_a_rank_is_killed(
    ranks: Ranks, work: Path, whole: Path
) -> None:
    """torchrun's agent is real here. Once: three processes load torch for it."""
    process = start([*TRAIN, "command", "--devices", "2"], work)
    folder = work / "command" / "run"
    while not (folder / "checkpoints").exists():
        time.sleep(0.005)
        assert process.poll() is None, process.communicate()
    os.kill(int((folder / "lock").read_text()), signal.SIGKILL)
    began = time.perf_counter()
    _, stderr = process.communicate()
    assert process.returncode == Exit.RESOURCES
    assert time.perf_counter() - began < 30
    assert stderr.splitlines()[1:] == [line for line in stderr.splitlines() if "ranks is gone" in line]
    assert [end.code for end in ranks("train", "--resume", "command/run", folder=work)] == [0, 0]
    assert differences(whole, folder) == []


def test_the_command_listens_on_loopback_alone_and_meets_in_a_private_folder(work: Path) -> None:
    """And SIGUSR1 to it saves and ends its ranks: once, as three processes load torch for it."""
    process = start([*TRAIN, "private", "--devices", "2", "--set", "optim.steps=100000"], work)
    folder = work / "private" / "run"
    while not list(folder.glob("checkpoints/*.pt")):
        time.sleep(0.005)
        assert process.poll() is None, process.communicate()
    family = [process.pid, *children(process.pid)]
    assert len(family) >= 3
    heard = listening(family)
    assert heard, "gloo listens on some port"
    assert {address for address in heard if not address.is_loopback} == set()
    stores = {environment(pid)["RESEXP_RANKS_MEET_IN"] for pid in family[1:] if environment(pid).get("RANK")}
    assert len(stores) == 1
    private = Path(stores.pop()).parent
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    process.send_signal(signal.SIGUSR1)
    _, stderr = process.communicate()
    assert process.returncode == Exit.TERMINATED, stderr
    assert "and saved; add --resume auto to go on" in stderr
    assert not private.exists()


def children(pid: int) -> list[int]:
    """All processes below one."""
    found = list[int]()
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *children(child)]
    return found


def environment(pid: int) -> dict[str, str]:
    words = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(word.split("=", 1) for word in words if "=" in word)


def listening(pids: Sequence[int]) -> list[IPv4Address | IPv6Address]:
    """The addresses on which these processes listen, as the kernel tells them."""
    links = [link for pid in pids for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()]
    own = {os.readlink(link) for link in links}
    found = list[IPv4Address | IPv6Address]()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in own:
                words = bytes.fromhex(local.partition(":")[0])
                found.append(ip_address(b"".join(words[k : k + 4][::-1] for k in range(0, len(words), 4))))
    return found


class Stranger:
    """What a pickle makes of this when it is loaded: a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_what_a_stranger_sends_between_ranks_runs_no_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parcel = io.BytesIO()
    torch.save(Stranger(tmp_path / "ran"), parcel)
    sent = iter(
        [torch.tensor(parcel.tell()), torch.frombuffer(bytearray(parcel.getvalue()), dtype=torch.uint8)]
    )
    monkeypatch.setattr(torch.distributed, "broadcast", lambda tensor, src: tensor.copy_(next(sent)))
    with pytest.raises(pickle.UnpicklingError, match="eights"):
        Group(Rank(1, 2)).broadcast()
    assert not (tmp_path / "ran").exists()


def test_a_task_travels_as_json(tmp_path: Path) -> None:
    config = config_in(tmp_path, record__probes=("gradient_profile",))
    task = TrainingTask(config, "cifar10", "ab", CPU)
    assert TrainingTask.from_json(task.to_json()) == task


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--set model.norm=batch", "SyncBatchNorm refuses CPU tensors"),
        ("--set optim.batch_size=11", "optim.batch_size 11 is not divisible by 2 devices"),
    ],
)
def test_what_cannot_be_spread_is_said_once_and_ends_all(
    arguments: str, says: str, ranks: Ranks, work: Path
) -> None:
    ends = ranks(*TRAIN, "unspread", *arguments.split(), folder=work)
    assert ends[0].code == Exit.USAGE
    assert says in ends[0].stderr.splitlines()[-1]
    assert ends[1].stderr == ""
    assert not (work / "unspread" / "run" / "manifest.json").exists()


CPU = Execution("cpu", "float32", "compiled", 1, "")


def test_several_devices_share_the_cores_and_do_not_compile_unless_told() -> None:
    config = tiny_config(model__norm="none", run__threads="auto", run__compile="auto")
    cores = CPU._replace(threads=64)
    assert spread(cores, config, Rank()) == cores
    found = spread(cores, config, Rank(size=1000 * 8, local_size=1000)._replace(size=8))
    assert (found.threads, found.mode, found.devices) == (1, "eager", 8)
    stated = tiny_config(model__norm="none", run__compile=True, run__threads=3)
    found = spread(CPU._replace(threads=3), stated, Rank(size=2, local_size=2))
    assert (found.threads, found.mode) == (3, "compiled")


def test_a_run_goes_on_with_as_many_devices_as_it_began_with(whole: Path, tmp_path: Path) -> None:
    assert admit_devices(tmp_path, None, 1) == 1
    assert admit_devices(tmp_path, 3, 1) == 3
    assert admit_devices(tmp_path, None, 3) == 3
    assert admit_devices(whole, None, 1) == admit_devices(whole, 2, 2) == 2
    for asked, size in [(1, 1), (3, 1), (None, 3)]:
        with pytest.raises(ResourceError, match=r"began with --devices 2, \d asked; bits would differ"):
            admit_devices(whole, asked, size)
    with pytest.raises(UsageError, match="torchrun has started 3"):
        admit_devices(whole, 2, 3)


def test_the_synchronised_twin_shares_every_tensor_and_leaves_the_net_as_it_is() -> None:
    net = build(seed=0, num_classes=4, **tiny_config(model__kind="residual").model.model_dump())
    twin = synchronised(net)
    assert sum(isinstance(module, torch.nn.SyncBatchNorm) for module in twin.modules()) == 7
    assert not any(isinstance(module, torch.nn.SyncBatchNorm) for module in net.modules())
    theirs = dict(twin.named_parameters()) | dict(twin.named_buffers())
    for name, tensor in (dict(net.named_parameters()) | dict(net.named_buffers())).items():
        assert theirs[name] is tensor, name


@pytest.mark.gpu
def test_batch_norm_on_two_gpus_sees_the_whole_batch(ranks: Ranks, work: Path, tmp_path: Path) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two CUDA devices: nccl refuses two ranks on one")
    changes = {"model__norm": "batch", "model__activation": "tanh", "optim__lr": 1e-3, "run__device": "cuda"}
    config = config_in(work, **changes, optim__steps=20)
    write_config(work / "gpu.yaml", config)
    assert [end.code for end in ranks("train", "--config", "gpu.yaml", "--runs-dir", "gpu", folder=work)] == [
        0,
        0,
    ]
    assert Run(work / "gpu" / "run").manifest.execution.sync_batch_norm
    assert train(tmp_path, config, load(config.data)) is not None
    one, two = (layers(folder) for folder in (tmp_path, work / "gpu" / "run"))
    for name in one:  # running means and variances among them
        assert distance(two[name], one[name]) < 1e-5, name
