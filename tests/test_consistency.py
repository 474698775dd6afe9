"""A comparison that goes on holds runs that may be set beside each other, or it says why not."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import tiny_config
from harness.commands import write_images
from harness.grids import bring_about

from resexp.config import RunSection, write
from resexp.data import cifar10, splits
from resexp.errors import ResourceError, RunFolderError
from resexp.experiments.compare import execution_for
from resexp.experiments.consistency import as_begun
from resexp.experiments.executors.local import local
from resexp.experiments.plan import Plan, make_plan
from resexp.records.files import write_json
from resexp.records.run import Run, read_json
from resexp.training.execution import Execution

Planned = Callable[..., Plan]


@pytest.fixture
def planned(tmp_path: Path) -> Planned:
    """Plans of runs of two steps on a folder of images, all in one comparison's folder."""
    write_images(tmp_path / "images")
    data = {"name": "folder", "root": str(tmp_path / "images")}
    short = {"optim__steps": 2, "model__depth": 5, "model__convs_per_block": 1, "record__probes": ()}
    (tmp_path / "c.yaml").write_text(write(tiny_config(data=data, **short)))

    def plan(*arms: str, sets: tuple[str, ...] = ()) -> Plan:
        splits._loaded.clear()  # as in another process
        return make_plan(
            arms,
            runs_dir=tmp_path / "runs",
            config=str(tmp_path / "c.yaml"),
            sets=sets,
            vary={},
            num_seeds=1,
            name="c",
        )

    return plan


def change_manifest(plan: Plan, section: str, **changes: object) -> None:
    path = plan.jobs[0].folder / "manifest.json"
    manifest = read_json(path)
    write_json(path, {**manifest, section: {**manifest[section], **changes}})


def test_runs_on_other_images_are_not_compared(planned: Planned, tmp_path: Path) -> None:
    bring_about(planned("plain"), local())
    changed = next((tmp_path / "images").rglob("*.png"))
    changed.write_bytes(next(p for p in (tmp_path / "images/train/d").iterdir()).read_bytes())
    both = planned("plain", "residual")
    with pytest.raises(RunFolderError, match="images have changed since this run began"):
        bring_about(both, local())
    assert not both.jobs[1].folder.exists()


def test_auto_stays_what_it_was_when_the_comparison_began(
    planned: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = ("data.name=auto", f"data.root={tmp_path / 'nothing'}")
    monkeypatch.setenv(cifar10.MIRROR_VARIABLE, "http://127.0.0.1:9/nobody")
    bring_about(planned("plain", sets=sets), local())

    def arrived(*_: object, **__: object) -> None:
        pytest.fail("CIFAR-10 was asked for, where the comparison began with crayons")

    monkeypatch.setattr(cifar10, "load", arrived)
    both = planned("plain", "residual", sets=sets)
    assert not bring_about(both, local()).failed
    assert [Run(job.folder).manifest.data.name for job in both.jobs] == ["crayons", "crayons"]


def test_runs_of_other_versions_are_not_gone_on_with(planned: Planned) -> None:
    plan = planned("plain")
    bring_about(plan, local())
    change_manifest(plan, "versions", torch="1.0")
    bring_about(planned("plain"), local())  # all are finished: to show them needs no torch at all
    with pytest.raises(ResourceError, match=r"began with .*torch 1\.0"):
        bring_about(planned("plain", "residual"), local())


@pytest.mark.parametrize(
    ("section", "changes"), [("execution", {"threads": 7}), ("data", {"fingerprint": "0" * 64})]
)
def test_runs_that_began_differently_are_not_compared(
    section: str, changes: dict[str, object], planned: Planned
) -> None:
    plan = planned("plain", "residual")
    bring_about(plan, local())
    change_manifest(plan, section, **changes)
    (key,) = changes
    with pytest.raises(RunFolderError, match=f"cannot be compared with .*{section}.{key}"):
        bring_about(planned("plain", "residual"), local())


def test_a_comparison_grows_and_never_loses_a_run(planned: Planned) -> None:
    bring_about(planned("plain"), local())
    ended = bring_about(planned("plain", "residual"), local())
    with pytest.raises(RunFolderError, match="another comparison; not asked for now: plain-d5-batch-s0-"):
        bring_about(planned("residual"), local())
    assert (ended.folder / "comparison.json").read_bytes() == ended.document


def test_what_has_begun_decides_how_the_others_are_executed(planned: Planned) -> None:
    assert as_begun(planned("plain").jobs)[1] is None
    plan = planned("plain")
    bring_about(plan, local())
    change_manifest(plan, "execution", threads=2, reason="as it was")
    bring_about(planned("plain", "residual"), local())
    manifests = [Run(job.folder).manifest for job in planned("plain", "residual").jobs]
    assert [manifest.execution.threads for manifest in manifests] == [2, 2]


def test_compiling_is_weighed_by_the_images_of_the_least_trained_net() -> None:
    asked: list[int] = []

    class Where:
        def resolve(self, section: RunSection, *, num_images: int) -> Execution:
            asked.append(num_images)
            return Execution("cpu", "float32", "eager", 1, "")

        def rehearsed(self, execution: Execution, kinds: object) -> Execution:
            raise AssertionError("an eager step is not recorded")

        def carry_out(self, *_: object, **__: object) -> list:
            return []

    plan = make_plan(["plain", "residual"], runs_dir=Path("runs"), config=None, sets=[], vary={}, num_seeds=4)
    execution_for(plan.jobs, Where())
    assert asked == [4 * 200 * 64]  # two norms are two nets
