"""Plans: which runs a comparison consists of, and where each is kept."""

from pathlib import Path
from typing import Any

import pytest

from resexp.config import Config
from resexp.errors import UsageError
from resexp.experiments.plan import Plan, make_plan


def plan(arms: list[str], **changes: Any) -> Plan:
    given = {"runs_dir": Path("runs"), "config": None, "sets": [], "vary": {}, "num_seeds": 1, **changes}
    return make_plan(arms, **given)


def models(made: Plan) -> list[tuple[str, int, str, str]]:
    return [
        (job.arm, job.config.model.depth, job.config.model.norm, job.config.model.init) for job in made.jobs
    ]


@pytest.mark.parametrize(("full", "depth", "width"), [(False, 20, 8), (True, 56, 16)])
def test_the_quick_look_is_four_nets_and_its_long_form_the_same_four_at_depth_56(
    full: bool, depth: int, width: int
) -> None:
    made = plan(["plain", "residual"], full=full)
    assert models(made) == [
        ("plain", depth, "none", "default"),
        ("plain", depth, "batch", "he"),
        ("residual", depth, "none", "default"),
        ("residual", depth, "batch", "he"),
    ]
    config = made.jobs[0].config
    assert config.model.width == width
    assert (config.data.name, config.data.augment) == ("auto", False)
    assert config.record.eval_every == config.optim.steps


def test_the_quick_look_and_its_long_form_have_folders_of_their_own() -> None:
    assert plan(["plain"]).folder != plan(["plain"], full=True).folder


@pytest.mark.parametrize(
    ("sets", "pair"),
    [
        (["model.norm=batch"], ("batch", "he")),
        (["model.norm=none"], ("none", "default")),
        (["model.norm=group"], ("group", "he")),
        (["model.init=default"], ("none", "default")),
        (["model.init=xavier"], ("batch", "xavier")),
        (["model.norm=none", "model.init=he"], ("none", "he")),
    ],
    ids=str,
)
def test_setting_norm_or_init_keeps_one_pair(sets: list[str], pair: tuple[str, str]) -> None:
    assert models(plan(["plain", "residual"], sets=sets)) == [("plain", 20, *pair), ("residual", 20, *pair)]


def test_depths_axes_and_seeds_multiply() -> None:
    vary = {"model.depth": ["20", "56"], "model.norm": ["none", "batch"]}
    made = plan(["plain", "residual"], vary=vary, num_seeds=5)
    assert len(made.jobs) == 2 * 2 * 2 * 5
    assert {job.config.seed for job in made.jobs} == {0, 1, 2, 3, 4}
    assert {(norm, init) for _, _, norm, init in models(made)} == {("none", "default"), ("batch", "he")}


def test_seeds_count_up_from_the_configs() -> None:
    made = plan(["plain"], sets=["seed=7", "model.norm=batch"], num_seeds=3)
    assert [job.config.seed for job in made.jobs] == [7, 8, 9]


def test_arms_named_by_a_word_stand_on_the_given_config() -> None:
    made = plan(["plain", "residual"], config="vanishing")
    assert {job.config.model.activation for job in made.jobs} == {"sigmoid"}
    assert [job.config.model.kind for job in made.jobs] == ["plain", "residual"]


def test_a_config_is_an_arm_by_itself() -> None:
    made = plan(["plain20", "residual56"])
    assert [(job.arm, job.config.model.depth) for job in made.jobs] == [("plain20", 20), ("residual56", 56)]


def test_every_run_has_a_folder_that_names_it() -> None:
    made = plan(["plain", "residual"], num_seeds=2)
    folders = [job.folder for job in made.jobs]
    assert len(set(folders)) == len(folders)
    for job in made.jobs:
        assert job.folder.parent == made.folder
        assert job.folder.name == job.config.name
        assert (
            job.folder.name
            == f"{job.arm}-d20-{job.config.model.norm}-s{job.config.seed}-{job.config.digest()[:8]}"
        )


def test_the_same_question_goes_to_the_same_folder_and_another_elsewhere() -> None:
    one, again = plan(["plain", "residual"]), plan(["plain", "residual"])
    assert one.folder == again.folder
    assert plan(["plain", "residual"], num_seeds=2).folder != one.folder


@pytest.mark.parametrize(
    ("arms", "changes", "said"),
    [
        (["plain", "plain"], {}, "twice"),
        (["nonsense"], {}, "nonsense"),
        (["plain"], {"vary": {"model.depth": ["21"]}}, "nearest are 20 and 26"),
        (["plain"], {"vary": {"model.widht": ["8"]}}, "width"),
        (["plain"], {"name": "../x"}, "allowed"),
        (["plain", "plain20", "nowhere/plain20.yaml"], {}, "both called plain20"),
        (["plain"], {"vary": {"model.depth": ["8", "8"]}}, "model.depth: 8 is named 2 times"),
        (["plain"], {"vary": {"model.depth": ["8", "08"]}}, "depth 8, seed 0 is asked for 2 times"),
        (["plain"], {"vary": {"model.depth": ["8"]}, "sets": ["model.depth=20"]}, "both --set and an axis"),
        (["plain", "residual"], {"vary": {"model.kind": ["plain"]}}, "plain and residual say it"),
        (["plain"], {"vary": {"seed": ["0", "1"]}, "num_seeds": 2}, "seed 1 is asked for 2 times"),
        (["plain"], {"vary": {"run.precision": ["float32", "bfloat16"]}}, "executed alike"),
        (["plain"], {"full": True, "config": "vanishing"}, "a config says its own length"),
        (["plain20", "residual20"], {"full": True}, "a config says its own length"),
    ],
)
def test_what_does_not_fit_is_refused(arms: list[str], changes: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        plan(arms, **changes)


def test_a_config_file_may_be_called_what_no_run_may_be(tmp_path: Path) -> None:
    (tmp_path / "my net é.yaml").write_text("model: {depth: 8}\n")
    (job,) = plan([str(tmp_path / "my net é.yaml")]).jobs
    assert job.arm == "my net é"
    assert job.folder.name.startswith("my-net---d8-batch-s0-")


def test_plans_are_made_of_valid_configs() -> None:
    for job in plan(["plain", "residual"]).jobs:
        assert Config.model_validate(job.config.model_dump()) == job.config


def test_arms_may_be_the_values_of_a_key() -> None:
    made = plan([], by={"model.order": ["pre", "post"]}, num_seeds=2)
    assert [
        (job.arm, job.config.model.order, job.config.model.norm, job.config.seed) for job in made.jobs
    ] == [
        (order, order, norm, seed)
        for order in ("pre", "post")
        for norm in ("none", "batch")
        for seed in (0, 1)
    ]
    assert len({job.folder for job in made.jobs}) == 8


def test_an_arm_that_is_a_norm_keeps_its_init() -> None:
    made = plan([], by={"model.norm": ["none", "batch"]})
    assert models(made) == [("none", 20, "none", "default"), ("batch", 20, "batch", "he")]


def test_an_arm_by_a_key_is_the_run_that_setting_the_key_makes() -> None:
    by = plan([], by={"optim.lr": ["0.01", "0.02"]}, config="plain20")
    (alone,) = plan(["plain"], sets=["optim.lr=0.02"], config="plain20").jobs
    assert [job.config.digest() for job in by.jobs][1] == alone.config.digest()


@pytest.mark.parametrize(
    ("key", "values", "arms"),
    [
        ("model.survival", ["1.0", "0.5"], ["survival=1.0", "survival=0.5"]),
        ("data.augment", ["true", "false"], ["augment=true", "augment=false"]),
        ("model.norm", ["none", "batch"], ["none", "batch"]),
    ],
)
def test_an_arm_that_is_no_word_is_called_by_its_key(key: str, values: list[str], arms: list[str]) -> None:
    jobs = plan([], by={key: values}, sets=["model.kind=residual"]).jobs
    assert list(dict.fromkeys(job.arm for job in jobs)) == arms
    assert all(job.folder.name.startswith(job.arm.replace("=", "-")) for job in jobs)


@pytest.mark.parametrize(
    ("arms", "changes", "said"),
    [
        ([], {}, "name the arms"),
        (["plain"], {"by": {"model.order": ["pre", "post"]}}, "not both"),
        ([], {"by": {"model.order": ["pre"]}}, "two values or more"),
        ([], {"by": {"model.order": ["pre", "pre"]}}, "named 2 times"),
        ([], {"by": {"seed": ["0", "1"]}}, "named, seeded and executed alike"),
        ([], {"by": {"run.threads": ["1", "2"]}}, "named, seeded and executed alike"),
        ([], {"by": {"model.order": ["pre", "post"]}, "sets": ["model.order=pre"]}, "--set or --vary"),
        ([], {"by": {"model.order": ["pre", "post"]}, "vary": {"model.order": ["pre"]}}, "--set or --vary"),
    ],
    ids=str,
)
def test_arms_that_do_not_fit_together_are_told_in_a_line(arms: list[str], changes: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        plan(arms, **changes)


def test_a_run_that_began_under_its_old_name_keeps_its_place(tmp_path: Path) -> None:
    (new,) = plan(["plain"], config="plain20", runs_dir=tmp_path).jobs
    old = new.folder.with_name(new.folder.name.replace("-batch-", "-"))
    old.mkdir(parents=True)
    (again,) = plan(["plain"], config="plain20", runs_dir=tmp_path).jobs
    assert (again.folder, again.config.name) == (old, old.name)
    assert again.config.digest() == new.config.digest()
